import { describe, expect, test } from 'vitest';
import { multifd } from '../../src/migration-stream/multifd.js';
import {
  ascii,
  be32,
  be64,
  bytes,
  decodeChunks,
  decodeEveryWay,
  PAGE,
  type Piece,
} from '../support/migration-stream.js';

const zeros = (length: number): number[] => new Array<number>(length).fill(0);
const SYNC = 1;

const hello = (id: number): Piece => [...be32(0x11223344), ...be32(1), ...zeros(16), id, ...zeros(39)];

interface Packet {
  readonly flags?: number;
  readonly normal?: readonly number[];
  readonly zero?: readonly number[];
  /** Bytes that follow the header; by default whole pages. */
  readonly contents?: number;
  /** What the header announces; by default what follows. */
  readonly announced?: number;
  readonly room?: number;
  readonly number?: number;
  readonly block?: string;
}

/** A packet as QEMU 4.0 and later write it, for pages of 4096 bytes. */
function packet({
  flags = 0,
  normal = [],
  zero = [],
  room = 128,
  number = 7,
  block = 'pc.ram',
  ...sizes
}: Packet): Uint8Array {
  const contents = sizes.contents ?? normal.length * PAGE;
  const offsets = [...normal, ...zero].flatMap((page) => be64(page * PAGE));
  return bytes(
    be32(0x11223344),
    be32(1),
    be32(flags),
    be32(room),
    be32(normal.length),
    be32(sizes.announced ?? contents),
    be64(number),
    be32(zero.length),
    zeros(28),
    ascii(block),
    zeros(256 - block.length),
    offsets,
    zeros(1024 - offsets.length),
    new Uint8Array(contents).fill(0x33),
  );
}

const pagesOf = (records: readonly string[]): string[] => records.filter((record) => record.startsWith('page @'));

describe('a channel', () => {
  const whole = bytes(
    hello(3),
    packet({ normal: [0, 1, 5], zero: [9] }),
    packet({ zero: [10, 11] }),
    packet({ flags: SYNC, room: 0 }),
  );
  const { records, anomalies, undecodedBytes } = decodeEveryWay(multifd, whole);

  test('is read to the last byte', () => {
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records).toContain('hello 3');
    expect(records).toContain('feature zero-page-multifd');
  });

  test('charges the header to the first page of its packet', () => {
    expect(pagesOf(records)).toEqual([
      `page @64 0+0 normal ${1344 + PAGE}`,
      `page @64 0+1 normal ${PAGE}`,
      `page @64 0+5 normal ${PAGE}`,
      'page @64 0+9 zero 0',
      `page @${64 + 1344 + 3 * PAGE} 0+10 zero 1344`,
      `page @${64 + 1344 + 3 * PAGE} 0+11 zero 0`,
    ]);
  });

  test('marks SYNC after the pages', () => {
    expect(records.filter((record) => record.startsWith('flush'))).toEqual([`flush @${64 + 2 * 1344 + 3 * PAGE}`]);
  });
});

test('a SYNC of 5.0 to 8.1 announces contents that do not follow', () => {
  const whole = bytes(hello(0), packet({ flags: SYNC, announced: 40_960, contents: 0 }), packet({ normal: [4] }));
  const { records, anomalies } = decodeEveryWay(multifd, whole);
  expect(anomalies).toEqual([]);
  expect(pagesOf(records)).toHaveLength(1);
});

test('a SYNC up to 8.2 may carry pages', () => {
  const { records } = decodeEveryWay(multifd, bytes(hello(0), packet({ flags: SYNC, normal: [4, 5] })));
  expect(records.map((record) => record.split(' ')[0])).toEqual(['hello', 'page', 'page', 'flush', 'stream']);
});

describe('packets that are the same as the ones before', () => {
  const SAME = [4, 5];
  /** How many packets count, when each has the next number unless said otherwise. */
  const counted = (...packets: Packet[]): number => {
    const whole = bytes(hello(0), ...packets.map((each, number) => packet({ number, normal: SAME, ...each })));
    return pagesOf(decodeEveryWay(multifd, whole).records).length / SAME.length;
  };

  test('before 5.0 a SYNC brings the last packet again, and it counts once', () => {
    expect(counted({}, { flags: SYNC }, { flags: SYNC })).toBe(1);
    expect(counted({}, { flags: SYNC }, { normal: [6, 7] }, { flags: SYNC, normal: [6, 7] })).toBe(2);
  });

  test('so does the packet that took its number from the one with a SYNC', () => {
    expect(counted({ flags: SYNC, number: 3 }, { number: 3 }, { flags: SYNC })).toBe(1);
  });

  test('pages that changed between two SYNCs are sent again', () => {
    expect(counted({}, { flags: SYNC, normal: [] }, {}, { flags: SYNC, normal: [] })).toBe(2);
    expect(counted({ flags: SYNC }, { flags: SYNC }, { flags: SYNC })).toBe(3);
  });
});

