import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../../src/decode/tcp/ranges.js';
import { random } from '../../support/random.js';

const list = (set: RangeSet): [number, number][] =>
  Array.from({ length: set.count }, (_, at) => [set.starts[at]!, set.ends[at]!]);

describe('range set', () => {
  test('merging joins what overlaps or touches', () => {
    const set = new RangeSet(10);
    expect([set.merge(10, 20), set.merge(30, 40), set.merge(20, 25), set.merge(24, 31), set.merge(12, 14)]).toEqual([
      10, 10, 5, 5, 0,
    ]);
    expect([list(set), set.bytes]).toEqual([[[10, 40]], 30]);
  });

  test('removing from the middle leaves two parts with the notes of the whole', () => {
    const set = new RangeSet(10, 2);
    set.append(0, 100, [7, 8]);
    expect(set.remove(40, 60)).toBe(20);
    expect(list(set)).toEqual([
      [0, 40],
      [60, 100],
    ]);
    expect(set.notes).toEqual([
      [7, 7],
      [8, 8],
    ]);
  });

  test('beyond the limit the two closest become one, and that is counted', () => {
    const set = new RangeSet(3);
    for (const start of [0, 100, 130, 500]) set.merge(start, start + 10);
    expect([list(set), set.merged, set.bytes]).toEqual([
      [
        [0, 10],
        [100, 140],
        [500, 510],
      ],
      1,
      60,
    ]);
  });

  test('agrees with a map of bytes under any sequence of changes', () => {
    const source = random(11);
    const set = new RangeSet(1000);
    const bytes = new Uint8Array(300);
    for (let round = 0; round < 3000; round++) {
      const start = source.below(300);
      const end = start + source.below(300 - start) + 1;
      const before = bytes.subarray(start, end).reduce((sum, byte) => sum + byte, 0);
      if (source.below(2)) {
        expect(set.merge(start, end)).toBe(end - start - before);
        bytes.fill(1, start, end);
      } else {
        expect(set.remove(start, end)).toBe(before);
        bytes.fill(0, start, end);
      }
      expect(set.covered(0, 300)).toBe(bytes.reduce((sum, byte) => sum + byte, 0));
      expect(set.bytes).toBe(set.covered(0, 300));
      const at = source.below(300);
      const found = set.find(at);
      expect(found < set.count && set.starts[found]! <= at).toBe(bytes[at] === 1);
    }
  });
});
