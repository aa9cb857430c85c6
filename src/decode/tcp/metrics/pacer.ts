// Pacer: whether a sender spaces its frames by a timer, and when that timer would next let it send.
//
// A paced sender (BBR, or a socket with a maximum rate) sends a few segments at once and then waits as long as they take at
// its pacing rate, window or no window. Such waits end without an acknowledgement, and their length per byte is always the
// same; an application's are not. Source: Linux tcp_update_skb_after_send(), which also lets a late sender catch up.
import { WIDE_ZERO } from '../../../wide-zero.js';

/** Frames closer than this leave together. */
export const CLUSTER_GAP_NS = 100e3;
/** A wait longer than this after an acknowledgement was not ended by it. */
const TIMER_NS = 50e3;
/** Longer gaps are pauses. */
const GAP_MAX_NS = 20e6;
const SAMPLES = 32;
/** Order statistics of the samples that must agree, and how well: of one sender, and of several that take turns. */
const MIDDLE = 16;
const UPPER = 28;
export const UPPER_SHARED = 24;
const AGREEMENT = 0.05;
/** Part of a wait that lateness can save. */
const CATCH_UP = 0.5;

export class Pacer {
  /** The waits agree: this sender paces. */
  paces = false;
  #nsPerByte = Number.NaN;
  /** The latest samples, as they came and by size. */
  #samples: Float64Array | undefined;
  #sorted: Float64Array | undefined;
  #sampled = 0;
  #clusterNs = Number.NaN;
  #clusterBytes = WIDE_ZERO;
  #lateNs = 0;

  /** @param upper order statistic of the last 32 waits up to which they must agree */
  constructor(readonly upper = UPPER) {}

  /** Pacing rate, bytes per second; NaN before it is known. */
  get rate(): number {
    return 1e9 / this.#nsPerByte;
  }

  /** When the timer lets the sender send again; NaN before it is known. */
  get allowedNs(): number {
    const waitNs = this.#nsPerByte * this.#clusterBytes;
    return this.#clusterNs + waitNs - Math.min(CATCH_UP * waitNs, this.#lateNs);
  }

  /**
   * Takes a frame with payload. `reactionNs`: time since the newest acknowledgement; `hadRoom`: the window alone would
   * have let the sender send before.
   */
  sent(tNs: number, gapNs: number, bytes: number, reactionNs: number, hadRoom: boolean): void {
    if (gapNs <= CLUSTER_GAP_NS) {
      this.#clusterBytes += bytes;
      return;
    }
    if (reactionNs > TIMER_NS && gapNs < GAP_MAX_NS && hadRoom && this.#clusterBytes > 0) {
      this.#sample((tNs - this.#clusterNs) / this.#clusterBytes);
    }
    this.#lateNs = Math.max(0, tNs - this.allowedNs) || 0;
    this.#clusterNs = tNs;
    this.#clusterBytes = bytes;
  }

  #sample(nsPerByte: number): void {
    const samples = (this.#samples ??= new Float64Array(SAMPLES));
    const at = this.#sampled++ % SAMPLES;
    const oldest = samples[at]!;
    samples[at] = nsPerByte;
    if (this.#sampled < SAMPLES) return;
    const sorted = (this.#sorted ??= samples.slice().sort());
    if (this.#sampled > SAMPLES) replace(sorted, oldest, nsPerByte);
    this.#nsPerByte = sorted[MIDDLE]!;
    this.paces = sorted[this.upper]! - sorted[MIDDLE]! < AGREEMENT * sorted[MIDDLE]!;
  }
}

/** Puts `value` in the place of one `old` and keeps the order. */
function replace(sorted: Float64Array, old: number, value: number): void {
  let at = sorted.indexOf(old);
  for (; at > 0 && sorted[at - 1]! > value; at--) sorted[at] = sorted[at - 1]!;
  for (; at < sorted.length - 1 && sorted[at + 1]! < value; at++) sorted[at] = sorted[at + 1]!;
  sorted[at] = value;
}
