// Builds frames layer by layer, outermost first:
//
//   frame(ethernet(), ipv4({ src: '10.0.0.1' }), tcp({ flags: 'SA', options: [...mss(1460)] }))
//   frame(ethernet(), vlan(7), ipv6(), udp({ dstPort: 4789 }), vxlan(42), ethernet(), ipv4(), tcp({}, 'hello'))
//
// Types, protocols, lengths and checksums follow from what is inside; every one can be forced to be wrong.
// batchOf() puts frames into a PacketBatch as a capture source would.
import { type CaptureInterface, createBatch, type PacketBatch } from '../../src/capture/packet-batch.js';

/** One header. `etherType` and `ipProtocol` name it to the layer around it. */
export interface Layer {
  readonly etherType?: number;
  readonly ipProtocol?: number;
  /** This header with `inner` behind it. `around` is the pseudo header of the IP layer outside, for checksums. */
  build(inner: Uint8Array, next: Layer | undefined, around: PseudoHeader | undefined): Uint8Array;
  /** IP layers: what checksums of layers inside are computed over. */
  readonly pseudoHeader?: PseudoHeader;
}

type PseudoHeader = (protocol: number, length: number) => Uint8Array;
export type Payload = Uint8Array | readonly number[] | string;

/** The bytes of a whole frame (or packet), from its outermost layer inwards. */
export function frame(...layers: readonly Layer[]): Uint8Array {
  const build = (at: number, around: PseudoHeader | undefined): Uint8Array => {
    const layer = layers[at];
    if (layer === undefined) return new Uint8Array(0);
    return layer.build(build(at + 1, layer.pseudoHeader ?? around), layers[at + 1], around);
  };
  return build(0, undefined);
}

// Bytes

export const bytes = (payload: Payload = []): Uint8Array =>
  typeof payload === 'string' ? new TextEncoder().encode(payload) : Uint8Array.from(payload);

/** From hexadecimal digits; anything else in the text is ignored. */
export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/[^0-9a-fA-F]/g, ''), 'hex'));

export const u16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
export const u24 = (value: number): number[] => [(value >>> 16) & 255, ...u16(value)];
export const u32 = (value: number): number[] => [(value >>> 24) & 255, ...u24(value)];
export const u64 = (value: number | bigint): number[] => [
  ...u32(Number((BigInt(value) >> 32n) & 0xffffffffn)),
  ...u32(Number(BigInt(value) & 0xffffffffn)),
];
export const concat = (...parts: readonly Payload[]): Uint8Array => new Uint8Array(Buffer.concat(parts.map(bytes)));

const mac = (text: string): number[] => text.split(':').map((part) => Number.parseInt(part, 16));

export function address(text: string): number[] {
  if (!text.includes(':')) return text.split('.').map(Number);
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').flatMap((group) => u16(Number.parseInt(group, 16)));
  if (tail === undefined) return groups(head);
  const [left, right] = [groups(head), groups(tail)];
  return [...left, ...new Array<number>(16 - left.length - right.length).fill(0), ...right];
}

/** Internet checksum (RFC 1071). */
function checksum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += i % 2 === 0 ? data[i]! * 256 : data[i]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return ~sum & 0xffff;
}

function withChecksum(segment: Uint8Array, at: number, protocol: number, around: PseudoHeader | undefined): Uint8Array {
  if (around === undefined) return segment;
  const sum = checksum(concat(around(protocol, segment.length), segment));
  segment.set(u16(protocol === 17 && sum === 0 ? 0xffff : sum), at);
  return segment;
}

/** Literal bytes as the innermost layer; `as` names them to the layer around. */
export const raw = (payload: Payload, as: { etherType?: number; ipProtocol?: number } = {}): Layer => ({
  ...as,
  build: (inner) => concat(payload, inner),
});

// Link layers

export const ethernet = (
  options: { src?: string; dst?: string; type?: number; padTo?: number; fcs?: boolean } = {},
): Layer => ({
  etherType: 0x6558,
  build(inner, next) {
    const whole = concat(
      mac(options.dst ?? '52:54:00:00:00:02'),
      mac(options.src ?? '52:54:00:00:00:01'),
      u16(options.type ?? next?.etherType ?? 0xffff),
      inner,
    );
    const padded = concat(whole, new Uint8Array(Math.max(0, (options.padTo ?? 0) - whole.length)));
    return options.fcs ? concat(padded, [0xf, 0xc, 0x5, 0x0]) : padded;
  },
});

