// Migrations that do not travel in plain TCP: over reliable UDP, RDMA, sealed tunnels and multipath TCP, in tunnels of every
// kind, nested and captured inside and outside. Every field may be struck, those under QUIC's keys included.
import { createCipheriv, createHash, createHmac } from 'node:crypto';

/** Bytes of a stream that are put on the wire; what follows would be more of the same. */
const STREAM_BYTES = 200_000;

/** Writes fields one after the other; each may become a lie. */
class Fields {
  #pieces = [];

  constructor(trouble) {
    this.trouble = trouble;
  }

  #number(value, bytes) {
    let left = BigInt(this.trouble.number(value, bytes * 8));
    const field = Buffer.alloc(bytes);
    for (let i = bytes - 1; i >= 0; i--, left >>= 8n) field[i] = Number(left & 255n);
    return this.raw(field);
  }
  u8 = (value) => this.#number(value, 1);
  u16 = (value) => this.#number(value, 2);
  u24 = (value) => this.#number(value, 3);
  u32 = (value) => this.#number(value >>> 0, 4);
  u64 = (value) => this.#number(value, 8);
  /** Little-endian. */
  le32 = (value) => this.raw(build(this.trouble, (f) => f.u32(value)).reverse());
  le64 = (value) => this.raw(build(this.trouble, (f) => f.u64(value)).reverse());
  /** A QUIC number of 1, 2 or 4 bytes. */
  varint(value) {
    if (value < 64) return this.u8(value);
    return value < 16_384 ? this.u16(0x4000 + value) : this.u32(0x8000_0000 + value);
  }
  raw(bytes) {
    this.#pieces.push(Buffer.from(bytes));
    return this;
  }
  /** What `write` writes, behind its length of `bytes` bytes. */
  vector(bytes, write) {
    const body = build(this.trouble, write);
    return this.#number(body.length, bytes).raw(body);
  }
  bytes = () => Buffer.concat(this.#pieces);
}

function build(trouble, write) {
  const fields = new Fields(trouble);
  write(fields);
  return fields.bytes();
}

const filler = (bytes) => Buffer.alloc(bytes, 0xa5);

function ip(trouble, protocol, side, body, { network = [10, 9], family = 4, id = 0 } = {}) {
  const [a, b] = side ? [2, 1] : [1, 2];
  if (family === 6) {
    const address = (host) => Buffer.of(0xfd, ...network, ...new Array(12).fill(0), host);
    return build(trouble, (f) =>
      f
        .u32(0x6000_0000)
        .u16(Math.min(0xffff, body.length))
        .u8(protocol)
        .u8(64)
        .raw(address(a))
        .raw(address(b))
        .raw(body),
    );
  }
  return build(trouble, (f) =>
    f
      .u8(0x45)
      .u8(0)
      .u16(Math.min(0xffff, 20 + body.length))
      .u16(id)
      .u16(0x4000)
      .u8(64)
      .u8(protocol)
      .u16(0)
      .raw([...network, 0, a, ...network, 0, b])
      .raw(body),
  );
}

const udp = (trouble, from, to, body) =>
  build(trouble, (f) =>
    f
      .u16(from)
      .u16(to)
      .u16(Math.min(0xffff, 8 + body.length))
      .u16(0)
      .raw(body),
  );
const ethernet = (type, body) =>
  Buffer.concat([Buffer.from('525400000001525400000002', 'hex'), Buffer.of(type >> 8, type & 255), body]);
const etherType = (packet) => (packet[0] >> 4 === 6 ? 0x86dd : 0x0800);
/** The outer family is one for the whole case, or every packet would take another path. */
const outer = (trouble, protocol, body) => {
  trouble.outerFamily ??= trouble.pick([4, 4, 6]);
  return ip(trouble, protocol, 0, body, { network: [172, 16], family: trouble.outerFamily });
};
const inUdp = (trouble, port, body) => outer(trouble, 17, udp(trouble, 50_000, port, body));
const gre = (trouble, flags, protocol, more, body) =>
  build(trouble, (f) => f.u16(flags).u16(protocol).raw(more).raw(body));

