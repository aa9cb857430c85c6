import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import type { PacketBatch } from '../../../src/capture/packet-batch.js';
import { decodeFrames } from '../../../src/decode/frame.js';
import { createRows } from '../../../src/decode/rows.js';
import type { ClaimStream } from '../../../src/decode/stream.js';
import { Connections } from '../../../src/decode/tcp/connections.js';
import { Multipath, type MultipathConnection } from '../../../src/decode/tcp/mptcp.js';
import { Reassembler } from '../../../src/decode/tcp/reassembly.js';
import { MULTIPATH_CONNECTIONS, MULTIPATH_MAPPINGS } from '../../../src/limits.js';
import { batchOf, concat, ethernet, frame, ipv4, tcp, u16, u32, u64 } from '../../support/frames.js';
import { recorded } from '../../support/recorded.js';

const CLIENT_KEY = concat(u64(0x1122334455667788n));
const SERVER_KEY = concat(u64(0x99aabbccddeeff00n));
const hashed = (key: Uint8Array, algorithm: string) => createHash(algorithm).update(key).digest();
const token = (key: Uint8Array, algorithm = 'sha256') => hashed(key, algorithm).readUInt32BE(0);
/** Data sequence number of byte `n` of the side with this key. */
const sequence = (key: Uint8Array, n: number) =>
  (hashed(key, 'sha256').readBigUInt64BE(24) + 1n + BigInt(n)) & 0xffff_ffff_ffff_ffffn;

const option = (...content: (number[] | Uint8Array)[]) => {
  const body = concat(...content);
  return [30, body.length + 2, ...body];
};
const capable = (version: number, ...keys: Uint8Array[]) => option([version, 1], ...keys);
const join = (receiver: number) => option([0x10, 0], u32(receiver), u32(7));

/** One subflow; side 0 is the one that opens it. */
function subflow(port: number, flip = false) {
  const segment = (side: 0 | 1, seq: number, flags: string, options: number[], payload = '') => {
    const there = (side === 0) !== flip;
    const [src, dst] = there ? ['10.0.0.1', '10.0.0.2'] : ['10.0.0.2', '10.0.0.1'];
    const [srcPort, dstPort] = side === 0 ? [port, 4444] : [4444, port];
    return frame(
      ethernet(),
      ipv4({ src, dst }),
      tcp({ srcPort, dstPort, seq: 1000 + seq, ack: 1000, flags, options }, payload),
    );
  };
  return {
    syn: (options: number[]) => segment(0, -1, 'S', options),
    synAck: (options: number[] = []) => segment(1, -1, 'SA', options),
    ack: (options: number[], payload = '') => segment(0, 0, 'A', options, payload),
    /** Payload at subflow offset `at` with a mapping to byte `dataAt` of the data sequence. */
    data(
      at: number,
      dataAt: number,
      payload: string,
      o: { short?: boolean; side?: 0 | 1; length?: number; fin?: boolean } = {},
    ) {
      const side = o.side ?? 0;
      const from = (side === 0) !== flip ? CLIENT_KEY : SERVER_KEY;
      const number = sequence(from, dataAt);
      const length = (o.length ?? payload.length) + (o.fin ? 1 : 0);
      const flags = 0x05 | (o.short ? 0 : 0x08) | (o.fin ? 0x10 : 0);
      const written = o.short ? u32(Number(number & 0xffffffffn)) : u64(number);
      return segment(side, at, 'A', option([0x20, flags], u32(0), written, u32(at + 1), u16(length), [0, 0]), payload);
    },
  };
}

const first = subflow(1001);
const second = subflow(1002);
const opening = [
  first.syn(capable(1)),
  first.synAck(capable(1, SERVER_KEY)),
  first.ack(capable(1, CLIENT_KEY, SERVER_KEY)),
  second.syn(join(token(SERVER_KEY))),
  second.synAck(),
];

