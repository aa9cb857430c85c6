import { describe, expect, test } from 'vitest';
import { WAY_IN, WAY_OUT, WAY_UNKNOWN } from '../../src/capture/packet-batch.js';
import { INTERFACES, NAME_CHARACTERS, PCAPNG_BLOCK_BYTES } from '../../src/limits.js';
import {
  asRead,
  blocks,
  damage,
  join8,
  type Option,
  pcapng,
  readCapture,
  someFrames,
  temporaryFiles,
} from '../support/captures.js';

const file = temporaryFiles();
const frames = someFrames(12);
const little = blocks('little');
const readBytes = (...bytes: Uint8Array[]) => readCapture(file('capture.pcapng', join8(...bytes)));
const one = Uint8Array.of(0xab);
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

describe('a pcapng file', () => {
  test('literal bytes: section, interface, one enhanced packet', async () => {
    const bytes = Buffer.from(
      '0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000' +
        '01000000200000000100000060000000' +
        '0900010009000000' +
        '00000000' +
        '20000000' +
        '06000000240000000000000079b4971702000000' +
        '02000000' +
        '3c000000' +
        'cafe0000' +
        '24000000',
      'hex',
    );
    const read = await readBytes(bytes);
    expect(read.epochNs).toBe(0x1797b479_00000002n);
    expect(read.frames).toEqual([{ frame: 1, tNs: 0, wire: 60, iface: 0, way: 0, bytes: '\xca\xfe' }]);
    expect(read.interfaces).toEqual([{ input: 0, linkType: 1, fcsBytes: 0, snapLength: 96, name: '' }]);
    expect(read.inputs[0]).toMatchObject({ format: 'pcapng', linkTypes: ['ethernet'], timestampResolutionNs: 1 });
    expect(damage(read)).toEqual({ 'capture/frames-cut': 1 });
  });

  test.each(['little', 'big'] as const)('%s-endian', async (order) => {
    const read = await readBytes(pcapng(frames, order));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.anomalies).toEqual([]);
  });

  test('sections of either byte order in one file share an interface that is described alike', async () => {
    const read = await readBytes(pcapng(frames.slice(0, 5), 'big'), pcapng(frames.slice(5), 'little'));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.interfaces).toHaveLength(1);
  });

  test.each([
    ['µs where nothing is said', null, 1_700_000_000_000_001n, 1000],
    ['10^-0', 0x00, 1_700_000_000n, 1e9],
    ['10^-3', 0x03, 1_700_000_000_123n, 1e6],
    ['10^-9', 0x09, 1_700_000_000_123_456_789n, 1],
    ['10^-11', 0x0b, 170_000_000_012_345_678_901n % (1n << 64n), 0.01],
    ['2^-10', 0x8a, 1_700_000_000n << 10n, 1e9 / 1024],
    ['2^-20', 0x94, (1_700_000_000n << 20n) + 77n, 1e9 / 2 ** 20],
    ['2^-32', 0xa0, (1_700_000_000n << 32n) + 4_294_967n, 1e9 / 2 ** 32],
  ])('time stamps of %s', async (_name, code, units, resolutionNs) => {
    const options: Option[] = code === null ? [] : [[9, Uint8Array.of(code)]];
    const perSecond = code === null ? 1_000_000n : code & 0x80 ? 1n << BigInt(code & 0x7f) : 10n ** BigInt(code);
    const steps = [0n, 1n, 2n, 3n, 1000n, 123_456_789n];
    const read = await readBytes(
      little.section(),
      little.description(1, 0, options),
      ...steps.map((step) => little.enhanced(units + step, one)),
    );
    const ns = (at: bigint): bigint => (at * 1_000_000_000n) / perSecond;
    expect(read.epochNs).toBe(ns(units));
    expect(read.frames.map(({ tNs }) => tNs)).toEqual(steps.map((step) => Number(ns(units + step) - ns(units))));
    expect(read.inputs[0]!.timestampResolutionNs).toBeCloseTo(resolutionNs, 9);
  });

  test('a time offset in seconds, also below zero, and interfaces with clocks of their own', async () => {
    const offset = (seconds: bigint): Option => [14, little.u64(BigInt.asUintN(64, seconds))];
    const read = await readBytes(
      little.section(),
      little.description(1, 0, [offset(1_700_000_000n)]),
      little.description(1, 0, [offset(-100n), [9, Uint8Array.of(9)]]),
      little.enhanced(5n, one, 0),
      little.enhanced(1_700_000_100_000_006_000n, one, 1),
      little.enhanced(7n, one, 0),
    );
    expect(read.epochNs).toBe(1_700_000_000_000_005_000n);
    expect(read.frames.map(({ tNs, iface }) => [tNs, iface])).toEqual([
      [0, 0],
      [1000, 1],
      [2000, 0],
    ]);
  });

  test('interfaces count from the first frame of each, with name, link type and check sequence', async () => {
    const read = await readBytes(
      little.section(),
      little.description(113, 0, [[2, text('idle0')]]),
      little.description(1, 128, [
        [2, text('eth0')],
        [13, Uint8Array.of(32)],
      ]),
      little.description(276, 0, [
        [2, text('any\0rest')],
        [13, Uint8Array.of(4)],
      ]),
      little.enhanced(1n, one, 2),
      little.enhanced(2n, one, 1),
    );
    expect(read.interfaces).toEqual([
      { input: 0, linkType: 276, fcsBytes: 4, snapLength: null, name: 'any' },
      { input: 0, linkType: 1, fcsBytes: 4, snapLength: 128, name: 'eth0' },
    ]);
    expect(read.frames.map(({ iface }) => iface)).toEqual([0, 1]);
    expect(read.inputs[0]!.linkTypes).toEqual(['linux-cooked', 'ethernet', 'linux-cooked-v2']);
    expect(read.inputs[0]!.snapLength).toBe(128);
  });

  test('direction and check sequence length of single frames', async () => {
    const flags = (value: number): Option[] => [
      [1, text('a comment')],
      [2, little.u32(value)],
    ];
    const read = await readBytes(
      little.section(),
      little.description(),
      little.enhanced(1n, one, 0, flags(1)),
      little.enhanced(2n, one, 0, flags(2)),
      little.enhanced(3n, one, 0, flags(4 << 5)),
      little.enhanced(4n, one, 0),
    );
    expect(read.frames.map(({ way, iface }) => [way, iface])).toEqual([
      [WAY_IN, 0],
      [WAY_OUT, 0],
      [WAY_UNKNOWN, 1],
      [WAY_UNKNOWN, 0],
    ]);
    expect(read.interfaces.map(({ fcsBytes }) => fcsBytes)).toEqual([0, 4]);
  });

  test('a simple packet has the time of the frame before it and is cut by the snap length', async () => {
    const read = await readBytes(
      little.section(),
      little.description(1, 8),
      little.enhanced(100n, one),
      little.enhanced(103n, one),
      little.simple(text('12345678'), 60),
      little.simple(text('abc')),
    );
    expect(read.frames.map(({ tNs, wire, bytes }) => [tNs, wire, bytes])).toEqual([
      [0, 1, '\xab'],
      [3000, 1, '\xab'],
      [3000, 60, '12345678'],
      [3000, 3, 'abc'],
    ]);
  });

  test('obsolete packet blocks, with the losses they count', async () => {
    const read = await readBytes(
      little.section(),
      little.description(),
      little.obsolete(10n, text('abc'), 0, 0xffff, [[2, little.u32(2)]]),
      little.obsolete(11n, text('de'), 0, 3),
    );
    expect(read.frames.map(({ tNs, way, bytes }) => [tNs, way, bytes])).toEqual([
      [0, WAY_OUT, 'abc'],
      [1000, WAY_UNKNOWN, 'de'],
    ]);
    expect(read.inputs[0]!.droppedByCapture).toBe(3);
  });

  test('everything without frames is stepped over; only unknown types are worth a note', async () => {
    const { block, u32 } = little;
    const read = await readBytes(
      little.section(),
      block(0x0bad, u32(32_473)),
      little.description(),
      block(4, u32(0)),
      block(10, join8(u32(0x544c534b), u32(4), text('keys'))),
      little.enhanced(1n, one),
      block(0x40000bad, u32(1)),
      block(0x1234, new Uint8Array(0)),
      block(4, new Uint8Array(3 << 20)),
      little.enhanced(2n, one),
    );
    expect(read.frames).toHaveLength(2);
    expect(damage(read)).toEqual({ 'capture/unknown-block': 1 });
  });

  test('a wire length of 0, as some writers leave it, is not below what was captured', async () => {
    const read = await readBytes(little.section(), little.description(), little.enhanced(1n, text('abcd'), 0, [], 0));
    expect(read.frames[0]!.wire).toBe(4);
  });

  test('no interface, no frame', async () => {
    const read = await readBytes(little.section());
    expect(read).toMatchObject({ frames: [], epochNs: null, anomalies: [] });
  });
});

