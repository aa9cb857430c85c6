import { describe, expect, test, vi } from 'vitest';
import { Overlap } from '../../../src/capture/live/overlap.js';
import type * as limits from '../../../src/limits.js';
import { batchOf, type CapturedFrame } from '../../support/frames.js';
import { random } from '../../support/random.js';

vi.mock('../../../src/limits.js', async (original) => ({
  ...(await original<typeof limits>()),
  OVERLAP_FRAMES: 100,
}));

/** Frame n: its first 60 bytes, which hold it. */
const numbered = (n: number, tNs = n * 1000, wire = 1514): CapturedFrame => {
  const bytes = new Uint8Array(60);
  new DataView(bytes.buffer).setUint32(54, n);
  return { bytes, tNs, wire };
};
const numbersIn = (batch: ReturnType<typeof batchOf>): number[] =>
  Array.from({ length: batch.count }, (_, row) => batch.view.getUint32(batch.start[row]! + 54));

describe('where two captures meet', () => {
  test('nothing is left out of frames that were not handed on', () => {
    const overlap = new Overlap();
    overlap.remember(batchOf([numbered(1), numbered(2)]));
    const later = batchOf([numbered(3), numbered(4)]);
    expect(overlap.meets(later)).toBe(false);
    overlap.strip(later);
    expect(numbersIn(later)).toEqual([3, 4]);
  });

  const seed = 1 + Math.floor(Math.random() * 1e6);
  test(`every frame remains once, in whatever order two sockets saw them (seed ${seed})`, () => {
    const source = random(seed);
    for (let run = 0; run < 200; run++) {
      // Neighbours change places, stamps differ by microseconds; some frames are equal to others.
      const frames = Array.from({ length: 60 }, (_, at) => (source.below(4) === 0 ? 1000 : at));
      const stamped = frames.map((n, at) => ({ n, at, jitter: source.below(30_000) }));
      const seen = [...stamped].sort((a, b) => a.at * 20_000 + a.jitter - (b.at * 20_000 + b.jitter));
      const cut = 10 + source.below(40);
      const overlap = new Overlap();
      overlap.remember(batchOf(seen.slice(0, cut).map(({ n, at }) => numbered(n, at * 20_000))));
      const second = batchOf(stamped.slice(5).map(({ n, at, jitter }) => numbered(n, at * 20_000 + jitter)));
      expect(overlap.meets(second)).toBe(true);
      overlap.strip(second);
      const first = seen.slice(0, cut).filter(({ at }) => at >= 5);
      const all = [...first.map(({ n }) => n), ...numbersIn(second)].sort((a, b) => a - b);
      // Equal frames before the second began count for those after it; they are one and the same to who reads them.
      const missing = stamped.length - 5 - all.length;
      const equalBefore = seen.slice(0, cut).filter(({ at, n }) => at < 5 && n === 1000).length;
      expect(missing).toBeGreaterThanOrEqual(0);
      expect(missing).toBeLessThanOrEqual(equalBefore);
      const distinct = (numbers: readonly number[]): number[] => numbers.filter((n) => n !== 1000);
      expect(distinct(all)).toEqual(distinct(stamped.slice(5).map(({ n }) => n)).sort((a, b) => a - b));
    }
  });

  test('small frames, which come through any narrow filter, prove nothing', () => {
    const overlap = new Overlap();
    overlap.remember(batchOf([numbered(1, 0, 60), numbered(2, 10, 1514)]));
    expect(overlap.meets(batchOf([numbered(1, 0, 60)]))).toBe(false);
    expect(overlap.meets(batchOf([numbered(1, 0, 60), numbered(2, 10, 1514)]))).toBe(true);
  });

  test('what repeats after a while is another frame', () => {
    const overlap = new Overlap();
    overlap.remember(batchOf([numbered(7, 0)]));
    expect(overlap.meets(batchOf([numbered(7, 1e9)]))).toBe(false);
    const repeated = batchOf([numbered(7, 0), numbered(7, 1e9)]);
    expect(overlap.strip(repeated)).toBe(false);
    expect(numbersIn(repeated)).toEqual([7]);
    expect(overlap.strip(batchOf([numbered(8, 2e9)]))).toBe(true); // nothing handed on can come any more
  });

  test('a frame that is there twice is left out once for each', () => {
    const overlap = new Overlap();
    overlap.remember(batchOf([numbered(7, 0), numbered(7, 10)]));
    const second = batchOf([numbered(7, 1), numbered(7, 11), numbered(7, 20)]);
    overlap.strip(second);
    expect(second.count).toBe(1);
  });

  test('OVERLAP_FRAMES: more than can be remembered is too much, and takes no more memory', () => {
    const overlap = new Overlap();
    overlap.remember(batchOf(Array.from({ length: 99 }, (_, n) => numbered(n))));
    expect(overlap.full).toBe(false);
    overlap.remember(batchOf(Array.from({ length: 99 }, (_, n) => numbered(200 + n))));
    expect(overlap.full).toBe(true);
    expect(overlap.meets(batchOf([numbered(200)]))).toBe(true);
    expect(overlap.meets(batchOf([numbered(201)]))).toBe(false);
  });
});
