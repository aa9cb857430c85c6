import { expect, test } from 'vitest';
import type { ByteInput } from '../../src/capture/byte-input.js';
import { ByteWindow, LOOKAHEAD_BYTES } from '../../src/capture/byte-window.js';
import { random } from '../support/random.js';

const SEED = 20261122;

/**
 * An input read by another thread: reads take some turns of the event loop, a later one perhaps fewer than an earlier. The first
 * `atOnce` bytes are there at once.
 */
class AsideInput implements ByteInput {
  doneBytes = 0;
  readonly totalBytes: number;
  outstanding = 0;
  readonly #content: Uint8Array;
  readonly #next: () => number;
  readonly #atOnce: number;

  constructor(content: Uint8Array, next: () => number, atOnce = 0) {
    this.#content = content;
    this.#next = next;
    this.#atOnce = atOnce;
    this.totalBytes = content.length;
  }

  get immediate(): boolean {
    return this.doneBytes < this.#atOnce;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    if (!this.immediate) return this.ahead(target, at, length)();
    const piece = this.#content.subarray(this.doneBytes, this.doneBytes + length);
    target.set(piece, at);
    this.doneBytes += piece.length;
    return piece.length;
  }

  ahead(target: Uint8Array, at: number, length: number): () => Promise<number> {
    this.outstanding++;
    const rest = this.#content.length - this.doneBytes;
    const got = Math.min(rest, length);
    const from = this.doneBytes;
    this.doneBytes += got;
    let turns = Math.floor(this.#next() * 4);
    const brought = new Promise<number>((resolve) => {
      const finish = (): void => {
        if (turns-- > 0) {
          setImmediate(finish);
          return;
        }
        target.set(this.#content.subarray(from, from + got), at);
        this.outstanding--;
        resolve(got);
      };
      setImmediate(finish);
    });
    return () => brought;
  }

  close(): void {}
}

const content = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 2654435761) >>> 24;
  return bytes;
};

test.each([
  [1 << 10, 0],
  [1 << 10, 7 << 10],
  [64 << 10, 0],
  [64 << 10, 200_000],
  [256 << 10, 0],
  [256 << 10, 2_000_000],
  [700 << 10, 0],
  [700 << 10, 5_000_000],
])(
  'pieces of %i bytes arrive whole and in order, the first %i in place, the others by another thread',
  async (pieceBytes, atOnce) => {
    const { next } = random(SEED + pieceBytes + atOnce);
    const expected = content(20 * pieceBytes + 12_345);
    const input = new AsideInput(expected, next, atOnce);
    const window = new ByteWindow(input, pieceBytes);
    let offset = 0;
    for (;;) {
      await window.fill(1 + Math.floor(next() * Math.min(LOOKAHEAD_BYTES, 3 * pieceBytes)));
      expect(window.offset(window.start)).toBe(offset);
      const there = window.end - window.start;
      if (there === 0) break;
      const taken = window.ended ? there : Math.ceil(next() * there);
      const seen = window.bytes.subarray(window.start, window.start + taken);
      // A piece on its way must not touch what is being looked at.
      await new Promise(setImmediate);
      expect(Buffer.compare(seen, expected.subarray(offset, offset + taken))).toBe(0);
      window.skip(taken);
      offset += taken;
    }
    expect(offset).toBe(expected.length);
  },
);

test('while a piece is looked at the next one is on its way', async () => {
  const input = new AsideInput(content(32 << 20), () => 0);
  const window = new ByteWindow(input);
  let overlapped = 0;
  for (let turn = 0; turn < 10; turn++) {
    await window.fill(1001);
    overlapped += Math.min(1, input.outstanding);
    window.start = window.end - 1000; // the beginning of a frame that ends in the next piece
  }
  expect(overlapped).toBe(10);
});

test('a read that fails ahead of its turn is told when its turn comes', async () => {
  const input: ByteInput = {
    immediate: false,
    doneBytes: 0,
    totalBytes: null,
    read: (_target, _at, length) => length,
    ahead: () => {
      const brought = Promise.reject(new Error('the disk is gone'));
      brought.catch(() => {});
      return () => brought;
    },
    close() {},
  };
  const window = new ByteWindow(input);
  await window.fill(1);
  await new Promise(setImmediate);
  window.start = window.end;
  await expect(window.fill(1)).rejects.toThrow('the disk is gone');
});
