// What the search after a gap passes over without looking closer.
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { MigrationState } from '../../src/migration-stream/migration.js';
import { isBarren } from '../../src/migration-stream/search.js';

const sink = new MigrationState(new AnomalyLog(), 0, 0);
const RAM_WORD = [0, 0, 0, 1, 0x23, 0x45, 0x60, 0x08];
const FOOTER = [0x7e, 0, 0, 0x01, 0x02];

/** Page contents with `bytes` in them at `at`, as far as they fit. */
const contents = (length: number, at = length, bytes: number[] = []) =>
  Uint8Array.from({ length }, (_, i) => bytes[i - at] ?? 0xa5);

const barren = (piece: Uint8Array, start = 0) => isBarren(piece, start, piece.length, 1000, 0, sink);

describe('a piece of page contents', () => {
  test('without anything that could begin is passed over, single zeros and footer marks notwithstanding', () => {
    expect(barren(contents(31))).toBe(true);
    for (let at = 0; at < 29; at++) {
      expect(barren(contents(31, at, [0]))).toBe(true);
      expect(barren(contents(31, at, [0x7e]))).toBe(true);
    }
  });

  test.each([
    ['RAM word', RAM_WORD],
    ['footer', FOOTER],
  ])('with a %s anywhere, even cut off, is looked at', (_, bytes) => {
    for (const length of [30, 31]) {
      for (const start of [0, 1, 2]) {
        for (let at = start; at < length; at++)
          expect([at, barren(contents(length, at, bytes), start)]).toEqual([at, false]);
      }
    }
  });

  test('is judged by its own bytes: what lies in front of it in the buffer is nobody’s', () => {
    expect(barren(contents(31, 1, [0, 0x7e]), 3)).toBe(true);
  });
});
