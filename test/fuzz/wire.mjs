// Streams to TCP frames, frames through networks and tunnels, and frames into capture files; every field may be struck.

const FIN = 1;
const SYN = 2;
const PSH = 8;
const ACK = 16;

/** Internet header, TCP header and payload of one segment. */
function packet(trouble, family, ends, ports, seq, ack, flags, window, options, payload) {
  while (options.length % 4) options = Buffer.concat([options, Buffer.of(1)]);
  const tcp = Buffer.alloc(20 + options.length);
  const n = (value, bits) => trouble.number(value, bits, 0.2);
  tcp.writeUInt16BE(ports[0], 0);
  tcp.writeUInt16BE(ports[1], 2);
  tcp.writeUInt32BE(n(seq >>> 0, 32), 4);
  tcp.writeUInt32BE(n(ack >>> 0, 32), 8);
  tcp[12] = n(((20 + options.length) / 4) << 4, 8);
  tcp[13] = n(flags, 8);
  tcp.writeUInt16BE(n(window, 16), 14);
  options.copy(tcp, 20);
  const length = tcp.length + payload.length;
  if (family === 6) {
    const ip = Buffer.alloc(40);
    ip[0] = 0x60;
    ip.writeUInt16BE(n(length & 0xffff, 16), 4);
    ip[6] = n(6, 8);
    ip[7] = 64;
    ip[8] = ip[24] = 0xfd;
    ip[23] = ends[0];
    ip[39] = ends[1];
    return Buffer.concat([ip, tcp, payload]);
  }
  const ip = Buffer.alloc(20);
  ip[0] = n(0x45, 8);
  ip.writeUInt16BE(n(Math.min(0xffff, length + 20), 16), 2);
  ip.writeUInt16BE(trouble.below(0x10000), 4);
  ip.writeUInt16BE(n(0x4000, 16), 6);
  ip[8] = 64;
  ip[9] = n(6, 8);
  ip.writeUInt32BE(0x0a000000 + ends[0], 12);
  ip.writeUInt32BE(0x0a000000 + ends[1], 16);
  return Buffer.concat([ip, tcp, payload]);
}

const ether = (type) => Buffer.concat([Buffer.from('525400000001525400000002', 'hex'), u16(type)]);
const u16 = (value) => Buffer.of(value >> 8, value & 255);

function udpDatagram(trouble, port, body) {
  const ip = Buffer.alloc(28);
  ip[0] = 0x45;
  ip.writeUInt16BE(Math.min(0xffff, 28 + body.length), 2);
  ip[8] = 64;
  ip[9] = 17;
  ip.writeUInt32BE(0xc0000201, 12);
  ip.writeUInt32BE(0xc0000202, 16);
  ip.writeUInt16BE(50_000, 20);
  ip.writeUInt16BE(port, 22);
  ip.writeUInt16BE(trouble.number(Math.min(0xffff, 8 + body.length), 16, 0.2), 24);
  return Buffer.concat([ether(0x0800), ip, body]);
}

const TUNNELS = {
  none: (_trouble, type, ip) => Buffer.concat([ether(type), ip]),
  vlan: (trouble, type, ip) => Buffer.concat([ether(0x8100), u16(trouble.number(42, 16, 0.2)), u16(type), ip]),
  vxlan: (trouble, type, ip) =>
    udpDatagram(
      trouble,
      4789,
      Buffer.concat([Buffer.of(trouble.number(8, 8, 0.2), 0, 0, 0, 0, 0, 7, 0), ether(type), ip]),
    ),
  geneve: (trouble, type, ip) =>
    udpDatagram(
      trouble,
      6081,
      Buffer.concat([Buffer.of(trouble.number(0, 8, 0.2), 0, 0x65, 0x58, 0, 0, 9, 0), ether(type), ip]),
    ),
  gre(trouble, type, inner) {
    const ip = Buffer.alloc(20);
    ip[0] = 0x45;
    ip.writeUInt16BE(Math.min(0xffff, 24 + inner.length), 2);
    ip[9] = 47;
    return Buffer.concat([ether(0x0800), ip, u16(trouble.number(0, 16, 0.2)), u16(type), inner]);
  },
};

/** Clock and list of frames that grow together. */
class Tape {
  ns = 1_700_000_000_000_000_000n;
  frames = [];

  constructor(trouble) {
    this.trouble = trouble;
  }