/** One IP packet inside a tunnel: what comes out is an IP packet again, but for MPLS. */
export const TUNNELS = {
  vxlan: (t, p) =>
    inUdp(
      t,
      t.pick([4789, 8472]),
      build(t, (f) =>
        f
          .u8(8)
          .u24(0)
          .u24(7)
          .u8(0)
          .raw(ethernet(etherType(p), p)),
      ),
    ),
  'vxlan-gpe': (t, p) =>
    inUdp(
      t,
      4790,
      build(t, (f) =>
        f
          .u8(0x0c)
          .u16(0)
          .u8(p[0] >> 4 === 6 ? 2 : 1)
          .u24(7)
          .u8(0)
          .raw(p),
      ),
    ),
  geneve: (t, p) =>
    inUdp(
      t,
      6081,
      build(t, (f) =>
        f
          .u8(2)
          .u8(0)
          .u16(0x6558)
          .u24(9)
          .u8(0)
          .u16(0x102)
          .u8(0x80)
          .u8(1)
          .u32(5)
          .raw(ethernet(etherType(p), p)),
      ),
    ),
  gre: (t, p) => outer(t, 47, gre(t, 0, etherType(p), [], p)),
  'gre-key': (t, p) => outer(t, 47, gre(t, 0xb000, etherType(p), Buffer.alloc(12, 1), p)),
  nvgre: (t, p) => outer(t, 47, gre(t, 0x2000, 0x6558, [0, 0x50, 1, 1], ethernet(etherType(p), p))),
  'gre-in-udp': (t, p) => inUdp(t, 4754, gre(t, 0, etherType(p), [], p)),
  'erspan-1': (t, p) => outer(t, 47, gre(t, 0, 0x88be, [], ethernet(etherType(p), p))),
  'erspan-2': (t, p) =>
    outer(t, 47, gre(t, 0x1000, 0x88be, [0, 0, 0, 1, 0x10, 1, 0, 11, 0, 0, 0, 0], ethernet(etherType(p), p))),
  'erspan-3': (t, p) =>
    outer(
      t,
      47,
      gre(
        t,
        0x1000,
        0x22eb,
        [0, 0, 0, 1, 0x20, 1, 0, 12, 0, 0, 0, 0, 0, 0, 0, t.number(1, 8), ...Buffer.alloc(8)],
        ethernet(etherType(p), p),
      ),
    ),
  ipip: (t, p) => outer(t, p[0] >> 4 === 6 ? 41 : 4, p),
  'mpls-in-udp': (t, p) => inUdp(t, 6635, labels(t, p)),
  'mpls-in-ip': (t, p) => outer(t, 137, labels(t, p)),
  stt: (t, p) => {
    const inner = ethernet(etherType(p), p);
    const header = [0, 0, 0, 0, 5, 0xb4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0];
    return sttSegment(
      t,
      inner.length + 18,
      0,
      Buffer.concat([Buffer.from(header), inner]).subarray(0, t.pick([1460, 65_000])),
    );
  },
  'stt-segment': (t, p) => sttSegment(t, p.length + 1500, 1460, p),
};

const labels = (t, p) => build(t, (f) => f.u32(0x0006_4040).u32(0x000c_8140).raw(p));
const sttSegment = (t, frameBytes, offset, body) =>
  outer(
    t,
    6,
    build(t, (f) =>
      f.u16(40_000).u16(7471).u16(frameBytes).u16(offset).u32(1).u16(0x5018).u32(0xffff_0000).u16(0).raw(body),
    ),
  );

const control = (t, type, info, socket, body = []) =>
  build(t, (f) =>
    f
      .u16(0x8000 + type)
      .u16(0)
      .u32(info)
      .u32(1000)
      .u32(socket)
      .raw(body),
  );

