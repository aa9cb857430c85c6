// A running capture exchanged for a narrower one, with engines played by a script: every frame once, in any timing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import { EngineChild } from '../../../src/capture/live/engine-child.js';
import type { Engine } from '../../../src/capture/live/engines.js';
import { LiveSource } from '../../../src/capture/live.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'narrow-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A link on which frame n passes at START_MS + n ms; it carries n, and belongs to the migration when n is even. */
const LINK = `
const [startMs, frames, filter, jitterNs] = process.argv.slice(2);
const wants = { '': () => true, even: (n) => n % 2 === 0, none: () => false, 'unknown word': null }[filter];
if (!wants) { console.error('syntax error'); process.exit(1); }
const header = Buffer.alloc(24);
header.writeUInt32LE(0xa1b23c4d, 0); header.writeUInt16LE(2, 4); header.writeUInt16LE(4, 6);
header.writeUInt32LE(262144, 16); header.writeUInt32LE(1, 20);
process.stdout.write(header);
console.error('ready');
let next = Math.max(0, Math.ceil(Date.now() - startMs));
const pass = () => {
  const records = [];
  for (; next < frames && startMs - -next <= Date.now(); next++) {
    if (!wants(next)) continue;
    const record = Buffer.alloc(16 + 100, 0);
    const ns = next * 1e6 + Math.floor(Math.random() * jitterNs);
    record.writeUInt32LE(1000 + Math.floor(ns / 1e9), 0); record.writeUInt32LE(ns % 1e9, 4);
    record.writeUInt32LE(100, 8); record.writeUInt32LE(1514, 12); record.writeUInt32LE(next, 16 + 60);
    records.push(record);
  }
  if (records.length) process.stdout.write(Buffer.concat(records));
  if (next >= frames) process.exit(0);
};
process.on('SIGTERM', () => { pass(); process.exit(0); });
setInterval(pass, 5);
`;

function playedLink(frames: number, jitterNs: number): Engine {
  const script = join(folder, 'link.cjs');
  writeFileSync(script, LINK);
  const startMs = Date.now();
  return {
    name: 'tcpdump',
    packageName: 'none',
    accuracy: '',
    clock: 'kernel',
    locate: () => process.execPath,
    arguments: ({ filter }) => [script, String(startMs), String(frames), filter ?? '', String(jitterNs)],
    ready: /^ready$/m,
    lost: /(\d+) lost/,
    countSignal: null,
    latencyMs: 0,
    stopBy: 'SIGTERM',
  };
}

/** Captures `frames` frames, narrowing with the first batch; the numbers that came, in their order. */
async function captured(frames: number, filter: string, jitterNs = 20_000) {
  const engine = playedLink(frames, jitterNs);
  const request = { interface: 'any', filter: null, snapLength: null };
  const log = new AnomalyLog();
  const source = new LiveSource(await EngineChild.start(engine, request), request, log);
  const numbers: number[] = [];
  const frameNumbers: number[] = [];
  for await (const batch of source.batches()) {
    for (let row = 0; row < batch.count; row++) {
      numbers.push(batch.view.getUint32(batch.start[row]! + 60, true));
      frameNumbers.push(batch.firstFrame + row);
    }
    source.narrow(filter);
  }
  return { source, numbers, frameNumbers, notes: log.finish() };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

describe.skipIf(process.platform === 'win32')('a capture that narrows', () => {
  test('hands on every frame of the migration once, and in the end nothing else', async () => {
    const frames = 2500;
    const { source, numbers, frameNumbers, notes } = await captured(frames, 'even');
    const first = numbers[0]!;
    const even = numbers.filter((n) => n % 2 === 0);
    expect(even).toEqual(range(first, frames).filter((n) => n % 2 === 0));
    const odd = numbers.filter((n) => n % 2 === 1);
    const lastOdd = odd.at(-1)!;
    expect(odd).toEqual(range(first, lastOdd + 1).filter((n) => n % 2 === 1));
    expect(lastOdd).toBeLessThan(frames - 100);
    expect(frameNumbers).toEqual(range(1, numbers.length + 1));
    expect(source.narrowing).toMatchObject({ tag: 'done', filter: 'even' });
    expect(source.info.inputs).toMatchObject([{ frames: numbers.length, capturedBytes: 100 * numbers.length }]);
    expect(notes.map(({ code, count }) => [code, count])).toEqual([
      ['capture/narrowed', 1],
      ['capture/frames-cut', numbers.length],
    ]);
    expect(notes[0]!.first).toMatchObject({ detail: 'even' });
    expect(source.failure?.message).toMatch(/ended without being asked \(exit code 0\)/); // the link came to its end
  });

  test('goes on as it was where the filter shows nothing of it', async () => {
    const { source, numbers } = await captured(7000, 'none');
    expect(numbers).toEqual(range(numbers[0]!, 7000));
    expect(source.narrowing).toEqual({
      tag: 'refused',
      filter: 'none',
      reason: expect.stringMatching(/inside a tunnel/),
    });
  });

  test('goes on as it was where the filter is not understood', async () => {
    const { source, numbers, notes } = await captured(1500, 'unknown word');
    expect(numbers).toEqual(range(numbers[0]!, 1500));
    expect(source.narrowing).toMatchObject({
      tag: 'refused',
      reason: expect.stringMatching(/not valid: syntax error/),
    });
    expect(notes.map(({ code }) => code)).toEqual(['capture/frames-cut']);
  });

  test('is not begun twice, and not before there is a frame', async () => {
    const engine = playedLink(900, 0);
    const request = { interface: 'any', filter: null, snapLength: null };
    const source = new LiveSource(await EngineChild.start(engine, request), request, new AnomalyLog());
    source.narrow('even');
    expect(source.narrowing).toBeNull();
    for await (const _ of source.batches()) source.narrow(source.narrowing ? 'none' : 'even');
    expect(source.narrowing).toMatchObject({ filter: 'even' });
  });
});
