import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import { decodeFrames } from '../../../src/decode/frame.js';
import { createRows } from '../../../src/decode/rows.js';
import { TUNNEL_DEPTH, TUNNEL_PATHS } from '../../../src/limits.js';
import { decoded, describeRow } from '../../support/decoded.js';
import {
  batchOf,
  erspan2,
  erspan3,
  ethernet,
  frame,
  geneve,
  gre,
  hex,
  ipv4,
  ipv6,
  ipv6Fragment,
  type Layer,
  mpls,
  raw,
  stt,
  tcp,
  u32,
  udp,
  vlan,
  vxlan,
  vxlanGpe,
} from '../../support/frames.js';

const outer = [ethernet(), ipv4({ src: '172.16.0.1', dst: '172.16.0.2', ttl: 9 })] as const;
const outer6 = [ethernet(), ipv6()] as const;
const inner = [ipv4({ src: '10.9.0.1', dst: '10.9.0.2', ttl: 63 }), tcp({}, 'hello')] as const;
const innerFrame = [ethernet(), ...inner] as const;
const inner6 = [ipv6({ src: 'fd09::1' }), tcp({}, 'hello')] as const;

describe('what is inside is decoded, how it got there is remembered', () => {
  const cases: [string, Uint8Array][] = [
    ['vxlan:42', frame(...outer, udp({ dstPort: 4789 }), vxlan(42), ...innerFrame)],
    ['vxlan:16777215', frame(...outer6, udp({ dstPort: 8472, checksum: false }), vxlan(0xffffff, 0x88), ...innerFrame)],
    ['vxlan-gpe:5', frame(...outer, udp({ dstPort: 4790 }), vxlanGpe(5, 1), ...inner)],
    ['vxlan-gpe:5', frame(...outer, udp({ dstPort: 4790 }), vxlanGpe(5, 2), ...inner6)],
    ['vxlan-gpe:5', frame(...outer, udp({ dstPort: 4790 }), vxlanGpe(5, 3), ...innerFrame)],
    ['geneve:7', frame(...outer, udp({ dstPort: 6081 }), geneve(7), ...innerFrame)],
    ['geneve:7', frame(...outer, udp({ dstPort: 6081 }), geneve(7, [1, 2, 0x80, 1, 0, 0, 0, 9]), ...innerFrame)],
    ['geneve:7', frame(...outer, udp({ dstPort: 6081 }), geneve(7), ...inner6)],
    ['gre', frame(...outer, gre(), ...inner)],
    ['gre', frame(...outer, gre({ checksum: true, sequence: 3 }), ...innerFrame)],
    ['gre:99', frame(...outer6, gre({ key: 99, sequence: 1 }), ...inner6)],
    ['nvgre:5001', frame(...outer, gre({ key: 5001 * 256 + 17 }), ...innerFrame)],
    ['gre:42', frame(...outer, gre({ key: 42 }), ...innerFrame)],
    ['gre', frame(...outer, udp({ dstPort: 4754 }), gre(), ...inner)],
    ['erspan:11', frame(...outer, gre({ sequence: 1 }), erspan2(11), ...innerFrame)],
    ['erspan:12', frame(...outer, gre({ sequence: 1 }), erspan3(12), ethernet(), vlan(3), ...inner)],
    ['erspan:0', frame(...outer, gre({ type: 0x88be }), ...innerFrame)],
    ['ipip', frame(...outer, ...inner)],
    ['6in4', frame(...outer, ...inner6)],
    ['4in6', frame(...outer6, ...inner)],
    ['6in6', frame(...outer6, ...inner6)],
    ['mpls', frame(ethernet(), mpls(100), ...inner)],
    ['mpls', frame(ethernet(), mpls(100, 200, 300), ...inner6)],
    ['mpls', frame(ethernet(), mpls(100), raw(u32(0)), ...innerFrame)], // pseudo-wire with control word
    ['mpls', frame(...outer, mpls(16), ...inner)],
    ['mpls', frame(...outer, udp({ dstPort: 6635 }), mpls(16), ...inner)],
    ['gre/mpls', frame(...outer, gre(), mpls(16), ...inner)],
    ['stt:77', frame(...outer, stt(77), ...innerFrame)],
    [
      'vxlan:1/geneve:2/gre',
      frame(
        ...outer,
        udp({ dstPort: 4789 }),
        vxlan(1),
        ...outer6,
        udp({ dstPort: 6081 }),
        geneve(2),
        ...outer,
        gre(),
        ...inner,
      ),
    ],
  ];
  test.each(cases)('%s (%#)', (path, captured) => {
    expect(decoded(captured)).toMatchObject({ kind: 'tcp', path, payload: 'hello', payloadLen: 5, dstPort: 4444 });
  });

  test('fields are those of the innermost header; the overhead is the difference', () => {
    const { rows, src } = decoded(frame(...outer, udp({ dstPort: 4789 }), vxlan(42), ...innerFrame));
    expect([src, rows.ttl[0], rows.ipBytes[0], rows.outerIpBytes[0]]).toEqual(['10.9.0.1', 63, 45, 45 + 50]);
  });

  test('one path, one id; the identifier tells tenants apart', () => {
    const tenant = (vni: number) => frame(...outer, udp({ dstPort: 4789 }), vxlan(vni), ...innerFrame);
    const batch = batchOf([tenant(1), tenant(2), tenant(1), frame(...outer, tcp())]);
    const rows = createRows();
    decodeFrames(batch, rows);
    expect([...rows.tunnel.subarray(0, 4)]).toEqual([1, 2, 1, 0]);
    expect(rows.tunnels.map((path) => path.labels)).toEqual([[], ['vxlan:1'], ['vxlan:2']]);
  });
});

