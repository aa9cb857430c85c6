// What a frame says about the data of its own side: new bytes, a hole, or bytes that were sent before; and what its sender
// knew when it sent it.
import {
  FLAG_ACK,
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  OPTION_TIMESTAMP,
  type SegmentRows,
  STRAY_WINDOW,
  TRIGGER_CONTROL,
  TRIGGER_PROBE,
  TRIGGER_TIMEOUT,
  TRIGGER_UNKNOWN,
  VERDICT_CONTROL,
  VERDICT_LATE_ORIGINAL,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_NEW,
  VERDICT_NONE,
  VERDICT_OUT_OF_WINDOW,
  VERDICT_REORDERED,
  VERDICT_RETRANSMISSION,
} from '../rows.js';
import { openHole, rebase } from './acknowledge.js';
import { probeVerdict, triggerOf, verdictBelow } from './classify.js';
import { type Direction, HOLE_FOUND_NS } from './direction.js';
import { countOvertaken, takeBackOvertaken } from './overtaken.js';
import { advance } from './sequence.js';

/** The handshake, all there is without timestamps, may have taken this much longer than the shortest loop. */
const JITTER = 0.01;
/** Acknowledged entries are kept at least this long. */
const KEEP_NS = 500e6;
/** Only a frame that follows the one before it soon tells the path's time and not the application's. */
const STEADY_LOOPS = 2;
const STEADY_NS = 1e6;

/** See createTransmit(). */
export type Transmit = (row: number, sender: Direction) => void;

/**
 * What takes the frame in a row, whose place in the stream is known, as sent by `sender`.
 *
 * Fills verdict, newBytes, trigger, segments, flight, pipe, room, reactionNs; loopNs when the row's
 * acknowledgement gave none.
 */
