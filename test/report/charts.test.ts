import { readFileSync } from 'node:fs';
import { compile } from 'vega-lite';
import { describe, expect, test } from 'vitest';
import { rootTicks, timeUnit } from '../../src/report/charts/frame.js';
import { CHARTS } from '../../src/report/charts/index.js';
import { PALETTE } from '../../src/report/charts/palette.js';
import { migrationScene, type Scene } from '../../src/report/charts/scene.js';
import { reportData, withSegments } from '../support/report-data.js';

/** WCAG 2.2, contrast ratio of two colours '#rrggbb'. */
function contrastOf(a: string, b: string): number {
  const luminance = (colour: string): number => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
  };
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light! + 0.05) / (dark! + 0.05);
}

/** What Vega-Lite complains to. */
class CollectingLogger {
  constructor(readonly complaints: string[]) {}
  level = () => this;
  error = (...text: readonly unknown[]) => this.#keep(text);
  warn = (...text: readonly unknown[]) => this.#keep(text);
  info = () => this;
  debug = () => this;
  #keep(text: readonly unknown[]): this {
    this.complaints.push(text.join(' '));
    return this;
  }
}

const sceneOf = (...args: Parameters<typeof reportData>): Scene => {
  const report = reportData(...args);
  return migrationScene(report, report.migrations[0]!);
};
const all = sceneOf('long');

/** A run with post-copy whose requests waited so long, ms; one a ms. */
const asked = (...waitsMs: number[]): Scene => {
  const report = reportData('healthy');
  const [migration] = report.migrations;
  const sorted = [...waitsMs].sort((a, b) => a - b).map((ms) => ms * 1e6);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))]!;
  const latency = { min: at(0), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1), samples: sorted.length };
  migration!.postcopy = {
    startNs: 0,
    endNs: 5e8,
    requests: sorted.length,
    pages: 1000,
    pagesUnderway: 0,
    requestLatencyNs: latency,
  };
  const columns = {
    migration: waitsMs.map(() => migration!.id),
    tNs: waitsMs.map((_, i) => (i % 500) * 1e6),
    latencyNs: waitsMs.map((ms) => ms * 1e6),
    bytes: waitsMs.map(() => 4096),
  };
  report.tables['pageRequests'] = {
    rows: waitsMs.length,
    columns: Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, { unit: '', values }])),
  };
  return migrationScene(report, migration!);
};

const closeUps = (): Scene => {
  const report = withSegments(reportData('lossy'));
  return migrationScene(report, report.migrations[0]!);
};

const SCENES: readonly (readonly [string, Scene])[] = [
  ['a run of 0.6 s', sceneOf('healthy')],
  ['a lossy run', sceneOf('lossy')],
  ['ten minutes over four channels', all],
  ['a run with post-copy', asked(0.3, 0.4, 0.4, 20, 180)],
  ['a run with single segments', closeUps()],
  ['a run of 1 ms', sceneOf('healthy', { bandwidth: 40e9, rttMs: 0.01, devices: [] })],
];

describe.each(SCENES)('charts of %s', (_, scene) => {
  test.each(CHARTS.map((chart) => [chart.id, chart] as const))('%s compiles without a warning', (_, chart) => {
    const spec = chart.needs.every((name) => name in scene.data) ? chart.spec(scene) : null;
    if (spec === null) return;
    const warnings: string[] = [];
    const logger = new CollectingLogger(warnings);
    const { spec: vega } = compile(spec.vegaLite, { logger: logger as never });
    expect(warnings).toEqual([]);
    expect((vega.data ?? []).map(({ name }) => name)).toEqual(expect.arrayContaining([expect.any(String)]));
  });

  test('no view draws more than 20,000 points and every column of a dataset is equally long', () => {
    for (const dataset of Object.values(scene.data)) {
      const lengths = new Set(Object.values(dataset).map((column) => column.length));
      expect(lengths.size).toBe(1);
      expect([...lengths][0]).toBeLessThanOrEqual(20_000);
    }
  });

  test('times lie inside the run, but for the width of a bin', () => {
    const [from, to] = scene.window;
    for (const t of scene.data['timeline']!['t']!) {
      expect(t).toBeGreaterThanOrEqual(from - Math.max(0.001, (to - from) / 200));
      expect(t).toBeLessThanOrEqual(to + Math.max(0.001, (to - from) / 200));
    }
  });
});

