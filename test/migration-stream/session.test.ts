import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import type { ColumnData } from '../../src/columns.js';
import type { ClockLeap } from '../../src/decode/clock-leaps.js';
import { FLAG_ACK, FLAG_FIN, FLAG_RST } from '../../src/decode/rows.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { RESYNC_SEARCH_BYTES, STREAM_SEARCHES } from '../../src/limits.js';
import type { ConnectionEnding } from '../../src/migration-stream/group.js';
import type { MigrationResults } from '../../src/migration-stream/results.js';
import { type MigrationOptions, MigrationStreams } from '../../src/migration-stream/session.js';
import {
  ascii,
  be16,
  be32,
  be64,
  bytes,
  PAGE,
  type Piece,
  range,
  type StreamBuilder,
  smallMigration,
  str8,
  stream,
} from '../support/migration-stream.js';
import { type Frame, feed, fin, syn } from '../support/reassembly.js';

interface Peer {
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly startNs?: number;
}

/** Frames of several connections, one after the other; connection i has directions 2i and 2i + 1. */
function analyse(
  frames: readonly Frame[],
  peers: readonly Peer[] = [{}],
  options: MigrationOptions = {},
  endings: readonly ConnectionEnding[] = [],
  signals: ColumnData | null = null,
  leaps: readonly ClockLeap[] = [],
): MigrationResults & { codes: string[] } {
  const log = new AnomalyLog();
  const directory = {
    identity: (connection: number) => {
      const { from = '10.0.0.1', to = '10.0.0.2', port = 49_152, startNs = 0 } = peers[connection] ?? {};
      return { client: { address: from, port: 40_000 + connection }, server: { address: to, port }, startNs };
    },
  };
  const streams = new MigrationStreams(log, directory, options);
  const reassembler = new Reassembler(streams.claim, log);
  feed(reassembler, frames);
  reassembler.finish();
  return { ...streams.finish(endings, signals, leaps), codes: log.finish().map(({ code }) => code) };
}

/** Opens a connection and sends bytes from offset 0 on. */
const sent = (connection: number, payload: Uint8Array): Frame[] => [
  { ...syn(2 * connection) },
  { direction: 2 * connection, offset: 0, payload },
];
const replied = (connection: number, offset: number, ...messages: Uint8Array[]): Frame => ({
  direction: 2 * connection + 1,
  offset,
  payload: bytes(...messages),
});
const closed = (connection: number, length: number, flags = FLAG_FIN | FLAG_ACK): Frame => ({
  direction: 2 * connection,
  offset: length,
  flags,
});
const pong = (value: number): Uint8Array => bytes(be16(2), be16(4), be32(value));
const shut = (error: number): Uint8Array => bytes(be16(1), be16(4), be32(error));

const whole = smallMigration().build();
/** As far as the middle of the first pass. */
const begun = whole.slice(0, 12_000);

describe('outcome', () => {
  const outcomeOf = (frames: readonly Frame[], endings: readonly ConnectionEnding[] = []) =>
    analyse(frames, [{}], {}, endings).migrations.map(({ outcome }) => outcome);

  test('completed: the end mark was sent', () => {
    expect(outcomeOf([...sent(0, whole), closed(0, whole.length)])).toEqual(['completed']);
  });

  test('completed: SHUT without error, although the end mark is not in the capture', () => {
    expect(outcomeOf([...sent(0, begun), replied(0, 0, pong(1), shut(0))])).toEqual(['completed']);
  });

  test('cancelled: the end mark was sent, but a destination that had answered before closed without SHUT', () => {
    const frames = [...sent(0, whole), syn(1), replied(0, 0, pong(1)), closed(0, whole.length)];
    expect(outcomeOf([...frames, { direction: 1, offset: 8, flags: FLAG_FIN | FLAG_ACK }])).toEqual(['cancelled']);
    expect(outcomeOf(frames)).toEqual(['completed']); // it may still come
  });

  test('cancelled: the source closed in order before the end', () => {
    expect(outcomeOf([...sent(0, begun), closed(0, begun.length)])).toEqual(['cancelled']);
  });

  test('cancelled too when the destination answers the close with an error', () => {
    const frames = [...sent(0, begun), closed(0, begun.length), replied(0, 0, shut(1))];
    expect(outcomeOf(frames)).toEqual(['cancelled']);
  });

  test('failed: the destination says so while the source still sends', () => {
    expect(outcomeOf([...sent(0, begun), replied(0, 0, shut(1)), closed(0, begun.length)])).toEqual(['failed']);
  });

  test('failed: reset', () => {
    expect(outcomeOf([...sent(0, begun), closed(0, begun.length, FLAG_RST)])).toEqual(['failed']);
  });

  test('failed: the destination closed first', () => {
    const endings: ConnectionEnding[] = [{ id: 0, endNs: 1, endedBy: 'fin', closedFirstBy: 1 }];
    expect(outcomeOf([...sent(0, begun), closed(0, begun.length)], endings)).toEqual(['failed']);
  });

  test('incomplete: the capture ended first', () => {
    expect(outcomeOf(sent(0, begun))).toEqual(['incomplete']);
  });

  test('incomplete lasts as long as the capture, also where nothing gets through any more', () => {
    const last: Frame = { direction: 1, offset: 0, ack: begun.length, tNs: 9e9 };
    const { migrations } = analyse([...sent(0, begun), last]);
    expect(migrations.map(({ endNs, phases }) => [endNs, phases.at(-1)!.endNs])).toEqual([[9e9, 9e9]]);
  });
});