  put(bytes, stepNs) {
    const { trouble } = this;
    this.ns += BigInt(Math.max(1, Math.round(stepNs)));
    if (trouble.strikes()) this.ns += BigInt(trouble.pick([-1, 1]) * trouble.pick([1, 1e6, 1e9, 1e12, 1e16]));
    if (this.ns < 0n) this.ns = 0n;
    this.frames.push({ ns: this.ns, bytes, wire: trouble.number(bytes.length, 32, 0.2) });
  }
}

/** Turns each channel into a TCP conversation and interleaves them. */
export function conversations(trouble, channels) {
  const tape = new Tape(trouble);
  const family = trouble.pick([4, 4, 6]);
  const tunnel = trouble.pick(['none', 'none', 'none', ...Object.keys(TUNNELS)]);
  const mss = trouble.pick([536, 1448, 8948, 60_000]);
  const stamps = trouble.chance(0.8);
  const loss = trouble.pick([0, 0, 0.01, 0.1]);
  const rtt = trouble.pick([1e4, 1e5, 1e7]);
  const type = family === 6 ? 0x86dd : 0x0800;
  const talks = channels.map((channel, i) => {
    const isn = [trouble.below(2 ** 32), trouble.below(2 ** 32)];
    const frame = (side, offset, acked, flags, payload, extra = Buffer.alloc(0)) => {
      const clock = Number((tape.ns / 1_000_000n) & 0xffffffn);
      const stamp = Buffer.concat([Buffer.of(8, trouble.number(10, 8, 0.2)), ...[clock, clock].map(u32(trouble))]);
      const options = stamps ? Buffer.concat([extra, stamp, Buffer.of(1, 1)]) : extra;
      const ends = side ? [2, 1] : [1, 2];
      const ports = side ? [49_152, 40_000 + i] : [40_000 + i, 49_152];
      const seq = isn[side] + offset;
      const ack = isn[1 - side] + acked;
      const ip = packet(trouble, family, ends, ports, seq, ack, flags, 30_000, options, payload);
      return TUNNELS[tunnel](trouble, type, ip);
    };
    return conversation(trouble, tape, frame, channel, mss, loss, rtt);
  });
  const going = talks.slice();
  while (going.length) {
    const i = trouble.below(going.length);
    if (going[i].next().done) going.splice(i, 1);
  }
  return tape.frames;
}

const u32 = (trouble) => (value) => {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(trouble.number(value >>> 0, 32, 0.2));
  return b;
};

/** Handshake, data both ways with losses repaired later, and an end of some kind. */
function* conversation(trouble, tape, frame, { forward, backward }, mss, loss, rtt) {
  const none = Buffer.alloc(0);
  const begin = Buffer.of(2, 4, 0x05, 0xb4, 4, 2, 1, 3, 3, trouble.number(7, 8, 5));
  if (!trouble.chance(0.1)) {
    tape.put(frame(0, -1, 0, SYN, none, begin), rtt);
    tape.put(frame(1, -1, 0, SYN | ACK, none, begin), rtt);
    tape.put(frame(0, 0, 0, ACK, none), 1000);
  }
  yield;
  let replied = 0;
  const late = [];
  for (let at = 0; at < forward.length; at += mss) {
    const bytes = forward.subarray(at, at + mss);
    if (trouble.chance(loss)) late.push({ at, bytes });
    if (!late.some((each) => each.at === at) || trouble.chance(0.5)) {
      tape.put(frame(0, at, replied, ACK | PSH, bytes), bytes.length);
    }
    if (late.length && trouble.chance(0.3)) {
      const again = late.shift();
      const sack = Buffer.concat([Buffer.of(1, 1, 5, trouble.number(10, 8, 0.5)), be32(again.at), be32(at)]);
      tape.put(frame(1, replied, again.at, ACK, none, sack), 500);
      tape.put(frame(0, again.at, replied, ACK, again.bytes), rtt);
    }
    if (trouble.chance(0.5)) tape.put(frame(1, replied, late[0]?.at ?? at + bytes.length, ACK, none), 200);
    if (replied < backward.length && trouble.chance(0.2)) {
      const reply = backward.subarray(replied, replied + 1 + trouble.below(40));
      tape.put(frame(1, replied, at, ACK | PSH, reply), 100);
      replied += reply.length;
    }
    yield;
  }
  for (const each of late) tape.put(frame(0, each.at, replied, ACK, each.bytes), rtt);
  if (replied < backward.length) {
    tape.put(frame(1, replied, forward.length, ACK | PSH, backward.subarray(replied)), rtt);
    replied = backward.length;
  }
  const end = trouble.pick([FIN | ACK, FIN | ACK, 4, null]);
  if (end !== null) {
    tape.put(frame(0, forward.length, replied, end, none), rtt);
    tape.put(frame(1, replied, forward.length + 1, end, none), rtt);
  }
}

