import { describe, expect, test } from 'vitest';
import { type ColumnData, TableBuilder } from '../../src/columns.js';
import {
  TCP_EPISODE_UNITS,
  TCP_EVENT_KINDS,
  TCP_EVENT_UNITS,
  TCP_SEGMENT_UNITS,
  TIMELINE_UNITS,
} from '../../src/decode/tcp/results.js';
import { PAGE_REGION_UNITS, PAGE_REQUEST_UNITS } from '../../src/migration-stream/results.js';
import { buildReport, jsonTable, type ReportInput } from '../../src/report/build.js';
import type { JsonTable } from '../../src/report/report.js';
import { reportData } from '../support/report-data.js';

const empty = (units: Readonly<Record<string, string>>): ColumnData => new TableBuilder(units, 1).finish();

function input(
  changes: { timeline?: ColumnData; events?: ColumnData; regions?: ColumnData; requests?: ColumnData } = {},
): ReportInput {
  const report = reportData('healthy');
  return {
    capture: report.capture,
    anomalies: [],
    tcp: {
      connections: report.connections.map(({ channel: _, ...connection }) => connection),
      timeline: changes.timeline ?? empty(TIMELINE_UNITS),
      events: changes.events ?? empty(TCP_EVENT_UNITS),
      episodes: empty(TCP_EPISODE_UNITS),
      segments: empty(TCP_SEGMENT_UNITS),
    },
    udp: { flows: [], tunnels: [], timeline: empty({ flow: 'flow id' }) },
    migration: {
      migrations: report.migrations.map(({ models: _, ...migration }) => migration),
      channels: [{ connection: 0, kind: 'main', index: null, migration: 0 }],
      opaque: [{ connection: 0, kind: 'ssh', banner: 'SSH-2.0-x', holds: null }],
      pageRegions: changes.regions ?? empty(PAGE_REGION_UNITS),
      pageRequests: changes.requests ?? empty(PAGE_REQUEST_UNITS),
    },
  };
}

const values = (table: JsonTable | undefined, name: string): number[] => table!.columns[name]!.values.map(Number);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** `bins` bins of 1 ms for each direction; bin b carries b + 1 bytes. */
function timeline(directions: number, bins: number): ColumnData {
  const names = Object.keys(TIMELINE_UNITS) as (keyof typeof TIMELINE_UNITS)[];
  const table = new TableBuilder(TIMELINE_UNITS, directions * bins);
  for (let d = 0; d < directions; d++) {
    for (let b = 0; b < bins; b++) {
      const row: Partial<Record<(typeof names)[number], number>> = {
        direction: 2 * d,
        startNs: b * 1e6,
        durationNs: 1e6,
        uniqueBytes: b + 1,
        inFlightMaxBytes: b === 777 ? 1e9 : 10,
        windowMinBytes: b === 778 ? 0 : 50,
        rttMinNs: Number.NaN,
        rttMaxNs: b === 779 ? 5e9 : Number.NaN,
      };
      table.add(...names.map((name) => row[name] ?? 0));
    }
  }
  return table.finish();
}

