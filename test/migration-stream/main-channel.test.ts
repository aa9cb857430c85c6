import { describe, expect, test } from 'vitest';
import { mainChannel, reconnection } from '../../src/migration-stream/main-channel.js';
import {
  ascii,
  be16,
  be32,
  be64,
  bytes,
  decodeChunks,
  decodeEveryWay,
  describing,
  PAGE,
  range,
  smallMigration,
  str8,
  stream,
} from '../support/migration-stream.js';

const RAM = [{ name: 'pc.ram', length: 16 * PAGE }];
const read = (whole: Uint8Array) => decodeEveryWay(mainChannel, whole);
const recordsOf = (whole: Uint8Array) => read(whole).records;

describe('a whole pre-copy stream', () => {
  const whole = smallMigration().build();
  const result = read(whole);

  test('is read to the last byte without complaint', () => {
    expect(result.anomalies).toEqual([]);
    expect(result.undecodedBytes).toBe(0);
    expect(result.length).toBe(whole.length);
  });

  test('gives every record in order', () => {
    const kinds = result.records.map((record) => record.split(' ')[0]);
    expect(kinds.filter((kind) => kind === 'page')).toHaveLength(1 + 16 + 4 + 2 + 1); // one is the page size
    expect(result.records.filter((record) => !record.startsWith('page @'))).toEqual([
      'configuration pc-q35-9.2 null []',
      'command open-return-path null',
      'command ping 1',
      'start 2 ram @37',
      `memory ${20 * PAGE}`,
      `blocks pc.ram:${16 * PAGE},vga.vram:${4 * PAGE}`,
      'end of 2 after 70',
      expect.stringMatching(/^part 2 ram @/),
      'page size 4096',
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^part 2 ram @/),
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^part 2 ram @/),
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^end 2 ram @/),
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^full 0 timer @/),
      'end of 0 after 48',
      expect.stringMatching(/^full 3 0000:00:02.0\/vga @/),
      'end of 3 after 42',
      expect.stringMatching(/^end mark @/),
      expect.stringMatching(/^description \d+ 2$/),
      `stream end @${whole.length}`,
    ]);
  });

  test('names a block once, then says "as before", also across sections', () => {
    const pages = result.records.filter((record) => record.startsWith('page @')).map((record) => record.slice(6));
    expect(pages.slice(0, 2).map((page) => page.replace(/^\d+ /, ''))).toEqual([
      `0+0 normal ${8 + 7 + PAGE}`,
      `0+1 normal ${8 + PAGE}`,
    ]);
    expect(pages.at(-1)!.replace(/^\d+ /, '')).toBe(`0+5 normal ${8 + PAGE}`);
  });

  test('cut anywhere gives the records before the cut and no complaint', () => {
    for (let cut = 0; cut < whole.length; cut += 97) {
      const part = decodeChunks(mainChannel, [whole.slice(0, cut)], { end: 'capture-end' });
      expect(part.anomalies).toEqual([]);
      expect(part.undecodedBytes).toBe(0);
      expect(result.records.slice(0, part.records.length - 1)).toEqual(part.records.slice(0, -1));
    }
  });
});

describe('configuration', () => {
  test('subsections give page bits and capabilities; the UUID is passed over', () => {
    const bits = bytes([5], str8('configuration/target-page-bits'), be32(1), be32(12));
    const capabilities = bytes([5], str8('configuration/capabilities'), be32(1), be32(1), str8('x-ignore-shared'));
    const uuid = bytes([5], str8('configuration/uuid'), be32(1), range(0, 16));
    const whole = stream().header('virt-9.2', bits, capabilities, uuid).ramStart(RAM, be64(0x40000000)).build();
    const { records, anomalies } = read(whole);
    expect(anomalies).toEqual([]);
    expect(records.slice(0, 2)).toEqual(['page size 4096', 'configuration virt-9.2 12 [x-ignore-shared]']);
    expect(records).toContain(`blocks pc.ram:${16 * PAGE}`);
  });

  test('an absurd length is not believed', () => {
    const whole = bytes(ascii('QEVM'), be32(3), [7], be32(0xffffffff), ascii('pc'));
    expect(decodeChunks(mainChannel, [whole]).anomalies).toContain('stream/bad-header');
  });
});

