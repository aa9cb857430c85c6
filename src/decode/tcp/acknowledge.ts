// What an acknowledgement says about the data of the other side: how far it arrived, what arrived beyond, how much more
// may be sent, and how long the round trip took.
import { FLAG_FIN, FLAG_RST, FLAG_SYN, OPTION_SACK, OPTION_TIMESTAMP, type SegmentRows } from '../rows.js';
import { CAPTURE_REORDER_NS } from './classify.js';
import { type Direction, HOLE_ACKED_NS } from './direction.js';
import { knownLostNs } from './overtaken.js';
import { advance, unwrap, WINDOW_MAX_BYTES } from './sequence.js';

/** A delayed acknowledgement says how long the peer waited, not how long the path is (Linux: at least 40 ms). */
const DELAYED_ACK_NS = 35e6;
/** Ticks in which acknowledgements are pooled where there are no timestamps. */
const TICK_NS = 1e5;
/** Smallest change of the raw window that a scale is inferred from. */
const INFER_RAW_STEP = 8;
const INFER_VOTES = 4;
const SHIFT_MAX = 14;

/** See createAcknowledge(). */
export type Acknowledge = (row: number, data: Direction, peer: Direction) => void;

/**
 * What takes the acknowledgement in a row, sent by `peer`, for what `data` has sent.
 *
 * Fills windowBytes and unseenBytes, and loopNs where the acknowledgement answers a known frame.
 */
export function createAcknowledge(rows: SegmentRows): Acknowledge {
  const { ack, flags, window, options, tsValue, tsEcho, sackEdges, sackBlocks, payloadLen } = rows;
  const { clockNs, ackOffset, loopNs, windowBytes, unseenBytes } = rows;

  /** Timestamp that the row echoes, −1 where it has none. */
  const echoOf = (row: number): number => (options[row]! & OPTION_TIMESTAMP ? tsEcho[row]! : -1);

  /** Round trip from the capture point to the peer: the newest frame that this acknowledgement covers, if it is valid. */
  const sampleLoop = (row: number, data: Direction, offset: number): number => {
    const { transmitted } = data;
    let entry = transmitted.unacked;
    while (entry < transmitted.next && transmitted.end(entry) <= offset) entry++;
    // Offloaded frames are often acknowledged in part.
    if (entry === transmitted.next || transmitted.start(entry) >= offset) entry--;
    if (entry < transmitted.first || transmitted.sends(entry) !== 1) return Number.NaN;
    if (transmitted.start(entry) < data.cleanFrom) return Number.NaN;
    const sampleNs = clockNs[row]! - transmitted.sentNs(entry);
    const delayed =
      sampleNs >= DELAYED_ACK_NS && offset - data.acked < 2 * data.segmentBytes && entry === transmitted.next - 1;
    if (sampleNs < 0 || (delayed && sampleNs > 2 * data.ackLoopMinNs)) return Number.NaN;
    data.sampleAckLoop(sampleNs);
    return sampleNs;
  };

  /** SACK blocks: a block below what is acknowledged (or inside the next one) reports a duplicate and no new data. */
  const takeBlocks = (row: number, data: Direction, acked: number): void => {
    const { sacked } = data;
    let selective = false;
    for (let block = 0; block < sackBlocks[row]!; block++) {
      const left = unwrap(sackEdges[8 * row + 2 * block]!, data.nextSeq, data.sentMax);
      const rightRaw = sackEdges[8 * row + 2 * block + 1]!;
      // A FIN received out of order is reported like a byte.
      const right = Math.min(unwrap(rightRaw, data.nextSeq, data.sentMax), data.finOffset);
      if (left < acked || right <= left) {
        if (block === 0) data.duplicateReports++;
        continue;
      }
      if (right > data.sentMax) {
        if (right - data.sentMax > WINDOW_MAX_BYTES || !data.started) continue;
        passUnseen(data, right, rightRaw, clockNs[row]!, echoOf(row));
      }
      if (data.afterTimeout) judgeTimeout(data, left, right, -1);
      sacked.merge(left, right);
      data.latestReportNs = clockNs[row]!;
      selective = true;
    }
    if (selective) data.selectiveAcks++;
  };

  return (row, data, peer) => {
    const tNs = clockNs[row]!;
    const raw = ack[row]!;
    const flag = flags[row]!;
    if (!data.referenced) {
      data.referenced = true;
      data.nextSeq = raw;
    }
    const offset = data.started ? ackOffset[row]! : unwrap(raw, data.nextSeq, data.sentMax);
    if (offset < data.acked - WINDOW_MAX_BYTES || offset > data.sentMax + WINDOW_MAX_BYTES) return;
    if (offset > data.sentMax) passUnseen(data, offset, raw, tNs, echoOf(row));

    const before = data.acked;
    const rawWindow = window[row]!;
    if (Number.isNaN(before)) {
      data.acked = offset;
    } else if (offset > before) {
      if (data.dataFrames > 0) loopNs[row] = sampleLoop(row, data, offset);
      inferShift(data, peer, offset - before, data.windowRaw - rawWindow, payloadLen[row]!);
      if (data.afterTimeout) judgeTimeout(data, before, offset, echoOf(row));
      advanceTo(data, before, offset);
    } else if (offset < before) {
      return; // Older than what is known: its window and SACK blocks are older too.
    } else if (data.sentMax > offset && payloadLen[row] === 0 && (flag & (FLAG_SYN | FLAG_FIN | FLAG_RST)) === 0) {
      // RFC 5681 §2; with SACK the window may change at the same time.
      const sacks = (options[row]! & OPTION_SACK) !== 0;
      if (rawWindow === data.windowRaw || sacks) {
        data.duplicateAcks++;
        data.repeatedAcks++;
        data.latestReportNs = tNs;
      }
    }
    if ((flag & FLAG_RST) === 0) {
      data.windowRaw = rawWindow;
      data.windowClosed = rawWindow === 0;
      // The window of a SYN is never scaled (RFC 7323 §2.2).
      const bytes = rawWindow === 0 || flag & FLAG_SYN ? rawWindow : rawWindow * peer.windowUnit;
      data.edge = offset + bytes;
      windowBytes[row] = bytes;
    }
    if (options[row]! & OPTION_SACK) takeBlocks(row, data, offset);
    data.latestAckNs = tNs;
    const stamp = options[row]! & OPTION_TIMESTAMP ? tsValue[row]! : Math.floor(tNs / TICK_NS);
    if (data.dataFrames === 0) data.known.given(tNs, stamp, data.acked, data.edge);
    else {
      const { sacked } = data;
      const top = sacked.count > 0 ? sacked.ends[sacked.count - 1]! : data.acked;
      data.known.passed(tNs, stamp, data.acked, data.edge, top, top - data.acked - sacked.bytes);
    }
    if (data.holes.count > 0 && data.holes.starts[0]! < data.acked) unseenBytes[row] = declareUnseen(data, tNs);
  };
}

