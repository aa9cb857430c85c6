// Models on whole migrations: hand-made rounds whose right answer is known.
import { describe, expect, test } from 'vitest';
import { MODELS, modelMigration } from '../../../src/report/models/index.js';
import { inferRounds } from '../../../src/report/models/inferred-rounds.js';
import type { RemediesResult } from '../../../src/report/models/remedies.js';
import { replayPrecopy } from '../../../src/report/models/replay.js';
import { dirtiedIn, fitWorkingSet, type SaturatingResult } from '../../../src/report/models/saturating.js';
import type { WhatIfResult } from '../../../src/report/models/what-if.js';
import { migration, report, round, S } from '../rules/situation.js';

const MIB = 2 ** 20;

/** Rounds of a guest with working set W and peak rate D0 on a link of B bytes/s, as QEMU would run them. */
function roundsOf(set: { bytes: number; dirtyRate: number }, bandwidth: number, memory: number, count: number) {
  let startS = 0;
  let pages = memory / 4096;
  return Array.from({ length: count }, (_, at) => {
    const seconds = (pages * 4104) / bandwidth;
    const made = round(at + 1, startS, startS + seconds, Math.round(pages));
    startS += seconds;
    pages = dirtiedIn(set, seconds) / 4096;
    return made;
  });
}

const set = { bytes: 600 * MIB, dirtyRate: 1.2e9 };
const busy = (count: number) => {
  const rounds = roundsOf(set, 1e9, 4096 * MIB, count);
  return migration({
    ramBlocks: [{ name: 'pc.ram', lengthBytes: 4096 * MIB }],
    rounds,
    endNs: rounds.at(-1)!.endNs,
    outcome: 'incomplete',
    downtime: null,
  });
};

describe('fit of the working set', () => {
  test('gives back the guest that made the rounds', () => {
    const samples = [0.05, 0.1, 0.3, 0.8, 4].map((seconds) => ({ seconds, bytes: dirtiedIn(set, seconds) }));
    const fit = fitWorkingSet(samples, 4096 * MIB)!;
    expect(fit.bytes / set.bytes).toBeCloseTo(1, 3);
    expect(fit.dirtyRate / set.dirtyRate).toBeCloseTo(1, 3);
    expect(fit.saturated).toBe(false);
  });

  test('rounds of one length say nothing about the working set', () => {
    expect(
      fitWorkingSet(
        [
          { seconds: 1, bytes: 5e6 },
          { seconds: 1.1, bytes: 5e6 },
        ],
        null,
      ),
    ).toBeNull();
  });

  test('a set that is full after every round leaves the dirtying rate open', () => {
    const fit = fitWorkingSet(
      [
        { seconds: 14, bytes: 2 * MIB },
        { seconds: 0.9, bytes: 2 * MIB },
      ],
      48 * MIB,
    )!;
    expect(fit.saturated).toBe(true);
    expect(fit.bytes / (2 * MIB)).toBeCloseTo(1, 2);
  });

  test('a guest that changed its ways fits no curve', () => {
    const samples = [10, 1, 1.2, 0.9, 0.06, 2].map((seconds, at) => ({
      seconds,
      bytes: [8e6, 8e6, 7e6, 8e6, 5e3, 1e5][at]!,
    }));
    expect(fitWorkingSet(samples, 64e6)).toBeNull();
  });

  test('a set as large as memory is limited by memory', () => {
    const samples = [1, 2, 4].map((seconds) => ({ seconds, bytes: 100e6 * seconds }));
    expect(fitWorkingSet(samples, 1e9)!.bytes).toBeLessThanOrEqual(1.000001e9);
  });
});