describe('recognition', () => {
  const probe = (first: number[], fromStart = true, knownBlocks = new Set<string>()) =>
    [mainChannel, reconnection].map((decoder) =>
      decoder.probe(Uint8Array.from(first), 0, first.length, {
        direction: 0,
        fromStart,
        reverse: null,
        knownBlocks,
        pageSize: null,
      }),
    );

  test('the magic at the start, whatever the version', () => {
    expect(probe([...ascii('QEVM'), 0, 0, 0, 3])[0]).toBe('yes');
    expect(probe([...ascii('QEVM'), 0, 0, 0, 2])[0]).toBe('yes');
    expect(probe(ascii('QEV'))[0]).toBe('more');
    expect(probe(ascii('GET / HTTP/1.1'))[0]).toBe('no');
  });

  test('a stream joined midway is worth a search', () => {
    expect(probe(ascii('GET / HTTP/1.1'), false)[0]).toBe('search');
  });

  test('a reconnection after a pause begins with RECV_BITMAP, and only beside a migration', () => {
    const first = [8, 0, 10, 0, 7, ...str8('pc.ram')];
    expect(probe(first, true, new Set(['pc.ram']))[1]).toBe('yes');
    expect(probe(first)[1]).toBe('no');
  });
});

describe('device state without a length', () => {
  test('a body that holds what looks like its own footer ends at the real one', () => {
    const body = bytes(range(1, 30), [0x7e], be32(5), [0xff], range(1, 30));
    const whole = stream()
      .header()
      .ramStart(RAM)
      .full(5, 'odd', body)
      .eof()
      .description(describing([{ name: 'odd', size: body.length }]))
      .build();
    const { records, anomalies } = read(whole);
    expect(anomalies).toEqual([]);
    expect(records).toContain(`end of 5 after ${1 + 4 + 4 + 8 + body.length + 5}`);
  });

  test('a size that differs from the description is noted', () => {
    const whole = stream()
      .header()
      .ramStart(RAM)
      .full(5, 'odd', range(0, 10))
      .eof()
      .description(describing([{ name: 'odd', size: 11 }]))
      .build();
    expect(read(whole).anomalies).toEqual(['stream/invariant']);
  });

  test('machine types up to 2.3 send neither configuration nor footers', () => {
    const whole = stream({ footers: false })
      .header(null)
      .ramStart(RAM)
      .part((ram) => ram.pages('pc.ram', [0, 1]))
      .end()
      .full(0, 'timer', range(10, 34))
      .full(1, 'cpu', bytes(range(0, 60), [4, 0, 0, 9]))
      .eof()
      .description(
        describing([
          { name: 'timer', size: 24 },
          { name: 'cpu', size: 64 },
        ]),
      )
      .build();
    const { records, anomalies, undecodedBytes } = read(whole);
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records.filter((record) => record.startsWith('end of'))).toEqual([
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^end of 2/),
      expect.stringMatching(/^end of 2/),
      `end of 0 after ${1 + 4 + 6 + 8 + 24}`,
      `end of 1 after ${1 + 4 + 4 + 8 + 64}`,
    ]);
  });
});

describe('other iterable sections delimit themselves', () => {
  test('block: a whole chunk, a zero chunk, progress', () => {
    const body = bytes(
      be64(0x200 + 1),
      str8('disk0'),
      new Uint8Array(1 << 20),
      be64(0x400 + 1 + 8),
      str8('disk0'),
      be64((50 << 9) + 4),
      be64(2),
    );
    const whole = stream()
      .header()
      .raw([1], be32(1), str8('block'), be32(0), be32(1), be64(2))
      .footer(1)
      .raw([2], be32(1), body)
      .footer(1)
      .build();
    const { records, anomalies, undecodedBytes } = decodeChunks(mainChannel, [whole]);
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records).toContain(`end of 1 after ${5 + body.length + 5}`);
  });

  test('dirty-bitmap: names, start, bits with and without data', () => {
    const body = bytes(
      [0x08 | 0x04 | 0x10],
      str8('node'),
      str8('bitmap'),
      be32(65_536),
      [0],
      [0x40],
      be64(0),
      be32(128),
      be64(4),
      [1, 2, 3, 4],
      [0x40 | 0x02],
      be64(128),
      be32(128),
      [0x20],
      [0x01],
    );
    const whole = stream()
      .header()
      .raw([1], be32(3), str8('dirty-bitmap'), be32(0), be32(1), body)
      .footer(3)
      .eof()
      .build();
    expect(recordsOf(whole)).toContain(`end of 3 after ${1 + 4 + 13 + 8 + body.length + 5}`);
  });

  test('vfio: setup, data, end of state', () => {
    const tag = (low: number) => bytes(be32(0xffffffff), be32(0xef100000 + low));
    const whole = stream()
      .header()
      .raw([1], be32(9), str8('0000:00:04.0/vfio'), be32(0), be32(1), tag(3), tag(1))
      .footer(9)
      .raw([2], be32(9), tag(4), be64(300), new Uint8Array(300), tag(1))
      .footer(9)
      .eof()
      .build();
    expect(recordsOf(whole).filter((record) => record.startsWith('end of 9'))).toHaveLength(2);
  });
});

