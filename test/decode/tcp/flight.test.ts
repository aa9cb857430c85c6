// What the sender had in flight and how long its round trips took, told by the frames that its peer captured.
import { describe, expect, test } from 'vitest';
import { framesOf, transfer } from '../../support/conversation.js';
import { Script } from '../../support/script.js';
import { analyzeFrames, bulk } from '../../support/tcp-analysis.js';

const MS = 1e6;

describe('a path shorter than a tick of the timestamps', () => {
  // 0.3 ms there and back, and a queue that holds most of 200 segments: 23 ms.
  const { sender, receiver } = transfer({
    bytes: 4_000_000,
    oneWayNs: 0.15 * MS,
    rate: 12.5e6,
    cwndMax: 200,
    lose: (_, source) => source.next() < 0.001,
  });
  const near = bulk(analyzeFrames(framesOf(sender)));
  const far = bulk(analyzeFrames(framesOf(receiver)));

  test('both ends know where they are', () => {
    expect([near.connection.vantage, far.connection.vantage]).toEqual(['source', 'destination']);
  });

  test('flight and round trip hold the queue, from either end', () => {
    expect(far.direction.inFlight!.max / near.direction.inFlight!.max).toBeCloseTo(1, 1);
    // Samples of one a tick weigh the time otherwise than those of every acknowledgement.
    expect(Math.abs(far.direction.rttNs!.p50 / near.direction.rttNs!.p50 - 1)).toBeLessThan(0.15);
    expect(far.direction.rttNs!.p50).toBeGreaterThan(10 * MS);
  });

  test('and so does what held the sender back', () => {
    for (const [limit, share] of Object.entries(near.direction.limitedBy!)) {
      const other = far.direction.limitedBy![limit as keyof typeof near.direction.limitedBy];
      expect([limit, Math.abs(other - share) < 0.05]).toEqual([limit, true]);
    }
  });
});

test('data that echo the tick of the SYN-ACK answer the SYN-ACK, not an acknowledgement of the same tick', () => {
  // The path takes 0.4 ms; SYN-ACK and the first acknowledgement of data fall into tick 7.
  const script = new Script().client({ flags: 'S', seq: -1 });
  script.server({ flags: 'SA', seq: -1, ack: 0, tsValue: 7, window: 65_535, afterMs: 0.01 });
  script.client({ length: 1000, tsEcho: 7, afterMs: 0.4 }).server({ ack: 1000, tsValue: 7, afterMs: 0.01 });
  script.client({ seq: 1000, length: 1000, tsEcho: 7, afterMs: 0.05 });
  const { connection, direction } = bulk(analyzeFrames(script.frames()));
  expect(connection.vantage).toBe('destination');
  expect(direction.inFlight!.max).toBe(2000);
});

describe('several acknowledgements in one tick, one of them for a long repaired stretch', () => {
  // Captured at the destination: each acknowledgement reaches the sender after 10 ms, its answer the destination after 10 more.
  const LENGTH = 1000;
  /** 40 segments out, the first of them lost; then eleven acknowledgements within one tick, the last one after the repair. */
  const repaired = (): Script => {
    const script = new Script().client({ flags: 'S', seq: -1 });
    script.server({ flags: 'SA', seq: -1, ack: 0, tsValue: 1, afterMs: 0.01 });
    script.client({ tsEcho: 1, afterMs: 20 });
    for (let n = 1; n < 40; n++) script.client({ seq: n * LENGTH, length: LENGTH, tsEcho: 1, afterMs: 0.01 });
    const top = (n: number): [number, number][] => [[LENGTH, n * LENGTH]];
    script.server({ ack: 0, blocks: top(21), tsValue: 60, afterMs: 1 });
    script.client({ seq: 0, length: LENGTH, tsValue: 1060, tsEcho: 60, afterMs: 20, truth: 'fast' });
    for (let n = 22; n <= 31; n++) script.server({ ack: 0, blocks: top(n), tsValue: 90, afterMs: 0.001 });
    return script.server({ ack: 40 * LENGTH, tsValue: 90, afterMs: 0.001 });
  };
  const answered = (answers: number): ReturnType<typeof bulk>['direction'] => {
    const script = repaired();
    // A queue holds the answers back for 5 ms: by then all eleven could have arrived.
    for (let n = 0; n < answers; n++) {
      const seq = (40 + n) * LENGTH;
      script.client({ seq, length: LENGTH, tsValue: 1110, tsEcho: 90, afterMs: n === 0 ? 25 : 0.1 });
    }
    return bulk(analyzeFrames(script.frames())).direction;
  };

  test('answers to the first of them say how much may have been out', () => {
    const { inFlight, inFlightDoubt } = answered(8);
    expect(inFlightDoubt).toEqual({ reason: 'one-tick', maxAtLeast: 40 * LENGTH, maxAtMost: 48 * LENGTH });
    expect(inFlight!.max).toBe(44 * LENGTH);
  });

  test('few answers change little: no doubt', () => {
    expect(answered(1).inFlightDoubt).toBe(null);
  });

  test('without timestamps no bound is known', () => {
    const { receiver, sender } = transfer({ bytes: 300_000, timestamps: false, oneWayNs: 10 * MS });
    const doubt = (packets: typeof sender) => bulk(analyzeFrames(framesOf(packets))).direction.inFlightDoubt;
    expect(doubt(receiver)).toEqual({ reason: 'no-timestamps', maxAtLeast: null, maxAtMost: null });
    expect(doubt(sender)).toBe(null);
  });
});

test('nobody sends beyond the window: what opened it had arrived, be its tick ever so full and the queue ever so long', () => {
  // Captured at the destination: 20 ms to the sender and back, a window of ten segments.
  const LENGTH = 1024;
  const window = (10 * LENGTH) / 128;
  const script = new Script().client({ flags: 'S', seq: -1 });
  script.server({ flags: 'SA', seq: -1, ack: 0, tsValue: 1, afterMs: 0.01 }).client({ tsEcho: 1, afterMs: 20 });
  script.server({ ack: 0, tsValue: 1, window, afterMs: 0.01 });
  for (let n = 0; n < 10; n++)
    script.client({ seq: n * LENGTH, length: LENGTH, tsEcho: 1, afterMs: n === 0 ? 25 : 0.01 });
  script
    .server({ ack: 2 * LENGTH, tsValue: 90, window })
    .server({ ack: 6 * LENGTH, tsValue: 90, window, afterMs: 0.1 });
  // Those that answer the second one come less than the shortest loop after it.
  for (let n = 10; n < 16; n++) {
    script.client({ seq: n * LENGTH, length: LENGTH, tsEcho: 90, afterMs: n === 10 ? 19.95 : 0.001 });
  }
  const { inFlight, inFlightDoubt } = bulk(analyzeFrames(script.frames())).direction;
  expect([inFlight!.max, inFlightDoubt]).toEqual([10 * LENGTH, null]);
});

test('from away, what was reported received is no longer in the pipe when its sender knows it', () => {
  const { sender, receiver } = transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, lose: (n) => n % 400 === 399 });
  const near = bulk(analyzeFrames(framesOf(sender))).direction;
  const far = bulk(analyzeFrames(framesOf(receiver))).direction;
  expect(Math.abs(far.pipe!.max / near.pipe!.max - 1)).toBeLessThan(0.05);
  expect(near.pipe!.max).toBeLessThan(0.9 * near.inFlight!.max);
});