export const vlan = (id: number, type = 0x8100): Layer => ({
  etherType: type,
  build: (inner, next) => concat(u16(id), u16(next?.etherType ?? 0xffff), inner),
});

export const pppoe = (session = 1): Layer => ({
  etherType: 0x8864,
  build: (inner, next) =>
    concat([0x11, 0], u16(session), u16(inner.length + 2), u16(next?.etherType === 0x86dd ? 0x57 : 0x21), inner),
});

/** Linux cooked v1 (link type 113). */
export const cooked = (options: { packetType?: number; arphrd?: number } = {}): Layer => ({
  build: (inner, next) =>
    concat(
      u16(options.packetType ?? 0),
      u16(options.arphrd ?? 1),
      u16(6),
      mac('52:54:00:00:00:01:00:00'),
      u16(next?.etherType ?? 0),
      inner,
    ),
});

/** Linux cooked v2 (link type 276). */
export const cooked2 = (options: { packetType?: number; arphrd?: number; interfaceIndex?: number } = {}): Layer => ({
  build: (inner, next) =>
    concat(
      u16(next?.etherType ?? 0),
      u16(0),
      u32(options.interfaceIndex ?? 2),
      u16(options.arphrd ?? 1),
      [options.packetType ?? 0, 6],
      mac('52:54:00:00:00:01:00:00'),
      inner,
    ),
});

/** Loopback (link type 0 in either byte order, 108 in network order). */
export const loopback = (family: number, littleEndian = false): Layer => ({
  build: (inner) => concat(littleEndian ? u32(family).reverse() : u32(family), inner),
});

export const mpls = (...labels: readonly number[]): Layer => ({
  etherType: 0x8847,
  ipProtocol: 137,
  build: (inner) =>
    concat(
      labels.flatMap((label, i) => u32(label * 4096 + (i === labels.length - 1 ? 0x100 : 0) + 64)),
      inner,
    ),
});

// IP

export interface Ipv4Options {
  src?: string;
  dst?: string;
  ttl?: number;
  id?: number;
  /** Whole TOS byte; its low two bits are the ECN field. */
  tos?: number;
  protocol?: number;
  /** Header options, multiple of 4 bytes. */
  options?: readonly number[];
  /** Forced total length. */
  totalLength?: number;
  dontFragment?: boolean;
  moreFragments?: boolean;
  /** In bytes, multiple of 8. */
  fragmentOffset?: number;
}

export const ipv4 = (o: Ipv4Options = {}): Layer => {
  const src = address(o.src ?? '10.0.0.1');
  const dst = address(o.dst ?? '10.0.0.2');
  return {
    etherType: 0x0800,
    ipProtocol: 4,
    pseudoHeader: (protocol, length) => concat(src, dst, [0, protocol], u16(length)),
    build(inner, next) {
      const options = o.options ?? [];
      const header = concat(
        [0x45 + options.length / 4, o.tos ?? 0],
        u16(o.totalLength ?? 20 + options.length + inner.length),
        u16(o.id ?? 0),
        u16((o.dontFragment ? 0x4000 : 0) | (o.moreFragments ? 0x2000 : 0) | ((o.fragmentOffset ?? 0) >>> 3)),
        [o.ttl ?? 64, o.protocol ?? next?.ipProtocol ?? 255],
        u16(0),
        src,
        dst,
        options,
      );
      header.set(u16(checksum(header)), 10);
      return concat(header, inner);
    },
  };
};

export interface Ipv6Options {
  src?: string;
  dst?: string;
  hopLimit?: number;
  trafficClass?: number;
  nextHeader?: number;
  /** Forced payload length. */
  payloadLength?: number;
}

export const ipv6 = (o: Ipv6Options = {}): Layer => {
  const src = address(o.src ?? 'fd00::1');
  const dst = address(o.dst ?? 'fd00::2');
  return {
    etherType: 0x86dd,
    ipProtocol: 41,
    pseudoHeader: (protocol, length) => concat(src, dst, u32(length), [0, 0, 0, protocol]),
    build: (inner, next) =>
      concat(
        u32(0x60000000 + (o.trafficClass ?? 0) * 0x100000),
        u16(o.payloadLength ?? inner.length),
        [o.nextHeader ?? next?.ipProtocol ?? 59, o.hopLimit ?? 64],
        src,
        dst,
        inner,
      ),
  };
};