describe('frames lost by the capture', () => {
  const counts = (drops: readonly Option[]): Uint8Array[] => [
    little.section(),
    little.description(),
    little.enhanced(1n, one),
    little.statistics(0, drops),
  ];
  const ifDrop = (value: bigint): Option => [5, little.u64(value)];
  const osDrop = (value: bigint): Option => [7, little.u64(value)];

  test.each([
    ['nobody says', [little.section(), little.description(), little.enhanced(1n, one)], null],
    ['statistics without losses', counts([ifDrop(0n)]), 0],
    ['lost by interface and system', counts([ifDrop(5n), osDrop(7n)]), 12],
    ['what was delivered says nothing about losses', counts([[8, little.u64(99n)]]), null],
    ['the last count of an interface holds', [...counts([ifDrop(5n)]), little.statistics(0, [ifDrop(9n)])], 9],
    ['sections add up', [...counts([ifDrop(5n)]), ...counts([ifDrop(1n)])], 6],
    ['counted frame by frame', [...counts([]), little.enhanced(2n, one, 0, [[4, little.u64(3n)]])], 3],
    ['counted both ways', [...counts([ifDrop(5n)]), little.enhanced(2n, one, 0, [[4, little.u64(3n)]])], 5],
  ])('%s', async (_name, parts, dropped) => {
    const read = await readBytes(...parts);
    expect(read.inputs[0]!.droppedByCapture).toBe(dropped);
    expect(damage(read)).toEqual(dropped ? { 'capture/dropped': dropped } : {});
  });
});

