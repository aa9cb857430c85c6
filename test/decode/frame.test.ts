import { describe, expect, test } from 'vitest';
import { decoded } from '../support/decoded.js';
import {
  arp,
  authentication,
  bytes,
  concat,
  cooked,
  cooked2,
  ethernet,
  extension,
  frame,
  hex,
  icmp,
  ipv4,
  ipv6,
  ipv6Fragment,
  loopback,
  pppoe,
  raw,
  tcp,
  u16,
  u32,
  udp,
  vlan,
} from '../support/frames.js';

// A SYN written out by hand, with the layout of the RFCs.
const SYN = hex(`
  52 54 00 00 00 02  52 54 00 00 00 01  08 00
  45 02 00 3c  12 34 40 00  3f 06 00 00  c0 00 02 01  c6 33 64 07
  9c 40 11 5c  ff ff ff f0  00 00 00 00  a0 c2 fa f0  00 00 00 00
  02 04 05 b4  04 02  08 0a 00 00 00 64 00 00 00 00  01  03 03 07`);

describe('a SYN, byte by byte', () => {
  const { kind, src, dst, srcPort, dstPort, rows } = decoded(SYN);
  test('addresses and ports', () => {
    expect({ kind, src, dst, srcPort, dstPort }).toEqual({
      kind: 'tcp',
      src: '192.0.2.1',
      dst: '198.51.100.7',
      srcPort: 40000,
      dstPort: 4444,
    });
  });
  test('IP fields', () => {
    expect([rows.ttl[0], rows.ecn[0], rows.ipId[0], rows.ipBytes[0], rows.outerIpBytes[0]]).toEqual([
      0x3f, 2, 0x1234, 60, 60,
    ]);
  });
  test('TCP fields', () => {
    expect([rows.seq[0], rows.ack[0], rows.flags[0], rows.window[0]]).toEqual([0xfffffff0, 0, 0xc2, 0xfaf0]);
    expect([rows.payloadLen[0], rows.payload[0], rows.transport[0]]).toEqual([0, 74, 34]);
  });
});

const inner = [ipv4(), tcp({}, 'hello')] as const;
const inner6 = [ipv6(), tcp({}, 'hello')] as const;

describe('link layers carry IP', () => {
  const cases: [string, number, Uint8Array][] = [
    ['Ethernet', 1, frame(ethernet(), ...inner)],
    ['one VLAN tag', 1, frame(ethernet(), vlan(7), ...inner)],
    ['QinQ', 1, frame(ethernet(), vlan(7, 0x88a8), vlan(8), ...inner6)],
    ['old QinQ, three deep', 1, frame(ethernet(), vlan(7, 0x9100), vlan(8, 0x9100), vlan(9), ...inner)],
    ['PPPoE session', 1, frame(ethernet(), pppoe(), ...inner)],
    ['PPPoE session with IPv6 on a VLAN', 1, frame(ethernet(), vlan(7), pppoe(), ...inner6)],
    ['Linux cooked', 113, frame(cooked(), ...inner)],
    ['Linux cooked with a VLAN tag', 113, frame(cooked(), vlan(7), ...inner6)],
    ['Linux cooked v2', 276, frame(cooked2(), ...inner6)],
    ['loopback, little-endian', 0, frame(loopback(2, true), ...inner)],
    ['loopback, big-endian', 0, frame(loopback(2), ...inner)],
    ['loopback of Darwin with IPv6', 0, frame(loopback(30, true), ...inner6)],
    ['loopback of Linux with IPv6', 0, frame(loopback(10, true), ...inner6)],
    ['OpenBSD loopback', 108, frame(loopback(24), ...inner6)],
    ['raw IP', 101, frame(...inner)],
    ['raw IP, BSD number', 12, frame(...inner6)],
    ['raw IP, OpenBSD number', 14, frame(...inner)],
    ['IPv4 only', 228, frame(...inner)],
    ['IPv6 only', 229, frame(...inner6)],
  ];
  test.each(cases)('%s', (_name, linkType, captured) => {
    expect(decoded(captured, linkType)).toMatchObject({ kind: 'tcp', payload: 'hello', payloadLen: 5, path: '' });
  });

  test('frames that carry nothing decoded', () => {
    expect(decoded(frame(ethernet({ type: 46 }), raw(new Uint8Array(46)))).kind).toBe('none'); // 802.3
    expect(decoded(frame(ethernet({ type: 0x88cc }), raw('lldp'))).kind).toBe('none');
    expect(decoded(frame(cooked({ arphrd: 824 }), ...inner), 113).kind).toBe('none'); // netlink
    expect(decoded(frame(loopback(7), ...inner), 0).kind).toBe('none');
  });

  test('an unknown link type is noted', () => {
    const { kind, log } = decoded(frame(...inner), 147);
    expect([kind, log.count('decode/unknown-link-type')]).toEqual(['none', 1]);
  });
});

