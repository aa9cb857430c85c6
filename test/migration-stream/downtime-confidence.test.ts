import { describe, expect, test } from 'vitest';
import { confidenceOf, isMirrorPause } from '../../src/migration-stream/downtime.js';

const MS = 1e6;

describe('an estimate of downtime is', () => {
  test('believed as far as anything can be, with nothing against it', () => {
    expect(confidenceOf(200 * MS, [])).toEqual({ confidence: 0.9, uncertain: '' });
    expect(confidenceOf(200 * MS, [{ ns: 0, why: 'nothing' }])).toEqual({ confidence: 0.9, uncertain: '' });
  });

  test('believed while the largest doubt is within 30 ms, or a quarter of a long one', () => {
    expect(confidenceOf(10 * MS, [{ ns: 30 * MS, why: 'a' }])).toEqual({ confidence: 0.6, uncertain: '' });
    expect(confidenceOf(400 * MS, [{ ns: 99 * MS, why: 'a' }])).toMatchObject({ confidence: 0.61, uncertain: '' });
  });

  test('called uncertain beyond that, with every grave reason, the largest first', () => {
    const doubts = [
      { ns: 40 * MS, why: 'of the lesser' },
      { ns: 20 * MS, why: 'of no matter' },
      { ns: 90 * MS, why: 'of the greater' },
    ];
    expect(confidenceOf(10 * MS, doubts)).toEqual({
      confidence: 0.2,
      uncertain: '; uncertain, for of the greater, and of the lesser',
    });
  });

  test('never on both sides at once, however close', () => {
    expect(confidenceOf(0, [{ ns: 30.001 * MS, why: 'a' }]).confidence).toBe(0.59);
  });
});

test('a mirror that ends in silence right before the switch-over shows a pause', () => {
  const [lastMemoryNs, markNs] = [100 * MS, 400 * MS];
  expect(isMirrorPause([395 * MS], lastMemoryNs, markNs)).toBe(true);
  expect(isMirrorPause([10 * MS, 395 * MS], lastMemoryNs, markNs)).toBe(true);
  // Long before, before the silence, behind the mark, or none at all.
  for (const ends of [[300 * MS], [90 * MS], [401 * MS], []])
    expect(isMirrorPause(ends, lastMemoryNs, markNs)).toBe(false);
});