/** UDT, and SRT where `version` is 5. */
function* reliable(t, stream, version) {
  const hello = (own, to, request) =>
    control(
      t,
      0,
      0,
      to,
      build(t, (f) =>
        f.u32(version).u32(1).u32(1000).u32(1500).u32(8192).u32(request).u32(own).u32(0).raw(Buffer.alloc(16)),
      ),
    );
  yield [0, hello(1, 0, 1)];
  yield [1, hello(2, 1, -1)];
  const at = (n) => stream.subarray(n * 1456, (n + 1) * 1456);
  const last = Math.ceil(stream.length / 1456);
  for (let n = 0; n < last; n++) {
    const data = (again) =>
      build(t, (f) =>
        f
          .u32((1000 + n) & 0x7fff_ffff)
          .u32(version === 5 ? (again ? 0xc400_0001 : 0xc000_0001) : 0xe000_0001)
          .u32(n * 500)
          .u32(2)
          .raw(at(n)),
      );
    if (!t.chance(0.05)) yield [0, data(false)];
    if (t.chance(0.05)) yield [0, data(true)];
    if (t.chance(0.1))
      yield [
        1,
        control(
          t,
          2,
          n,
          1,
          build(t, (f) =>
            f
              .u32(1000 + n)
              .u32(24_000)
              .u32(900)
              .u32(8000)
              .u32(2000)
              .u32(2100),
          ),
        ),
      ];
    if (t.chance(0.1)) yield [0, control(t, 6, n, 2)];
    if (t.chance(0.05))
      yield [
        1,
        control(
          t,
          3,
          0,
          1,
          build(t, (f) =>
            f
              .u32(1000 + n)
              .u32(0x8000_03e8 + n)
              .u32(1003 + n),
          ),
        ),
      ];
  }
  yield [0, control(t, 5, 0, 2)];
}

function* roce(t, stream) {
  const packet = (opcode, pair, n, more, body = Buffer.alloc(0)) => {
    const pad = -body.length & 3;
    return build(t, (f) =>
      f
        .u8(opcode)
        .u8(pad << 4)
        .u16(0xffff)
        .u8(0)
        .u24(pair)
        .u8(0x80)
        .u24(n)
        .raw(more)
        .raw(body)
        .raw(Buffer.alloc(pad))
        .u32(0),
    );
  };
  const message = (type, body, repeat = 1) =>
    build(t, (f) => f.u32(body.length).u32(type).u32(repeat).u32(0).raw(body));
  let n = 0;
  yield [0, packet(4, 5, n++, [], message(4, Buffer.alloc(0)))];
  const block = build(t, (f) =>
    f
      .u64(0x7000_0000)
      .u64(0)
      .u64(1 << 20)
      .u32(7)
      .u32(0),
  );
  yield [1, packet(4, 6, 0, [], message(5, block))];
  for (let at = 0; at < stream.length; at += 4096) {
    yield [0, packet(4, 5, n++, [], message(3, stream.subarray(at, at + 4096)))];
    const reth = build(t, (f) =>
      f
        .u64(0x7000_0000 + (at % (1 << 20)))
        .u32(7)
        .u32(4096),
    );
    yield [0, packet(t.pick([10, 6, 12]), 5, n++, reth, filler(1024))];
    if (t.chance(0.2)) yield [0, packet(t.pick([7, 8, 1, 2]), 5, n++, [], filler(1024))];
    if (t.chance(0.2))
      yield [
        0,
        packet(
          4,
          5,
          n++,
          [],
          message(
            6,
            build(t, (f) => f.u32(0).u32(0).u64(8192).u64(4096)),
          ),
        ),
      ];
    if (t.chance(0.1)) yield [0, packet(4, 5, n++, [], message(t.pick([7, 9]), Buffer.alloc(24)))];
    if (t.chance(0.3))
      yield [
        1,
        packet(
          0x11,
          6,
          n - 1,
          build(t, (f) => f.u8(t.pick([0x1f, 0x60, 0x21])).u24(n)),
        ),
      ];
    if (t.chance(0.05)) yield [1, packet(0x81, 6, 0, Buffer.alloc(16))];
  }
}

