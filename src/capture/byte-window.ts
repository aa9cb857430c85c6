// ByteWindow: the one piece of memory an input is read into, chunk after chunk.
//
// Records that lie whole in the window are used in place. What is left incomplete at the end of a chunk is moved in
// front of the next one, so that every record is contiguous and nothing else is ever copied (measured: 256 KiB chunks
// stay in the processor's cache).
import { FRAME_BYTES } from '../limits.js';
import type { ByteInput } from './byte-input.js';

/** Bytes a reader may look ahead from a position: the largest frame and enough behind it to judge what follows. */
export const LOOKAHEAD_BYTES = 2 * FRAME_BYTES + (256 << 10);

const CHUNK_BYTES = 256 << 10;
/** Room for chunks; small chunks (pipes, tests) gather here before anything is moved. */
const CHUNK_ROOM_BYTES = CHUNK_BYTES;

export class ByteWindow {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Unread bytes are [start, end); readers advance `start`. */
  start = LOOKAHEAD_BYTES;
  end = LOOKAHEAD_BYTES;
  /** Nothing comes after `end`. */
  ended = false;
  readonly #input: ByteInput;
  readonly #chunkBytes: number;
  /** Offset of bytes[0] in the unpacked input; below zero at first. */
  #origin = -LOOKAHEAD_BYTES;
  #skipBytes = 0;

  constructor(input: ByteInput, chunkBytes = CHUNK_BYTES) {
    this.#input = input;
    this.#chunkBytes = chunkBytes;
    this.bytes = new Uint8Array(LOOKAHEAD_BYTES + Math.max(chunkBytes, CHUNK_ROOM_BYTES));
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

  /** Reads on until at least `wantBytes` (≤ LOOKAHEAD_BYTES) are unread or the input has ended. Moves memory. */
  async fill(wantBytes: number): Promise<void> {
    while (!this.ended && this.end - this.start < wantBytes) {
      if (this.bytes.length - this.end < this.#chunkBytes) this.#makeRoom();
      const pending = this.#input.read(this.bytes, this.end, this.#chunkBytes);
      const got = typeof pending === 'number' ? pending : await pending;
      if (got === 0) this.ended = true;
      this.end += got;
      if (this.#skipBytes > 0) this.skip(this.#skipBytes);
    }
  }

  #makeRoom(): void {
    const to = LOOKAHEAD_BYTES - (this.end - this.start);
    this.bytes.copyWithin(to, this.start, this.end);
    this.#origin += this.start - to;
    this.start = to;
    this.end = LOOKAHEAD_BYTES;
  }
}
