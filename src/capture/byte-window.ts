// ByteWindow: the one piece of memory an input is read into, piece after piece.
//
// Records that lie whole in the window are used in place. What is left incomplete at the end of the memory is moved to its
// front, so that every record is contiguous and nothing else is ever copied. Where another thread reads, the next pieces are on
// their way while one is used.
import { BATCH_BYTES, FRAME_BYTES } from '../limits.js';
import type { ByteInput } from './byte-input.js';

/** Bytes a reader may look ahead from a position: the largest frame and enough behind it to judge what follows. */
export const LOOKAHEAD_BYTES = 2 * FRAME_BYTES + (256 << 10);

/** As much as a batch holds; of smaller ones batches are, of larger ones less is left in the processor's cache. */
const PIECE_BYTES = BATCH_BYTES;
/** What pipes bring at once: they gather it until there is no room for more. */
const PIECE_LEAST_BYTES = 64 << 10;
/** Where another thread reads. */
const PIECE_AHEAD_BYTES = 2 << 20;
/** Pieces on their way then: two, so that it need not wait for us either. */
const AHEAD = 2;
/** Pieces in memory then: what is left of one, the one in use, those on their way. */
const PIECES_AHEAD = 2 + AHEAD;
/** Where the first piece in memory begins; before it there is room for what is left of the last one. */
const FRONT = LOOKAHEAD_BYTES;

/** A piece on its way into [at, end). */
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
  readonly #pieceBytes: number;
  readonly #pieceAheadBytes: number;
  readonly #ahead: Ahead[] = [];
  /** Offset of bytes[0] in the unpacked input; below zero at first. */
  #origin = -FRONT;
  #skipBytes = 0;

  /** @param pieceBytes  bytes asked for at once; without it what has proved best */
  constructor(input: ByteInput, pieceBytes?: number) {
    this.#input = input;
    this.#pieceBytes = pieceBytes ?? PIECE_BYTES;
    this.#pieceAheadBytes = pieceBytes ?? PIECE_AHEAD_BYTES;
    const aheadBytes = input.ahead ? PIECES_AHEAD * this.#pieceAheadBytes : 0;
    // What of it is never written to takes no memory.
    this.bytes = new Uint8Array(FRONT + Math.max(BATCH_BYTES, this.#pieceBytes, aheadBytes));
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

  /**
   * Reads on until at least `wantBytes` (≤ LOOKAHEAD_BYTES) are unread or the input has ended, and sends for more where
   * reading means waiting.
   *
   * Moves memory, and lets what is before `start` be overwritten until the next call.
   */
  async fill(wantBytes: number): Promise<void> {
    while (!this.ended && this.end - this.start < wantBytes) {
      const ahead = this.#ahead.shift();
      if (ahead && ahead.at !== this.end) this.#moveBefore(ahead.at);
      const brought = ahead ? ahead.bring() : this.#readHere();
      const got = typeof brought === 'number' ? brought : await brought;
      if (got === 0) this.ended = true;
      this.end += got;
      if (this.#skipBytes > 0) this.skip(this.#skipBytes);
    }
    if (!this.#input.immediate) this.#sendAhead();
  }

  #readHere(): number | Promise<number> {
    if (!this.#hasRoom(this.end, PIECE_LEAST_BYTES)) this.#moveBefore(FRONT);
    const { bytes, end } = this;
    return this.#input.read(bytes, end, Math.min(this.#pieceBytes, bytes.length - end));
  }

  #sendAhead(): void {
    const { bytes } = this;
    const length = this.#pieceAheadBytes;
    while (!this.ended && this.#input.ahead && this.#ahead.length < AHEAD) {
      const behind = this.#ahead.at(-1)?.end ?? this.end;
      const at = this.#hasRoom(behind, length) ? behind : FRONT;
      if (at < this.end && at + length > this.start) return; // still unread
      this.#ahead.push({ at, end: at + length, bring: this.#input.ahead(bytes, at, length) });
    }
  }

  #hasRoom(at: number, length: number): boolean {
    return this.bytes.length - at >= length;
  }

  #moveBefore(front: number): void {
    const to = front - (this.end - this.start);
    this.bytes.copyWithin(to, this.start, this.end);
    this.#origin += this.start - to;
    this.start = to;
    this.end = front;
  }
}