/** TLS inside QUIC, with the keys that anybody can compute: RFC 9001 §5.2. */
function* quic(t, stream) {
  const version = t.pick([1, 0x6b33_43cf]);
  const id = t.bytes(8);
  const offer = build(t, (f) =>
    f.u8(1).vector(3, (hello) =>
      hello
        .u16(0x0303)
        .raw(filler(32))
        .vector(1, () => {})
        .vector(2, (v) => v.u16(0x1301))
        .vector(1, (v) => v.u8(0))
        .vector(2, (all) =>
          all
            .u16(0)
            .vector(2, (e) =>
              e.vector(2, (list) =>
                list.u8(0).vector(2, (name) => name.raw(Buffer.from(t.name('vm.example'), 'latin1'))),
              ),
            )
            .u16(16)
            .vector(2, (e) =>
              e.vector(2, (list) => list.vector(1, (name) => name.raw(Buffer.from(t.name('h3'), 'latin1')))),
            )
            .u16(57)
            .vector(2, (e) => {
              for (const [key, value] of [
                [1, 30_000],
                [3, 1472],
                [4, 1 << 20],
                [10, 3],
                [11, 25],
              ])
                e.varint(key).vector(1, (v) => v.varint(value));
            }),
        ),
    ),
  );
  const cut = t.below(offer.length);
  const crypto = (f, from, to) =>
    f
      .u8(6)
      .varint(from)
      .varint(to - from)
      .raw(offer.subarray(from, to));
  yield [0, initial(t, version, id, 0, (f) => crypto(f, cut, offer.length).raw(Buffer.alloc(300)))];
  yield [
    0,
    initial(t, version, id, 1, (f) =>
      crypto(f.u8(2).varint(9).varint(0).varint(1).varint(0).varint(0).varint(3), 0, cut).raw(Buffer.alloc(300)),
    ),
  ];
  yield [
    1,
    initial(t, version, id, 0, (f) =>
      f
        .u8(t.pick([6, 0x1c]))
        .varint(0)
        .varint(40)
        .raw([2, 0, 0, 40, 3, 3])
        .raw(filler(32))
        .u8(0)
        .u16(0x1301),
    ),
  ];
  for (let at = 0; at < Math.min(40_000, stream.length); at += 1200) {
    yield [0, build(t, (f) => f.u8(0x40 | (t.chance(0.1) ? 0x20 : 0)).raw(filler(1200)))];
    if (t.chance(0.05)) yield [1, build(t, (f) => f.u8(0xe0).u32(version).u8(0).u8(8).raw(id).raw(filler(30)))];
    if (t.chance(0.02))
      yield [
        1,
        build(t, (f) =>
          f
            .u8(0xf0)
            .u32(t.pick([0, version]))
            .u8(0)
            .u8(8)
            .raw(t.bytes(8))
            .raw(filler(40)),
        ),
      ];
  }
}

function initial(t, version, id, number, frames) {
  const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
  const expand = (secret, label, bytes) =>
    hmac(
      secret,
      Buffer.concat([Buffer.of(0, bytes, label.length + 6), Buffer.from(`tls13 ${label}`), Buffer.of(0, 1)]),
    ).subarray(0, bytes);
  const salt = version === 1 ? '38762cf7f55934b34d179ae6a4c80cadccbb7f0a' : '0dede3def700a6db819381be6e269dcbf9bd2ed9';
  const prefix = version === 1 ? 'quic' : 'quicv2';
  const secret = expand(hmac(Buffer.from(salt, 'hex'), id), t.pick(['client in', 'client in', 'server in']), 32);
  const plain = build(t, frames);
  const header = build(t, (f) =>
    f
      .u8(version === 1 ? 0xc0 : 0xd0)
      .u32(version)
      .u8(id.length)
      .raw(id)
      .u8(0)
      .varint(0)
      .u16(0x4000 + 1 + plain.length + 16)
      .u8(number),
  );
  const nonce = Buffer.from(expand(secret, `${prefix} iv`, 12));
  nonce[11] ^= header.at(-1);
  const cipher = createCipheriv('aes-128-gcm', expand(secret, `${prefix} key`, 16), nonce).setAAD(header);
  const packet = Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  const at = header.length - 1;
  const mask = createCipheriv('aes-128-ecb', expand(secret, `${prefix} hp`, 16), null).update(
    packet.subarray(at + 4, at + 20),
  );
  packet[0] ^= mask[0] & 15;
  packet[at] ^= mask[1];
  return packet;
}

