import { describe, expect, test } from 'vitest';
import { diagnose } from '../../../src/report/rules/engine.js';
import { altered, MS, rounds, S, silent, speaks, table, timeline, withMigration } from './situation.js';

// 100 MB/s and 4104 bytes a page on the wire: 24 366 pages a second.
const PER_SECOND = 24_366;
const sized = (...seconds: number[]) =>
  rounds(...seconds.map((length) => [length, Math.round(length * PER_SECOND)] as const));
const running = { outcome: 'incomplete', downtime: null } as const;

/** First pass of 5 s, then `count` rounds of `seconds` each. */
const plateau = (count: number, seconds: number, more: object = {}) =>
  withMigration({
    ...running,
    rounds: sized(5, ...new Array<number>(count).fill(seconds)),
    endNs: (5 + count * seconds) * S,
    ...more,
  });

describe('convergence', () => {
  speaks('R-E1', 'eight rounds of a second each', plateau(8, 1), { severity: 'major', interval: [[5 * S, 13 * S]] });
  speaks('R-E1', 'QEMU goes on although 200 ms would do: its limit is lower', plateau(20, 0.2), { severity: 'major' });
  silent('R-E1', 'rounds that still shrink', withMigration({ ...running, rounds: sized(5, 3, 2, 1.4, 1, 0.7, 0.5) }));
  silent('R-E1', 'three rounds are too few to tell', plateau(3, 1));
  silent('R-E1', 'it ended: R-E8', plateau(8, 1, { outcome: 'completed' }));

  test('every advice about the downtime limit names the same figure', () => {
    const advice = diagnose(plateau(8, 1))
      .filter(({ rule }) => rule === 'R-E1' || rule === 'R-E2')
      .flatMap((finding) => finding.advice.join(' ').match(/setmaxdowntime DOMAIN \d+/g) ?? []);
    expect(advice).toEqual(['setmaxdowntime DOMAIN 1000', 'setmaxdowntime DOMAIN 1000']);
  });

  test('no bandwidth is advised where the limit in force is lower than the one assumed', () => {
    const [finding] = diagnose(plateau(20, 0.2)).filter(({ rule }) => rule === 'R-E1');
    expect(finding!.metrics).toMatchObject({ neededBandwidth: null });
    expect(finding!.advice.join(' ')).not.toContain('Bandwidth');
  });

  speaks('R-E2', 'a second would have been enough', plateau(8, 1), { metrics: { factor: 1 / 0.3 } as never });
  silent('R-E2', 'ten seconds are no downtime', plateau(8, 10));

  speaks(
    'R-E8',
    'ten equal rounds, then a small one',
    withMigration({ rounds: sized(5, ...new Array<number>(10).fill(1), 0.1), endNs: 15.2 * S }),
    {
      severity: 'major',
      metrics: { rounds: 10 },
    },
  );
  silent('R-E8', 'rounds that shrink', withMigration({ rounds: sized(5, 3, 2, 1.2, 0.7, 0.4, 0.2) }));

  speaks('R-E10', 'one pass and little more', withMigration({ rounds: sized(9.4, 0.3, 0.05) }), { severity: 'info' });
  const joined = sized(9.4, 0.3, 0.05).map((round, i) => (i === 0 ? { ...round, boundary: 'joined-midway' } : round));
  silent('R-E10', 'the capture begins in the middle of it', withMigration({ rounds: joined }));
  silent('R-E10', 'cut off in the first pass', withMigration({ ...running, rounds: sized(9.4) }));
  silent('R-E10', 'half of the time in later rounds', withMigration({ rounds: sized(5, 3, 1, 0.5) }));
});

