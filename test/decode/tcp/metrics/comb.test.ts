import { describe, expect, test } from 'vitest';
import { Comb } from '../../../../src/decode/tcp/metrics/comb.js';
import { random } from '../../../support/random.js';

const MS = 1e6;

describe('the 100 ms comb', () => {
  test('pauses that end every 100 ms are given back from the first on', () => {
    const comb = new Comb();
    const found = [];
    for (let slice = 0; slice <= 10; slice++) {
      const end = slice * 100 * MS;
      found.push(...comb.pause(end - 60 * MS, end, 0, slice * 1000));
    }
    found.push(...comb.finish());
    expect(found.map(({ toNs }) => toNs / MS)).toEqual([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
    expect(comb.summary()).toEqual({ periodNs: 100 * MS, periods: 10, bytesPerPeriod: 1000, bytesVariation: 0 });
  });

  test('shorter pauses within a slice do not disturb it', () => {
    const comb = new Comb();
    const found = [];
    for (let slice = 0; slice <= 8; slice++) {
      const end = slice * 101 * MS;
      found.push(...comb.pause(end - 40 * MS, end, 0, slice));
      found.push(...comb.pause(end + 20 * MS, end + 30 * MS, 0, slice));
    }
    expect(found.length).toBeGreaterThanOrEqual(6);
    expect(found.every(({ fromNs, toNs }) => toNs - fromNs === 40 * MS)).toBe(true);
  });

  test('two slices are not enough to be believed', () => {
    const comb = new Comb();
    for (const end of [0, 100, 200]) expect(comb.pause((end - 50) * MS, end * MS, 0, 0)).toEqual([]);
    expect(comb.finish()).toEqual([]);
  });

  test.each([1, 2, 3, 4, 5])('pauses at random are no comb, seed %i', (seed) => {
    const source = random(seed);
    const comb = new Comb();
    let tNs = 0;
    let given = 0;
    let all = 0;
    for (let n = 0; n < 400; n++) {
      const fromNs = tNs + source.below(30) * MS;
      tNs = fromNs + (2 + source.below(60)) * MS;
      all += tNs - fromNs;
      for (const pause of comb.pause(fromNs, tNs, 0, n)) given += pause.toNs - pause.fromNs;
    }
    expect(given / all).toBeLessThan(0.1);
  });
});