/** Records of a cipher that nobody can open; `record` writes the n-th of them. */
const sealed = (openings, record) =>
  function* (t, stream) {
    yield* openings(t);
    for (let n = 0; n * 1300 < stream.length; n++) if (!t.chance(0.03)) yield [0, record(t, n, 1300)];
  };

const wireguard = sealed(
  (t) => [
    [0, build(t, (f) => f.u8(1).u24(0).raw(filler(144)))],
    [1, build(t, (f) => f.u8(2).u24(0).raw(filler(88)))],
  ],
  (t, n, bytes) => build(t, (f) => f.u8(4).u24(0).le32(9).le64(n).raw(filler(bytes))),
);
const esp = sealed(
  (t) => [[0, build(t, (f) => f.u32(0).raw(filler(16)).u8(0x21).u8(0x20).u8(34).u8(8).u32(0).u32(28))]],
  (t, n, bytes) => build(t, (f) => f.u32(300).u32(n).raw(filler(bytes))),
);
const dtls = sealed(
  (t) => [
    [
      0,
      build(t, (f) =>
        f
          .u8(22)
          .u16(0xfefd)
          .u16(0)
          .u16(0)
          .u32(0)
          .vector(2, (body) => body.raw(filler(100))),
      ),
    ],
  ],
  (t, n, bytes) =>
    build(t, (f) =>
      f
        .u8(23)
        .u16(0xfefd)
        .u16(1)
        .u16(0)
        .u32(n)
        .vector(2, (body) => body.raw(filler(bytes))),
    ),
);
const openvpn = sealed(
  (t) => [
    [
      0,
      build(t, (f) =>
        f
          .u8(7 << 3)
          .raw(filler(8))
          .u8(0)
          .u32(0),
      ),
    ],
    [
      1,
      build(t, (f) =>
        f
          .u8(8 << 3)
          .raw(filler(8))
          .u8(1)
          .u32(0)
          .raw(filler(8))
          .u32(0),
      ),
    ],
  ],
  (t, n, bytes) =>
    build(t, (f) =>
      f
        .u8(9 << 3)
        .u24(5)
        .u32(n)
        .raw(filler(bytes)),
    ),
);

/** Two subflows of one connection: keys, token, data sequence mappings. Yields TCP segments, not datagrams. */
function* multipath(t, stream) {
  const keys = [t.bytes(8), t.bytes(8)];
  const idsn = (key) => Number(createHash('sha256').update(key).digest().readBigUInt64BE(24) & 0xffff_ffffn);
  const token = createHash('sha256').update(keys[1]).digest().subarray(0, 4);
  const option = (subtype, rest) =>
    build(t, (f) =>
      f
        .u8(30)
        .u8(3 + rest.length)
        .u8((subtype << 4) | (subtype === 0 ? 1 : 0))
        .raw(rest),
    );
  const segment = (flow, side, seq, ack, flags, options, body = []) => {
    const padded = Buffer.concat([options, Buffer.alloc(-options.length & 3, 1)]);
    const ports = side ? [49_152, 40_000 + flow] : [40_000 + flow, 49_152];
    return [
      side,
      build(t, (f) =>
        f
          .u16(ports[0])
          .u16(ports[1])
          .u32(seq)
          .u32(ack)
          .u8((20 + padded.length) << 2)
          .u8(flags)
          .u16(30_000)
          .u32(0)
          .raw(padded)
          .raw(body),
      ),
    ];
  };
  yield segment(0, 0, 99, 0, 2, option(0, Buffer.of(1)));
  yield segment(0, 1, 499, 100, 18, option(0, Buffer.concat([Buffer.of(1), keys[1]])));
  yield segment(0, 0, 100, 500, 16, option(0, Buffer.concat([Buffer.of(1), keys[0], keys[1]])));
  yield segment(1, 0, 99, 0, 2, option(1, Buffer.concat([Buffer.of(1), token, t.bytes(4)])));
  yield segment(1, 1, 499, 100, 18, option(1, Buffer.concat([Buffer.of(1), t.bytes(12)])));
  yield segment(1, 0, 100, 500, 16, option(1, Buffer.concat([Buffer.of(0), t.bytes(20)])));
  const sent = [0, 0];
  for (let at = 0; at < stream.length; at += 1400) {
    const flow = t.below(2);
    const body = stream.subarray(at, at + 1400);
    const mapping = build(t, (f) =>
      f
        .u8(5)
        .u32(idsn(keys[1]) + 1)
        .u32(idsn(keys[0]) + 1 + at)
        .u32(1 + sent[flow])
        .u16(body.length),
    );
    yield segment(flow, 0, 100 + sent[flow], 500, 16, option(2, mapping), body);
    if (t.chance(0.02))
      yield segment(flow, 1, 500, 100 + sent[flow], 16, option(t.pick([3, 4, 5, 6, 7, 8]), t.bytes(t.below(12))));
    if (t.chance(0.03)) continue; // reinjected with the next
    sent[flow] += body.length;
  }
}

