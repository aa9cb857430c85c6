// RangeSet: disjoint byte ranges in ascending order, with a bound. Used for holes and for the SACK scoreboard.
//
// Nearly all work happens at the top end (a new hole, a new SACK range) or the bottom end (an acknowledgement), so the
// ranges sit in flat arrays and the search starts with those two. Touching ranges stay apart unless added by `merge`.

/** Most directions never have a range: they share this. */
const NOTHING = new Float64Array(0);
const NO_NOTES: number[][] = [];
const FIRST_ROOM = 4;

/** Half-open ranges [start, end) of stream offsets, each with a few numbers of its owner's (`notes`, one array a note). */
export class RangeSet {
  /** Ranges in use. */
  count = 0;
  /** Sum of all lengths. */
  bytes = 0;
  starts = NOTHING;
  ends = NOTHING;
  /** Plain arrays: there are several, and a typed one takes 200 bytes more. */
  notes = NO_NOTES;
  readonly #limit: number;
  readonly #noteCount: number;

  /**
   * `limit`: ranges kept at most; beyond it the two closest neighbours become one and `merged` counts it.
   * `noteCount`: numbers kept with each range. The parts of a split range keep its notes, a joined range those of its
   * lowest part.
   */
  constructor(limit: number, noteCount = 0) {
    this.#limit = limit;
    this.#noteCount = noteCount;
  }

  /** Times that neighbours had to be joined to stay within the limit. */
  merged = 0;

  /** Index of the first range that ends after `offset`; `count` when there is none. */
  find(offset: number): number {
    const { ends, count } = this;
    if (count === 0 || ends[count - 1]! <= offset) return count;
    let low = 0;
    let high = count - 1;
    if (ends[0]! > offset) return 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Adds [start, end), which lies above all others, with its notes. */
  append(start: number, end: number, notes: readonly number[]): void {
    const at = this.count;
    this.#splice(at, 0, 1);
    this.starts[at] = start;
    this.ends[at] = end;
    for (let n = 0; n < this.notes.length; n++) this.notes[n]![at] = notes[n]!;
    this.bytes += end - start;
    if (this.count > this.#limit) this.#joinClosest();
  }

  /** Adds [start, end), joining it with everything it overlaps or touches. Returns the bytes that were not covered before. */
  merge(start: number, end: number): number {
    if (end <= start) return 0;
    const before = this.bytes;
    let at = this.find(start);
    if (at > 0 && this.ends[at - 1] === start) at--;
    let last = at;
    let from = start;
    let to = end;
    while (last < this.count && this.starts[last]! <= end) {
      if (this.starts[last]! < from) from = this.starts[last]!;
      if (this.ends[last]! > to) to = this.ends[last]!;
      this.bytes -= this.ends[last]! - this.starts[last]!;
      last++;
    }
    this.#splice(at, last - at, 1);
    this.starts[at] = from;
    this.ends[at] = to;
    this.bytes += to - from;
    if (this.count > this.#limit) this.#joinClosest();
    return this.bytes - before;
  }

  /** Removes [start, end) from whatever is covered. Returns the bytes that were covered. */
  remove(start: number, end: number): number {
    const before = this.bytes;
    let at = this.find(start);
    while (at < this.count && this.starts[at]! < end) {
      const from = this.starts[at]!;
      const to = this.ends[at]!;
      if (from < start && to > end) {
        this.#splice(at + 1, 0, 1);
        this.ends[at] = start;
        this.starts[at + 1] = end;
        this.ends[at + 1] = to;
        for (const note of this.notes) note[at + 1] = note[at]!;
        this.bytes -= end - start;
        if (this.count > this.#limit) this.#joinClosest();
        break;
      }
      if (from < start) {
        this.ends[at] = start;
        this.bytes -= to - start;
        at++;
      } else if (to > end) {
        this.starts[at] = end;
        this.bytes -= end - from;
        break;
      } else {
        this.bytes -= to - from;
        this.#splice(at, 1, 0);
      }
    }
    return before - this.bytes;
  }

  /** Bytes of [start, end) that are covered. */
  covered(start: number, end: number): number {
    let sum = 0;
    for (let at = this.find(start); at < this.count && this.starts[at]! < end; at++) {
      sum += Math.min(end, this.ends[at]!) - Math.max(start, this.starts[at]!);
    }
    return sum;
  }

  /** Replaces `removed` ranges at `at` by `added` slots whose values the caller sets. */
  #splice(at: number, removed: number, added: number): void {
    const { count } = this;
    const after = count - removed + added;
    if (after > this.starts.length) {
      this.starts = grown(this.starts, after);
      this.ends = grown(this.ends, after);
      if (this.notes === NO_NOTES) this.notes = Array.from({ length: this.#noteCount }, () => []);
    }
    if (removed !== added && at + removed < count) {
      this.starts.copyWithin(at + added, at + removed, count);
      this.ends.copyWithin(at + added, at + removed, count);
    }
    for (const note of this.notes) {
      if (removed > added) note.splice(at + added, removed - added);
      else if (added > removed) note.splice(at + removed, 0, Number.NaN);
    }
    this.count = after;
  }

  #joinClosest(): void {
    let best = 0;
    let gap = Number.POSITIVE_INFINITY;
    for (let at = 0; at + 1 < this.count; at++) {
      const between = this.starts[at + 1]! - this.ends[at]!;
      if (between < gap) {
        gap = between;
        best = at;
      }
    }
    this.ends[best] = this.ends[best + 1]!;
    this.bytes += gap;
    this.#splice(best + 1, 1, 0);
    this.merged++;
  }
}

/** `values` with room for at least `length`, twice as large each time. */
export function grown<T extends Float64Array | Int32Array | Uint32Array | Uint16Array | Uint8Array>(
  values: T,
  length: number,
): T {
  const size = Math.max(length, values.length * 2, FIRST_ROOM);
  const room = new (values.constructor as new (n: number) => T)(size);
  room.set(values);
  return room;
}
