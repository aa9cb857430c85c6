// Bounds on what is kept of very many connections, made small and crossed through the whole TCP analysis.
import { describe, expect, test, vi } from 'vitest';
import type { TcpDirection } from '../../src/decode/tcp/results.js';
import type * as limits from '../../src/limits.js';
import { HISTOGRAM_BUCKETS, TIMELINE_BINS, TIMELINE_BINS_TOTAL } from '../../src/limits.js';
import { framesOf, transfer } from '../support/conversation.js';
import type { CapturedFrame } from '../support/frames.js';
import { Script } from '../support/script.js';
import { analyzeFrames } from '../support/tcp-analysis.js';

vi.mock('../../src/limits.js', async (original) => ({
  ...(await original<typeof limits>()),
  HISTOGRAM_BUCKETS: 3000,
  TIMELINE_BINS_TOTAL: 1 << 10,
}));

const MS = 1e6;
const CLIENT_PORT = 40_000;

/** The same conversation from another port, `afterNs` later. */
const again = (frames: readonly CapturedFrame[], n: number, afterNs = 0): CapturedFrame[] =>
  frames.map((item) => {
    const bytes = item.bytes.slice();
    const view = new DataView(bytes.buffer);
    view.setUint16(view.getUint16(34) === CLIENT_PORT ? 34 : 36, 1000 + n);
    return { ...item, bytes, tNs: item.tNs! + afterNs };
  });

/** Data, each answered after 0.1 ms or `factor` times as long as before: round trips over three decades. */
function spread(answers: number, factor = 10): CapturedFrame[] {
  const script = new Script().open();
  for (let n = 0; n < answers; n++) {
    script.client({ seq: 1000 * n, length: 1000, tsValue: 2000 + n, afterMs: 5 });
    script.server({ ack: 1000 * (n + 1), tsEcho: 2000 + n, afterMs: 0.1 * factor ** (n % 4), window: n % 2 ? 512 : 0 });
  }
  return script.frames();
}

/** Round trips, windows and bytes in flight of the sending side. */
const distributions = ({ rttNs, window, inFlight, windowUse }: TcpDirection) => ({
  rttNs,
  window,
  inFlight,
  windowUse,
});

describe('HISTOGRAM_BUCKETS: more distributions than there is room for', () => {
  const CONNECTIONS = 60;
  const one = spread(100);
  const frames = Array.from({ length: CONNECTIONS }, (_, n) => again(one, n, n)).flat();
  const all = frames.sort((a, b) => a.tNs! - b.tNs!);
  const analysis = analyzeFrames(all);
  const sides = analysis.results.connections.map(({ directions }) => distributions(directions[0]));
  const alone = distributions(analyzeFrames(one).results.connections[0]!.directions[0]);

  test('those that come too late are rough, and it is said of how many', () => {
    expect(HISTOGRAM_BUCKETS).toBeLessThan(CONNECTIONS * 100);
    const note = analysis.anomalies.find(({ code }) => code === 'tcp/coarse-quantiles');
    expect(note?.count).toBeGreaterThan(CONNECTIONS / 2);
    expect(sides[0]).toEqual(alone);
    expect(sides.at(-1)).not.toEqual(alone);
  });

  test('rough is within a third, and least and most are exact', () => {
    for (const side of sides) {
      for (const name of ['rttNs', 'window', 'inFlight'] as const) {
        const [rough, exact] = [side[name]!, alone[name]!];
        expect([rough.min, rough.max, rough.samples]).toEqual([exact.min, exact.max, exact.samples]);
        for (const q of ['p50', 'p95', 'p99'] as const) {
          expect(Math.abs(rough[q] - exact[q])).toBeLessThanOrEqual(exact[q] / 3);
        }
      }
    }
  });

  test('however the capture is cut into batches', () => {
    for (const batchFrames of [7, 100]) {
      const cut = analyzeFrames(all, { batchFrames }).results.connections;
      expect(cut.map(({ directions }) => distributions(directions[0]))).toEqual(sides);
    }
  });

  test('a busy one gets narrow buckets again', () => {
    const busy = again(spread(6000), 999, 1000);
    const most = analyzeFrames([...all, ...busy].sort((a, b) => a.tNs! - b.tNs!)).results.connections.at(-1)!;
    const exact = analyzeFrames(busy).results.connections[0]!;
    const [found, expected] = [most.directions[0].rttNs!, exact.directions[0].rttNs!];
    expect(found.samples).toBe(expected.samples);
    for (const q of ['p50', 'p95', 'p99'] as const) expect(Math.abs(found[q] / expected[q] - 1)).toBeLessThan(0.02);
  });

  test('what connections leave is there for others', () => {
    const narrow = spread(100, 1.5);
    const inTurn = Array.from({ length: CONNECTIONS }, (_, n) => again(narrow, n, n * 1e12)).flat();
    const codes = (limit: number) =>
      analyzeFrames(inTurn, { limit, batchFrames: 50 }).anomalies.map(({ code }) => code);
    expect(codes(CONNECTIONS)).toContain('tcp/coarse-quantiles');
    expect(codes(1)).not.toContain('tcp/coarse-quantiles');
  });
});

test('TIMELINE_BINS_TOTAL: the more directions have a timeline, the wider their bins, and nothing gets lost', () => {
  const one = framesOf(transfer({ bytes: 1_500_000, oneWayNs: 40 * MS }).sender);
  const rowsOf = (count: number): { readonly rows: number; readonly bytes: number[]; readonly sent: number[] } => {
    const frames = Array.from({ length: count }, (_, n) => again(one, n, n)).flat();
    const { results } = analyzeFrames(frames.sort((a, b) => a.tNs! - b.tNs!));
    const column = (name: string): number[] => [...(results.timeline.columns[name]!.values as Float64Array)];
    const bytes = new Map<number, number>();
    const payload = column('payloadBytes');
    column('direction').forEach((direction, row) => {
      bytes.set(direction, (bytes.get(direction) ?? 0) + payload[row]!);
    });
    const sent = results.connections.map(({ directions }) => directions[0].payloadBytes);
    return { rows: results.timeline.rows, bytes: [...bytes.values()], sent };
  };
  const few = rowsOf(8);
  const many = rowsOf(16);
  expect(few.rows / 8).toBeLessThan(TIMELINE_BINS);
  expect(few.rows).toBeGreaterThan(TIMELINE_BINS_TOTAL);
  expect(many.rows).toBeLessThanOrEqual(TIMELINE_BINS_TOTAL);
  expect(many.bytes).toEqual(many.sent);
});
