// Columns: the shape of every finished table, growable builders for it, and the timeline that halves its resolution.
//
// A table is a set of equally long typed arrays, each with a unit. Nothing here knows what a column means.
import { TIMELINE_BIN_NS, TIMELINE_BINS } from './limits.js';

/** Values of one finished column. NaN in a Float64Array means "not known". */
export type ColumnValues = Float64Array | Uint32Array | Uint8Array | readonly string[];

export interface Column {
  /** Unit or kind of the values: 'ns', 'bytes', 'bytes/s', 'count', 'direction id', 'name' … */
  readonly unit: string;
  readonly values: ColumnValues;
}

/** A finished table: equally long columns by name. */
export interface ColumnData {
  readonly rows: number;
  readonly columns: Readonly<Record<string, Column>>;
}

/** Units by column name; the order of the keys is the order of the columns. */
export type Units = Readonly<Record<string, string>>;

/**
 * A growable table of numbers with a row bound.
 *
 * Rows beyond `limit` are counted in `lost` and not kept. NaN stands for "not known".
 */
export class TableBuilder<Name extends string> {
  readonly #names: readonly Name[];
  readonly #units: Readonly<Record<Name, string>>;
  readonly #limit: number;
  #values: Float64Array[];
  #capacity: number;
  rows = 0;
  lost = 0;

  constructor(units: Readonly<Record<Name, string>>, limit: number) {
    this.#names = Object.keys(units) as Name[];
    this.#units = units;
    this.#limit = limit;
    this.#capacity = Math.min(64, limit);
    this.#values = this.#names.map(() => new Float64Array(this.#capacity));
  }

  /** Appends one row; the values come in the order of the units given at construction. */
  add(...row: number[]): void {
    if (this.rows === this.#limit) {
      this.lost++;
      return;
    }
    if (this.rows === this.#capacity) this.#grow();
    for (let c = 0; c < this.#values.length; c++) this.#values[c]![this.rows] = row[c]!;
    this.rows++;
  }

  /** The value at (row, name); for the few tables that are revised while they grow. */
  get(row: number, name: Name): number {
    return this.#values[this.#names.indexOf(name)]![row]!;
  }

  set(row: number, name: Name, value: number): void {
    this.#values[this.#names.indexOf(name)]![row] = value;
  }

  /** @param order  rows are sorted by these, the first counting most; without any they stay as they came */
  finish(...order: readonly Name[]): ColumnData {
    const keys = order.map((name) => this.#values[this.#names.indexOf(name)]!);
    const rows = Uint32Array.from({ length: this.rows }, (_, row) => row);
    if (keys.length > 0) rows.sort((a, b) => compare(keys, a, b));
    const columns: Record<string, Column> = {};
    this.#names.forEach((name, c) => {
      const values = this.#values[c]!;
      columns[name] = { unit: this.#units[name], values: Float64Array.from(rows, (row) => values[row]!) };
    });
    return { rows: this.rows, columns };
  }

  #grow(): void {
    this.#capacity = Math.min(this.#limit, this.#capacity * 2);
    this.#values = this.#values.map((old) => {
      const grown = new Float64Array(this.#capacity);
      grown.set(old);
      return grown;
    });
  }
}

/** Of rows `a` and `b`, by the first column in which they differ; by their place where they do not. */
function compare(keys: readonly Float64Array[], a: number, b: number): number {
  for (const key of keys) if (key[a] !== key[b]) return key[a]! - key[b]!;
  return a - b;
}

/** How two neighbouring bins become one. `max` and `min` treat NaN as absent. */
export type MergeRule = 'sum' | 'max' | 'min' | 'last';

/**
 * Time bins of fixed number: when time runs beyond the last bin, pairs merge and the bin width doubles.
 *
 * Callers write straight into `series[s][bin]`; `bin(tNs)` says where. Sums start at 0, the others at NaN. Memory grows
 * with the bins in use, so `bin` may replace the arrays: read `series` afterwards.
 */
export class Timeline {
  readonly series: Float64Array[];
  binNs: number;
  /** One past the highest bin used. */
  used = 0;
  readonly #rules: readonly MergeRule[];
  #capacity: number;
  #room: number;

  constructor(rules: readonly MergeRule[], binNs = TIMELINE_BIN_NS, capacity = TIMELINE_BINS) {
    this.#rules = rules;
    this.binNs = binNs;
    this.#capacity = capacity;
    this.#room = Math.min(64, capacity);
    this.series = rules.map((rule) => new Float64Array(this.#room).fill(rule === 'sum' ? 0 : Number.NaN));
  }

  /** The bin of `tNs` (≥ 0 since the capture's first frame; earlier times fall into bin 0). Merges when it must. */
  bin(tNs: number): number {
    let at = tNs > 0 ? Math.floor(tNs / this.binNs) : 0;
    while (at >= this.#capacity) {
      this.#halve();
      at = Math.floor(tNs / this.binNs);
    }
    if (at >= this.#room) this.#grow(at);
    if (at >= this.used) this.used = at + 1;
    return at;
  }

  /** From now on there may be `capacity` bins at most, a power of two. */
  limitTo(capacity: number): void {
    this.#capacity = Math.min(this.#capacity, capacity);
    while (this.used > this.#capacity) this.#halve();
    if (this.#room > this.#capacity) this.#resize(this.#capacity);
  }

  #grow(at: number): void {
    let room = this.#room;
    while (room <= at) room = Math.min(room * 2, this.#capacity);
    this.#resize(room);
  }

  #resize(room: number): void {
    this.#room = room;
    this.series.forEach((old, s) => {
      const values = new Float64Array(room).fill(this.#rules[s] === 'sum' ? 0 : Number.NaN);
      values.set(old.length > room ? old.subarray(0, room) : old);
      this.series[s] = values;
    });
  }

  #halve(): void {
    const half = this.#room >>> 1;
    this.series.forEach((values, s) => {
      const rule = this.#rules[s]!;
      for (let i = 0; i < half; i++) values[i] = merge(rule, values[2 * i]!, values[2 * i + 1]!);
      values.fill(rule === 'sum' ? 0 : Number.NaN, half);
    });
    this.binNs *= 2;
    this.used = (this.used + 1) >>> 1;
  }
}

/** One value from two neighbours under `rule`; NaN is "nothing here". */
export function merge(rule: MergeRule, a: number, b: number): number {
  if (rule === 'sum') return a + b;
  if (Number.isNaN(a)) return b;
  if (Number.isNaN(b)) return a;
  if (rule === 'max') return a > b ? a : b;
  if (rule === 'min') return a < b ? a : b;
  return b;
}
