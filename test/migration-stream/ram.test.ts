import { describe, expect, test } from 'vitest';
import { ByteCursor } from '../../src/decode/tcp/byte-cursor.js';
import { RAM_BLOCKS } from '../../src/limits.js';
import { mainChannel } from '../../src/migration-stream/main-channel.js';
import { RamReader } from '../../src/migration-stream/ram.js';
import {
  be32,
  be64,
  bytes,
  decodeChunks,
  decodeEveryWay,
  PAGE,
  range,
  recordingSink,
  type StreamBuilder,
  smallMigration,
  str8,
  stream,
} from '../support/migration-stream.js';

const RAM = [{ name: 'pc.ram', length: 128 * PAGE }];
const started = () => stream().header().ramStart(RAM);
const pagesOf = (whole: Uint8Array): string[] =>
  decodeEveryWay(mainChannel, whole)
    .records.filter((record) => record.startsWith('page @'))
    .map((record) => record.replace(/@\d+ /, ''));
const codesOf = (whole: Uint8Array): string[] => decodeChunks(mainChannel, [whole]).anomalies;

describe('page records', () => {
  test('every kind, with the bytes it takes', () => {
    const whole = started()
      .part((ram) =>
        ram
          .pages('pc.ram', [0])
          .zeros('pc.ram', [1])
          .xbzrle('pc.ram', 2, range(0, 7))
          .compressed('pc.ram', 3, range(0, 30)),
      )
      .build();
    expect(pagesOf(whole)).toEqual([
      `page 0+0 normal ${8 + 7 + PAGE}`,
      'page 0+1 zero 9',
      `page 0+2 xbzrle ${8 + 3 + 7}`,
      `page 0+3 compressed ${8 + 4 + 30}`,
    ]);
  });

  test('a flush mark among pages is reported and does not end the body', () => {
    const whole = started()
      .part((ram) => ram.zeros('pc.ram', [0]).flushMark().zeros('pc.ram', [1]))
      .build();
    const { records, anomalies } = decodeEveryWay(mainChannel, whole);
    expect(anomalies).toEqual([]);
    expect(records.filter((record) => /^flush|^page @/.test(record))).toHaveLength(3);
  });

  test('addresses above 4 GiB are exact', () => {
    const whole = stream()
      .header()
      .ramStart([{ name: 'big', length: 2 ** 40 }])
      .part((ram) => ram.zeros('big', [2 ** 27 + 5]))
      .build();
    expect(pagesOf(whole)).toEqual([`page 0+${2 ** 27 + 5} zero 13`]);
  });

  test.each([
    ['beyond the block', be64(128 * PAGE + 0x02), str8('pc.ram')],
    ['between pages', be64(PAGE + 0x400 + 0x02), str8('pc.ram')],
    ['of two kinds at once', be64(PAGE + 0x0a), str8('pc.ram')],
    ['with an unknown block', be64(PAGE + 0x02), str8('pc.rom')],
    ['without a name', be64(PAGE + 0x02), [0]],
    ['XBZRLE longer than a page', be64(PAGE + 0x40), [...str8('pc.ram'), 1, 0x10, 0x01]],
    ['compressed to more than zlib can need', be64(PAGE + 0x100), [...str8('pc.ram'), ...be32(5000)]],
  ])('a record %s is not believed', (_name, word, rest) => {
    const whole = started().raw([2], be32(2), word, rest, new Uint8Array(6000)).build();
    expect(codesOf(whole)).toContain('stream/bad-record');
  });
});

