// Generations: puts the pages of several channels into one order that rounds can be read from.
//
// Channels run side by side, and a slow connection may deliver a packet long after its neighbours went on. But the source
// makes all channels meet: it sends a SYNC on every multifd channel and goes on only when all have written it. The pages
// between two SYNCs are a generation, and generation n of one channel belongs with generation n of every other. So each
// lane (the main channel is one) counts its own marks, the slowest lane says which generation is current, and what
// faster lanes bring early waits.
//
// What the main channel's mark is depends on the dialect (QEMU migration/ram.c):
//   per section  up to 8.0, and machine types up to 8.0: the k-th EOS of a RAM section meets the k-th SYNC;
//   per scan     8.1 and later: a FLUSH word, at START and each time the scan comes around the end of memory.
// A FLUSH in START tells the second dialect. There, one generation may hold several sections: a section that begins on
// the main channel begins one for the rounds, as far as its header came in time.
import { MULTIFD_GENERATIONS, MULTIFD_WAITING_PAGES } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import type { PageKind } from './records.js';
import type { Rounds } from './rounds.js';

/** Numbers kept for a waiting page: time, block, address, kind, bytes. */
const PAGE_FIELDS = 5;

/** One channel as the generations see it. */
interface Lane {
  /** Marks passed so far. */
  generation: number;
  ended: boolean;
  /** Waiting pages of generations beyond the current one, in order, and where each generation's pages end. */
  waiting: number[];
  readonly ends: number[];
}

/** The main channel's lane. */
export const MAIN_LANE = 0;

export class Generations {
  readonly #rounds: Rounds;
  readonly #lanes: Lane[] = [{ generation: 0, ended: false, waiting: [], ends: [] }];
  #current = 0;
  #waiting = 0;
  /** When the newest page that was handed on was sent. */
  #latestNs = WIDE_ZERO;
  #perScan = false;
  /** Sections announced by the main channel ahead of the current generation: generation → kind and time. */
  readonly #announced = new Map<number, { readonly kind: 'part' | 'end'; readonly tNs: number }>();
  #joinedLate = false;
  /** Set when lanes could not be kept in step. */
  overflowed = false;

  constructor(rounds: Rounds) {
    this.#rounds = rounds;
    rounds.unordered();
  }

  /** Marks passed by each lane, the main channel's first; null where they cannot be compared. */
  get marks(): readonly number[] | null {
    return this.overflowed || this.#joinedLate ? null : this.#lanes.map(({ generation }) => generation);
  }

  /** Whether all lanes passed as many marks; the main channel has none for the last SYNC of 9.1 and 9.2. */
  get inStep(): boolean {
    const [main = 0, ...others] = this.#lanes.map(({ generation }) => generation);
    const [first = main] = others;
    return others.every((marks) => marks === first) && (main === first || main + 1 === first);
  }

  /** All channels have come equally far: none has yet to send what others are done with. */
  get isLevel(): boolean {
    const { generation } = this.#lanes[MAIN_LANE]!;
    return this.#lanes.every((lane) => lane.generation === generation);
  }

  /** A further channel; returns its lane. One joined midway is taken to be as far as the main channel. */
  join(late = false): number {
    if (late) {
      this.#joinedLate = true;
      this.#rounds.doubt();
    }
    const generation = late ? this.#lanes[MAIN_LANE]!.generation : 0;
    this.#lanes.push({ generation, ended: false, waiting: [], ends: [] });
    return this.#lanes.length - 1;
  }

  /** The main channel begins a RAM section with pages. */
  section(tNs: number, kind: 'part' | 'end'): void {
    const { generation } = this.#lanes[MAIN_LANE]!;
    if (generation > this.#current) this.#announced.set(generation, { kind, tNs });
    else this.#begin(tNs, kind);
  }

  page(lane: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    const own = this.#lanes[lane]!;
    if (own.generation <= this.#current) {
      if (tNs > this.#latestNs) this.#latestNs = tNs;
      this.#rounds.page(tNs, block, address, kind, bytes);
      return;
    }
    own.waiting.push(tNs, block, address, kind, bytes);
    if (++this.#waiting > MULTIFD_WAITING_PAGES) this.#realign();
  }

  /** The main channel's section ends. */
  endSection(): void {
    if (!this.#perScan) this.mark(MAIN_LANE);
  }

  /** The guest has stopped: what comes from here on belongs to the final section. The other dialect tells by its marks. */
  stopped(tNs: number): void {
    if (this.#perScan) this.#rounds.endSection(tNs);
  }

  /** The main channel's FLUSH word. In START it tells the dialect. */
  flush(inStart: boolean): void {
    if (inStart) this.#perScan = true;
    if (this.#perScan) this.mark(MAIN_LANE);
  }

  /** A lane has passed its next mark. */
  mark(lane: number): void {
    const own = this.#lanes[lane]!;
    if (own.generation > this.#current) own.ends.push(own.waiting.length);
    own.generation++;
    if (own.generation - this.#current > MULTIFD_GENERATIONS) this.#realign();
    else this.#advance();
  }

  /** A lane is over: nobody waits for it any more. */
  end(lane: number): void {
    this.#lanes[lane]!.ended = true;
    this.#advance();
  }

  /** Nothing more comes: what still waits, for a main channel that is not in the capture, is handed on. */
  finish(): void {
    for (const lane of this.#lanes) lane.ended = true;
    this.#advance();
  }

  #begin(tNs: number, kind: 'part' | 'end'): void {
    // Up to 9.2 the END header leaves the source with or after its pages: those that came already are its own.
    if (kind === 'end') this.#rounds.finalSection(tNs);
    else if (this.#perScan) this.#rounds.section(tNs, 'part');
  }

  #advance(): void {
    for (;;) {
      let slowest = Number.POSITIVE_INFINITY;
      for (const lane of this.#lanes) if (!lane.ended && lane.generation < slowest) slowest = lane.generation;
      if (slowest <= this.#current || slowest === Number.POSITIVE_INFINITY) break;
      this.#deliver();
    }
    if (this.#lanes.every((lane) => lane.ended)) while (this.#waiting > 0) this.#deliver();
  }

  /** Makes the next generation current and hands on what waited for it. */
  #deliver(): void {
    this.#current++;
    this.#rounds.endSection(this.#latestNs);
    const announced = this.#announced.get(this.#current);
    if (announced) {
      this.#announced.delete(this.#current);
      this.#begin(announced.tNs, announced.kind);
    }
    for (const lane of this.#lanes) {
      const { waiting } = lane;
      const end = lane.generation > this.#current ? (lane.ends.shift() ?? 0) : waiting.length;
      if (end === 0) continue;
      for (let i = 0; i < end; i += PAGE_FIELDS) {
        if (waiting[i]! > this.#latestNs) this.#latestNs = waiting[i]!;
        this.#rounds.page(waiting[i]!, waiting[i + 1]!, waiting[i + 2]!, waiting[i + 3] as PageKind, waiting[i + 4]!);
      }
      this.#waiting -= end / PAGE_FIELDS;
      lane.waiting = waiting.slice(end);
      for (let i = 0; i < lane.ends.length; i++) lane.ends[i]! -= end;
    }
  }

  /** A lane missed a mark (the capture lost it): it is taken to have passed as many as the others. */
  #realign(): void {
    this.overflowed = true;
    this.#rounds.doubt();
    let fastest = 0;
    for (const lane of this.#lanes) fastest = Math.max(fastest, lane.generation);
    for (const lane of this.#lanes) lane.generation = Math.max(lane.generation, fastest);
    this.#advance();
  }
}