export function createTransmit(rows: SegmentRows): Transmit {
  const { clockNs, flags, seq, offset, payloadLen, options, tsValue, tsEcho, stray, ipVersion, ipId } = rows;
  const { verdict, trigger, segments, newBytes, flight, pipe, room, reactionNs, loopNs } = rows;

  /** What triggered it, and the recovery it begins or belongs to. */
  const noteRetransmission = (
    row: number,
    tNs: number,
    sender: Direction,
    from: number,
    to: number,
    stamp: number,
  ): void => {
    const { holes, transmitted } = sender;
    const hole = holes.find(from);
    const inHole = hole < holes.count && holes.starts[hole]! <= from;
    const entry = transmitted.find(from);
    const beforeNs = inHole
      ? holes.notes[HOLE_FOUND_NS]![hole]!
      : entry < transmitted.next && transmitted.start(entry) <= from
        ? transmitted.sentNs(entry)
        : Number.NaN;
    // After a timeout a sender repeats one segment and then waits for news (RFC 5681 §3.1). Several at once: it was none.
    if (sender.afterTimeout && !sender.isAtSender && stamp === sender.timeoutTsValue) sender.afterTimeout = false;
    const cause = triggerOf(sender, from, to, tNs, reactionOf(sender, tNs), tNs - beforeNs, stamp);
    trigger[row] = cause;
    sender.cleanFrom = sender.sentMax;
    if (cause === TRIGGER_PROBE) sender.probing = true;
    else if (cause === TRIGGER_TIMEOUT || sender.recoveryPoint === Number.NEGATIVE_INFINITY) {
      sender.timeoutDoubtful = sender.afterTimeout || sender.recoveryPoint === Number.NEGATIVE_INFINITY;
      sender.recoveryPoint = sender.sentMax;
      sender.afterTimeout = cause === TRIGGER_TIMEOUT;
      sender.recut = cause === TRIGGER_UNKNOWN && isRecut(sender, to);
      sender.timeoutTsValue = stamp;
      sender.repeatedBytes = 0;
    }
    sender.repeatedBytes += to - from;
    sender.repeatedTotal += to - from;
  };

  const takeData = (row: number, sender: Direction): void => {
    const { transmitted } = sender;
    const tNs = clockNs[row]!;
    const length = payloadLen[row]!;
    const from = offset[row]!;
    const to = from + length;
    const stamp = options[row]! & OPTION_TIMESTAMP ? tsValue[row]! : -1;
    const id = ipId[row]!;
    sender.dataFrames++;
    if (length > sender.payloadMax) sender.payloadMax = length;
    let kind: number = VERDICT_NEW;
    let fresh = length;
    if (from < sender.sentMax) {
      const top = Math.min(to, sender.sentMax);
      kind = verdictBelow(sender, from, length, tNs, stamp, id);
      if (kind === VERDICT_RETRANSMISSION) noteRetransmission(row, tNs, sender, from, to, stamp);
      else if (kind === VERDICT_REORDERED) sender.reordered = true;
      if (sender.overtaken > 0) takeBackOvertaken(sender, from, top, stamp);
      fresh = to - top + takeFill(sender, from, top, stamp, id, tNs);
      // A copy cut differently, which reaches beyond what was seen of the first.
      if (kind === VERDICT_NETWORK_DUPLICATE && fresh > 0) kind = VERDICT_NEW;
      if (kind === VERDICT_RETRANSMISSION) transmitted.sentAgain(from, top, tNs, stamp, id);
    } else if (from > sender.sentMax) openHole(sender, from, tNs, stamp, id);
    if (to > sender.sentMax) {
      const beyond = Math.max(from, sender.sentMax);
      if (transmitted.full) transmitted.retire(tNs - Math.max(KEEP_NS, 2 * sender.roundTripNs || 0));
      transmitted.append(beyond, to - beyond, tNs, stamp, id, 1);
      sender.sentMax = to;
      sender.nextSeq = (seq[row]! + (flags[row]! & FLAG_SYN ? 1 : 0) + length) >>> 0;
    }
    newBytes[row] = fresh;
    if (sender.holes.count > 0 && stamp >= 0 && !sender.isAtSender) {
      if (kind === VERDICT_NEW || kind === VERDICT_RETRANSMISSION) countOvertaken(sender, from, tNs, stamp);
    }
    if (verdict[row] === VERDICT_NONE) verdict[row] = kind;
  };

  /** Fills what the sender knew when it sent the row. */
  const describeView = (row: number, sender: Direction, news: boolean): void => {
    const tNs = clockNs[row]!;
    const { known, sacked, sentMax } = sender;
    const near = sender.isAtSender;
    if (!near && known.edgeAtLeast < sentMax) known.allowed(sentMax);
    const acked = near ? sender.acked : known.acked;
    const edge = near ? sender.edge : known.edge;
    const out = sentMax - acked;
    flight[row] = out;
    room[row] = edge - sentMax;
    reactionNs[row] = reactionOf(sender, tNs);
    // RFC 6675 §4: above the highest SACKed byte all is out; below it only what was sent again.
    if (!near) {
      pipe[row] = Math.min(out, sentMax - known.top + Math.min(sender.repeatedBytes, known.missing));
      if (!(sentMax - known.ackedAtLeast <= sender.flightAtMost)) sender.flightAtMost = sentMax - known.ackedAtLeast;
    } else if (sacked.count === 0) {
      pipe[row] = out;
    } else {
      const top = sacked.ends[sacked.count - 1]!;
      const missing = top - acked - sacked.bytes;
      pipe[row] = Math.min(out, sentMax - top + Math.min(sender.repeatedBytes, missing));
    }
    if (!news || verdict[row] === VERDICT_NETWORK_DUPLICATE || verdict[row] === VERDICT_LATE_ORIGINAL) return;
    if (verdict[row] === VERDICT_REORDERED) return;
    const sampleNs = tNs - known.tickNs;
    const steadyNs = Math.max(STEADY_NS, STEADY_LOOPS * sender.echoLoopMinNs || 0);
    const gapNs = tNs - sender.latestSentNs;
    sender.boundEchoLoop(sampleNs);
    // A sender in recovery, or one that had nothing to send, answers late.
    if (gapNs > steadyNs || sender.recoveryPoint > Number.NEGATIVE_INFINITY) return;
    sender.sampleEchoLoop(sampleNs);
    if (Number.isNaN(loopNs[row]!)) loopNs[row] = sampleNs;
  };

  // What runs rarely reads the time from the row: as an argument it would be put on the heap for every frame.
  return (row, sender) => {
    const tNs = clockNs[row]!;
    const flag = flags[row]!;
    const length = payloadLen[row]!;
    const from = offset[row]!;
    if (!sender.started) start(sender, rows, row);
    const stamped = (options[row]! & OPTION_TIMESTAMP) !== 0;
    if (stamped) sender.timestamps = true;
    if (stray[row] === STRAY_WINDOW) {
      verdict[row] = VERDICT_OUT_OF_WINDOW;
      return;
    }
    const segmentBytes = sender.segmentBytes;
    const count = length > segmentBytes ? Math.ceil(length / segmentBytes) : 1;
    // A SYN's identification does not come from the socket's counter (Linux).
    if (ipVersion[row] === 4 && !(flag & FLAG_SYN)) {
      sender.ipIds.take(ipId[row]!, length, segmentBytes > 0 ? count : 0);
    }
    const { known } = sender;
    const awayNs = sender.echoLoopMinNs || 0;
    let news = false;
    if (!stamped) known.arrived(tNs - awayNs * (1 - JITTER));
    else if (flag & FLAG_ACK) {
      news = known.echoed(tsEcho[row]!, tNs - awayNs, sender.sentMax + sender.repeatedTotal);
    }

    if (flag & (FLAG_SYN | FLAG_FIN | FLAG_RST)) {
      const again = takeControl(sender, rows, row);
      if (length === 0) {
        verdict[row] = VERDICT_CONTROL;
        if (again) trigger[row] = TRIGGER_CONTROL;
        return;
      }
    }
    if (length <= 1) {
      const probe = probeVerdict(sender, from, length);
      verdict[row] = probe;
      if (length === 0 || (probe !== VERDICT_NONE && from < sender.sentMax)) return;
    }
    segments[row] = count;
    takeData(row, sender);
    describeView(row, sender, news);
    sender.latestSentNs = tNs;
    if (stamped && !(((tsValue[row]! - sender.latestTsValue) | 0) < 0)) sender.latestTsValue = tsValue[row]!;
  };
}