describe('result to report', () => {
  test('a connection learns what its first bytes announce', () => {
    const [connection, ...others] = buildReport(input(), '1.2.3').connections;
    expect(connection!.opaque).toEqual({ kind: 'ssh', banner: 'SSH-2.0-x', holds: null });
    for (const other of others) expect(other).not.toHaveProperty('opaque');
  });

  test('of many page requests the slowest stay', () => {
    const requests = new TableBuilder(PAGE_REQUEST_UNITS, 50_000);
    for (let i = 0; i < 50_000; i++) requests.add(0, i * 1000, i % 10_000 === 9 ? 1e9 + i : 1e6, 4096);
    const table = buildReport(input({ requests: requests.finish() }), '1.2.3').tables['pageRequests']!;
    expect([table.rows, table.omitted]).toEqual([4000, 46_000]);
    expect(values(table, 'latencyNs').filter((ns) => ns >= 1e9)).toHaveLength(5);
    expect(values(table, 'tNs')).toEqual(values(table, 'tNs').sort((a, b) => a - b));
  });

  test('connections learn their part in a migration; others are unknown', () => {
    const report = buildReport(input(), '1.2.3');
    expect(report.connections.map((c) => c.channel)).toEqual([{ kind: 'main', index: null, migration: 0 }]);
    expect(report.generator).toEqual({ name: 'migscope', version: '1.2.3' });
  });

  test('NaN is null in JSON, whole numbers stay exact, fractions keep seven digits', () => {
    const table: ColumnData = {
      rows: 3,
      columns: { x: { unit: 'bytes', values: Float64Array.of(2 ** 53, Number.NaN, 1 / 3) } },
    };
    expect(jsonTable(table).columns['x']!.values).toEqual([2 ** 53, null, 0.3333333]);
  });

  test('a small timeline passes unchanged', () => {
    expect(buildReport(input({ timeline: timeline(1, 900) }), '0').tables['timeline']!.rows).toBe(900);
  });

  test('a long timeline shrinks to its budget: sums stay sums, extremes stay extremes, unknown stays unknown', () => {
    const bins = 16_384;
    const table = buildReport(input({ timeline: timeline(1, bins) }), '0').tables['timeline'];
    expect(table!.rows).toBeLessThanOrEqual(2400);
    expect(sum(values(table, 'uniqueBytes'))).toBe((bins * (bins + 1)) / 2);
    expect(sum(values(table, 'durationNs'))).toBe(bins * 1e6);
    expect(Math.max(...values(table, 'inFlightMaxBytes'))).toBe(1e9);
    expect(Math.min(...values(table, 'windowMinBytes'))).toBe(0);
    expect(Math.max(...values(table, 'rttMaxNs'))).toBe(5e9);
    expect(new Set(table!.columns['rttMinNs']!.values)).toEqual(new Set([null]));
  });

  test('64 directions share the budget, none disappears', () => {
    const table = buildReport(input({ timeline: timeline(64, 2000) }), '0').tables['timeline'];
    expect(table!.rows).toBeLessThanOrEqual(13_000);
    expect(new Set(values(table, 'direction')).size).toBe(64);
  });

  test('a single timeout survives among a hundred thousand fast retransmissions', () => {
    const events = new TableBuilder(TCP_EVENT_UNITS, 100_000);
    const timeout = TCP_EVENT_KINDS.indexOf('retransmission-timeout');
    for (let i = 0; i < 100_000; i++) events.add(i === 54_321 ? timeout : 0, 0, i + 1, i, i, 1448);
    const table = buildReport(input({ events: events.finish() }), '0').tables['tcpEvents'];
    expect(table!.rows).toBeLessThanOrEqual(8000);
    expect(table!.rows + table!.omitted!).toBe(100_000);
    expect(values(table, 'kind').filter((kind) => kind === timeout)).toHaveLength(1);
    expect(values(table, 'frame')).toEqual([...values(table, 'frame')].sort((a, b) => a - b));
  });

  test('page regions merge by address until they fit; copies add up', () => {
    const regions = new TableBuilder(PAGE_REGION_UNITS, 100_000);
    for (let i = 0; i < 100_000; i++) regions.add(0, 0, (i % 25_000) * 16, 16, 1 + Math.floor(i / 25_000), 3);
    const table = buildReport(input({ regions: regions.finish() }), '0').tables['pageRegions'];
    expect(table!.rows).toBeLessThanOrEqual(16_000);
    expect(sum(values(table, 'copies'))).toBe(300_000);
    expect(new Set(values(table, 'round'))).toEqual(new Set([1, 2, 3, 4]));
  });

  test('the JSON of the widest timeline stays below 4 MB', () => {
    const report = buildReport(input({ timeline: timeline(64, 16_384) }), '0');
    expect(JSON.stringify(report).length).toBeLessThan(4e6);
  });
});
