// LogHistogram: a distribution in buckets of at most 0.8 % relative width, in memory that follows the spread of the values.
//
// The bucket of a value is the top of its IEEE 754 pattern: exponent and seven bits of the fraction. No logarithm needed.
// The first samples are kept as a list of buckets: most connections are short, and a spread takes kilobytes. Two samples are
// their minimum and maximum.
import type { Quantiles } from '../results.js';

const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);
/** Index of the high word: which half of a double comes first depends on the machine. */
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;
/** The high word has 20 bits of the fraction; 7 stay. */
const DROP_BITS = 13;

const NO_COUNTS = new Uint32Array(0);
const NO_BUCKETS: number[] = [];
/** Samples that need no list, and samples kept as a list, at most. */
const ENDS = 2;
const FEW = 64;
/** Buckets in a row that count as one value: at most 5 %. */
const MODE_BUCKETS = 7;

export class LogHistogram {
  samples = 0;
  min = Number.POSITIVE_INFINITY;
  max = 0;
  /** Buckets of the first samples; empty while these are `min` and `max`, and once they are counted. */
  #few = NO_BUCKETS;
  #base = 0;
  #counts = NO_COUNTS;

  /** Adds a value ≥ 0; NaN is not counted. */
  add(value: number): void {
    if (!(value >= 0)) return;
    this.samples++;
    const bucket = bucketOf(value);
    const at = bucket - this.#base;
    if (at >= 0 && at < this.#counts.length) this.#counts[at]!++;
    else if (this.samples > FEW) this.#extend(bucket);
    else if (this.samples > ENDS) this.#keep(bucket);
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  /** One of its own with the same samples. */
  copy(): LogHistogram {
    const copy = new LogHistogram();
    copy.samples = this.samples;
    copy.min = this.min;
    copy.max = this.max;
    copy.#base = this.#base;
    if (this.samples > FEW) copy.#counts = this.#counts.slice();
    else if (this.samples > ENDS) copy.#few = this.#few.slice();
    return copy;
  }

  /** Value below which the share `q` of the samples lies, within a bucket's width. */
  quantile(q: number): number {
    if (this.samples === 0) return this.max;
    const rank = Math.max(1, Math.ceil(q * this.samples));
    if (this.samples <= FEW) {
      const few = this.samples > ENDS ? [...this.#few].sort((a, b) => a - b) : [this.min, this.max].map(bucketOf);
      return Math.min(this.max, Math.max(this.min, middle(few[rank - 1]!)));
    }
    let seen = 0;
    for (let at = 0; at < this.#counts.length; at++) {
      seen += this.#counts[at]!;
      if (seen >= rank) return Math.min(this.max, Math.max(this.min, middle(this.#base + at)));
    }
    return this.max;
  }

  /** The value near which most samples lie, and the share that does, within 5 %; null with few samples. */
  mode(): { readonly value: number; readonly share: number } | null {
    if (this.samples <= FEW) return null;
    const counts = this.#counts;
    let from = 0;
    let most = 0;
    for (let end = 1, near = 0; end <= counts.length; end++) {
      near += counts[end - 1]! - (counts[end - 1 - MODE_BUCKETS] ?? 0);
      if (near <= most) continue;
      most = near;
      from = Math.max(0, end - MODE_BUCKETS);
    }
    let sum = 0;
    for (let at = from; at < from + MODE_BUCKETS && at < counts.length; at++)
      sum += counts[at]! * middle(this.#base + at);
    return { value: sum / most, share: most / this.samples };
  }

  /** The usual quantiles, all values times `scale` and plus `shift`; null without samples. */
  quantiles(scale = 1, shift = 0): Quantiles | null {
    if (this.samples === 0) return null;
    const of = (value: number): number => value * scale + shift;
    return {
      min: of(this.min),
      p50: of(this.quantile(0.5)),
      p95: of(this.quantile(0.95)),
      p99: of(this.quantile(0.99)),
      max: of(this.max),
      samples: this.samples,
    };
  }

  /** Puts a bucket into the list; `min` and `max` are those of the samples before. */
  #keep(bucket: number): void {
    if (this.#few === NO_BUCKETS) this.#few = [bucketOf(this.min), bucketOf(this.max), bucket];
    else this.#few.push(bucket);
  }

  /** Counts what has no place yet: the list, when it is full, and a bucket beyond those there are. */
  #extend(bucket: number): void {
    const few = this.#few;
    this.#few = NO_BUCKETS;
    for (const one of few) this.#count(one);
    this.#count(bucket);
  }

  #count(bucket: number): void {
    const at = bucket - this.#base;
    if (at < 0 || at >= this.#counts.length) this.#makeRoom(bucket);
    this.#counts[bucket - this.#base]!++;
  }

  #makeRoom(bucket: number): void {
    const { length } = this.#counts;
    const first = length === 0 ? bucket - 4 : Math.min(this.#base, bucket);
    const last = length === 0 ? bucket + 4 : Math.max(this.#base + length, bucket + 1);
    // Twice the spread, so that a slow drift does not copy every time.
    const slack = last - first;
    const base = Math.max(0, first - (slack >> 1));
    const counts = new Uint32Array(last + (slack >> 1) - base);
    if (length > 0) counts.set(this.#counts, this.#base - base);
    this.#base = base;
    this.#counts = counts;
  }
}

function bucketOf(value: number): number {
  bits[0] = value;
  return words[HIGH]! >>> DROP_BITS;
}

function middle(bucket: number): number {
  words[HIGH] = (bucket << DROP_BITS) | (1 << (DROP_BITS - 1));
  words[1 - HIGH] = 0;
  return bits[0]!;
}
