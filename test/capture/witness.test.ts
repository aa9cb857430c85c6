// pcap-parser reads the same recordings: an implementation that shares nothing with ours. It knows classic pcap in µs.
import { createReadStream, createWriteStream, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { crc32, createGunzip } from 'node:zlib';
import pcapParser from 'pcap-parser';
import { afterAll, describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { openFiles } from '../../src/capture/source.js';
import { pcap, someFrames, temporaryFiles } from '../support/captures.js';
import { describeShared, haveShared, sharedCapture } from '../support/shared.js';

/** Captured length, wire length, absolute time in µs, and CRC of the bytes, of every frame. */
type Facts = number[][];

function witness(path: string): Promise<Facts> {
  return new Promise((resolve, reject) => {
    const facts: Facts = [];
    pcapParser
      .parse(path)
      .on('packet', ({ header, data }) => {
        const us = header.timestampSeconds * 1e6 + header.timestampMicroseconds;
        facts.push([header.capturedLength, header.originalLength, us, crc32(data)]);
      })
      .on('end', () => resolve(facts))
      .on('error', reject);
  });
}

async function ours(path: string): Promise<Facts> {
  const source = await openFiles([path], new AnomalyLog());
  const facts: Facts = [];
  for await (const { count, start, captured, wire, tNs, bytes } of source.batches()) {
    const epochUs = Number(source.info.epochNs! / 1000n);
    for (let row = 0; row < count; row++) {
      const from = start[row]!;
      const length = captured[row]!;
      facts.push([length, wire[row]!, epochUs + tNs[row]! / 1000, crc32(bytes.subarray(from, from + length))]);
    }
  }
  return facts;
}

describe('pcap-parser agrees', () => {
  const file = temporaryFiles();
  test.each(['little', 'big'] as const)('on a %s-endian file of ours', async (order) => {
    const path = file(order, pcap(someFrames(100), { order }));
    const facts = await ours(path);
    expect(facts).toHaveLength(100);
    expect(facts).toEqual(await witness(path));
  });
});

describeShared('pcap-parser agrees on the recordings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'migscope-witness-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  // tcp/ is stamped in ns, which pcap-parser refuses.
  const recordings = haveShared
    ? readdirSync(sharedCapture(''), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.pcap.gz') && !path.startsWith('tcp/'))
        .sort()
    : [];

  test('there are recordings', () => expect(recordings.length).toBeGreaterThan(15));

  test.each(recordings)('%s', async (path) => {
    const plain = join(folder, 'plain.pcap');
    await pipeline(createReadStream(sharedCapture(path)), createGunzip(), createWriteStream(plain));
    const expected = await witness(plain);
    expect(expected.length).toBeGreaterThan(50);
    expect(await ours(sharedCapture(path))).toEqual(expected);
  });
});
