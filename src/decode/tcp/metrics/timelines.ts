// Timelines: time bins for the directions that carry most, written by several metrics.
//
// A direction gets one with its first payload while there is room, else when it passes 1 MB and a smaller one can make
// place. Round trips are kept for both halves of the path; which half tells is known only at the end.
import { type ColumnData, Timeline } from '../../../columns.js';
import { TIMELINE_BINS, TIMELINE_BINS_TOTAL, TIMELINE_DIRECTIONS } from '../../../limits.js';
import { WIDE_ZERO } from '../../../wide-zero.js';
import { LIMITS, TIMELINE_UNITS } from '../results.js';

export const SERIES_PAYLOAD = 0;
export const SERIES_UNIQUE = 1;
export const SERIES_ACKED = 2;
export const SERIES_REPEATED_BYTES = 3;
export const SERIES_REPEATED_SEGMENTS = 4;
export const SERIES_FLIGHT_MAX = 5;
/** Raw windows: the scale may become known later. */
export const SERIES_WINDOW_MIN = 6;
export const SERIES_WINDOW_MAX = 7;
/** Loop from the capture point to the peer, and to this side. */
export const SERIES_ACK_LOOP_MIN = 8;
export const SERIES_ACK_LOOP_MAX = 9;
export const SERIES_ECHO_LOOP_MIN = 10;
export const SERIES_ECHO_LOOP_MAX = 11;
/** First of as many series as there are limits. */
export const SERIES_LIMIT = 12;

const RULES = [
  'sum',
  'sum',
  'sum',
  'sum',
  'sum',
  'max',
  'min',
  'max',
  'min',
  'max',
  'min',
  'max',
  ...LIMITS.map(() => 'sum' as const),
] as const;

/** So many may have as many bins as a timeline can have. */
const UNLIMITED = 8;
/** Directions below this get no rows, unless they had a timeline for want of others. */
const WORTH_BYTES = 1e6;

/** One direction's bins; time counts from the direction's first payload. */
export class DirectionTimeline {
  readonly bins = new Timeline(RULES);
  bytes = WIDE_ZERO;

  constructor(
    readonly direction: number,
    readonly originNs: number,
  ) {}

  /** The latest bin asked for, and the time it covers. */
  #bin = 0;
  #fromNs = Number.POSITIVE_INFINITY;
  #toNs = Number.NEGATIVE_INFINITY;

