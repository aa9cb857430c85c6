import { expect, test } from 'vitest';
import { ByteCursor } from '../../../src/decode/tcp/byte-cursor.js';
import { CURSOR_BYTES } from '../../../src/limits.js';

/** A cursor that holds `chunks`, of which the first was attached and the others appended, with their times. */
function held(...chunks: readonly (readonly [length: number, tNs: number])[]): ByteCursor {
  const cursor = new ByteCursor();
  let offset = 1000;
  chunks.forEach(([length, tNs], i) => {
    cursor.tNs = tNs;
    if (i === 0) {
      cursor.attach(new Uint8Array(length), 0, length, offset);
      cursor.keep();
    } else cursor.append(new Uint8Array(length), 0, length);
    offset += length;
  });
  return cursor;
}

test('bytes that waited for others keep the time at which they came', () => {
  const cursor = held([13, 1e6], [5, 2e6], [13, 9e6]);
  const arrivedMs = [1000, 1012, 1013, 1017, 1018, 1030].map((offset) => cursor.arrivedNs(offset) / 1e6);
  expect(arrivedMs).toEqual([1, 1, 2, 2, 9, 9]);
  cursor.skip(14);
  cursor.keep();
  expect(cursor.arrivedNs(cursor.offset)).toBe(2e6);
});

test('bytes of one chunk came with it', () => {
  const cursor = held([13, 1e6], [5, 2e6]);
  cursor.skip(18);
  cursor.tNs = 7e6;
  cursor.attach(new Uint8Array(40), 0, 40, 1018);
  expect(cursor.arrivedNs(1020)).toBe(7e6);
});

test('of very many chunks the newest keep their times; older bytes count as no later than those', () => {
  const chunks = Array.from({ length: 40 }, (_, i) => [1, i * 1e6] as const);
  const cursor = held(...chunks);
  expect(cursor.arrivedNs(1039)).toBe(39e6);
  expect(cursor.arrivedNs(1030)).toBe(30e6);
  expect(cursor.arrivedNs(1000)).toBeLessThanOrEqual(30e6);
});

test.each([3, 700, 9000])('what a reader waits for is whole, however much it is, from pieces of %i bytes', (piece) => {
  const stream = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >>> 8)) & 255);
  const cursor = new ByteCursor();
  cursor.attach(stream, 0, piece, 0);
  cursor.keep();
  let at = piece;
  // Records longer and longer, so that some of the bytes of each are left over for the next.
  for (let length = 10; at < 150_000; length = Math.min(CURSOR_BYTES - piece, 2 * length)) {
    for (; cursor.available < length; at += piece) cursor.append(stream, at, at + piece);
    const offset = cursor.offset;
    for (let i = 0; i < length; i++) if (cursor.u8() !== stream[offset + i]) expect.fail(`byte ${offset + i}`);
    expect(cursor.offset).toBe(offset + length);
    if (cursor.available === 0) {
      cursor.attach(stream, at, at + piece, at);
      cursor.keep();
      at += piece;
    }
  }
});
