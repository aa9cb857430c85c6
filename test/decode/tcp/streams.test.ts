import { describe, expect, test } from 'vitest';
import { TableBuilder } from '../../../src/columns.js';
import { TCP_EPISODE_UNITS } from '../../../src/decode/tcp/results.js';
import { fairness, type Stream, summarizeStreams } from '../../../src/decode/tcp/streams.js';
import { framesOf, transfer } from '../../support/conversation.js';
import { analyzeFrames } from '../../support/tcp-analysis.js';
import { limitShares } from '../../support/tcp-direction.js';

const MS = 1e6;

/** A stream as the analysis describes it, with a few fields replaced. */
function stream(id: number, over: object): Stream {
  const [connection] = analyzeFrames(framesOf(transfer({ bytes: 100_000 }).sender)).results.connections;
  const direction = { ...connection!.directions[0], ...over };
  return { connection: { ...connection!, id, directions: [direction, connection!.directions[1]] }, side: 0 };
}

/** Recovery episodes at these times (ms), by connection. */
function losses(...at: readonly (readonly [number, number])[]) {
  const table = new TableBuilder(TCP_EPISODE_UNITS, 1000);
  for (const [id, ms] of at) table.add(0, 2 * id, 1, ms * MS, 5 * MS, 1448, 1448);
  return table.finish();
}

const equal = (count: number, over: object = {}): Stream[] =>
  Array.from({ length: count }, (_, id) => stream(id, { uniqueBytes: 1e6, firstDataNs: 0, lastDataNs: 1e9, ...over }));

describe('streams of one transfer', () => {
  test('fairness is 1 for even loads and 1/n for one that carries all', () => {
    expect([fairness([5, 5, 5, 5]), fairness([8, 0, 0, 0]), fairness([0, 0])]).toEqual([1, 0.25, null]);
  });

  test('bytes add up, rate is over the whole time', () => {
    const { uniqueBytes, goodput, skew, variation } = summarizeStreams(equal(4), losses());
    expect({ uniqueBytes, goodput, skew, variation }).toEqual({
      uniqueBytes: 4e6,
      goodput: 4e6,
      skew: 1,
      variation: 0,
    });
  });

  test('a stream that ends late is a straggler', () => {
    const late = stream(9, { uniqueBytes: 1e6, firstDataNs: 0, lastDataNs: 1.2e9 });
    expect(summarizeStreams([...equal(3), late], losses()).stragglers).toEqual([9]);
    expect(summarizeStreams(equal(4), losses()).stragglers).toEqual([]);
  });

  test('losses of all streams within a round trip are shared, scattered ones independent', () => {
    const streams = equal(4, {
      rttNs: { min: 10 * MS, p50: 10 * MS, p95: 10 * MS, p99: 10 * MS, max: 10 * MS, samples: 9 },
    });
    const burst = losses([0, 100], [1, 101], [2, 102], [3, 103], [0, 500], [1, 501], [2, 502]);
    const scattered = losses([0, 100], [1, 200], [2, 300], [3, 400]);
    expect(summarizeStreams(streams, burst).loss).toEqual({ episodes: 7, together: 7, pattern: 'shared' });
    expect(summarizeStreams(streams, scattered).loss).toEqual({ episodes: 4, together: 0, pattern: 'independent' });
    expect(summarizeStreams(streams, losses()).loss.pattern).toBe('none');
  });

  test('limits are weighted by bytes and still sum to 1', () => {
    const none = limitShares({});
    const streams = [
      stream(0, { uniqueBytes: 3e6, limitedBy: { ...none, congestion: 1 } }),
      stream(1, { uniqueBytes: 1e6, limitedBy: { ...none, idle: 1 } }),
    ];
    const { limitedBy, mostly } = summarizeStreams(streams, losses());
    expect(limitedBy).toEqual({ ...none, congestion: 0.75, idle: 0.25 });
    expect(mostly).toEqual({ ...none, congestion: 1, idle: 1 });
  });

  test('a stream with a longer least round trip takes another path', () => {
    const rtt = (min: number) => ({ rttNs: { min, p50: min, p95: min, p99: min, max: min, samples: 9 } });
    const streams = [stream(0, rtt(10 * MS)), stream(1, rtt(10.5 * MS)), stream(2, rtt(14 * MS))];
    expect(summarizeStreams(streams, losses()).otherPaths).toEqual([2]);
  });

  test('no streams at all', () => {
    const { goodput, fairness: even, limitedBy, stragglers, otherPaths } = summarizeStreams([], losses());
    expect({ goodput, even, limitedBy, stragglers, otherPaths }).toEqual({
      goodput: 0,
      even: null,
      limitedBy: null,
      stragglers: [],
      otherPaths: [],
    });
  });
});