describe('which connections form a migration', () => {
  test('main channel and return path', () => {
    const { migrations, channels } = analyse([...sent(0, whole), replied(0, 0, pong(1), shut(0)), fin(whole.length)]);
    expect(migrations).toHaveLength(1);
    expect(migrations[0]).toMatchObject({
      source: '10.0.0.1',
      destination: '10.0.0.2',
      port: 49_152,
      connections: [0],
      returnPath: { pong: 1, shut: 1 },
      bytes: { main: whole.length, total: whole.length, returnPath: 16 },
    });
    expect(channels).toEqual([{ connection: 0, kind: 'main', index: null, migration: 0 }]);
  });

  test('a cancelled try and its retry are two', () => {
    const frames = [...sent(0, begun), closed(0, begun.length), ...sent(1, whole), closed(1, whole.length)];
    expect(analyse(frames).migrations.map(({ outcome, connections }) => ({ outcome, connections }))).toEqual([
      { outcome: 'cancelled', connections: [0] },
      { outcome: 'completed', connections: [1] },
    ]);
  });

  test('two machines at once, on two ports, byte by byte interleaved', () => {
    const frames = [syn(0), syn(2)];
    for (let at = 0; at < whole.length; at += 1448) {
      for (const direction of [0, 2]) frames.push({ direction, offset: at, payload: whole.slice(at, at + 1448) });
    }
    const { migrations } = analyse(frames, [{ port: 49_152 }, { port: 49_153 }]);
    expect(migrations.map(({ port, outcome, pages }) => ({ port, outcome, pages }))).toEqual([
      { port: 49_152, outcome: 'completed', pages: migrations[1]!.pages },
      { port: 49_153, outcome: 'completed', pages: migrations[0]!.pages },
    ]);
  });

  describe('a relay whose both legs are in the capture', () => {
    const legs = (later: Peer, payload = whole): MigrationResults['migrations'] =>
      analyse(
        [...sent(0, whole), ...sent(1, payload), closed(0, whole.length), closed(1, payload.length)],
        [{ to: '10.0.0.7', port: 3128 }, later],
      ).migrations;

    test('the second leg is named as such', () => {
      const [first, second] = legs({ from: '10.0.0.7', to: '10.0.0.2' });
      expect(first).not.toHaveProperty('relayOf');
      expect(second).toMatchObject({ outcome: 'completed', relayOf: 0 });
    });

    test('on a host with an address for each side', () => {
      expect(legs({ from: '192.168.0.7', to: '192.168.0.2' })[1]).toMatchObject({ relayOf: 0 });
    });

    test('of a migration that broke off, with as much as the relay had passed on', () => {
      const frames = [
        ...sent(0, begun),
        ...sent(1, begun.slice(0, 9000)),
        closed(0, begun.length, FLAG_RST),
        closed(1, 9000, FLAG_RST),
      ];
      const { migrations } = analyse(frames, [{ to: '10.0.0.7' }, { from: '10.0.0.7' }]);
      expect(migrations).toMatchObject([{ outcome: 'failed' }, { outcome: 'failed', relayOf: 0 }]);
    });

    test('two guests that are alike leave one host for two others', () => {
      expect(legs({ from: '10.0.0.1', to: '10.0.0.8' })[1]).not.toHaveProperty('relayOf');
    });

    test('another guest comes from the host that the first went to', () => {
      const other = smallMigration().raw([0]).build();
      expect(legs({ from: '10.0.0.7', to: '10.0.0.2' }, other)[1]).not.toHaveProperty('relayOf');
    });
  });

  test("other traffic is nobody's", () => {
    expect(analyse(sent(0, Uint8Array.from(ascii('GET / HTTP/1.1\r\n')))).migrations).toEqual([]);
  });

  describe('post-copy with a preempt channel', () => {
    const ram = [{ name: 'pc.ram', length: 16 * PAGE }];
    const before = stream()
      .header()
      .command(1)
      .ramStart(ram)
      .part((pages) => pages.pages('pc.ram', range(0, 16)))
      .packaged((inner) => inner.command(4).full(0, 'timer', range(0, 24)).ping(3).command(5))
      .build();
    const after = stream()
      .part((pages) => pages.pages('pc.ram', [1]))
      .end()
      .eof()
      .build();
    const urgent = bytes(be64(7 * PAGE + 8), str8('pc.ram'), new Uint8Array(PAGE));
    const request = bytes(be16(3), be16(19), be64(7 * PAGE), be32(PAGE), str8('pc.ram'));
    const underway = bytes(be16(4), be16(12), be64(PAGE), be32(PAGE));

    test('a nameless connection with a page of a known block answers a request', () => {
      const { migrations, channels } = analyse([
        ...sent(0, before),
        replied(0, 0, pong(3), request),
        ...sent(1, urgent),
        { direction: 0, offset: before.length, payload: after },
        replied(0, 8 + request.length, underway),
        closed(0, before.length + after.length),
      ]);
      expect(channels.map(({ kind, migration }) => ({ kind, migration }))).toEqual([
        { kind: 'main', migration: 0 },
        { kind: 'preempt', migration: 0 },
      ]);
      const [{ postcopy, bytes: sizes, rounds, outcome }] = migrations as [(typeof migrations)[0]];
      expect(outcome).toBe('completed');
      expect(postcopy).toMatchObject({ requests: 2, pages: 2, pagesUnderway: 1, requestLatencyNs: { samples: 1 } });
      expect(sizes.preempt).toBe(urgent.length);
      expect(rounds.map(({ boundary, pages }) => `${boundary} ${pages.normal}`)).toEqual([
        'first-pass 16',
        'post-copy 2',
      ]);
    });

    test("the same bytes without such a migration are nobody's", () => {
      expect(analyse(sent(0, urgent)).migrations).toEqual([]);
    });

    test('after a broken connection the next one goes on with the same migration', () => {
      const again = bytes([8], be16(10), be16(7), str8('pc.ram'), after);
      const { migrations } = analyse(
        [...sent(0, before), closed(0, before.length, FLAG_RST), ...sent(1, again), closed(1, again.length)],
        [{ port: 49_152 }, { port: 50_000 }],
      );
      expect(migrations).toHaveLength(1);
      expect(migrations[0]).toMatchObject({ outcome: 'completed', connections: [0, 1], pages: { normal: 17 } });
    });
  });
});

