// Captures that hold very many of one thing and nothing else, to see what each costs to remember:
//
//   node test/fuzz/floods.mjs KIND COUNT | migscope analyze -
//
// Every one of them says something of what it claims to be and then falls silent.
import { writeSync } from 'node:fs';
import { TRANSPORTS, TUNNELS } from './datagrams.mjs';
import { migration } from './streams.mjs';
import { Trouble } from './trouble.mjs';

/** Spoils nothing. */
class Calm extends Trouble {
  strikes() {
    return false;
  }
}

const t = new Calm(1);
t.outerFamily = 4;
const text = (words) => Buffer.from(words, 'latin1');
const numbers = (...words) => Buffer.concat(words.map((word) => Buffer.of(word >>> 24, word >>> 16, word >>> 8, word)));
const none = Buffer.alloc(0);

/** Of a migration whose mode begins with `mode`: what its first channel, or its second, sends first. */
function beginning(mode, lane, bytes) {
  for (;;) {
    const made = migration(t);
    const channel = made.channels[lane];
    if (made.mode.startsWith(mode) && channel)
      return [channel.forward.subarray(0, bytes), channel.backward.subarray(0, bytes)];
  }
}

const hello = Buffer.concat([numbers(0x11223344, 1), Buffer.alloc(16, 5), Buffer.alloc(40)]);
const clientHello = Buffer.concat([
  Buffer.of(22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3),
  Buffer.alloc(32, 7),
  Buffer.of(0, 0, 2, 0x13, 1, 1, 0, 0, 0),
]);

/** What the opener of a connection says, and what it hears, in the order of `said`: side and bytes. */
const CONNECTIONS = {
  nothing: () => [],
  'qemu-magic': () => [[0, text('QEVM')]],
  'migration-begun': () => [[0, beginning('precopy', 0, 1000)[0]]],
  'multifd-hello': () => [[0, hello]],
  'multifd-half-hello': () => [[0, hello.subarray(0, 7)]],
  'multifd-packets': () => [[0, beginning('multifd', 1, 1400)[0]]],
  'tls-hello': () => [[0, clientHello]],
  tls: () => [
    [0, beginning('tls', 0, 1400)[0]],
    [1, beginning('tls', 0, 1400)[1]],
  ],
  nbd: () => [
    [1, text('NBDMAGICIHAVEOPT\0\u0003')],
    [0, Buffer.of(0, 0, 0, 3)],
  ],
  'one-zero': () => [
    [0, Buffer.of(0)],
    [1, Buffer.of(0)],
  ],
  'proxy-asked': () => [[0, text('CONNECT 10.')]],
  libvirt: () => [[0, numbers(28, 0x20008086, 1, 1, 0, 0, 0)]],
  'some-bytes': () => [[0, Buffer.alloc(200, 0x31)]],
  holes: () => [
    [0, Buffer.of(0)],
    [0, Buffer.alloc(200), 1_000_000],
  ],
};

function u16(packet, at, value) {
  packet[at] = value >>> 8;
  packet[at + 1] = value;
}

function u32(packet, at, value) {
  u16(packet, at, value >>> 16);
  u16(packet, at + 2, value & 0xffff);
}

/** An Ethernet frame from host `client` to one server, or back. */
function ip(protocol, side, client, body) {
  const frame = Buffer.concat([
    Buffer.from('5254000000015254000000020800450000000000400040000000', 'hex'),
    Buffer.alloc(8),
    body,
  ]);
  u16(frame, 16, frame.length - 14);
  frame[23] = protocol;
  u32(frame, side ? 30 : 26, 0x0a00_0000 + client);
  u32(frame, side ? 26 : 30, 0xc0a8_0001);
  return frame;
}

/** Ports change before addresses do. */
const endsOf = (i) => [1 + Math.floor(i / 20_000), 20_000 + (i % 20_000)];

function tcp(i, side, seq, ack, flags, payload, options = none) {
  const [client, port] = endsOf(i);
  const header = Buffer.alloc(20 + options.length);
  u16(header, side ? 2 : 0, port);
  u16(header, side ? 0 : 2, 49_152);
  u32(header, 4, seq);
  u32(header, 8, ack);
  header[12] = (20 + options.length) << 2;
  header[13] = flags;
  u16(header, 14, 30_000);
  options.copy(header, 20);
  return ip(6, side, client, Buffer.concat([header, payload]));
}

function udp(i, side, port, payload) {
  const [client, own] = endsOf(i);
  const header = Buffer.alloc(8);
  u16(header, side ? 2 : 0, own);
  u16(header, side ? 0 : 2, port);
  u16(header, 4, 8 + payload.length);
  return ip(17, side, client, Buffer.concat([header, payload]));
}

