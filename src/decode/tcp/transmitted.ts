// Transmitted: what one direction has sent, one entry a frame that advanced its highest offset, in order.
//
// The entries tile the sequence space from the oldest one kept to the highest offset; a range that was skipped is an entry
// as well, marked unseen. Acknowledged entries stay for a while: a second copy of a frame, or its late original, is
// recognised by the identification and timestamp of the first. One entry is three numbers of one flat ring; it ends where the
// next one starts. Most connections never send more than a frame or two, so the ring begins with room for these.
import { TRANSMITTED_SEGMENTS } from '../../limits.js';
import { WIDE_ZERO } from '../../wide-zero.js';

/** Numbers of an entry: start, time of the latest transmission, and what was sent: TSval, and above its 32 bits the marks. */
const FIELDS = 3;
const SENT_NS = 1;
const SENT = 2;
const MARK = 2 ** 32;
/** Marks: IP identification in the low half, transmissions above (saturating), so that all fits the 53 bits of a double. */
const SENDS_SHIFT = 16;
const SENDS_MAX = 31;
const NOTHING = new Float64Array(0);
const FIRST_ROOM = 2;
/** Smaller rings rather grow than that entries retire. */
const ROOM = 8;
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
  #end = WIDE_ZERO;
  /** A direction that never sends keeps these. */
  #ring = NOTHING;
  #mask = -1;

  /** The next append has to make a large ring larger still, unless something is retired. */
  get full(): boolean {
    return this.next - this.first > (this.#mask | (ROOM - 1));
  }

  start(entry: number): number {
    return this.#ring[(entry & this.#mask) * FIELDS]!;
  }

  end(entry: number): number {
    return entry + 1 === this.next ? this.#end : this.#ring[((entry + 1) & this.#mask) * FIELDS]!;
  }

  /** Time of the latest transmission, ns; of an unseen entry the time it was found missing. */
  sentNs(entry: number): number {
    return this.#ring[(entry & this.#mask) * FIELDS + SENT_NS]!;
  }

  tsValue(entry: number): number {
    return this.#ring[(entry & this.#mask) * FIELDS + SENT]! >>> 0;
  }

  ipId(entry: number): number {
    return this.#marks(entry) & 0xffff;
  }

  /** How often it was sent as far as seen; 0 for an unseen entry. */
  sends(entry: number): number {
    return this.#marks(entry) >>> SENDS_SHIFT;
  }

  #marks(entry: number): number {
    return (this.#ring[(entry & this.#mask) * FIELDS + SENT]! / MARK) | 0;
  }

  /** Appends [start, start + length); `sends` 0 marks it unseen. */
  append(start: number, length: number, tNs: number, tsValue: number, ipId: number, sends: number): void {
    if (this.next - this.first > this.#mask) this.#makeRoom();
    const slot = (this.next & this.#mask) * FIELDS;
    const ring = this.#ring;
    ring[slot] = start;
    ring[slot + SENT_NS] = tNs;
    ring[slot + SENT] = sentWord(tsValue, ipId, sends);
    this.#end = start + length;
    this.next++;
  }

  /** Notes that [start, end) was sent again. */
  sentAgain(start: number, end: number, tNs: number, tsValue: number, ipId: number): void {
    for (let entry = this.find(start); entry < this.next && this.start(entry) < end; entry++) {
      const sends = this.sends(entry);
      if (sends === 0) continue;
      const slot = (entry & this.#mask) * FIELDS;
      this.#ring[slot + SENT_NS] = tNs;
      this.#ring[slot + SENT] = sentWord(tsValue, ipId, Math.min(sends + 1, SENDS_MAX));
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
    const ring = new Float64Array(room * FIELDS);
    const mask = room - 1;
    // The old ring is full: from its first entry to its end, and then what wrapped to its beginning.
    for (let entry = this.first; entry < this.next; ) {
      const from = entry & this.#mask;
      const run = Math.min(this.next - entry, size - from, room - (entry & mask));
      ring.set(this.#ring.subarray(from * FIELDS, (from + run) * FIELDS), (entry & mask) * FIELDS);
      entry += run;
    }
    this.#ring = ring;
    this.#mask = mask;
  }
}

const sentWord = (tsValue: number, ipId: number, sends: number): number =>
  (ipId | (sends << SENDS_SHIFT)) * MARK + (tsValue >>> 0);
