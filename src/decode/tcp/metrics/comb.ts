// Comb: pauses that end every 100 ms, the mark of QEMU's rate limiter.
//
// QEMU allows a tenth of the limit in each slice of 100 ms and then waits for the next (migration/migration.c,
// migration_rate_limit() and BUFFER_DELAY). So the longest pause of each slice ends with the slice. A path or a processor
// that pauses now and then makes its longest pauses end anywhere.
const PERIOD_NS = 100e6;
/** A slice starts late by what the host takes to wake up, and the next one may make up for it. */
const EARLY_NS = 8e6;
const LATE_NS = 10e6;
/** Shortest pause that can be a wait for the next slice. */
export const PAUSE_NS = 2e6;
/** Slices in a row before they are believed. */
const BELIEVE = 3;

/** A pause that ended a slice: when it was and what it was charged to. */
export interface Pause {
  readonly fromNs: number;
  readonly toNs: number;
  readonly state: number;
}

const NONE: readonly Pause[] = [];

export class Comb {
  /** Slices that ended in time, in the runs that are believed. */
  periods = 0;
  /** Sums over believed slices, for mean and variation. */
  #sumNs = 0;
  #sumBytes = 0;
  #sumSquares = 0;
  /** Slices in time that are not believed yet. */
  #run: { readonly pause: Pause; readonly lengthNs: number; readonly bytes: number }[] = [];
  #believed = false;
  #edgeNs = Number.NaN;
  #edgeBytes = 0;
  #longest: Pause | null = null;
  #longestBytes = 0;

  /**
   * Takes a pause not explained otherwise that ends at `toNs`; `bytes` is all that was sent before it.
   * Returns the pauses that turn out to be waits for the rate limiter.
   */
  pause(fromNs: number, toNs: number, state: number, bytes: number): readonly Pause[] {
    if (toNs - fromNs < PAUSE_NS) return NONE;
    let found = NONE;
    if (Number.isNaN(this.#edgeNs)) this.#restart(toNs, bytes);
    else if (toNs - this.#edgeNs > PERIOD_NS + LATE_NS) found = this.#endSlice(toNs, bytes);
    // A pause that the slice is reckoned from is none within it.
    const within = toNs > this.#edgeNs;
    if (within && (this.#longest === null || toNs - fromNs > this.#longest.toNs - this.#longest.fromNs)) {
      this.#longest = { fromNs, toNs, state };
      this.#longestBytes = bytes;
    }
    return found;
  }

  /** Ends the last slice; returns as `pause` does. */
  finish(): readonly Pause[] {
    return this.#endSlice(Number.POSITIVE_INFINITY, 0);
  }

  /** Mean period, mean bytes of a period and their coefficient of variation; null without a comb. */
  summary(): { periodNs: number; periods: number; bytesPerPeriod: number; bytesVariation: number } | null {
    const { periods } = this;
    if (periods === 0) return null;
    const mean = this.#sumBytes / periods;
    const variance = Math.max(0, this.#sumSquares / periods - mean * mean);
    return {
      periodNs: this.#sumNs / periods,
      periods,
      bytesPerPeriod: mean,
      bytesVariation: mean > 0 ? Math.sqrt(variance) / mean : 0,
    };
  }

  #endSlice(toNs: number, bytes: number): readonly Pause[] {
    const longest = this.#longest;
    const lengthNs = longest === null ? 0 : longest.toNs - this.#edgeNs;
    if (longest === null || lengthNs < PERIOD_NS - EARLY_NS || lengthNs > PERIOD_NS + LATE_NS) {
      if (toNs < Number.POSITIVE_INFINITY) this.#restart(toNs, bytes);
      return NONE;
    }
    this.#run.push({ pause: longest, lengthNs, bytes: this.#longestBytes - this.#edgeBytes });
    this.#edgeNs = longest.toNs;
    this.#edgeBytes = this.#longestBytes;
    this.#longest = null;
    if (this.#run.length < BELIEVE && !this.#believed) return NONE;
    this.#believed = true;
    const found = this.#run;
    this.#run = [];
    for (const slice of found) {
      this.periods++;
      this.#sumNs += slice.lengthNs;
      this.#sumBytes += slice.bytes;
      this.#sumSquares += slice.bytes * slice.bytes;
    }
    return found.map(({ pause }) => pause);
  }

  /** The next slice is reckoned from here; slices not yet believed do not count. */
  #restart(edgeNs: number, bytes: number): void {
    this.#run = [];
    this.#believed = false;
    this.#edgeNs = edgeNs;
    this.#edgeBytes = bytes;
    this.#longest = null;
  }
}
