// What fuzzing found, each as small as it gets.
import { expect, test } from 'vitest';
import { Analysis, type Results } from '../../src/analyze.js';
import { AnomalyLog } from '../../src/anomaly.js';
import { mainChannel } from '../../src/migration-stream/main-channel.js';
import { MigrationState } from '../../src/migration-stream/migration.js';
import { PAGE_NORMAL } from '../../src/migration-stream/records.js';
import { Sightings } from '../../src/migration-stream/sightings.js';
import { MultifdSink, SideChannelSink } from '../../src/migration-stream/sinks.js';
import { batchOf, captureInterface, ethernet, frame, ipv4, tcp } from '../support/frames.js';
import { ascii, be32, decodeChunks, PAGE, range, stream } from '../support/migration-stream.js';
import { random } from '../support/random.js';

/**
 * One connection whose client sends `bytes` and ends; frame `i` is stamped `stamp(i)`, the capture lost number `lost` and the
 * first `ahead` bytes of the stream.
 */
function sent(bytes: Uint8Array, stamp = (i: number): number => i * 10_000, lost = -1, ahead = 0): Results {
  const client = (offset: number, flags: string, payload: Uint8Array = new Uint8Array(0)): Uint8Array =>
    frame(ethernet(), ipv4(), tcp({ seq: 1 + offset, ack: 1, flags }, payload));
  const frames = [client(-1, 'S')];
  for (let at = 0; at < bytes.length; at += 1400) frames.push(client(ahead + at, 'A', bytes.subarray(at, at + 1400)));
  frames.push(client(ahead + bytes.length, 'FA'));
  const analysis = new Analysis();
  const timed = frames.map((each, i) => ({ bytes: each, tNs: stamp(i) }));
  analysis.push(batchOf(timed.filter((_, i) => i !== lost)));
  return analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
}

const memory = (pages: number) =>
  stream()
    .header()
    .ramStart([{ name: 'pc.ram', length: 64 * PAGE }])
    .part((ram) => ram.pages('pc.ram', range(0, pages)));

test('a damaged description that announces more than follows takes nothing from the pages before it', () => {
  const pages = memory(8).end().eof().build();
  const lying = memory(8)
    .end()
    .eof()
    .raw([6], be32(500_000), ascii(`{"devices${' '.repeat(6000)}`))
    .build();
  const inside = 3 + Math.floor(pages.length / 1400);
  const [migration] = sent(lying, undefined, inside).migration.migrations;
  const honest = sent(memory(8).end().eof().build()).migration.migrations[0]!;
  expect(migration!.pages.normal).toBe(8);
  expect(migration!.bytes.ramRecords).toBe(honest.bytes.ramRecords);
});

test('a last page that is cut off counts as far as it came', () => {
  const whole = memory(8).build();
  const [migration] = sent(whole.subarray(0, whole.length - 13 - 1000)).migration.migrations;
  const [full] = sent(whole).migration.migrations;
  expect(full!.bytes.ramRecords - migration!.bytes.ramRecords).toBe(1000);
});

test('rounds end no sooner than they begin, although time steps back', () => {
  const stepping = memory(40)
    .part((ram) => ram.pages('pc.ram', range(0, 40)))
    .part((ram) => ram.pages('pc.ram', range(0, 40)));
  for (const at of [1, 20, 60, 130]) {
    const { rounds } = sent(stepping.build(), (i) => (i < at ? 5e9 + i * 1e4 : i * 1e4)).migration.migrations[0]!;
    for (const round of rounds) expect(round.endNs, `back at ${at}`).toBeGreaterThanOrEqual(round.startNs);
  }
});

