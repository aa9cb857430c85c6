// Classification of segments that do not simply continue the stream (tables 1, 2 and 4 of the TCP reference).
//
// Reads a direction's state, changes nothing. The order of the tests is that of the tables: the first that holds decides.
import {
  TRIGGER_FAST,
  TRIGGER_GO_BACK,
  TRIGGER_PROBE,
  TRIGGER_TIMEOUT,
  TRIGGER_UNKNOWN,
  VERDICT_KEEP_ALIVE,
  VERDICT_LATE_ORIGINAL,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_NEW,
  VERDICT_NONE,
  VERDICT_REORDERED,
  VERDICT_RETRANSMISSION,
  VERDICT_WINDOW_PROBE,
} from '../rows.js';
import { type Direction, HOLE_FOUND_NS, HOLE_IP_ID, HOLE_TS_VALUE } from './direction.js';
import { IpIds } from './ip-ids.js';
import { SAME_TICK_NS } from './twins.js';

/** An answer within this time after an acknowledgement is its doing: host stack and capture jitter. */
const ACK_CLOCKED_NS = 3e6;
/** A capture of several queues may hold an acknowledgement before the data it acknowledges. */
export const CAPTURE_REORDER_NS = 1e6;
/** A tick of most timestamp clocks (Linux, FreeBSD). */
const TICK_NS = 1e6;
/** Least retransmission timeout beyond the round trip. Source: Linux TCP_RTO_MIN. */
const TIMEOUT_MIN_NS = 200e6;
/** The coarsest clock that timestamps are taken from (Linux before 4.13 with HZ=100). */
const COARSE_TICK_NS = 10e6;
/** No timer makes a sender repeat data sooner. Source: Linux TCP_TIMEOUT_MIN, two ticks of at least a millisecond. */
const TIMER_MIN_NS = 2e6;

/**
 * Whether a segment of at most one byte tests the peer instead of carrying data (table 4).
 *
 * Linux sends neither with payload: both are an empty segment one byte below what is acknowledged (tcp_xmit_probe_skb);
 * BSD and Windows send a byte. Returns VERDICT_NONE when it is an ordinary segment.
 */
export function probeVerdict(sender: Direction, start: number, length: number): number {
  if (Number.isNaN(sender.acked) || length > 1) return VERDICT_NONE;
  const { acked, sentMax } = sender;
  if (sender.windowClosed) {
    const atEdge = length === 0 ? start === acked - 1 : start === acked || start === acked - 1 || start === sentMax;
    return atEdge ? VERDICT_WINDOW_PROBE : VERDICT_NONE;
  }
  return start === sentMax - 1 && sentMax === acked && sender.dataFrames > 0 ? VERDICT_KEEP_ALIVE : VERDICT_NONE;
}

/**
 * What a segment is whose first byte lies below the highest one sent (table 1, rows D1 to F6).
 *
 * @param tsValue timestamp value, −1 where the frame shows none
 */