describe('lengths', () => {
  test('padding of a short Ethernet frame is not payload', () => {
    expect(decoded(frame(ethernet({ padTo: 60 }), ipv4(), tcp())).payloadLen).toBe(0);
    expect(decoded(frame(ethernet({ padTo: 60 }), ipv4(), udp({}, 'x')))).toMatchObject({
      payload: 'x',
      payloadLen: 1,
    });
  });

  test('the frame check sequence is not payload, even where the IP length is left to offload', () => {
    const captured = frame(ethernet({ fcs: true }), ipv4({ totalLength: 0 }), tcp({}, 'hello'));
    expect(decoded(captured, 1, 4)).toMatchObject({ payload: 'hello', payloadLen: 5 });
  });

  test('IPv4 total length 0: the frame says how long it is', () => {
    const big = frame(ethernet(), ipv4({ totalLength: 0 }), tcp({}, new Uint8Array(70_000)));
    expect(decoded(big)).toMatchObject({ kind: 'tcp', payloadLen: 70_000 });
    expect(decoded({ bytes: big.slice(0, 96), wire: big.length }).payloadLen).toBe(70_000);
  });

  test('IPv6 payload length 0 without an option: the frame says how long it is', () => {
    const big = frame(ethernet(), ipv6({ payloadLength: 0 }), tcp({}, new Uint8Array(70_000)));
    expect(decoded(big)).toMatchObject({ kind: 'tcp', payloadLen: 70_000 });
  });

  test('IPv6 payload length 0 with a jumbo option: the option says, padding does not count', () => {
    const segment = 8 + 20 + 70_000;
    const jumbo = extension(0, [0xc2, 4, ...u32(segment)]);
    const big = frame(ethernet(), ipv6({ payloadLength: 0 }), jumbo, tcp({}, new Uint8Array(70_000)), raw('padding'));
    expect(decoded(big)).toMatchObject({ kind: 'tcp', payloadLen: 70_000 });
  });

  test('a jumbo option beyond the frame is not believed', () => {
    const jumbo = extension(0, [0xc2, 4, ...u32(0xffff_ffff)]);
    expect(decoded(frame(ethernet(), ipv6({ payloadLength: 0 }), jumbo, tcp({}, 'hello'))).payloadLen).toBe(5);
  });

  test('a snapped frame counts by its wire length', () => {
    const whole = frame(ethernet(), ipv4(), tcp({}, new Uint8Array(1000)));
    const { rows, kind } = decoded({ bytes: whole.slice(0, 64), wire: whole.length });
    expect([kind, rows.payloadLen[0], rows.payloadCap[0]]).toEqual(['tcp', 1000, 10]);
  });

  test('headers cut by the snap length', () => {
    const whole = frame(ethernet(), ipv4(), tcp({}, new Uint8Array(1000)));
    const cut = (length: number) => decoded({ bytes: whole.slice(0, length), wire: whole.length });
    expect(cut(13).kind).toBe('cut');
    expect(cut(33).kind).toBe('cut');
    expect(cut(49).kind).toBe('cut'); // 15 bytes of TCP
    expect(cut(50)).toMatchObject({ kind: 'tcp', payloadLen: 1000, payload: '' });
  });

  test.each([
    ['IPv4 length below its header', frame(ethernet(), ipv4({ totalLength: 19 }), tcp())],
    ['IPv4 too short for TCP', frame(ethernet(), ipv4({ totalLength: 39 }), tcp())],
    ['TCP data offset below 5', frame(ethernet(), ipv4(), tcp({ dataOffset: 4 }))],
    ['TCP data offset beyond the packet', frame(ethernet(), ipv4(), tcp({ dataOffset: 15 }))],
    ['UDP length below 8', frame(ethernet(), ipv4(), udp({ length: 7 }))],
    ['IPv6 too short for UDP', frame(ethernet(), ipv6({ payloadLength: 7 }), udp())],
    ['wrong version in IPv4', concat(frame(ethernet({ type: 0x0800 })), frame(ipv6(), tcp()))],
    ['wrong version in IPv6', concat(frame(ethernet({ type: 0x86dd })), frame(ipv4(), tcp({}, new Uint8Array(30))))],
    ['header length 4 words', concat(frame(ethernet({ type: 0x0800 })), [0x44], new Uint8Array(39))],
    ['extension header beyond the packet', frame(ethernet(), ipv6(), raw([6, 9, 0, 0, 0, 0, 0, 0], { ipProtocol: 0 }))],
  ])('malformed: %s', (_name, captured) => {
    const { kind, log } = decoded(captured);
    expect([kind, log.count('decode/malformed')]).toEqual(['malformed', 1]);
  });
});

