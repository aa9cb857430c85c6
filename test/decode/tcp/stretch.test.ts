import { describe, expect, test } from 'vitest';
import { TCP_SEGMENT_KINDS } from '../../../src/decode/tcp/results.js';
import { Stretch, type WantedStretch } from '../../../src/decode/tcp/stretch.js';
import { EVENT_ROWS } from '../../../src/limits.js';
import { framesOf, transfer } from '../../support/conversation.js';
import { analyzeFrames } from '../../support/tcp-analysis.js';

const MS = 1e6;
const run = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, lose: (n) => n === 500 });
const frames = framesOf(run.sender);
const lastNs = frames.at(-1)!.tNs!;

function rowsOf(wanted: WantedStretch, repeat = 1): Record<string, number>[] {
  const stretch = new Stretch(wanted);
  const { results } = analyzeFrames(frames, {
    watch: (batch, rows) => {
      for (let time = 0; time < repeat; time++) stretch.push(batch, rows);
    },
  });
  const { rows, columns } = stretch.before(results.segments);
  expect(rows).toBe(columns['tNs']!.values.length);
  const all = Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(Object.entries(columns).map(([name, { values }]) => [name, Number(values[row])])),
  );
  // Before those that the metric chose, under an id of its own.
  expect(all.slice(all.length - results.segments.rows).map((row) => row['stretch'])).toEqual(
    Array.from(results.segments.columns['stretch']!.values, Number),
  );
  const own = all.slice(0, all.length - results.segments.rows);
  expect(own.every((row) => row['stretch'] === own[0]!['stretch'])).toBe(true);
  expect(all.filter((row) => row['stretch'] === own[0]?.['stretch']).length).toBe(own.length);
  return own;
}

describe('a stretch that was asked for', () => {
  test('has every segment of the direction that sends most, and the acknowledgements for them', () => {
    const rows = rowsOf({ fromNs: 0, toNs: lastNs + 1, connection: null });
    const kinds = rows.map((row) => TCP_SEGMENT_KINDS[row['kind']!]);
    expect(kinds.filter((kind) => kind === 'retransmission')).toHaveLength(1);
    const data = rows.filter((_, at) => kinds[at] !== 'acknowledgement');
    expect(data.reduce((sum, row) => sum + row['bytes']!, 0)).toBe(2_000_000 + 1448);
    expect(new Set(rows.map((row) => row['direction'])).size).toBe(1);
    expect(kinds).toContain('acknowledgement');
  });

  test('ends where it was told to', () => {
    const [fromNs, toNs] = [lastNs / 3, lastNs / 2];
    const rows = rowsOf({ fromNs, toNs, connection: 0 });
    expect(rows.length).toBeGreaterThan(10);
    expect(rows.every((row) => row['tNs']! >= fromNs && row['tNs']! < toNs)).toBe(true);
  });

  test('is empty where that connection has nothing', () => {
    expect(rowsOf({ fromNs: 0, toNs: lastNs, connection: 7 })).toEqual([]);
    expect(rowsOf({ fromNs: lastNs + 1, toNs: lastNs + 2, connection: null })).toEqual([]);
  });

  test('ends at the bound of event tables', () => {
    const repeat = Math.ceil(EVENT_ROWS / frames.length) + 1;
    const rows = rowsOf({ fromNs: 0, toNs: lastNs + 1, connection: null }, repeat);
    expect(rows.length).toBeLessThanOrEqual(EVENT_ROWS);
    expect(rows.length).toBeGreaterThan(EVENT_ROWS / 2);
  });

  test('forgets a connection whose id passed on', () => {
    const stretch = new Stretch({ fromNs: 0, toNs: lastNs, connection: null });
    const { results } = analyzeFrames(frames, { watch: (batch, rows) => stretch.push(batch, rows) });
    stretch.forget(0);
    expect(stretch.before(results.segments).rows).toBe(results.segments.rows);
  });
});
