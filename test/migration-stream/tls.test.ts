import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { SealedMigration } from '../../src/migration-stream/sealed.js';
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

describe('what record lengths tell', () => {
  const TAG = 17; // TLS 1.3: content type and tag
  const sealed = (send: (record: (contents: number) => void) => void): SealedMigration => {
    const migration = new SealedMigration(new AnomalyLog(), 0, 0);
    let tNs = 0;
    send((contents) => {
      tNs += 1e6;
      migration.record(0, tNs, contents + TAG);
    });
    return migration;
  };
  /** `pages` normal pages, each with the word before it; `zerosBefore` zero pages before each. */
  const pass = (record: (contents: number) => void, pages: number, zerosBefore = 0): void => {
    for (let i = 0; i < pages; i++) {
      record(9 * zerosBefore + 8);
      record(4096);
    }
  };

  test('normal pages are counted, zero pages estimated', () => {
    const figures = sealed((record) => {
      record(120); // header, configuration, START
      pass(record, 40, 3);
      record(8); // EOS
    }).finish();
    // What comes before the first page is not looked at: the protection is not known yet.
    expect(figures.pages).toMatchObject({ normal: 40, zero: 39 * 3, distinct: null, resent: null });
    expect(figures.features).toContain('pages-from-record-lengths');
  });

  test('a stream that goes on after its pages came to device state', () => {
    const whole = sealed((record) => {
      pass(record, 100, 2);
      record(8);
      record(18); // footer, header of END, word
      record(4096);
      pass(record, 19);
      record(8);
      for (let i = 0; i < 3; i++) record(16_384);
    });
    const { rounds, downtime, phases } = whole.finish();
    expect(whole.complete).toBe(true);
    expect(rounds.map(({ pages }) => pages.normal)).toEqual([100, 20]);
    expect(rounds.every(({ confidence }) => confidence <= 0.5)).toBe(true);
    expect(phases.map(({ kind }) => kind)).toEqual(['setup', 'precopy', 'stop-and-copy', 'device-state']);
    expect(downtime?.method).toContain('inferred');
  });

  test('a stream that ends in pages did not', () => {
    const cut = sealed((record) => pass(record, 100, 2));
    const { downtime } = cut.finish();
    expect(cut.complete).toBe(false);
    expect(downtime).toBeNull();
  });

  test('other traffic inside TLS is no migration', () => {
    expect(sealed((record) => [517, 1200, 16_384, 4096, 300, 80].forEach(record)).proven).toBe(false);
  });

  test('a multifd channel shows packet headers and runs of pages; its zero pages are not visible', () => {
    const figures = sealed((record) => {
      for (let i = 0; i < 10; i++) {
        record(1344);
        record(16_384);
        record(4096);
      }
    }).finish();
    expect(figures.pages).toMatchObject({ normal: 50, zero: null });
    expect(figures.features).toContain('multifd');
  });
});
