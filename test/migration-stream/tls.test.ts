import { describe, expect, test } from 'vitest';
import { tls } from '../../src/migration-stream/tls.js';
import { be16, bytes, decodeEveryWay, type Piece } from '../support/migration-stream.js';

const record = (type: number, ...body: Piece[]): Uint8Array => {
  const contents = bytes(...body);
  return bytes([type, 3, 3], be16(contents.length), contents);
};
const zeros = (length: number): Uint8Array => new Uint8Array(length);

/** A ClientHello with the given extension types, all empty. */
const clientHello = (...extensions: number[]): Uint8Array => {
  const list = bytes(...extensions.map((type) => [...be16(type), 0, 0]));
  const body = bytes([3, 3], zeros(32), [0], be16(2), [0x13, 0x01], [1, 0], be16(list.length), list);
  return record(22, [1, 0], be16(body.length), body);
};
const CONTEXT = { direction: 0, fromStart: true, reverse: null, knownBlocks: new Set<string>(), pageSize: null };
const probe = (hello: Uint8Array, context = CONTEXT) => tls.probe(hello, 0, hello.length, context);

describe('recognition', () => {
  test('a hello without server name and protocol may be QEMU', () => {
    expect(probe(clientHello(10, 13, 43, 51))).toBe('yes');
  });

  test.each([
    ['a server name', 0],
    ['an application protocol', 16],
  ])('a hello with %s is somebody else', (_what, type) => {
    expect(probe(clientHello(10, type, 51))).toBe('no');
  });

  test('a part of a hello needs more', () => {
    expect(probe(clientHello(10, 13).slice(0, 30))).toBe('more');
  });

  test('a server answers a client that was recognised', () => {
    const hello = record(22, [2, 0, 0, 40], zeros(40));
    expect(probe(hello)).toBe('no');
    expect(tls.probe(hello, 0, hello.length, { ...CONTEXT, direction: 1, reverse: 'tls' })).toBe('yes');
  });
});

test('application records are told by their length, handshake and alerts are not', () => {
  const whole = bytes(
    clientHello(10),
    record(20, [1]),
    record(23, zeros(4113)),
    record(23, zeros(25)),
    record(21, [1, 0]),
  );
  const { records, undecodedBytes } = decodeEveryWay(tls, whole);
  expect(undecodedBytes).toBe(0);
  expect(records.map((line) => line.replace(/@\d+/, '@'))).toEqual([
    'sealed @ 4113',
    'sealed @ 25',
    'feature tls-alert',
    'stream end @',
  ]);
});

test('a record that breaks off is not told: its length is only announced', () => {
  const cut = bytes(clientHello(10), record(23, zeros(25)), record(23, zeros(4113)).slice(0, 2000));
  expect(decodeEveryWay(tls, cut).records.map((line) => line.replace(/@\d+/, '@'))).toEqual([
    'sealed @ 25',
    'stream end @',
  ]);
});