test('shares of time stay shares where frames of the two ways come out of order', () => {
  const data = (offset: number): Uint8Array =>
    frame(ethernet(), ipv4(), tcp({ seq: 1 + offset, ack: 1 }, 'x'.repeat(1000)));
  const answer = (acked: number, window: number): Uint8Array =>
    frame(
      ethernet(),
      ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
      tcp({ srcPort: 4444, dstPort: 40_000, seq: 1, ack: 1 + acked, window }),
    );
  const analysis = new Analysis();
  const frames = [
    { bytes: data(0), tNs: 0 },
    { bytes: answer(1000, 60_000), tNs: 1e6 },
    { bytes: data(1000), tNs: 2e6 },
    { bytes: answer(2000, 0), tNs: 5e9 },
    { bytes: answer(2000, 60_000), tNs: 6e9 },
    { bytes: data(2000), tNs: 1e9 },
    { bytes: data(3000), tNs: 7e9 },
  ];
  // One queue's frames a batch each, as a merge of queues delivers them.
  frames.forEach((each, i) => void analysis.push(batchOf([each], { firstFrame: i + 1 })));
  const { connections } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).tcp;
  const shares = Object.values(connections[0]!.directions[0].limitedBy!);
  for (const share of shares) expect(share).toBeGreaterThanOrEqual(0);
  expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(1, 9);
});

test('rounds estimated from single headers end no sooner than they begin, although memory seems to start late', () => {
  const sightings = new Sightings();
  for (let i = 1; i < 30; i++) sightings.add(i * 4 * (PAGE + 8), 50 + i, 0, (i * 4) % 60);
  const rounds = sightings.rounds({
    pageSize: PAGE,
    totalPages: 60,
    start: { offset: 0, tNs: 1017 },
    end: { offset: 120 * (PAGE + 8), tNs: 1000 },
    fromStart: true,
    complete: true,
  });
  expect(rounds.length).toBeGreaterThan(1);
  for (const round of rounds) expect(round.endNs).toBeGreaterThanOrEqual(round.startNs);
  expect(rounds.at(-1)!.endNs).toBe(1000);
});

test('rounds estimated from any headers follow one another', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { below } = random(seed);
    const sightings = new Sightings();
    let offset = 0;
    for (let i = 0; i < 20; i++) sightings.add((offset += below(60 * PAGE)), offset, 0, below(60));
    const start = { offset: 0, tNs: 0 };
    const end = { offset: offset + below(3) * below(100 * PAGE), tNs: offset };
    const shape = { pageSize: PAGE, totalPages: 60, fromStart: seed % 3 === 0, complete: seed % 2 === 0 };
    const rounds = sightings.rounds({ ...shape, start, end });
    let beforeNs = 0;
    expect(rounds.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(end.offset);
    for (const { startNs, endNs } of rounds) {
      expect(startNs, `seed ${seed}`).toBeGreaterThanOrEqual(beforeNs);
      expect(endNs, `seed ${seed}`).toBeGreaterThanOrEqual(startNs);
      beforeNs = endNs;
    }
  }
});

test('multifd channels without their main channel: every page belongs to a round', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  const lane = state.joinMultifd(false);
  for (let i = 0; i < 3; i++) {
    state.multifdPage(lane, i, 0, i * PAGE, PAGE_NORMAL, PAGE);
    state.multifdSync(lane);
  }
  const { pages, rounds } = state.finish();
  expect(pages.normal).toBe(3);
  expect(rounds.reduce((sum, round) => sum + round.pages.normal, 0)).toBe(3);
});

test('a multifd packet that is cut off counts as many bytes as came', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  const sink = new MultifdSink(() => state, false);
  for (const offset of [0, 2 * PAGE]) {
    for (const page of [0, 1]) sink.page(offset, 1, 0, offset + page * PAGE, PAGE_NORMAL, PAGE);
  }
  sink.streamEnd(3 * PAGE);
  expect(state.finish().ramRecordBytes).toBe(3 * PAGE);
});

test('device state on a multifd channel that is cut off counts as far as it came', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  const sink = new MultifdSink(() => state, false);
  for (const offset of [0, 5000]) sink.deviceState({ offset, tNs: 1, frame: 1 }, 'vfio', 0, 5000);
  sink.streamEnd(7000);
  expect(state.finish().deviceStateBytes).toBe(7000);
});

test('a page of the preempt channel that is cut off counts as far as it came', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  const sink = new SideChannelSink(state);
  for (const offset of [0, PAGE]) sink.page(offset, 1, 0, offset, PAGE_NORMAL, PAGE);
  sink.streamEnd(PAGE + 10);
  expect(state.finish().ramRecordBytes).toBe(PAGE + 10);
});