describe('disks mirrored beside', () => {
  const request = (offset: number, length: number): Uint8Array =>
    bytes(be32(0x25609513), be16(0), be16(1), be64(7), be64(offset), be32(length), new Uint8Array(length));
  const greeting = bytes(ascii('NBDMAGICIHAVEOPT'), be16(3));
  const mirror = bytes(be32(3), request(0, 4096), request(4096, 4096));
  const at = (seconds: number, frames: readonly Frame[]): Frame[] =>
    frames.map((frame) => ({ ...frame, tNs: seconds * 1e9 }));
  const mirrored = (connection: number, fromS: number, toS: number): Frame[][] => [
    at(fromS, [
      syn(2 * connection),
      syn(2 * connection + 1),
      replied(connection, 0, greeting),
      { direction: 2 * connection, offset: 0, payload: mirror.slice(0, 5000) },
    ]),
    at(toS, [
      { direction: 2 * connection, offset: 5000, payload: mirror.slice(5000) },
      closed(connection, mirror.length),
    ]),
  ];
  const moved = (connection: number, fromS: number, toS: number): Frame[][] => [
    at(fromS, sent(connection, begun)),
    at(toS, [
      { direction: 2 * connection, offset: begun.length, payload: whole.slice(begun.length) },
      closed(connection, whole.length),
    ]),
  ];
  const inOrder = (...parts: Frame[][]): Frame[] => parts.flat().sort((a, b) => a.tNs! - b.tNs!);
  const owners = (frames: readonly Frame[], peers: readonly Peer[]) => {
    const endings = peers.map((_, id): ConnectionEnding => {
      const endNs = Math.max(...frames.map((frame) => (frame.direction! >>> 1 === id ? frame.tNs! : 0)));
      return { id, endNs, endedBy: 'fin', closedFirstBy: 0 };
    });
    const { migrations, channels } = analyse(frames, peers, {}, endings);
    return [
      migrations.map(({ disks }) => disks.map(({ connection }) => connection)),
      channels.filter(({ kind }) => kind === 'nbd').map(({ connection, migration }) => [connection, migration]),
    ];
  };

  test('two guests at once: each mirror belongs to the migration that ends with it', () => {
    const frames = inOrder(...mirrored(0, 1, 6), ...mirrored(1, 1, 9), ...moved(2, 3, 6.1), ...moved(3, 4, 9.1));
    const peers = [{ port: 10_809 }, { port: 10_809 }, { port: 49_152 }, { port: 49_153 }];
    expect(owners(frames, peers)).toEqual([
      [[0], [1]],
      [
        [0, 0],
        [1, 1],
      ],
    ]);
  });

  test('two that end together: the mirror uses the port after that of its migration', () => {
    const frames = inOrder(...mirrored(0, 1, 6), ...mirrored(1, 1.1, 6), ...moved(2, 3, 6.1), ...moved(3, 3, 6.2));
    const peers = [{ port: 49_155 }, { port: 49_153 }, { port: 49_152 }, { port: 49_154 }];
    expect(owners(frames, peers)).toEqual([
      [[1], [0]],
      [
        [0, 1],
        [1, 0],
      ],
    ]);
  });

  test('one that was over before any memory moved belongs to none, nor does one between other hosts', () => {
    const frames = inOrder(...mirrored(0, 1, 2), ...mirrored(1, 1, 6), ...moved(2, 3, 6.1));
    const peers = [{ port: 10_809 }, { port: 10_809, to: '10.0.0.9' }, { startNs: 3e9 }];
    expect(owners(frames, peers)).toEqual([
      [[]],
      [
        [0, null],
        [1, null],
      ],
    ]);
  });

  test('the destination may pull', () => {
    const frames = inOrder(...mirrored(0, 1, 6), ...moved(1, 3, 6.1));
    expect(owners(frames, [{ from: '10.0.0.2', to: '10.0.0.1', port: 10_809 }, {}])).toEqual([[[0]], [[0, 0]]]);
  });

  test('joined midway, a mirror is known by its requests', () => {
    // The header of the first one was before the capture.
    const requests = [0, 1, 2, 3].map((page) => ({
      direction: 0,
      offset: page * 4124 + (page === 0 ? 1000 : 0),
      payload: request(page * 4096, 4096).slice(page === 0 ? 1000 : 0),
      tNs: (1 + page) * 1e9,
    }));
    const frames = inOrder(requests, ...moved(1, 2, 4.2));
    const { migrations } = analyse(frames, [{ port: 10_809 }, {}]);
    expect(migrations).toHaveLength(1);
    expect(migrations[0]!.disks).toMatchObject([{ connection: 0, name: '', writtenBytes: 3 * 4096, requests: 3 }]);
  });
});

