import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { PROXIES } from '../../src/limits.js';
import { proxyAnswerBytes, proxyRequest } from '../../src/migration-stream/proxy.js';
import type { MigrationResults, ProxyKind } from '../../src/migration-stream/results.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { ascii, be16, be32, bytes, type Piece, smallMigration } from '../support/migration-stream.js';
import { type Frame, feed, syn } from '../support/reassembly.js';

const V2_SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const connect = bytes(ascii('CONNECT kvm2.example:49152 HTTP/1.1\r\nHost: kvm2.example\r\nUser-Agent: x\r\n\r\n'));
const socks4 = bytes([4, 1], be16(49_152), [10, 0, 0, 9], ascii('root'), [0]);
const socks4a = bytes([4, 1], be16(49_152), [0, 0, 0, 1], [0], ascii('kvm2'), [0]);
const socks5 = bytes([5, 1, 0], [5, 1, 0, 3, 4], ascii('kvm2'), be16(49_152));
const socks5Password = bytes(
  [5, 2, 0, 2],
  [1, 4],
  ascii('user'),
  [6],
  ascii('secret'),
  [5, 1, 0, 4],
  [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
  be16(49_152),
);
const line = bytes(ascii('PROXY TCP6 2001:db8::1 2001:db8::2 40000 49152\r\n'));
const header = bytes(
  V2_SIGNATURE,
  [0x21, 0x11],
  be16(12 + 4),
  [10, 0, 0, 1, 10, 0, 0, 2],
  be16(40_000),
  be16(49_152),
  [4, 0, 1, 9],
);

const established = bytes(ascii('HTTP/1.1 200 Connection established\r\nProxy-Agent: x\r\n\r\n'));
const granted = bytes([0, 0x5a], be16(49_152), [10, 0, 0, 9]);
const succeeded = bytes([5, 0], [5, 0, 0, 1], be32(0), be16(0));
const succeededPassword = bytes([5, 2], [1, 0], [5, 0, 0, 1], be32(0), be16(0));

describe('what a client asks for', () => {
  test.each<[string, Uint8Array, ProxyKind, string | null, string | null]>([
    ['HTTP', connect, 'http-connect', null, 'kvm2.example:49152'],
    ['SOCKS 4', socks4, 'socks4', null, '10.0.0.9:49152'],
    ['SOCKS 4A', socks4a, 'socks4', null, 'kvm2:49152'],
    ['SOCKS 5', socks5, 'socks5', null, 'kvm2:49152'],
    ['SOCKS 5 with a password', socks5Password, 'socks5', null, '[2001:db8::2]:49152'],
    ['PROXY protocol 1', line, 'proxy-protocol', '[2001:db8::1]:40000', '[2001:db8::2]:49152'],
    ['PROXY protocol 1 without addresses', bytes(ascii('PROXY UNKNOWN\r\n')), 'proxy-protocol', null, null],
    ['PROXY protocol 2 with an extension', header, 'proxy-protocol', '10.0.0.1:40000', '10.0.0.2:49152'],
    ['PROXY protocol 2, a health check', bytes(V2_SIGNATURE, [0x20, 0, 0, 0]), 'proxy-protocol', null, null],
  ])('%s: its kind, its ends and its length, at the first byte that decides', (_name, request, kind, from, to) => {
    const behind = bytes(request, ascii('QEVM'));
    expect(proxyRequest(behind, 0, behind.length)).toEqual({ kind, from, to, length: request.length });
    for (let length = 1; length < request.length; length++)
      expect(proxyRequest(request.slice(0, length), 0, length)).toBeUndefined();
  });

  test.each<[string, Piece]>([
    ['another method', ascii('GET / HTTP/1.1\r\n\r\n')],
    ['a word that begins alike', ascii('CONNECTED\r\n\r\n')],
    ['a request without version', ascii('CONNECT kvm2:49152\r\n\r\n')],
    ['SOCKS 4, to be connected to', [4, 2, 0, 80, 10, 0, 0, 9, 0]],
    ['SOCKS 5 for datagrams', [5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0]],
    ['SOCKS 5 with an address of no known type', [5, 1, 0, 5, 1, 0, 9, 0, 0, 0, 0, 0, 0]],
    ['a line that does not end', new Uint8Array(200).fill(0x50)],
    ['PROXY and a family there is not', ascii('PROXY UDP4 1.2.3.4 1.2.3.5 1 2\r\n')],
    ['version 3 of the PROXY protocol', [...V2_SIGNATURE, 0x31, 0x11, 0, 0]],
  ])('%s is none', (_name, piece) => {
    const other = bytes(piece);
    expect(proxyRequest(other, 0, other.length)).toBeNull();
  });

  test('whatever its length, only so much of a header is looked at', () => {
    const endless = bytes(ascii('HTTP/1.1 200 '), new Uint8Array(300_000).fill(0x41), ascii('\r\n\r\n'));
    expect(proxyAnswerBytes('http-connect', endless, 0, endless.length)).toBeUndefined();
    const request = bytes(ascii('CONNECT '), endless);
    expect(proxyRequest(request, 0, request.length)).toBeUndefined();
  });

  test('any bytes may come', () => {
    const firsts = [0x04, 0x05, 0x43, 0x50, 0x0d];
    let state = 12_345; // seed
    for (let round = 0; round < 20_000; round++) {
      const some = Uint8Array.from({ length: 1 + (round % 60) }, () => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return state & 0x400 ? (state >>> 16) & 0xff : (state >>> 16) & 7;
      });
      some[0] = firsts[round % firsts.length]!;
      expect(() => proxyRequest(some, 0, some.length), `seed 12345, round ${round}`).not.toThrow();
      for (const kind of ['http-connect', 'socks4', 'socks5'] as const) {
        expect(() => proxyAnswerBytes(kind, some, 0, some.length), `seed 12345, round ${round}`).not.toThrow();
      }
    }
  });

  test('control characters of a name do not come through', () => {
    const request = bytes([4, 1], be16(1), [0, 0, 0, 1], [0], ascii('a\x1b[2J\x85'), [0]);
    expect(proxyRequest(request, 0, request.length)?.to).toBe('a\ufffd[2J\ufffd:1');
  });
});

