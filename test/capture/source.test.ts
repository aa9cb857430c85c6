import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { PassThrough, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { openFiles, openStream } from '../../src/capture/source.js';
import { InputError, UsageError } from '../../src/errors.js';
import { BATCH_BYTES, BATCH_ROWS, MERGED_INPUTS } from '../../src/limits.js';
import {
  asRead,
  blocks,
  damage,
  join8,
  pcap,
  pcapHeader,
  pcapng,
  type Recorded,
  readCapture,
  readSource,
  someFrames,
  temporaryFiles,
} from '../support/captures.js';
import { random } from '../support/random.js';

const { gzipSync } = zlib;
const file = temporaryFiles();
const frames = someFrames(300);
const whole = pcap(frames);
const zstd = (bytes: Uint8Array): Uint8Array => spawnSync('zstd', ['-q'], { input: bytes, maxBuffer: 1e8 }).stdout;
const haveZstd = spawnSync('zstd', ['--version']).error === undefined;

describe('a compressed capture', () => {
  test('gzip', async () => {
    const read = await readCapture(file('a.pcap.gz', gzipSync(whole)));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.inputs[0]!.compression).toBe('gzip');
    expect(read.anomalies).toEqual([]);
  });

  test('gzip members one after another, cut anywhere between records or not', async () => {
    const members = [whole.subarray(0, 10), whole.subarray(10, 5000), whole.subarray(5000)];
    const read = await readCapture(file('b.pcap.gz', join8(...members.map((member) => gzipSync(member)))));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.anomalies).toEqual([]);
  });

  test.runIf(haveZstd)('zstd, also frames one after another', async () => {
    const read = await readCapture(file('a.zst', join8(zstd(whole.subarray(0, 999)), zstd(whole.subarray(999)))));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.inputs[0]!.compression).toBe('zstd');
    expect(read.anomalies).toEqual([]);
  });

  test.runIf(haveZstd && !('createZstdDecompress' in zlib))('zstd where nothing can unpack it', async () => {
    const path = file('b.zst', zstd(whole));
    const searched = process.env['PATH'];
    process.env['PATH'] = '';
    try {
      await expect(readCapture(path)).rejects.toThrow(/nothing here to unpack it with/);
    } finally {
      process.env['PATH'] = searched;
    }
  });

  test('pcapng inside', async () => {
    expect((await readCapture(file('c.gz', gzipSync(pcapng(frames))))).frames).toEqual(asRead(frames));
  });

  test.each(['gzip', 'zstd'])('%s that ends early: all that could be unpacked counts', async (kind) => {
    if (kind === 'zstd' && !haveZstd) return;
    const noise = frames.map((frame, i) => ({ ...frame, bytes: frame.bytes.map((byte, at) => byte ^ (i * at)) }));
    const packed = kind === 'gzip' ? gzipSync(pcap(noise)) : zstd(join8(pcap(noise), new Uint8Array(600_000)));
    const read = await readCapture(file(`cut.${kind}`, packed.subarray(0, packed.length - 9)));
    expect(read.frames.length).toBeGreaterThan(290);
    expect(read.frames).toEqual(asRead(noise).slice(0, read.frames.length));
    expect(damage(read)).toMatchObject({ 'capture/compressed-damaged': 1 });
  });

  test('gzip that is damaged in the middle', async () => {
    const large = someFrames(60_000).map((frame, i) => ({ ...frame, bytes: frame.bytes.map((b, at) => b ^ (i * at)) }));
    const packed = gzipSync(pcap(large));
    packed.fill(0xff, packed.length >> 1, (packed.length >> 1) + 2000);
    const read = await readCapture(file('damaged.gz', packed));
    expect(read.frames.length).toBeGreaterThan(15_000);
    expect(read.frames.slice(0, 15_000)).toEqual(asRead(large).slice(0, 15_000));
    expect(damage(read)).toMatchObject({ 'capture/compressed-damaged': 1 });
  });

  test('something else behind the last gzip member costs no more than the piece it came with', async () => {
    const large = someFrames(20_000).map((frame, i) => ({ ...frame, bytes: frame.bytes.map((b, at) => b ^ (i * at)) }));
    const read = await readCapture(file('tail.gz', join8(gzipSync(pcap(large)), Buffer.from('not compressed'))));
    expect(read.frames.length).toBeGreaterThan(15_000);
    expect(read.frames).toEqual(asRead(large).slice(0, read.frames.length));
    expect(damage(read)).toMatchObject({ 'capture/compressed-damaged': 1 });
  });

  test('gzip members that end where a piece does', async () => {
    // Stored, not compressed: 5 bytes a block of 65 535 and 18 around it, so the length can be chosen.
    const stored = (bytes: Uint8Array): Uint8Array => gzipSync(bytes, { level: 0 });
    const large = pcap(someFrames(1000));
    const cut = 16_384 - (stored(large.subarray(0, 10_000)).length - 10_000);
    expect(stored(large.subarray(0, cut))).toHaveLength(16_384);
    const read = await readCapture(file('even.gz', join8(stored(large.subarray(0, cut)), stored(large.subarray(cut)))));
    expect(read.frames).toEqual(asRead(someFrames(1000)));
    expect(read.anomalies).toEqual([]);
  });

  test('padding zeros behind the last gzip member', async () => {
    const read = await readCapture(file('padded.gz', join8(gzipSync(whole), new Uint8Array(5000))));
    expect(read.frames).toEqual(asRead(frames));
  });

  test('a bomb is unpacked piece by piece', async () => {
    const bomb = gzipSync(join8(pcapHeader(), new Uint8Array(200 << 20)));
    const before = process.memoryUsage().rss;
    const read = await readCapture(file('bomb.gz', bomb));
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
    expect(process.memoryUsage().rss - before).toBeLessThan(100 << 20);
  });

  test('progress counts compressed bytes', async () => {
    const packed = gzipSync(pcap(someFrames(100_000)));
    const source = await openFiles([file('progress.gz', packed)], new AnomalyLog());
    const seen: number[] = [];
    for await (const _ of source.batches()) seen.push(source.progress().doneBytes);
    expect(seen[0]).toBeLessThan(packed.length);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(source.progress()).toEqual({ doneBytes: packed.length, totalBytes: packed.length });
  });
});