describe('captures that begin late', () => {
  describe('inside TLS', () => {
    const sealed = (...lengths: number[]): Uint8Array =>
      bytes(...lengths.map((length) => bytes([23, 3, 3], be16(length + 17), new Uint8Array(length + 17).fill(0x5a))));
    const pages = (count: number): number[] => range(0, count).flatMap(() => [8, PAGE]);

    test('a stream is known by the word before each page', () => {
      const stream = sealed(...pages(60)).slice(3000);
      const { migrations } = analyse([{ direction: 0, offset: 0, payload: stream }]);
      expect(migrations).toMatchObject([
        { encryption: 'tls', source: '10.0.0.1', rounds: [{ boundary: 'joined-midway', confidence: 0.5 }] },
      ]);
      expect(migrations[0]!.pages.normal).toBeGreaterThan(50);
    });

    test('from 11.1 on it is known by vectors of 32 words and pages', () => {
      const vectors = range(0, 12).flatMap(() => [...range(0, 8).map(() => 16_384), 256 + 9]);
      const { migrations } = analyse([{ direction: 0, offset: 0, payload: sealed(...vectors).slice(3000) }]);
      expect(migrations).toMatchObject([{ encryption: 'tls', rounds: [{ boundary: 'joined-midway' }] }]);
    });

    test('it does not matter which side was seen first, and answers count', () => {
      const stream = sealed(...pages(60));
      const { migrations } = analyse([
        { direction: 1, offset: 0, payload: stream },
        { direction: 0, offset: 0, payload: sealed(8) },
      ]);
      expect(migrations).toMatchObject([{ encryption: 'tls', source: '10.0.0.2', bytes: { returnPath: 8 } }]);
    });

    describe('channels of multifd', () => {
      const packets = (count: number): number[] =>
        range(0, count).flatMap(() => [1344, ...range(0, 40).map(() => PAGE)]);
      const vectors = (count: number): number[] =>
        range(0, count).flatMap(() => [...range(0, 32).map(() => 16_384), 1344]);
      const words = [...range(0, 6).flatMap(() => [18, 8, 8]), 10, 18, 16_384, 16_384, 5000];

      test.each([
        ['up to 11.0', packets(12)],
        ['from 11.1 on', vectors(12)],
      ])('are known by their packets, and the main one beside them by what it is beside (%s)', (_versions, lane) => {
        const { migrations, channels } = analyse(
          [
            { direction: 0, offset: 0, payload: sealed(...words.slice(0, 4)).slice(7) },
            { direction: 2, offset: 0, payload: sealed(...lane).slice(3000) },
            { direction: 4, offset: 0, payload: sealed(...lane).slice(9000) },
            { direction: 0, offset: sealed(...words.slice(0, 4)).length - 7, payload: sealed(...words.slice(4)) },
          ],
          [{}, {}, {}],
        );
        expect(migrations).toHaveLength(1);
        expect(migrations[0]).toMatchObject({ encryption: 'tls', rounds: [{ boundary: 'joined-midway' }] });
        expect(channels.map(({ kind }) => kind).sort()).toEqual(['main', 'multifd', 'multifd']);
      });

      test('lend their proof to no stream between other ends', () => {
        const { channels } = analyse(
          [
            { direction: 0, offset: 0, payload: sealed(...packets(12)).slice(3000) },
            { direction: 2, offset: 0, payload: sealed(...words).slice(7) },
          ],
          [{}, { to: '10.0.0.3' }],
        );
        expect(channels.map(({ connection }) => connection)).toEqual([0]);
      });
    });

    test("another application's records of a page's length are no migration", () => {
      const stream = sealed(...range(0, 100).map(() => PAGE), ...range(0, 100).map((i) => (i % 2 ? PAGE : 1344)));
      expect(analyse([{ direction: 0, offset: 0, payload: stream.slice(3000) }]).migrations).toEqual([]);
    });
  });

  test('a stream joined midway becomes a migration once its records prove it', () => {
    const from = 9000;
    const { migrations, codes } = analyse([{ direction: 0, offset: 0, payload: whole.slice(from) }]);
    expect(migrations).toHaveLength(1);
    expect(migrations[0]).toMatchObject({ outcome: 'completed', stream: { machineType: null } });
    expect(migrations[0]!.rounds[0]!.boundary).toBe('joined-midway');
    expect(codes).toContain('stream/mid-stream');
  });

  test('tables of another format, in which footers and command bytes occur, are no migration', () => {
    const table = bytes(
      [0x7e, 0, 0, 0, 0, 8, 0, 0, 0x3e, 0, 0, 0, 0, 9, 0, 0, 0xdc, 0, 0, 0, 0x52, 7, 0, 0],
      [0x1b, 0, 0, 0, 0, 8, 0, 0, 0x6e, 0, 0, 0, 0, 8, 0, 0, 0x2e, 0, 0, 0, 0, 9, 0, 0],
    );
    const noise = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7919) >>> 5);
    const payload = bytes(noise, table, noise, table, noise);
    expect(analyse([{ direction: 0, offset: 0, payload }]).migrations).toEqual([]);
  });

  test('it does not matter which side was seen first: the one that sends is the source', () => {
    const { migrations } = analyse([{ direction: 1, offset: 0, payload: whole.slice(9000) }]);
    expect(migrations).toMatchObject([{ source: '10.0.0.2', destination: '10.0.0.1', outcome: 'completed' }]);
  });

  test('of one migration, channels joined midway in any order are one', () => {
    const ram = [{ name: 'pc.ram', length: 512 * PAGE }];
    const main = stream()
      .ramStart(ram)
      .part((pages) => pages.flushMark())
      .part((pages) => pages.flushMark())
      .end((pages) => pages.zeros('pc.ram', range(0, 4)))
      .eof()
      .build()
      .slice(30);
    const packet = (pages: number[], flags = 0) =>
      bytes(
        [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1],
        be32(flags),
        be32(128),
        be32(pages.length),
        be32(pages.length * PAGE),
        be64(7),
        be32(0),
        new Uint8Array(28),
        ascii('pc.ram'),
        new Uint8Array(250),
        ...range(0, 128).map((i) => be64((pages[i] ?? 0) * PAGE)),
        new Uint8Array(pages.length * PAGE),
      );
    const channel = bytes(new Uint8Array(500), packet(range(0, 8)), packet(range(8, 16)), packet([], 1));
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const payloads = order.map((at) => (at === 0 ? main : channel));
      const frames: Frame[] = [];
      // A few bytes of the main channel last as long as many of the other.
      for (let step = 0; step < 100; step++) {
        payloads.forEach((payload, connection) => {
          const [from, to] = [step, step + 1].map((at) => Math.floor((at * payload.length) / 100)) as [number, number];
          frames.push({ direction: 2 * connection, offset: from, payload: payload.slice(from, to) });
        });
      }
      const { migrations, channels } = analyse(frames);
      expect(migrations).toHaveLength(1);
      expect(migrations[0]).toMatchObject({ outcome: 'completed', pages: { normal: 16, zero: 4 } });
      expect(channels.map(({ kind }) => kind).sort()).toEqual(['main', 'multifd']);
    }
  });

  test('beside a main channel, a preempt channel is known by its records', () => {
    const records = (pages: readonly number[]): Uint8Array =>
      bytes(...pages.map((page) => bytes(be64(page * PAGE + 0x28), new Uint8Array(PAGE).fill(0x41))));
    const urgent = records([3, 7, 9, 12, 15, 5, 6]);
    const { migrations, channels, codes } = analyse([
      { direction: 0, offset: 0, payload: whole.slice(9000, 30_000) },
      { direction: 2, offset: 0, payload: urgent.slice(1000) },
      { direction: 4, offset: 0, payload: new Uint8Array(30_000).fill(0x41) },
      { direction: 0, offset: 21_000, payload: whole.slice(30_000) },
    ]);
    expect(channels).toMatchObject([
      { connection: 0, kind: 'main' },
      { connection: 1, kind: 'preempt' },
    ]);
    expect(migrations).toHaveLength(1);
    expect(migrations[0]!.stream.features).toContain('preempt');
    expect(migrations[0]!.bytes.preempt).toBe(urgent.length - 1000);
    expect(codes).not.toContain('stream/invariant');
  });

  test('a stream that is something else is searched for so long and no longer', () => {
    const megabyte = new Uint8Array(1 << 20).fill(0x41);
    const log = new AnomalyLog();
    const streams = new MigrationStreams(log, {
      identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
    });
    const consumer = streams.claim(0, megabyte, 0, 100, false, 0, 1)!;
    let taken = 0;
    while (consumer.bytes(megabyte, 0, megabyte.length, taken, 0, 1)) taken += megabyte.length;
    expect(taken).toBe(RESYNC_SEARCH_BYTES);
    expect(streams.finish().migrations).toEqual([]);
  });
});

