import { describe, expect, test } from 'vitest';
import { diagnose, ruledOut } from '../../../src/report/rules/engine.js';
import { RULES } from '../../../src/report/rules/index.js';
import { defineRule, type Observation, type Rule } from '../../../src/report/rules/rule.js';
import { connection, direction, migration, report, S } from './situation.js';

const about = { meaning: 'm', evidence: 'e', confusedWith: 'c', advice: ['a'] };

const says = (id: string, observation: Partial<Observation>, more: Partial<Rule> = {}): Rule =>
  defineRule({
    id,
    title: id,
    layer: 'L0',
    needs: [],
    restsOn: [],
    explains: [],
    thresholds: {},
    about,
    run: ({ transfers }) => [
      { confidence: 0.9, metrics: {}, text: id, interval: [[0, 1]], transfer: transfers[0]!, ...observation },
    ],
    ...more,
  });

const lasting = (seconds: number): Partial<Observation> => ({ cost: { of: 'migration-time', ns: seconds * S } });
const idsOf = (...rules: Rule[]) => diagnose(report(), { rules }).map((finding) => finding.rule);

describe('diagnosis engine', () => {
  test('an observation without frame or interval is not a finding', () => {
    expect(idsOf(says('X', { interval: [], packets: [0] }))).toEqual([]);
  });

  test('cost decides severity and order', () => {
    const findings = diagnose(report(), {
      rules: [
        says('small', lasting(0.1)),
        says('middle', lasting(1)),
        says('large', lasting(5)),
        says('larger', lasting(6)),
      ],
    });
    expect(findings.map(({ rule, severity }) => `${rule} ${severity}`)).toEqual([
      'larger major',
      'large major',
      'middle minor',
      'small info',
    ]);
  });

  test('downtime counts against the accepted downtime', () => {
    const rules = [says('X', { cost: { of: 'downtime', ns: 0.4 * S } })];
    expect(diagnose(report(), { rules })).toMatchObject([{ severity: 'minor' }]);
    expect(diagnose(report(), { rules, downtimeLimitNs: 0.1 * S })).toMatchObject([{ severity: 'major' }]);
    expect(diagnose(report(), { rules, downtimeLimitNs: 1 * S })).toMatchObject([{ severity: 'info' }]);
  });

  test('capture quality caps what rests on it, and nothing else', () => {
    const findings = diagnose(report(), {
      rules: [
        says('quality', { caps: { loss: 0.4 } }),
        says('on loss', {}, { restsOn: ['loss'] }),
        says('on windows', {}, { restsOn: ['window'] }),
      ],
    });
    expect(Object.fromEntries(findings.map(({ rule, confidence }) => [rule, confidence]))).toEqual({
      quality: 0.9,
      'on loss': 0.4,
      'on windows': 0.9,
    });
  });

  test('a symptom follows the major cause that explains it, even when it is louder', () => {
    const findings = diagnose(report(), {
      rules: [
        says('symptom', lasting(9)),
        says('other', lasting(7)),
        says('cause', lasting(3), { explains: ['symptom'] }),
      ],
    });
    expect(findings.map((finding) => finding.rule)).toEqual(['cause', 'symptom', 'other']);
    expect(findings[0]!.explains).toEqual(['symptom']);
  });

  test('a cause of little weight explains nothing', () => {
    expect(idsOf(says('symptom', lasting(9)), says('cause', lasting(1), { explains: ['symptom'] }))).toEqual([
      'symptom',
      'cause',
    ]);
  });

  test('figures that are not finite are unknown', () => {
    expect(diagnose(report(), { rules: [says('X', { metrics: { share: Number.NaN, n: 1 } })] })).toMatchObject([
      { metrics: { share: null, n: 1 } },
    ]);
  });

  test('what was excluded is listed, unless the rule spoke', () => {
    const rules = [
      says('silent', { interval: [] }, { ruledOut: () => 'no loss' }),
      says('spoke', {}, { ruledOut: () => 'nothing' }),
    ];
    const data = report();
    expect(ruledOut(data, diagnose(data, { rules }), { rules })).toEqual([
      { rule: 'silent', title: 'silent', text: 'no loss' },
    ]);
  });
});

test('what one direction alone would not show is not ruled out', () => {
  const one = connection({
    directions: [direction(), direction({ frames: 0, uniqueBytes: 0, payloadBytes: 0 })],
    handshakeRttNs: null,
  });
  const excluded = (data: ReturnType<typeof report>) => ruledOut(data, diagnose(data)).map(({ rule }) => rule);
  const both = excluded(report());
  const half = excluded(report({ connections: [one] }));
  for (const id of ['R-J1', 'R-H1', 'R-B1', 'R-B2', 'R-B5']) {
    expect(both, id).toContain(id);
    expect(half, id).not.toContain(id);
  }
  expect(half).toContain('R-H2');
});

test('a migration over another transport is judged by what its stream tells', () => {
  const data = report({ connections: [], migrations: [migration({ connections: [] })] });
  const ids = diagnose(data).map((finding) => finding.rule);
  expect(ids).toEqual(expect.arrayContaining(['R-F1', 'R-E10', 'R-K1']));
  expect(diagnose(data).every((finding) => finding.migration === 0 && finding.interval.length > 0)).toBe(true);
});

test('beside a migration over another transport, bulk TCP is not taken for one', () => {
  const data = report({ connections: [connection({ id: 7 })], migrations: [migration({ connections: [] })] });
  expect(diagnose(data).filter((finding) => finding.connections.includes(7))).toEqual([]);
});

describe('the index of rules', () => {
  test('ids are unique, and every rule explains itself', () => {
    expect(new Set(RULES.map((rule) => rule.id)).size).toBe(RULES.length);
    for (const rule of RULES) {
      expect(rule.explanation).toMatch(/Evidence\. .+/);
      expect(rule.about.advice.length).toBeGreaterThan(0);
    }
  });

  test('causes and symptoms form no cycle', () => {
    const byId = new Map(RULES.map((rule) => [rule.id, rule]));
    const reaches = (id: string, seen: readonly string[]): boolean =>
      seen.includes(id) || (byId.get(id)?.explains ?? []).some((next) => reaches(next, [...seen, id]));
    expect(RULES.filter((rule) => reaches(rule.id, [])).map((rule) => rule.id)).toEqual([]);
  });

  test('nothing is said about an empty result', () => {
    const empty = report({ connections: [], migrations: [], tables: {} });
    expect(diagnose(empty)).toEqual([]);
    expect(ruledOut(empty, [])).toEqual([]);
  });
});