/** The first frame of a side fixes what offset 0 is. */
function start(sender: Direction, { seq, flags, offset, clockNs }: SegmentRows, row: number): void {
  const first = (seq[row]! + (flags[row]! & FLAG_SYN ? 1 : 0)) >>> 0;
  const from = offset[row]!;
  sender.started = true;
  if (sender.referenced) rebase(sender, first, from, clockNs[row]!);
  else {
    sender.referenced = true;
    sender.nextSeq = first;
    sender.sentMax = from;
  }
}

/** SYN, FIN and RST. True when it was sent before. */
function takeControl(sender: Direction, rows: SegmentRows, row: number): boolean {
  const flag = rows.flags[row]!;
  const from = rows.offset[row]!;
  if (flag & FLAG_SYN) {
    const seq = rows.seq[row]!;
    const again = sender.synSent && sender.initialSeq === seq;
    const answers = (flag & FLAG_ACK) !== 0;
    // What answers the other side's SYN is no repetition of a SYN of its own (simultaneous open, RFC 9293 §3.5).
    const repeats = again && answers === sender.synAnswers;
    // Another number before anybody answered the first one: sequence-spaces.ts has begun anew.
    if (sender.synSent && !again && from === 0) rebase(sender, (seq + 1) >>> 0, 0, rows.clockNs[row]!);
    sender.synSent = true;
    sender.synAnswers = answers;
    sender.initialSeq = seq;
    return repeats;
  }
  if (flag & FLAG_FIN) {
    const end = from + rows.payloadLen[row]!;
    const again = sender.finSent && sender.finOffset === end;
    sender.finSent = true;
    sender.finOffset = end;
    if (sender.sentMax === end + 1) forgetPhantom(sender, end);
    return again;
  }
  return false;
}

/** The FIN's own number was acknowledged before the FIN was seen: no byte is missing there. */
function forgetPhantom(sender: Direction, end: number): void {
  if (sender.holes.remove(end, end + 1) === 0) return;
  sender.sentMax = end;
  sender.nextSeq = advance(sender.nextSeq, -1);
  sender.acked = Math.min(sender.acked, end);
}

/** Bytes of [from, to) seen for the first time, though they lie below the highest offset. */
function takeFill(sender: Direction, from: number, to: number, tsValue: number, ipId: number, tNs: number): number {
  let bytes = 0;
  if (sender.holes.count > 0) bytes = sender.holes.remove(from, to);
  if (sender.unseen.count > 0) {
    const late = sender.unseen.remove(from, to);
    sender.unseenBytes -= late;
    bytes += late;
  }
  if (bytes > 0) {
    sender.rememberFill(from, to, tsValue, ipId, tNs);
    sender.cleanFrom = sender.sentMax;
  }
  return bytes;
}

/** Whether a repetition up to `to` ends where none of the segments ended that had carried it. */
function isRecut({ transmitted, segmentBytes }: Direction, to: number): boolean {
  const entry = transmitted.find(to - 1);
  if (entry >= transmitted.next || transmitted.sends(entry) === 0) return false;
  const start = transmitted.start(entry);
  return start < to && to < transmitted.end(entry) && (to - start) % segmentBytes !== 0;
}

/** Time since the sender got the newest acknowledgement, as far as the capture point can tell. */
function reactionOf(sender: Direction, tNs: number): number {
  if (sender.isAtSender) return tNs - sender.latestAckNs;
  return tNs - sender.known.passedNs - sender.echoLoopMinNs;
}
