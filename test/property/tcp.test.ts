// What must hold for any TCP capture, whatever the right figures are: (a) to (i) of the TCP reference's validation section.
import { describe, expect, test } from 'vitest';
import type { TcpDirection, TcpResults } from '../../src/decode/tcp/results.js';
import {
  cut,
  doubled,
  expanded,
  framesOf,
  shifted,
  type Transfer,
  type TransferOptions,
  transfer,
} from '../support/conversation.js';
import type { CapturedFrame } from '../support/frames.js';
import { type Random, random } from '../support/random.js';
import { analyzeFrames, bulk, framesOfFile } from '../support/tcp-analysis.js';

const MS = 1e6;
const chance =
  (share: number) =>
  (_: number, source: Random): boolean =>
    source.next() < share;

/** Paths that differ in what they do to a transfer. */
const PATHS: Record<string, TransferOptions> = {
  clean: {},
  loss: { lose: chance(0.01) },
  reordering: { delay: (_, source) => (source.next() < 0.02 ? MS : 0) },
  duplication: { duplicate: chance(0.01) },
  'heavy loss': { lose: chance(0.03) },
  outage: { lose: (n) => n >= 300 && n < 420 },
  // A fast line: within a tick of the timestamps a slow one hides which acknowledgement had arrived.
  'slow reader': { bufferBytes: 100_000, readRate: 1_000_000, rate: 1e9 },
  'lost acknowledgements': { loseAck: chance(0.2), lose: chance(0.003) },
  'loss without SACK': { sack: false, lose: chance(0.003) },
  'loss without timestamps': { timestamps: false, lose: chance(0.01) },
  'sliced application': { slices: { bytes: 150_000, everyNs: 100 * MS } },
};
/** How far the flight rebuilt at the receiver may be off where its clock, the timestamps, is too coarse or absent. */
const FLIGHT_TOLERANCE: Record<string, number> = { 'slow reader': 0.2, 'loss without timestamps': 0.1 };
/** The same for the shares of time: with little news of what the sender had, application and congestion look alike. */
const LIMIT_TOLERANCE: Record<string, number> = {
  reordering: 0.08,
  'heavy loss': 0.12,
  outage: 0.08,
  'lost acknowledgements': 0.08,
};
const SEEDS = [1, 2, 3];
const CASES = Object.keys(PATHS).flatMap((path) => SEEDS.map((seed) => ({ path, seed })));

const run = (path: string, seed: number): Transfer =>
  transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, seed, ...PATHS[path] });

/** Everything of a direction that must not depend on how the frames were numbered, split or copied. */
function facts(frames: readonly CapturedFrame[], setting = {}): unknown {
  const { results } = analyzeFrames(frames, setting);
  return results.connections.map(({ directions, handshakeRttNs, vantage, endedBy, options }) => ({
    directions,
    handshakeRttNs,
    vantage,
    endedBy,
    options,
  }));
}

/** The same without what counts copies. */
const withoutCopies = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (key, part) => (['frames', 'captureDuplicates', 'endNs'].includes(key) ? undefined : part)),
  );

