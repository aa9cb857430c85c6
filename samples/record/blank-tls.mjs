#!/usr/bin/env node
// Overwrites what TLS records of application data hold in a capture, so that it packs: ciphertext does not. Record headers,
// lengths, times and everything else stay as recorded. Each direction must be captured whole and in order from its SYN.
//
// usage: blank-tls.mjs IN.pcap.gz OUT.pcap.gz
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

const APPLICATION_DATA = 23;
const HEADER_BYTES = 5;
const SYN = 2;

const [input, output] = process.argv.slice(2);
const capture = gunzipSync(readFileSync(input));

/** Payloads by direction: `at` in the file, and where they begin in the stream. */
const directions = new Map();
for (let at = 24, captured; at + 16 <= capture.length; at += 16 + captured) {
  captured = capture.readUInt32LE(at + 8);
  const ip = at + 16 + 14;
  if (capture.readUInt16BE(ip - 2) !== 0x0800 || capture[ip + 9] !== 6) continue;
  const tcp = ip + (capture[ip] & 15) * 4;
  const key = capture.toString('hex', ip + 12, ip + 20) + capture.toString('hex', tcp, tcp + 4);
  const sequence = capture.readUInt32BE(tcp + 4);
  if (capture[tcp + 13] & SYN) directions.set(key, { first: sequence + 1, pieces: [] });
  const start = tcp + (capture[tcp + 12] >>> 4) * 4;
  const length = ip + capture.readUInt16BE(ip + 2) - start;
  const direction = directions.get(key);
  if (direction && length > 0) direction.pieces.push({ at: start, length, offset: (sequence - direction.first) >>> 0 });
}
for (const { pieces } of directions.values()) {
  const end = Math.max(0, ...pieces.map(({ offset, length }) => offset + length));
  const stream = Buffer.alloc(end);
  for (const { at, length, offset } of pieces) capture.copy(stream, offset, at, at + length);
  for (let at = 0, length; at + HEADER_BYTES <= end; at += HEADER_BYTES + length) {
    length = stream.readUInt16BE(at + 3);
    if (stream[at] === APPLICATION_DATA) stream.fill(0, at + HEADER_BYTES, at + HEADER_BYTES + length);
  }
  for (const { at, length, offset } of pieces) stream.copy(capture, at, offset, offset + length);
}
writeFileSync(output, gzipSync(capture, { level: 9 }));
