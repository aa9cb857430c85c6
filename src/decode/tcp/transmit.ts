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

/**
 * Takes the frame in `row`, whose place in the stream is known, as sent by `sender`.
 *
 * Fills verdict, newBytes, trigger, segments, flight, pipe, room, reactionNs; loopNs when the row's
 * acknowledgement gave none.
 */
export function transmit(rows: SegmentRows, row: number, tNs: number, sender: Direction): void {
  const flags = rows.flags[row]!;
  const length = rows.payloadLen[row]!;
  const from = rows.offset[row]!;
  if (!sender.started) start(sender, (rows.seq[row]! + (flags & FLAG_SYN ? 1 : 0)) >>> 0, from, tNs);
  const stamped = (rows.options[row]! & OPTION_TIMESTAMP) !== 0;
  if (stamped) sender.timestamps = true;
  if (rows.stray[row] === STRAY_WINDOW) {
    rows.verdict[row] = VERDICT_OUT_OF_WINDOW;
    return;
  }
  const segmentBytes = sender.segmentBytes;
  const segments = length > segmentBytes ? Math.ceil(length / segmentBytes) : 1;
  // A SYN's identification does not come from the socket's counter (Linux).
  if (rows.ipVersion[row] === 4 && !(flags & FLAG_SYN)) sender.ipIds.take(rows.ipId[row]!, length, segments);
  const { known } = sender;
  const loopNs = sender.echoLoopMinNs || 0;
  let news = false;
  if (!stamped) known.arrived(tNs - loopNs * (1 - JITTER));
  else if (flags & FLAG_ACK) {
    news = known.echoed(rows.tsEcho[row]!, tNs - loopNs, sender.sentMax + sender.repeatedTotal);
  }

  if (flags & (FLAG_SYN | FLAG_FIN | FLAG_RST)) {
    const again = takeControl(sender, flags, rows.seq[row]!, from, from + length, tNs);
    if (length === 0) {
      rows.verdict[row] = VERDICT_CONTROL;
      if (again) rows.trigger[row] = TRIGGER_CONTROL;
      return;
    }
  }
  if (length <= 1) {
    const probe = probeVerdict(sender, from, length);
    rows.verdict[row] = probe;
    if (length === 0 || (probe !== VERDICT_NONE && from < sender.sentMax)) return;
  }
  rows.segments[row] = segments;
  takeData(rows, row, tNs, sender, from, length, stamped ? rows.tsValue[row]! : -1);
  describeView(rows, row, tNs, sender, news);
  sender.latestSentNs = tNs;
  if (stamped && !(((rows.tsValue[row]! - sender.latestTsValue) | 0) < 0)) sender.latestTsValue = rows.tsValue[row]!;
}

/** The first frame of a side, raw number `first` at offset `from`, fixes what offset 0 is. */
function start(sender: Direction, first: number, from: number, tNs: number): void {
  sender.started = true;
  if (sender.referenced) rebase(sender, first, from, tNs);
  else {
    sender.referenced = true;
    sender.nextSeq = first;
    sender.sentMax = from;
  }
}

