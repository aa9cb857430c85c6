// Congestion control: which family a sender belongs to, from how it answers loss.
//
// Loss-based controls cut what they keep in flight at every loss episode (Reno to 0.5, CUBIC to 0.7), so even their least
// cut is one; rate-based ones go on at the rate they measured, and space their frames by it. Only episodes repaired without
// a timeout count: a timeout cuts with every family.
import type { PacketBatch } from '../../../capture/packet-batch.js';
import { NO_DIRECTION, type SegmentRows, TRIGGER_CONTROL, TRIGGER_FAST, TRIGGER_NONE } from '../../rows.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';

/** Between these lies the answer of a loss-based control; above it, none was given. */
const CUT_MIN = 0.35;
const CUT_MAX = 0.85;
/** Of the answers in ascending order, the one that counts: nearly the least cut. */
const LEAST_CUT = 0.9;
const EPISODES_MIN = 3;
const EPISODES_KEPT = 256;
/** Share of time in recovery up to which episodes can be told apart. */
const RECOVERY_SHARE_MAX = 0.3;
/** Fewer bytes than this in flight say nothing: every control keeps a few segments out. */
const FLIGHT_MIN_BYTES = 20_000;

class Answers {
  /** Largest pipe since the last episode ended. */
  before = 0;
  after = 0;
  sentMax = 0;
  recoveryPoint = Number.NEGATIVE_INFINITY;
  timeout = false;
  readonly cuts: number[] = [];
}

export function congestionControl(_: MetricContext): TcpMetric {
  const states = new PerDirection(() => new Answers());
  return {
    push(_: PacketBatch, rows: SegmentRows, from: number, to: number): void {
      const { direction, trigger, flight, pipe, offset, payloadLen } = rows;
      for (let row = from; row < to; row++) {
        if (!(flight[row]! >= 0) || direction[row] === NO_DIRECTION) continue;
        const state = states.at(direction[row]!);
        const end = offset[row]! + payloadLen[row]!;
        if (end > state.sentMax) state.sentMax = end;
        const why = trigger[row]!;
        const acked = state.sentMax - flight[row]!;
        if (state.recoveryPoint > Number.NEGATIVE_INFINITY) {
          if (why !== TRIGGER_NONE && why !== TRIGGER_FAST) state.timeout = true;
          state.after = pipe[row]!;
          if (acked < state.recoveryPoint) continue;
          if (!state.timeout && state.before > FLIGHT_MIN_BYTES && state.cuts.length < EPISODES_KEPT) {
            state.cuts.push(state.after / state.before);
          }
          state.recoveryPoint = Number.NEGATIVE_INFINITY;
          state.before = pipe[row]!;
        } else if (why !== TRIGGER_NONE && why !== TRIGGER_CONTROL) {
          state.recoveryPoint = state.sentMax;
          state.timeout = why !== TRIGGER_FAST;
        } else if (pipe[row]! > state.before) state.before = pipe[row]!;
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (!state) continue;
        const cuts = [...state.cuts].sort((a, b) => a - b);
        const decrease = cuts.length > 0 ? cuts[Math.floor(LEAST_CUT * (cuts.length - 1))]! : null;
        const enough = decrease !== null && cuts.length >= EPISODES_MIN;
        const { pacingRate, limitedBy } = into[side];
        // Where most of the time goes into repair, one episode runs into the next.
        const separate = (limitedBy?.recovery ?? 1) < RECOVERY_SHARE_MAX;
        const family =
          pacingRate !== null || (enough && decrease > CUT_MAX)
            ? 'rate-based'
            : enough && separate && decrease >= CUT_MIN
              ? 'loss-based'
              : 'unknown';
        into[side].congestionControl = { family, decrease, episodes: cuts.length };
      }
    },
  };
}
