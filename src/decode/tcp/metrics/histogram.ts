// LogHistogram: a distribution in buckets of at most 0.8 % relative width, in memory that follows the spread of the values.
//
// The bucket of a value is the top of its IEEE 754 pattern: exponent and seven bits of the fraction. No logarithm needed.
// The first samples are kept as a list of buckets: most connections are short, and a spread takes kilobytes. Two samples are
// their minimum and maximum.
//
// Thousands of connections would need more memory than there is: all histograms of a metric share a room of buckets. Whoever gets
// none makes buckets twice as wide until they fit into the few that everybody has, which the room counts.
// Half of the room is for those that have many samples: they begin anew with narrow buckets.
import { HISTOGRAM_BUCKETS } from '../../../limits.js';
import type { Quantiles } from '../results.js';

const bits = new Float64Array(1);
const words = new Uint32Array(bits.buffer);
/** Index of the high word: which half of a double comes first depends on the machine. */
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;
/** The high word has 20 bits of the fraction; 7 stay. */
const DROP_BITS = 13;

const NO_COUNTS = new Uint32Array(0);
/** Buckets that a histogram has in any case. */
const LEAST_BUCKETS = 64;
/** Samples that need no list, and samples kept as a list, at most: it lies where LEAST_BUCKETS would. */
const ENDS = 2;
const FEW = LEAST_BUCKETS;
/** Buckets in a row that count as one value: at most 5 %. */
const MODE_BUCKETS = 7;
/** The bucket of zero lies far from all others: it is counted beside them. */
const ZERO_BUCKET = 0;
/** Buckets are made by so many: a slow drift does not copy every time. */
const STEP_BUCKETS = 32;
/** Samples that make a histogram worth narrow buckets when room is scarce: those before hardly count then. */
const BUSY_SAMPLES = 4096;

/** Places for LEAST_BUCKETS in one piece of memory: thousands of arrays of their own would take twice as much. */
const SLAB_SLOTS = 256;

/** What the histograms of one metric may have between them: places for LEAST_BUCKETS, and HISTOGRAM_BUCKETS beyond these. */
export class BucketRoom {
  /** Histograms that have wider buckets for want of room. */
  coarse = 0;
  #left = HISTOGRAM_BUCKETS;
  readonly #slabs: Uint32Array[] = [];
  readonly #freeSlots: number[] = [];
  #slots = 0;

