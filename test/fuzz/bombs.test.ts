// Files that are small and want much: they cost the time of their bytes and a bounded amount of memory, and what comes out
// is as checked as anything else.
import { Readable } from 'node:stream';
import { constants, createGzip, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { renderText } from '../../src/report/text.js';
import { reportOn } from '../support/analyze.js';
import { blocks, join8, type Option, pcap, someFrames } from '../support/captures.js';
import { checkReport, checkText } from './checks.mjs';

/** More than any of these needs; the runner's own memory comes and goes. */
const GROWTH_BYTES = 250e6;
const SECONDS = 30;
const { section, description, enhanced } = blocks('little');
const frame = someFrames(1)[0]!.bytes;

async function read(file: Uint8Array | AsyncIterable<Uint8Array>): Promise<ReportData> {
  const chunks = file instanceof Uint8Array ? [Buffer.from(file)] : file;
  const before = process.memoryUsage.rss();
  const start = performance.now();
  const report = await reportOn('-', { stdin: Readable.from(chunks, { objectMode: false }) });
  expect(performance.now() - start).toBeLessThan(SECONDS * 1000);
  expect(process.memoryUsage.rss() - before).toBeLessThan(GROWTH_BYTES);
  checkReport(report);
  checkText(renderText(report, { color: false, width: 80 }));
  return report;
}

/** `head`, then `body` as often as makes `bytes` bytes, packed on the way. */
function packed(head: Uint8Array, body: Uint8Array, bytes: number): AsyncIterable<Uint8Array> {
  function* unpacked(): Generator<Uint8Array> {
    yield head;
    for (let at = 0; at < bytes; at += body.length) yield body;
  }
  return Readable.from(unpacked()).pipe(createGzip({ level: constants.Z_BEST_SPEED }));
}

test('a gigabyte of large frames in five megabytes of gzip', async () => {
  const [one] = [{ ...someFrames(1)[0]!, bytes: new Uint8Array(262_144) }];
  const file = pcap([one]);
  const report = await read(packed(file.subarray(0, 24), file.subarray(24), 1e9));
  expect(report.capture.frames).toBe(Math.ceil(1e9 / (262_144 + 16)));
}, 60_000);

test('a packed file of records without length or time', async () => {
  const zeros = packed(pcap([]), new Uint8Array(1 << 20), 256 << 20);
  const report = await read(zeros);
  expect(report.capture.frames).toBe(0);
  expect(report.anomalies.map(({ code }) => code)).toContain('capture/bad-length');
}, 60_000);

test('a packed file in a packed file is no capture', async () => {
  await expect(read(gzipSync(gzipSync(pcap(someFrames(3)))))).rejects.toThrow('does not start like a capture file');
});

test('a member of gzip for every frame, and thousands of empty ones', async () => {
  const file = pcap(someFrames(200));
  const pieces = [file.subarray(0, 24)];
  for (let at = 24; at < file.length; at += 40) pieces.push(file.subarray(at, at + 40));
  const empty = gzipSync(new Uint8Array(0));
  const members = pieces.flatMap((piece) => [gzipSync(piece), ...Array.from({ length: 50 }, () => empty)]);
  expect((await read(join8(...members))).capture.frames).toBe(200);
});

test('more interfaces than anybody has, with names that would drive a terminal', async () => {
  const name = (i: number): Option => [2, Uint8Array.from(Buffer.from(`\u001b[2J</script>\u202e${i}`))];
  const described = Array.from({ length: 20_000 }, (_, i) => description(1, 0, [name(i)]));
  const frames = Array.from({ length: 200 }, (_, i) => enhanced(BigInt(i), frame, 100 * i));
  const report = await read(join8(section(), ...described, ...frames));
  expect(report.capture.frames).toBeLessThanOrEqual(200);
});

test.each([0x80, 0x80 | 63, 0x80 | 64, 0xff, 0, 20, 127])('time stamps in units of resolution %i', async (code) => {
  const stamps = [0n, 1n, 1_700_000_000n, 1n << 63n, (1n << 64n) - 1n];
  const offset: Option = [14, Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 127)];
  for (const options of [[], [offset]]) {
    const described = description(1, 0, [[9, Uint8Array.of(code)], ...options]);
    const report = await read(join8(section(), described, ...stamps.map((stamp) => enhanced(stamp, frame))));
    expect(report.capture.frames).toBe(stamps.length);
  }
});

test('blocks without length, and lengths beyond the file', async () => {
  const whole = join8(section(), description(1), enhanced(1n, frame));
  for (const length of [0, 4, 0xffff_fffc, 0xffff_ffff, 16 << 20]) {
    const head = new Uint8Array(new Uint32Array([6, length]).buffer);
    const report = await read(join8(whole, ...Array.from({ length: 100_000 }, () => head)));
    expect(report.capture.frames).toBe(1);
  }
}, 60_000);
