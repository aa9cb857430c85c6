import { describe, expect, test } from 'vitest';
import { decodeFrames } from '../../src/decode/frame.js';
import { createRows } from '../../src/decode/rows.js';
import { Signals } from '../../src/decode/signals.js';
import { ANSWER_ROWS, DNS_QUERIES, SIGNAL_ROWS } from '../../src/limits.js';
import {
  address,
  arp,
  batchOf,
  bytes,
  type CapturedFrame,
  concat,
  ethernet,
  frame,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  raw,
  tcp,
  u16,
  udp,
} from '../support/frames.js';

/** The signals of these frames, one object a row without the cells that say nothing. */
function signals(...frames: (Uint8Array | CapturedFrame)[]): Record<string, unknown>[] {
  const collector = new Signals();
  const batch = batchOf(frames);
  const rows = createRows();
  decodeFrames(batch, rows);
  collector.push(batch, rows);
  const table = collector.finish();
  return Array.from({ length: table.rows }, (_, row) =>
    Object.fromEntries(
      Object.entries(table.columns)
        .map(([name, column]) => [name, column.values[row]])
        .filter(([, value]) => value !== '' && !Number.isNaN(value)),
    ),
  );
}

const guest = { mac: '52:54:00:12:34:56', ip: '10.0.0.7' };
const none = { mac: '00:00:00:00:00:00', ip: '0.0.0.0' };
const gateway = { mac: '00:00:00:00:00:00', ip: '10.0.0.254' };
const at = { frame: 1, tNs: 0 };