function* connection(i, said) {
  yield tcp(i, 0, 99, 0, 2, none, Buffer.of(2, 4, 5, 180, 1, 3, 3, 7));
  yield tcp(i, 1, 199, 100, 18, none, Buffer.of(2, 4, 5, 180, 1, 3, 3, 7));
  yield tcp(i, 0, 100, 200, 16, none);
  const sent = [100, 200];
  for (const [side, bytes, ahead = 0] of said) {
    yield tcp(i, side, sent[side] + ahead, sent[1 - side], 24, bytes);
    sent[side] += bytes.length;
    yield tcp(i, 1 - side, sent[1 - side], sent[side], 16, none);
  }
}

/** Datagrams of one flow of `name`, the first few. */
function* flow(i, name, said) {
  const { port, protocol } = TRANSPORTS[name];
  for (const [side, bytes] of said) {
    if (port !== null) yield udp(i, side, port, bytes);
    else yield ip(protocol, side, 1 + i, bytes);
  }
}

const arp = (i, opcode) => {
  const frame = Buffer.alloc(60);
  frame.fill(0xff, 0, 6);
  Buffer.from('5254000000010806000108000604', 'hex').copy(frame, 6);
  frame[21] = opcode;
  u32(frame, 24, i);
  u32(frame, 28, 0x0a00_0000 + i);
  u32(frame, 38, 0x0a00_0000 + i);
  return frame;
};

const dnsQuery = (i) => {
  const name = String(i);
  return Buffer.concat([
    Buffer.of(i >> 8, i, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.length),
    text(name),
    Buffer.of(0, 0, 1, 0, 1),
  ]);
};

const FIRST_DATAGRAMS = 6;
const STREAM = migration(t).channels[0].forward;

/** By kind: what one of them puts on the wire. */
const FLOODS = Object.fromEntries([
  ['syn', (i) => [tcp(i, 0, 99, 0, 2, none)]],
  ...Object.entries(CONNECTIONS).map(([name, say]) => {
    const said = say();
    return [name, (i) => connection(i, said)];
  }),
  ['udp', (i) => [udp(i, 0, 5000, Buffer.alloc(100))]],
  ...Object.keys(TRANSPORTS)
    .filter((name) => name !== 'mptcp')
    .map((name) => {
      const said = [];
      for (const datagram of TRANSPORTS[name].talk(t, STREAM)) if (said.push(datagram) === FIRST_DATAGRAMS) break;
      return [name, (i) => flow(i, name, said)];
    }),
  // Tunnels are told apart by their identifiers and outer addresses.
  ...['vxlan', 'geneve', 'gre-key'].map((name) => [
    name,
    (i) => {
      const inner = tcp(i, 0, 99, 0, 2, none);
      const outer = Buffer.concat([inner.subarray(0, 14), TUNNELS[name](t, inner.subarray(14))]);
      u16(outer, name === 'gre-key' ? 44 : 47, i);
      return [outer];
    },
  ]),
  ['arp', (i) => [arp(i, 1)]],
  ['dns', (i) => [udp(i, 0, 53, dnsQuery(i))]],
  [
    'icmp-error',
    (i) => [
      ip(1, 1, 1 + i, Buffer.concat([Buffer.of(3, 1, 0, 0, 0, 0, 0, 0), tcp(i, 0, 99, 0, 2, none).subarray(14, 42)])),
    ],
  ],
  ['icmp-echo', (i) => [ip(1, 0, 1 + i, Buffer.concat([Buffer.of(8, 0, 0, 0), numbers(i), Buffer.alloc(48)]))]],
]);

const [kind, count = '100000'] = process.argv.slice(2);
if (!FLOODS[kind]) {
  console.error(Object.keys(FLOODS).join(' '));
  process.exit(2);
}
const out = Buffer.alloc(1 << 20);
let used = 0;
function put(bytes) {
  if (used + bytes.length > out.length) flush();
  used += bytes.copy(out, used);
}
function flush() {
  for (let at = 0; at < used; ) {
    try {
      at += writeSync(1, out, at, used - at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
  used = 0;
}

put(Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex'));
const record = Buffer.alloc(16);
let us = 0;
for (let i = 0; i < Number(count); i++) {
  for (const frame of FLOODS[kind](i)) {
    us += 10;
    record.writeUInt32LE(1_700_000_000 + Math.floor(us / 1e6), 0);
    record.writeUInt32LE(us % 1e6, 4);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    put(record);
    put(frame);
  }
}
flush();