/** An IPv6 extension header of type `type` (0, 43, 60, 135 …); `body` is padded to the unit of 8 bytes. */
export const extension = (type: number, body: Payload = []): Layer => ({
  ipProtocol: type,
  build(inner, next) {
    const content = bytes(body);
    const length = Math.max(8, Math.ceil((content.length + 2) / 8) * 8);
    const padded = new Uint8Array(length);
    padded.set([next?.ipProtocol ?? 59, length / 8 - 1], 0);
    padded.set(content, 2);
    return concat(padded, inner);
  },
});

export const ipv6Fragment = (options: { offset?: number; more?: boolean; id?: number } = {}): Layer => ({
  ipProtocol: 44,
  build: (inner, next) =>
    concat(
      [next?.ipProtocol ?? 59, 0],
      u16((options.offset ?? 0) | (options.more ? 1 : 0)),
      u32(options.id ?? 1),
      inner,
    ),
});

/** Authentication header with a 12-byte check value. */
export const authentication = (): Layer => ({
  ipProtocol: 51,
  build: (inner, next) => concat([next?.ipProtocol ?? 59, 4, 0, 0], u32(1), u32(1), new Uint8Array(12), inner),
});

// Transport

export interface TcpOptions {
  srcPort?: number;
  dstPort?: number;
  seq?: number;
  ack?: number;
  /** Letters of FIN, SYN, RST, PSH, ACK, URG, ECE (E), CWR (C), AE (N); ACK where not given. */
  flags?: string;
  window?: number;
  /** Option bytes; padded with end-of-list to 4 bytes. */
  options?: readonly number[];
  /** Forced data offset, in 4-byte words. */
  dataOffset?: number;
}

const TCP_FLAGS: Readonly<Record<string, number>> = {
  F: 1,
  S: 2,
  R: 4,
  P: 8,
  A: 16,
  U: 32,
  E: 64,
  C: 128,
  N: 256,
};

export const tcp = (o: TcpOptions = {}, payload: Payload = []): Layer => ({
  ipProtocol: 6,
  build(inner, _next, around) {
    const options = [...(o.options ?? [])];
    while (options.length % 4 !== 0) options.push(0);
    const flags = [...(o.flags ?? 'A')].reduce((bits, letter) => bits | TCP_FLAGS[letter]!, 0);
    const segment = concat(
      u16(o.srcPort ?? 40000),
      u16(o.dstPort ?? 4444),
      u32(o.seq ?? 0),
      u32(o.ack ?? 0),
      u16((o.dataOffset ?? 5 + options.length / 4) * 4096 + flags),
      u16(o.window ?? 65535),
      u32(0),
      options,
      payload,
      inner,
    );
    return withChecksum(segment, 16, 6, around);
  },
});

export const mss = (bytes: number): number[] => [2, 4, ...u16(bytes)];
export const windowScale = (shift: number): number[] => [3, 3, shift, 1];
export const sackPermitted = (): number[] => [4, 2, 1, 1];
/** NOP, NOP, timestamps: as nearly every segment has them. */
export const timestamps = (value: number, echo: number): number[] => [1, 1, 8, 10, ...u32(value), ...u32(echo)];
export const sack = (...blocks: readonly (readonly [number, number])[]): number[] => [
  1,
  1,
  5,
  2 + 8 * blocks.length,
  ...blocks.flatMap(([left, right]) => [...u32(left), ...u32(right)]),
];

export const udp = (
  o: { srcPort?: number; dstPort?: number; length?: number; checksum?: boolean } = {},
  payload: Payload = [],
): Layer => ({
  ipProtocol: 17,
  build(inner, _next, around) {
    const length = 8 + bytes(payload).length + inner.length;
    const datagram = concat(
      u16(o.srcPort ?? 50000),
      u16(o.dstPort ?? 5000),
      u16(o.length ?? length),
      u16(0),
      payload,
      inner,
    );
    return o.checksum === false ? datagram : withChecksum(datagram, 6, 17, around);
  },
});

// Tunnels

export const vxlan = (vni: number, flags = 0x08): Layer => ({
  build: (inner) => concat([flags, 0, 0, 0], u24(vni), [0], inner),
});

/** `next`: 1 IPv4, 2 IPv6, 3 Ethernet. */
export const vxlanGpe = (vni: number, next: number): Layer => ({
  build: (inner) => concat([0x0c, 0, 0, next], u24(vni), [0], inner),
});

/** `options` in multiples of 4 bytes. */
export const geneve = (vni: number, options: readonly number[] = []): Layer => ({
  build: (inner, next) => concat([options.length / 4, 0], u16(next?.etherType ?? 0), u24(vni), [0], options, inner),
});