  /** A place for LEAST_BUCKETS, all 0: `slab(slot)` from `offsetOf(slot)` on. */
  takeSlot(): number {
    const free = this.#freeSlots.pop();
    if (free !== undefined) {
      this.slab(free).fill(0, offsetOf(free), offsetOf(free) + LEAST_BUCKETS);
      return free;
    }
    if (this.#slots === this.#slabs.length * SLAB_SLOTS) this.#slabs.push(new Uint32Array(SLAB_SLOTS * LEAST_BUCKETS));
    return this.#slots++;
  }

  slab(slot: number): Uint32Array {
    return this.#slabs[Math.floor(slot / SLAB_SLOTS)]!;
  }

  giveSlotBack(slot: number): void {
    this.#freeSlots.push(slot);
  }

  /** Takes `buckets`; false, and nothing is taken, where there are not so many. */
  take(buckets: number, busy: boolean): boolean {
    if (this.#left - buckets < (busy ? 0 : HISTOGRAM_BUCKETS / 2)) return false;
    this.#left -= buckets;
    return true;
  }

  giveBack(buckets: number): void {
    this.#left += buckets;
  }
}

export class LogHistogram {
  samples = 0;
  min = Number.POSITIVE_INFINITY;
  max = 0;
  readonly #room: BucketRoom;
  #buckets: Buckets | null = null;

  /** @param room  shared with others */
  constructor(room = new BucketRoom()) {
    this.#room = room;
  }

  /** Adds a value ≥ 0; NaN is not counted. */
  add(value: number): void {
    if (!(value >= 0)) return;
    this.samples++;
    if (this.samples > ENDS) {
      this.#buckets ??= new Buckets(this.#room, bucketOf(this.min), bucketOf(this.max));
      this.#buckets.add(bucketOf(value), this.samples);
    }
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  /** One of its own with the same samples. */
  copy(): LogHistogram {
    const copy = new LogHistogram(this.#room);
    copy.samples = this.samples;
    copy.min = this.min;
    copy.max = this.max;
    copy.#buckets = this.#buckets?.copy(this.samples) ?? null;
    return copy;
  }

  /** Gives its buckets back: nothing is to be added or asked any more. */
  release(): void {
    this.#buckets?.release();
    this.#buckets = null;
  }

  /** Value below which the share `q` of the samples lies, within a bucket's width. */
  quantile(q: number): number {
    if (this.samples === 0) return this.max;
    const rank = Math.max(1, Math.ceil(q * this.samples));
    const value = this.#buckets?.value(rank, this.samples) ?? (rank === 1 ? this.min : this.max);
    return Math.min(this.max, Math.max(this.min, value));
  }

  /** The value near which most samples lie, and the share that does, within 5 %; null with few samples, or coarse buckets. */
  mode(): { readonly value: number; readonly share: number } | null {
    return this.samples > FEW ? this.#buckets!.mode(this.samples) : null;
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
}

/** The samples of a histogram from the third on: the buckets of the first ones as a list, in a slot; then how many each bucket has. */
class Buckets {
  readonly #room: BucketRoom;
  #zeros = 0;
  /** The first bucket that is counted, how many are, and how often their width was doubled. */
  #base = 0;
  #length = 0;
  #doublings = 0;
  /** The list, or the counts: from `offset` on, in a slot of the room or −1. */
  #counts: Uint32Array = NO_COUNTS;
  #offset = 0;
  #slot = -1;

  constructor(room: BucketRoom, ...first: readonly number[]) {
    this.#room = room;
    this.#make(0);
    this.#counts.set(first, this.#offset);
  }

  get #isCoarse(): boolean {
    return this.#doublings > 0;
  }

  /** Adds the bucket of the latest of so many samples. */
  add(bucket: number, samples: number): void {
    const at = (bucket >>> this.#doublings) - this.#base;
    if (at >= 0 && at < this.#length) this.#counts[this.#offset + at]!++;
    else if (samples > FEW) this.#extend(bucket, samples);
    else this.#counts[this.#offset + samples - 1] = bucket;
    if (samples === BUSY_SAMPLES && this.#isCoarse) this.#narrow();
  }

  copy(samples: number): Buckets {
    if (samples <= FEW) return new Buckets(this.#room, ...this.#list(samples));
    const copy = new Buckets(this.#room);
    copy.#zeros = this.#zeros;
    copy.#doublings = this.#doublings;
    if (this.#length > 0) {
      copy.#cover(this.#base, this.#base + this.#length, samples);
      copy.#take(this.#counted(), this.#base, this.#doublings);
    } else copy.#leaveSlot();
    return copy;
  }

  release(): void {
    this.#room.giveBack(beyondLeast(this.#length));
    this.#leaveSlot();
  }

  /** About the value of the sample that has `rank` among all. */
  value(rank: number, samples: number): number {
    if (samples <= FEW) return middle(this.#list(samples).sort()[rank - 1]!);
    let seen = this.#zeros;
    for (let at = 0; at < this.#length && seen < rank; at++) {
      seen += this.#counts[this.#offset + at]!;
      if (seen >= rank) return middle(this.#base + at, this.#doublings);
    }
    return 0;
  }

  mode(samples: number): { readonly value: number; readonly share: number } | null {
    if (this.#isCoarse) return null;
    const counts = this.#counted();
    let from = 0;
    let most = 0;
    for (let end = 1, near = 0; end <= counts.length; end++) {
      near += counts[end - 1]! - (counts[end - 1 - MODE_BUCKETS] ?? 0);
      if (near <= most) continue;
      most = near;
      from = Math.max(0, end - MODE_BUCKETS);
    }
    if (this.#zeros > most) return { value: 0, share: this.#zeros / samples };
    let sum = 0;
    for (let at = from; at < from + MODE_BUCKETS && at < counts.length; at++)
      sum += counts[at]! * middle(this.#base + at);
    return { value: sum / most, share: most / samples };
  }

  /** The list of the first samples' buckets, one's own to change. */
  #list(samples: number): Uint32Array {
    return this.#counts.slice(this.#offset, this.#offset + Math.min(samples, FEW));
  }

  /** Counts what has no place yet: the list, when it is full, and a bucket beyond those there are. */
  #extend(bucket: number, samples: number): void {
    if (samples === FEW + 1) {
      const list = this.#list(FEW);
      const others = list.filter((one) => one !== ZERO_BUCKET);
      if (others.length > 0) this.#cover(Math.min(...others), Math.max(...others) + 1, samples);
      else this.#leaveSlot();
      for (const one of list) this.#count(one, samples);
    }
    this.#count(bucket, samples);
  }

  #count(bucket: number, samples: number): void {
    if (bucket === ZERO_BUCKET) {
      this.#zeros++;
      return;
    }
    const at = bucket >>> this.#doublings;
    if (at < this.#base || at >= this.#base + this.#length) this.#cover(at, at + 1, samples);
    this.#counts[this.#offset + (bucket >>> this.#doublings) - this.#base]!++;
  }

  /** Makes room for the buckets [from, to) beside those there are; where there is not enough, buckets become wider. */
  #cover(from: number, to: number, samples: number): void {
    const counts = this.#counted();
    const { length } = counts;
    const doublings = this.#doublings;
    const base = this.#base;
    let first = length === 0 ? from : Math.min(base, from);
    let end = length === 0 ? to : Math.max(base + length, to);
    first -= first % STEP_BUCKETS;
    end += (STEP_BUCKETS - (end % STEP_BUCKETS)) % STEP_BUCKETS;
    const more = beyondLeast(end - first) - beyondLeast(length);
    if (more > 0 && !this.#room.take(more, samples >= BUSY_SAMPLES)) {
      if (!this.#isCoarse) this.#room.coarse++;
      const most = Math.max(length, LEAST_BUCKETS);
      while (end - first > most) {
        this.#doublings++;
        first >>>= 1;
        end = (end + 1) >>> 1;
      }
      first = Math.max(0, first - ((most - (end - first)) >>> 1));
      end = first + most;
    }
    this.#base = first;
    this.#make(end - first);
    this.#take(counts, base, doublings);
  }

  #counted(): Uint32Array {
    return this.#counts.subarray(this.#offset, this.#offset + this.#length);
  }

  /** So many buckets, all 0; none make place for the list. What was counted before is still where it was. */
  #make(length: number): void {
    const slot = length <= LEAST_BUCKETS ? this.#room.takeSlot() : -1;
    this.#leaveSlot();
    this.#slot = slot;
    this.#length = length;
    this.#offset = slot < 0 ? 0 : offsetOf(slot);
    this.#counts = slot < 0 ? new Uint32Array(length) : this.#room.slab(slot);
  }

  #leaveSlot(): void {
    if (this.#slot >= 0) this.#room.giveSlotBack(this.#slot);
    this.#slot = -1;
  }

  /** Adds counts of buckets from `base` on, whose width was doubled `doublings` times: as often as now, or less. */
  #take(counts: Uint32Array, base: number, doublings: number): void {
    const wider = this.#doublings - doublings;
    for (let at = 0; at < counts.length; at++) {
      if (counts[at]! > 0) this.#counts[this.#offset + ((base + at) >>> wider) - this.#base]! += counts[at]!;
    }
  }

  /** Back to narrow buckets, if there is room for them; what was counted goes into the middle of where it may belong. */
  #narrow(): void {
    const counts = this.#counted();
    const doublings = this.#doublings;
    const used = counts.findIndex((count) => count > 0);
    const end = counts.findLastIndex((count) => count > 0) + 1;
    const buckets = (end - used) << doublings;
    if (used < 0 || !this.#room.take(beyondLeast(buckets) - beyondLeast(counts.length), true)) return;
    this.#room.coarse--;
    this.#doublings = 0;
    const base = this.#base;
    this.#base = (base + used) << doublings;
    this.#make(buckets);
    for (let at = used; at < end; at++) {
      this.#counts[this.#offset + ((at - used) << doublings) + (1 << (doublings - 1))] = counts[at]!;
    }
  }
}

const offsetOf = (slot: number): number => (slot % SLAB_SLOTS) * LEAST_BUCKETS;

const beyondLeast = (buckets: number): number => Math.max(0, buckets - LEAST_BUCKETS);

function bucketOf(value: number): number {
  bits[0] = value + 0; // -0 is 0
  return words[HIGH]! >>> DROP_BITS;
}

/** The value in the middle of a bucket whose width was doubled so often. */
function middle(bucket: number, doublings = 0): number {
  const drop = DROP_BITS + doublings;
  words[HIGH] = (bucket << drop) | (1 << (drop - 1));
  words[1 - HIGH] = 0;
  return bits[0]!;
}
