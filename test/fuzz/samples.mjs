// Excerpts of real recordings with fields of headers and streams struck in place.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { HOSTILE_NAMES } from './trouble.mjs';

/** Frames of a little-endian classic pcap. */
export function readPcap(file) {
  const nano = file.readUInt32LE(0) === 0xa1b23c4d;
  const frames = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const captured = file.readUInt32LE(at + 8);
    const fraction = BigInt(file.readUInt32LE(at + 4)) * (nano ? 1n : 1000n);
    frames.push({
      ns: BigInt(file.readUInt32LE(at)) * 1_000_000_000n + fraction,
      bytes: file.subarray(at + 16, at + 16 + captured),
      wire: file.readUInt32LE(at + 12),
    });
    at += 16 + captured;
  }
  return { linkType: file.readUInt32LE(20), frames };
}

/** Recordings as lists of frames; `paths` are gzipped pcap files. */
export const loadSamples = (paths) => paths.map((path) => ({ path, ...readPcap(gunzipSync(readFileSync(path))) }));

const EXCERPT_BYTES = 3 << 20;

/** Stretches of a recording: its beginning, something from the middle, its end; holes lie between. */
export function excerpt(trouble, frames) {
  const out = [];
  const starts = [0, trouble.below(frames.length), frames.length - 1 - trouble.below(Math.min(400, frames.length))];
  const wanted = starts.filter(() => trouble.chance(0.7));
  let bytes = 0;
  let from = 0;
  for (const start of wanted.length ? wanted.sort((a, b) => a - b) : [0]) {
    const frameLimit = trouble.pick([20, 100, 400]);
    const byteLimit = bytes + EXCERPT_BYTES / 3;
    for (let i = Math.max(from, start); i < Math.min(frames.length, start + frameLimit) && bytes < byteLimit; i++) {
      out.push(frames[i]);
      bytes += frames[i].bytes.length;
      from = i + 1;
    }
  }
  return out;
}

/** Where fields of interest may lie: [pattern, offset of the field behind the pattern's start, its bytes]. */
export const MARKS = [
  [Buffer.from('QEVM'), 4, 4],
  [Buffer.from('QEVM'), 9, 4],
  [Buffer.from('\x06pc.ram', 'latin1'), 0, 1],
  [Buffer.from('\x06pc.ram', 'latin1'), 7, 8],
  [Buffer.from('\x06pc.ram', 'latin1'), -8, 8],
  [Buffer.from('\x03ram', 'latin1'), 4, 4],
  [Buffer.from('\x03ram', 'latin1'), 12, 8],
  [Buffer.from('11223344', 'hex'), 4, 4],
  [Buffer.from('11223344', 'hex'), 8, 4],
  [Buffer.from('11223344', 'hex'), 12, 4],
  [Buffer.from('11223344', 'hex'), 16, 4],
  [Buffer.from('11223344', 'hex'), 20, 4],
  [Buffer.from('11223344', 'hex'), 24, 8],
  [Buffer.from('11223344', 'hex'), 32, 4],
  [Buffer.from('11223344', 'hex'), 320, 8],
  [Buffer.from('00000000000000107e', 'hex'), 8, 1],
  [Buffer.from('00000000000000107e', 'hex'), 9, 4],
  [Buffer.from('00000000000000107e', 'hex'), 13, 1],
  [Buffer.from('00000000000000107e', 'hex'), 14, 4],
  [Buffer.from('00000000000000107e', 'hex'), 18, 8],
  [Buffer.from('08000700', 'hex'), 3, 2],
  [Buffer.from('08000700', 'hex'), 5, 4],
  [Buffer.from('"page_size"'), 12, 4],
  [Buffer.from('"fields"'), 9, 4],
  [Buffer.from('170303', 'hex'), 3, 2],
];

/** Offset of the TCP header of a plain Ethernet frame; −1 where there is none. */
function tcpAt(bytes) {
  if (bytes.length < 54) return -1;
  const type = bytes.readUInt16BE(12);
  if (type === 0x0800 && bytes[23] === 6) return 14 + (bytes[14] & 15) * 4;
  return type === 0x86dd && bytes[20] === 6 ? 54 : -1;
}

/** Header fields of TCP over IP: [offset from the TCP header, bytes]. */
const TCP_FIELDS = [
  [4, 4],
  [8, 4],
  [12, 1],
  [13, 1],
  [14, 2],
  [18, 2],
  [20, 4],
  [24, 4],
  [28, 4],
];

/** Gives the field of `size` bytes at `at` another value; false where it would lie outside. */
export function strike(trouble, bytes, at, size) {
  if (at < 0 || at + size > bytes.length) return false;
  let value = 0n;
  for (let i = 0; i < size; i++) value = value * 256n + BigInt(bytes[at + i]);
  let left = BigInt(trouble.value(Number(value), size * 8));
  for (let i = size - 1; i >= 0; i--, left >>= 8n) bytes[at + i] = Number(left & 255n);
  return true;
}

/** A copy of `frames` in which a few fields tell lies. */
export function struck(trouble, frames) {
  const out = frames.slice();
  for (let strikes = trouble.below(12); strikes > 0; strikes--) {
    const i = trouble.below(out.length);
    const bytes = Buffer.from(out[i].bytes);
    const tcp = tcpAt(bytes);
    if (trouble.chance(0.35) && tcp > 0) {
      const [offset, size] = trouble.pick(TCP_FIELDS);
      strike(trouble, bytes, tcp + offset, size);
    } else if (trouble.chance(0.15)) {
      strike(trouble, bytes, 12 + trouble.below(30), trouble.pick([1, 2]));
    } else {
      // The first frame at or after i that holds the mark: marks are rare, frames are many.
      const [pattern, offset, size] = trouble.pick(MARKS);
      const host = markedFrame(out, pattern, i);
      if (host < 0) continue;
      const marked = Buffer.from(out[host].bytes);
      const at = marked.indexOf(pattern);
      if (size === 1 && trouble.chance(0.3)) marked.write(trouble.pick(HOSTILE_NAMES), at + 1, 'latin1');
      else strike(trouble, marked, at + offset, size);
      out[host] = { ...out[host], bytes: marked };
      continue;
    }
    out[i] = { ...out[i], bytes };
  }
  return out;
}

/** Number of the first frame from `from` on, around the end, that holds `pattern`; −1 where none does. */
export function markedFrame(frames, pattern, from) {
  for (let i = 0; i < frames.length; i++) {
    const at = (from + i) % frames.length;
    if (frames[at].bytes.includes(pattern)) return at;
  }
  return -1;
}
