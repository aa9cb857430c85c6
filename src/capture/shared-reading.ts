// SharedReading: pieces of a file, each read by whichever thread is free first.
//
// A piece is asked for before it is needed. A thread with nothing else to do takes what waits (readPiece). The thread that
// needs a piece reads it by itself when nobody has begun; while another one is at it, it reads the next piece instead. So
// nobody waits while there is something to read, and nobody need be woken for it: on a machine whose processors are all at
// work, that is where the time goes (docs/performance.md).
import { readSync } from 'node:fs';

/** What the slot of a piece holds. The first two are nobody's, a taken one belongs to the thread that reads it. */
const FREE = 0;
const WANTED = 1;
const TAKEN = 2;
const READ = 3;
/** Whoever read it could not: who needs it tries again, and learns why. */
const FAILED = 4;

/** Pieces under way at most. */
const SLOTS = 4;
/** Numbers of a slot's piece: where it is in the file and in memory, its bytes, and how many of them there were. */
const FIELDS = 4;
const AT = 1;
const LENGTH = 2;
const GOT = 3;

/** What threads that read need to know; may be sent to one. */
export interface SharedPieces {
  readonly fd: number;
  /** Where pieces are put; shared memory, as all that follows. */
  readonly memory: Uint8Array;
  /** What each slot holds. */
  readonly states: Int32Array;
  /** FIELDS numbers a slot, written while it is nobody's or by who reads it. */
  readonly places: Float64Array;
}

/** The side of the thread that needs the pieces. */
export class SharedReading {
  readonly pieces: SharedPieces;
  /** Called when a piece was asked for: there is something to do. */
  onAsked = (): void => {};
  #asked = 0;
  #collected = 0;

  /** @param memory  shared memory that pieces are read into */
  constructor(fd: number, memory: Uint8Array) {
    this.pieces = {
      fd,
      memory,
      states: new Int32Array(new SharedArrayBuffer(4 * SLOTS)),
      places: new Float64Array(new SharedArrayBuffer(8 * SLOTS * FIELDS)),
    };
  }

  /** Asks for `length` bytes of the file from `position` on, to be put at `at`. No more than SLOTS before they are collected. */
  ask(position: number, at: number, length: number): void {
    const { states, places } = this.pieces;
    const slot = this.#asked++ % SLOTS;
    places.set([position, at, length, 0], slot * FIELDS);
    Atomics.store(states, slot, WANTED);
    this.onAsked();
  }

  /**
   * Brings the piece that was asked for first.
   *
   * @returns its bytes; fewer than were asked for only where the file ends
   * @throws what the system says when it cannot be read
   */
  collect(): number {
    const { pieces } = this;
    const { states, places } = pieces;
    const slot = this.#collected++ % SLOTS;
    while (Atomics.load(states, slot) < READ) {
      if (!readPiece(pieces)) Atomics.wait(states, slot, TAKEN);
    }
    const failed = Atomics.exchange(states, slot, FREE) === FAILED;
    return failed ? readWhole(pieces, slot) : places[slot * FIELDS + GOT]!;
  }

  /** Waits until no other thread reads, and lets none begin: the file may be closed then. */
  close(): void {
    const { states } = this.pieces;
    for (let slot = 0; slot < SLOTS; slot++) {
      Atomics.compareExchange(states, slot, WANTED, FREE);
      while (Atomics.load(states, slot) === TAKEN) Atomics.wait(states, slot, TAKEN);
    }
  }
}

/** Reads the piece nearest to the file's beginning that nobody reads yet; false where there is none. Never throws. */
export function readPiece(pieces: SharedPieces): boolean {
  const { states, places } = pieces;
  for (;;) {
    let next = -1;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (Atomics.load(states, slot) !== WANTED) continue;
      if (next < 0 || places[slot * FIELDS]! < places[next * FIELDS]!) next = slot;
    }
    if (next < 0) return false;
    if (Atomics.compareExchange(states, next, WANTED, TAKEN) !== WANTED) continue; // another thread was faster
    let outcome = READ;
    try {
      places[next * FIELDS + GOT] = readWhole(pieces, next);
    } catch {
      outcome = FAILED;
    }
    Atomics.store(states, next, outcome);
    Atomics.notify(states, next);
    return true;
  }
}

/** All of a piece, as far as the file goes. */
function readWhole({ fd, memory, places }: SharedPieces, slot: number): number {
  const position = places[slot * FIELDS]!;
  const at = places[slot * FIELDS + AT]!;
  const length = places[slot * FIELDS + LENGTH]!;
  let got = 0;
  for (let more = 1; got < length && more > 0; got += more) {
    more = readSync(fd, memory, at + got, length - got, position + got);
  }
  return got;
}
