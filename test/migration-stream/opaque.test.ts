import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { opaqueStream } from '../../src/migration-stream/opaque.js';
import type { OpaqueStream } from '../../src/migration-stream/results.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { ascii, bytes, smallMigration } from '../support/migration-stream.js';

const look = (first: Uint8Array) => opaqueStream(first, 0, first.length);

describe('a stream that stays closed says what it is', () => {
  test('SSH by its greeting, which is text from the wire', () => {
    const greeting = bytes(ascii('SSH-2.0-OpenSSH_9.2\x1b[31m Debian\r\n'), new Uint8Array(100));
    expect(look(greeting)).toEqual({ kind: 'ssh', banner: 'SSH-2.0-OpenSSH_9.2\ufffd[31m Debian', holds: null });
    expect(look(bytes(ascii(`SSH-2.0-${'x'.repeat(5000)}`)))!.banner).toHaveLength(256);
  });

  test.each<[OpaqueStream['kind'], number[]]>([
    ['zstd', [0x28, 0xb5, 0x2f, 0xfd, 0x04]],
    ['lz4', [0x04, 0x22, 0x4d, 0x18, 0x64]],
    ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
    ['bzip2', [0x42, 0x5a, 0x68, 0x39, 0x31]],
    ['gzip', [0x1f, 0x8b, 0x08, 0x00]],
  ])('%s by its magic', (kind, magic) => {
    expect(look(bytes(magic, new Uint8Array(60)))).toEqual({ kind, banner: null, holds: null });
    expect(look(bytes([magic[0]! ^ 0x80], magic.slice(1)))).toBeNull();
  });

  test('a part of a magic is none', () => {
    expect(look(bytes([0x1f, 0x8b]))).toBeNull();
    expect(look(bytes(ascii('SSH')))).toBeNull();
  });
});

describe('gzip', () => {
  test('is unpacked as far as it takes to see a migration begin', () => {
    const packed = gzipSync(smallMigration().build());
    expect(look(packed)!.holds).toBe('migration');
    expect(look(packed.subarray(0, 600))!.holds).toBe('migration');
    expect(look(packed.subarray(0, 12))!.holds).toBeNull();
  });

  test('holds something else as a rule', () => {
    expect(look(gzipSync(bytes(ascii('./etc/passwd'), new Uint8Array(1000))))!.holds).toBeNull();
  });

  test('damaged, it is still gzip', () => {
    const packed = gzipSync(smallMigration().build());
    packed.fill(0xff, 10, 60);
    expect(look(packed)).toMatchObject({ kind: 'gzip', holds: null });
  });
});

test('the results name the connection, with the greeting of the side that opened it', () => {
  const streams = new MigrationStreams(new AnomalyLog(), {
    identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
  });
  const say = (direction: number, words: string) =>
    streams.claim(direction, bytes(ascii(words)), 0, words.length, true, 0, 1);
  expect(say(15, 'SSH-2.0-server\r\n')).toBeNull();
  expect(say(14, 'SSH-2.0-client\r\n')).toBeNull();
  expect(say(17, 'SSH-2.0-alone\r\n')).toBeNull();
  expect(streams.finish().opaque).toEqual([
    { connection: 7, kind: 'ssh', banner: 'SSH-2.0-client', holds: null },
    { connection: 8, kind: 'ssh', banner: 'SSH-2.0-alone', holds: null },
  ]);
});

test('TLS of which frames cut to their headers hide most of the ClientHello stays closed', () => {
  const streams = new MigrationStreams(new AnomalyLog(), {
    identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 2 }, startNs: 0 }),
  });
  // Record header, message header, version and random; a server name among the extensions.
  const hello = bytes([22, 3, 1, 0, 70, 1, 0, 0, 66, 3, 3], new Uint8Array(33), [0, 2, 0x13, 1, 1, 0, 0, 4]);
  const whole = bytes(hello, [0, 0, 0, 0], new Uint8Array(70));
  const say = (direction: number, first: Uint8Array) => streams.claim(direction, first, 0, first.length, true, 0, 1);
  expect(say(14, hello)).toBeUndefined();
  expect(say(16, hello)).toBeUndefined();
  expect(say(16, whole)).toBeNull();
  expect(streams.finish().opaque).toEqual([{ connection: 7, kind: 'tls', banner: null, holds: null }]);
});
