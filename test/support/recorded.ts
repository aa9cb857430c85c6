// Reads a small classic pcap (gzip, little-endian, µs), for tests that shall not depend on the capture readers.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { PacketBatch } from '../../src/capture/packet-batch.js';
import { batchOf } from './frames.js';

/** All frames of the file, times relative to the first. */
export function recorded(path: URL): PacketBatch {
  const file = gunzipSync(readFileSync(path));
  if (file.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error(`${path.pathname} is not a little-endian µs pcap`);
  const frames = [];
  let epochUs = Number.NaN;
  for (let at = 24; at + 16 <= file.length; ) {
    const us = file.readUInt32LE(at) * 1e6 + file.readUInt32LE(at + 4);
    if (Number.isNaN(epochUs)) epochUs = us;
    const captured = file.readUInt32LE(at + 8);
    const bytes = new Uint8Array(file.subarray(at + 16, at + 16 + captured));
    frames.push({ bytes, wire: file.readUInt32LE(at + 12), tNs: (us - epochUs) * 1000 });
    at += 16 + captured;
  }
  return batchOf(frames, { linkType: file.readUInt32LE(20) });
}
