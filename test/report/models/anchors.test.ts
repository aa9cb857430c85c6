// Published or derived anchor values of every formula; sources in the notes on migration models.
import { describe, expect, test } from 'vitest';
import { adaptiveRates } from '../../../src/report/models/adaptive-rate.js';
import { announceTimes } from '../../../src/report/models/announce-schedule.js';
import { DEFAULT_THROTTLE, throttleSteps } from '../../../src/report/models/auto-converge.js';
import { averageModel } from '../../../src/report/models/average.js';
import { migrationBounds } from '../../../src/report/models/bounds.js';
import {
  bandwidthDelayProduct,
  lineEfficiency,
  lossCeiling,
  windowCeiling,
} from '../../../src/report/models/ceilings.js';
import { geometricPrecopy } from '../../../src/report/models/geometric.js';
import { historyModel } from '../../../src/report/models/history.js';
import { dirtiedIn, lambertW0, remainingFloor, requiredBandwidth } from '../../../src/report/models/saturating.js';
import { expectedDowntime, switchoverThreshold } from '../../../src/report/models/switchover.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

describe('path ceilings', () => {
  test.each([
    [1e-3, 1e-4, 1.419e9],
    [10e-3, 1e-4, 141.9e6],
    [100e-3, 1e-4, 14.19e6],
    [100e-3, 1e-5, 44.86e6],
  ])('random loss at %d s and p = %d', (rtt, loss, bitsPerSecond) => {
    expect((8 * lossCeiling(1448, rtt, loss)) / bitsPerSecond).toBeCloseTo(1, 3);
  });

  test('a 6 MiB window', () => {
    expect(8 * windowCeiling(6 * MIB, 10e-3)).toBeCloseTo(5.033e9, -6);
    expect(8 * windowCeiling(6 * MIB, 100e-3)).toBeCloseTo(503.3e6, -5);
  });

  test('bytes in flight for 10 Gbit/s', () => {
    expect([0.5e-3, 10e-3, 100e-3].map((rtt) => bandwidthDelayProduct(10e9 / 8, rtt))).toEqual([625e3, 12.5e6, 125e6]);
  });

  test('Ethernet efficiency with timestamps', () => {
    expect(lineEfficiency(1500)).toBeCloseTo(0.9415, 4);
    expect(lineEfficiency(9000)).toBeCloseTo(0.99, 4);
  });
});

describe('geometric pre-copy', () => {
  test.each([
    ['G1', 8 * GIB, 1.0e9, 0.5e9, 5, 16.643, 0.26844, 16.911, 1.96875],
    ['G2', 4 * GIB, 117.5e6, 40e6, 5, 55.166, 0.16712, 55.333, 1.51377],
  ])('%s', (_, memoryBytes, bandwidth, dirtyRate, rounds, precopy, copy, total, amplification) => {
    const outcome = geometricPrecopy({ memoryBytes, bandwidth, dirtyRate, downtimeSeconds: 0.3 })!;
    expect(outcome.rounds).toBe(rounds);
    expect(outcome.precopySeconds).toBeCloseTo(precopy, 3);
    expect(outcome.copySeconds).toBeCloseTo(copy, 5);
    expect(outcome.totalSeconds).toBeCloseTo(total, 3);
    expect(outcome.amplification).toBeCloseTo(amplification, 5);
  });

  test('a guest that dirties faster than the link never converges', () => {
    expect(geometricPrecopy({ memoryBytes: GIB, bandwidth: 1e8, dirtyRate: 1e8, downtimeSeconds: 0.3 })).toBeNull();
  });

  test('memory that fits into the downtime needs no round before the stop', () => {
    expect(geometricPrecopy({ memoryBytes: 1e6, bandwidth: 1e8, dirtyRate: 2e8, downtimeSeconds: 0.3 })).toMatchObject({
      rounds: 0,
      precopySeconds: 0,
      copySeconds: 0.01,
    });
  });
});

describe('working-set pre-copy', () => {
  test.each([
    [600 * MIB, 1.2e9, 1.0e9, 197_361_925, 0.19736, 913_770_943],
    [600 * MIB, 2.0e9, 1.0e9, 501_310_846, 0.50131, 1_289_071_893],
    [600 * MIB, 3.0e9, 1.25e9, 552_764_694, 0.44221, 1_595_541_442],
    [2 * GIB, 1.5e9, 117.5e6, 2_147_477_514, 18.276, 1_353_265_067],
  ])('W = %d, D0 = %d, B = %d', (bytes, dirtyRate, bandwidth, floor, downtime, required) => {
    const set = { bytes, dirtyRate };
    expect(remainingFloor(set, bandwidth)).toBeCloseTo(floor, -1);
    expect(remainingFloor(set, bandwidth) / bandwidth / downtime).toBeCloseTo(1, 4);
    expect(requiredBandwidth(set, 0.3)).toBeCloseTo(required, -1);
  });

  test('iterating the rounds from 8 GiB reaches the same remainder', () => {
    const set = { bytes: 600 * MIB, dirtyRate: 1.2e9 };
    let volume = 8 * GIB;
    for (let round = 0; round < 300; round++) volume = dirtiedIn(set, volume / 1e9);
    expect(volume / remainingFloor(set, 1e9)).toBeCloseTo(1, 9);
  });

  test('bandwidth above the peak dirtying rate leaves nothing', () => {
    expect(remainingFloor({ bytes: GIB, dirtyRate: 1e9 }, 1e9)).toBe(0);
  });

  test.each([0, -0.05, -0.1, -0.2, -0.3, -0.36, -1 / Math.E])('Lambert W0(%d) inverts w·e^w', (z) => {
    const w = lambertW0(z);
    expect(w).toBeGreaterThanOrEqual(-1);
    expect(w * Math.exp(w)).toBeCloseTo(z, 12);
  });
});