describe.each(CASES)('$path, seed $seed', ({ path, seed }) => {
  const { sender, receiver, truth } = run(path, seed);

  test('(a) every frame captured twice changes nothing but the count of copies', () => {
    // Copies that the network made cannot be told from copies of the capture once all frames have some.
    for (const packets of truth.duplicated > 0 ? [sender] : [sender, receiver]) {
      const frames = framesOf(packets);
      const twice = analyzeFrames(doubled(frames)).results.connections[0]!.directions;
      const once = analyzeFrames(frames).results.connections[0]!.directions;
      expect(withoutCopies(twice.map(strip))).toEqual(withoutCopies(once.map(strip)));
      expect(twice[0].captureDuplicates).toBe(once[0].frames);
    }
  });

  test('(b) sequence numbers that wrap anywhere change nothing', () => {
    const frames = framesOf(receiver, { initialSeq: 0, initialAck: 0 });
    const plain = facts(frames);
    const source = random(seed);
    for (let round = 0; round < 3; round++) {
      expect(facts(shifted(frames, 2 ** 32 - 1 - source.below(2_000_000)))).toEqual(plain);
    }
  });

  test('(c) batches of any size give the same', () => {
    const frames = framesOf(sender);
    const whole = facts(frames);
    for (const batchFrames of [1, 7, 500]) expect(facts(frames, { batchFrames })).toEqual(whole);
  });

  test('(d) frames the capture lost become unseen bytes, not retransmissions', () => {
    const source = random(seed + 100);
    const frames = framesOf(sender);
    const whole = bulk(analyzeFrames(frames)).direction;
    let removed = 0;
    const kept = frames.filter((_, n) => {
      const packet = sender[n]!;
      if (packet.truth !== 'new' || packet.seq + packet.length > 1_900_000 || source.next() > 0.01) return true;
      // Only segments sent once: of others the capture still holds a copy.
      if (sender.filter((other) => other.fromSender && other.seq === packet.seq).length > 1) return true;
      removed += packet.length;
      return false;
    });
    const thinned = bulk(analyzeFrames(kept)).direction;
    expect(thinned.unseenBytes).toBeGreaterThanOrEqual(0.95 * removed);
    expect(thinned.unseenBytes).toBeLessThanOrEqual(removed);
    expect(thinned.retransmittedSegments).toBe(whole.retransmittedSegments);
  });

  test('(e) both ends tell the same story', () => {
    const near = bulk(analyzeFrames(framesOf(sender)));
    const far = bulk(analyzeFrames(framesOf(receiver)));
    expect([near.connection.vantage, far.connection.vantage]).toEqual(['source', 'destination']);
    expect(near.direction.retransmittedSegments).toBe(truth.retransmitted);
    expect(Math.abs(far.direction.retransmittedSegments - truth.retransmitted)).toBeLessThanOrEqual(
      Math.max(2, 0.01 * truth.retransmitted),
    );
    // Over IPv6 no identification tells of retransmissions that were lost themselves.
    const bare = bulk(analyzeFrames(framesOf(receiver, { ipVersion: 6 }))).direction;
    expect(Math.abs(bare.retransmittedSegments - truth.retransmitted)).toBeLessThanOrEqual(
      Math.max(2, 0.01 * truth.retransmitted),
    );
    const told = PATHS[path]!.timestamps !== false;
    expect(far.direction.limitedBy !== null).toBe(told);
    for (const [limit, share] of told ? Object.entries(near.direction.limitedBy!) : []) {
      const other = far.direction.limitedBy![limit as keyof typeof near.direction.limitedBy];
      expect([limit, Math.abs(other - share) < (LIMIT_TOLERANCE[path] ?? 0.05)]).toEqual([limit, true]);
    }
    const tolerance = FLIGHT_TOLERANCE[path] ?? 0.05;
    expect(Math.abs(far.direction.inFlight!.max / near.direction.inFlight!.max - 1)).toBeLessThan(tolerance);
  });

  test('(f) an offloaded frame counts as the segments it becomes', () => {
    const small = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, seed, ...PATHS[path], segmentBytes: 14_480 });
    const merged = framesOf(small.sender.map((packet, n) => ({ ...packet, ipId: ids(small.sender)[n]! })));
    const one = bulk(analyzeFrames(merged)).direction;
    const many = bulk(analyzeFrames(expanded(merged, 1448))).direction;
    expect(one.wireSegments).toBe(many.wireSegments);
    expect(one.uniqueBytes).toBe(many.uniqueBytes);
    expect(one.payloadBytes).toBe(many.payloadBytes);
    expect(one.retransmittedSegments).toBe(many.retransmittedSegments);
    expect(one.retransmittedBytes).toBe(many.retransmittedBytes);
    expect(one.inFlight!.max).toBe(many.inFlight!.max);
    for (const [limit, share] of Object.entries(one.limitedBy!)) {
      const other = many.limitedBy![limit as keyof typeof one.limitedBy];
      expect([limit, Math.abs(other - share) < 0.05]).toEqual([limit, true]);
    }
  });

  test('(g) frames cut after the fixed headers keep all that does not depend on options', () => {
    const frames = framesOf(sender);
    const whole = bulk(analyzeFrames(frames));
    for (const length of [54, 66, 96]) {
      const short = bulk(analyzeFrames(cut(frames, length)));
      for (const key of ['payloadBytes', 'uniqueBytes', 'frames', 'dataFrames', 'retransmittedSegments'] as const) {
        expect([length, key, short.direction[key]]).toEqual([length, key, whole.direction[key]]);
      }
      expect(short.connection.vantage).toBe('source');
    }
    expect(bulk(analyzeFrames(cut(frames, 54))).connection.options).toEqual({
      mss: [null, null],
      windowScale: [null, null],
      sack: null,
      timestamps: null,
    });
  });

  test('(h) a capture that begins with the peer gives the mirrored connection, nothing else', () => {
    const frames = framesOf(receiver);
    const begin = receiver.findIndex((packet, n) => n > 20 && packet.truth === 'ack' && receiver[n + 1]!.fromSender);
    const one = bulk(analyzeFrames(frames.slice(begin + 1)));
    const other = bulk(analyzeFrames(frames.slice(begin)));
    expect([one.side, other.side]).toEqual([0, 1]);
    expect([one.connection.vantage, other.connection.vantage]).toEqual(['destination', 'source']);
    for (const key of ['payloadBytes', 'uniqueBytes', 'retransmittedSegments', 'outOfOrderSegments'] as const) {
      expect([key, other.direction[key]]).toEqual([key, one.direction[key]]);
    }
  });

  test('captures of both hosts put together count nothing twice', () => {
    if (truth.duplicated > 0) return; // Copies of the network are then taken for the capture's.
    for (const ipVersion of PATHS[path]!.timestamps === false ? ([4] as const) : ([4, 6] as const)) {
      const frames = framesOf(sender, { ipVersion });
      const one = bulk(analyzeFrames(frames)).direction;
      const both = bulk(analyzeFrames(inTime(frames, framesOf(receiver, { ipVersion })))).direction;
      for (const key of ['payloadBytes', 'uniqueBytes', 'unseenBytes', 'throughput', 'goodput'] as const) {
        expect([key, both[key] / (one[key] || 1)]).toEqual([key, expect.closeTo(one[key] === 0 ? 0 : 1, 2)]);
      }
      expect(Math.abs(both.retransmittedSegments - truth.retransmitted)).toBeLessThanOrEqual(1);
      expect(both.captureDuplicates).toBeGreaterThan(0.9 * (one.frames - truth.lost) - 40);
    }
  });

  test('neighbours that the capture put in the wrong order are no retransmissions', () => {
    for (const packets of [sender, receiver]) {
      for (const ipVersion of [4, 6] as const) {
        const frames = framesOf(packets, { ipVersion });
        const { direction } = bulk(analyzeFrames(frames));
        const swapped = bulk(analyzeFrames(withNeighboursSwapped(frames))).direction;
        expect(swapped.retransmittedSegments).toBe(direction.retransmittedSegments);
        expect(swapped.uniqueBytes).toBe(direction.uniqueBytes);
        expect(swapped.unseenBytes).toBe(direction.unseenBytes);
      }
    }
  });

  test('(i) the sums agree', () => {
    for (const packets of [sender, receiver]) {
      const { results } = analyzeFrames(framesOf(packets));
      const { directions } = results.connections[0]!;
      for (const direction of directions) checkSums(direction);
      if (directions[0].limitedBy) {
        const spanNs = directions[0].lastDataNs! - directions[0].firstDataNs!;
        // The very last frame may be a copy, which nobody waited for.
        expect(chargedNs(results.timeline) / spanNs).toBeCloseTo(1, 3);
      }
    }
  });
});