describe('a damaged pcapng file', () => {
  const parts = [
    little.section(),
    little.description(1, 0, [[9, Uint8Array.of(9)]]),
    ...frames.map(({ ns, bytes }) => little.enhanced(ns, bytes)),
  ];
  const without = (index: number) => asRead(frames.filter((_, i) => i !== index));
  const offsetOf = (part: number): number => join8(...parts.slice(0, part)).length;
  /** All parts, with 32-bit words of the frame's block overwritten. */
  const patched = (frame: number, words: Readonly<Record<number, number>>): Uint8Array => {
    const bytes = join8(...parts);
    for (const [at, value] of Object.entries(words)) {
      const from = Number(at) < 0 ? offsetOf(frame + 3) + Number(at) : offsetOf(frame + 2) + Number(at);
      bytes.set(little.u32(value), from);
    }
    return bytes;
  };

  test('cut anywhere: the whole blocks before the cut', async () => {
    const whole = join8(...parts.slice(0, 5));
    const ends = parts.slice(0, 5).map((_, i) => offsetOf(i + 1));
    for (let length = 28; length < whole.length; length++) {
      const read = await readBytes(whole.subarray(0, length));
      const complete = ends.slice(2).filter((end) => end <= length).length;
      expect(read.frames, `${length} bytes`).toEqual(asRead(frames.slice(0, complete)));
      expect(damage(read), `${length} bytes`).toEqual(ends.includes(length) ? {} : { 'capture/record-truncated': 1 });
    }
  });

  test.each([
    ['huge', 0xffff_fff0],
    ['zero', 0],
    ['not a multiple of four', 57],
    ['beyond the end of the file', 100_000],
    ['over the next blocks', 120],
  ])('a block length that is %s costs that block only', async (_name, length) => {
    const read = await readBytes(patched(4, { 4: length }));
    expect(read.frames).toEqual(without(4));
    expect(read.anomalies).toEqual([
      expect.objectContaining({ code: 'capture/bad-length', count: 1, first: { input: 0, fileOffset: offsetOf(6) } }),
    ]);
  });

  test('a wrong second length costs that block only', async () => {
    const read = await readBytes(patched(4, { [-4]: 1000 }));
    expect(read.frames).toEqual(without(4));
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test('a captured length beyond its block', async () => {
    const read = await readBytes(patched(4, { 20: 5000 }));
    expect(read.frames).toEqual(without(4));
    expect(damage(read)).toEqual({ 'capture/bad-block': 1 });
  });

  test('an interface that was not described', async () => {
    const read = await readBytes(patched(4, { 8: 7 }));
    expect(read.frames).toEqual(without(4));
    expect(damage(read)).toEqual({ 'capture/unknown-interface': 1 });
  });

  test('noise between blocks, then another section', async () => {
    const noise = Uint8Array.from({ length: 3001 }, (_, i) => (i * 2_654_435_761) >>> 24);
    const read = await readBytes(pcapng(frames.slice(0, 6)), noise, pcapng(frames.slice(6), 'big'));
    expect(read.frames).toEqual(asRead(frames));
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test.each([
    [0x40000bad, PCAPNG_BLOCK_BYTES, {}],
    [0x40000bad, PCAPNG_BLOCK_BYTES + 4, { 'capture/bad-length': 1 }],
  ])('a block without frames may be large: type %i of %i bytes', async (type, length, expected) => {
    const read = await readBytes(...parts, little.block(type, new Uint8Array(length - 12)), ...parts);
    expect(read.frames).toHaveLength(2 * frames.length);
    expect(damage(read)).toEqual({ ...expected, 'capture/time-backwards': 1 });
  });

  test('more interfaces than are told apart', async () => {
    const many = Array.from({ length: INTERFACES + 1 }, () => little.description());
    const read = await readBytes(
      little.section(),
      ...many,
      little.enhanced(1n, one, INTERFACES - 1),
      little.enhanced(2n, one, INTERFACES),
    );
    expect(read.frames).toHaveLength(1);
    expect(damage(read)).toEqual({ 'capture/unknown-interface': 2 });
  });

  test('an interface name longer than is kept', async () => {
    const name = 'x'.repeat(NAME_CHARACTERS + 1);
    const read = await readBytes(
      little.section(),
      little.description(1, 0, [[2, text(name)]]),
      little.enhanced(1n, one),
    );
    expect(read.interfaces[0]!.name).toBe(name.slice(1));
  });

  test('an option that runs over the end of its block is ignored', async () => {
    const { block, u16, u32 } = little;
    const broken = block(1, join8(u16(1), u16(0), u32(0), u16(2), u16(200), text('abcd')));
    const read = await readBytes(little.section(), broken, little.enhanced(1n, one));
    expect(read.interfaces[0]!.name).toBe('');
    expect(read.frames).toHaveLength(1);
  });
});