test('only so many streams are searched at once; those searched in vain make room', () => {
  const streams = new MigrationStreams(new AnomalyLog(), {
    identity: (id) => ({ client: { address: `host${id}`, port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
  });
  const text = Uint8Array.from(ascii('anything at all, from the middle'));
  const claim = (connection: number) => streams.claim(2 * connection, text, 0, text.length, false, 0, 1);
  const searched = range(0, STREAM_SEARCHES).map(claim);
  expect(searched.every((consumer) => consumer)).toBe(true);
  expect(claim(STREAM_SEARCHES)).toBeNull();
  searched[7]!.end(text.length, 'fin', 0, 1);
  expect(claim(STREAM_SEARCHES)).not.toBeNull();
  expect(streams.finish().migrations).toEqual([]);
});

test('a stream whose end waits for lost frames ends with its connection, however long the capture goes on', () => {
  const lost = whole.length - 300;
  const frames: Frame[] = [
    ...sent(0, whole.slice(0, lost)),
    { direction: 0, offset: whole.length - 100, payload: whole.slice(-100), tNs: 2e9 },
    { ...closed(0, whole.length), tNs: 2.1e9 },
    { ...syn(2), tNs: 60e9 },
  ];
  const ending: ConnectionEnding = { id: 0, endNs: 2.1e9, endedBy: 'fin', closedFirstBy: 0 };
  expect(analyse(frames, [{}, {}], {}, [ending]).migrations).toMatchObject([{ endNs: 2.1e9 }]);
});

test('a page that is cut off counts in its round, as everywhere, as far as it came', () => {
  for (const length of [11_000, 12_000, 13_000]) {
    const { rounds, bytes: counted } = analyse([...sent(0, whole.slice(0, length)), closed(0, length)]).migrations[0]!;
    expect(rounds.reduce((sum, round) => sum + round.bytes, 0)).toBe(counted.ramRecords);
    expect(counted.ramRecords).toBeLessThan(counted.total);
  }
});

describe('options', () => {
  const frames = [...sent(0, whole), ...sent(1, whole)];
  const peers = [{ port: 49_152 }, { port: 60_000 }];

  test('one port only', () => {
    expect(analyse(frames, peers, { port: 60_000 }).migrations.map(({ port }) => port)).toEqual([60_000]);
  });

  test('one port of a capture that begins midway, whichever end it saw first: the answers belong to it', () => {
    const begins = 9000;
    const frames = [
      { direction: 0, offset: begins, payload: whole.slice(begins) },
      replied(0, 0, pong(1), shut(0)),
      { direction: 3, offset: begins, payload: whole.slice(begins) },
      { direction: 2, offset: 0, payload: bytes(pong(1), shut(0)) },
    ];
    // Of the second one the destination was seen first, with its port 40 001.
    const peers = [{}, { from: '10.0.0.2', to: '10.0.0.1', port: 33_000 }];
    const seen = (port: number): unknown =>
      analyse(frames, peers, { port }).migrations.map(({ source, connections, returnPath }) => [
        source,
        connections,
        returnPath,
      ]);
    expect(seen(49_152)).toEqual([['10.0.0.1', [0], { pong: 1, shut: 1 }]]);
    expect(seen(40_001)).toEqual([['10.0.0.1', [1], { pong: 1, shut: 1 }]]);
  });

  test('one connection only', () => {
    expect(analyse(frames, peers, { connection: 0 }).migrations.map(({ connections }) => connections)).toEqual([[0]]);
  });
});

test('the snapshot of a running migration says how far it is', () => {
  const log = new AnomalyLog();
  const streams = new MigrationStreams(log, {
    identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
  });
  expect(streams.snapshot()).toBeNull();
  const reassembler = new Reassembler(streams.claim, log);
  feed(reassembler, sent(0, begun));
  expect(streams.snapshot()).toMatchObject({
    source: 'a',
    destination: 'b',
    outcome: null,
    phase: 'precopy',
    bytes: begun.length,
    ramPages: 20,
    round: { index: 1 },
    channels: [{ kind: 'main' }],
  });
});

describe('how far the pass has come through memory', () => {
  const MEMORY = [
    { name: 'pc.ram', length: 80 * PAGE },
    { name: 'vga.vram', length: 20 * PAGE },
  ];
  const sweptAfter = (build: (stream: StreamBuilder) => StreamBuilder, ...others: Uint8Array[]): number | null => {
    const log = new AnomalyLog();
    const streams = new MigrationStreams(log, {
      identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
    });
    const reassembler = new Reassembler(streams.claim, log);
    const main = build(stream().header('pc-q35-9.2').ramStart(MEMORY)).build();
    feed(reassembler, [...sent(0, main), ...others.flatMap((payload, i) => sent(1 + i, payload))]);
    return streams.snapshot()!.round!.swept;
  };

  test('the first pass: up to the page at hand, whatever was left out', () => {
    expect(sweptAfter((main) => main.part((ram) => ram.pages('pc.ram', [0, 1, 39])))).toBe(0.39);
    expect(sweptAfter((main) => main.part((ram) => ram.pages('pc.ram', [79]).zeros('vga.vram', [10])))).toBe(0.9);
  });

  test('a later pass: from where it began, around the end of memory', () => {
    const first = (main: StreamBuilder): StreamBuilder =>
      main.part((ram) => ram.pages('pc.ram', range(0, 80)).zeros('vga.vram', range(0, 20)));
    const second = (main: StreamBuilder): StreamBuilder =>
      first(main)
        .part((ram) => ram.pages('pc.ram', [50, 60]))
        .part((ram) => ram.pages('pc.ram', [75]));
    // The sync found the scan at the last page.
    expect(sweptAfter(second)).toBe(0.76);
    expect(sweptAfter((main) => second(main).part((ram) => ram.pages('vga.vram', [9])))).toBe(0.9);
  });

  test('unknown where the pages before are missing', () => {
    const log = new AnomalyLog();
    const streams = new MigrationStreams(log, {
      identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
    });
    const main = stream()
      .header()
      .ramStart(MEMORY)
      .part((ram) => ram.pages('pc.ram', range(0, 70)))
      .build();
    const reassembler = new Reassembler(streams.claim, log);
    const cut = 20 * 4104;
    feed(reassembler, [
      syn(0),
      { direction: 0, offset: 0, payload: main.slice(0, cut) },
      { direction: 0, offset: cut + 10_000, payload: main.slice(cut + 10_000) },
      { direction: 1, ack: main.length },
    ]);
    reassembler.finish();
    expect(streams.snapshot()!.round!.swept).toBeNull();
  });
});

test('a clock that steps back hours: nothing of a migration counts as earlier than its beginning', () => {
  const HOUR = 3.6e12;
  const frames = [
    { ...syn(0), tNs: 2 * HOUR },
    { direction: 0, offset: 0, payload: whole.slice(0, 12_000), tNs: 2 * HOUR },
    { direction: 0, offset: 12_000, payload: whole.slice(12_000), tNs: 2 * HOUR + 1e9 },
    { ...replied(0, 0, pong(1), shut(0)), tNs: 1e6 },
  ];
  const back = analyse(frames.map((frame, i) => (i === 0 ? frame : { ...frame, tNs: frame.tNs! - 1.9 * HOUR })));
  for (const { migrations } of [analyse(frames), back]) {
    const { startNs, endNs, phases, rounds, downtime } = migrations[0]!;
    expect(endNs).toBeGreaterThanOrEqual(startNs);
    for (const span of [...phases, ...rounds]) {
      expect(span.startNs).toBeGreaterThanOrEqual(startNs);
      expect(span.endNs).toBeGreaterThanOrEqual(span.startNs);
    }
    if (downtime) expect(downtime.endNs).toBeGreaterThanOrEqual(downtime.latestStartNs);
  }
});

describe('COLO', () => {
  const colo = (...behind: Piece[]): Uint8Array =>
    stream()
      .header()
      .command(1)
      .command(8)
      .ramStart([{ name: 'pc.ram', length: 16 * PAGE }])
      .part((ram) => ram.pages('pc.ram', range(0, 16)))
      .end((ram) => ram.pages('pc.ram', [3]))
      .full(0, 'timer', range(0, 24))
      .eof()
      .raw(...behind)
      .build();
  const checkpoint = bytes(be32(1), be32(3), [3], be32(2), be64(0x10), new Uint8Array(90_000).fill(7));

  test('is named, and the checkpoints are counted but neither decoded nor held against the stream', () => {
    const payload = colo(checkpoint);
    const { migrations, codes } = analyse([...sent(0, payload), replied(0, 0, bytes(be32(0), be32(2), be32(5)))]);
    expect(migrations).toHaveLength(1);
    const { outcome, stream: read, pages, rounds, returnPath, bytes: sizes } = migrations[0]!;
    expect(outcome).toBe('completed');
    expect(read.features).toContain('colo');
    expect(read.undecodedBytes).toBe(checkpoint.length);
    expect(sizes.total).toBe(payload.length);
    expect(pages).toMatchObject({ normal: 17, distinct: 16 });
    expect(rounds).toHaveLength(2);
    expect(returnPath).toMatchObject({ 'colo-checkpoint-ready': 1 });
    expect(codes).toEqual(['stream/checkpoints']);
  });

  test('with the description before the checkpoints', () => {
    const description = '{"page_size":4096,"devices":[]}';
    const { migrations, codes } = analyse(sent(0, colo([6], be32(description.length), ascii(description), checkpoint)));
    expect(migrations[0]!.stream.undecodedBytes).toBe(checkpoint.length);
    expect(codes).toEqual(['stream/checkpoints']);
  });
});

describe('when the guest runs again', () => {
  const announcements = (...times: readonly [kind: string, tNs: number][]): ColumnData => ({
    rows: times.length,
    columns: {
      kind: { unit: 'name', values: times.map(([kind]) => kind) },
      tNs: { unit: 'ns', values: Float64Array.from(times, ([, tNs]) => tNs) },
    },
  });
  const endOf = (frames: readonly Frame[], signals: ColumnData, peers: readonly Peer[] = [{}]) =>
    analyse(frames, peers, {}, [], signals).migrations.map(({ downtime }) => downtime);
  const moved = (connection: number, tNs: number): Frame[] => [
    ...sent(connection, whole).map((frame) => ({ ...frame, tNs })),
    { ...replied(connection, 0, pong(1), shut(0)), tNs: tNs + 5e6 },
  ];

  test('nobody says for sure where the clock of the capture was set meanwhile', () => {
    const confidence = (startNs: number, endNs: number): [number, boolean] => {
      const leaps = [{ startNs, endNs, frame: 1 }];
      const [migration] = analyse(moved(0, 40e6), [{}], {}, [], null, leaps).migrations;
      return [migration!.downtime!.confidence!, migration!.downtime!.method.includes('was set ahead meanwhile')];
    };
    expect(confidence(41e6, 44e6)).toEqual([0.2, true]);
    expect(confidence(46e6, 90e6)).toEqual([0.9, false]);
  });

  test('not before the end mark, at the latest with its first announcement', () => {
    const signals = announcements(
      ['rarp-announcement', 1e6],
      ['arp-request', 41e6],
      ['rarp-announcement', 55e6],
      ['rarp-announcement', 99e6],
    );
    const [downtime] = endOf(moved(0, 40e6), signals);
    expect(downtime).toMatchObject({ earliestEndNs: 40e6, endNs: 45e6, latestEndNs: 55e6 });
    expect(downtime!.method).toContain('SHUT on the return path; the guest announced itself 10 ms later');
  });

  test('unknown without an announcement: a destination may wait to be told', () => {
    const [downtime] = endOf(moved(0, 40e6), announcements());
    expect(downtime).toMatchObject({ earliestEndNs: 40e6, latestEndNs: null });
  });

  test('unknown where the announcement may be that of another guest', () => {
    const both = endOf([...moved(0, 40e6), ...moved(1, 50e6)], announcements(['rarp-announcement', 60e6]), [
      {},
      { port: 49_153 },
    ]);
    expect(both.map((downtime) => downtime!.latestEndNs)).toEqual([null, null]);
  });

  test('that of a guest which came two seconds later is not taken for it', () => {
    const both = endOf(
      [...moved(0, 40e6), ...moved(1, 3e9)],
      announcements(['rarp-announcement', 50e6], ['rarp-announcement', 3.1e9]),
      [{}, { port: 49_153 }],
    );
    expect(both.map((downtime) => downtime!.latestEndNs)).toEqual([50e6, 3.1e9]);
  });
});

describe('what channels of one migration never do', () => {
  const zeros = (length: number): Uint8Array => new Uint8Array(length);
  /** SYNC packets of one of two channels, whose numbers `lane` takes in turn with the other. */
  const channel = (id: number, syncs: number, uuid = 0, lane = id): Uint8Array =>
    bytes(
      bytes(be32(0x11223344), be32(1), zeros(15), [uuid, id], zeros(39)),
      ...range(0, syncs).map((i) =>
        bytes(be32(0x11223344), be32(1), be32(1), zeros(16), be32(2 * i + lane), zeros(1344 - 32)),
      ),
    );
  /** smallMigration() has a START, three PARTs and an END: five marks. */
  const details = (...channels: Uint8Array[]): (string | undefined)[] => said('stream/invariant', channels);
  const said = (wanted: string, channels: Uint8Array[]): (string | undefined)[] => {
    const log = new AnomalyLog();
    const streams = new MigrationStreams(log, {
      identity: (id) => ({ client: { address: 'a', port: id }, server: { address: 'b', port: 2 }, startNs: 0 }),
    });
    const reassembler = new Reassembler(streams.claim, log);
    const opened = channels.flatMap((payload, i) => [syn(2 + 2 * i), { direction: 2 + 2 * i, offset: 0, payload }]);
    feed(reassembler, [...opened, ...sent(0, whole)]);
    reassembler.finish();
    streams.finish();
    return log.finish().flatMap(({ code, samples }) => (code === wanted ? samples.map((s) => s.detail) : []));
  };

  test('nothing is said of channels that agree', () => {
    expect(details(channel(0, 5), channel(1, 5))).toEqual([]);
    expect(details(channel(0, 6), channel(1, 6))).toEqual([]); // 9.1 and 9.2: one more than the main channel
  });

  test('pass different numbers of SYNCs, or others than the main channel has marks', () => {
    expect(details(channel(0, 5), channel(1, 4))).toEqual(['multifd channels passed 5, 4 SYNCs']);
    expect(details(channel(0, 3), channel(1, 3))).toEqual(['5 marks on the main channel, 3 SYNCs']);
  });

  test('call themselves the same, or come from different machines', () => {
    expect(details(channel(1, 5, 0, 0), channel(1, 5))).toEqual(['two multifd channels 1']);
    expect(details(channel(0, 5, 7), channel(1, 5, 8))).toEqual(['multifd channel 1 of another VM']);
  });

  test('give more packets than there are numbers', () => {
    expect(details(channel(0, 5), channel(1, 5, 0, 0))).toEqual(['1 multifd packets more than there are numbers']);
  });

  test('where numbers are left out, one of them went another way', () => {
    expect(said('stream/channel-missing', [channel(0, 5)])).toEqual(['those of 4 multifd packets']);
    expect(said('stream/channel-missing', [channel(0, 5), channel(1, 5)])).toEqual([]);
  });
});

describe('pages in bytes that the capture lost', () => {
  const MEMORY = [
    { name: 'pc.ram', length: 400 * PAGE },
    { name: 'vga.vram', length: 20 * PAGE },
  ];
  const first = stream()
    .header()
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 10)).zeros('pc.ram', range(10, 390)).pages('pc.ram', range(390, 400)))
    .part((ram) => ram.zeros('vga.vram', range(0, 20)))
    .build();
  /** Loses `length` bytes from the first zero page on, plus what lies between. */
  const lost = (from: number, length: number) => {
    const { migrations, codes } = analyse([
      syn(0),
      { direction: 0, offset: 0, payload: first.slice(0, from) },
      { direction: 0, offset: from + length, payload: first.slice(from + length) },
      { direction: 1, ack: first.length },
    ]);
    const { pages, stream: read } = migrations[0]!;
    return { counted: pages.normal + pages.zero!, bounds: read.lostPages, codes };
  };
  const zerosAt = first.length - 10 * (8 + PAGE) - 380 * 9 - 8 - 5 - (5 + 8 + 9 + 20 * 9 + 8 + 5);

  test('few bytes may hide many zero pages: the pages before and behind bound them', () => {
    const { counted, bounds, codes } = lost(zerosAt + 30, 9 * 200);
    expect(codes).toContain('stream/pages-lost');
    expect(counted + bounds!.atLeast).toBeLessThanOrEqual(420);
    expect(counted + bounds!.atMost).toBe(420);
    expect(bounds!.atMost).toBeGreaterThanOrEqual(200);
  });

  test('full pages: as many as their bytes', () => {
    const { counted, bounds } = lost(first.length - 240 - 9 * 4104, 3 * 4104);
    expect(bounds).toEqual({ atLeast: 420 - counted, atMost: 420 - counted });
  });

  test('nothing is said where nothing is lost', () => {
    expect(lost(first.length, 0)).toEqual({ counted: 420, bounds: null, codes: [] });
  });
});