describe('several inputs', () => {
  const order = (read: { frames: readonly { bytes: string }[] }) => read.frames.map(({ bytes }) => bytes).join('');
  const at = (us: number, name: string): Recorded => ({
    ns: 1_700_000_000_000_000_000n + BigInt(us) * 1000n,
    bytes: new TextEncoder().encode(name),
  });

  test('rotated files in any order are one capture', async () => {
    const parts = [frames.slice(0, 100), frames.slice(100, 101), frames.slice(101)];
    const paths = parts.map((part, i) => file(`rotated${(i * 2) % 3}`, i === 1 ? pcapng(part) : pcap(part)));
    for (const [a, b, c] of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ] as const) {
      const read = await readCapture([paths[a]!, paths[b]!, paths[c]!]);
      const expected = asRead(frames).map((frame, i) => ({ ...frame, iface: i < 100 ? 0 : i === 100 ? 1 : 2 }));
      expect(read.frames).toEqual(expected);
      expect(read.epochNs).toBe(frames[0]!.ns);
      expect(read.inputs.map(({ name, frames: count }) => [name, count])).toEqual([
        [paths[0], 100],
        [paths[1], 1],
        [paths[2], 199],
      ]);
      expect(read.interfaces.map(({ input }) => input)).toEqual([0, 1, 2]);
      expect(read.anomalies).toEqual([]);
    }
  });

  test('overlapping files are merged by time', async () => {
    const odd = file('odd', pcap(frames.filter((_, i) => i % 3 === 0)));
    const even = file('even', gzipSync(pcapng(frames.filter((_, i) => i % 3 !== 0))));
    for (const paths of [
      [odd, even],
      [even, odd],
    ]) {
      const read = await readCapture(paths);
      expect(read.frames).toEqual(asRead(frames).map((frame, i) => ({ ...frame, iface: i % 3 === 0 ? 0 : 1 })));
      expect(read.inputs.map(({ name }) => name)).toEqual([odd, even]);
    }
  });

  test('at equal times the input that begins earlier comes first, then the name that does', async () => {
    const b = file('tie-b', pcap([at(0, 'B'), at(5, 'b')]));
    const a = file('tie-a', pcap([at(2, 'A'), at(5, 'a')]));
    const c = file('tie-c', pcap([at(2, 'C'), at(5, 'c')]));
    for (const paths of [
      [a, b, c],
      [c, b, a],
    ]) {
      expect(order(await readCapture(paths))).toBe('BACbac');
    }
  });

  test('a file that steps back in time keeps its own order', async () => {
    const steps = file('steps', pcap([at(0, 'a'), at(9, 'b'), at(3, 'c'), at(10, 'd')]));
    const other = file('other', pcap([at(1, '1'), at(5, '2'), at(9, '3')]));
    const read = await readCapture([other, steps]);
    expect(order(read)).toBe('a12bc3d');
    expect(read.anomalies).toEqual([
      expect.objectContaining({ code: 'capture/time-backwards', count: 1, first: { frame: 5, tNs: 3000, input: 0 } }),
    ]);
  });

  test.each([
    ['rows', 3 * BATCH_ROWS, 10],
    ['bytes', 400, BATCH_BYTES >> 6],
  ])('more %s than one batch holds', async (_name, count, length) => {
    const many = Array.from({ length: count }, (_, i) => ({ ...at(i, ''), bytes: new Uint8Array(length).fill(i) }));
    const paths = [0, 1].map((half) => file(`half${half}`, pcap(many.filter((_, i) => i % 2 === half))));
    const source = await openFiles(paths, new AnomalyLog());
    let row = 0;
    for await (const batch of source.batches()) {
      expect(batch.firstFrame).toBe(row + 1);
      expect(batch.count).toBeLessThanOrEqual(BATCH_ROWS);
      expect(batch.captured.subarray(0, batch.count).reduce((a, b) => a + b)).toBeLessThanOrEqual(BATCH_BYTES);
      for (let i = 0; i < batch.count; i++, row++) {
        expect(batch.tNs[i]).toBe(row * 1000);
        expect(batch.bytes[batch.start[i]! + length - 1]).toBe(row % 256);
      }
    }
    expect(row).toBe(count);
  });

  test('inputs without frames come last and do no harm', async () => {
    const read = await readCapture([file('none', pcap([])), file('some', whole)]);
    expect(read.frames).toEqual(asRead(frames));
    expect(read.inputs.map(({ frames: count }) => count)).toEqual([300, 0]);
  });

  test('the same file twice', async () => {
    const path = file('twice', whole);
    const read = await readCapture([path, path]);
    expect(read.frames).toHaveLength(600);
    expect(read.frames[1]).toMatchObject({ frame: 2, iface: 1, tNs: 0 });
  });

  test('counts, cut frames and losses are told by input', async () => {
    const cut: Recorded[] = frames.slice(0, 9).map((frame) => ({ ...frame, wire: 1500 }));
    const { statistics, u64 } = blocks();
    const read = await readCapture([
      file('cut', pcap(cut)),
      file('lossy', join8(pcapng(frames.slice(20, 25)), statistics(0, [[5, u64(4n)]]))),
    ]);
    expect(
      read.inputs.map((input) => [input.frames, input.cutFrames, input.wireBytes, input.droppedByCapture]),
    ).toEqual([
      [9, 9, 13_500, null],
      [5, 0, frames.slice(20, 25).reduce((sum, { bytes }) => sum + bytes.length, 0), 4],
    ]);
    expect(read.anomalies).toEqual([
      expect.objectContaining({ code: 'capture/dropped', count: 4, first: { input: 1 } }),
      expect.objectContaining({ code: 'capture/frames-cut', count: 9, first: { frame: 1, tNs: 0, input: 0 } }),
    ]);
  });

  test('as many as may overlap, and one more', async () => {
    const overlapping = Array.from({ length: MERGED_INPUTS + 1 }, (_, i) =>
      file(`overlap${i}`, pcap([at(i, 'x'), at(1_000_000 + i, 'y')])),
    );
    expect((await readCapture(overlapping.slice(1))).frames).toHaveLength(2 * MERGED_INPUTS);
    await expect(readCapture(overlapping)).rejects.toThrow(InputError);
  });

  test('any number that follow one another', async () => {
    const rotated = Array.from({ length: 3 * MERGED_INPUTS }, (_, i) => file(`many${i}`, pcap([at(i, 'x')])));
    expect((await readCapture(rotated)).frames).toHaveLength(rotated.length);
  });
});