/** Runs frames through connections, multipath and reassembly, and shows what was claimed by direction id. */
function joined(batches: PacketBatch[]): { streams: Map<number, string[]>; result: MultipathConnection[] } {
  const log = new AnomalyLog();
  const streams = new Map<number, string[]>();
  const claim: ClaimStream = (direction, _buffer, _start, _end, fromStart) => {
    const pieces = [fromStart ? '' : '…'];
    streams.set(direction, pieces);
    return {
      bytes(buffer, start, end) {
        pieces.push(Buffer.from(buffer.subarray(start, end)).toString());
        return true;
      },
      hole: (_offset, length, cause) => pieces.push(`<${length} ${cause}>`),
      end: (_offset, cause) => pieces.push(`|${cause}`),
    };
  };
  const rows = createRows();
  const connections = new Connections(log);
  const multipath = new Multipath(claim);
  const reassembler = new Reassembler(multipath.claim, log);
  for (const batch of batches) {
    decodeFrames(batch, rows, log);
    connections.place(batch, rows);
    multipath.push(batch, rows);
    reassembler.push(batch, rows);
  }
  reassembler.finish();
  return { streams, result: multipath.finish() };
}
const run = (...frames: Uint8Array[]) => joined([batchOf(frames)]);
const shown = (streams: Map<number, string[]>) => [...streams].map(([id, pieces]) => [id, pieces.join('')]);

describe('subflows of one connection', () => {
  test('are one stream in the order of the data sequence', () => {
    const { streams, result } = run(
      ...opening,
      ...[first.data(0, 0, 'one '), second.data(0, 8, 'three '), first.data(4, 4, 'two '), second.data(6, 14, 'four')],
    );
    expect(shown(streams)).toEqual([[0, 'one two three four|capture-end']]);
    expect(result).toMatchObject([
      {
        connections: [0, 1],
        directions: [{ bytes: 18, subflowBytes: [8, 10], reinjectedBytes: 0, unmappedBytes: 0 }, {}],
      },
    ]);
    expect(result[0]!.directions[0].waitingMaxBytes).toBeGreaterThan(0);
  });

  test('whatever the batches', () => {
    const frames = [...opening, first.data(0, 0, 'one '), second.data(0, 8, 'three'), first.data(4, 4, 'two ')];
    const single = frames.map((bytes, i) => batchOf([{ bytes, tNs: i * 1000 }], { firstFrame: i + 1 }));
    expect(joined(single)).toEqual(run(...frames));
  });

  test('a subflow that the server opens', () => {
    const reverse = subflow(1003, true);
    const { streams } = run(
      ...opening.slice(0, 3),
      reverse.syn(join(token(CLIENT_KEY))),
      reverse.synAck(),
      first.data(0, 0, 'ask '),
      reverse.data(0, 4, 'more', { side: 1 }),
      reverse.data(0, 0, 'answer'),
    );
    expect(shown(streams)).toEqual([
      [0, 'ask more|capture-end'],
      [1, 'answer|capture-end'],
    ]);
  });

  test('bytes sent on both count once', () => {
    const { streams, result } = run(...opening, first.data(0, 0, 'abcd'), second.data(0, 2, 'cdef'));
    expect(shown(streams)).toEqual([[0, 'abcdef|capture-end']]);
    expect(result[0]!.directions[0]).toMatchObject({ reinjectedBytes: 2, subflowBytes: [4, 2] });
  });

  test('one mapping over several segments, data sequence in 32 bits, the end marked', () => {
    const { streams } = run(
      ...opening,
      first.data(0, 0, 'abcd', { length: 8, short: true }),
      first.data(4, 4, 'efgh', { short: true, fin: true }),
    );
    expect(shown(streams)).toEqual([[0, 'abcdefgh|fin']]);
  });

  test('data on the third segment of the handshake is mapped by it', () => {
    const { streams } = run(
      ...opening.slice(0, 2),
      first.ack(capable(1, CLIENT_KEY, SERVER_KEY, Uint8Array.from(u16(3))), 'abc'),
      first.data(3, 3, 'def'),
    );
    expect(shown(streams)).toEqual([[0, 'abcdef|capture-end']]);
  });

  test('data after a bare third segment repeats the option and is mapped by it', () => {
    const { streams } = run(
      ...opening.slice(0, 2),
      first.ack(capable(1, CLIENT_KEY, SERVER_KEY)),
      first.ack(capable(1, CLIENT_KEY, SERVER_KEY, Uint8Array.from(u16(3))), 'abc'),
      first.data(3, 3, 'def'),
    );
    expect(shown(streams)).toEqual([[0, 'abcdef|capture-end']]);
  });

  test('version 0 hashes its keys differently', () => {
    const join0 = subflow(1002);
    const { result } = run(
      ...[first.syn(capable(0, CLIENT_KEY)), first.synAck(capable(0, SERVER_KEY))],
      first.ack(capable(0, CLIENT_KEY, SERVER_KEY)),
      join0.syn(join(token(SERVER_KEY, 'sha1'))),
    );
    expect(result[0]!.connections).toEqual([0, 1]);
  });
});

