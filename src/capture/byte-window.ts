// ByteWindow: the one piece of memory an input is read into, chunk after chunk.
//
// Records that lie whole in the window are used in place. What is left incomplete at the end of a chunk is moved in
// front of the next one, so that every record is contiguous and nothing else is ever copied. Small chunks stay in the
// processor's cache; where another thread reads, chunks are large and the next is on its way while one is used.
import { FRAME_BYTES } from '../limits.js';
import type { ByteInput } from './byte-input.js';
import type { SharedReading } from './shared-reading.js';

/** Bytes a reader may look ahead from a position: the largest frame and enough behind it to judge what follows. */
export const LOOKAHEAD_BYTES = 2 * FRAME_BYTES + (256 << 10);

const CHUNK_BYTES = 256 << 10;
/** Where other threads read, and where the thread that measures is one of them: the less often they meet the better. */
const CHUNK_AHEAD_BYTES = 2 << 20;
const CHUNK_SHARED_BYTES = 4 << 20;
/** Chunks on their way where other threads read: two, so that these need not wait for us either. */
const AHEAD = 2;
/** Chunks in memory then: what is left of one, the one in use, those on their way. */
const CHUNKS_AHEAD = 2 + AHEAD;
/** Where the first chunk in memory begins; before it there is room for what is left of the last one. */
const FRONT = LOOKAHEAD_BYTES;

/** A chunk on its way into [at, end). */
interface Ahead {
  readonly at: number;
  readonly end: number;
  readonly bring: () => number | Promise<number>;
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
  #chunkBytes: number;
  /** Memory in use: up to here. */
  #limit: number;
  readonly #ahead: Ahead[] = [];
  #aheadMost = 0;
  /** Offset of bytes[0] in the unpacked input; below zero at first. */
  #origin = -FRONT;
  #skipBytes = 0;

  /** @param chunkBytes  bytes asked for at once; without it what has proved best */
  constructor(input: ByteInput, chunkBytes?: number) {
    this.#input = input;
    const ahead = input.ahead !== undefined;
    this.#chunkBytes = chunkBytes ?? (ahead ? CHUNK_AHEAD_BYTES : CHUNK_BYTES);
    // Small chunks (pipes, tests) gather in the room of a usual one before anything is moved.
    const roomBytes = Math.max(this.#chunkBytes, CHUNK_BYTES);
    this.#limit = FRONT + (ahead ? CHUNKS_AHEAD : 1) * roomBytes;
    // What of it is never written to takes no memory.
    const sharedBytes = FRONT + CHUNKS_AHEAD * Math.max(roomBytes, CHUNK_SHARED_BYTES);
    this.bytes = ahead ? new Uint8Array(new SharedArrayBuffer(sharedBytes)) : new Uint8Array(this.#limit);
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
    if (this.#input.ahead) this.#aheadMost = AHEAD;
  }

  /** From now on other threads may read chunks for this one; null where there is nothing to share. After readAhead(). */
  share(): SharedReading | null {
    const shared = this.#input.share?.(this.bytes) ?? null;
    if (shared) {
      this.#chunkBytes = CHUNK_SHARED_BYTES;
      this.#limit = this.bytes.length;
    }
    return shared;
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
      const brought = ahead.bring();
      const got = typeof brought === 'number' ? brought : await brought;
      if (got === 0) this.ended = true;
      this.end += got;
      if (this.#skipBytes > 0) this.skip(this.#skipBytes);
    }
    if (this.ended) return;
    while (this.#ahead.length < this.#aheadMost) {
      const behind = this.#ahead.at(-1)?.end ?? this.end;
      const at = this.#room(behind) ? behind : FRONT;
      if (at < this.end && at + this.#chunkBytes > this.start) return; // still unread
      this.#ahead.push(this.#send(at));
    }
  }

  /** Does a chunk fit behind `at`? */
  #room(at: number): boolean {
    return this.#limit - at >= this.#chunkBytes;
  }

  #send(at: number): Ahead {
    const input = this.#input;
    const chunkBytes = this.#chunkBytes;
    const bring = input.ahead?.(this.bytes, at, chunkBytes) ?? (() => input.read(this.bytes, at, chunkBytes));
    return { at, end: at + chunkBytes, bring };
  }

  #moveBefore(front: number): void {
    const to = front - (this.end - this.start);
    this.bytes.copyWithin(to, this.start, this.end);
    this.#origin += this.start - to;
    this.start = to;
    this.end = front;
  }
}