describe('charts', () => {
  test.each(CHARTS.map((chart) => [chart.id, chart] as const))('%s stays away without its data', (_, chart) => {
    expect(chart.needs.length).toBeGreaterThan(0);
    for (const name of chart.needs) expect(name).toMatch(/^[a-z]+$/);
  });

  test('every colour a specification names is in the palette', () => {
    for (const chart of CHARTS) {
      const spec = chart.needs.every((name) => name in all.data) ? chart.spec(all) : null;
      for (const [, name] of JSON.stringify(spec).matchAll(/"@(\w+)"/g)) expect(Object.keys(PALETTE)).toContain(name);
    }
  });

  test.each([
    ['light', 0],
    ['dark', 1],
  ] as const)('all text of the page can be read on its background, %s (WCAG AA)', (_, theme) => {
    const css = readFileSync('src/report/assets/page.css', 'utf8');
    const names = new Set(
      Array.from(css.matchAll(/^\s*color: var\(--(\w+)\)/gm), ([, name]) => name as keyof typeof PALETTE),
    );
    names.delete('paper'); // stands on the accent colour
    expect(names.size).toBeGreaterThan(4);
    for (const name of names) {
      const contrast = contrastOf(PALETTE[name][theme], PALETTE.paper[theme]);
      expect(contrast, name).toBeGreaterThanOrEqual(4.5);
    }
  });

  test('a gap in the timeline falls to zero instead of being bridged', () => {
    const report = reportData('healthy');
    const { timeline } = report.tables;
    const keep = timeline!.columns['startNs']!.values.map((ns) => Number(ns) < 100e6 || Number(ns) > 300e6);
    report.tables['timeline'] = {
      rows: keep.filter(Boolean).length,
      columns: Object.fromEntries(
        Object.entries(timeline!.columns).map(([name, { unit, values }]) => [
          name,
          { unit, values: values.filter((_, row) => keep[row]) },
        ]),
      ),
    };
    const { t, goodput, inFlight } = migrationScene(report, report.migrations[0]!).data['timeline']!;
    const gap = t!.findIndex((time) => Number(time) >= 0.1 && Number(time) < 0.3);
    expect([goodput![gap], inFlight![gap]]).toEqual([0, null]);
  });

  test('the round ladder carries the amounts that Clark et al. write on their boxes: sent, and dirtied meanwhile', () => {
    const { sent, dirtied } = sceneOf('healthy').data['rounds']!;
    expect([sent, dirtied]).toEqual([
      [32_670_414, 2_388_591],
      [2_412_544, null],
    ]);
  });

  test('what a round dirtied is drawn where it is known, what was left to send in every round', () => {
    const report = reportData('lossy');
    const [migration] = report.migrations;
    const unknown = migration!.rounds.map((round) => ({ ...round, dirtyPagesPerSecond: null }));
    const kinds = (rounds: (typeof migration & object)['rounds']): unknown[] => [
      ...new Set(migrationScene(report, { ...migration!, rounds }).data['remaining']!['kind']),
    ];
    expect([kinds(migration!.rounds), kinds(unknown)]).toEqual([['left', 'dirtied'], ['left']]);
  });

  test('page requests: each with its wait, and how many waited how long', () => {
    const { requests, waits, quantiles } = asked(0.3, 0.4, 0.41, 20, 180).data;
    expect(requests!['wait']).toEqual([0.0003, 0.0004, 0.00041, 0.02, 0.18]);
    expect(waits!['count']).toEqual([1, 2, 1, 1]);
    expect(quantiles!['tip']).toEqual(['median: 410 µs', '99 %: 20.0 ms']);
  });

  test('of many page requests the slowest are drawn', () => {
    const many = asked(...Array.from({ length: 30_000 }, (_, i) => (i === 12_345 ? 900 : 1 + (i % 7))));
    expect(many.data['requests']!['t']!.length).toBeLessThanOrEqual(2000);
    expect(Math.max(...many.data['requests']!['wait']!.map(Number))).toBe(0.9);
    expect(many.data['waits']!['count']!.map(Number).reduce((a, b) => a + b)).toBe(30_000);
  });

  test('single segments: data from its first byte to its last, acknowledgements from what they ask for to the window’s edge', () => {
    const { segments, stretches } = closeUps().data;
    expect(segments!['low']).toEqual([1000, 1000, 1000, 2448]);
    expect(segments!['high']).toEqual([2448, 66_536, 2448, null]);
    expect(stretches).toEqual({
      stretch: [0],
      from: [0.1],
      to: [0.141],
      connection: [0],
      resent: [1],
      why: ['as asked for'],
    });
  });

  test('a silent sender and a closed window are no loss recovery', () => {
    const report = reportData('lossy');
    const kinds = report.tables['tcpEpisodes']!.columns['kind']!.values as (number | null)[];
    kinds.splice(0, 5, 0, 1, 2, 3, 4);
    const { lane } = migrationScene(report, report.migrations[0]!).data['episodes']!;
    expect(lane!.slice(0, 5)).toEqual(['recovery', 'recovery', 'recovery', 'window', 'silent']);
  });

  test('ticks of a square-root axis are round and do not crowd', () => {
    const MIB = 2 ** 20;
    expect(rootTicks(48.5 * MIB, MIB).map((tick) => tick / MIB)).toEqual([0, 1, 5, 10, 20, 40]);
    expect(rootTicks(0.9, 1).map((tick) => Number(tick.toPrecision(6)))).toEqual([0, 0.03, 0.1, 0.3, 0.5]);
  });

  test('two channels or more make a balance chart', () => {
    expect(new Set(all.data['channels']!['channel'])).toEqual(
      new Set(['multifd 0', 'multifd 1', 'multifd 2', 'multifd 3']),
    );
  });

  test('units follow the size of the run', () => {
    expect([timeUnit(20), timeUnit(0.02), timeUnit(0.0002)].map(({ unit }) => unit)).toEqual(['s', 'ms', 'µs']);
  });
});