describe('a capture on a stream', () => {
  test('is read as it arrives', async () => {
    const pieces = Array.from({ length: Math.ceil(whole.length / 700) }, (_, i) =>
      whole.subarray(700 * i, 700 * (i + 1)),
    );
    const log = new AnomalyLog();
    const source = await openStream('eth0', Readable.from(pieces.map((piece) => Buffer.from(piece))), log);
    const read = await readSource(source, log);
    expect(read.frames).toEqual(asRead(frames));
    expect(source.progress()).toEqual({ doneBytes: whole.length, totalBytes: null });
  });

  test('written live gives a frame as soon as it is there, without waiting for the next', async () => {
    const stream = new PassThrough();
    const lone = pcap(frames.slice(0, 1));
    stream.write(lone.subarray(0, lone.length - 1));
    const source = await openStream('eth0', stream, new AnomalyLog(), { live: true });
    const batches = source.batches();
    stream.write(lone.subarray(lone.length - 1));
    expect((await batches.next()).value?.count).toBe(1);
    stream.end(pcap(frames).subarray(lone.length));
    let count = 1;
    for await (const batch of batches) count += batch.count;
    expect(count).toBe(frames.length);
  });

  test('a named pipe', async () => {
    const pipe = file('writer', whole).replace('writer', 'pipe');
    execFileSync('mkfifo', [pipe]);
    const writer = spawn('sh', ['-c', `cat "$0" > "$1"`, file('writer', whole), pipe]);
    const source = await openFiles([pipe], new AnomalyLog());
    expect((await readSource(source, new AnomalyLog())).frames).toEqual(asRead(frames));
    expect(source.progress().totalBytes).toBeNull();
    writer.kill();
  });

  test('that breaks off is an error of the input', async () => {
    const broken = Readable.from(
      (function* () {
        yield Buffer.from(whole.subarray(0, 1000));
        throw new Error('the cable is out');
      })(),
    );
    const log = new AnomalyLog();
    const reading = openStream('eth0', broken, log).then((source) => readSource(source, log));
    await expect(reading).rejects.toThrow('eth0 cannot be read: the cable is out.');
  });

  test('left alone in the middle', async () => {
    const source = await openFiles([file('left', pcap(someFrames(50_000)))], new AnomalyLog());
    for await (const batch of source.batches()) {
      expect(batch.count).toBeGreaterThan(0);
      break;
    }
    source.close();
    source.close();
  });
});