describe('the rest of a round that QEMU leaves to the next', () => {
  // Pages and ends of rounds as recorded; the guest wrote to 1000 of 2048 pages a second, at random.
  const recorded = (...rows: readonly (readonly [endS: number, pages: number])[]) =>
    migration({
      ramBlocks: [{ name: 'pc.ram', lengthBytes: 64 * MIB }],
      rounds: rows.map(([endS, pages], at) => round(at + 1, at === 0 ? 0.02 : rows[at - 1]![0], endS, pages)),
      endNs: rows.at(-1)![0] * S,
    });
  const slow = recorded([2.602, 7535], [3.057, 1326], [3.19, 386], [3.278, 264]);
  const fast = recorded([1.311, 7537], [1.421, 642], [1.483, 362]);

  test('is no dirtying: the fit gives back the guest', () => {
    const models = modelMigration(report({ migrations: [slow] }), slow);
    const { workingSetBytes, peakDirtyRate } = models['saturating'] as SaturatingResult;
    expect(Math.abs(workingSetBytes / (2048 * 4096) - 1)).toBeLessThan(0.15);
    expect(Math.abs(peakDirtyRate / (1000 * 4096) - 1)).toBeLessThan(0.15);
  });

  test('at half the bandwidth the guest is predicted to take what it took', () => {
    const predicted = (from: typeof slow, bandwidth: number) => {
      const models = modelMigration(report({ migrations: [from] }), from, { bandwidth, downtime: 0.1 * S });
      return models['whatIf'] as WhatIfResult;
    };
    expect(Math.abs(predicted(slow, 47.8e6 / 8).migrationNs! / (7.735 * S) - 1)).toBeLessThan(0.05);
    expect(Math.abs(predicted(fast, 95.6e6 / 8).migrationNs! / (3.374 * S) - 1)).toBeLessThan(0.1);
  });
});

describe('models of a guest that writes faster than the link', () => {
  const result = modelMigration(report(), busy(8), { bandwidth: 2e9, downtime: 0.3 * S });

  test('every model finds what it needs, except the one for encrypted streams', () => {
    expect(Object.keys(result).sort()).toEqual(
      [...MODELS.map((model) => model.id).filter((id) => id !== 'inferredRounds'), 'whatIf'].sort(),
    );
  });

  test('the working set, the floor of the downtime and the bandwidth needed', () => {
    const { workingSetBytes, lowestDowntimeNs, requiredBandwidth, converges } = result[
      'saturating'
    ] as SaturatingResult;
    expect(workingSetBytes / set.bytes).toBeCloseTo(1, 1);
    // Page headers (8 of 4104 bytes) make the link a little slower than the anchor's 1e9 bytes of pages per second.
    expect(lowestDowntimeNs / 1e9).toBeCloseTo(0.2, 2);
    expect(requiredBandwidth / 914e6).toBeCloseTo(1, 1);
    expect(converges).toBe(true);
  });

  test('what-if: twice the bandwidth ends it', () => {
    expect(result['whatIf'] as WhatIfResult).toMatchObject({ bandwidth: 2e9, converges: true });
  });

  test('post-copy moves only what the first pass left dirty', () => {
    const { postcopy } = result['remedies'] as RemediesResult;
    expect(postcopy.bytesAfterSwitch / set.bytes).toBeCloseTo(1, 1);
    expect(postcopy.migrationNs).toBeGreaterThan(4 * S);
  });
});

