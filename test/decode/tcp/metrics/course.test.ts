// How a transfer went: rates over bins, time in flight, windows nearly full and windows that stand still, round trips smoothed,
// acknowledgements squeezed together, restarts, and the narrowest line.
import { describe, expect, test } from 'vitest';
import { framesOf, transfer } from '../../../support/conversation.js';
import { Script } from '../../../support/script.js';
import { analyzeFrames, bulk } from '../../../support/tcp-analysis.js';

const MS = 1e6;
const directionOf = (script: Script) => bulk(analyzeFrames(script.frames())).direction;

describe('goodput over bins and over busy time', () => {
  test('a tenth of each second at 1 MB a second: peaks depend on the bin', () => {
    const script = new Script().open();
    for (let n = 0; n < 200; n++) script.client({ seq: 1000 * n, length: 1000, afterMs: n === 100 ? 901 : 1 });
    script.client({ seq: 200_000, length: 1000, afterMs: 901 });
    expect(directionOf(script).goodputPeaks).toEqual([
      { binNs: 10 * MS, p50: 0, p95: 1e6, max: 1e6 },
      { binNs: 100 * MS, p50: 0, p95: 1e6, max: 1e6 },
      { binNs: 1000 * MS, p50: 1e5, p95: 1e5, max: 1e5 },
    ]);
  });

  test('bins that the transfer does not fill once are left out', () => {
    const script = new Script().open().client({ length: 1000 }).client({ seq: 1000, length: 1000, afterMs: 50 });
    expect(directionOf(script).goodputPeaks!.map(({ binNs }) => binNs)).toEqual([10 * MS]);
    expect(directionOf(new Script().open().client({ length: 1000 })).goodputPeaks).toEqual([]);
  });

  test('20 ms in flight and 80 ms nothing, five times: busy until the last data', () => {
    const script = new Script().open();
    for (let n = 0; n < 5; n++) {
      script.client({ seq: 1000 * n, length: 1000, afterMs: 80 }).server({ ack: 1000 * (n + 1), afterMs: 20 });
    }
    const { busyNs, goodputBusy } = directionOf(script);
    expect([busyNs, goodputBusy]).toEqual([80 * MS, 5000 / 0.08]);
  });

  test('without acknowledgements nobody knows what is in flight', () => {
    const script = new Script();
    for (let n = 0; n < 5; n++) script.client({ seq: 1000 * n, length: 1000 });
    const { busyNs, goodputBusy, windowHighUseNs, frozenEdge } = directionOf(script);
    expect([busyNs, goodputBusy, windowHighUseNs, frozenEdge]).toEqual([null, null, null, null]);
  });
});

describe('a window of 65 536 bytes', () => {
  test('is as good as full from 0.95 on, until the acknowledgement comes or while the next frame fills it again', () => {
    const script = new Script().open().client().server();
    script.client({ length: 65_000 }).server({ ack: 65_000, afterMs: 30 });
    script.client({ seq: 65_000, length: 100, afterMs: 50 }).server({ ack: 65_100, afterMs: 5 });
    script.client({ seq: 65_100, length: 65_000 }).server({ ack: 130_100, afterMs: 20 });
    script.client({ seq: 130_100, length: 65_000 }).server({ ack: 195_100, afterMs: 20 });
    expect(directionOf(script).windowHighUseNs).toBe(30 * MS + 21 * MS);
  });

  /** 22 segments acknowledged 5 ms apart; `raw` is the window of each, in units of 128 bytes. */
  const acknowledged = (raw: (n: number) => number, blocks?: (n: number) => [number, number][]): Script => {
    const script = new Script().open().client().server();
    for (let n = 1; n <= 22; n++) {
      script.client({ seq: 1280 * (n - 1), length: 1280, afterMs: 2 });
      script.server({ ack: 1280 * n, window: raw(n), blocks: blocks?.(n) ?? [], afterMs: 3 });
    }
    return script;
  };
  const closing = (n: number): number => (n === 22 ? 512 : 512 - 10 * (n - 1));

  test('that shrinks by what is acknowledged is not read from: from the first that shrinks to the last', () => {
    const once = (ms: number) => ({ episodes: 1, totalNs: ms * MS, longestNs: ms * MS });
    expect(directionOf(acknowledged(closing)).frozenEdge).toEqual(once(95));
    // Linux gives a little away although nobody reads.
    const creeping = (n: number): number => (n === 22 ? 512 : 512 - 8 * (n - 1));
    expect(directionOf(acknowledged(creeping)).frozenEdge).toEqual(once(95));
  });

  test('that is read from every other time, or behind a hole, is none', () => {
    const none = { episodes: 0, totalNs: 0, longestNs: 0 };
    expect(directionOf(acknowledged((n) => (n % 2 === 0 ? 512 : 502))).frozenEdge).toEqual(none);
    expect(directionOf(acknowledged((n) => (n === 22 ? 512 : 512 - 5 * (n - 1)))).frozenEdge).toEqual(none);
    const holes = acknowledged(closing, (n) => [[1280 * n + 5000, 1280 * n + 6280]]);
    expect(directionOf(holes).frozenEdge).toEqual(none);
  });

  test('that closes stands still until it opens', () => {
    const script = acknowledged((n) => Math.max(0, 512 - 30 * n));
    script.server({ ack: 1280 * 22, window: 512, afterMs: 300 });
    const { frozenEdge, zeroWindow } = directionOf(script);
    expect(zeroWindow.totalNs).toBe(300 * MS + 4 * 5 * MS);
    expect(frozenEdge).toEqual({ episodes: 1, totalNs: 300 * MS + 20 * 5 * MS, longestNs: 300 * MS + 20 * 5 * MS });
  });
});