describe('STT frames larger than a segment', () => {
  const whole = frame(stt(77), ethernet(), ipv4(), tcp({}, 'x'.repeat(3000)));
  const [header, rest] = [whole.slice(0, 20), whole.slice(20)];
  /** The bytes of the STT frame from `at` on, behind the header that says so. */
  const segment = (at: number, length: number) => {
    const own = header.slice();
    own.set([at >>> 8, at & 255], 6);
    return frame(...outer, raw(new Uint8Array([...own, ...rest.slice(at, at + length)]), { ipProtocol: 6 }));
  };
  const run = (...frames: Uint8Array[]) => {
    const [log, rows, batch] = [new AnomalyLog(), createRows(), batchOf(frames)];
    decodeFrames(batch, rows, log);
    const row = (i: number) => describeRow(batch, rows, i);
    return {
      kinds: frames.map((_, i) => row(i).kind),
      segments: log.count('decode/stt-segment'),
      first: { ...row(0), captured: rows.payloadCap[0] },
    };
  };

  test('the first is read, later ones are noted', () => {
    const { kinds, segments, first } = run(segment(0, 1460), segment(1460, 1460), segment(2920, 152));
    expect([kinds, segments]).toEqual([['tcp', 'none', 'none'], 2]);
    expect(first).toMatchObject({ path: 'stt:77', payloadLen: 3000, captured: 1460 - 18 - 54 });
  });

  test('without a first one in the capture they are TCP', () => {
    expect(run(segment(1460, 1460))).toMatchObject({ kinds: ['tcp'], segments: 0 });
  });

  test('what lies outside its frame is TCP', () => {
    expect(run(segment(0, 1460), segment(60_000, 1460))).toMatchObject({ kinds: ['tcp', 'tcp'], segments: 0 });
  });
});

// Written by hand after RFC 7348 figure 1: flags 08, VNI 0x00002a, an ARP request inside.
test('VXLAN, byte by byte', () => {
  const captured = hex(`
    525400000002 525400000001 0800  4500004e 00004000 40110000 ac100001 ac100002
    c000 12b5 003a 0000  08000000 00002a00
    ffffffffffff 525400000003 0806  0001 0800 06 04 0001 525400000003 0a090001 000000000000 0a090002`);
  expect(decoded(captured)).toMatchObject({ kind: 'signal', path: 'vxlan:42', payloadLen: 28 });
});

// Published in scapy, test/contrib/geneve.uts ("GENEVE with metadata options") and erspan.uts ("Build ERSPAN II").
test('packets that another tool built', () => {
  const options = hex(`
    ffffffffffff 000000000000 8100 0001 0800  45000056 00010000 40117c94 7f000001 7f000001  dec117c1 00421a86
    0200 6558 00000000  01028001 00010002
    ffffffffffff 000000000000 0800  4500001c 00010000 40017cde 7f000001 7f000001  0800f7ff 00000000`);
  expect(decoded(options)).toMatchObject({ kind: 'signal', path: 'geneve:0', payloadLen: 8 });
  const mirrored = hex('1000 88be 00000000 0000000000000000 ffffffffffff 111111111111 9000');
  expect(decoded(frame(...outer, raw(mirrored, { ipProtocol: 47 })))).toMatchObject({ kind: 'none', path: 'erspan:0' });
});