test('compressed contents are any length; pages share them', () => {
  const whole = bytes(hello(0), packet({ flags: 4, normal: [0, 1], contents: 500 }));
  const { records, undecodedBytes } = decodeEveryWay(multifd, whole);
  expect(undecodedBytes).toBe(0);
  expect(records).toContain('feature multifd-zstd');
  expect(pagesOf(records)).toEqual([`page @64 0+0 normal ${1344 + 250}`, 'page @64 0+1 normal 250']);
});

test('device state from 10.0 on has a header of its own', () => {
  const name = '0000:00:05.0/vfio';
  const state = bytes(
    be32(0x11223344),
    be32(1),
    be32(0x40),
    ascii(name),
    zeros(256 - name.length),
    be32(0),
    be32(1000),
    zeros(1000),
  );
  const whole = bytes(hello(1), packet({ normal: [1] }), state, packet({ flags: SYNC, room: 0 }));
  const { records, undecodedBytes } = decodeEveryWay(multifd, whole);
  expect(undecodedBytes).toBe(0);
  expect(records).toContain(`device state ${name} 1276`);
});

test('other page sizes change the length of the header', () => {
  const wide = (number: number): Uint8Array =>
    bytes(
      be32(0x11223344),
      be32(1),
      be32(0),
      be32(8),
      be32(1),
      be32(65_536),
      be64(number),
      zeros(32),
      ascii('ram'),
      zeros(253),
      be64(65_536),
      zeros(56),
      new Uint8Array(65_536),
    );
  const { records, undecodedBytes } = decodeEveryWay(multifd, bytes(hello(0), wide(0), wide(1)));
  expect(undecodedBytes).toBe(0);
  expect(pagesOf(records)).toHaveLength(2);
});

describe('damage', () => {
  const pieces = [bytes(hello(0), packet({ normal: [0, 1] })), packet({ normal: [2, 3] }), packet({ normal: [4, 5] })];

  test('a hole in page contents costs nothing', () => {
    const [first, second, third] = pieces as [Uint8Array, Uint8Array, Uint8Array];
    const chunks = [first.slice(), second.slice(0, 3000), { hole: 2000 }, second.slice(5000), third.slice()];
    const { records, undecodedBytes } = decodeChunks(multifd, chunks);
    expect(undecodedBytes).toBe(0);
    expect(pagesOf(records)).toHaveLength(6);
  });

  test('behind a hole over a header the next whole packet is found', () => {
    const [first, second, third] = pieces as [Uint8Array, Uint8Array, Uint8Array];
    const { records, anomalies, undecodedBytes } = decodeChunks(multifd, [
      first.slice(),
      { hole: 700 },
      second.slice(700),
      third.slice(),
    ]);
    expect(anomalies).toEqual(['stream/desync', 'stream/resync']);
    expect(undecodedBytes).toBe(second.length);
    expect(pagesOf(records)).toHaveLength(4);
  });

  test('counts beyond the room of a packet are refused', () => {
    const whole = packet({ normal: [0] });
    whole.set(be32(5000), 16);
    const { anomalies, undecodedBytes } = decodeEveryWay(multifd, bytes(hello(0), whole));
    expect(anomalies).toContain('stream/bad-record');
    expect(undecodedBytes).toBe(whole.length);
  });
});

describe('what a correct channel never does', () => {
  const codes = (...packets: Uint8Array[]): string[] => decodeChunks(multifd, [bytes(hello(0), ...packets)]).anomalies;

  test('carry whole pages in fewer or more bytes than they have', () => {
    expect(codes(packet({ normal: [0, 1] }))).toEqual([]);
    expect(codes(packet({ normal: [0, 1], contents: PAGE }))).toEqual(['stream/invariant']);
  });

  test('name a page twice in one packet, in whatever order', () => {
    expect(codes(packet({ normal: [3, 1, 2] }))).toEqual([]);
    expect(codes(packet({ normal: [3, 1, 3] }))).toEqual(['stream/invariant']);
    expect(codes(packet({ normal: [1, 1] }))).toEqual(['stream/invariant']);
  });

  test('change its compression', () => {
    const zlib = packet({ normal: [0, 1], flags: 2, contents: 100 });
    expect(codes(zlib, zlib, packet({ flags: SYNC }))).toEqual([]);
    expect(codes(zlib, packet({ normal: [2], flags: 4, contents: 50 }))).toEqual(['stream/invariant']);
  });
});
