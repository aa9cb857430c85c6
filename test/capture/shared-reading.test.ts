// Pieces of a file that several threads read. The other thread runs the built program.
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, test } from 'vitest';
import { openBytes } from '../../src/capture/byte-input.js';
import { ByteWindow } from '../../src/capture/byte-window.js';
import { readPiece, SharedReading } from '../../src/capture/shared-reading.js';
import { random } from '../support/random.js';

const SEED = 20261123;
const BUILT = new URL('../../dist/capture/shared-reading.js', import.meta.url).href;
const folder = mkdtempSync(join(tmpdir(), 'migscope-pieces-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, length: number): { readonly path: string; readonly content: Uint8Array } {
  const { next } = random(SEED);
  const words = Uint32Array.from({ length: length / 4 }, () => next() * 2 ** 32);
  const path = join(folder, name);
  writeFileSync(path, words);
  return { path, content: new Uint8Array(words.buffer) };
}

const sharedMemory = (bytes: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(bytes));

/** A thread that reads whatever waits, until it is told to stop. */
function helper(reading: SharedReading): { stop(): Promise<number> } {
  const control = new Int32Array(new SharedArrayBuffer(8));
  const program = `
    const { workerData: { pieces, control } } = require('node:worker_threads');
    import(${JSON.stringify(BUILT)}).then(({ readPiece }) => {
      while (Atomics.load(control, 0) === 0) {
        if (readPiece(pieces)) Atomics.add(control, 1, 1);
        else Atomics.wait(control, 0, 0, 1);
      }
    });`;
  const worker = new Worker(program, { eval: true, workerData: { pieces: reading.pieces, control } });
  const ended = new Promise((resolve) => worker.on('exit', resolve));
  return {
    async stop() {
      Atomics.store(control, 0, 1);
      await ended;
      return control[1]!;
    },
  };
}

test.each([false, true])('a large file comes whole and in order (another thread reads: %s)', async (helped) => {
  const { path, content } = file('large', 90 << 20);
  const input = openBytes(path, true);
  const window = new ByteWindow(input);
  window.readAhead();
  await window.fill(24); // what was sent for before sharing is still on its way
  const reading = window.share()!;
  const other = helped ? helper(reading) : null;
  let offset = 0;
  for (;;) {
    await window.fill(100_000);
    const there = window.end - window.start;
    if (there === 0) break;
    expect(window.offset(window.start)).toBe(offset);
    const taken = window.ended ? there : there - 1000; // the beginning of a frame that ends in the next chunk
    const seen = window.bytes.subarray(window.start, window.start + taken);
    expect(Buffer.compare(seen, content.subarray(offset, offset + taken))).toBe(0);
    // Time for the other thread, which must not touch what is being looked at.
    if (helped) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(Buffer.compare(seen, content.subarray(offset, offset + taken))).toBe(0);
    offset += taken;
    window.skip(taken);
    expect(input.doneBytes).toBeGreaterThanOrEqual(offset);
  }
  expect(offset).toBe(content.length);
  expect(input.doneBytes).toBe(content.length);
  const pieces = await other?.stop();
  if (helped) expect(pieces).toBeGreaterThan(5);
  input.close();
});

test('a piece that nobody has begun is read by who needs it, and so is the next one meanwhile', () => {
  const { path, content } = file('pieces', 4096);
  const fd = openSync(path, 'r');
  const memory = sharedMemory(4096);
  const reading = new SharedReading(fd, memory);
  let asked = 0;
  reading.onAsked = () => asked++;
  for (let at = 0; at < 4096; at += 1024) reading.ask(at, at, 1024);
  expect(asked).toBe(4);
  expect(readPiece(reading.pieces)).toBe(true);
  for (let at = 0; at < 4096; at += 1024) {
    expect(reading.collect()).toBe(1024);
    expect(Buffer.compare(memory.subarray(0, at + 1024), content.subarray(0, at + 1024))).toBe(0);
  }
  expect(readPiece(reading.pieces)).toBe(false);
  closeSync(fd);
});

test('a file that has become shorter ends where it ends now', () => {
  const { path } = file('shorter', 8192);
  const fd = openSync(path, 'r');
  const reading = new SharedReading(fd, sharedMemory(8192));
  truncateSync(path, 5000);
  reading.ask(0, 0, 4096);
  reading.ask(4096, 4096, 4096);
  expect([reading.collect(), reading.collect()]).toEqual([4096, 904]);
  closeSync(fd);
});

test('what another thread could not read fails where it is needed, with the reason', () => {
  const reading = new SharedReading(openSync(folder, 'r'), sharedMemory(100)); // a folder has no bytes
  reading.ask(0, 0, 100);
  expect(readPiece(reading.pieces)).toBe(true);
  expect(() => reading.collect()).toThrow('EISDIR');
  closeSync(reading.pieces.fd);
});

test('after it was closed nobody reads any more', () => {
  const { path } = file('closed', 4096);
  const fd = openSync(path, 'r');
  const reading = new SharedReading(fd, sharedMemory(4096));
  reading.ask(0, 0, 4096);
  reading.close();
  expect(readPiece(reading.pieces)).toBe(false);
  closeSync(fd);
});
