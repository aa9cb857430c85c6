// In flight: bytes sent and not acknowledged, as the sender knew it when it sent each frame.
//
// `pipe` leaves out what was reported received or lost; while the network limits the sender it equals the congestion
// window, else it is a lower bound of it. While nothing is in flight the sender is not busy: the network has no part in that.
import { NO_DIRECTION, TRIGGER_NONE } from '../../rows.js';
import type { FlightDoubt, Quantiles } from '../results.js';
import { type BucketRoom, LogHistogram } from './histogram.js';
import { type DirectionEnd, type MetricContext, PerDirection, type TcpMetric } from './metric.js';

/** Bounds nearer to each other than this are as good as one figure. */
const DOUBT_SHARE = 0.05;
/** Share of the window from which on it is as good as full. */
const HIGH_USE_SHARE = 0.95;

class Flight {
  readonly flight: LogHistogram;
  /** Made where it first differs from `flight`: with most connections it never does. */
  pipe: LogHistogram | null = null;
  /** Share of the peer's window. */
  readonly use: LogHistogram;
  /** Since when nearly all of the window is in use, NaN when it is not; and how long it was. */
  highFromNs = Number.NaN;
  highNs = 0;
  /** Time with nothing in flight. */
  idleNs = 0;

  constructor(room: BucketRoom) {
    this.flight = new LogHistogram(room);
    this.use = new LogHistogram(room);
  }

  release(): void {
    this.flight.release();
    this.pipe?.release();
    this.use.release();
  }

  /**
   * Takes a frame with which nearly all of the window is in use, or the one after. Where it is so no more, it was until the
   * newest acknowledgement came, if there was one since.
   */
  followUse(tNs: number, high: boolean, reactionNs: number): void {
    if (this.highFromNs >= 0) {
      const heardNs = tNs - reactionNs;
      const toNs = !high && heardNs > this.highFromNs && heardNs < tNs ? heardNs : tNs;
      // Clocks may step back.
      if (toNs > this.highFromNs) this.highNs += toNs - this.highFromNs;
    }
    this.highFromNs = high ? tNs : Number.NaN;
  }
}

export function inFlight({ rows, newRoom }: MetricContext): TcpMetric {
  const { direction, flight, pipe, room, newBytes, reactionNs, trigger, tNs } = rows;
  const buckets = newRoom();
  const states = new PerDirection(
    () => new Flight(buckets),
    (state) => state.release(),
  );
  return {
    push(from: number, to: number): void {
      for (let row = from; row < to; row++) {
        if (!(flight[row]! >= 0) || direction[row] === NO_DIRECTION) continue;
        const state = states.at(direction[row]!);
        if (pipe[row] !== flight[row]) state.pipe ??= state.flight.copy();
        state.flight.add(flight[row]!);
        state.pipe?.add(pipe[row]!);
        const share = flight[row]! / (flight[row]! + room[row]!);
        state.use.add(share > 1 ? 1 : share);
        if (share > HIGH_USE_SHARE || state.highFromNs >= 0) {
          state.followUse(tNs[row]!, share > HIGH_USE_SHARE, reactionNs[row]!);
        }
        // Nothing else is out: until this frame the sender had nothing to wait for.
        if (flight[row]! <= newBytes[row]! && trigger[row] === TRIGGER_NONE && state.flight.samples > 1) {
          if (reactionNs[row]! > 0) state.idleNs += reactionNs[row]!;
        }
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (!state) continue;
        const doubt = doubtOf(connection.directions[side], state.flight.max);
        into[side].inFlight = middled(state.flight.quantiles(), doubt);
        into[side].inFlightDoubt = doubt;
        into[side].pipe = (state.pipe ?? state.flight).quantiles();
        into[side].windowUse = state.use.quantiles();
        into[side].windowHighUseNs = state.use.samples > 0 ? state.highNs : null;
        const { firstDataNs, lastDataNs, uniqueBytes } = into[side];
        const busyNs = lastDataNs! - firstDataNs! - state.idleNs;
        if (!(busyNs > 0)) continue;
        into[side].busyNs = busyNs;
        into[side].goodputBusy = (uniqueBytes * 1e9) / busyNs;
      }
    },
  };
}

function doubtOf({ atSender, timestamps, flightAtMost }: DirectionEnd, max: number): FlightDoubt | null {
  if (atSender) return null;
  if (!timestamps) return { reason: 'no-timestamps', maxAtLeast: null, maxAtMost: null };
  const open = flightAtMost > (1 + DOUBT_SHARE) * max;
  return open ? { reason: 'one-tick', maxAtLeast: max, maxAtMost: flightAtMost } : null;
}

function middled(flight: Quantiles | null, doubt: FlightDoubt | null): Quantiles | null {
  if (!flight || !doubt || doubt.maxAtMost === null) return flight;
  return { ...flight, max: (flight.max + doubt.maxAtMost) / 2 };
}
