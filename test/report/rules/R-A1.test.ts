import { describe, expect, test } from 'vitest';
import { findings, MIB, MS, report, S, timeline } from './situation.js';

/** Bursts of 30 ms every `periodMs`, each `sizes[k]` bytes, over 10 s in 10 ms bins. */
const bursts = (periodMs: number, size: (burst: number) => number) =>
  timeline(10 * MS, 990, (_, startNs) => {
    const burst = Math.floor(startNs / (periodMs * MS));
    const within = startNs - burst * periodMs * MS;
    return within < 30 * MS ? { bytes: size(burst) / 3, limit: 'Congestion' } : { limit: 'RateLimit' };
  });

describe('hypervisor rate limit', () => {
  test('equal bursts every 100 ms name the limit, the default it matches, and the time waited', () => {
    const [finding, ...rest] = findings('R-A1', report({ tables: { timeline: bursts(100, () => 12.8 * MIB) } }));
    expect(rest).toEqual([]);
    expect(finding).toMatchObject({
      rule: 'R-A1',
      severity: 'major',
      confidence: 0.95,
      migration: 0,
      connections: [0],
    });
    expect(finding!.metrics['limitBytesPerSecond']).toBeCloseTo(128 * MIB, -4);
    expect(finding!.metrics['knownLimit']).toBe('the default of QEMU since 5.2');
    expect(finding!.cost!.ns / S).toBeCloseTo(7, 0);
    expect(finding!.text).toContain('capped at about 128 MiB/s');
  });

  test('a limit that is raised on the way is still a limit', () => {
    const raised = bursts(100, (burst) => (burst < 60 ? 3.2 : 12.8) * MIB);
    expect(findings('R-A1', report({ tables: { timeline: raised } }))).toMatchObject([{ confidence: 0.95 }]);
  });

  test('channels that spend one budget in two goes, on a host whose timers fire late', () => {
    const late = [0, 12, 12, 0, 0, -14, -14, 0];
    const starts = Array.from({ length: 90 }, (_, burst) => (burst * 100 + 20 + late[burst % 8]!) * MS);
    const goes = timeline(2 * MS, 4950, (_, startNs) => {
      const at = starts.findLast((start) => start <= startNs);
      const sinceMs = at === undefined ? 1000 : (startNs - at) / MS;
      if (sinceMs < 4) return { bytes: 0.8 * MIB };
      return sinceMs >= 18 && sinceMs < 20 ? { bytes: 0.4 * MIB } : { limit: 'Idle' };
    });
    const [finding] = findings('R-A1', report({ tables: { timeline: goes } }));
    expect(finding!.metrics['limitBytesPerSecond']).toBeCloseTo(20 * MIB, -6);
  });

  test('a CPU quota has the same rhythm but uneven bursts', () => {
    const uneven = bursts(100, (burst) => (8 + ((burst * 7) % 10)) * MIB);
    expect(findings('R-A1', report({ tables: { timeline: uneven } }))).toEqual([]);
  });

  test('equal bursts at another distance are not QEMU’s slices', () => {
    expect(findings('R-A1', report({ tables: { timeline: bursts(150, () => 12.8 * MIB) } }))).toEqual([]);
  });

  test('bursts that come sooner than QEMU would let them are something else', () => {
    expect(findings('R-A1', report({ tables: { timeline: bursts(90, () => 12.8 * MIB) } }))).toEqual([]);
    expect(findings('R-A1', report({ tables: { timeline: bursts(110, () => 12.8 * MIB) } }))).toHaveLength(1);
  });

  test('a steady sender is not capped', () => {
    const steady = timeline(10 * MS, 990, () => ({ bytes: MIB }));
    expect(findings('R-A1', report({ tables: { timeline: steady } }))).toEqual([]);
  });

  test('thresholds can be set by name', () => {
    const data = report({ tables: { timeline: bursts(100, () => 12.8 * MIB) } });
    expect(findings('R-A1', data, { thresholds: { 'R-A1': { minWaitShare: 0.9 } } })).toEqual([]);
  });
});