export function verdictBelow(
  sender: Direction,
  start: number,
  length: number,
  tNs: number,
  tsValue: number,
  ipId: number,
): number {
  const { holes, transmitted } = sender;
  const hole = holes.find(start);
  if (hole < holes.count && holes.starts[hole]! <= start) return fillVerdict(sender, hole, tNs, tsValue, ipId);
  if (sender.unseen.count > 0 && sender.unseen.covered(start, start + 1) > 0) return VERDICT_REORDERED;

  // The latest copy of the first byte: what was sent in order, or what filled a hole later.
  let copyTsValue = Number.NaN;
  let copyIpId = -1;
  let copyNs = Number.NaN;
  let copyStart = start;
  let copyLength = -1;
  const entry = transmitted.find(start);
  if (entry < transmitted.next && transmitted.start(entry) <= start && transmitted.sends(entry) > 0) {
    copyTsValue = transmitted.tsValue(entry);
    copyIpId = transmitted.ipId(entry);
    copyNs = transmitted.sentNs(entry);
    copyStart = transmitted.start(entry);
    copyLength = transmitted.end(entry) - copyStart;
  } else {
    const fill = sender.findFill(start);
    if (fill >= 0) {
      const fills = sender.fills!;
      copyTsValue = fills[fill + 2]!;
      copyIpId = fills[fill + 3]!;
      copyNs = fills[fill + 4]!;
      copyStart = fills[fill]!;
      copyLength = fills[fill + 1]! - copyStart;
    }
  }
  if (copyIpId < 0) return VERDICT_RETRANSMISSION;
  const stamped = tsValue >= 0;
  const sameTick = !stamped || tsValue === copyTsValue;
  const { ipIds } = sender;
  if (ipIds.constant) {
    const soon = tNs - copyNs < 0.5 * sender.roundTripMinNs;
    const noLossKnown = sender.sacked.count === 0 && sender.repeatedAcks === 0;
    if (sameTick && length === copyLength && soon && noLossKnown) return VERDICT_NETWORK_DUPLICATE;
    // Cut out of a frame that passed a moment before: an offloaded one on its way into a host and out of it again. Where
    // nearly every frame is captured twice, it is that even while a loss is known.
    const cutOut = length < copyLength && start + length <= copyStart + copyLength;
    const unprompted = noLossKnown || sender.dataTwins.doubled;
    if (stamped && sameTick && soon && cutOut && unprompted) return VERDICT_NETWORK_DUPLICATE;
    if (stamped && sameTick && tNs - copyNs > SAME_TICK_NS) return VERDICT_NETWORK_DUPLICATE;
  } else if (sameTick && ipId === ((copyIpId + segmentsBefore(sender, start - copyStart)) & 0xffff)) {
    return VERDICT_NETWORK_DUPLICATE;
  }
  if (stamped && tsValue !== copyTsValue) {
    return ((tsValue - copyTsValue) | 0) < 0 ? VERDICT_LATE_ORIGINAL : VERDICT_RETRANSMISSION;
  }
  return ipIds.counting && !ipIds.constant && IpIds.isOlder(ipId, copyIpId)
    ? VERDICT_LATE_ORIGINAL
    : VERDICT_RETRANSMISSION;
}

/** Segments that the first `bytes` of a frame become on the wire: the identification of what follows is higher by as many. */
const segmentsBefore = (sender: Direction, bytes: number): number =>
  bytes > 0 && sender.segmentBytes > 0 ? Math.floor(bytes / sender.segmentBytes) : 0;

/**
 * Whether a segment that fills a hole is an original out of order or a retransmission.
 *
 * Without help from timestamps and identification time decides: a retransmission can be caused by the hole only after one
 * whole round trip, wherever the capture point is; and not at all before the peer has reported something missing, unless a
 * timer ran out. Taps of several queues put neighbours in the wrong order; on short paths only the missing report tells.
 */
function fillVerdict(sender: Direction, hole: number, tNs: number, tsValue: number, ipId: number): number {
  const { notes } = sender.holes;
  const revealedBy = notes[HOLE_TS_VALUE]![hole]!;
  const foundNs = notes[HOLE_FOUND_NS]![hole]!;
  const revealedById = notes[HOLE_IP_ID]![hole]!;
  const sinceNs = tNs - foundNs;
  if (revealedById < 0) {
    // An acknowledgement came first. What was sent no later than the frame it echoes, or follows what was sent before
    // without a gap, is what it acknowledged: the capture has the two in the wrong order.
    const answered = tsValue >= 0 && revealedBy >= 0 && ((tsValue - revealedBy) | 0) <= 0;
    if (answered || sinceNs <= CAPTURE_REORDER_NS) return VERDICT_NEW;
    if (sender.ipIds.counting && !sender.ipIds.constant && sender.ipIds.inSequence) return VERDICT_NEW;
  }
  if (tsValue >= 0 && revealedById >= 0 && tsValue !== revealedBy) {
    return ((tsValue - revealedBy) | 0) < 0 ? VERDICT_REORDERED : VERDICT_RETRANSMISSION;
  }
  const { ipIds } = sender;
  if (ipIds.counting && !ipIds.constant && revealedById >= 0) {
    return IpIds.isOlder(ipId, revealedById) ? VERDICT_REORDERED : VERDICT_RETRANSMISSION;
  }
  // Sent in the same tick as the frame that overtook it: a retransmission would have been sent a round trip after that.
  if (tsValue >= 0 && revealedById >= 0 && sender.roundTripMinNs > COARSE_TICK_NS) return VERDICT_REORDERED;
  const unreported = sender.latestReportNs < foundNs && !Number.isNaN(sender.latestAckNs);
  const tooSoon = sinceNs < 0.9 * sender.roundTripMinNs || (unreported && sinceNs < TIMER_MIN_NS);
  return tooSoon ? VERDICT_REORDERED : VERDICT_RETRANSMISSION;
}