describe('network headers', () => {
  test('IPv4 options are skipped', () => {
    expect(decoded(frame(ethernet(), ipv4({ options: [7, 7, 4, 0, 0, 0, 0, 0] }), tcp({}, 'hello')))).toMatchObject({
      kind: 'tcp',
      payload: 'hello',
    });
  });

  test('IPv6 extension headers are followed, whichever they are', () => {
    const captured = frame(
      ethernet(),
      ipv6({ trafficClass: 3, hopLimit: 9 }),
      extension(0, [5, 2, 0, 0]),
      extension(43, new Uint8Array(22)),
      extension(60),
      extension(135),
      authentication(),
      ipv6Fragment(), // whole: offset 0, nothing more
      tcp({}, 'hello'),
    );
    const { rows, ...row } = decoded(captured);
    expect(row).toMatchObject({ kind: 'tcp', src: 'fd00::1', dst: 'fd00::2', payload: 'hello' });
    expect([rows.ttl[0], rows.ecn[0], rows.fragmented[0]]).toEqual([9, 3, 0]);
  });

  test('an authentication header in IPv4', () => {
    expect(decoded(frame(ethernet(), ipv4(), authentication(), tcp({}, 'hello'))).payload).toBe('hello');
  });

  test('an endless chain of extension headers is left', () => {
    const chain = new Array(40).fill(extension(60));
    expect(decoded(frame(ethernet(), ipv6(), ...chain, tcp())).kind).toBe('other-ip');
  });

  test.each([
    [
      'IPv4',
      frame(ethernet(), ipv4({ moreFragments: true }), tcp({}, 'hello')),
      ipv4({ fragmentOffset: 1480, protocol: 6 }),
    ],
    ['IPv6', frame(ethernet(), ipv6(), ipv6Fragment({ more: true }), tcp({}, 'hello')), undefined],
  ])('the first fragment of %s is decoded and marked', (_name, first, later) => {
    const { kind, payload, rows } = decoded(first);
    expect([kind, payload, rows.fragmented[0]]).toEqual(['tcp', 'hello', 1]);
    const rest = later
      ? frame(ethernet(), later, raw('rest'))
      : frame(ethernet(), ipv6(), ipv6Fragment({ offset: 1448 }), raw('rest', { ipProtocol: 6 }));
    const row = decoded(rest);
    expect([row.kind, row.payload, row.rows.protocol[0], row.log.count('decode/fragment')]).toEqual([
      'fragment',
      'rest',
      6,
      1,
    ]);
  });

  test('a UDP datagram in fragments counts whole with its first; what is in later ones cannot be read', () => {
    const whole = frame(udp({ length: 4008 }, new Uint8Array(1472)));
    const first = decoded(frame(ethernet(), ipv4({ moreFragments: true }), raw(whole, { ipProtocol: 17 })));
    expect(first).toMatchObject({ kind: 'udp', payloadLen: 4000 });
    expect(first.rows.payloadCap[0]).toBe(1472);
  });

  test('other protocols keep their number and their bytes', () => {
    const { kind, payload, rows } = decoded(frame(ethernet(), ipv4(), raw('esp', { ipProtocol: 50 })));
    expect([kind, payload, rows.protocol[0]]).toEqual(['other-ip', 'esp', 50]);
  });

  test('signals: ARP, RARP, ICMP, pause frames', () => {
    const host = { mac: '52:54:00:00:00:01', ip: '10.0.0.1' };
    const signal = (captured: Uint8Array) => {
      const { kind, rows } = decoded(captured);
      return [kind, rows.ipVersion[0], rows.protocol[0], rows.payloadCap[0]];
    };
    expect(signal(frame(ethernet({ padTo: 60 }), arp(1, host, host)))).toEqual(['signal', 0, 0x06, 46]);
    expect(signal(frame(ethernet(), arp(3, host, host)))).toEqual(['signal', 0, 0x35, 28]);
    expect(signal(frame(ethernet(), ipv4(), icmp(3, 4, 1400)))).toEqual(['signal', 4, 1, 8]);
    expect(signal(frame(ethernet({ type: 0x8808 }), raw(concat(u16(0x0101), u16(1)))))).toEqual(['signal', 0, 8, 4]);
  });

  test('RoCE v1: a global route header in place of IP', () => {
    const grh = concat(u32(0x60000000), u16(4), [27, 64], new Uint8Array(15), [1], new Uint8Array(15), [2], 'BTH.');
    const { kind, src, dst, payload } = decoded(frame(ethernet({ type: 0x8915 }), raw(grh)));
    expect({ kind, src, dst, payload }).toEqual({ kind: 'roce-v1', src: '::1', dst: '::2', payload: 'BTH.' });
  });
});