describe('post-copy', () => {
  const whole = stream()
    .header()
    .command(1)
    .ping(1)
    .command(3, bytes(be64(PAGE), be64(PAGE)))
    .ramStart(RAM)
    .part((ram) => ram.pages('pc.ram', range(0, 16)))
    .command(6, bytes([0], str8('pc.ram'), [0], be64(0), be64(2 * PAGE), be64(4 * PAGE), be64(PAGE)))
    .ping(2)
    .packaged((inner) =>
      inner.command(4).full(0, 'timer', range(0, 24)).full(7, 'cpu', range(0, 99)).ping(3).command(5),
    )
    .ping(4)
    .part((ram) => ram.pages('pc.ram', [4, 0]))
    .end((ram) => ram.pages('pc.ram', [1]))
    .eof()
    .build();

  test('the package is read as elements, its devices by their footers', () => {
    const { records, anomalies, undecodedBytes } = read(whole);
    expect(anomalies).toEqual([]);
    expect(undecodedBytes).toBe(0);
    expect(records.filter((record) => /command|packaged/.test(record))).toEqual([
      'command open-return-path null',
      'command ping 1',
      `command postcopy-advise ${PAGE}`,
      `command postcopy-ram-discard ${3 * PAGE}`,
      'command ping 2',
      expect.stringMatching(/^command packaged \d+$/),
      'packaged command postcopy-listen null',
      expect.stringMatching(/^packaged full 0 timer/),
      expect.stringMatching(/^packaged full 7 cpu/),
      'packaged command ping 3',
      'packaged command postcopy-run null',
      'command ping 4',
    ]);
  });

  test('damage inside the package costs the package only', () => {
    // The footer of the first device in the package.
    const at = Buffer.from(whole).indexOf(Buffer.from([0x7e, 0, 0, 0, 0, 4]));
    const damaged = whole.slice();
    damaged[at] = 0x55;
    const { records } = decodeChunks(mainChannel, [damaged]);
    expect(records.filter((record) => record.startsWith('page @'))).toHaveLength(19);
    expect(records).toContain('command ping 4');
  });
});

describe('what cannot be right', () => {
  test.each([
    ['an unknown element', (s: ReturnType<typeof stream>) => s.raw([0x55]), 'stream/unknown-section'],
    [
      'a section that was not announced',
      (s: ReturnType<typeof stream>) => s.raw([2], be32(77), be64(0x10)),
      'stream/unknown-section',
    ],
    [
      'a footer of another section',
      (s: ReturnType<typeof stream>) => s.raw([2], be32(2), be64(0x10)).footer(2 + 1),
      'stream/footer-mismatch',
    ],
    ['a command of the wrong length', (s: ReturnType<typeof stream>) => s.command(2, [1]), 'stream/bad-record'],
    ['an unknown command', (s: ReturnType<typeof stream>) => s.command(99), 'stream/bad-record'],
  ])('%s is noted and the search begins', (_name, write, code) => {
    const good = stream()
      .part((ram) => ram.pages('pc.ram', range(8, 14)))
      .part((ram) => ram.pages('pc.ram', [14]));
    const whole = write(
      stream()
        .header()
        .ramStart(RAM)
        .part((ram) => ram.pages('pc.ram', [0])),
    )
      .raw(good.build())
      .build();
    const { anomalies, records } = decodeChunks(mainChannel, [whole]);
    expect(anomalies).toContain(code);
    expect(anomalies).toContain('stream/resync');
    expect(records.at(-3)).toMatch(/^page @\d+ 0\+14 normal/);
  });

  test('a description that is not JSON is noted', () => {
    const whole = stream().header().ramStart(RAM).eof().description('{"devices": [').build();
    expect(read(whole).anomalies).toEqual(['stream/bad-record']);
  });

  test("bytes after the last record are nobody's", () => {
    const { undecodedBytes } = decodeChunks(mainChannel, [bytes(smallMigration().build(), range(0, 10))]);
    expect(undecodedBytes).toBe(10);
  });

  test('a package inside a package is not followed down', () => {
    const whole = stream()
      .header()
      .ramStart(RAM)
      .packaged((inner) => inner.packaged((deep) => deep.ping(9)))
      .eof()
      .build();
    const { anomalies, records } = decodeChunks(mainChannel, [whole]);
    expect(anomalies).toEqual(['stream/bad-record']);
    expect(records).toContain('packaged command ping 9');
  });
});

