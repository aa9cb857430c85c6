import { describe, expect, test } from 'vitest';
import { framesOf, transfer } from '../../support/conversation.js';
import { Script } from '../../support/script.js';
import { analyzeFrames, bulk } from '../../support/tcp-analysis.js';

const MSS = 1448;
const RTT_MS = 40;

interface Arrival {
  readonly afterMs: number;
  readonly segment: number;
  /** Milliseconds of the sender's clock, and the one of the receiver's that it echoes. */
  readonly sentMs: number;
  readonly knowsMs: number;
}

/**
 * A receiver's capture of a path of 40 ms over IPv6, all times from the first data frame, both clocks running alike:
 * segment 1 is missing, segments 2 to 5 report it, 6 ms apart. Then what is in `arrivals`.
 */
function retransmitted(arrivals: readonly Arrival[]): number {
  const script = new Script()
    .client({ flags: 'S', seq: -1, tsValue: 1000 })
    .server({ flags: 'SA', seq: -1, tsValue: 5000, tsEcho: 1000, afterMs: 0.02 })
    .client({ tsValue: 1039, tsEcho: 5000, afterMs: RTT_MS });
  let nowMs = 0;
  let acked = 0;
  const arrive = ({ afterMs, segment, sentMs, knowsMs }: Arrival): void => {
    script.client({ seq: segment * MSS, length: MSS, tsValue: 1040 + sentMs, tsEcho: 5040 + knowsMs, afterMs });
    nowMs += afterMs;
    if (segment === acked) acked = segment === 1 ? 6 : segment + 1;
    const blocks = segment > acked ? ([[2 * MSS, (segment + 1) * MSS]] as const) : [];
    const tsValue = 5040 + Math.floor(nowMs);
    script.server({ ack: acked * MSS, tsValue, tsEcho: 1040 + sentMs, blocks: [...blocks], afterMs: 0.02 });
  };
  arrive({ afterMs: 0, segment: 0, sentMs: -20, knowsMs: -40 });
  for (const n of [0, 1, 2, 3]) arrive({ afterMs: 6, segment: 2 + n, sentMs: -14 + 6 * n, knowsMs: -40 });
  for (const arrival of arrivals) arrive(arrival);
  return analyzeFrames(script.frames({ ipVersion: 6 })).results.connections[0]!.directions[0].retransmittedSegments;
}

describe('a retransmission that never arrives, over IPv6', () => {
  /** New data, sent when the sender had heard of segment 5. */
  const informed = { afterMs: 41, segment: 6, sentMs: 45, knowsMs: 24 };

  test('new data from a sender that knew of the loss says that one was sent before it', () => {
    expect(retransmitted([informed, { afterMs: 45, segment: 1, sentMs: 90, knowsMs: 65 }])).toBe(2);
  });

  test('new data from a sender that did not know yet says nothing', () => {
    const ignorant = { afterMs: 3, segment: 6, sentMs: 7, knowsMs: -30 };
    expect(retransmitted([ignorant, { afterMs: 38, segment: 1, sentMs: 45, knowsMs: 24 }])).toBe(1);
  });

  test('one that was only overtaken is not counted twice', () => {
    expect(retransmitted([informed, { afterMs: 0.2, segment: 1, sentMs: 45, knowsMs: 24 }])).toBe(1);
  });

  test('new data that slips out between two repetitions, half a round trip before this one: it was not repeated twice', () => {
    expect(retransmitted([informed, { afterMs: 20, segment: 1, sentMs: 65, knowsMs: 24 }])).toBe(1);
  });

  test('an original of the same tick as the frame that overtook it, however late, was not repeated at all', () => {
    expect(retransmitted([{ afterMs: 45, segment: 1, sentMs: -14, knowsMs: -40 }])).toBe(0);
    expect(retransmitted([{ afterMs: 45, segment: 1, sentMs: 45, knowsMs: 24 }])).toBe(1);
  });

  test('what follows at once says no more; once the sender knew of that loss as well, it is the next', () => {
    const next = { afterMs: 1, segment: 7, sentMs: 46, knowsMs: 24 };
    const later = { afterMs: 15, segment: 8, sentMs: 60, knowsMs: 24 };
    const again = { afterMs: 45, segment: 9, sentMs: 105, knowsMs: 81 };
    const fill = { afterMs: 45, segment: 1, sentMs: 150, knowsMs: 126 };
    expect(retransmitted([informed, next, later, fill])).toBe(2);
    expect(retransmitted([informed, next, later, again, fill])).toBe(3);
  });
});

test('the count is a lower bound from away where no identification counts on', () => {
  const { sender, receiver } = transfer({ bytes: 1_000_000, oneWayNs: 1e7, lose: (n) => n % 100 === 50 });
  const atLeast = (packets: typeof sender, ipVersion: 4 | 6): boolean =>
    bulk(analyzeFrames(framesOf(packets, { ipVersion }))).direction.retransmittedAtLeast;
  expect([atLeast(receiver, 6), atLeast(receiver, 4), atLeast(sender, 6)]).toEqual([true, false, false]);
  const { receiver: lossless } = transfer({ bytes: 100_000, oneWayNs: 1e7 });
  expect(atLeast(lossless, 6)).toBe(false);
});