describe('what a proxy answers', () => {
  test.each<[string, ProxyKind, Uint8Array]>([
    ['HTTP', 'http-connect', established],
    ['SOCKS 4', 'socks4', granted],
    ['SOCKS 5', 'socks5', succeeded],
    ['SOCKS 5 with a password', 'socks5', succeededPassword],
    [
      'HTTP that wants a password first',
      'http-connect',
      bytes(ascii('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n\r\nsorry'), established),
    ],
  ])('%s: the length of its consent', (_name, kind, answer) => {
    const behind = bytes(answer, be16(2));
    expect(proxyAnswerBytes(kind, behind, 0, behind.length)).toBe(answer.length);
    for (let length = 1; length < answer.length; length++)
      expect(proxyAnswerBytes(kind, answer.slice(0, length), 0, length)).toBeUndefined();
  });

  test.each<[string, ProxyKind, Piece]>([
    ['HTTP', 'http-connect', ascii('SSH-2.0-x')],
    ['SOCKS 4', 'socks4', [0, 0x5b, 0, 0, 0, 0, 0, 0]],
    ['SOCKS 5', 'socks5', [5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]],
    ['SOCKS 5, the password', 'socks5', [5, 2, 1, 1, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]],
  ])('%s: a refusal is none', (_name, kind, piece) => {
    const answer = bytes(piece);
    expect(proxyAnswerBytes(kind, answer, 0, answer.length)).toBeNull();
  });
});

/** A migration through a proxy at 10.0.0.2, in segments of `size` bytes; connection i has directions 2i and 2i + 1. */
function analyse(frames: readonly Frame[], port = 3128): MigrationResults & { codes: string[] } {
  const log = new AnomalyLog();
  const streams = new MigrationStreams(log, {
    identity: (connection) => ({
      client: { address: '10.0.0.1', port: 40_000 + connection },
      server: { address: '10.0.0.2', port },
      startNs: 0,
    }),
  });
  const reassembler = new Reassembler(streams.claim, log);
  feed(reassembler, frames);
  reassembler.finish();
  return { ...streams.finish(), codes: log.finish().map(({ code }) => code) };
}

function segments(direction: number, payload: Uint8Array, size: number, from = 0): Frame[] {
  const frames: Frame[] = [];
  for (let at = from; at < payload.length; at += size)
    frames.push({ direction, offset: at, payload: payload.slice(at, Math.min(payload.length, at + size)) });
  return frames;
}

const whole = smallMigration().build();
const reply = bytes(be16(2), be16(4), be32(1), be16(1), be16(4), be32(0));