describe('holes', () => {
  const whole = smallMigration().build();
  const complete = decodeChunks(mainChannel, [whole.slice()]);
  const firstPage = Number(/@(\d+)/.exec(complete.records.find((record) => record.startsWith('page @'))!)![1]);
  const withHole = (from: number, length: number) =>
    decodeChunks(mainChannel, [whole.slice(0, from), { hole: length }, whole.slice(from + length)]);

  test('in page contents keep the step', () => {
    const at = firstPage + 3 * 4104 + 200;
    for (const length of [1, 1448, 3000]) {
      const result = withHole(at, length);
      expect(result.records).toEqual(complete.records);
      expect(result.undecodedBytes).toBe(0);
      expect(result.anomalies).toEqual([]);
    }
  });

  test('over a header lose the place, which is found again by consistent records', () => {
    const result = withHole(firstPage + 2 * 4104 + 4000, 200);
    expect(result.anomalies).toEqual(['stream/desync', 'stream/resync']);
    const pages = result.records.filter((record) => record.startsWith('page @'));
    const missed = complete.records.filter((record) => record.startsWith('page @') && !pages.includes(record));
    expect(missed).toHaveLength(1);
    expect(result.undecodedBytes).toBe(4104);
    expect(result.records.at(-1)).toBe(complete.records.at(-1));
  });

  test('a stream joined in the middle of a page is read from the next record on', () => {
    const from = firstPage + 2 * 4104 + 1000;
    const result = decodeChunks(mainChannel, [whole.slice(from)], { joined: true, context: { fromStart: false } });
    expect(result.records.filter((record) => record.startsWith('page @'))).toHaveLength(23 - 3);
    expect(result.records).toContainEqual(expect.stringMatching(/^end mark/));
  });

  test('guest memory full of header-like words does not fool the search', () => {
    // Each page holds page headers with wild addresses at odd places.
    const fake = bytes([0, 0, 0, 0, 0, 0, 0x10, 0x28], range(0, 55));
    const builder = stream()
      .header()
      .ramStart(RAM)
      .part((ram) => ram.pages('pc.ram', range(0, 16), (at) => fake[at % 63]!));
    const bytesOf = builder.end().eof().build();
    const result = decodeChunks(mainChannel, [bytesOf.slice(0, 2000), { hole: 4200 }, bytesOf.slice(6200)]);
    const pages = result.records
      .filter((record) => record.startsWith('page @'))
      .map((record) => record.replace(/@\d+ /, ''));
    expect(new Set(pages.slice(2)).size).toBe(pages.length - 2);
    expect(pages.every((page) => /^page 0\+\d+ normal/.test(page))).toBe(true);
    expect(result.records).toContainEqual(expect.stringMatching(/^end mark/));
  });
});

describe('lengths that are only announced', () => {
  test('neither memory nor time is spent on them', () => {
    const whole = bytes(
      stream().header().ramStart(RAM).build(),
      [8],
      be16(7),
      be16(4),
      be32(0xffffffff),
      [6],
      be32(0xfffffff0),
      ascii('{'),
    );
    const result = decodeChunks(mainChannel, [whole]);
    expect(result.anomalies).toEqual(['stream/limit']);
  });
});

test.each([
  ['paused', new Uint8Array(68), false],
  // From 9.0 on the name has 32 bytes, and a flag stands behind it.
  ['running', bytes([1, 0], new Uint8Array(66)), true],
])('the state that the guest was in is read from globalstate: %s', (state, behind, isRebootable) => {
  const name = bytes(ascii(state), new Uint8Array(32 - state.length));
  const whole = stream()
    .header()
    .full(10, 'globalstate', bytes(be32(state.length + 1), name, behind))
    .eof()
    .description(describing([{ name: 'globalstate', size: 104 }]))
    .build();
  const { records } = decodeEveryWay(mainChannel, whole);
  expect(records.filter((record) => record.startsWith('run state'))).toEqual([`run state ${state} ${isRebootable}`]);
  expect(records).toContain('end of 10 after 134');
});
