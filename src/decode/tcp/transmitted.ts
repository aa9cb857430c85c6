// Transmitted: what one direction has sent, one entry a frame that advanced its highest offset, in order.
//
// The entries tile the sequence space from the oldest one kept to the highest offset; a range that was skipped is an entry
// as well, marked unseen. Acknowledged entries stay for a while: a second copy of a frame, or its late original, is
// recognised by the identification and timestamp of the first. One entry is three 64-bit words of one flat ring; it ends
// where the next one starts.
import { TRANSMITTED_SEGMENTS } from '../../limits.js';

/** 64-bit words of an entry: start, time of the latest transmission; then as 32-bit words TSval and marks. */
const WORDS = 3;
const TS_VALUE = 4;
const MARKS = 5;
/** `marks`: IP identification in the low half, transmissions above (saturating). */
const SENDS_SHIFT = 16;
const SENDS_MAX = 0xff;
const NO_DOUBLES = new Float64Array(0);
const NO_WORDS = new Uint32Array(0);
const FIRST_ROOM = 8;
/** Entries kept although acknowledged: so few that a fast stream's ring stays in the processor's cache. */
const ACKED_KEPT = 1 << 13;

export class Transmitted {
  /** Entries are numbered as they are sent; kept are [first, next). */
  first = 0;
  next = 0;
  /** First entry that is not wholly acknowledged. */
  unacked = 0;
  /** Entries that had to be dropped before they were acknowledged. */
  dropped = 0;
  /** Where the latest entry ends. */
  #end = 0;
  /** A direction that never sends keeps these. */
  #doubles = NO_DOUBLES;
  #words = NO_WORDS;
  #mask = -1;

  /** The next append has to grow the ring, unless something is retired. */
  get full(): boolean {
    return this.next - this.first > this.#mask;
  }

  start(entry: number): number {
    return this.#doubles[(entry & this.#mask) * WORDS]!;
  }

  end(entry: number): number {
    return entry + 1 === this.next ? this.#end : this.#doubles[((entry + 1) & this.#mask) * WORDS]!;
  }

  /** Time of the latest transmission, ns; of an unseen entry the time it was found missing. */
  sentNs(entry: number): number {
    return this.#doubles[(entry & this.#mask) * WORDS + 1]!;
  }

  tsValue(entry: number): number {
    return this.#words[(entry & this.#mask) * 2 * WORDS + TS_VALUE]!;
  }

  ipId(entry: number): number {
    return this.#words[(entry & this.#mask) * 2 * WORDS + MARKS]! & 0xffff;
  }

  /** How often it was sent as far as seen; 0 for an unseen entry. */
  sends(entry: number): number {
    return this.#words[(entry & this.#mask) * 2 * WORDS + MARKS]! >>> SENDS_SHIFT;
  }

  /** Appends [start, start + length); `sends` 0 marks it unseen. */
  append(start: number, length: number, tNs: number, tsValue: number, ipId: number, sends: number): void {
    if (this.full) this.#makeRoom();
    const slot = (this.next & this.#mask) * WORDS;
    const doubles = this.#doubles;
    const words = this.#words;
    doubles[slot] = start;
    doubles[slot + 1] = tNs;
    words[2 * slot + TS_VALUE] = tsValue;
    words[2 * slot + MARKS] = ipId | (sends << SENDS_SHIFT);
    this.#end = start + length;
    this.next++;
  }

  /** Notes that [start, end) was sent again. */
  sentAgain(start: number, end: number, tNs: number, tsValue: number, ipId: number): void {
    for (let entry = this.find(start); entry < this.next && this.start(entry) < end; entry++) {
      const slot = (entry & this.#mask) * WORDS;
      const words = this.#words;
      const sends = words[2 * slot + MARKS]! >>> SENDS_SHIFT;
      if (sends === 0) continue;
      this.#doubles[slot + 1] = tNs;
      words[2 * slot + TS_VALUE] = tsValue;
      words[2 * slot + MARKS] = ipId | (Math.min(sends + 1, SENDS_MAX) << SENDS_SHIFT);
    }
  }

  /** The entry that holds `offset`; `next` when it lies beyond, the oldest entry when it lies before. */
  find(offset: number): number {
    let low = this.first;
    let high = this.next;
    if (low === high || this.end(high - 1) <= offset) return high;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.end(middle) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Moves `unacked` to the first entry that ends after `offset`. */
  acknowledge(offset: number): void {
    while (this.unacked < this.next && this.end(this.unacked) <= offset) this.unacked++;
  }

  /** Lets go of acknowledged entries last sent before `beforeNs`. */
  retire(beforeNs: number): void {
    while (
      this.first < this.unacked &&
      (this.sentNs(this.first) < beforeNs || this.unacked - this.first > ACKED_KEPT)
    ) {
      this.first++;
    }
  }

  #makeRoom(): void {
    const size = this.#mask + 1;
    if (size >= TRANSMITTED_SEGMENTS) {
      if (this.first === this.unacked) {
        this.unacked++;
        this.dropped++;
      }
      this.first++;
      return;
    }
    const room = Math.max(2 * size, FIRST_ROOM);
    const doubles = new Float64Array(room * WORDS);
    const mask = room - 1;
    // The old ring is full: from its first entry to its end, and then what wrapped to its beginning.
    for (let entry = this.first; entry < this.next; ) {
      const from = entry & this.#mask;
      const run = Math.min(this.next - entry, size - from, room - (entry & mask));
      doubles.set(this.#doubles.subarray(from * WORDS, (from + run) * WORDS), (entry & mask) * WORDS);
      entry += run;
    }
    this.#doubles = doubles;
    this.#words = new Uint32Array(doubles.buffer);
    this.#mask = mask;
  }
}
