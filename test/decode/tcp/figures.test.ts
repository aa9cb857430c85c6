// Figures of a direction that follow from others in no obvious way, against what the simulated path did.
import { describe, expect, test } from 'vitest';
import { FrameLog } from '../../../src/decode/tcp/frame-log.js';
import { type PairedCapture, pair } from '../../../src/decode/tcp/pairing.js';
import { framesOf, type Packet, transfer } from '../../support/conversation.js';
import { Script } from '../../support/script.js';
import { analyzeFrames, bulk } from '../../support/tcp-analysis.js';

const MS = 1e6;
const MSS = 1448;

test.each([1, 2, 3, 4])('retransmissions that never reached the capture point are inferred, seed %i', (seed) => {
  const lossy = (share: number) =>
    transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, seed, lose: (_, source) => source.next() < share });
  const run = lossy(0.04);
  const again = ({ truth }: Packet): boolean => ['fast', 'timeout', 'probe'].includes(truth);
  const lost = run.sender.filter(again).length - run.receiver.filter(again).length;
  const { direction } = bulk(analyzeFrames(framesOf(run.receiver)));
  expect(lost).toBeGreaterThan(1);
  expect([direction.inferredRetransmissions, direction.retransmittedSegments]).toEqual([lost, run.truth.retransmitted]);
  expect(bulk(analyzeFrames(framesOf(run.sender))).direction.inferredRetransmissions).toBe(0);
  // With more loss some arrive where their originals never did, at the end of a burst, and are inferred as well.
  const heavy = lossy(0.08);
  const far = bulk(analyzeFrames(framesOf(heavy.receiver))).direction;
  expect(far.retransmittedSegments).toBe(heavy.truth.retransmitted);
});

test('an episode of loss lasts from the first retransmission until all that was out then has arrived', () => {
  const script = new Script().open();
  for (let n = 0; n < 6; n++) script.client({ seq: n * MSS, length: MSS, afterMs: 0.01 });
  script
    .server({ ack: 0, blocks: [[MSS, 6 * MSS]], afterMs: 20 })
    .client({ length: MSS, afterMs: 0.01, truth: 'fast' });
  script.server({ ack: 6 * MSS, afterMs: 20 });
  const { columns, rows } = analyzeFrames(script.frames()).results.episodes;
  expect(rows).toBe(1);
  expect(columns['durationNs']!.values[0]).toBeCloseTo(20 * MS, -5);
});

test('the handshake takes the whole round trip, wherever it is watched', () => {
  for (const [there, back] of [
    [40, 0.01],
    [15, 25],
    [0.01, 40],
  ] as const) {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: there });
    const { connection } = bulk(analyzeFrames(script.client({ afterMs: back }).client({ length: 10 }).frames()));
    expect(connection.handshakeRttNs! / MS).toBeCloseTo(there + back, 6);
  }
});

test('how much one acknowledgement covers, and how many cover more than two segments', () => {
  const script = new Script().open();
  let seq = 0;
  for (const segments of [1, 2, 2, 5]) {
    for (let n = 0; n < segments; n++, seq += MSS) script.client({ seq, length: MSS, afterMs: 0.01 });
    script.server({ ack: seq, afterMs: 20 });
  }
  const { rhythm } = bulk(analyzeFrames(script.frames())).direction;
  expect([rhythm!.bytesPerAck, rhythm!.stretchAckShare]).toEqual([(10 * MSS) / 4, 1 / 4]);
});

describe('two captures of one transfer', () => {
  const captured = (packets: readonly Packet[]): PairedCapture => {
    const log = new FrameLog();
    const { connections, connection } = analyzeFrames(framesOf(packets), {
      watch: (batch, rows) => log.push(batch, rows),
    });
    return { log, connections, connection, epochNs: 0n };
  };
  const between = (run: ReturnType<typeof transfer>) =>
    pair(captured(run.sender), captured(run.receiver)).connections[0]!.directions[0]!;

  test('bytes that the network doubled', () => {
    const run = transfer({ bytes: 1_000_000, oneWayNs: 10 * MS, duplicate: (n) => n % 50 === 7 });
    expect(run.truth.duplicated).toBeGreaterThan(5);
    expect(between(run).duplicatedBytes).toBe(run.truth.duplicated * MSS);
  });

  test('one-way delay above its minimum', () => {
    const late = transfer({
      bytes: 1_000_000,
      rate: 1e9,
      oneWayNs: 10 * MS,
      delay: (n) => (n % 20 === 7 ? 5 * MS : 0),
    });
    const { min, p50, max } = between(late).delayVariationNs!;
    expect([min < 0.1 * MS, p50 < MS, Math.abs(max / MS - 5) < 1]).toEqual([true, true, true]);
  });
});