describe('bounds, AVG and HIST of Akoush et al.', () => {
  test.each([
    [12.5e6, 85.9, 429.5],
    [125e6, 8.59, 42.95],
    [1250e6, 0.859, 4.295],
  ])('1 GiB at %d B/s', (bandwidth, lowest, highest) => {
    const { migrationSeconds, downtimeSeconds } = migrationBounds({ memoryBytes: GIB, pageBytes: 4096, bandwidth });
    expect(migrationSeconds[0] / lowest).toBeCloseTo(1, 3);
    expect(migrationSeconds[1] / highest).toBeCloseTo(1, 3);
    expect(downtimeSeconds).toEqual([0, GIB / bandwidth]);
  });

  test('overheads move both bounds', () => {
    const { migrationSeconds, downtimeSeconds } = migrationBounds({
      memoryBytes: GIB,
      pageBytes: 4096,
      bandwidth: 1250e6,
      overheadBeforeSeconds: 4.1,
      overheadAfterSeconds: 0.314,
    });
    expect(migrationSeconds[0]).toBeCloseTo(5.273, 3);
    expect(downtimeSeconds).toEqual([0.314, 0.314 + GIB / 1250e6]);
  });

  const anchors = [
    [0, 1, 8.5899, 0],
    [1000, 3, 8.8809, 0.295],
    [5000, 5, 10.2727, 0.983],
    [20000, 21, 24.9212, 1.18],
    [40000, 4, 42.9497, 8589.9],
  ] as const;
  const guest = { memoryBytes: GIB, pageBytes: 4096, bandwidth: 125e6 };

  test.each(anchors)('AVG at %d pages/s', (dirtyPagesPerSecond, rounds, migration, downtimeMs) => {
    const outcome = averageModel({ ...guest, dirtyPagesPerSecond });
    expect(outcome.rounds).toBe(rounds);
    expect(outcome.migrationSeconds).toBeCloseTo(migration, 3);
    expect(outcome.downtimeSeconds * 1000).toBeCloseTo(downtimeMs, downtimeMs > 1000 ? 0 : 2);
  });

  test.each(anchors)('HIST with an even history of %d pages/s is AVG', (rate, rounds, migration) => {
    const seconds = Array.from({ length: 100 }, () => 0.5);
    const outcome = historyModel({ ...guest, history: { seconds, pages: seconds.map((length) => length * rate) } });
    expect(outcome.rounds).toBe(rounds);
    expect(outcome.migrationSeconds).toBeCloseTo(migration, 3);
  });

  test('HIST notices that the guest calmed down', () => {
    const history = { seconds: [8, 1, 1], pages: [200_000, 1000, 10] };
    expect(historyModel({ ...guest, history }).rounds).toBeLessThan(
      averageModel({ ...guest, dirtyPagesPerSecond: 20_000 }).rounds,
    );
  });
});

describe('QEMU’s own rules', () => {
  test('threshold and expected downtime follow the bandwidth of the last 100 ms', () => {
    expect(switchoverThreshold(12.5e6, 0.3)).toBeCloseTo(37.5e6, 3);
    expect(switchoverThreshold(1e6, 0.3)).toBeCloseTo(3e6, 3);
    expect(switchoverThreshold(1e6, 0.3, 125e6)).toBeCloseTo(37.5e6, 3);
    expect(expectedDowntime(37.5e6, 125e6)).toBeCloseTo(0.3, 9);
  });

  test('auto-converge defaults and steps', () => {
    expect(DEFAULT_THROTTLE).toEqual({ triggerPercent: 50, initialPercent: 20, incrementPercent: 10, maxPercent: 99 });
    const busy = Array.from({ length: 22 }, () => ({ seconds: 1.5, transferredBytes: 100, dirtiedBytes: 90 }));
    expect(throttleSteps(busy.slice(0, 8))).toEqual([0, 20, 20, 30, 30, 40, 40, 50]);
    expect(throttleSteps(busy).at(-1)).toBe(99);
  });

  test('auto-converge stays off while less than half of the transferred is dirtied, and between close syncs', () => {
    const calm = Array.from({ length: 9 }, () => ({ seconds: 2, transferredBytes: 100, dirtiedBytes: 50 }));
    expect(throttleSteps(calm).at(-1)).toBe(0);
    const close = Array.from({ length: 3 }, () => ({ seconds: 0.3, transferredBytes: 100, dirtiedBytes: 90 }));
    expect(throttleSteps(close)).toEqual([0, 0, 0]);
  });

  test('announcements', () => {
    expect(announceTimes()).toEqual([0, 50, 200, 450, 800]);
    expect(announceTimes({ initialMs: 50, maxMs: 550, rounds: 10, stepMs: 100 })).toEqual([
      0, 50, 200, 450, 800, 1250, 1800, 2350, 2900, 3450,
    ]);
  });
});

describe('Clark’s adaptive rate', () => {
  const megabit = 1e6 / 8;
  test('each round runs 50 Mbit/s above what was dirtied, until that is too much', () => {
    const outcome = adaptiveRates({
      dirtyRates: [90, 150, 480].map((rate) => rate * megabit),
      minRate: 100 * megabit,
      maxRate: 500 * megabit,
    });
    expect(outcome).toEqual({ rates: [100, 140, 200].map((rate) => rate * megabit), stopsAtRound: 3 });
  });

  test('a calm guest is never stopped by the rate', () => {
    expect(adaptiveRates({ dirtyRates: [1, 1], minRate: 10, maxRate: 1e12 }).stopsAtRound).toBeNull();
  });
});
