import { describe, expect, test } from 'vitest';
import { nbdClient, nbdServer } from '../../src/migration-stream/nbd.js';
import {
  ascii,
  be16,
  be32,
  be64,
  bytes,
  decodeChunks,
  decodeEveryWay,
  type Piece,
} from '../support/migration-stream.js';

const WRITE = 1;
const READ = 0;
const DISCONNECT = 2;
const ZEROES = 6;
const option = (number: number, ...body: Piece[]): Uint8Array => {
  const contents = bytes(...body);
  return bytes(ascii('IHAVEOPT'), be32(number), be32(contents.length), contents);
};
const go = (name: string): Uint8Array => option(7, be32(name.length), ascii(name), be16(0));
const request = (command: number, length: number, data = 0): Uint8Array =>
  bytes(be32(0x25609513), be16(0), be16(command), be64(1), be64(65_536), be32(length), new Uint8Array(data));

const whole = bytes(
  be32(3),
  option(8),
  go('drive-virtio-disk0'),
  request(READ, 512),
  request(WRITE, 4096, 4096),
  request(ZEROES, 1 << 20),
  request(WRITE, 65_536, 65_536),
  request(DISCONNECT, 0),
);

test('the server is told by its greeting', () => {
  const greeting = bytes(ascii('NBDMAGICIHAVEOPT'), be16(3));
  const context = { direction: 1, fromStart: true, reverse: null, knownBlocks: new Set<string>(), pageSize: null };
  expect(nbdServer.probe(greeting, 0, 18, context)).toBe('yes');
  expect(nbdServer.probe(greeting, 0, 5, context)).toBe('more');
  expect(nbdServer.probe(ascii('NBDMAGIX') as unknown as Uint8Array, 0, 8, context)).toBe('no');
  expect(nbdClient.probe(whole, 0, whole.length, { ...context, reverse: 'nbd-server' })).toBe('yes');
  expect(nbdClient.probe(whole, 0, whole.length, context)).toBe('no');
});

test('requests are counted, however the stream is cut', () => {
  const { records, anomalies, undecodedBytes } = decodeEveryWay(nbdClient, whole);
  expect(anomalies).toEqual([]);
  expect(undecodedBytes).toBe(0);
  expect(records).toEqual([
    'disk drive-virtio-disk0',
    'disk read 512',
    'disk write 4096',
    'disk zero 1048576',
    'disk write 65536',
    'disk other 0',
    `stream end @${whole.length}`,
  ]);
});

describe('a client that asks for TLS', () => {
  const record = (type: number, length: number): Uint8Array =>
    bytes([type, 3, 3], be16(length), new Uint8Array(length).fill(0x55));
  const sealed = bytes(be32(3), option(5), record(22, 200), record(23, 49), record(23, 16_401), record(21, 19));

  test('from there on its records are told by their lengths', () => {
    const { records, anomalies, undecodedBytes } = decodeEveryWay(nbdClient, sealed);
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records.map((line) => line.replace(/@\d+/, '@'))).toEqual([
      'sealed @ 49',
      'sealed @ 16401',
      'feature tls-alert',
      'stream end @',
    ]);
  });

  test('after a hole, records that chain are believed again', () => {
    const more = bytes(sealed, ...[1, 2, 3, 4, 5].map(() => record(23, 4113)));
    const { records } = decodeChunks(nbdClient, [more.slice(0, 230), { hole: 60 }, more.slice(290)]);
    expect(records.filter((line) => line.endsWith(' 4113'))).toHaveLength(5);
  });
});

describe('damage', () => {
  test('a hole over a request: the next one is found', () => {
    const at = whole.length - (65_536 + 28 + 28);
    const { records } = decodeChunks(nbdClient, [whole.slice(0, at - 10), { hole: 20 }, whole.slice(at + 10)]);
    expect(records).toContain('disk other 0');
  });

  test('an option of absurd length ends the reading', () => {
    const { anomalies, undecodedBytes } = decodeEveryWay(
      nbdClient,
      bytes(be32(3), ascii('IHAVEOPT'), be32(7), be32(0xffffffff), new Uint8Array(40)),
    );
    expect(anomalies).toEqual(['stream/desync']);
    expect(undecodedBytes).toBeGreaterThan(0);
  });
});
