// Small valid inputs of every fuzz target, from which a fuzzer starts.
import { readFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { blocks, join8, pcap, pcapng, someFrames } from '../support/captures.js';
import {
  arp,
  bytes,
  concat,
  cooked,
  cooked2,
  erspan2,
  ethernet,
  extension,
  frame,
  geneve,
  gre,
  icmp,
  ipv4,
  ipv6,
  ipv6Fragment,
  loopback,
  mpls,
  mss,
  type Payload,
  pppoe,
  sack,
  stt,
  tcp,
  timestamps,
  u16,
  u32,
  u64,
  udp,
  vlan,
  vxlan,
  vxlanGpe,
} from '../support/frames.js';
import { describing, smallMigration } from '../support/migration-stream.js';
import * as quic from '../support/udp-transports/quic.js';
import * as rdma from '../support/udp-transports/roce.js';
import * as udt from '../support/udp-transports/udt.js';
import { dtlsRecord, esp, ike, openvpn, wireguard } from '../support/udp-transports/vpn.js';
import { readPcap } from './samples.mjs';
import { migration } from './streams.mjs';
import { conversationSteps } from './targets.mjs';
import { Trouble } from './trouble.mjs';

/** Chooses, but never lies. */
class Honest extends Trouble {
  override strikes(): boolean {
    return false;
  }
}

const MODES = ['precopy', 'xbzrle', 'compress', 'postcopy', 'preempt', 'multifd', 'multifd-zlib', 'tls'];

/** A built migration of each mode, as steps of `conversation`. */
const migrations = MODES.map((mode) => {
  for (let seed = 1; ; seed++) {
    const built = migration(new Honest(seed));
    if (built.mode !== mode || built.channels.length > 4) continue;
    return concat(
      ...built.channels.flatMap(({ forward, backward }, channel) => [
        conversationSteps(channel, 0, forward),
        conversationSteps(channel, 1, backward),
      ]),
    );
  }
});

const libvirtMessage = (type: number, status: number, body: Payload): Uint8Array =>
  concat(u32(28 + bytes(body).length), u32(0x20008086), u32(1), u32(148), u32(type), u32(9), u32(status), body);
const inner = smallMigration().build();
const libvirt = concat(
  libvirtMessage(0, 0, 'prepare'),
  ...[0, 1, 2, 3].map((i) =>
    libvirtMessage(3, 2, inner.subarray((i * inner.length) / 4, ((i + 1) * inner.length) / 4)),
  ),
  libvirtMessage(3, 0, []),
);
const nbdRequest = (command: number, length: number, data = 0): Uint8Array =>
  concat(u32(0x25609513), u16(0), u16(command), u64(1), u64(65_536), u32(length), new Uint8Array(data));
const nbd = concat(
  conversationSteps(0, 1, concat('NBDMAGICIHAVEOPT', u16(3))),
  conversationSteps(
    0,
    0,
    concat(
      u32(3),
      ...['IHAVEOPT', u32(8), u32(0), 'IHAVEOPT', u32(7), u32(10), u32(4), 'disk', u16(0)],
      ...[nbdRequest(0, 512), nbdRequest(1, 4096, 4096), nbdRequest(6, 1 << 20), nbdRequest(2, 0)],
    ),
  ),
);
const lost = Uint8Array.of(4 << 3, 0, 40); // 640 bytes the capture lost
const again = Uint8Array.of(5 << 3, 5, 0);

/** The first bytes of recorded frames, as `frames` takes them. */
function recorded(name: string): Uint8Array {
  const { frames } = readPcap(gunzipSync(readFileSync(`samples/${name}.pcap.gz`)));
  return concat([0], ...frames.slice(0, 60).flatMap(({ bytes: all }) => inFrames([all.subarray(0, 300)])));
}

const inFrames = (list: readonly Uint8Array[]): Uint8Array[] => list.map((each) => concat(u16(each.length), each));
const host = { mac: '52:54:00:00:00:01', ip: '10.0.0.1' };
let port = 40_000;
const segment = () => tcp({ srcPort: port++, options: [...timestamps(1, 2), ...sack([1, 2], [3, 4])] }, 'payload');
const syn = () =>
  tcp({
    ...{ srcPort: port++, flags: 'S' },
    options: [...mss(1460), ...timestamps(1, 0), 30, 12, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8],
  });

/** By link type of `frames`: its number in the list there. */
const linked: readonly (readonly [number, readonly Uint8Array[]])[] = [
  [
    0,
    [
      frame(ethernet(), vlan(1), vlan(2), pppoe(), ipv6(), syn()),
      frame(ethernet(), ipv6(), extension(0, [0xc2, 4, 0, 1]), extension(43), ipv6Fragment({ more: true }), segment()),
      frame(ethernet(), ipv4(), udp({ dstPort: 4789 }), vxlan(42), ethernet(), ipv4(), segment()),
      frame(ethernet(), ipv4(), udp({ dstPort: 4790 }), vxlanGpe(42, 1), ipv4(), segment()),
      frame(ethernet(), ipv4(), udp({ dstPort: 6081 }), geneve(7, [1, 2, 3, 4]), ethernet(), ipv6(), segment()),
      frame(ethernet(), ipv4(), gre({ key: 1, sequence: 2, checksum: true }), mpls(1, 2), ipv4(), syn()),
      frame(ethernet(), ipv4(), gre({ sequence: 2 }), erspan2(3), ethernet(), ipv4(), syn()),
      frame(ethernet(), ipv4(), stt(1), ethernet(), ipv4(), segment()),
      frame(ethernet(), ipv4(), ipv4(), ipv6(), ipv4(), udp({ dstPort: 53 }, 'abcdefghijklmnopqrstuvwxyz')),
      frame(ethernet(), arp(2, host, host)),
      frame(ethernet(), ipv4(), icmp(3, 4, 1400, frame(ipv4(), segment()))),
      frame(ethernet(), ipv4({ moreFragments: true }), segment()),
    ],
  ],
  [1, [frame(cooked(), ipv4(), segment())]],
  [2, [frame(cooked2(), ipv6(), segment())]],
  [3, [frame(loopback(2), ipv4(), syn())]],
  [5, [frame(ipv4(), segment()), frame(ipv6(), segment())]],
];

const PORTS = { udt: 0, wireguard: 1, esp: 2, quic: 3, openvpn: 4, roce: 5 };
const datagrams = (at: number, list: readonly (readonly [number, Uint8Array])[]): Uint8Array =>
  concat(...list.map(([side, body]) => concat([at | (side << 4)], u16(body.length), body)));
const piece = (i: number): Uint8Array => inner.subarray(i * 1000, (i + 1) * 1000);
const numbers = Array.from({ length: 20 }, (_, i) => i);

const { section, description, enhanced, simple, obsolete, statistics } = blocks('big');
const one = Uint8Array.of(1, 2, 3);

const conversations: readonly Uint8Array[] = [
  ...migrations,
  conversationSteps(0, 0, libvirt, 1400),
  nbd,
  concat(conversationSteps(0, 0, inner, 1000).subarray(0, 20_000), lost, again, conversationSteps(0, 0, inner, 1400)),
];

/** By target. */
export const corpus: Readonly<Record<string, readonly Uint8Array[]>> = {
  reader: [
    pcap(someFrames(6)),
    pcap(someFrames(6), { order: 'big', magic: 0xa1b23c4d }),
    pcap(someFrames(6), { magic: 0xa1b2cd34 }),
    pcapng(someFrames(6)),
    join8(
      section(),
      description(1, 0, [[9, Uint8Array.of(0x94)]]),
      description(276, 64, [[2, Uint8Array.of(101)]]),
      enhanced(1_000_000n, one, 1),
      simple(one, 9),
      obsolete(1_000_001n, one, 0, 2),
      statistics(0, [[5, new Uint8Array(8)]]),
      enhanced(1_000_002n, one),
    ),
    gzipSync(pcap(someFrames(6))),
    join8(gzipSync(pcap(someFrames(3))), gzipSync(pcap(someFrames(3)).subarray(24))),
  ],
  frames: [
    ...linked.map(([link, list]) => concat([link], ...inFrames(list))),
    ...['wan-loss', 'multifd', 'receiver-window'].map(recorded),
  ],
  conversation: conversations,
  streams: conversations,
  datagrams: [
    datagrams(PORTS.udt, [
      [0, udt.handshake({ own: 1, request: 1 })],
      [1, udt.handshake({ own: 2, to: 1, request: -1 })],
      ...numbers.map((i) => [0, udt.data(1000 + i, 2, piece(i))] as const),
      [1, udt.ack(1, { next: 1005, number: 1, rttUs: 500 })],
      [0, udt.ack2(2, 1)],
      [1, udt.nak(1, 1007, [1009, 1011])],
      [0, udt.shutdown(2)],
    ]),
    datagrams(PORTS.udt, [
      [0, udt.handshake({ own: 1, socketType: 2 })],
      [1, udt.handshake({ own: 2, to: 1, version: 5 })],
      [0, udt.handshake({ own: 1, version: 5, request: -1 })],
      ...numbers.map((i) => [0, udt.srtData(1000 + i, 2, piece(i))] as const),
    ]),
    datagrams(PORTS.wireguard, [
      [0, wireguard.initiation()],
      [1, wireguard.response()],
      ...numbers.map((i) => [i & 1, wireguard.data(i & 1, i >> 1, 64)] as const),
    ]),
    datagrams(PORTS.esp, [[0, ike()], [1, ike()], ...numbers.map((i) => [i & 1, esp(300 + (i & 1), i, 40)] as const)]),
    datagrams(PORTS.udt, [
      [0, dtlsRecord(22, 0, 0)],
      [1, dtlsRecord(22, 0, 0)],
      ...numbers.map((i) => [0, dtlsRecord(23, 1, i)] as const),
    ]),
    datagrams(PORTS.openvpn, [
      [0, openvpn.clientReset()],
      [1, openvpn.serverReset()],
      [0, openvpn.control()],
      ...numbers.map((i) => [i & 1, openvpn.dataV2(i, 40)] as const),
    ]),
    datagrams(PORTS.quic, [
      [0, quic.long(quic.INITIAL, { bytes: 100 })],
      [1, quic.long(quic.HANDSHAKE, { bytes: 100 })],
      ...numbers.map((i) => [i & 1, quic.short(i % 4 > 1, 60)] as const),
    ]),
    datagrams(PORTS.roce, [
      [0, rdma.cmRequest({ id: 1, queuePair: 5, sequence: 0 })],
      [1, rdma.cmReply({ id: 2, peerId: 1, queuePair: 6, sequence: 0 })],
      [1, rdma.packet(rdma.SEND_ONLY, 5, 0, [], rdma.ramBlocksResult([{ host: 0, ram: 0, length: 65_536 }]))],
      ...numbers.map((i) => [0, rdma.packet(rdma.SEND_ONLY, 6, i, [], rdma.qemuFile(piece(i)))] as const),
      [0, rdma.packet(rdma.SEND_ONLY, 6, 20, [], rdma.compress(0, 0, 4096))],
      [0, rdma.packet(rdma.WRITE_ONLY, 6, 21, rdma.reth(4096, 4096), 'page', { askAck: true })],
      [1, rdma.ack(5, 21)],
      [1, rdma.nak(5, 21)],
      [1, rdma.cnp(5)],
    ]),
  ],
  description: [
    bytes(
      describing([
        { name: 'timer', size: 24 },
        { name: '0000:00:02.0/vga', instance: 1, size: 7 },
      ]),
    ),
    bytes(
      '{"page_size":4096,"devices":[{"name":"a","instance_id":0,"fields":[{"size":4,"array_len":3}],'.concat(
        '"subsections":[{"vmsd_name":"a/b","fields":[{"size":1}],"subsections":[]}]}]}',
      ),
    ),
  ],
  saved: [Uint8Array.of(0), Uint8Array.from({ length: 60 }, (_, i) => (i * 37) & 255)],
};
