import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import { decodeFrames } from '../../../src/decode/frame.js';
import { Connections } from '../../../src/decode/tcp/connections.js';
import { FrameLog } from '../../../src/decode/tcp/frame-log.js';
import { TcpMetrics } from '../../../src/decode/tcp/metrics/index.js';
import { type PairedCapture, pair } from '../../../src/decode/tcp/pairing.js';
import { expanded, framesOf, type Packet, transfer } from '../../support/conversation.js';
import { batchOf, type CapturedFrame } from '../../support/frames.js';

const MS = 1e6;

function captured(frames: readonly CapturedFrame[], epochNs: bigint, log = new FrameLog()): PairedCapture {
  const connections = new Connections(new AnomalyLog());
  const tcp = new TcpMetrics(new AnomalyLog());
  for (let at = 0; at < frames.length; at += 1000) {
    const batch = batchOf(frames.slice(at, at + 1000), { firstFrame: at + 1 });
    const rows = tcp.nextRows();
    decodeFrames(batch, rows, new AnomalyLog());
    connections.place(batch, rows);
    tcp.push(batch);
    log.push(batch, rows);
  }
  return { log, connections, connection: (id) => tcp.connection(id), epochNs };
}

/** Times of a clock that is `aheadNs` ahead and gains `ppm`. */
const byClock = (packets: readonly Packet[], aheadNs: number, ppm: number): Packet[] =>
  packets.map((packet) => ({ ...packet, tNs: packet.tNs * (1 + ppm / 1e6) + aheadNs }));

describe('two captures of one transfer', () => {
  const run = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, lose: (_, source) => source.next() < 0.02 });

  test('every lost packet is listed with its frame, and no other', () => {
    const { connections, losses } = pair(captured(framesOf(run.sender), 0n), captured(framesOf(run.receiver), 0n));
    expect(losses.rows).toBe(run.truth.lost);
    const [forth] = connections[0]!.directions;
    expect(forth!.sentBytes - forth!.lostBytes).toBe(forth!.arrivedBytes);
    expect(forth!.uncapturedBytes).toBe(0);
    for (const frame of losses.columns['frame']!.values as Float64Array) {
      const sent = run.sender[frame - 1]!;
      expect(run.receiver.some((packet) => packet.fromSender && packet.ipId === sent.ipId)).toBe(false);
    }
  });

  test('the order of the two captures does not matter', () => {
    const [near, far] = [captured(framesOf(run.sender), 0n), captured(framesOf(run.receiver), 0n)];
    expect(pair(far, near).losses.columns).toEqual(pair(near, far).losses.columns);
  });

  test('what the capture at the receiver missed is not called lost', () => {
    const frames = framesOf(run.receiver);
    const missed = new Set([401, 640, 802].filter((n) => run.receiver[n]!.truth === 'new'));
    const once = (n: number): boolean =>
      run.sender.filter(({ fromSender, seq }) => fromSender && seq === run.receiver[n]!.seq).length === 1;
    const kept = frames.filter((_, n) => !missed.has(n) || !once(n));
    const { connections, losses } = pair(captured(framesOf(run.sender), 0n), captured(kept, 0n));
    expect(losses.rows).toBe(run.truth.lost);
    expect(connections[0]!.directions[0]!.uncapturedBytes).toBe(1448 * (frames.length - kept.length));
    expect(frames.length - kept.length).toBeGreaterThan(0);
  });

  test('an offloaded frame at the sender is found again in its segments', () => {
    const big = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, segmentBytes: 14_480, lose: (n) => n % 40 === 7 });
    const count = (packets: Packet[], start: number): Packet[] => {
      let id = start;
      const byOld = new Map<number, number>();
      return packets.map((packet) => {
        if (!packet.fromSender) return packet;
        if (!byOld.has(packet.ipId)) {
          byOld.set(packet.ipId, id & 0xffff);
          id += Math.max(1, Math.ceil(packet.length / 1448));
        }
        return { ...packet, ipId: byOld.get(packet.ipId)! };
      });
    };
    const sender = count(big.sender, 9);
    const ids = new Map(big.sender.map((packet, n) => [packet.ipId, sender[n]!.ipId]));
    const receiver = big.receiver.map((packet) =>
      packet.fromSender ? { ...packet, ipId: ids.get(packet.ipId)! } : packet,
    );
    const { connections } = pair(captured(framesOf(sender), 0n), captured(expanded(framesOf(receiver), 1448), 0n));
    const [forth] = connections[0]!.directions;
    expect(forth!.lostBytes).toBe(
      big.sender
        .filter(
          ({ fromSender, ipId }) =>
            fromSender && !big.receiver.some((other) => other.fromSender && other.ipId === ipId),
        )
        .reduce((sum, { length }) => sum + length, 0),
    );
  });

  test('clocks: offset from both ways, drift over the run', () => {
    const long = transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, slices: { bytes: 20_000, everyNs: 100 * MS } });
    const far = byClock(long.receiver, 0, 50);
    const { clock } = pair(captured(framesOf(long.sender), 1000n), captured(framesOf(far), 7_001_000n));
    expect(Math.abs(clock!.offsetNs - 7 * MS)).toBeLessThan(0.1 * MS);
    expect(clock!.driftPpm!).toBeGreaterThan(45);
    expect(clock!.driftPpm!).toBeLessThan(55);
    expect(clock!.roundTripMinNs / MS).toBeCloseTo(20, 0);
  });

  test('clocks: where the path is not empty again and again, nothing is said of their drift', () => {
    // After a second a queue before the receiver begins to grow, up to 400 ms.
    const long = transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, slices: { bytes: 20_000, everyNs: 100 * MS } });
    const queued = (packet: Packet): Packet => ({
      ...packet,
      tNs: packet.tNs + Math.max(0, packet.tNs - 1000 * MS) / 35,
    });
    const near = long.sender.map((packet) => (packet.fromSender ? packet : queued(packet)));
    near.sort((a, b) => a.tNs - b.tNs);
    const { clock } = pair(captured(framesOf(near), 0n), captured(framesOf(long.receiver.map(queued)), 0n));
    expect(clock!.driftPpm).toBe(null);
    expect(Math.abs(clock!.offsetNs)).toBeLessThan(MS);
    expect(clock!.roundTripMinNs / MS).toBeCloseTo(20, 0);
  });

  test('clocks: of frames that go one way first and only then the other, nothing is said of their drift', () => {
    const long = transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, slices: { bytes: 20_000, everyNs: 100 * MS } });
    const oneWay = (packets: readonly Packet[]): CapturedFrame[] =>
      framesOf(packets.filter(({ fromSender, tNs }) => fromSender === tNs < 7000 * MS));
    const { clock } = pair(captured(oneWay(long.sender), 0n), captured(oneWay(long.receiver), 0n));
    expect(clock!.driftPpm).toBe(null);
    expect(Math.abs(clock!.offsetNs)).toBeLessThan(MS);
  });

  test('captures that have no connection in common yield nothing', () => {
    const { connections, clock, losses } = pair(captured(framesOf(run.sender), 0n), captured([], null as never));
    expect([connections, clock, losses.rows]).toEqual([[], null, 0]);
  });

  test('frames beyond the limit are counted, not kept', () => {
    const log = new FrameLog(10);
    captured(framesOf(run.sender), 0n, log);
    expect([log.count, log.lost]).toEqual([10, run.sender.length - 10]);
  });
});
