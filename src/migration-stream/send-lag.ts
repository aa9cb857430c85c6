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

/** Linux since 4.13, whatever its timer's frequency (net/ipv4/tcp_output.c, tcp_clock_ts()). */
const TICK_NS = 1e6;
/** Clocks that nobody sets differ by as much. */
const DRIFT = 2e-5;
/** A larger part of the time since the quickest frame is another kind of clock. */
const LAG_SHARE = 0.25;

export class SendLags {
  readonly #stampOf: (frame: number) => FrameStamp | null;
  /** By direction. */
  readonly #quickest = new Map<number, FrameStamp>();

  /** @param stampOf  null for a frame that has none, or is no longer at hand */
  constructor(stampOf: (frame: number) => FrameStamp | null) {
    this.#stampOf = stampOf;
  }

  /** Lag of a frame that is being read, ns; 0 where its timestamp does not tell. */
  readonly of = (frame: number): number => {
    const stamp = this.#stampOf(frame);
    if (!stamp) return 0;
    const quickest = this.#quickest.get(stamp.direction);
    const elapsedNs = quickest ? stamp.tNs - quickest.tNs : 0;
    const ticks = quickest ? (stamp.tick - quickest.tick) | 0 : 0;
    const lagNs = (1 - DRIFT) * elapsedNs - ticks * TICK_NS;
    if (lagNs <= 0) this.#quickest.set(stamp.direction, stamp);
    return lagNs > 0 && lagNs < LAG_SHARE * elapsedNs ? lagNs : 0;
  };

  /** The id is given to another connection. */
  forget(connection: number): void {
    this.#quickest.delete(2 * connection);
    this.#quickest.delete(2 * connection + 1);
  }
}