/**
 * What made the sender transmit [start, end) again (table 2).
 *
 * @param reactionNs time since the sender got the newest acknowledgement, NaN where not known
 * @param sinceSentNs time since the range was sent before (or was found missing)
 * @param tsValue timestamp value, −1 where the frame shows none
 */
export function triggerOf(
  sender: Direction,
  start: number,
  end: number,
  tNs: number,
  reactionNs: number,
  sinceSentNs: number,
  tsValue: number,
): number {
  const { sacked, sentMax } = sender;
  // What the sender knew is not in the capture.
  if (Number.isNaN(sender.acked)) return TRIGGER_UNKNOWN;
  const inRecovery = sender.recoveryPoint > Number.NEGATIVE_INFINITY;
  // Away from the sender a report may be settled before the retransmission that it caused passes.
  const lossReported =
    inRecovery ||
    sacked.count > 0 ||
    sender.repeatedAcks > 0 ||
    (!sender.isAtSender && tNs - sender.latestReportNs < 2 * sender.roundTripNs);
  // Away from the sender queues add to its reaction; its own clock tells how long it was silent at most.
  const silentNs = sender.isAtSender || tsValue < 0 ? Number.NaN : ((tsValue - sender.latestTsValue) | 0) * TICK_NS;
  const quietNs = silentNs < reactionNs ? silentNs : reactionNs;
  // A timer that ran while the sender was silent knows nothing of the queues that the smoothed round trip holds here.
  const timeoutNs = silentNs >= 0 ? TIMEOUT_MIN_NS + sender.roundTripMinNs : sender.timeoutNs;
  const spreadNs = sender.isAtSender ? 0 : Math.min(2 * sender.echoLoopVarNs, timeoutNs / 2);
  const ackClocked = quietNs <= ACK_CLOCKED_NS + spreadNs;
  const first = start <= sender.acked;
  // A first report that may mean mere reordering is waited on for a round trip at most (RFC 8985 §6.2, RACK_reo_timer).
  const reorderTimer = !inRecovery && sacked.count > 0 && quietNs < sender.roundTripNs;
  if ((!ackClocked && !reorderTimer) || !lossReported) {
    // Away from the sender a hole may be old because its turn came late; silence is what a timer needs.
    const waitedNs = sender.isAtSender ? Math.max(sinceSentNs, reactionNs) : quietNs;
    // Linux sends at most one probe an episode, only while nothing is reported lost, and needs SACK for it
    // (tcp_schedule_loss_probe). With one segment out it waits as long as the timer proper would.
    const mayProbe = !inRecovery && !sender.probing && sacked.count === 0 && sender.sackUsable;
    if (end === sentMax && mayProbe && waitedNs < 1.8 * timeoutNs) return TRIGGER_PROBE;
    if (first && waitedNs >= 0.8 * timeoutNs) return TRIGGER_TIMEOUT;
  }
  // Linux counts by the state it is in, not by what reported the loss (tcp_xmit_retransmit_queue); told of a smaller path
  // MTU it sends all again that was cut too large, as after a timeout (tcp_simple_retransmit).
  if (inRecovery && (sender.afterTimeout || sender.recut)) return TRIGGER_GO_BACK;
  return lossReported ? TRIGGER_FAST : TRIGGER_UNKNOWN;
}
