// Builds the bench's captures: large, synthetic, and shaped like real migrations (valid QEMU streams in valid TCP).
//
// Contents are constant per name and size, so files are kept in a cache folder and built once. Page contents are random:
// nothing here is easier to read than guest memory.
import { randomFillSync } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';

const PAGE = 4096;
const LINK_HEADERS = 14 + 20 + 32; // Ethernet, IPv4, TCP with timestamps

/** A pcap file behind a large buffer. */
class Capture {
  #file;
  #buffer = Buffer.alloc(16 << 20);
  #at = 0;
  #snap;
  frames = 0;
  bytes = 0;

  constructor(path, snap = 0x40000) {
    this.#file = openSync(path, 'w');
    this.#snap = snap;
    const b = this.#buffer;
    b.writeUInt32LE(0xa1b23c4d, 0);
    b.writeUInt16LE(2, 4);
    b.writeUInt16LE(4, 6);
    b.writeUInt32LE(snap, 16);
    b.writeUInt32LE(1, 20);
    this.#at = 24;
  }

  /** One TCP frame of `conn` in direction `side`, payload source[start, end). */
  tcp(tNs, conn, side, flags, seq, ack, window, source, start, end) {
    const length = LINK_HEADERS + end - start;
    const captured = Math.min(length, this.#snap);
    if (this.#at + 16 + length > this.#buffer.length) this.#flush();
    const b = this.#buffer;
    let at = this.#at;
    b.writeUInt32LE(1_700_000_000 + Math.floor(tNs / 1e9), at);
    b.writeUInt32LE(tNs % 1e9, at + 4);
    b.writeUInt32LE(captured, at + 8);
    b.writeUInt32LE(length, at + 12);
    at += 16;
    b.fill(0, at, at + LINK_HEADERS);
    b.writeUInt16BE(0x0800, at + 12);
    b[at + 14] = 0x45;
    b.writeUInt16BE(Math.min(0xffff, length - 14), at + 16);
    b.writeUInt16BE((conn.ipId[side] += Math.max(1, Math.ceil((end - start) / 1448))) & 0xffff, at + 18);
    b[at + 22] = 64;
    b[at + 23] = 6;
    b.writeUInt32BE(0x0a000001 + side, at + 26);
    b.writeUInt32BE(0x0a000002 - side, at + 30);
    b.writeUInt16BE(side ? conn.server : conn.client, at + 34);
    b.writeUInt16BE(side ? conn.client : conn.server, at + 36);
    b.writeUInt32BE(seq >>> 0, at + 38);
    b.writeUInt32BE(ack >>> 0, at + 42);
    b[at + 46] = 0x80;
    b[at + 47] = flags;
    b.writeUInt16BE(window, at + 48);
    if (flags & 0x02) {
      // Window scale 14, SACK permitted, MSS 1460.
      b.writeUInt32BE(0x03030e01, at + 54);
      b.writeUInt32BE(0x04020101, at + 58);
      b.writeUInt32BE(0x020405b4, at + 62);
    } else {
      b.writeUInt32BE(0x0101080a, at + 54);
      b.writeUInt32BE(Math.floor(tNs / 1e6) + 1000, at + 58);
      b.writeUInt32BE(Math.floor(tNs / 1e6) + 1000, at + 62);
    }
    if (captured > LINK_HEADERS) source.copy(b, at + LINK_HEADERS, start, start + captured - LINK_HEADERS);
    this.#at = at + captured;
    this.frames++;
    this.bytes += captured + 16;
  }

  #flush() {
    for (let done = 0; done < this.#at; ) done += writeSync(this.#file, this.#buffer, done, this.#at - done);
    this.#at = 0;
  }

  close() {
    this.#flush();
    closeSync(this.#file);
  }
}

/** A TCP sender that turns chunks of a stream into segments and acknowledgements. */
class Sender {
  constructor(capture, clock, conn, mss, { lossEvery = 0, reorderEvery = 0, inFlight = 0 } = {}) {
    Object.assign(this, {
      capture,
      clock,
      conn,
      mss,
      lossEvery,
      reorderEvery,
      inFlight,
      sent: 0,
      segments: 0,
      held: null,
      lost: [],
    });
    conn.ipId = [1, 1];
    const none = Buffer.alloc(0);
    capture.tcp(clock.now(20_000), conn, 0, 0x02, conn.isn - 1, 0, 64_240, none, 0, 0);
    capture.tcp(clock.now(20_000), conn, 1, 0x12, 99, conn.isn, 65_160, none, 0, 0);
    capture.tcp(clock.now(20_000), conn, 0, 0x10, conn.isn, 100, 64_240, none, 0, 0);
  }

  send(chunk) {
    for (let at = 0; at < chunk.length; at += this.mss) this.#segment(chunk, at, Math.min(chunk.length, at + this.mss));
  }

  #segment(chunk, start, end) {
    const { capture, clock, conn } = this;
    const n = ++this.segments;
    const seq = conn.isn + this.sent;
    this.sent += end - start;
    if (this.reorderEvery && n % this.reorderEvery === 0 && !this.held) {
      this.held = { seq, bytes: Buffer.from(chunk.subarray(start, end)), after: n + 4 };
      return;
    }
    capture.tcp(clock.forBytes(end - start), conn, 0, 0x10, seq, 100, 64_240, chunk, start, end);
    if (this.held && n >= this.held.after) {
      capture.tcp(
        clock.now(500),
        conn,
        0,
        0x10,
        this.held.seq,
        100,
        64_240,
        this.held.bytes,
        0,
        this.held.bytes.length,
      );
      this.held = null;
    }
    // Captured at the source and lost on the way: sent again when the flight has passed, 40 segments later at the least.
    if (this.lossEvery && n % this.lossEvery === 0)
      this.lost.push({ seq, bytes: Buffer.from(chunk.subarray(start, end)), after: n + Math.max(40, this.inFlight) });
    if (this.lost.length && n >= this.lost[0].after) {
      const again = this.lost.shift();
      capture.tcp(clock.now(500), conn, 0, 0x10, again.seq, 100, 64_240, again.bytes, 0, again.bytes.length);
    }
    if (n % 2 === 0) {
      const held = this.held ? this.held.seq : Number.POSITIVE_INFINITY;
      const newest = Math.max(conn.isn, conn.isn + this.sent - this.inFlight * this.mss);
      const ack = Math.min(newest, this.lost[0]?.seq ?? Number.POSITIVE_INFINITY, held);
      capture.tcp(clock.now(200), conn, 1, 0x10, 100, ack, 0x7fff, chunk, 0, 0);
    }
  }

  end() {
    const { capture, clock, conn } = this;
    const none = Buffer.alloc(0);
    capture.tcp(clock.now(1000), conn, 0, 0x11, conn.isn + this.sent, 100, 64_240, none, 0, 0);
    capture.tcp(clock.now(1000), conn, 1, 0x11, 100, conn.isn + this.sent + 1, 65_160, none, 0, 0);
  }
}

class Clock {
  #tNs = 0;
  constructor(bytesPerSecond) {
    this.nsPerByte = 1e9 / bytesPerSecond;
  }
  now(stepNs) {
    return Math.round((this.#tNs += stepNs));
  }
  forBytes(bytes) {
    return Math.round((this.#tNs += bytes * this.nsPerByte));
  }
}

const noise = randomFillSync(Buffer.alloc(PAGE * 64));
const text = (value) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
const be32 = (value) => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(value >>> 0);
  return b;
};
const be64 = (value) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(BigInt(value));
  return b;
};

const header = (ramBytes) => {
  const machine = 'pc-i440fx-7.2';
  return Buffer.concat([
    be32(0x5145564d),
    be32(3),
    Buffer.from([7]),
    be32(machine.length),
    Buffer.from(machine),
    Buffer.from([1]),
    be32(2),
    text('ram'),
    be32(0),
    be32(4),
    be64(ramBytes + 4),
    text('pc.ram'),
    be64(ramBytes),
    be64(0x10),
    Buffer.from([0x7e]),
    be32(2),
  ]);
};
const sectionOpen = (type) => Buffer.concat([Buffer.from([type]), be32(2)]);
const sectionClose = () => Buffer.concat([be64(0x10), Buffer.from([0x7e]), be32(2)]);
const trailer = () => {
  const json = Buffer.from('{"page_size":4096,"devices":[]}');
  return Buffer.concat([sectionOpen(3), sectionClose(), Buffer.from([0]), Buffer.from([6]), be32(json.length), json]);
};

/** A plain pre-copy stream: passes over `ramBytes`, the first whole, the others over a fixed eighth, until `total` bytes. */
function* plainStream(ramBytes, total) {
  yield header(ramBytes);
  let sent = 0;
  let page = 0;
  let limit = ramBytes / PAGE;
  let named = false;
  const part = Buffer.alloc(5 + 256 * (PAGE + 8) + 16 + 13);
  while (sent < total) {
    let at = sectionOpen(2).copy(part, 0);
    for (let i = 0; i < 256; i++) {
      if (page >= limit) {
        page = 0;
        limit = ramBytes / PAGE / 8;
      }
      at = part.writeUInt32BE(Math.floor((page * PAGE) / 2 ** 32), at);
      at = part.writeUInt32BE((((page * PAGE) % 2 ** 32) + 8 + (named ? 0x20 : 0)) >>> 0, at);
      if (!named) at += text('pc.ram').copy(part, at);
      named = true;
      at += noise.copy(part, at, (i % 63) * PAGE, (i % 63) * PAGE + PAGE);
      page++;
    }
    at += sectionClose().copy(part, at);
    yield part.subarray(0, at);
    sent += at;
  }
  yield trailer();
}

/** One multifd channel's packets (layout of QEMU 10.0), channel `id` of `channels`, in turn with the others. */
const multifdHello = (id) => {
  const b = Buffer.alloc(64);
  b.writeUInt32BE(0x11223344, 0);
  b.writeUInt32BE(1, 4);
  b[24] = id;
  return b;
};
function multifdPacket(number, firstPage) {
  const pages = 128;
  const b = Buffer.alloc(1344 + pages * PAGE);
  b.writeUInt32BE(0x11223344, 0);
  b.writeUInt32BE(1, 4);
  b.writeUInt32BE(pages, 12);
  b.writeUInt32BE(pages, 16);
  b.writeUInt32BE(pages * PAGE, 20);
  b.writeBigUInt64BE(BigInt(number), 24);
  b.write('pc.ram', 64, 'latin1');
  for (let i = 0; i < pages; i++) {
    b.writeBigUInt64BE(BigInt((firstPage + i) * PAGE), 320 + 8 * i);
    noise.copy(b, 1344 + i * PAGE, (i % 63) * PAGE, (i % 63) * PAGE + PAGE);
  }
  return b;
}

/** The packet that ends a round on a lane: no pages, MULTIFD_FLAG_SYNC. */
function multifdSync(number) {
  const b = Buffer.alloc(1344);
  b.writeUInt32BE(0x11223344, 0);
  b.writeUInt32BE(1, 4);
  b.writeUInt32BE(1, 8);
  b.writeUInt32BE(128, 12);
  b.writeBigUInt64BE(BigInt(number), 24);
  return b;
}

function plain(path, bytes, mss, options = {}) {
  const capture = new Capture(path, options.snap);
  const clock = new Clock(options.rate ?? 1.2e9);
  const sender = new Sender(capture, clock, { client: 40_000, server: 49_152, isn: 1000 }, mss, options);
  for (const chunk of plainStream(512 << 20, bytes)) sender.send(chunk);
  sender.end();
  capture.close();
  return capture;
}

function multifd(path, bytes, mss, channels) {
  const capture = new Capture(path);
  const clock = new Clock(1.2e9);
  const main = new Sender(capture, clock, { client: 40_000, server: 49_152, isn: 1000 }, mss);
  const ramBytes = 512 << 20;
  main.send(header(ramBytes));
  const lanes = Array.from({ length: channels }, (_, id) => {
    const lane = new Sender(capture, clock, { client: 40_001 + id, server: 49_152, isn: 5000 * id + 1 }, mss);
    lane.send(multifdHello(id));
    return lane;
  });
  // As QEMU 10.0 does it: after each pass every lane sends a SYNC packet and the main channel a flush mark; the first pass
  // is whole, the others cover an eighth.
  let number = 0;
  for (let sent = 0, pass = 0; sent < bytes; pass++) {
    const end = pass === 0 ? ramBytes / PAGE : ramBytes / PAGE / 8;
    for (let page = 0; page < end && sent < bytes; page += 128, number++) {
      const packet = multifdPacket(number, page);
      lanes[number % channels].send(packet);
      sent += packet.length;
      if (number % 64 === 63) main.send(Buffer.concat([sectionOpen(2), sectionClose()]));
    }
    for (const lane of lanes) lane.send(multifdSync(number++));
    main.send(Buffer.concat([sectionOpen(2), be64(0x200), sectionClose()]));
  }
  main.send(trailer());
  for (const lane of [...lanes, main]) lane.end();
  capture.close();
  return capture;
}

function manyConnections(path, bytes, count) {
  const capture = new Capture(path);
  const clock = new Clock(1.2e9);
  const senders = Array.from(
    { length: count },
    (_, i) =>
      new Sender(
        capture,
        clock,
        { client: 1024 + (i % 60_000), server: 80 + Math.floor(i / 60_000), isn: i * 7919 },
        1448,
      ),
  );
  for (let sent = 0, i = 0; sent < bytes; i++) {
    senders[(i * 7) % count].send(noise.subarray(0, 2896));
    sent += 2896;
  }
  for (const sender of senders) sender.end();
  capture.close();
  return capture;
}

/** name → (path, scale) → Capture. `scale` 1 gives the standard size. */
export const INPUTS = {
  offload: (path, scale) => plain(path, 1e9 * scale, 65_160),
  multifd: (path, scale) => multifd(path, 1e9 * scale, 1448, 4),
  'headers-only': (path, scale) => plain(path, 8e6 * (2 / 3) * 1448 * scale, 1448, { snap: 96 }),
  loss: (path, scale) => plain(path, 5e8 * scale, 1448, { lossEvery: 50, reorderEvery: 70 }),
  'in-flight-20': (path, scale) => plain(path, 3e8 * scale, 1448, { inFlight: 20, lossEvery: 5000 }),
  'in-flight-20000': (path, scale) => plain(path, 3e8 * scale, 1448, { inFlight: 20_000, lossEvery: 5000 }),
  'many-connections': (path, scale) => manyConnections(path, 5e8 * scale, 10_000),
  'beyond-4-gib': (path, scale) => plain(path, 4.5e9 * scale, 65_160),
};

/** What is measured against other programs has the size of captures that people wait for: several GB. */
const USUAL_SCALE = { offload: 4, multifd: 4 };

/** Path of the input, built when it is not in `folder` yet. */
export function input(folder, name, scale = USUAL_SCALE[name] ?? 1) {
  mkdirSync(folder, { recursive: true });
  const path = `${folder}/${name}-x${scale}.pcap`;
  if (!existsSync(path)) {
    INPUTS[name](`${path}.partial`, scale);
    renameSync(`${path}.partial`, path);
  }
  return path;
}