describe('what is no capture', () => {
  test.each([
    ['an empty file', new Uint8Array(0), /is empty/],
    ['nothing inside gzip', gzipSync(new Uint8Array(0)), /is empty/],
    ['damaged gzip', join8(gzipSync(whole).subarray(0, 10), new Uint8Array(500).fill(255)), /nothing of its gzip data/],
    ['too few bytes', whole.subarray(0, 23), /too short for a capture \(23 bytes\)/],
    ['some text', new TextEncoder().encode('the quick brown fox jumps'), /first bytes 0x74686520/],
    ['text inside gzip', gzipSync(new TextEncoder().encode('the quick brown fox jumps')), /first bytes 0x74686520/],
    ['a section without byte order', join8(Uint8Array.of(10, 13, 13, 10), new Uint8Array(30)), /0x0a0d0d0a/],
  ])('%s', async (_name, bytes, message) => {
    const reading = readCapture(file('no-capture', bytes));
    await expect(reading).rejects.toThrow(InputError);
    await expect(reading).rejects.toThrow(message);
  });

  test('a file that does not exist, a folder', async () => {
    await expect(readCapture('/no/such/file')).rejects.toThrow('/no/such/file does not exist.');
    await expect(readCapture('/')).rejects.toThrow('/ cannot be read: it is a directory.');
  });

  test('a pipe among several inputs', async () => {
    await expect(readCapture(['/dev/null', file('fine', whole)])).rejects.toThrow(UsageError);
  });
});

describe('a file so large that another thread reads it', () => {
  const { below, bytes } = random(20261122);
  const content = bytes(1 << 20);
  const many: Recorded[] = Array.from({ length: 700 }, (_, i) => {
    const from = below(1 << 19);
    const ns = 1_700_000_000_000_000_000n + BigInt(i) * 1_000_000n;
    return { ns, bytes: content.subarray(from, from + 1 + below(60_000)) };
  });
  const large = pcap(many);

  test('is larger than what is read in place', () => expect(large.length).toBeGreaterThan(17 << 20));

  test('gives every frame, once and in order', async () => {
    const { frames: read } = await readCapture([file('large.pcap', large)]);
    expect(read).toEqual(asRead(many));
  });

  test('cut in the middle of a frame, everything before the cut', async () => {
    const result = await readCapture([file('large-cut.pcap', large.subarray(0, large.length - 1))]);
    expect(result.frames).toEqual(asRead(many).slice(0, -1));
    expect(damage(result)).toEqual({ 'capture/record-truncated': 1 });
  });

  test('compressed, where recognising it has begun to read', async () => {
    const { frames: read } = await readCapture([file('large.pcap.gz', gzipSync(large, { level: 1 }))]);
    expect(read).toEqual(asRead(many));
  });
});