/** Each yields [side, bytes]; `port` is the server's, null for packets straight over IP. */
export const TRANSPORTS = {
  udt: { port: 9000, talk: (t, stream) => reliable(t, stream, 4) },
  srt: { port: 9000, talk: (t, stream) => reliable(t, stream, 5) },
  roce: { port: 4791, talk: roce },
  quic: { port: 443, talk: quic },
  wireguard: { port: 51_820, talk: wireguard },
  esp: { port: null, protocol: 50, talk: esp },
  'esp-in-udp': { port: 4500, talk: esp },
  dtls: { port: 4433, talk: dtls },
  openvpn: { port: 1194, talk: openvpn },
  mptcp: { port: null, protocol: 6, talk: multipath },
};

/**
 * The first channel of a migration over one of the transports, now and then inside tunnels.
 *
 * @param transport  name in TRANSPORTS, and names in TUNNELS from the inside out; drawn where they are left out
 * @returns          frames as conversations() gives them
 */
export function datagrams(
  trouble,
  [{ forward }],
  transport = trouble.pick(Object.keys(TRANSPORTS)),
  tunnels = Array.from({ length: trouble.pick([0, 0, 1, 1, 2, 9]) }, () => trouble.pick(Object.keys(TUNNELS))),
) {
  const { port, protocol = 17, talk } = TRANSPORTS[transport];
  const family = trouble.pick([4, 4, 6]);
  const both = tunnels.length > 0 && trouble.chance(0.3);
  const plain = trouble.chance(0.1) ? ethernet.bind(null, 0x8847) : null;
  const frames = [];
  let ns = 1_700_000_000_000_000_000n;
  let id = 0;
  for (const [side, body] of talk(trouble, forward.subarray(0, STREAM_BYTES))) {
    const ports = side && transport !== 'roce' ? [port, 40_000] : [40_000, port];
    const packet = ip(trouble, protocol, side, port === null ? body : udp(trouble, ...ports, body), {
      family,
      id: id++ & 0xffff,
    });
    const wrapped = tunnels.reduce((inner, name) => TUNNELS[name](trouble, inner), packet);
    const kinds = both ? [packet, wrapped] : [wrapped];
    for (const each of kinds) {
      ns += BigInt(1 + trouble.below(200_000));
      if (trouble.strikes()) ns += BigInt(trouble.pick([1, 1e6, 1e9, 1e12]));
      const bytes = plain ? plain(labels(trouble, each)) : ethernet(etherType(each), each);
      frames.push({ ns, bytes, wire: trouble.number(bytes.length, 32, 0.2) });
    }
  }
  return frames;
}
