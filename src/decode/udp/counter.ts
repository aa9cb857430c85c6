// Counters: loss and reordering by a number that a sender raises by one with every packet and sends in the clear.
//
// A gap is loss before the capture point (or in the capture itself); a number below the highest that was not seen yet is
// a packet that was overtaken, and takes its loss back.
import type { Flow } from './flow.js';

/** Packets in which a late one is told from a second copy. */
const WINDOW_PACKETS = 1024;
/** No path loses more in a row: beyond, the counter started anew. */
const JUMP_PACKETS = 65_536;
/** Counters followed at once in one direction: sessions overlap while keys change. */
const COUNTERS = 8;

class Counter {
  readonly session: number;
  readonly #flow: Flow;
  readonly #side: 0 | 1;
  #highest = Number.NaN;
  /** One bit a packet, by number modulo the size; null while none of them is missing. */
  #seen: Uint32Array | null = null;
  duplicates = 0;

  constructor(session: number, flow: Flow, side: 0 | 1) {
    this.session = session;
    this.#flow = flow;
    this.#side = side;
  }

  take(number: number): void {
    const ahead = number - this.#highest;
    // Also true for the first one: NaN compares false.
    if (!(Math.abs(ahead) < JUMP_PACKETS)) {
      this.#seen = null; // nothing before it is missing
      this.#highest = number;
    } else if (ahead > 0) {
      if (ahead > 1) this.#miss(number, ahead);
      this.#mark(number, true);
      this.#highest = number;
    } else if (ahead <= -WINDOW_PACKETS || this.#wasSeen(number)) {
      this.duplicates++;
    } else {
      this.#mark(number, true);
      this.#flow.reordered(this.#side, 1);
      this.#flow.lost(this.#side, -1);
    }
  }

  /** The packets between the highest so far and `number`, which is `ahead` of it. */
  #miss(number: number, ahead: number): void {
    this.#seen ??= new Uint32Array(WINDOW_PACKETS / 32).fill(0xffff_ffff);
    for (let i = 1; i < Math.min(ahead, WINDOW_PACKETS); i++) this.#mark(number - i, false);
    this.#flow.lost(this.#side, ahead - 1);
  }

  #wasSeen(number: number): boolean {
    if (this.#seen === null) return true;
    const slot = number % WINDOW_PACKETS;
    return ((this.#seen[slot >>> 5]! >>> (slot & 31)) & 1) === 1;
  }

  #mark(number: number, seen: boolean): void {
    if (this.#seen === null) return;
    const slot = number % WINDOW_PACKETS;
    const bit = 1 << (slot & 31);
    this.#seen[slot >>> 5] = seen ? this.#seen[slot >>> 5]! | bit : this.#seen[slot >>> 5]! & ~bit;
  }
}

/** Counters by session, both directions of one flow; keys are 32-bit session identifiers. */
export class SessionCounters {
  readonly #flow: Flow;
  /** Of each side, the oldest first. */
  readonly #counters: readonly [Counter[], Counter[]] = [[], []];
  #sessions = 0;
  #duplicates = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  take(side: 0 | 1, session: number, number: number): void {
    const counters = this.#counters[side];
    let counter: Counter | undefined;
    for (const known of counters) if (known.session === session) counter = known;
    if (counter === undefined) {
      if (counters.length >= COUNTERS) counters.shift();
      this.#flow.sequenced(side);
      counter = new Counter(session, this.#flow, side);
      counters.push(counter);
      this.#sessions++;
    }
    const before = counter.duplicates;
    counter.take(number);
    this.#duplicates += counter.duplicates - before;
  }

  /** Sessions of both directions, and packets that came more than once. */
  facts(): { sessions: number; duplicatePackets: number } {
    return { sessions: this.#sessions, duplicatePackets: this.#duplicates };
  }
}