test('the short way for the common case writes what the general walk writes', () => {
  const segments = [
    [ipv4({ tos: 1, id: 77, ttl: 3 }), tcp({ flags: 'PA', seq: 5, ack: 9 }, 'data')],
    [ipv4(), tcp({ flags: 'FNA', options: [1, 1, 8, 10, ...u32(1), ...u32(0xffffffff)] }, 'data')],
    [ipv4(), tcp({ flags: 'R', window: 0 })],
  ] as const;
  for (const layers of segments) {
    const short = decoded(frame(ethernet({ padTo: 64 }), ...layers)).rows;
    const general = decoded(concat(new Uint8Array(0), frame(...layers)), 101).rows;
    for (const [name, column] of Object.entries(short)) {
      if (!ArrayBuffer.isView(column)) continue;
      const linkBytes = ['addresses', 'transport', 'payload'].includes(name) ? 14 : 0;
      const other = (general as unknown as Record<string, Uint32Array>)[name]!;
      expect([name, (column as Uint32Array)[0]! - linkBytes]).toEqual([name, other[0]]);
    }
  }
});

test('rows do not keep what an earlier batch left in them', () => {
  const first = decoded(frame(ethernet(), ipv4(), tcp({ options: [2, 4, 5, 0xb4] }, 'hello')));
  expect(first.rows.options[0]).not.toBe(0);
  const second = decoded(frame(ethernet(), vlan(3), ipv4(), tcp({}, bytes('bye'))));
  expect(second.rows.options[0]).toBe(0);
});