describe('who is announced where', () => {
  test('QEMU announces a guest by RARP', () => {
    expect(
      signals(frame(ethernet({ padTo: 60 }), arp(3, { ...guest, ip: '0.0.0.0' }, { ...guest, ip: '0.0.0.0' }))),
    ).toEqual([{ ...at, kind: 'rarp-announcement', mac: guest.mac, type: 3 }]);
  });

  test('a guest announces itself by ARP', () => {
    expect(signals(frame(ethernet(), arp(1, guest, { ...none, ip: guest.ip })))).toEqual([
      { ...at, kind: 'arp-announcement', from: guest.ip, about: guest.ip, mac: guest.mac, type: 1 },
    ]);
  });

  test('an address probe announces nothing', () => {
    expect(signals(frame(ethernet(), arp(1, { ...guest, ip: '0.0.0.0' }, { ...none, ip: guest.ip })))).toMatchObject([
      { kind: 'arp-request', about: guest.ip },
    ]);
  });

  test('ARP for the gateway and its answer', () => {
    const found = signals(
      frame(ethernet(), arp(1, guest, gateway)),
      frame(ethernet(), arp(2, { mac: '02:00:00:00:00:fe', ip: gateway.ip }, guest)),
    );
    expect(found).toMatchObject([
      { kind: 'arp-request', from: guest.ip, about: gateway.ip, mac: guest.mac },
      { kind: 'arp-reply', from: gateway.ip, about: gateway.ip, mac: '02:00:00:00:00:fe' },
    ]);
  });

  test('IPv6: solicited and unsolicited neighbour advertisements', () => {
    const body = concat(address('fd00::7'), [2, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    const advertise = (flags: number) => frame(ethernet(), ipv6({ src: 'fd00::7' }), icmpv6(136, 0, flags, body));
    expect(signals(advertise(0x2000_0000), advertise(0x6000_0000))).toMatchObject([
      { kind: 'neighbour-announcement', about: 'fd00::7', mac: guest.mac },
      { kind: 'neighbour-advertisement', about: 'fd00::7', mac: guest.mac },
    ]);
  });
});

describe('ICMP errors', () => {
  const refused = frame(
    ipv4({ src: '10.0.0.1', dst: '10.0.0.2' }),
    tcp({ srcPort: 40000, dstPort: 49152, flags: 'S' }),
  );

  test('fragmentation needed: the next hop and the packet it was about', () => {
    expect(
      signals(frame(ethernet(), ipv4({ src: '10.0.9.9', dst: '10.0.0.1' }), icmp(3, 4, 1400, refused.slice(0, 28)))),
    ).toEqual([
      {
        ...at,
        kind: 'icmp-too-big',
        from: '10.0.9.9',
        about: '10.0.0.2',
        protocol: 6,
        source: '10.0.0.1',
        sourcePort: 40000,
        port: 49152,
        type: 3,
        code: 4,
        mtu: 1400,
      },
    ]);
  });

  test('administratively prohibited', () => {
    expect(signals(frame(ethernet(), ipv4(), icmp(3, 13, 0, refused)))).toMatchObject([
      { kind: 'icmp-unreachable', code: 13, port: 49152 },
    ]);
  });

  test('ICMPv6 packet too big', () => {
    const quote = frame(ipv6({ src: 'fd00::1', dst: 'fd00::2' }), tcp({ srcPort: 1, dstPort: 2 }));
    expect(signals(frame(ethernet(), ipv6(), icmpv6(2, 0, 1280, quote)))).toMatchObject([
      { kind: 'icmp-too-big', mtu: 1280, about: 'fd00::2', port: 2 },
    ]);
  });

  test('a quote that ends early leaves out what it does not hold', () => {
    expect(signals(frame(ethernet(), ipv4(), icmp(3, 1, 0, refused.slice(0, 22))))[0]).not.toHaveProperty('port');
    expect(signals(frame(ethernet(), ipv4(), icmp(3, 1, 0, refused.slice(0, 10))))[0]).not.toHaveProperty('about');
  });

  test('a ping is no signal', () => {
    expect(signals(frame(ethernet(), ipv4(), icmp(8, 0)))).toEqual([]);
  });
});

describe('names that do not resolve', () => {
  const message = (id: number, flags: number, name: string) =>
    concat(
      u16(id),
      u16(flags),
      u16(1),
      new Uint8Array(6),
      ...name.split('.').flatMap((l) => [[l.length], bytes(l)]),
      [0, 0, 1, 0, 1],
    );
  const client = ipv4({ src: '10.0.0.1', dst: '10.0.0.53' });
  const server = ipv4({ src: '10.0.0.53', dst: '10.0.0.1' });
  const there = frame(ethernet(), client, udp());
  const query = frame(ethernet(), client, udp({ srcPort: 3333, dstPort: 53 }, message(7, 0x0100, 'host-b.example')));
  const answer = (code: number) =>
    frame(ethernet(), server, udp({ srcPort: 53, dstPort: 3333 }, message(7, 0x8180 + code, 'host-b.example')));

  test('NXDOMAIN', () => {
    expect(signals(query, answer(3))).toMatchObject([
      { kind: 'dns-failure', frame: 2, from: '10.0.0.53', source: '10.0.0.1', type: 3, name: 'host-b.example' },
    ]);
  });

  test('answered in time: nothing', () => {
    expect(signals(query, answer(0), { bytes: query, tNs: 1e9 })).toEqual([]);
  });

  test('DNS_QUERIES: of more open queries than that the older half is forgotten', () => {
    const ask = (id: number) =>
      frame(ethernet(), client, udp({ srcPort: 1024, dstPort: 53 }, message(id, 0x0100, `h${id}`)));
    const queries = Array.from({ length: DNS_QUERIES + 1 }, (_, id) => ask(id));
    const rows = createRows();
    const collector = new Signals();
    for (const [frames, tNs] of [
      [queries.slice(0, 4000), 0],
      [queries.slice(4000), 0],
      [[there], 6e9],
    ] as const) {
      const batch = batchOf(frames.map((bytes) => ({ bytes, tNs })));
      decodeFrames(batch, rows);
      collector.push(batch, rows);
    }
    const { rows: found, columns } = collector.finish();
    const names = new Set(columns['name']!.values as string[]);
    const half = DNS_QUERIES / 2;
    expect([found, names.has(`h${half - 1}`), names.has(`h${half}`)]).toEqual([half + 1, false, true]);
  });

  test('never answered', () => {
    expect(signals(query, { bytes: frame(ethernet(), client, udp()), tNs: 6e9 })).toMatchObject([
      { kind: 'dns-unanswered', frame: 1, tNs: 0, name: 'host-b.example' },
    ]);
  });
});

test('pause frames of priority flow control', () => {
  expect(signals(frame(ethernet({ type: 0x8808 }), raw(concat(u16(0x0101), u16(8)))))).toMatchObject([
    { kind: 'pause', type: 0x0101 },
  ]);
});

test('a storm of one kind has its own budget', () => {
  const collector = new Signals();
  const rows = createRows();
  const batch = batchOf(new Array(4000).fill(frame(ethernet(), arp(1, guest, gateway))));
  decodeFrames(batch, rows);
  for (let i = 0; i < 3; i++) collector.push(batch, rows);
  const last = batchOf([frame(ethernet(), arp(3, guest, guest))], { firstFrame: 12_001 });
  decodeFrames(last, rows);
  collector.push(last, rows);
  const table = collector.finish();
  expect([table.rows, collector.lost]).toEqual([SIGNAL_ROWS + 1, 12_000 - SIGNAL_ROWS]);
});

describe('who answers a connection attempt, and who asks for TLS', () => {
  const hello = [22, 3, 1, 0, 200, 1, 0, 0, 196];

  test('a SYN-ACK tells its hop limit', () => {
    expect(signals(frame(ethernet(), ipv4({ ttl: 62 }), tcp({ flags: 'SA', srcPort: 49_152 })))).toMatchObject([
      { kind: 'tcp-answer', from: '10.0.0.1', about: '10.0.0.2', sourcePort: 49_152, type: 62 },
    ]);
    expect(signals(frame(ethernet(), ipv4({ ttl: 62 }), tcp({ flags: 'S' })))).toEqual([]);
  });

  test('a ClientHello is told, and a refusal in clear', () => {
    expect(signals(frame(ethernet(), ipv4(), tcp({}, hello)))).toMatchObject([{ kind: 'tls-hello' }]);
    expect(signals(frame(ethernet(), ipv4(), tcp({}, [21, 3, 3, 0, 2, 2, 48])))).toMatchObject([
      { kind: 'tls-alert', type: 2, code: 48 },
    ]);
    expect(signals(frame(ethernet(), ipv4(), tcp({}, [21, 3, 3, 0, 26, 2, 48])))).toEqual([]); // encrypted
    expect(signals(frame(ethernet(), ipv4(), tcp({}, [...hello].reverse())))).toEqual([]);
  });

  test('answers beyond ANSWER_ROWS are counted', () => {
    const collector = new Signals();
    const rows = createRows();
    const answers = Array.from({ length: ANSWER_ROWS + 5 }, () => frame(ethernet(), ipv4(), tcp({ flags: 'SA' })));
    const batch = batchOf(answers);
    decodeFrames(batch, rows);
    collector.push(batch, rows);
    expect([collector.finish().rows, collector.lost]).toEqual([ANSWER_ROWS, 5]);
  });
});