describe('what only looks like a tunnel stays what it is', () => {
  const data = (port: number, ...layers: Layer[]) => decoded(frame(...outer, udp({ dstPort: port }), ...layers));
  test.each([
    ['VXLAN without its flag', data(4789, vxlan(42, 0), ...innerFrame)],
    ['VXLAN with a reserved byte set', data(4789, raw([8, 0, 0, 0, 0, 0, 42, 1]), ...innerFrame)],
    ['VXLAN around something else', data(4789, vxlan(42), ethernet({ type: 0x0800 }), raw('not IP'))],
    ['VXLAN port, short datagram', data(4789, raw('short'))],
    ['DNS on the Geneve port', data(6081, raw(hex('c0ff0100000100000000000003777777')))],
    ['GPE with an unknown protocol', data(4790, vxlanGpe(1, 9), ...innerFrame)],
    ['MPLS port without the bottom of a stack', data(6635, raw(new Uint8Array(64)))],
  ])('%s', (_name, row) => {
    expect(row).toMatchObject({ kind: 'udp', path: '' });
  });

  test.each([
    ['GRE with source routes', raw(hex('4000 0800 0000 0000'), { ipProtocol: 47 })],
    ['PPTP', raw(hex('3001 880b 0000 0000 0000 0000'), { ipProtocol: 47 })],
    ['GRE around something else', gre({ type: 0x0800 })],
    ['IP protocol 4 without IP', raw('nothing like it, surely', { ipProtocol: 4 })],
  ])('%s', (_name, layer) => {
    expect(decoded(frame(...outer, layer, raw('xxxxxxxxxxxxxxxxxxxxxxxx')))).toMatchObject({
      kind: 'other-ip',
      path: '',
    });
  });

  test('TCP on the port of STT', () => {
    expect(
      decoded(frame(...outer, tcp({ dstPort: 7471, seq: 0x00400000 }, 'plain bytes of some connection'))),
    ).toMatchObject({
      kind: 'tcp',
      path: '',
    });
  });
});

describe('fragments of the outer packet', () => {
  const whole = frame(
    udp({ dstPort: 4789, length: 1524 }),
    vxlan(42),
    ethernet(),
    ipv4({ totalLength: 1480 }),
    tcp({}, 'x'),
  );
  test.each([
    ['IPv4', frame(ethernet(), ipv4({ moreFragments: true }), raw(whole, { ipProtocol: 17 }))],
    ['IPv6', frame(ethernet(), ipv6(), ipv6Fragment({ more: true }), raw(whole, { ipProtocol: 17 }))],
  ])('%s: the inner packet counts whole, the row is marked', (_name, captured) => {
    const { kind, rows } = decoded(captured);
    expect([kind, rows.payloadLen[0], rows.payloadCap[0], rows.fragmented[0]]).toEqual(['tcp', 1440, 1, 2]);
  });
});

describe('bounds', () => {
  test('encapsulation nested beyond the depth is left and noted', () => {
    const nest = (depth: number): Uint8Array => frame(...outer, ...new Array(depth).fill(ipv4()), tcp({}, 'hello'));
    expect(decoded(nest(TUNNEL_DEPTH)).kind).toBe('tcp');
    const { kind, log } = decoded(nest(TUNNEL_DEPTH + 1));
    expect([kind, log.count('decode/tunnel-depth')]).toEqual(['other-ip', 1]);
  });

  test('an endless label stack is left', () => {
    const labels = new Array<number>(5000).fill(3);
    expect(decoded(frame(ethernet(), mpls(...labels), ...inner))).toMatchObject({ kind: 'none', path: '' });
  });

  test('paths beyond the bound share the last one', () => {
    const rows = createRows();
    const log = new AnomalyLog();
    let last = '';
    for (let vni = 1; vni <= TUNNEL_PATHS + 10; vni++) {
      const batch = batchOf([frame(...outer, udp({ dstPort: 4789, checksum: false }), vxlan(vni), ...innerFrame)]);
      decodeFrames(batch, rows, log);
      last = describeRow(batch, rows, 0).path;
    }
    expect([rows.tunnels.length, last]).toEqual([TUNNEL_PATHS, 'other']);
    expect(log.count('decode/tunnel-paths')).toBe(12);
  });
});