test('a page of the main channel that is cut off counts as far as it came, beside multifd channels too', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  state.joinMultifd(false);
  state.page(100, 1, 0, 0, PAGE_NORMAL, PAGE);
  state.streamEnd(150, 2);
  expect(state.finish().ramRecordBytes).toBe(50);
});

test('a stream whose first bytes come late and far ahead: its phases are no longer than itself', () => {
  const { migration } = sent(memory(8).end().eof().build(), undefined, undefined, 4 << 20);
  const [{ phases, bytes }] = migration.migrations as [(typeof migration.migrations)[0]];
  expect(phases.reduce((sum, phase) => sum + phase.bytes, 0)).toBe(bytes.total);
});

test('of two streams of one migration, a page cut off is taken back once', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  state.page(100, 1, 0, 0, PAGE_NORMAL, PAGE);
  state.streamEnd(150, 2);
  state.streamEnd(120, 2);
  expect(state.finish().ramRecordBytes).toBe(50);
});

test('a stream that was searched in vain tells nothing of a migration, its end neither', () => {
  expect(decodeChunks(mainChannel, [new Uint8Array(50_000).fill(0x55)], { joined: true }).records).toEqual([]);
});

test('a page request seen later than the stream: post-copy ends no sooner than it begins', () => {
  const state = new MigrationState(new AnomalyLog(), 0, 0);
  state.blind(0, 1000, 5);
  state.streamEnd(1000, 5);
  const request = { block: 'pc.ram', start: 0, length: PAGE };
  state.reply({ offset: 0, tNs: 900, frame: 2, name: 'req-pages', value: null, request });
  const { postcopy } = state.finish();
  expect(postcopy!.endNs).toBeGreaterThanOrEqual(postcopy!.startNs);
});

test('TCP headers that the capture cut off before their checksum are not looked at for it', () => {
  const data = frame(ethernet(), ipv4(), tcp({ seq: 1 }, 'x'.repeat(100)));
  for (let length = 34; length < 60; length++) {
    const analysis = new Analysis();
    analysis.push(batchOf([{ bytes: data.slice(0, length), wire: data.length }]));
    expect(analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).frames).toBe(1);
  }
});

// Twins seen in another place are the capture’s from the start; they were counted among those that may be revised and so
// taken away twice.
test('a short connection captured on two interfaces: every frame counts once', () => {
  const interfaces = [captureInterface(), captureInterface()];
  const data = Array.from({ length: 8 }, (_, i) =>
    frame(ethernet(), ipv4({ id: 1 + i }), tcp({ seq: 1 + i * 1000 }, 'x'.repeat(1000))),
  );
  const analysis = new Analysis();
  const both = data.flatMap((bytes) => [
    { bytes, iface: 0 },
    { bytes, iface: 1 },
  ]);
  analysis.push(batchOf(both, { interfaces }));
  const [connection] = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).tcp.connections;
  const { dataFrames, payloadBytes, uniqueBytes, captureDuplicates } = connection!.directions[0];
  expect({ dataFrames, payloadBytes, uniqueBytes, captureDuplicates }).toEqual({
    ...{ dataFrames: 8, payloadBytes: 8000, uniqueBytes: 8000, captureDuplicates: 8 },
  });
});

test('a version that is not known is said, and the migration is not overlooked', () => {
  const bytes = memory(8).end().eof().build();
  bytes[7] = 4;
  const { migration, anomalies } = sent(bytes);
  expect(migration.migrations[0]!.pages.normal).toBe(8);
  expect(anomalies.map(({ code }) => code)).toContain('stream/bad-header');
});

// A segment that repeats bytes and brings new ones is no copy made by the capture.
test('bytes that are new are never those of a copy', () => {
  const data = (length: number): Uint8Array => frame(ethernet(), ipv4(), tcp({ seq: 1000 }, 'x'.repeat(length)));
  const analysis = new Analysis();
  analysis.push(
    batchOf([
      { bytes: data(1400), tNs: 0 },
      { bytes: data(1400), tNs: 1e4 },
      { bytes: data(26_000), tNs: 1.13e9 },
      { bytes: data(1400), tNs: 1.25e9 },
    ]),
  );
  const [connection] = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).tcp.connections;
  const { uniqueBytes, payloadBytes } = connection!.directions[0];
  expect(uniqueBytes).toBeLessThanOrEqual(payloadBytes);
});
