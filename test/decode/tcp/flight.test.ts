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
  script.server({ flags: 'SA', seq: -1, ack: 0, tsValue: 7, afterMs: 0.01 });
  script.client({ length: 1000, tsEcho: 7, afterMs: 0.4 }).server({ ack: 1000, tsValue: 7, afterMs: 0.01 });
  script.client({ seq: 1000, length: 1000, tsEcho: 7, afterMs: 0.05 });
  const { connection, direction } = bulk(analyzeFrames(script.frames()));
  expect(connection.vantage).toBe('destination');
  expect(direction.inFlight!.max).toBe(2000);
});