export const gre = (o: { key?: number; sequence?: number; checksum?: boolean; type?: number } = {}): Layer => ({
  ipProtocol: 47,
  build(inner, next) {
    const flags =
      (o.checksum ? 0x8000 : 0) | (o.key === undefined ? 0 : 0x2000) | (o.sequence === undefined ? 0 : 0x1000);
    return concat(
      u16(flags),
      u16(o.type ?? next?.etherType ?? 0),
      o.checksum ? u32(0) : [],
      o.key === undefined ? [] : u32(o.key),
      o.sequence === undefined ? [] : u32(o.sequence),
      inner,
    );
  },
});

/** ERSPAN type II, between gre({ sequence }) and the mirrored ethernet(). */
export const erspan2 = (session: number): Layer => ({
  etherType: 0x88be,
  build: (inner) => concat(u16(0x1000), u16(session), u32(0), inner),
});

/** ERSPAN type III without the platform header. */
export const erspan3 = (session: number): Layer => ({
  etherType: 0x22eb,
  build: (inner) => concat(u16(0x2000), u16(session), u32(0), u16(0), u16(0), inner),
});

/** STT: the TCP-like header and the STT header of a first segment. */
export const stt = (contextId: number): Layer => ({
  ipProtocol: 6,
  build: (inner) =>
    concat(
      u16(40000),
      u16(7471),
      u16(inner.length + 18),
      u16(0),
      u32(1),
      u16(0x5018),
      u16(0xffff),
      u32(0),
      [0, 0, 0, 0],
      u16(1460),
      u16(0),
      u32(0),
      u32(contextId),
      u16(0),
      inner,
    ),
});

// Signals

/** ARP (or RARP, with opcode 3 and 4): sender and target. */
export const arp = (
  opcode: number,
  sender: { mac: string; ip: string },
  target: { mac: string; ip: string },
): Layer => ({
  etherType: opcode >= 3 ? 0x8035 : 0x0806,
  build: (inner) =>
    concat(
      [0, 1, 8, 0, 6, 4],
      u16(opcode),
      mac(sender.mac),
      address(sender.ip),
      mac(target.mac),
      address(target.ip),
      inner,
    ),
});

/** ICMP; `rest` are the four bytes behind the checksum, `body` what follows (the quoted packet of an error). */
export const icmp = (type: number, code: number, rest = 0, body: Payload = []): Layer => ({
  ipProtocol: 1,
  build(inner) {
    const message = concat([type, code, 0, 0], u32(rest), body, inner);
    message.set(u16(checksum(message)), 2);
    return message;
  },
});

export const icmpv6 = (type: number, code: number, rest = 0, body: Payload = []): Layer => ({
  ipProtocol: 58,
  build: (inner, _next, around) => withChecksum(concat([type, code, 0, 0], u32(rest), body, inner), 2, 58, around),
});

// Batches

export interface CapturedFrame {
  bytes: Uint8Array;
  tNs?: number;
  /** Bytes on the wire where the capture cut the frame. */
  wire?: number;
  /** Index into the interfaces. */
  iface?: number;
  way?: number;
}

export const LINK_ETHERNET = 1;

export const captureInterface = (over: Partial<CaptureInterface> = {}): CaptureInterface => ({
  input: 0,
  linkType: LINK_ETHERNET,
  fcsBytes: 0,
  snapLength: null,
  name: '',
  ...over,
});

/** A batch with these frames, one after the other in memory. Bare bytes are frames 1 µs apart, captured whole. */
export function batchOf(
  frames: readonly (Uint8Array | CapturedFrame)[],
  options: { firstFrame?: number; interfaces?: readonly CaptureInterface[]; linkType?: number } = {},
): PacketBatch {
  const records = frames.map((item) => (item instanceof Uint8Array ? { bytes: item } : item));
  const batch = createBatch(concat(...records.map((record) => record.bytes)));
  batch.count = records.length;
  batch.firstFrame = options.firstFrame ?? 1;
  batch.interfaces = options.interfaces ?? [captureInterface({ linkType: options.linkType ?? LINK_ETHERNET })];
  let at = 0;
  records.forEach((record: CapturedFrame, row) => {
    batch.start[row] = at;
    batch.captured[row] = record.bytes.length;
    batch.wire[row] = record.wire ?? record.bytes.length;
    batch.tNs[row] = record.tNs ?? row * 1000;
    batch.iface[row] = record.iface ?? 0;
    batch.way[row] = record.way ?? 0;
    at += record.bytes.length;
  });
  return batch;
}