describe('models of a guest that no reasonable link can follow', () => {
  const fast = { bytes: 600 * MIB, dirtyRate: 3e9 };
  const rounds = roundsOf(fast, 0.5e9, 4096 * MIB, 6);
  const stuck = migration({ rounds, endNs: rounds.at(-1)!.endNs, outcome: 'cancelled', downtime: null });
  const remediesFor = (downtime?: number) =>
    modelMigration(report(), stuck, downtime === undefined ? undefined : { downtime })['remedies'] as RemediesResult;

  test('auto-converge would need a deep throttle, XBZRLE a small delta', () => {
    const { autoConverge, xbzrleShare, bandwidthFor } = remediesFor();
    expect(autoConverge?.throttlePercent ?? 100).toBeGreaterThan(70);
    expect(xbzrleShare).toBeLessThan(0.5);
    expect(bandwidthFor?.bandwidth).toBeGreaterThan(0.5e9);
  });

  test('the downtime that would have ended it is what the rounds left each time', () => {
    const { downtimeFor } = remediesFor();
    const measured = rounds.reduce((sum, { bytes }) => sum + bytes, 0) / (rounds.at(-1)!.endNs / S);
    expect(downtimeFor.downtimeNs / S).toBeCloseTo(rounds.at(-2)!.bytes / measured, 2);
  });

  test('no bandwidth is advised where what it had would do for the limit asked about', () => {
    expect(remediesFor(0.5 * S).bandwidthFor?.bandwidth).toBeGreaterThan(0.5e9);
    expect(remediesFor(2 * S)).toMatchObject({ bandwidthFor: null, autoConverge: null, xbzrleShare: null });
  });

  test('what-if: a longer downtime ends it', () => {
    const result = modelMigration(report(), stuck, { downtime: 2 * S });
    expect(result['whatIf']).toMatchObject({ converges: true, downtimeLimitNs: 2 * S });
    expect(result['replay']).toMatchObject({ converges: false, migrationNs: null });
  });
});

describe('models without their input', () => {
  test('a stream without rounds gives no figure', () => {
    const sealed = migration({
      rounds: [],
      ramBlocks: [],
      encryption: 'tls',
      stream: { ...migration().stream, decodedBytes: 0 },
    });
    expect(modelMigration(report(), sealed)).toEqual({});
  });

  test('a single round gives bounds only', () => {
    expect(Object.keys(modelMigration(report(), migration({ rounds: [round(1, 0, 9, 240_000)] })))).toEqual(['bounds']);
  });

  test('results are plain JSON without NaN or infinity', () => {
    const odd = migration({ rounds: [round(1, 0, 0, 0), round(2, 0, 0, 0), round(3, 0, 1, 5)] });
    const text = JSON.stringify(modelMigration(report(), odd, { bandwidth: 0, downtime: 0 }), (_, value: unknown) =>
      typeof value === 'number' && !Number.isFinite(value) ? 'BAD' : value,
    );
    expect(text).not.toContain('BAD');
  });
});

describe('replay of pre-copy', () => {
  test('ends when the remainder stops shrinking', () => {
    const outcome = replayPrecopy({ firstPassBytes: 1e9, bandwidth: 1e8, downtimeSeconds: 0.1, dirtied: () => 5e7 });
    expect(outcome).toMatchObject({ converges: false });
    expect(outcome.rounds).toBeLessThan(10);
  });
});

describe('rounds inferred from pauses', () => {
  const steps = (...rounds: [startMs: number, endMs: number, bytesPerMs: number][]) =>
    rounds.flatMap(([from, to, bytes]) =>
      Array.from({ length: to - from }, (_, at) => ({ startNs: (from + at) * 1e6, bytes })),
    );

  test('shrinking rounds between pauses', () => {
    const { rounds, ratio } = inferRounds(
      steps([0, 800, 1000], [813, 1013, 1000], [1026, 1076, 1000], [1089, 1101, 1000]),
      1e6,
    )!;
    expect(rounds.map((found) => found.bytes)).toEqual([800_000, 200_000, 50_000, 12_000]);
    expect(ratio).toBeCloseTo(0.25, 2);
  });

  test('the 100 ms pauses of a rate limit are not rounds', () => {
    expect(inferRounds(steps([0, 60, 1000], [100, 150, 1000], [200, 230, 1000], [300, 325, 1000]), 1e6)).toBeNull();
  });

  test('two pieces are not enough', () => {
    expect(inferRounds(steps([0, 800, 1000], [813, 1013, 1000]), 1e6)).toBeNull();
  });

  test('pieces of unrelated size are not rounds', () => {
    expect(
      inferRounds(steps([0, 300, 1000], [317, 1113, 1000], [1126, 1136, 1000], [1149, 1701, 1000]), 1e6),
    ).toBeNull();
  });
});