/** The peer has bytes that the capture has not shown: they become a hole until they show up or are given up. */
function passUnseen(data: Direction, offset: number, raw: number, tNs: number, tsEcho: number): void {
  if (data.started) openHole(data, offset, tNs, tsEcho, -1);
  data.sentMax = offset;
  data.nextSeq = raw;
}

/**
 * Opens a hole from the highest offset to `end`; `tsValue` and `ipId` are those of the frame that reveals it, or −1. Where
 * an acknowledgement reveals it, `ipId` is −1 and `tsValue` the timestamp that it echoes.
 */
export function openHole(data: Direction, end: number, tNs: number, tsValue: number, ipId: number): void {
  const { holes } = data;
  const start = data.sentMax;
  const knownNs = knownLostNs(data, tNs);
  holes.append(start, end, [tNs, tsValue, ipId, Number.NaN, knownNs, Number.NaN]);
  if (knownNs < data.overtakenDueNs) data.overtakenDueNs = knownNs;
  data.transmitted.append(start, end - start, tNs, 0, 0, 0);
  data.cleanFrom = end;
}

function advanceTo(data: Direction, before: number, offset: number): void {
  data.acked = offset;
  data.repeatedAcks = 0;
  data.probing = false;
  data.repeatedBytes = Math.max(0, data.repeatedBytes - (offset - before));
  data.transmitted.acknowledge(offset);
  if (data.sacked.count > 0) data.sacked.remove(Number.NEGATIVE_INFINITY, offset);
  if (offset >= data.recoveryPoint) endRecovery(data);
}

function endRecovery(data: Direction): void {
  data.recoveryPoint = Number.NEGATIVE_INFINITY;
  data.afterTimeout = false;
  data.repeatedBytes = 0;
}

