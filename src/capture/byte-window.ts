// ByteWindow: the one piece of memory an input is read into, chunk after chunk.
//
// Records that lie whole in the window are used in place. What is left incomplete at the end of a chunk is moved in
// front of the next one, so that every record is contiguous and nothing else is ever copied. Small chunks stay in the
// processor's cache; where another thread reads, chunks are large and the next is on its way while one is used.
import { FRAME_BYTES } from '../limits.js';
import type { ByteInput } from './byte-input.js';

/** Bytes a reader may look ahead from a position: the largest frame and enough behind it to judge what follows. */
export const LOOKAHEAD_BYTES = 2 * FRAME_BYTES + (256 << 10);

const CHUNK_BYTES = 256 << 10;
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
  readonly #chunkBytes: number;
  readonly #ahead: Ahead[] = [];
  #aheadMost = 0;
  /** Offset of bytes[0] in the unpacked input; below zero at first. */
  #origin = -FRONT;
  #skipBytes = 0;

  constructor(input: ByteInput, chunkBytes = input.aside ? CHUNK_ASIDE_BYTES : CHUNK_BYTES) {
    this.#input = input;
    this.#chunkBytes = chunkBytes;
    // Small chunks (pipes, tests) gather in the room of a usual one before anything is moved.
    const roomBytes = Math.max(chunkBytes, CHUNK_BYTES);
    this.bytes = new Uint8Array(FRONT + (input.aside ? CHUNKS_ASIDE : 1) * roomBytes);
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
    if (this.#input.aside) this.#aheadMost = AHEAD;
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
    if (this.ended) return;
    while (this.#ahead.length < this.#aheadMost) {
      const latest = this.#ahead.at(-1);
      const behind = latest ? latest.at + this.#chunkBytes : this.end;
      const at = this.#room(behind) ? behind : FRONT;
      if (at < this.end && at + this.#chunkBytes > this.start) return; // still unread
      this.#ahead.push(this.#send(at));
    }
  }

  /** Does a chunk fit behind `at`? */
  #room(at: number): boolean {
    return this.bytes.length - at >= this.#chunkBytes;
  }

  #send(at: number): Ahead {
    const got = this.#input.read(this.bytes, at, this.#chunkBytes);
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