/** Request, answer, stream and reply in the order in which they travel. */
function through(connection: number, request: Uint8Array, answer: Uint8Array, size: number, stream = whole): Frame[] {
  const to = bytes(request, stream);
  const back = bytes(answer, reply);
  return [
    syn(2 * connection),
    syn(2 * connection + 1),
    ...segments(2 * connection, to.slice(0, request.length), size),
    ...segments(2 * connection + 1, back.slice(0, answer.length), size),
    ...segments(2 * connection, to, size, request.length),
    ...segments(2 * connection + 1, back, size, answer.length),
  ];
}

describe('a migration through a proxy', () => {
  const plain = analyse(through(0, new Uint8Array(), new Uint8Array(), 1448)).migrations[0]!;

  describe.each<[ProxyKind, Uint8Array, Uint8Array]>([
    ['http-connect', connect, established],
    ['socks4', socks4a, granted],
    ['socks5', socks5, succeeded],
    ['socks5', socks5Password, succeededPassword],
    ['proxy-protocol', line, new Uint8Array()],
    ['proxy-protocol', header, new Uint8Array()],
  ])('%s', (kind, request, answer) => {
    test.each([7, 1448])('segments of %i bytes: as if it had gone directly, and said to go through it', (size) => {
      const { migrations, codes } = analyse(through(0, request, answer, size));
      expect(codes).toEqual([]);
      expect(migrations).toHaveLength(1);
      const { stream, proxies, outcome, pages, bytes, rounds, devices, returnPath } = migrations[0]!;
      expect({ outcome, pages, bytes, devices, returnPath }).toEqual({
        outcome: plain.outcome,
        pages: plain.pages,
        bytes: plain.bytes,
        devices: plain.devices.map((device) => ({
          ...device,
          startNs: expect.any(Number),
          endNs: expect.any(Number),
        })),
        returnPath: plain.returnPath,
      });
      expect(rounds.map((round) => round.pages)).toEqual(plain.rounds.map((round) => round.pages));
      expect(stream).toEqual({ ...plain.stream, features: [...plain.stream.features, kind].sort() });
      expect(proxies).toMatchObject([{ kind }]);
      expect(migrations[0]!.downtime!.method).toBe(
        `${plain.downtime!.method}; what a relay before the capture held back is not in it`,
      );
      expect(bytes).toMatchObject({ main: whole.length, returnPath: reply.length });
    });
  });

  test('that asks in two parts, and answers the first before the second comes', () => {
    const [hello, rest] = [socks5.slice(0, 3), socks5.slice(3)];
    const [method, consent] = [succeeded.slice(0, 2), succeeded.slice(2)];
    const frames: Frame[] = [
      syn(0),
      syn(1),
      { direction: 0, offset: 0, payload: hello },
      { direction: 1, offset: 0, payload: method },
      { direction: 0, offset: 3, payload: rest },
      { direction: 1, offset: 2, payload: consent },
      { direction: 0, offset: socks5.length, payload: whole },
      { direction: 1, offset: succeeded.length, payload: reply },
    ];
    expect(analyse(frames).migrations).toMatchObject([{ outcome: 'completed', returnPath: { pong: 1, shut: 1 } }]);
  });

  test('behind another one', () => {
    const { migrations } = analyse(through(0, bytes(line, connect), established, 1448));
    expect(migrations).toMatchObject([
      { outcome: 'completed', proxies: [{ kind: 'proxy-protocol' }, { kind: 'http-connect' }] },
    ]);
  });

  test('two guests through the same one are two migrations', () => {
    const request = (port: number): Uint8Array => bytes(ascii(`CONNECT kvm2:${port} HTTP/1.0\r\n\r\n`));
    const begun = whole.slice(0, 12_000);
    const { migrations } = analyse([
      ...through(0, request(49_152), established, 1448, begun),
      ...through(1, request(49_153), established, 1448, begun),
    ]);
    expect(migrations.map(({ connections, proxies }) => [connections, proxies![0]!.to])).toEqual([
      [[0], 'kvm2:49152'],
      [[1], 'kvm2:49153'],
    ]);
  });

  test(`more than ${PROXIES} in a row are nobody's`, () => {
    const chain = (length: number): Uint8Array => bytes(...Array.from({ length }, () => line));
    expect(analyse(through(0, chain(PROXIES), new Uint8Array(), 1448)).migrations).toHaveLength(1);
    expect(analyse(through(0, chain(PROXIES + 1), new Uint8Array(), 1448)).migrations).toEqual([]);
  });

  test('ordinary requests to a proxy are no migration', () => {
    const hello = bytes(ascii('CONNECT www.example:443 HTTP/1.1\r\n\r\n'));
    expect(analyse(through(0, hello, established, 1448, bytes(ascii('anything else')))).migrations).toEqual([]);
  });
});