function be32(value) {
  const b = Buffer.alloc(4);
  b.writeUInt32BE(value >>> 0);
  return b;
}

/** Frames lost, doubled, swapped, cut or spoiled on their way into the file. */
export function throughCapture(trouble, frames) {
  const out = [];
  const snap = trouble.chance(0.15) ? trouble.pick([54, 64, 96, 128, 256]) : Infinity;
  for (const frame of frames) {
    if (trouble.strikes(3)) {
      const action = trouble.below(5);
      if (action === 0) continue;
      if (action === 1) out.push(frame);
      if (action === 2 && out.length) out.splice(out.length - 1, 0, frame);
      if (action === 3) {
        const bytes = Buffer.from(frame.bytes);
        for (let i = 0; i < 3 && bytes.length; i++)
          bytes[trouble.below(Math.min(120, bytes.length))] = trouble.below(256);
        out.push({ ...frame, bytes });
        continue;
      }
      if (action === 4) {
        out.push({ ...frame, bytes: frame.bytes.subarray(0, trouble.below(frame.bytes.length + 1)) });
        continue;
      }
    }
    out.push(frame.bytes.length > snap ? { ...frame, bytes: frame.bytes.subarray(0, snap) } : frame);
  }
  return out;
}

/** A capture file of the frames, in one of the formats; its own fields may be struck too. */
export function captureFile(trouble, frames, linkType = 1) {
  return trouble.chance(0.3) ? pcapng(trouble, frames, linkType) : pcap(trouble, frames, linkType);
}

function pcap(trouble, frames, linkType) {
  const big = trouble.chance(0.3);
  const nano = trouble.chance(0.5);
  const w32 = (b, value, at) => (big ? b.writeUInt32BE(value >>> 0, at) : b.writeUInt32LE(value >>> 0, at));
  const head = Buffer.alloc(24);
  w32(head, nano ? 0xa1b23c4d : 0xa1b2c3d4, 0);
  w32(head, big ? 0x00020004 : 0x00040002, 4);
  w32(head, trouble.number(262_144, 32), 16);
  w32(head, trouble.number(linkType, 32), 20);
  const pieces = [head];
  for (const { ns, bytes, wire } of frames) {
    const record = Buffer.alloc(16);
    w32(record, Number((ns / 1_000_000_000n) & 0xffffffffn), 0);
    w32(record, trouble.number(Number((ns % 1_000_000_000n) / (nano ? 1n : 1000n)), 32, 0.2), 4);
    w32(record, trouble.number(bytes.length, 32, 0.2), 8);
    w32(record, wire, 12);
    pieces.push(record, bytes);
  }
  return Buffer.concat(pieces);
}

function pcapng(trouble, frames, linkType) {
  const block = (type, body) => {
    const padded = Buffer.concat([body, Buffer.alloc(-body.length & 3)]);
    const edge = Buffer.alloc(4);
    edge.writeUInt32LE(trouble.number(padded.length + 12, 32, 0.2));
    const head = Buffer.alloc(4);
    head.writeUInt32LE(trouble.number(type, 32, 0.2));
    const tail = Buffer.alloc(4);
    tail.writeUInt32LE(trouble.number(padded.length + 12, 32, 0.2));
    return Buffer.concat([head, edge, padded, tail]);
  };
  const le = (value, bytes) => {
    const b = Buffer.alloc(bytes);
    b.writeUIntLE(trouble.number(value, bytes * 8, 0.2), 0, bytes);
    return b;
  };
  const option = (code, value) =>
    Buffer.concat([le(code, 2), le(value.length, 2), value, Buffer.alloc(-value.length & 3)]);
  const pieces = [
    block(0x0a0d0d0a, Buffer.concat([Buffer.from('4d3c2b1a01000000', 'hex'), Buffer.alloc(8, 0xff)])),
    block(
      1,
      Buffer.concat([
        le(linkType, 2),
        le(0, 2),
        le(0, 4),
        option(2, Buffer.from(trouble.name('eth0'), 'latin1')),
        option(9, Buffer.of(trouble.number(9, 8))),
        option(0, Buffer.alloc(0)),
      ]),
    ),
  ];
  for (const { ns, bytes, wire } of frames) {
    const head = Buffer.concat([
      le(0, 4),
      le(Number((ns >> 32n) & 0xffffffffn), 4),
      le(Number(ns & 0xffffffffn), 4),
      le(bytes.length, 4),
      le(wire, 4),
    ]);
    pieces.push(block(6, Buffer.concat([head, bytes])));
  }
  return Buffer.concat(pieces);
}