/** Frames of two captures in the order of time. */
const inTime = (...captures: readonly CapturedFrame[][]): CapturedFrame[] =>
  captures.flat().sort((a, b) => a.tNs! - b.tNs!);

/** Every tenth frame and the next exchanged, times and all, where they are at most 100 µs apart. */
function withNeighboursSwapped(frames: readonly CapturedFrame[]): CapturedFrame[] {
  const out = frames.slice();
  for (let n = 11; n + 1 < out.length; n += 10) {
    const [a, b] = [out[n]!, out[n + 1]!];
    if (b.tNs! - a.tNs! > 100e3) continue;
    out[n] = { ...b, tNs: a.tNs! };
    out[n + 1] = { ...a, tNs: b.tNs! };
  }
  return out;
}

/** What depends on the time of the copies, a microsecond later, is compared elsewhere. */
function strip(direction: TcpDirection): unknown {
  const { rhythm, limitedBy, limitSummary, comb, rttNs, frames, networkDuplicates, ...others } = direction;
  const { wireBytes, wireRate, overheads, ...rest } = others;
  return rest;
}

/** IP identifications as a sender counts them whose frames are ten segments each. */
function ids(packets: Transfer['sender']): number[] {
  let next = 1;
  return packets.map((packet) => {
    const id = next;
    if (packet.fromSender) next = (next + Math.max(1, Math.ceil(packet.length / 1448))) & 0xffff;
    return packet.fromSender ? id : packet.ipId;
  });
}

/** Time that the states of direction 0 got in the bins. */
function chargedNs({ columns }: TcpResults['timeline']): number {
  const direction = columns['direction']!.values;
  const limits = Object.keys(columns).filter((name) => name.startsWith('limit'));
  return limits
    .flatMap((name) => [...(columns[name]!.values as Float64Array)].filter((_, bin) => direction[bin] === 0))
    .reduce((sum, ns) => sum + ns, 0);
}

function checkSums(direction: TcpDirection): void {
  const { limitedBy, retransmissions, retransmittedSegments } = direction;
  if (limitedBy) {
    const shares = Object.values(limitedBy);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(-1e-9);
  }
  const { fast, timeout, tailLossProbe, other, spurious } = retransmissions;
  expect(fast + timeout + tailLossProbe + other).toBe(retransmittedSegments);
  expect(spurious).toBeLessThanOrEqual(retransmittedSegments);
  expect(direction.uniqueBytes).toBeLessThanOrEqual(direction.payloadBytes);
  if (direction.ackedBytes !== null) {
    expect(direction.ackedBytes).toBeLessThanOrEqual(direction.uniqueBytes + direction.unseenBytes);
  }
}

test.each(['probes', 'rate-dip', 'policer', 'stopped', 'slow-thread'])(
  'test/recordings/%s.pcap.zst: tables do not depend on how frames are cut into batches',
  async (name) => {
    const frames = await framesOfFile(`test/recordings/${name}.pcap.zst`);
    const { results } = analyzeFrames(frames);
    expect(analyzeFrames(frames, { batchFrames: 61 }).results).toEqual(results);
    expect(results.episodes.rows).toBeGreaterThan(0);
  },
);
