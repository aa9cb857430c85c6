// Overtaken: retransmissions that were lost before the capture point, told by what came in their place.
//
// A sender that knows of a loss repeats the lowest missing bytes before it sends anything above them (Linux
// tcp_xmit_recovery(): first the retransmit queue from its lowest lost segment on, then new data). So a frame from above a
// hole, sent when its sender knew those bytes to be lost, says that they were sent again before it, and were lost again.
// What the sender knew is told by the timestamp it echoes. Before it repeats them once more it needs news: the
// acknowledgement of the frame that overtook (RFC 8985 §6.2). Now and then new data slips out between two repetitions, when
// the pacing timer of Linux ends while an acknowledgement is handled: then the repetition follows, and is taken back.
import { type Direction, HOLE_KNOWN_NS, HOLE_OVERTAKEN_TS } from './direction.js';

/** Ticks of the timestamp clock that hide what happened within them. */
const TICK_NS = 1e6;
/** How long senders wait for what may only be late, share of the least round trip; at least, once they have seen that. */
const REORDER_SHARE = 0.25;
const REORDER_SEEN_SHARE = 0.5;
/** Frames sent within this share of a round trip answer the same news (of the least one, where nothing is out of order). */
const SAME_FLIGHT_SHARE = 0.7;

/** When the acknowledgement passes after which the sender takes for lost what should have come by `tNs`. */
export function knownLostNs(sender: Direction, tNs: number): number {
  return tNs + (sender.ackLoopMinNs || 0) + (reorderWaitNs(sender) || 0) + TICK_NS;
}

/** Every needless repetition reported makes the wait longer, up to the round trip. Source: RFC 8985 §6.2, RACK.reo_wnd. */
function reorderWaitNs({ reordered, duplicateReports, roundTripMinNs, roundTripNs }: Direction): number {
  if (!reordered) return REORDER_SHARE * roundTripMinNs;
  const share = Math.max(REORDER_SEEN_SHARE, REORDER_SHARE * (1 + duplicateReports));
  return Math.min(roundTripNs, share * roundTripMinNs);
}

/** Takes a frame that begins at offset `from` and came in the order sent: counts the segments that it overtook. */
export function countOvertaken(sender: Direction, from: number, tNs: number, tsValue: number): void {
  const { holes, sacked, acked } = sender;
  const { passedNs } = sender.known;
  if (!(passedNs > sender.overtakenDueNs)) return;
  const knownNs = holes.notes[HOLE_KNOWN_NS]!;
  const againNs = knownLostNs(sender, tNs);
  let dueNs = Number.POSITIVE_INFINITY;
  for (let hole = 0; hole < holes.count; hole++) {
    const start = holes.starts[hole]!;
    const end = holes.ends[hole]!;
    if (passedNs > knownNs[hole]! && end <= from) {
      // What the peer has was lost by the capture.
      const arrived = start < acked || sacked.covered(start, end) > 0;
      knownNs[hole] = arrived ? Number.POSITIVE_INFINITY : againNs;
      if (!arrived) {
        add(sender, segmentsOf(sender, end - start));
        holes.notes[HOLE_OVERTAKEN_TS]![hole] = tsValue;
      }
    }
    if (knownNs[hole]! < dueNs) dueNs = knownNs[hole]!;
  }
  sender.overtakenDueNs = dueNs;
}

/**
 * Takes a frame that fills [start, end): sent at the time of what overtook it, it is the repetition that was taken for lost,
 * and only its place in the queue was. Another one would have waited for a round trip.
 */
export function takeBackOvertaken(sender: Direction, start: number, end: number, tsValue: number): void {
  const { holes } = sender;
  const hole = holes.find(start);
  if (hole === holes.count || holes.starts[hole]! > start) return;
  const ticks = (tsValue - holes.notes[HOLE_OVERTAKEN_TS]![hole]!) | 0;
  const known = tsValue >= 0 && !Number.isNaN(holes.notes[HOLE_OVERTAKEN_TS]![hole]!);
  const roundTripNs = sender.reordered ? sender.roundTripNs : sender.roundTripMinNs;
  if (known && ticks * TICK_NS < SAME_FLIGHT_SHARE * roundTripNs) add(sender, -segmentsOf(sender, end - start));
}

function add(sender: Direction, segments: number): void {
  sender.overtaken = Math.max(0, sender.overtaken + segments);
  if (!sender.afterTimeout) sender.overtakenFast = Math.max(0, sender.overtakenFast + segments);
}

const segmentsOf = (sender: Direction, bytes: number): number =>
  Math.ceil(bytes / (sender.segmentBytes || sender.payloadMax));
