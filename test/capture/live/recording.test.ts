import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import { Recording, type Rotation, recordingPath } from '../../../src/capture/live/recording.js';
import { type CaptureInfo, createBatch, type PacketBatch } from '../../../src/capture/packet-batch.js';
import { openFiles } from '../../../src/capture/source.js';
import { UsageError } from '../../../src/errors.js';

const WHOLE: Rotation = { bytes: null, ns: null };
const EPOCH_NS = 1_700_000_000_999_999_000n;

interface Frame {
  readonly tNs: number;
  readonly bytes: Uint8Array;
  readonly wire: number;
}

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'recording-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const info = (): CaptureInfo => ({ inputs: [], epochNs: EPOCH_NS, clock: 'kernel' });

const frame = (tNs: number, length: number, wire = length): Frame => ({
  tNs,
  bytes: Uint8Array.from({ length }, (_, at) => (at * 7 + tNs) & 0xff),
  wire,
});

/** For many bytes: comparing them one by one takes minutes. */
const digest = ({ tNs, bytes, wire }: Frame): string =>
  `${tNs} ${wire} ${createHash('sha256').update(bytes).digest('hex')}`;

/** The frames as one batch with something else in front of, between and behind them. */
function batchOf(frames: readonly Frame[], linkType = 1): PacketBatch {
  const batch = createBatch(new Uint8Array(frames.reduce((sum, { bytes }) => sum + bytes.length + 5, 11)).fill(0xee));
  let at = 7;
  frames.forEach(({ tNs, bytes, wire }, row) => {
    batch.bytes.set(bytes, at);
    batch.start[row] = at;
    batch.captured[row] = bytes.length;
    batch.wire[row] = wire;
    batch.tNs[row] = tNs;
    at += bytes.length + 5;
  });
  batch.count = frames.length;
  batch.interfaces = [{ input: 0, linkType, fcsBytes: 0, snapLength: null, name: '' }];
  return batch;
}

async function read(...paths: string[]): Promise<{ epochNs: bigint | null; frames: Frame[]; anomalies: string[] }> {
  const log = new AnomalyLog();
  const source = await openFiles(paths, log);
  const frames: Frame[] = [];
  for await (const batch of source.batches()) {
    for (let row = 0; row < batch.count; row++) {
      const start = batch.start[row]!;
      frames.push({
        tNs: batch.tNs[row]!,
        bytes: batch.bytes.slice(start, start + batch.captured[row]!),
        wire: batch.wire[row]!,
      });
    }
  }
  return { epochNs: source.info.epochNs, frames, anomalies: log.finish().map((anomaly) => anomaly.code) };
}

describe('recording', () => {
  test.each(['run.pcap', 'run.pcap.gz'])('%s reads back as the frames that were written', async (name) => {
    const frames = [frame(0, 60), frame(1, 1514), frame(1_500, 90, 1514), frame(3_600_000_000_001, 65_549)];
    const path = join(folder, name);
    const recording = new Recording(path, WHOLE, info());
    await recording.write(batchOf(frames.slice(0, 3)));
    await recording.write(batchOf(frames.slice(3)));
    await recording.close();
    expect(recording).toMatchObject({ failure: null, frames: 4, files: 1 });
    expect(await read(path)).toEqual({ epochNs: EPOCH_NS, frames, anomalies: ['capture/frames-cut'] });
  });

  test('a time stamp before the first one survives', async () => {
    const path = join(folder, 'back.pcap');
    const recording = new Recording(path, WHOLE, info());
    await recording.write(batchOf([frame(0, 60), frame(-1_000_000_001, 60)]));
    await recording.close();
    expect((await read(path)).frames.map(({ tNs }) => tNs)).toEqual([0, -1_000_000_001]);
  });

  test('what was flushed is readable while the recording goes on, as after a kill', async () => {
    for (const name of ['open.pcap', 'open.pcap.gz']) {
      const path = join(folder, name);
      const recording = new Recording(path, WHOLE, info());
      await recording.write(batchOf([frame(0, 60), frame(5, 1514)]));
      await recording.flush();
      await recording.write(batchOf([frame(9, 60)])); // accepted, not flushed
      const now = join(folder, `copy-${name}`);
      writeFileSync(now, readFileSync(path));
      expect((await read(now)).frames).toEqual([frame(0, 60), frame(5, 1514)]);
      await recording.close();
      expect((await read(path)).frames).toHaveLength(3);
    }
  });

  test('flushing from a timer in the middle of a large write loses and repeats nothing', async () => {
    const path = join(folder, 'large.pcap');
    const recording = new Recording(path, WHOLE, info());
    const frames = Array.from({ length: 200 }, (_, at) => frame(at, 40_000 + at));
    const timer = setInterval(() => void recording.flush(), 0);
    for (let at = 0; at < frames.length; at += 20) {
      await recording.write(batchOf(frames.slice(at, at + 20)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    clearInterval(timer);
    await recording.close();
    expect((await read(path)).frames.map(digest)).toEqual(frames.map(digest));
  });

  test('rotation by size begins numbered files, and all of them together are the capture', async () => {
    const recording = new Recording(join(folder, 'ring.pcap.gz'), { bytes: 3000, ns: null }, info());
    const frames = Array.from({ length: 10 }, (_, at) => frame(at, 1000));
    await recording.write(batchOf(frames));
    await recording.close();
    const files = readdirSync(folder).sort();
    expect(files).toEqual([1, 2, 3, 4].map((n) => `ring-0000${n}.pcap.gz`));
    expect((await read(...files.map((file) => join(folder, file)))).frames).toEqual(frames);
    expect(gunzipSync(readFileSync(join(folder, files[0]!))).length).toBe(24 + 3 * 1016);
  });

  test('rotation by time follows the time stamps', async () => {
    const recording = new Recording(join(folder, 'ring.pcap'), { bytes: null, ns: 10e9 }, info());
    await recording.write(batchOf([frame(0, 60), frame(9.9e9, 60), frame(10e9, 60), frame(35e9, 60)]));
    await recording.close();
    expect(readdirSync(folder).sort()).toEqual(['ring-00001.pcap', 'ring-00002.pcap', 'ring-00003.pcap']);
  });

  test('a full disk ends the recording with a reason, and the caller goes on', async () => {
    const path = join(folder, 'full.pcap');
    symlinkSync('/dev/full', path); // every write to it fails with ENOSPC
    const recording = new Recording(path, WHOLE, info());
    await recording.write(batchOf([frame(0, 60)]));
    await recording.flush();
    await recording.write(batchOf([frame(1, 60)]));
    await recording.close();
    expect(recording.failure?.message).toMatch(/full\.pcap could not be written any further: .*no space left/i);
    expect(recording.failure?.message).toMatch(/first 0 frames/);
  });

  test('a folder that does not exist is a reason, not a crash', async () => {
    const recording = new Recording(join(folder, 'no', 'where.pcap'), WHOLE, info());
    await recording.write(batchOf([frame(0, 60)]));
    await recording.close();
    expect(recording.failure?.message).toMatch(/ENOENT/);
  });

  test('only .pcap and .pcap.gz are names of recordings', () => {
    expect(recordingPath('a/b.pcap', WHOLE, 1)).toBe('a/b.pcap');
    expect(recordingPath('a/b.pcap.gz', { bytes: 1e6, ns: null }, 12)).toBe('a/b-00012.pcap.gz');
    expect(() => recordingPath('b.pcapng', WHOLE, 1)).toThrow(UsageError);
  });
});
