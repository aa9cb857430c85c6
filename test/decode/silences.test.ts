import { expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { decodeFrames } from '../../src/decode/frame.js';
import { createRows } from '../../src/decode/rows.js';
import { Silences } from '../../src/decode/silences.js';
import { Connections } from '../../src/decode/tcp/connections.js';
import { BEAT_DIRECTIONS, SILENCES_PER_DIRECTION, SILENT_DIRECTIONS } from '../../src/limits.js';
import { batchOf, type CapturedFrame, ethernet, frame, icmp, ipv4, tcp, timestamps, udp } from '../support/frames.js';

const MS = 1e6;

function run(frames: readonly CapturedFrame[]) {
  const silences = new Silences();
  const connections = new Connections(new AnomalyLog());
  const rows = createRows();
  for (let from = 0; from < frames.length; from += 4096) {
    const batch = batchOf(frames.slice(from, from + 4096), { firstFrame: from + 1 });
    decodeFrames(batch, rows);
    connections.place(batch, rows);
    silences.push(batch, rows);
  }
  const table = silences.finish();
  const found = Array.from({ length: table.rows }, (_, row) =>
    Object.fromEntries(Object.entries(table.columns).map(([name, column]) => [name, column.values[row]])),
  );
  return { silences, found };
}

const guest = { src: '10.0.0.50', dst: '10.0.0.9' };
const mac = '52:54:00:aa:bb:01';

/** A segment of the guest's at `ms`, its clock at `tick`. */
const segment = (ms: number, tick = ms, port = 7): CapturedFrame => ({
  bytes: frame(
    ethernet({ src: mac }),
    ipv4(guest),
    tcp({ srcPort: port, dstPort: 4000, seq: 1000 + ms, options: timestamps(tick, 1) }, [1]),
  ),
  tNs: ms * MS,
});

const echo = (ms: number, id = 77): CapturedFrame => ({
  bytes: frame(ethernet({ src: mac }), ipv4(guest), icmp(0, 0, id * 65536)),
  tNs: ms * MS,
});

const beat = (ms: number, from = guest.src, dstPort = 5405): CapturedFrame => ({
  bytes: frame(
    ethernet({ src: mac }),
    ipv4({ ...guest, src: from }),
    udp({ srcPort: 5405, dstPort }, new Uint8Array(72)),
  ),
  tNs: ms * MS,
});

/** Times of a steady rhythm with one gap after `steady` frames. */
const rhythm = (stepMs: number, steady: number, gapMs: number): number[] =>
  Array.from({ length: steady + 5 }, (_, i) => i * stepMs + (i >= steady ? gapMs - stepMs : 0));

test('a direction that stops is told with the frames and times at both ends', () => {
  const { found } = run(rhythm(50, 20, 700).map((ms) => segment(ms)));
  expect(found).toMatchObject([
    {
      kind: 'tcp',
      from: guest.src,
      to: guest.dst,
      fromPort: 7,
      toPort: 4000,
      mac,
      startNs: 950 * MS,
      endNs: 1650 * MS,
      frameBefore: 20,
      frameAfter: 21,
      framesBefore: 20,
      sinceNs: 0,
      clockNs: 700 * MS,
    },
  ]);
});

test('a clock that stood still shows in the timestamps', () => {
  const { found } = run(rhythm(50, 20, 700).map((ms) => segment(ms, ms > 1000 ? ms - 650 : ms)));
  expect(found[0]!['clockNs']).toBe(50 * MS);
});

test('a clock of 250 Hz is read as one', () => {
  const { found } = run(rhythm(50, 20, 700).map((ms) => segment(ms, Math.floor(ms / 4))));
  expect(Math.abs(Number(found[0]!['clockNs']) - 700 * MS)).toBeLessThan(5 * MS);
});

test('a side that speaks rarely anyway has not fallen silent', () => {
  expect(run(rhythm(500, 20, 700).map((ms) => segment(ms))).found).toEqual([]);
});

test('nor has one that pauses for a few timer ticks', () => {
  expect(run(rhythm(5, 20, 90).map((ms) => segment(ms))).found).toEqual([]);
});

test('echo and heartbeats are watched as well', () => {
  const times = rhythm(100, 20, 900);
  expect(run(times.map((ms) => echo(ms))).found).toMatchObject([
    { kind: 'echo', startNs: 1900 * MS, endNs: 2800 * MS },
  ]);
  expect(run(times.map((ms) => beat(ms))).found).toMatchObject([{ kind: 'heartbeat', fromPort: 5405, toPort: 5405 }]);
  expect(run(times.map((ms) => beat(ms, guest.src, 5000))).found).toEqual([]);
});

test('of many silences the longest are kept', () => {
  const times = [0, 1, 2, 3];
  for (let gap = 1; gap <= SILENCES_PER_DIRECTION + 4; gap++) {
    for (let i = 0; i < 50; i++) times.push(times.at(-1)! + (i === 0 ? 1000 + gap : 1));
  }
  const { found } = run(times.map((ms) => segment(ms)));
  expect(found.map((row) => Number(row['endNs']) - Number(row['startNs']))).toEqual(
    Array.from({ length: SILENCES_PER_DIRECTION }, (_, i) => (1005 + i) * MS),
  );
});

test('directions beyond SILENT_DIRECTIONS, and senders beyond BEAT_DIRECTIONS, are counted', () => {
  const ports = Array.from({ length: SILENT_DIRECTIONS + 3 }, (_, i) => 10_000 + i);
  const many = [0, 1, 2, 500].flatMap((ms) => ports.map((port) => segment(ms, ms, port)));
  expect(run(many)).toMatchObject({ silences: { lost: 3 }, found: { length: SILENT_DIRECTIONS } });
  const senders = Array.from({ length: BEAT_DIRECTIONS + 2 }, (_, i) => beat(0, `10.1.${i >> 8}.${i & 255}`));
  expect(run(senders).silences.lost).toBe(2);
});

test('the silences of a connection that gave its id up keep their addresses', () => {
  const silences = new Silences();
  const connections = new Connections(new AnomalyLog());
  const rows = createRows();
  const batch = batchOf(rhythm(50, 20, 700).map((ms) => segment(ms)));
  decodeFrames(batch, rows);
  connections.place(batch, rows);
  silences.push(batch, rows);
  silences.forget(0);
  const { columns, rows: count } = silences.finish();
  expect(count).toBe(1);
  expect([columns['direction']!.values[0], columns['from']!.values[0]]).toEqual([Number.NaN, guest.src]);
});