  /** Bin of `tNs`; read `bins.series` after this. */
  bin(tNs: number): number {
    if (tNs >= this.#fromNs && tNs < this.#toNs) return this.#bin;
    const { bins, originNs } = this;
    this.#bin = bins.bin(tNs - originNs);
    const { binNs } = bins; // the bin may have become wider
    // From its middle: a product of two whole numbers is one to V8, too, until it is too large, and all that was compiled is
    // compiled again.
    const middleNs = originNs + (this.#bin + 0.5) * binNs;
    this.#fromNs = middleNs - binNs / 2;
    this.#toNs = middleNs + binNs / 2;
    return this.#bin;
  }

  /** From now on there may be `bins` at most: they may become wider. */
  limitTo(bins: number): void {
    this.bins.limitTo(bins);
    this.#toNs = Number.NEGATIVE_INFINITY; // whatever bin was asked for last
  }

  /** Spreads the time [fromNs, toNs) over the bins of `series`. */
  spread(series: number, fromNs: number, toNs: number): void {
    if (!(toNs > fromNs)) return;
    const { bins, originNs } = this;
    // The later one first: it may merge bins.
    const last = this.bin(toNs);
    let at = this.bin(fromNs);
    const values = bins.series[series]!;
    const { binNs } = bins;
    let from = Math.max(0, fromNs - originNs);
    let edge = (at + 0.5) * binNs + binNs / 2; // as in `bin`
    for (; at <= last; at++, edge += binNs) {
      const to = at === last ? toNs - originNs : edge;
      values[at]! += to - from;
      from = to;
    }
  }

  /** What `series` has per second in the whole bins of [fromNs, toNs); NaN where there is none. */
  rate(series: number, fromNs: number, toNs: number): number {
    const { bins, originNs } = this;
    const { binNs } = bins;
    const from = Math.max(0, Math.ceil((fromNs - originNs) / binNs));
    const to = Math.min(bins.used, Math.floor((toNs - originNs) / binNs));
    let sum = 0;
    for (let at = from; at < to; at++) sum += bins.series[series]![at]!;
    return to > from ? (sum * 1e9) / ((to - from) * binNs) : Number.NaN;
  }

  /** Writes the bins as rows from `row` on into the columns of TIMELINE_UNITS. */
  fill(columns: readonly Float64Array[], row: number, { windowScale, loop, addNs }: TimelineView): void {
    const { bins, direction, originNs } = this;
    const { used, binNs } = bins;
    const loopMin = loop === 'ack' ? SERIES_ACK_LOOP_MIN : SERIES_ECHO_LOOP_MIN;
    const loopMax = loop === 'ack' ? SERIES_ACK_LOOP_MAX : SERIES_ECHO_LOOP_MAX;
    let column = 0;
    const next = (): Float64Array => columns[column++]!.subarray(row, row + used);
    const copy = (series: number, scale = 1, shift = 0): void => {
      const to = next();
      to.set(bins.series[series]!.subarray(0, used));
      if (scale !== 1 || shift !== 0) for (let bin = 0; bin < used; bin++) to[bin] = to[bin]! * scale + shift;
    };
    next().fill(direction);
    const starts = next();
    for (let bin = 0; bin < used; bin++) starts[bin] = originNs + bin * binNs;
    next().fill(binNs);
    for (let series = SERIES_PAYLOAD; series <= SERIES_FLIGHT_MAX; series++) copy(series);
    copy(SERIES_WINDOW_MIN, windowScale);
    copy(SERIES_WINDOW_MAX, windowScale);
    copy(loopMin, 1, addNs);
    copy(loopMax, 1, addNs);
    let least = Number.POSITIVE_INFINITY;
    for (const loopNs of bins.series[loopMin]!.subarray(0, used)) if (loopNs < least) least = loopNs;
    copy(loopMax, 1, -least);
    for (let limit = 0; limit < LIMITS.length; limit++) copy(SERIES_LIMIT + limit);
  }

  /** Moves what `spread` put into `from` to `to`. */
  move(from: number, to: number, fromNs: number, toNs: number): void {
    const { bins, originNs } = this;
    const last = bins.bin(toNs - originNs);
    const source = bins.series[from]!;
    const target = bins.series[to]!;
    for (let at = bins.bin(fromNs - originNs); at <= last; at++) {
      const share = Math.min(source[at]!, overlap(at, bins.binNs, fromNs - originNs, toNs - originNs));
      source[at]! -= share;
      target[at]! += share;
    }
  }
}

const overlap = (bin: number, binNs: number, fromNs: number, toNs: number): number =>
  Math.max(0, Math.min((bin + 1) * binNs, toNs) - Math.max(bin * binNs, fromNs));

/** How to turn a direction's bins into rows, known at the end. */
export interface TimelineView {
  /** Factor on raw windows; NaN where the scale is not known. */
  readonly windowScale: number;
  /** Which half of the round trip is long, and what to add for the other one. */
  readonly loop: 'ack' | 'echo';
  readonly addNs: number;
}

export class Timelines {
  readonly #limit: number;
  readonly #byDirection: (DirectionTimeline | undefined)[] = [];
  #live: DirectionTimeline[] = [];
  /** Bins that each may have: fewer, the more there are. */
  #bins = TIMELINE_BINS;

  constructor(limit = TIMELINE_DIRECTIONS) {
    this.#limit = limit;
  }

  /** The timeline of a direction, undefined when it has none. */
  find(direction: number): DirectionTimeline | undefined {
    return this.#byDirection[direction];
  }

  /** Called for payload of a direction that has no timeline; `bytes` is all it carried so far. */
  ask(direction: number, tNs: number, bytes: number): DirectionTimeline | undefined {
    if (this.#live.length >= this.#limit) {
      if (bytes < WORTH_BYTES) return undefined;
      const smallest = this.#live.reduce((least, other) => (other.bytes < least.bytes ? other : least));
      if (smallest.bytes >= bytes) return undefined;
      this.#drop(smallest);
    }
    const made = new DirectionTimeline(direction, tNs);
    made.bytes = bytes;
    made.limitTo(this.#bins);
    while (this.#byDirection.length <= direction) this.#byDirection.push(undefined);
    this.#byDirection[direction] = made;
    this.#live.push(made);
    while (this.#live.length > UNLIMITED && this.#bins * this.#live.length > TIMELINE_BINS_TOTAL) {
      this.#bins /= 2;
      for (const timeline of this.#live) timeline.limitTo(this.#bins);
    }
    return made;
  }

  forget(connection: number): void {
    for (const timeline of this.#live) if (timeline.direction >>> 1 === connection) this.#drop(timeline);
  }

  #drop(timeline: DirectionTimeline): void {
    this.#byDirection[timeline.direction] = undefined;
    this.#live = this.#live.filter((other) => other !== timeline);
  }

  /** All bins as rows: directions above 1 MB, or the largest one when none is. */
  finish(view: (direction: number) => TimelineView): ColumnData {
    const worth = this.#live.filter((timeline) => timeline.bytes >= WORTH_BYTES);
    const kept = worth.length > 0 ? worth : [...this.#live].sort((a, b) => b.bytes - a.bytes).slice(0, 1);
    kept.sort((a, b) => a.direction - b.direction);
    const rows = kept.reduce((sum, timeline) => sum + timeline.bins.used, 0);
    const names = Object.keys(TIMELINE_UNITS) as (keyof typeof TIMELINE_UNITS)[];
    const values = names.map(() => new Float64Array(rows));
    let row = 0;
    for (const timeline of kept) {
      const { direction } = timeline;
      timeline.fill(values, row, view(direction));
      row += timeline.bins.used;
    }
    return {
      rows,
      columns: Object.fromEntries(names.map((name, c) => [name, { unit: TIMELINE_UNITS[name], values: values[c]! }])),
    };
  }
}
