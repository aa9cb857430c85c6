// ByteWindow: the one piece of memory an input is read into, chunk after chunk.
//
// Records that lie whole in the window are used in place. What is left incomplete at the end of a chunk is moved in
// front of the next one, so that every record is contiguous and nothing else is ever copied. Small chunks, always in the same
// place, stay in the processor's cache; where another thread reads, chunks are large and the next is on its way while one
// is used.
import { FRAME_BYTES } from '../limits.js';
import type { ByteInput } from './byte-input.js';

/** Bytes a reader may look ahead from a position: the largest frame and enough behind it to judge what follows. */
export const LOOKAHEAD_BYTES = 2 * FRAME_BYTES + (256 << 10);

const CHUNK_BYTES = 512 << 10;
const CHUNK_ASIDE_BYTES = 2 << 20;
/** Chunks on their way where another thread reads: two, so that it need not wait for us either. */
const AHEAD = 2;
/** Chunks in memory then: what is left of one, the one in use, those on their way. */
const CHUNKS_ASIDE = 2 + AHEAD;
/** Where the first chunk in memory begins; before it there is room for what is left of the last one. */
const FRONT = LOOKAHEAD_BYTES;

/** A chunk on its way into [at, …). */
interface Ahead {
  readonly at: number;
  readonly got: number | Promise<number>;
}

export class ByteWindow {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Unread bytes are [start, end); readers advance `start`. */
  start = FRONT;
  end = FRONT;
  /** Nothing comes after `end`. */
  ended = false;
  readonly #input: ByteInput;
  /** Length of a chunk read in place, and of one that another thread reads. */
  readonly #chunkBytes: number;
  readonly #chunkAsideBytes: number;
  /** Where chunks read in place end. */
  readonly #limit: number;
  readonly #ahead: Ahead[] = [];
  #mayReadAhead = false;
  /** Offset of bytes[0] in the unpacked input; below zero at first. */
  #origin = -FRONT;
  #skipBytes = 0;

  constructor(input: ByteInput, chunkBytes?: number) {
    this.#input = input;
    this.#chunkBytes = chunkBytes ?? CHUNK_BYTES;
    this.#chunkAsideBytes = chunkBytes ?? CHUNK_ASIDE_BYTES;
    // Small chunks (pipes, tests) gather in the room of a usual one before anything is moved.
    this.#limit = FRONT + Math.max(this.#chunkBytes, CHUNK_BYTES);
    const asideBytes = input.mayGoAside ? CHUNKS_ASIDE * Math.max(this.#chunkAsideBytes, CHUNK_BYTES) : 0;
    this.bytes = new Uint8Array(Math.max(this.#limit, FRONT + asideBytes));
    this.view = new DataView(this.bytes.buffer);
  }

  /** Offset in the unpacked input of the byte at `at`. */
  offset(at: number): number {
    return this.#origin + at;
  }

  /** Passes over `length` bytes, of which some may not have been read yet. */
  skip(length: number): void {
    const here = Math.min(length, this.end - this.start);
    this.start += here;
    this.#skipBytes = length - here;
  }

  /** From now on chunks are sent for before they are needed. Only when nobody else reads the input. */
  readAhead(): void {
    this.#mayReadAhead = true;
  }

  /**
   * Reads on until at least `wantBytes` (≤ LOOKAHEAD_BYTES) are unread or the input has ended, and sends for more.
   *
   * Moves memory, and lets what is before `start` be overwritten until the next call.
   */
  async fill(wantBytes: number): Promise<void> {
    while (!this.ended && this.end - this.start < wantBytes) {
      if (this.#ahead.length === 0 && !this.#room(this.end)) this.#moveBefore(FRONT);
      const ahead = this.#ahead.shift() ?? this.#send(this.end);
      if (ahead.at !== this.end) this.#moveBefore(ahead.at);
      const got = typeof ahead.got === 'number' ? ahead.got : await ahead.got;
      if (got === 0) this.ended = true;
      this.end += got;
      if (this.#skipBytes > 0) this.skip(this.#skipBytes);
    }
    if (this.ended || !this.#input.aside || !this.#mayReadAhead) return;
    while (this.#ahead.length < AHEAD) {
      const latest = this.#ahead.at(-1);
      const behind = latest ? latest.at + this.#chunkAsideBytes : this.end;
      const at = this.#room(behind) ? behind : FRONT;
      if (at < this.end && at + this.#chunkAsideBytes > this.start) return; // still unread
      this.#ahead.push(this.#send(at));
    }
  }

  /** Does a chunk fit behind `at`? */
  #room(at: number): boolean {
    const { aside } = this.#input;
    return aside ? this.bytes.length - at >= this.#chunkAsideBytes : this.#limit - at >= this.#chunkBytes;
  }

  #send(at: number): Ahead {
    const got = this.#input.read(this.bytes, at, this.#input.aside ? this.#chunkAsideBytes : this.#chunkBytes);
    // A failure is for whoever waits for these bytes; until then it must not count as nobody's.
    if (typeof got !== 'number') got.catch(() => {});
    return { at, got };
  }

  #moveBefore(front: number): void {
    const to = front - (this.end - this.start);
    this.bytes.copyWithin(to, this.start, this.end);
    this.#origin += this.start - to;
    this.start = to;
    this.end = front;
  }
}