describe('what cannot be joined', () => {
  test('without the handshake, subflows stay streams of their own', () => {
    const { streams, result } = run(...opening.slice(3), first.data(0, 0, 'abc'), second.data(0, 3, 'def'));
    expect([shown(streams).map(([, text]) => text), result]).toEqual([['…abc|capture-end', 'def|capture-end'], []]);
  });

  test('plain TCP passes through', () => {
    const { streams, result } = run(first.syn([]), first.synAck(), first.ack([], 'abc'));
    expect([shown(streams), result]).toEqual([[[0, 'abc|capture-end']], []]);
  });

  test('a byte that no subflow brought is a hole at the end', () => {
    const { streams } = run(...opening, first.data(0, 0, 'abc'), second.data(0, 5, 'fgh'));
    expect(shown(streams)).toEqual([[0, 'abc<2 given-up>fgh|capture-end']]);
  });

  test('bytes without a mapping are counted', () => {
    const { streams, result } = run(...opening, first.data(0, 0, 'abc', { length: 2 }), first.data(3, 2, 'c'));
    expect([shown(streams), result[0]!.directions[0].unmappedBytes]).toEqual([[[0, 'abc|capture-end']], 1]);
  });

  test('what the snap length cut is cut in the joined stream', () => {
    const whole = first.data(0, 0, 'abcdef');
    const frames = [...opening.map((bytes) => ({ bytes })), { bytes: whole.slice(0, -4), wire: whole.length }];
    const { streams } = joined([batchOf([...frames, { bytes: second.data(0, 6, 'gh') }])]);
    expect(shown(streams)).toEqual([[0, 'ab<4 cut>gh|capture-end']]);
  });
});

describe('bounds', () => {
  test('more subflows than are joined: the rest are streams of their own', () => {
    const more = Array.from({ length: MULTIPATH_CONNECTIONS }, (_, i) => subflow(2000 + i));
    const { result } = run(...opening, ...more.map((one) => one.syn(join(token(SERVER_KEY)))));
    expect(result[0]!.connections.length).toBe(MULTIPATH_CONNECTIONS);
  });

  test('more mappings than are kept: bytes cannot be placed', () => {
    const segments = Array.from({ length: MULTIPATH_MAPPINGS + 2 }, (_, i) => ({
      bytes: first.data(2 * i + 2, 2 * i + 2, 'ab'),
    }));
    const batches = [batchOf(opening)];
    for (let at = 0; at < segments.length; at += 4000) {
      batches.push(batchOf(segments.slice(at, at + 4000), { firstFrame: 6 + at }));
    }
    // The first bytes never come, so that all mappings wait.
    const { result } = joined(batches);
    expect(result[0]!.directions[0].unmappedBytes).toBeGreaterThanOrEqual(4);
  });
});

// 614 400 bytes between two network namespaces with two links, Linux 6.18, recorded on "any" at the sender.
test('a real recording of Linux: every byte in order', () => {
  const { streams, result } = joined([recorded(new URL('recordings/mptcp-linux-6.18.pcap.gz', import.meta.url))]);
  const expected = Array.from({ length: 600 }, (_, i) => String(i).padStart(8, '0').repeat(128)).join('');
  expect([...streams.keys()]).toEqual([0]);
  expect(streams.get(0)!.join('')).toBe(`${expected}|fin`);
  expect(result).toMatchObject([
    { connections: [0, 1], directions: [{ bytes: 614_400, subflowBytes: [564_728, 49_672] }, { bytes: 0 }] },
  ]);
});
