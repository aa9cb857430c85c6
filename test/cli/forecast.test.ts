import { describe, expect, test } from 'vitest';
import { forecast } from '../../src/cli/forecast.js';
import type { MigrationSnapshot } from '../../src/migration-stream/results.js';

const SECOND = 1e9;
const DOWNTIME = 0.3 * SECOND;
const exactly = (value: number) => ({ low: value, likely: value, high: value });

/** Rounds back to back from 0: [pages, seconds] each. */
function rounds(...done: [number, number][]): MigrationSnapshot['rounds'] {
  let at = 0;
  return done.map(([pages, seconds], i) => {
    const startNs = at;
    at += seconds * SECOND;
    return {
      index: i + 1,
      startNs,
      endNs: at,
      pages: { normal: pages, zero: 0, xbzrle: 0, compressed: 0 },
      bytes: pages * 4104,
      goodput: (pages * 4104) / seconds,
      dirtyPagesPerSecond: null,
      boundary: 'flush-mark',
      confidence: 1,
    };
  });
}

function migration(
  done: MigrationSnapshot['rounds'],
  round: { pages: number; swept: number | null } | null,
  more: Partial<MigrationSnapshot> = {},
): MigrationSnapshot {
  return {
    id: 0,
    source: '10.0.0.1',
    destination: '10.0.0.2',
    port: 49152,
    encryption: 'none',
    outcome: null,
    phase: 'precopy',
    startNs: 0,
    lastDataNs: 0,
    pageSize: 4096,
    ramPages: 100_000,
    pages: { normal: 0, zero: 0, xbzrle: 0, compressed: 0 },
    bytes: 0,
    round: round && {
      index: done.length + 1,
      startNs: done.at(-1)?.endNs ?? 0,
      pages: round.pages,
      bytes: round.pages * 4104,
      swept: round.swept,
    },
    rounds: done,
    channels: [],
    ...more,
  };
}

/** Bytes a second that carry `pages` pages a second. */
const pagesPerSecond = (pages: number) => exactly(pages * 4104);

describe('forecast', () => {
  test('in the first pass the rest of memory is left, and convergence is not known', () => {
    const state = migration([], { pages: 40_000, swept: 0.4 });
    expect(forecast(state, 4 * SECOND, pagesPerSecond(10_000), DOWNTIME)).toEqual({
      pagesLeft: exactly(60_000),
      // From all zero pages (9 bytes each) to all like the ones so far, which were whole.
      roundNs: { low: (60_000 * 9 * SECOND) / (10_000 * 4104), likely: 6 * SECOND, high: 6 * SECOND },
      dirtyPages: null,
      dirtyAtLeast: null,
      sentPages: exactly(10_000),
      endNs: null,
    });
  });

  test('half of what is sent gets dirty: rounds halve until the rest fits into the downtime limit', () => {
    // 10 000 pages/s sent, 5 000 dirtied, in every round so far; round 4 has 12 500 pages, all of them still to come.
    const state = migration(rounds([100_000, 10], [50_000, 5], [25_000, 2.5]), { pages: 0, swept: 0 });
    const { endNs, pagesLeft, dirtyPages } = forecast(state, 17.5 * SECOND, pagesPerSecond(10_000), DOWNTIME);
    expect(dirtyPages).toEqual(exactly(5000));
    expect(pagesLeft).toEqual(exactly(12_500));
    // 12 500, 6250, then 3125 take 1.25 + 0.625 + 0.3125 s; the 1562 after them fit into 0.3 s (0.15625 s).
    expect(endNs!.likely / SECOND).toBeCloseTo(1.25 + 0.625 + 0.3125 + 0.15625, 9);
  });

  test('a part of the round going on already ran: its length counts for the next one', () => {
    const state = migration(rounds([100_000, 10], [50_000, 5], [25_000, 2.5]), { pages: 6250, swept: 0.5 });
    const { endNs, pagesLeft } = forecast(state, (17.5 + 0.625) * SECOND, pagesPerSecond(10_000), DOWNTIME);
    expect(pagesLeft!.likely).toBeCloseTo(6250);
    expect(endNs!.likely / SECOND).toBeCloseTo(0.625 + 0.625 + 0.3125 + 0.15625, 9);
  });

  test('what is dirtied as fast as it is sent never ends', () => {
    const state = migration(rounds([100_000, 10], [99_000, 9.9]), { pages: 0, swept: 0 });
    const { endNs } = forecast(state, 20 * SECOND, pagesPerSecond(9_000), DOWNTIME);
    expect(endNs!.likely).toBe(Infinity);
  });

  test('the range runs from the better to the worse of what was seen lately', () => {
    const state = migration(rounds([100_000, 10], [60_000, 6], [24_000, 2.4], [12_000, 1.2]), { pages: 0, swept: 0 });
    const goodput = { low: 8_000 * 4104, likely: 10_000 * 4104, high: 12_000 * 4104 };
    const { endNs, dirtyPages } = forecast(state, 19.6 * SECOND, goodput, DOWNTIME);
    expect(dirtyPages).toEqual({ low: 4000, likely: 5000, high: 6000 });
    expect(endNs!.low).toBeLessThan(endNs!.likely);
    expect(endNs!.likely).toBeLessThan(endNs!.high);
    expect(endNs!.high).toBeLessThan(Infinity);
  });

  test('in the second round the share of memory walked over tells how long the round will be', () => {
    const state = migration(rounds([100_000, 10]), { pages: 5000, swept: 0.25 });
    const { pagesLeft, dirtyPages, endNs } = forecast(state, 10.5 * SECOND, pagesPerSecond(10_000), DOWNTIME);
    expect(pagesLeft!.likely).toBe(15_000);
    expect(pagesLeft!.low).toBeLessThan(15_000);
    expect([dirtyPages, endNs]).toEqual([null, null]);
  });

  test('the round going on shows at least what was dirtied in the one before, and that is not undercut', () => {
    const second = forecast(migration(rounds([100_000, 10]), { pages: 5000, swept: null }), 11e9, null, DOWNTIME);
    expect([second.dirtyAtLeast, second.dirtyPages, second.pagesLeft]).toEqual([500, null, null]);
    const state = migration(rounds([100_000, 10], [20_000, 2]), { pages: 6000, swept: null });
    const { dirtyAtLeast, dirtyPages, pagesLeft } = forecast(state, 13e9, pagesPerSecond(10_000), DOWNTIME);
    expect([dirtyAtLeast, dirtyPages]).toEqual([3000, { low: 3000, likely: 3000, high: 3900 }]);
    expect(pagesLeft).toEqual({ low: 0, likely: 0, high: 1800 });
  });

  test.each([
    ['no round has begun', migration([], null)],
    ['it is over', migration(rounds([100_000, 10]), { pages: 1, swept: 0 }, { outcome: 'completed' })],
    ['post-copy sends each page once', migration(rounds([100, 1]), { pages: 1, swept: 0 }, { phase: 'postcopy' })],
  ])('nothing is foretold when %s', (_, state) => {
    expect(forecast(state, 11 * SECOND, pagesPerSecond(10_000), DOWNTIME)).toEqual({
      pagesLeft: null,
      roundNs: null,
      dirtyPages: null,
      dirtyAtLeast: null,
      sentPages: null,
      endNs: null,
    });
  });

  test('without a bandwidth there are pages left but no time', () => {
    const { pagesLeft, roundNs } = forecast(migration([], { pages: 40_000, swept: null }), SECOND, null, DOWNTIME);
    expect([pagesLeft, roundNs]).toEqual([exactly(60_000), null]);
  });
});
