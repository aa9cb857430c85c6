// The same frames give the same result, however they are packed and however they are read.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { reportOn } from '../support/analyze.js';

const folder = mkdtempSync(join(tmpdir(), 'migscope-containers-'));
afterAll(() => rmSync(folder, { recursive: true }));

const packed = 'samples/precopy.pcap.gz';
const plain = gunzipSync(readFileSync(packed));

const write = (name: string, bytes: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

/** Everything but how the input was packed. */
const essence = ({ capture: { inputs: _, ...capture }, ...report }: ReportData): unknown => ({ ...report, capture });

/** The frames of a little-endian µs pcap as pcapng: one section, one interface, enhanced packet blocks. */
function toPcapng(pcap: Buffer): Buffer {
  const block = (type: number, body: Buffer): Buffer => {
    const padded = Buffer.concat([body, Buffer.alloc(-body.length & 3)]);
    const edge = Buffer.alloc(4);
    edge.writeUInt32LE(padded.length + 12);
    const head = Buffer.alloc(4);
    head.writeUInt32LE(type);
    return Buffer.concat([head, edge, padded, edge]);
  };
  const words = (...values: number[]): Buffer => {
    const bytes = Buffer.alloc(4 * values.length);
    for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * i);
    return bytes;
  };
  const blocks = [
    block(0x0a0d0d0a, words(0x1a2b3c4d, 0x00000001, 0xffffffff, 0xffffffff)),
    block(1, words(pcap.readUInt32LE(20), pcap.readUInt32LE(16))),
  ];
  for (let at = 24; at < pcap.length; ) {
    const micros = BigInt(pcap.readUInt32LE(at)) * 1_000_000n + BigInt(pcap.readUInt32LE(at + 4));
    const captured = pcap.readUInt32LE(at + 8);
    const header = words(0, Number(micros >> 32n), Number(micros & 0xffffffffn), captured, pcap.readUInt32LE(at + 12));
    blocks.push(block(6, Buffer.concat([header, pcap.subarray(at + 16, at + 16 + captured)])));
    at += 16 + captured;
  }
  return Buffer.concat(blocks);
}

const expected = reportOn(packed).then(essence);

test('gzip and plain', async () => {
  expect(essence(await reportOn(write('plain.pcap', plain)))).toEqual(await expected);
});

test('pcapng', async () => {
  expect(essence(await reportOn(write('same.pcapng', toPcapng(plain))))).toEqual(await expected);
});

test('standard input', async () => {
  const pieces = Array.from({ length: Math.ceil(plain.length / 70_001) }, (_, i) =>
    plain.subarray(i * 70_001, (i + 1) * 70_001),
  );
  expect(essence(await reportOn('-', { stdin: Readable.from(pieces, { objectMode: false }) }))).toEqual(await expected);
});

test.each([65_536, 100_003, 1 << 20])('reads of %i bytes', async (chunkBytes) => {
  expect(essence(await reportOn(write('chunks.pcap', plain), { chunkBytes }))).toEqual(await expected);
});

test('two files, the second named first', async () => {
  let at = 24;
  while (at < plain.length / 2) at += 16 + plain.readUInt32LE(at + 8);
  const first = write('part-1.pcap', plain.subarray(0, at));
  const second = write('part-2.pcap', Buffer.concat([plain.subarray(0, 24), plain.subarray(at)]));
  expect(essence(await reportOn([second, first]))).toEqual(await expected);
});
