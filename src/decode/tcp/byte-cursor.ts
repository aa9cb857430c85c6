// ByteCursor: what stream decoders read from.
//
// A decoder is a generator that reads like the format description. It yields n when it needs n contiguous bytes; the
// driver resumes it with true once they are there, or with false when a hole or the end of the stream comes first. So a
// decoder never sees chunk borders. Bytes that need not be looked at are skipped: `skip` returns at once even when they
// have not arrived; they become a debt that chunks and holes pay later, without copying and without waking the decoder.
//
// Bytes are views into the transport's memory. Only a remainder too short for the decoder's next read is copied, at
// most CURSOR_BYTES.
import { CURSOR_BYTES } from '../../limits.js';
import { WIDE_ZERO } from '../../wide-zero.js';

/** A decoder or a part of one: yields how many contiguous bytes it needs, is resumed with whether they are there. */
export type Reading<Result> = Generator<number, Result, boolean>;

/** Chunks that a reader waits for are few: it asks for some bytes more, or for a header. */
const JOINTS = 16;
/** Memory first set aside for what is kept. Most streams never keep more than a header, and very many may keep one. */
const CARRY_BYTES = 512;

export class ByteCursor {
  /** `buffer[position, end)` are the bytes at hand. */
  buffer: Uint8Array = EMPTY;
  position = 0;
  end = 0;
  /** Skipped bytes that have not arrived yet. */
  owed = 0;
  /** Latest time and frame of the bytes at hand; time never steps back along a stream. */
  tNs = WIDE_ZERO;
  frame = 0;
  /** True once nothing more comes. */
  ended = false;
  /** Stream offset of `buffer[0]`. */
  #origin = WIDE_ZERO;
  #carry: Uint8Array | null = null;
  /** Where the newest chunks that were put together in `#carry` begin, and when each came: pairs. */
  #joint: Float64Array | null = null;
  #joints = 0;

  /** Stream offset of the next byte to read. */
  get offset(): number {
    return this.#origin + this.position + this.owed;
  }

  /** Bytes that can be read now. */
  get available(): number {
    return this.end - this.position;
  }

  /** When the byte at stream offset `offset`, one of those at hand, came: `tNs`, unless a reader asked for more since. */
  arrivedNs(offset: number): number {
    if (this.buffer !== this.#carry) return this.tNs;
    let joint = this.#joints - 1;
    while (joint > 0 && this.#joint![2 * joint]! > offset) joint--;
    return this.#joint![2 * joint + 1]!;
  }

  u8(): number {
    return this.buffer[this.position++]!;
  }

  u16(): number {
    const { buffer, position } = this;
    this.position = position + 2;
    return (buffer[position]! << 8) | buffer[position + 1]!;
  }

  u32(): number {
    const { buffer, position } = this;
    this.position = position + 4;
    return uint32(buffer, position);
  }

  /** A 64-bit field as a number: exact below 2^53, rounded above. Callers check the range. */
  u64(): number {
    const high = this.u32();
    return high * 0x1_0000_0000 + this.u32();
  }

  /** `length` bytes as Latin-1 text, control characters replaced; the source is untrusted. */
  text(length: number): string {
    let text = '';
    for (let i = 0; i < length; i++) {
      const byte = this.buffer[this.position + i]!;
      text += byte >= 0x20 && byte !== 0x7f ? String.fromCharCode(byte) : '\ufffd';
    }
    this.position += length;
    return text;
  }

  /** The byte `ahead` places beyond the next one; it must be at hand. */
  peek(ahead: number): number {
    return this.buffer[this.position + ahead]!;
  }

  /** Leaves out `length` bytes, whether they are at hand, still to come, or lost in a hole. */
  skip(length: number): void {
    const here = this.end - this.position;
    if (length <= here) {
      this.position += length;
    } else {
      this.position = this.end;
      this.owed += length - here;
    }
  }

  // For the driver.

  /** Makes `buffer[start, end)`, which begins at stream offset `offset`, the bytes at hand; nothing may be left over. */
  attach(buffer: Uint8Array, start: number, end: number, offset: number): void {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
    this.#origin = offset - start;
  }

  /** Copies what is left of the attached bytes before their memory goes away. */
  keep(): void {
    const left = this.end - this.position;
    if (left === 0 || this.buffer === this.#carry) return;
    const carry = this.#roomFor(left);
    carry.set(this.buffer.subarray(this.position, this.end));
    this.#carry = carry;
    this.#origin += this.position;
    this.buffer = carry;
    this.position = 0;
    this.end = left;
    this.#joints = 0;
    this.#join(this.#origin);
  }

  /** Appends `buffer[start, end)` to what `keep` kept. */
  append(buffer: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#join(this.#origin + this.end);
    let carry = this.buffer;
    if (this.end + length > carry.length) {
      carry = this.#roomFor(this.available + length);
      carry.set(this.buffer.subarray(this.position, this.end));
      this.buffer = this.#carry = carry;
      this.#origin += this.position;
      this.end -= this.position;
      this.position = 0;
    }
    if (length > 64) carry.set(buffer.subarray(start, end), this.end);
    else for (let i = 0; i < length; i++) carry[this.end + i] = buffer[start + i]!;
    this.end += length;
  }

  /** `#carry`, or a larger one where it is not at least twice as large as `length`, so that bytes are moved rarely. */
  #roomFor(length: number): Uint8Array {
    const carry = this.#carry;
    if (carry !== null && 2 * length <= carry.length) return carry;
    return new Uint8Array(Math.max(CARRY_BYTES, 2 * length));
  }

  #join(offset: number): void {
    const joint = (this.#joint ??= new Float64Array(2 * JOINTS));
    if (this.#joints === JOINTS) {
      joint.copyWithin(0, 2);
      this.#joints--;
    }
    joint[2 * this.#joints] = offset;
    joint[2 * this.#joints++ + 1] = this.tNs;
  }

  /** Pays at most `length` bytes of the debt; returns how many. */
  pay(length: number): number {
    const paid = this.owed < length ? this.owed : length;
    this.owed -= paid;
    this.#origin += paid;
    return paid;
  }

  /** Drops what is at hand and what is owed and stands at `offset`. */
  jump(offset: number): void {
    this.buffer = EMPTY;
    this.position = 0;
    this.end = 0;
    this.owed = 0;
    this.#origin = offset;
  }
}

const EMPTY = new Uint8Array(0);

/** The big-endian 32-bit field at `buffer[at]`. */
export const uint32 = (buffer: Uint8Array, at: number): number =>
  ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;

/**
 * Waits until `length` contiguous bytes are at hand.
 *
 * @returns false when a hole or the end of the stream comes first, or `length` is more than a decoder may ask for
 */
export function* want(stream: ByteCursor, length: number): Reading<boolean> {
  if (stream.end - stream.position >= length) return true;
  return length <= CURSOR_BYTES && (yield length);
}
