// Ways in which a capture comes to harm, each as a function from frames to frames. A frame is {ns, bytes, wire}.

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

/** The capture lost `count` frames in a row, half way. */
export const droppedBlock = (count) => (frames) => {
  const at = Math.floor((frames.length - count) / 2);
  return [...frames.slice(0, at), ...frames.slice(at + count)];
};

/** Every frame recorded twice, as a mirror port or `-i any` does it. */
export const doubled = (frames) => frames.flatMap((frame) => [frame, frame]);

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

/** Every kind of harm of the table in docs/robustness.md. */
export const DAMAGES = {
  none: (frames) => frames,
  'frames lost, 1 %': dropped(0.01),
  'frames lost, 5 %': dropped(0.05),
  'frames lost, 500 in a row': droppedBlock(500),
  'every frame doubled': doubled,
  'neighbours swapped, every tenth': swapped(10),
  'snapped to 54': snapped(54),
  'snapped to 64': snapped(64),
  'snapped to 96': snapped(96),
  'snapped to 128': snapped(128),
  'time stamps 2 ms back, every twentieth': jittered,
  'clock steps back 5 s': clockStep(-5),
  'clock steps on 1 h': clockStep(3600),
  'bits flipped, every 50th frame': flipped(50),
};
