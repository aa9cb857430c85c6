// Ways in which a capture comes to harm, each as a function from frames to frames. A frame is {ns, bytes, wire}.
import { gzipSync } from 'node:zlib';

/** Seeded choice; mulberry32. */
function chooser(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const SECOND = 1_000_000_000n;

/** The capture lost frames here and there; the first ten stay, so that there is a handshake. */
export const dropped =
  (share, seed = 7) =>
  (frames) => {
    const next = chooser(seed);
    return frames.filter((_, i) => i < 10 || next() >= share);
  };

/** The capture lost `count` frames in a row, half way; of a short one half its frames. */
export const droppedBlock = (count) => (frames) => {
  const lost = Math.min(count, frames.length >> 1);
  const at = Math.floor((frames.length - lost) / 2);
  return [...frames.slice(0, at), ...frames.slice(at + lost)];
};

/** Every frame recorded twice, as a mirror port or `-i any` does it. */
export const doubled = (frames) => frames.flatMap((frame) => [frame, frame]);

/** One frame in `every` recorded twice. */
const doubledOne = (every) => (frames) => frames.flatMap((frame, i) => (i % every ? [frame] : [frame, frame]));

/** Neighbours in the wrong order, time stamps and all, one pair in `every`. */
export const swapped = (every) => (frames) => {
  const out = frames.slice();
  for (let i = 11; i + 1 < out.length; i += every) {
    const [a, b] = [out[i], out[i + 1]];
    out[i] = { ...b, ns: a.ns };
    out[i + 1] = { ...a, ns: b.ns };
  }
  return out;
};

/** Only the first bytes of every frame were kept. */
export const snapped = (length) => (frames) =>
  frames.map((frame) => ({ ...frame, bytes: frame.bytes.subarray(0, length) }));

/** From the middle on the clock is `seconds` off. */
export const clockStep = (seconds) => (frames) =>
  frames.map((frame, i) =>
    i < frames.length / 2 ? frame : { ...frame, ns: frame.ns + BigInt(Math.round(seconds * 1e9)) },
  );

/** A capture thread that was late: every twentieth frame is stamped 2 ms too early. */
export const jittered = (frames) =>
  frames.map((frame, i) => (i > 0 && i % 20 === 0 ? { ...frame, ns: frame.ns - 2_000_000n } : frame));

/** A byte of every `every`-th frame's payload is another: the capture host's memory, or a bad link before it. */
export const flipped =
  (every, seed = 9) =>
  (frames) => {
    const next = chooser(seed);
    return frames.map((frame, i) => {
      if (i % every || frame.bytes.length < 200) return frame;
      const bytes = Buffer.from(frame.bytes);
      bytes[100 + Math.floor(next() * (bytes.length - 100))] ^= 0x40;
      return { ...frame, bytes };
    });
  };

/** The frames as a classic pcap. */
export function writePcap({ linkType, frames }, { big = false, nano = false } = {}) {
  const u32 = (b, value, at) => (big ? b.writeUInt32BE(value, at) : b.writeUInt32LE(value, at));
  const head = Buffer.alloc(24);
  u32(head, nano ? 0xa1b23c4d : 0xa1b2c3d4, 0);
  u32(head, big ? 0x00020004 : 0x00040002, 4);
  u32(head, 262_144, 16);
  u32(head, linkType, 20);
  const pieces = [head];
  for (const { ns, bytes, wire } of frames) {
    const record = Buffer.alloc(16);
    u32(record, Number(ns / SECOND), 0);
    u32(record, Number((ns % SECOND) / (nano ? 1n : 1000n)), 4);
    u32(record, bytes.length, 8);
    u32(record, wire, 12);
    pieces.push(record, bytes);
  }
  return Buffer.concat(pieces);
}

/**
 * The frames as pcapng: one interface, enhanced packet blocks with comments now and then.
 *
 * @param sectionFrames  frames after which a new section begins
 */
export function writePcapng({ linkType, frames }, { big = false, sectionFrames = Infinity } = {}) {
  const u16 = (value) => (big ? [value >> 8, value & 255] : [value & 255, value >> 8]);
  const u32 = (value) =>
    big ? [...u16(value >>> 16), ...u16(value & 0xffff)] : [...u16(value & 0xffff), ...u16(value >>> 16)];
  const block = (type, ...parts) => {
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const length = u32(12 + body.length + (-body.length & 3));
    return Buffer.concat([
      Buffer.from([...u32(type), ...length]),
      body,
      Buffer.alloc(-body.length & 3),
      Buffer.from(length),
    ]);
  };
  const section = [
    block(0x0a0d0d0a, [...u32(0x1a2b3c4d), ...u16(1), ...u16(0)], new Array(8).fill(255)),
    block(1, [...u16(linkType), ...u16(0), ...u32(262_144), ...u16(9), ...u16(1), 9, 0, 0, 0, ...u32(0)]),
  ];
  const pieces = [];
  for (const [i, { ns, bytes, wire }] of frames.entries()) {
    if (i % sectionFrames === 0 || i === 0) pieces.push(...section);
    const comment = i % 100 ? [] : [...u16(1), ...u16(4), ...Buffer.from('note'), ...u32(0)];
    const time = [...u32(Number(ns >> 32n)), ...u32(Number(ns & 0xffff_ffffn))];
    const head = [...u32(0), ...time, ...u32(bytes.length), ...u32(wire)];
    pieces.push(block(6, head, bytes, Buffer.alloc(-bytes.length & 3), comment));
  }
  return Buffer.concat(pieces);
}

const asPcap = (harm) => (capture) => writePcap({ ...capture, frames: harm(capture.frames) });
const LOST = ['bytes', 'pages', 'rounds', 'downtime', 'undecoded', 'retransmitted', 'outcome', 'time'];
/** What a connection lost at its beginning shows otherwise: its stream is joined midway. */
const LOSS_SAID = /^(tcp.acked-unseen|stream.mid-stream)$/;
const CUT = ['pages', 'rounds', 'downtime', 'undecoded', 'outcome'];

/**
 * Every kind of harm of the table in docs/chaos.md: a capture becomes a file.
 *
 * may   figures that may change: what the harm takes away, and nothing else
 * says  a code that must be noted
 * quiet nothing needs to be said: data behind a reset, or before one, is no damage
 */
export const DAMAGES = {
  none: { make: asPcap((frames) => frames), may: [] },
  'frames lost, 1 in 1000': { make: asPcap(dropped(0.001)), may: LOST, says: LOSS_SAID },
  'frames lost, 1 %': { make: asPcap(dropped(0.01)), may: LOST, says: LOSS_SAID },
  'frames lost, 5 %': { make: asPcap(dropped(0.05)), may: LOST, says: LOSS_SAID },
  'frames lost, 500 in a row': { make: asPcap(droppedBlock(500)), may: LOST, says: LOSS_SAID },
  'every frame doubled': { make: asPcap(doubled), may: ['duplicates'], says: /^tcp.captured-twice$/ },
  'one frame in ten doubled': { make: asPcap(doubledOne(10)), may: ['duplicates'] },
  'neighbours swapped, one pair in ten': { make: asPcap(swapped(10)), may: ['downtime', 'undecoded'], quiet: true },
  'snapped to 54': { make: asPcap(snapped(54)), may: CUT, says: /^capture.frames-cut$/ },
  'snapped to 64': { make: asPcap(snapped(64)), may: CUT, says: /^capture.frames-cut$/ },
  'snapped to 96': { make: asPcap(snapped(96)), may: CUT, says: /^capture.frames-cut$/ },
  'snapped to 128': { make: asPcap(snapped(128)), may: CUT, says: /^capture.frames-cut$/ },
  'one stamp in twenty 2 ms early': {
    make: asPcap(jittered),
    may: ['downtime', 'time'],
    says: /^capture.time-backwards$/,
  },
  'clock steps back 5 s': {
    make: asPcap(clockStep(-5)),
    may: ['downtime', 'rounds', 'time'], // multifd channels are set side by side by their times
    says: /^capture.time-backwards$/,
  },
  'clock steps on 1 h': {
    make: asPcap(clockStep(3600)),
    may: ['downtime', 'time'],
    says: /^capture.time-forwards$/,
  },
  'a bit flipped in every 50th frame': {
    make: asPcap(flipped(50)),
    may: ['pages', 'rounds', 'undecoded', 'downtime'],
    quiet: true, // another address is an address, too
  },
  'pcap, big-endian': { make: (capture) => writePcap(capture, { big: true }), may: [] },
  'pcap, ns': { make: (capture) => writePcap(capture, { nano: true }), may: [] },
  'pcap, big-endian, ns': { make: (capture) => writePcap(capture, { big: true, nano: true }), may: [] },
  pcapng: { make: (capture) => writePcapng(capture), may: [] },
  'pcapng, big-endian': { make: (capture) => writePcapng(capture, { big: true }), may: [] },
  'pcapng, a section every 100 frames': { make: (capture) => writePcapng(capture, { sectionFrames: 100 }), may: [] },
  'gzip in two members': {
    make: (capture) => {
      const file = writePcap(capture);
      const half = file.length >> 1;
      return Buffer.concat([file.subarray(0, half), file.subarray(half)].map((part) => gzipSync(part, { level: 1 })));
    },
    may: [],
  },
};
