import { describe, expect, test } from 'vitest';
import { returnPath } from '../../src/migration-stream/return-path.js';
import { be16, be32, be64, bytes, decodeChunks, decodeEveryWay, str8 } from '../support/migration-stream.js';

const message = (type: number, ...payload: ArrayLike<number>[]): Uint8Array => {
  const body = bytes(...payload);
  return bytes(be16(type), be16(body.length), body);
};
const pong = (value: number): Uint8Array => message(2, be32(value));
const context = (reverse: string | null, fromStart: boolean) => ({
  direction: 1,
  fromStart,
  reverse,
  knownBlocks: new Set<string>(),
  pageSize: null,
});

describe('messages', () => {
  test('all of them, in order', () => {
    const whole = bytes(
      pong(1),
      message(3, be64(0x5000), be32(4096), str8('pc.ram')),
      message(4, be64(0x7000), be32(4096)),
      message(7),
      message(6, be32(1)),
      message(1, be32(0)),
    );
    const { records, anomalies, undecodedBytes } = decodeEveryWay(returnPath, whole);
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records).toEqual([
      'reply pong 1',
      `reply req-pages-id pc.ram+${0x5000}/4096`,
      `reply req-pages pc.ram+${0x7000}/4096`,
      'reply switchover-ack null',
      'reply resume-ack 1',
      'reply shut 0',
      `stream end @${whole.length}`,
    ]);
  });

  test('the bitmap behind RECV_BITMAP lies outside its length', () => {
    const bitmap = new Uint8Array(64).fill(0xff);
    const whole = bytes(
      message(5, str8('pc.ram')),
      be64(64),
      bitmap,
      [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
      pong(4),
    );
    expect(decodeEveryWay(returnPath, whole).records.slice(0, 2)).toEqual(['reply recv-bitmap null', 'reply pong 4']);
  });

  test('an unknown type or an impossible length loses the place; the next message is found', () => {
    const whole = bytes(pong(1), [0x55, 0x55, 0x55, 0x55], pong(2));
    const { records, anomalies } = decodeChunks(returnPath, [whole]);
    expect(anomalies).toContain('stream/bad-record');
    expect(records).toContain('reply pong 2');
  });

  test('a hole over one message costs that message', () => {
    const { records } = decodeChunks(returnPath, [pong(1), { hole: 8 }, message(1, be32(0))]);
    expect(records.filter((record) => record.startsWith('reply'))).toEqual(['reply pong 1', 'reply shut 0']);
  });
});

describe('recognition', () => {
  const probe = (first: Uint8Array, reverse: string | null, fromStart: boolean) =>
    returnPath.probe(first, 0, first.length, context(reverse, fromStart));

  test('whatever comes back on a main channel is the return path', () => {
    expect(probe(pong(1), 'main', true)).toBe('yes');
  });

  test('otherwise only beside a stream joined midway, and only whole messages', () => {
    expect(probe(pong(1), null, true)).toBe('no');
    expect(probe(pong(1), 'multifd', false)).toBe('no');
    expect(probe(pong(1), 'searching', true)).toBe('no');
    expect(probe(bytes(pong(1), pong(2)), 'searching', false)).toBe('yes');
    expect(probe(bytes(pong(1), [0, 2]), 'searching', false)).toBe('no');
    expect(probe(pong(1).subarray(0, 6), 'searching', false)).toBe('no');
    expect(probe(Uint8Array.from([0x16, 3, 1, 0]), 'searching', false)).toBe('no');
  });

  test('the snap length may have cut a later message', () => {
    expect(probe(bytes(pong(1), pong(2).subarray(0, 6)), 'searching', false)).toBe('yes');
  });

  test('messages that come before what they answer wait for it', () => {
    expect(probe(pong(1), null, false)).toBe('more');
    expect(probe(Uint8Array.from([0x16, 3, 1, 0]), null, false)).toBe('no');
  });
});