describe('the block list', () => {
  test('with post-copy, a block may state its own page size', () => {
    const blocks = [
      { name: 'huge', length: 16 * PAGE },
      { name: 'plain', length: 4 * PAGE },
    ];
    const whole = stream()
      .header()
      .command(3, bytes(be64(2 ** 21 + PAGE), be64(PAGE)))
      .ramStart(blocks, be64(2 ** 21))
      .build();
    const { records, anomalies } = decodeEveryWay(mainChannel, whole);
    expect(anomalies).toEqual([]);
    expect(records).toContain(`blocks huge:${16 * PAGE},plain:${4 * PAGE}`);
  });

  test('lengths that never reach the total are given up', () => {
    const head = stream().header().raw([1], be32(2), str8('ram'), be32(0), be32(4));
    expect(codesOf(head.raw(be64(100 * PAGE + 4), str8('a'), be64(101 * PAGE)).build())).toContain('stream/bad-record');
    const empty = stream()
      .header()
      .raw([1], be32(2), str8('ram'), be32(0), be32(4), be64(PAGE + 4), str8('a'), be64(0));
    expect(codesOf(empty.build())).toContain('stream/bad-record');
  });

  test('more blocks than any machine has are given up', () => {
    const blocks = range(0, RAM_BLOCKS + 1).map((i) => ({ name: `b${i}`, length: PAGE }));
    expect(codesOf(stream().header().ramStart(blocks).build())).toContain('stream/bad-record');
  });

  test('two blocks of one name, or a second list, contradict the format', () => {
    const twins = [...RAM, ...RAM];
    expect(codesOf(stream().header().ramStart(twins).build())).toEqual(['stream/invariant']);
    const again = started().part((ram) => ram.raw(be64(128 * PAGE + 4), str8('pc.ram'), be64(128 * PAGE)));
    expect(codesOf(again.build())).toEqual(['stream/invariant']);
  });
});

describe('the page size', () => {
  const withPages = (size: number) => {
    const page = new Uint8Array(size).fill(0x5a);
    const records = range(1, 20).map((i) => bytes(be64(i * size + 0x28), page));
    return started()
      .raw([2], be32(2), be64(0x08), str8('pc.ram'), page, ...records, be64(0x10))
      .footer(2)
      .build();
  };

  test.each([1024, 4096, 8192, 16_384])('%i bytes is found by trying where it is not stated', (size) => {
    const { records, anomalies, undecodedBytes } = decodeEveryWay(mainChannel, withPages(size));
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records).toContain(`page size ${size}`);
    expect(records.filter((record) => record.startsWith('page @'))).toHaveLength(20);
  });
});

describe('what a correct stream never does', () => {
  test('say "same block as before" when there was none', () => {
    const page = bytes(be64(0x28), new Uint8Array(PAGE)); // PAGE | CONTINUE
    expect(
      codesOf(
        started()
          .part((ram) => ram.raw(page))
          .build(),
      ),
    ).toContain('stream/invariant');
    expect(
      codesOf(
        started()
          .part((ram) => ram.pages('pc.ram', [0]))
          .part((ram) => ram.raw(page))
          .build(),
      ),
    ).toEqual([]);
  });

  test('list a block that is no number of pages', () => {
    const bits = (value: number) => bytes([5], str8('configuration/target-page-bits'), be32(1), be32(value));
    const listed = (value: number) =>
      codesOf(
        stream()
          .header('virt-9.2', bits(value))
          .ramStart([{ name: 'mach.ram', length: 3 * PAGE }])
          .build(),
      );
    expect(listed(12)).toEqual([]);
    expect(listed(14)).toEqual(['stream/invariant']);
  });

  test('carry bytes behind the description', () => {
    const whole = smallMigration();
    expect(codesOf(whole.build())).toEqual([]);
    expect(codesOf(whole.raw([1, 2, 3]).build())).toEqual(['stream/invariant']);
  });
});

test('the bytes of all kinds of records add up to the body they stand in', () => {
  const body = (ram: StreamBuilder): void => {
    ram
      .pages('pc.ram', [0, 1])
      .zeros('pc.ram', [2])
      .flushMark()
      .xbzrle('pc.ram', 3, range(0, 9))
      .compressed('pc.ram', 4, range(0, 30))
      .zeros('vga', [0]);
  };
  const whole = stream().part(body).build();
  // Type and id before the body, the footer behind it.
  const record = whole.subarray(5, whole.length - 5);
  const cursor = new ByteCursor();
  cursor.attach(record, 0, record.length, 0);
  const ram = new RamReader(recordingSink([]), () => {});
  ram.setPageSize(PAGE);
  const reading = ram.records(cursor);
  expect(reading.next()).toEqual({ done: true, value: 'end' });
  expect(ram.bodyBytes).toBe(record.length);
});
