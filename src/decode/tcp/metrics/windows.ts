// Windows: what each receiver allowed its sender, and the times it allowed nothing.
//
// Windows are collected raw and scaled at the end, because without the SYNs the scale is inferred only later. An episode
// opens with the first window 0 and closes when a full segment fits again. One still open at the end counts up to the
// connection's last frame: a receiver that never reads again is what the analysis is for.
import {
  FLAG_ACK,
  FLAG_RST,
  FLAG_SYN,
  NO_DIRECTION,
  OPTION_SACK,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_NETWORK_DUPLICATE,
} from '../../rows.js';
import { TCP_EPISODE_KINDS, TCP_EVENT_KINDS } from '../results.js';
import { type BucketRoom, LogHistogram } from './histogram.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';
import { SERIES_WINDOW_MAX, SERIES_WINDOW_MIN } from './timelines.js';

const ZERO_WINDOW = TCP_EPISODE_KINDS.indexOf('zero-window');
const START = TCP_EVENT_KINDS.indexOf('zero-window-start');
const END = TCP_EVENT_KINDS.indexOf('zero-window-end');
const SHRINK = TCP_EVENT_KINDS.indexOf('window-shrink');
/** The right edge stands still while it moves by less than this share of what is acknowledged: Linux gives away what its books allow. */
const STILL_SHARE = 1 / 4;
/** For less time, or with more of the window left, it is a reader that takes turns. */
const FROZEN_NS = 10e6;
const LEFT_SHARE_MAX = 3 / 4;

const NEVER_FROZEN = { episodes: 0, totalNs: 0, longestNs: 0 };

/** Of a direction with data: what its peer advertised. */
class Window {
  readonly raw: LogHistogram;
  /** Highest acknowledgement; older ones carry older windows. */
  acked = Number.NEGATIVE_INFINITY;
  edge = Number.NaN;
  /** Bytes per unit of the raw window; NaN while not known. */
  unit = Number.NaN;
  /** Largest payload of a single segment. */
  segmentBytes = 1;
  shrinks = 0;
  updates = 0;
  episodes = 0;
  closedSinceNs = Number.NaN;
  closedFrame = 0;
  closedNs = 0;
  // Since when the right edge hardly moves, NaN when it does; the last acknowledgement that found it so, and where it began.
  frozenFromNs = Number.NaN;
  frozenToNs = Number.NaN;
  leftBytes = 0;
  edgeThen = Number.NaN;
  ackedThen = Number.NaN;
  frozen = NEVER_FROZEN;

  constructor(room: BucketRoom) {
    this.raw = new LogHistogram(room);
  }

  /**
   * Takes what is acknowledged and the right edge, before they replace those of the acknowledgement before. A sender that
   * pauses gets none that could move it: only a closed window says more. And while a hole is open, nobody could read what
   * lies beyond it.
   */
  followEdge(tNs: number, acked: number, edge: number, unit: number, holed: boolean): void {
    const frozen = this.frozenFromNs >= 0;
    const moved = edge - (frozen ? this.edgeThen : this.edge);
    const advanced = acked - (frozen ? this.ackedThen : this.acked);
    // One unit of the scale is rounding (RFC 7323 §2.4).
    if (holed || !(moved < unit + STILL_SHARE * advanced)) {
      if (frozen) this.thaw(tNs);
    } else if (acked > this.acked) {
      if (!frozen) {
        this.frozenFromNs = tNs;
        this.edgeThen = this.edge;
        this.ackedThen = this.acked;
      }
      this.frozenToNs = tNs;
      this.leftBytes = edge - acked;
    }
  }

  /** Ends the time in which the edge stood still. */
  thaw(tNs: number): void {
    const durationNs = (this.closedSinceNs >= 0 ? tNs : this.frozenToNs) - this.frozenFromNs;
    this.frozenFromNs = Number.NaN;
    const grantedBytes = this.edgeThen - this.ackedThen;
    if (!(durationNs >= FROZEN_NS && this.leftBytes <= LEFT_SHARE_MAX * grantedBytes)) return;
    const { episodes, totalNs, longestNs } = this.frozen;
    this.frozen = {
      episodes: episodes + 1,
      totalNs: totalNs + durationNs,
      longestNs: Math.max(longestNs, durationNs),
    };
  }
}