/** SYN, FIN and RST, with payload [from, end). True when it was sent before. */
function takeControl(sender: Direction, flags: number, seq: number, from: number, end: number, tNs: number): boolean {
  if (flags & FLAG_SYN) {
    const again = sender.synSent && sender.initialSeq === seq;
    const answers = (flags & FLAG_ACK) !== 0;
    // What answers the other side's SYN is no repetition of a SYN of its own (simultaneous open, RFC 9293 §3.5).
    const repeats = again && answers === sender.synAnswers;
    // Another number before anybody answered the first one: sequence-spaces.ts has begun anew.
    if (sender.synSent && !again && from === 0) rebase(sender, (seq + 1) >>> 0, 0, tNs);
    sender.synSent = true;
    sender.synAnswers = answers;
    sender.initialSeq = seq;
    return repeats;
  }
  if (flags & FLAG_FIN) {
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

function takeData(
  rows: SegmentRows,
  row: number,
  tNs: number,
  sender: Direction,
  from: number,
  length: number,
  tsValue: number,
): void {
  const { transmitted } = sender;
  const to = from + length;
  const ipId = rows.ipId[row]!;
  sender.dataFrames++;
  if (length > sender.payloadMax) sender.payloadMax = length;
  let verdict: number = VERDICT_NEW;
  let newBytes = length;
  if (from < sender.sentMax) {
    const top = Math.min(to, sender.sentMax);
    verdict = verdictBelow(sender, from, length, tNs, tsValue, ipId);
    if (verdict === VERDICT_RETRANSMISSION) noteRetransmission(rows, row, tNs, sender, from, to, tsValue);
    else if (verdict === VERDICT_REORDERED) sender.reordered = true;
    if (sender.overtaken > 0) takeBackOvertaken(sender, from, top, tsValue);
    newBytes = to - top + takeFill(sender, from, top, tsValue, ipId, tNs);
    // A copy cut differently, which reaches beyond what was seen of the first.
    if (verdict === VERDICT_NETWORK_DUPLICATE && newBytes > 0) verdict = VERDICT_NEW;
    if (verdict === VERDICT_RETRANSMISSION) transmitted.sentAgain(from, top, tNs, tsValue, ipId);
  } else if (from > sender.sentMax) openHole(sender, from, tNs, tsValue, ipId);
  if (to > sender.sentMax) {
    const beyond = Math.max(from, sender.sentMax);
    if (transmitted.full) transmitted.retire(tNs - Math.max(KEEP_NS, 2 * sender.roundTripNs || 0));
    transmitted.append(beyond, to - beyond, tNs, tsValue, ipId, 1);
    sender.sentMax = to;
    sender.nextSeq = (rows.seq[row]! + (rows.flags[row]! & FLAG_SYN ? 1 : 0) + length) >>> 0;
  }
  rows.newBytes[row] = newBytes;
  if (sender.holes.count > 0 && tsValue >= 0 && !sender.isAtSender) {
    if (verdict === VERDICT_NEW || verdict === VERDICT_RETRANSMISSION) countOvertaken(sender, from, tNs, tsValue);
  }
  if (rows.verdict[row] === VERDICT_NONE) rows.verdict[row] = verdict;
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

/** What triggered it, and the recovery it begins or belongs to. */
function noteRetransmission(
  rows: SegmentRows,
  row: number,
  tNs: number,
  sender: Direction,
  from: number,
  to: number,
  tsValue: number,
): void {
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
  if (sender.afterTimeout && !sender.isAtSender && tsValue === sender.timeoutTsValue) sender.afterTimeout = false;
  const trigger = triggerOf(sender, from, to, tNs, reactionOf(sender, tNs), tNs - beforeNs, tsValue);
  rows.trigger[row] = trigger;
  sender.cleanFrom = sender.sentMax;
  if (trigger === TRIGGER_PROBE) sender.probing = true;
  else if (trigger === TRIGGER_TIMEOUT || sender.recoveryPoint === Number.NEGATIVE_INFINITY) {
    sender.timeoutDoubtful = sender.afterTimeout || sender.recoveryPoint === Number.NEGATIVE_INFINITY;
    sender.recoveryPoint = sender.sentMax;
    sender.afterTimeout = trigger === TRIGGER_TIMEOUT;
    sender.timeoutTsValue = tsValue;
    sender.repeatedBytes = 0;
  }
  sender.repeatedBytes += to - from;
  sender.repeatedTotal += to - from;
}

/** Time since the sender got the newest acknowledgement, as far as the capture point can tell. */
function reactionOf(sender: Direction, tNs: number): number {
  if (sender.isAtSender) return tNs - sender.latestAckNs;
  return tNs - sender.known.passedNs - sender.echoLoopMinNs;
}

/** Fills what the sender knew when it sent the row. */
function describeView(rows: SegmentRows, row: number, tNs: number, sender: Direction, news: boolean): void {
  const { known, sacked, sentMax } = sender;
  const near = sender.isAtSender;
  const acked = near ? sender.acked : known.acked;
  const edge = near ? sender.edge : known.edge;
  const flight = sentMax - acked;
  rows.flight[row] = flight;
  rows.room[row] = edge - sentMax;
  rows.reactionNs[row] = reactionOf(sender, tNs);
  // RFC 6675 §4: above the highest SACKed byte all is out; below it only what was sent again.
  if (!near) {
    rows.pipe[row] = Math.min(flight, sentMax - known.top + Math.min(sender.repeatedBytes, known.missing));
    if (!(sentMax - known.ackedAtLeast <= sender.flightAtMost)) sender.flightAtMost = sentMax - known.ackedAtLeast;
  } else if (sacked.count === 0) {
    rows.pipe[row] = flight;
  } else {
    const top = sacked.ends[sacked.count - 1]!;
    const missing = top - acked - sacked.bytes;
    rows.pipe[row] = Math.min(flight, sentMax - top + Math.min(sender.repeatedBytes, missing));
  }
  if (!news || rows.verdict[row] === VERDICT_NETWORK_DUPLICATE || rows.verdict[row] === VERDICT_LATE_ORIGINAL) return;
  if (rows.verdict[row] === VERDICT_REORDERED) return;
  const sampleNs = tNs - known.tickNs;
  const steadyNs = Math.max(STEADY_NS, STEADY_LOOPS * sender.echoLoopMinNs || 0);
  const gapNs = tNs - sender.latestSentNs;
  sender.boundEchoLoop(sampleNs);
  // A sender in recovery, or one that had nothing to send, answers late.
  if (gapNs > steadyNs || sender.recoveryPoint > Number.NEGATIVE_INFINITY) return;
  sender.sampleEchoLoop(sampleNs);
  if (Number.isNaN(rows.loopNs[row]!)) rows.loopNs[row] = sampleNs;
}