test('round trips of 10 ms and 18 ms, smoothed by eighths', () => {
  const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 10 });
  script.client({ afterMs: 0.01 }).client({ length: 1000 }).server({ ack: 1000, afterMs: 10 });
  script.client({ seq: 1000, length: 1000 }).server({ ack: 2000, afterMs: 18 });
  expect(directionOf(script).rttSmoothedNs).toBeCloseTo((10 + 8 / 8 + 0.01) * MS, 0);
});

describe('acknowledgements', () => {
  const spaced = (ackGapMs: number): Script => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 20 });
    script.client({ afterMs: 0.01 });
    for (let n = 0; n < 4; n++) script.client({ seq: 1000 * n, length: 1000 });
    for (let n = 0; n < 4; n++) script.server({ ack: 1000 * (n + 1), afterMs: n === 0 ? 17 : ackGapMs });
    return script;
  };

  test('that come a quarter as far apart as their data left, or closer, were squeezed together', () => {
    const squeezed = (ackGapMs: number) => directionOf(spaced(ackGapMs)).rhythm!.compressedAcks;
    expect([squeezed(1), squeezed(0.3), squeezed(0.2)]).toEqual([0, 0, 3]);
  });

  test('cannot be judged where they begin their way', () => {
    const { sender, receiver } = transfer({ oneWayNs: 10 * MS });
    const squeezed = [sender, receiver].map((packets) => bulk(analyzeFrames(framesOf(packets))).direction.rhythm!);
    expect(squeezed.map(({ compressedAcks }) => compressedAcks)).toEqual([0, null]);
  });
});

describe('after a pause of a second', () => {
  /** Rounds of `segments` sent at once, acknowledged after `roundTripMs`; the fourth comes after the pause. */
  const paused = (segments: readonly number[], roundTripMs: number): number | null => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: roundTripMs });
    script.client({ afterMs: 0.001 });
    let seq = 0;
    segments.forEach((count, round) => {
      for (let n = 0; n < count; n++, seq += 1448) {
        script.client({ seq, length: 1448, afterMs: n > 0 ? 0.001 : round === 3 ? 1000 : 0.01, window: 512 });
      }
      script.server({ ack: seq, afterMs: roundTripMs, window: 60_000 });
    });
    return directionOf(script).congestionControl!.restarts;
  };

  test('ten segments where there were forty: a restart', () => {
    expect(paused([40, 40, 40, 10, 20, 40], 40)).toBe(1);
  });

  test('as many as before, or too few to be what congestion control allows: none', () => {
    expect(paused([40, 40, 40, 40, 40], 40)).toBe(0);
    expect(paused([40, 40, 40, 2, 4, 8], 40)).toBe(0);
  });

  test('on a path so short that many rounds pass in a millisecond nothing is said', () => {
    expect(paused([40, 40, 40, 10, 20, 40], 0.2)).toBeNull();
  });
});

describe('the narrowest line', () => {
  // 40 Mbit/s of payload; the path has a queue, and most of the time it is not empty.
  const rate = 5e6;
  const { sender, receiver } = transfer({ bytes: 5_000_000, oneWayNs: 10 * MS, rate, cwndMax: 200 });
  const at = (packets: typeof sender) => bulk(analyzeFrames(framesOf(packets))).direction;

  test('is told behind it by how far apart segments arrive', () => {
    const { bottleneckRate, wireBytes, payloadBytes } = at(receiver);
    expect(bottleneckRate! / ((rate * wireBytes!) / payloadBytes)).toBeCloseTo(1, 1);
  });

  test('is not told before it, nor where the sender set the pace', () => {
    expect(at(sender).bottleneckRate).toBeNull();
    const slow = transfer({ bytes: 5_000_000, oneWayNs: 10 * MS, rate, slices: { bytes: 100_000, everyNs: 100 * MS } });
    expect(at(slow.receiver).bottleneckRate).toBeNull();
  });
});