describe('switchover missed in a dip', () => {
  // 0.2 s worth of data remain at 6 s, 7 s, 8 s: enough at the usual rate. Only before 7 s did the rate dip.
  const made = withMigration({ ...running, phases: [], rounds: sized(5, 1, 0.2, 1, 1) });
  const dip = (atNs: number) =>
    timeline(100 * MS, 82, (_, startNs) => ({ bytes: Math.abs(startNs - atNs) < 10 * MS ? 1e6 : 10e6 }));
  speaks(
    'R-E3',
    'the 100 ms before a small remainder were slow',
    altered(made, { tables: { timeline: dip(5.9 * S) } }),
    { metrics: { missed: 1 } },
  );
  silent('R-E3', 'no dip: the real limit is lower', altered(made, { tables: { timeline: dip(1 * S) } }));
});

describe('hot region', () => {
  const regions = (hotCopies: number) =>
    table([
      { migration: 0, block: 0, startPage: 0, pages: 131_072, round: 1, copies: 131_072 },
      { migration: 0, block: 0, startPage: 0, pages: 512, round: 2, copies: hotCopies },
      ...Array.from({ length: 20 }, (_, at) => ({
        migration: 0,
        block: 0,
        startPage: 10_000 * (at + 1),
        pages: 10_000,
        round: 2,
        copies: 5000,
      })),
    ]);
  const resent = { pages: { normal: 300_000, resent: 100_000 } };
  speaks('R-E4', 'most resent pages come from 2 MiB', withMigration(resent, { pageRegions: regions(900_000) }), {
    severity: 'info',
    metrics: { startPage: 0 },
  });
  silent('R-E4', 'they come from everywhere', withMigration(resent, { pageRegions: regions(5000) }));
  silent('R-E4', 'next to nothing is resent', withMigration({}, { pageRegions: regions(900_000) }));
});

describe('XBZRLE', () => {
  const made = (normal: number, xbzrle: number, features: string[]) =>
    withMigration({
      stream: { features },
      rounds: sized(5, 1, 1).map((round, at) =>
        at === 0 ? round : { ...round, pages: { normal, zero: 0, xbzrle, compressed: 0 } },
      ),
    });
  speaks('R-E5', 'nearly every page is sent whole', made(5000, 20, ['xbzrle']), { severity: 'info' });
  silent('R-E5', 'half of them are deltas', made(2500, 2500, ['xbzrle']));
  silent('R-E5', 'it is off', made(5000, 0, []));
});

describe('auto-converge', () => {
  // Dirtying falls as the throttle rises 20, 30, 40 %: two syncs a step.
  const falling = [1, 1, 1, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6];
  const stepped = (shares: number[]) =>
    withMigration({
      rounds: rounds([10, 10 * PER_SECOND], ...shares.map((share) => [2, Math.round(2 * share * PER_SECOND)] as const)),
    });
  speaks('R-E6', 'dirtying falls in the throttle’s steps', stepped(falling), { severity: 'info' });
  silent('R-E6', 'dirtying stays', stepped(falling.map(() => 1)));
});

describe('manager gave up', () => {
  const cancelled = (seconds: number) =>
    withMigration({ outcome: 'cancelled', downtime: null, rounds: sized(5, 3, 2, 1.4), endNs: seconds * S });
  speaks('R-E7', '800 s for a guest of 1 GiB', cancelled(800), { severity: 'fatal', metrics: { secondsPerGib: 800 } });
  speaks('R-E7', '150 s for a guest of 1 GiB', cancelled(151), { severity: 'fatal' });
  silent('R-E7', 'cancelled at no particular time', cancelled(63));
  silent('R-E7', 'completed after 800 s', withMigration({ endNs: 800 * S }));
});

describe('cancelled', () => {
  speaks(
    'R-H7',
    'the source closes in order in the middle of a round',
    withMigration({ outcome: 'cancelled', downtime: null }),
    { severity: 'major' },
  );
  silent(
    'R-H7',
    'most of the stream could not be read',
    withMigration({ outcome: 'cancelled', downtime: null, stream: { decodedBytes: 1000, undecodedBytes: 9e8 } }),
  );
  silent('R-H7', 'the capture ended first', withMigration(running));
});
