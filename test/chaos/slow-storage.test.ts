// A large file on storage that takes its time: the next piece is on its way while one is analysed, and progress tells how far
// reading has come, no more and no less. Measured on throttled disks: docs/robustness.md.
import type * as fs from 'node:fs';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { openFiles } from '../../src/capture/source.js';
import { pcap, temporaryFiles } from '../support/captures.js';

/** A read of 2 MiB takes so long; so does the analysis of as much. */
const PIECE_BYTES = 2 << 20;
const PIECE_MS = 25;

const storage = { slow: true, slowAtFirst: 0, underway: 0, bytes: 0, bytesHere: 0 };
const readMs = (bytes: number): number => (PIECE_MS * bytes) / PIECE_BYTES;
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  const elsewhere = async (fd: number, target: Uint8Array, at: number, length: number, position: number) => {
    storage.underway++;
    const bytesRead = real.readSync(fd, target, at, length, position);
    await new Promise((resolve) => setTimeout(resolve, readMs(bytesRead)));
    storage.underway--;
    storage.bytes += bytesRead;
    return { bytesRead, buffer: target };
  };
  const here = (fd: number, target: Uint8Array, at: number, length: number, position: number | null) => {
    const bytesRead = real.readSync(fd, target, at, length, position);
    storage.bytes += bytesRead;
    storage.bytesHere += bytesRead;
    if (storage.slow || storage.slowAtFirst-- > 0) busy(readMs(bytesRead));
    return bytesRead;
  };
  return { ...real, readSync: here, read: Object.assign(() => {}, { [promisify.custom]: elsewhere }) };
});
function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

const temporary = temporaryFiles();
const frame = { ns: 1_700_000_000_000_000_000n, bytes: new Uint8Array(60_000) };
const file = pcap(Array.from({ length: 600 }, () => frame));

// A single processor has no use for another thread: there the file is read in place.
describe.skipIf(availableParallelism() < 2)('a file of 36 MB', () => {
  beforeEach(() => {
    Object.assign(storage, { slow: true, slowAtFirst: 0, bytes: 0, bytesHere: 0 });
  });

  test('once reading proves slow, the next piece is read while one is analysed', async () => {
    const source = await openFiles([temporary('large.pcap', file)], new AnomalyLog());
    let [batches, idle] = [0, 0];
    for await (const batch of source.batches()) {
      const isAhead = storage.bytes > storage.bytesHere;
      if (isAhead) batches++;
      if (isAhead && storage.underway === 0 && storage.bytes < file.length) idle++;
      busy(readMs(batch.captured.subarray(0, batch.count).reduce((sum, length) => sum + length, 0)));
    }
    expect(storage.bytesHere).toBeLessThan(file.length / 2);
    expect(batches).toBeGreaterThan(8);
    expect(idle).toBe(0);
  });

  test('a read or two that take their time are no reason to send anybody', async () => {
    Object.assign(storage, { slow: false, slowAtFirst: 2 });
    const source = await openFiles([temporary('large.pcap', file)], new AnomalyLog());
    for await (const _ of source.batches());
    expect(storage.bytesHere).toBe(file.length);
  });

  test('progress counts what was read: all frames given out, little beyond them, everything at the end', async () => {
    const source = await openFiles([temporary('large.pcap', file)], new AnomalyLog());
    let given = 24;
    let before = 0;
    for await (const { count, captured } of source.batches()) {
      given += captured.subarray(0, count).reduce((sum, length) => sum + length + 16, 0);
      const { doneBytes, totalBytes } = source.progress();
      expect(totalBytes).toBe(file.length);
      expect(doneBytes).toBe(storage.bytes);
      expect(doneBytes).toBeGreaterThanOrEqual(Math.max(before, given));
      expect(doneBytes - given).toBeLessThan(8 * PIECE_BYTES);
      before = doneBytes;
    }
    expect(source.progress()).toEqual({ doneBytes: file.length, totalBytes: file.length });
  });
});
