import { describe, expect, test } from 'vitest';
import { SIGHTINGS } from '../../src/limits.js';
import { Sightings } from '../../src/migration-stream/sightings.js';
import { range } from '../support/migration-stream.js';

const RECORD = 4104;
const TOTAL = 10_000;

/** A scan that sends `pages` one after the other; every `step`-th header happens to be visible. 1 ms a page. */
function scan(passes: readonly (readonly number[])[], step: number, astray: readonly [number, number][] = []) {
  const sightings = new Sightings();
  let count = 0;
  for (const page of passes.flat()) {
    if (count % step === step - 1) sightings.add(count * RECORD, count * 1e6, 0, page);
    for (const [at, wrong] of astray) if (at === count) sightings.add(count * RECORD + 99, count * 1e6, 0, wrong);
    count++;
  }
  const end = { offset: count * RECORD, tNs: count * 1e6 };
  const start = { offset: 0, tNs: 0 };
  return sightings.rounds({ pageSize: 4096, totalPages: TOTAL, start, end, fromStart: true, complete: false });
}

const ms = (rounds: readonly { startNs: number }[]): number[] => rounds.map(({ startNs }) => Math.round(startNs / 1e6));

describe('rounds from single page headers', () => {
  test('each time the scan comes around is a boundary, within the gap between two sightings', () => {
    const rounds = scan([range(0, TOTAL), range(3000, 4000), range(3000, 3500)], 77);
    const found = ms(rounds);
    expect(found).toHaveLength(3);
    expect(Math.abs(found[1]! - 10_000)).toBeLessThan(80);
    expect(Math.abs(found[2]! - 11_000)).toBeLessThan(80);
    expect(rounds.map(({ boundary }) => boundary)).toEqual(['first-pass', 'inferred-headers', 'inferred-headers']);
    expect(rounds.every(({ confidence }) => confidence < 1)).toBe(true);
  });

  test('contents that look like a header lie astray and are left out', () => {
    const clean = scan([range(0, TOTAL), range(3000, 4000)], 77);
    const astray = scan([range(0, TOTAL), range(3000, 4000)], 77, [
      [2000, 9000],
      [5000, 1],
      [6000, TOTAL + 5],
    ]);
    expect(ms(astray)).toEqual(ms(clean));
  });

  test('a place further than the first pass can have come lies astray, though nobody knows how large memory is', () => {
    const rounds = (...astray: (readonly [number, number])[]): number => {
      const sightings = new Sightings();
      const passes = [...range(0, TOTAL), ...range(3000, 4000), ...range(3000, 3500)];
      for (const [i, page] of passes.entries()) {
        if (i % 77 === 76) sightings.add(i * RECORD, i * 1e6, 0, page);
        for (const [at, wrong] of astray) if (at === i) sightings.add(i * RECORD + 99, i * 1e6, 0, wrong);
      }
      const end = { offset: passes.length * RECORD, tNs: passes.length * 1e6 };
      const start = { offset: 0, tNs: 0 };
      const stream = { pageSize: 4096, totalPages: null, start, end, fromStart: true, complete: true };
      return sightings.rounds(stream).length;
    };
    expect(rounds()).toBe(3);
    for (const at of [20, 5000, TOTAL - 20, TOTAL + 500]) expect(rounds([at, 91_836_416])).toBe(3);
  });

  test('more bytes than the pages in between can fill: the scan came around unseen', () => {
    const sightings = new Sightings();
    sightings.add(100 * RECORD, 1e6, 0, 100);
    sightings.add(400 * RECORD, 4e6, 0, 400);
    sightings.add(30_000 * RECORD, 300e6, 0, 500);
    const start = { offset: 0, tNs: 0 };
    const end = { offset: 30_100 * RECORD, tNs: 301e6 };
    const stream = { pageSize: 4096, totalPages: TOTAL, start, end, fromStart: true, complete: false };
    expect(sightings.rounds(stream)).toHaveLength(2);
  });

  test('with next to nothing seen there is no estimate', () => {
    expect(scan([[1, 2, 3]], 50)).toEqual([]);
  });

  test('beyond so many sightings further ones are not kept', () => {
    const sightings = new Sightings();
    for (let i = 0; i < SIGHTINGS + 10; i++) sightings.add(i * RECORD, i, 0, i);
    expect(sightings.count).toBe(SIGHTINGS);
  });
});

test('a stream that was last seen as text ends in the description', () => {
  const sightings = new Sightings();
  sightings.glimpse(0, 0, true);
  sightings.glimpse(100, 1, false);
  expect(sightings.endsInText).toBe(false);
  sightings.glimpse(200, 2, true);
  expect(sightings.endsInText).toBe(true);
  sightings.glimpse(300, 3, null);
  expect(sightings.endsInText).toBe(true);
});