/**
 * Takes the report that [start, end) arrived after a timeout. Something sent before it and only once, or an answer to what was
 * sent before it (`tsEcho`, −1: none), says that not all was lost: the sender takes the timeout back, and what it repeats
 * from then on is ordinary recovery. Source: RFC 5682 §3.1, RFC 4015; Linux tcp_process_loss(), FLAG_ORIG_SACK_ACKED.
 */
function judgeTimeout(data: Direction, start: number, end: number, tsEcho: number): void {
  if (!data.isAtSender || !data.timeoutDoubtful) return;
  const { transmitted, sacked, recoveryPoint } = data;
  let needless = tsEcho >= 0 && data.timeoutTsValue >= 0 && ((tsEcho - data.timeoutTsValue) | 0) < 0;
  for (let entry = transmitted.find(start); entry < transmitted.next && !needless; entry++) {
    const from = transmitted.start(entry);
    const to = transmitted.end(entry);
    if (to > end || to > recoveryPoint) break;
    needless = from >= start && transmitted.sends(entry) === 1 && sacked.covered(from, to) === 0;
  }
  if (needless) endRecovery(data);
}

/**
 * Learns the window scale of a connection whose SYNs are not in the capture.
 *
 * While the peer does not read, its right edge stands still: the window shrinks by just what is acknowledged, so the two
 * changes differ by the scale.
 */
function inferShift(data: Direction, peer: Direction, ackedBytes: number, shrunkRaw: number, payload: number): void {
  if (!Number.isNaN(peer.shift) && !peer.shiftInferred) return;
  if (payload > 0 || data.windowRaw < 0 || shrunkRaw < INFER_RAW_STEP) return;
  const shift = Math.round(Math.log2(ackedBytes / shrunkRaw));
  if (shift < 0 || shift > SHIFT_MAX || Math.abs(ackedBytes - shrunkRaw * 2 ** shift) > 2 ** shift) return;
  const votes = (peer.shiftVotes ??= new Uint8Array(SHIFT_MAX + 1));
  if (votes[shift]! < 255) votes[shift]!++;
  let best = 0;
  for (let k = 1; k <= SHIFT_MAX; k++) if (votes[k]! > votes[best]!) best = k;
  if (votes[best]! < INFER_VOTES) return;
  peer.setShift(best);
  peer.shiftInferred = true;
}

/** Gives up holes that were acknowledged a while ago: the peer has the bytes, so the capture lost them. */
function declareUnseen(data: Direction, tNs: number): number {
  const { holes } = data;
  const ackedNs = holes.notes[HOLE_ACKED_NS]!;
  const patienceNs = Math.max(CAPTURE_REORDER_NS, data.roundTripMinNs / 8 || 0);
  let bytes = 0;
  let hole = 0;
  while (hole < holes.count && holes.starts[hole]! < data.acked) {
    if (Number.isNaN(ackedNs[hole]!)) ackedNs[hole] = tNs;
    if (tNs - ackedNs[hole]! <= patienceNs) hole++;
    else bytes += giveUp(data, holes.starts[hole]!, Math.min(holes.ends[hole]!, data.acked));
  }
  return bytes;
}

/** Turns [start, end) from a hole into unseen bytes; returns how many. */
export function giveUp(data: Direction, start: number, end: number): number {
  const bytes = data.holes.remove(start, end);
  data.unseen.merge(start, end);
  data.unseenBytes += bytes;
  return bytes;
}

/** Shifts every offset of `data` so that raw number `raw` stands at `offset`: the first byte seen at 0. */
export function rebase(data: Direction, raw: number, offset: number, tNs: number): void {
  const bytes = unwrap(raw, data.nextSeq, data.sentMax) - offset;
  data.sentMax -= bytes;
  data.acked -= bytes;
  data.edge -= bytes;
  data.known.rebase(bytes);
  if (data.sentMax < 0) {
    // Acknowledged before anything was seen: sent before the capture began.
    data.nextSeq = advance(data.nextSeq, -data.sentMax);
    data.sentMax = 0;
  } else if (data.sentMax > 0) {
    // The capture shows acknowledgements before the data they acknowledge.
    const end = data.sentMax;
    data.sentMax = 0;
    openHole(data, end, tNs, -1, -1);
    data.sentMax = end;
  }
}