export function windows({ rows, newRoom, timelines, events, episodes }: MetricContext): TcpMetric {
  const { direction, flags, window, windowBytes, ackOffset, verdict, segments, payloadLen, options, tNs } = rows;
  const buckets = newRoom();
  const states = new PerDirection(
    () => new Window(buckets),
    (state) => state.raw.release(),
  );
  const close = (direction: number, state: Window, tNs: number): void => {
    const durationNs = tNs - state.closedSinceNs;
    state.closedNs += durationNs;
    episodes.add(ZERO_WINDOW, direction, state.closedFrame, state.closedSinceNs, durationNs, 0, 0);
    state.closedSinceNs = Number.NaN;
  };
  return {
    push(from: number, to: number, zeroFrame: number): void {
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (segments[row]! > 0) {
          const own = states.at(id);
          if (segments[row] === 1 && payloadLen[row]! > own.segmentBytes) own.segmentBytes = payloadLen[row]!;
        }
        // A reset advertises nothing, and the window of a SYN is not scaled.
        if (id === NO_DIRECTION || (flags[row]! & (FLAG_ACK | FLAG_RST | FLAG_SYN)) !== FLAG_ACK) continue;
        if (verdict[row] === VERDICT_CAPTURE_DUPLICATE || verdict[row] === VERDICT_NETWORK_DUPLICATE) continue;
        const data = id ^ 1;
        const state = states.find(data);
        // Nothing to limit before the first data.
        if (state === undefined) continue;
        const acked = ackOffset[row]!;
        if (acked < state.acked) continue;
        const repeats = acked === state.acked && payloadLen[row] === 0 && (options[row]! & OPTION_SACK) === 0;
        const raw = window[row]!;
        const t = tNs[row]!;
        state.raw.add(raw);
        const timeline = timelines.find(data);
        if (timeline !== undefined) {
          const bin = timeline.bin(t);
          const least = timeline.bins.series[SERIES_WINDOW_MIN]!;
          const most = timeline.bins.series[SERIES_WINDOW_MAX]!;
          if (!(least[bin]! <= raw)) least[bin] = raw;
          if (!(most[bin]! >= raw)) most[bin] = raw;
        }
        const scaled = windowBytes[row]!;
        const edge = acked + scaled;
        if (repeats && edge > state.edge) state.updates++;
        // One unit of the scale is rounding (RFC 7323 §2.4).
        const unit = raw > 0 ? scaled / raw : state.unit;
        const shrunk = unit === state.unit && edge < state.edge - unit;
        if (shrunk) {
          state.shrinks++;
          events.add(SHRINK, data, zeroFrame + row, t, edge, state.edge - edge);
        }
        state.followEdge(t, acked, edge, unit, (options[row]! & OPTION_SACK) !== 0);
        state.acked = acked;
        // What was taken back is taken back once.
        if (shrunk || unit !== state.unit || !(edge < state.edge)) state.edge = edge;
        state.unit = unit;
        if (raw === 0) {
          if (Number.isNaN(state.closedSinceNs)) {
            state.episodes++;
            state.closedSinceNs = t;
            state.closedFrame = zeroFrame + row;
            events.add(START, data, state.closedFrame, t, acked, 0);
          }
        } else if (!Number.isNaN(state.closedSinceNs)) {
          // A window below one segment is as good as closed (silly window avoidance); an unknown scale cannot tell.
          if (!(scaled < state.segmentBytes)) {
            events.add(END, data, zeroFrame + row, t, acked, scaled);
            close(data, state, t);
          }
        }
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const data = 2 * connection.id + side;
        const state = states.find(data);
        if (state === undefined) continue;
        state.thaw(connection.endNs);
        if (!Number.isNaN(state.closedSinceNs)) close(data, state, connection.endNs);
        const { windowUnit, windowScaleInferred } = connection.directions[side];
        into[side].window = Number.isNaN(windowUnit) ? null : state.raw.quantiles(windowUnit);
        into[side].frozenEdge = Number.isNaN(windowUnit) ? null : state.frozen;
        into[side].windowScaleInferred = windowScaleInferred;
        into[side].windowShrinks = state.shrinks;
        into[side].windowUpdates = state.updates;
        into[side].zeroWindow = { episodes: state.episodes, totalNs: state.closedNs };
      }
    },
  };
}
