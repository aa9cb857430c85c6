// Send lag: how much longer a frame was under way from its sender's TCP to the point of capture than the quickest before it.
//
// TSval says when TCP made a segment (RFC 7323 §4.1), in ms by a clock whose zero nobody knows. What then waits in a queue of the
// host or of the path, behind other connections' frames, is captured that much later. The clocks of two hosts drift apart,
// so what was quickest long ago counts for less. A clock that ticks otherwise tells nothing: a slower one seems to fall behind
// all the time, a faster one makes every frame the quickest.

/** When a TCP frame was captured, and its TSval. */
export interface FrameStamp {
  readonly direction: number;
  readonly tNs: number;
  readonly tick: number;
}

/** What tells how late frames were captured. */
export interface Lags {
  /** Lag of a frame that is being read, ns; 0 where its timestamp does not tell. */
  of(frame: number): number;
  /** The timestamp of a frame that is being read; null where it has none. */
  stamp(frame: number): FrameStamp | null;
  /** By how much more an `earlier` frame was late than one that is being read, ns; NaN where timestamps do not tell. */
  behind(earlier: FrameStamp | null, frame: number): number;
}

export const NO_LAGS: Lags = { of: () => 0, stamp: () => null, behind: () => Number.NaN };

/** Linux since 4.13, whatever its timer's frequency (net/ipv4/tcp_output.c, tcp_clock_ts()). */
const TICK_NS = 1e6;
/** Clocks that nobody sets differ by as much. */
const DRIFT = 2e-5;
/** A larger part of the time since the first frame is another kind of clock. */
const LAG_SHARE = 0.25;
/** A clock by which more than so many times as long has passed, or as little, is another kind: 10 ms, 4 ms and 1 µs are usual. */
const MOST_FAST = 2;

export class SendLags implements Lags {
  readonly #stampOf: (frame: number) => FrameStamp | null;
  /** By direction. */
  readonly #first = new Map<number, FrameStamp>();
  readonly #quickest = new Map<number, FrameStamp>();

  /** @param stampOf  null for a frame that has none, or is no longer at hand */
  constructor(stampOf: (frame: number) => FrameStamp | null) {
    this.#stampOf = stampOf;
  }

  readonly of = (frame: number): number => {
    const stamp = this.#stampOf(frame);
    if (!stamp) return 0;
    const { direction } = stamp;
    const first = this.#first.get(direction);
    if (!first) this.#first.set(direction, stamp);
    const quickest = this.#quickest.get(direction) ?? stamp;
    const lagNs = apart(quickest, stamp) - DRIFT * (stamp.tNs - quickest.tNs);
    if (lagNs <= 0) this.#quickest.set(direction, stamp);
    return lagNs > 0 && first && lagNs < LAG_SHARE * (stamp.tNs - first.tNs) ? lagNs : 0;
  };

  readonly stamp = (frame: number): FrameStamp | null => this.#stampOf(frame);

  readonly behind = (earlier: FrameStamp | null, frame: number): number => {
    const stamp = this.#stampOf(frame);
    const first = stamp && this.#first.get(stamp.direction);
    if (!earlier || !first || earlier.direction !== stamp.direction) return Number.NaN;
    const elapsedNs = stamp.tNs - first.tNs;
    const tickedNs = elapsedNs - apart(first, stamp);
    const isLike = tickedNs < MOST_FAST * elapsedNs && elapsedNs < MOST_FAST * tickedNs;
    return isLike ? -apart(earlier, stamp) : Number.NaN;
  };

  /** The id is given to another connection. */
  forget(connection: number): void {
    for (const direction of [2 * connection, 2 * connection + 1]) {
      this.#first.delete(direction);
      this.#quickest.delete(direction);
    }
  }
}

/** By how much longer than `from` the frame `to` was under way, by a clock that ticks every ms; ns. */
const apart = (from: FrameStamp, to: FrameStamp): number => to.tNs - from.tNs - ((to.tick - from.tick) | 0) * TICK_NS;
