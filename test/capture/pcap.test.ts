import { describe, expect, test } from 'vitest';
import { WAY_IN, WAY_OUT } from '../../src/capture/packet-batch.js';
import { FRAME_BYTES } from '../../src/limits.js';
import {
  asRead,
  damage,
  join8,
  numbers,
  pcap,
  pcapHeader,
  pcapRecord,
  type Recorded,
  readCapture,
  someFrames,
  temporaryFiles,
} from '../support/captures.js';

const file = temporaryFiles();
const frames = someFrames(30);
const readBytes = (bytes: Uint8Array) => readCapture(file('capture.pcap', bytes));

describe('a classic pcap file', () => {
  test('literal bytes: header, one frame of four bytes out of sixty', async () => {
    const bytes = Buffer.from(
      'd4c3b2a1020004000000000000000000ffff000001000000' + '00f1536540420f0004000000' + '3c000000' + 'deadbeef',
      'hex',
    );
    // 0x6553f100 s and 0x0f4240 µs: the fraction is a whole second, which a careless writer may leave.
    const { frames: read, epochNs, interfaces, inputs } = await readBytes(bytes);
    expect(epochNs).toBe(0x6553f101n * 1_000_000_000n);
    expect(read).toEqual([{ frame: 1, tNs: 0, wire: 60, iface: 0, way: 0, bytes: '\xde\xad\xbe\xef' }]);
    expect(interfaces).toEqual([{ input: 0, linkType: 1, fcsBytes: 0, snapLength: 65535, name: '' }]);
    expect(inputs).toEqual([
      expect.objectContaining({ format: 'pcap', compression: null, linkTypes: ['ethernet'], snapLength: 65535 }),
    ]);
    expect(inputs).toEqual([
      expect.objectContaining({ frames: 1, capturedBytes: 4, wireBytes: 60, cutFrames: 1, droppedByCapture: null }),
    ]);
  });

  test.each([
    ['little-endian µs', { order: 'little', magic: 0xa1b2c3d4 }, 1000],
    ['big-endian µs', { order: 'big', magic: 0xa1b2c3d4 }, 1000],
    ['little-endian ns', { order: 'little', magic: 0xa1b23c4d }, 1],
    ['big-endian ns', { order: 'big', magic: 0xa1b23c4d }, 1],
  ] as const)('%s', async (_name, options, resolutionNs) => {
    const read = await readBytes(pcap(frames, options));
    expect(read.frames).toEqual(asRead(frames));
    expect(read.epochNs).toBe(frames[0]!.ns);
    expect(read.inputs[0]!.timestampResolutionNs).toBe(resolutionNs);
    expect(read.anomalies).toEqual([]);
  });

  test('ns are exact over a day', async () => {
    const far: Recorded[] = [0n, 1n, 86_400_000_000_001n, 86_399_999_999_999n].map((after) => ({
      ns: 1_700_000_000_999_999_999n + after,
      bytes: Uint8Array.of(1),
    }));
    const read = await readBytes(pcap(far, { magic: 0xa1b23c4d }));
    expect(read.frames.map(({ tNs }) => tNs)).toEqual([0, 1, 86_400_000_000_001, 86_399_999_999_999]);
    expect(damage(read)).toEqual({ 'capture/time-backwards': 1 });
  });

  test('time stamps beyond 2038', async () => {
    const late = someFrames(3, 4_000_000_000_000_000_000n);
    expect((await readBytes(pcap(late))).frames).toEqual(asRead(late));
  });

  test.each(['little', 'big'] as const)(
    'the modified format, %s-endian: longer record headers, which say the direction',
    async (order) => {
      const { u16, u32 } = numbers(order);
      const options = { order, magic: 0xa1b2cd34 };
      const record = (frame: Recorded, packetType: number): Uint8Array => {
        const plain = pcapRecord(frame, options);
        const extra = join8(u32(2), u16(0x0800), Uint8Array.of(packetType, 0));
        return join8(plain.subarray(0, 16), extra, plain.subarray(16));
      };
      const read = await readBytes(
        join8(pcapHeader(options), record(frames[0]!, 0), record(frames[1]!, 4), record(frames[2]!, 0)),
      );
      const ways = [WAY_IN, WAY_OUT, WAY_IN];
      expect(read.frames).toEqual(asRead(frames.slice(0, 3)).map((frame, i) => ({ ...frame, way: ways[i] })));
      expect(read.anomalies).toEqual([]);
    },
  );

  test.each([0x1c0001ac, 0x1c0001ab])(
    'the lcap format %i: the size of all records follows the file header',
    async (magic) => {
      const body = pcap(frames, { magic });
      const read = await readBytes(join8(body.subarray(0, 24), numbers('little').u32(999), body.subarray(24)));
      expect(read.frames).toEqual(asRead(frames));
      expect(read.anomalies).toEqual([]);
    },
  );

  test('check sequences announced in the link type', async () => {
    const { interfaces, inputs } = await readBytes(pcap(frames, { linkType: 0x24000001 }));
    expect(interfaces[0]).toMatchObject({ linkType: 1, fcsBytes: 4 }); // two words of 16 bits
    expect(inputs[0]!.linkTypes).toEqual(['ethernet']);
  });

  test('snap length 0 is no limit', async () => {
    expect((await readBytes(pcap(frames, { snapLength: 0 }))).inputs[0]!.snapLength).toBeNull();
  });

  test('frames larger than the announced snap length, as offload makes them', async () => {
    const large: Recorded[] = [{ ns: frames[0]!.ns, bytes: new Uint8Array(200_000).fill(7) }, ...frames.slice(1)];
    const read = await readBytes(pcap(large, { snapLength: 65_535 }));
    expect(read.frames).toEqual(asRead(large));
    expect(read.anomalies).toEqual([]);
  });

  test('no frames at all', async () => {
    const read = await readBytes(pcap([]));
    expect(read).toMatchObject({ frames: [], epochNs: null, anomalies: [] });
    expect(read.inputs[0]).toMatchObject({ frames: 0, linkTypes: ['ethernet'] });
  });

  test('a frame of which nothing was captured', async () => {
    const nothing: Recorded[] = [frames[0]!, { ns: frames[1]!.ns, bytes: new Uint8Array(0), wire: 60 }, frames[2]!];
    const read = await readBytes(pcap(nothing));
    expect(read.frames).toEqual(asRead(nothing));
    expect(damage(read)).toEqual({ 'capture/frames-cut': 1 });
  });
});

describe('a damaged pcap file', () => {
  test('cut anywhere: the whole records before the cut', async () => {
    const whole = pcap(frames.slice(0, 4));
    const ends = [24];
    for (const frame of frames.slice(0, 4)) ends.push(ends.at(-1)! + 16 + frame.bytes.length);
    for (let length = 24; length < whole.length; length++) {
      const read = await readBytes(whole.subarray(0, length));
      const complete = ends.filter((end) => end <= length).length - 1;
      expect(read.frames, `${length} bytes`).toEqual(asRead(frames.slice(0, complete)));
      expect(damage(read), `${length} bytes`).toEqual(ends.includes(length) ? {} : { 'capture/record-truncated': 1 });
    }
  });

  test.each([
    ['beyond any frame', 0xffff_ffff],
    ['larger than a frame can be', FRAME_BYTES + 1],
    ['swallowing the records behind it', 400],
    ['reaching beyond the end of the file', 500_000],
  ])('a captured length %s costs that record only', async (_name, captured) => {
    const damaged = pcapRecord({ ...frames[10]!, wire: Math.max(captured, 60) }, {}, { captured });
    const read = await readBytes(
      join8(pcap(frames.slice(0, 10)), damaged, ...frames.slice(11).map((frame) => pcapRecord(frame))),
    );
    const left = [...frames.slice(0, 10), ...frames.slice(11)];
    expect(read.frames).toEqual(asRead(left));
    expect(read.anomalies).toEqual([
      expect.objectContaining({
        code: 'capture/bad-length',
        count: 1,
        first: { input: 0, fileOffset: pcap(frames.slice(0, 10)).length },
      }),
    ]);
  });

  test('zeros in the middle, as a file system leaves them after a crash', async () => {
    const read = await readBytes(
      join8(pcap(frames.slice(0, 10)), new Uint8Array(5000), ...frames.slice(10).map((frame) => pcapRecord(frame))),
    );
    expect(read.frames).toEqual(asRead(frames));
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test('bytes missing in the middle', async () => {
    const whole = pcap(frames);
    const from = pcap(frames.slice(0, 10)).length + 3;
    const read = await readBytes(join8(whole.subarray(0, from), whole.subarray(from + 50)));
    expect(read.frames.slice(0, 10)).toEqual(asRead(frames.slice(0, 10)));
    expect(read.frames.slice(-15)).toEqual(
      asRead(frames, frames[0]!.ns)
        .slice(-15)
        .map((frame, i) => ({ ...frame, frame: read.frames.length - 14 + i })),
    );
    expect(read.frames.length).toBeGreaterThanOrEqual(27);
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test('the first record', async () => {
    const damaged = pcapRecord(frames[0]!, {}, { captured: 0x7fff_ffff });
    const read = await readBytes(join8(pcapHeader(), damaged, ...frames.slice(1).map((frame) => pcapRecord(frame))));
    expect(read.frames).toEqual(asRead(frames.slice(1)));
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test('nothing but noise behind the header', async () => {
    const noise = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 2_654_435_761) >>> 24);
    const read = await readBytes(join8(pcapHeader(), noise));
    expect(read.frames).toEqual([]);
    expect(damage(read)).toEqual({ 'capture/bad-length': 1 });
  });

  test('a clock that is set in the middle is no damage to the records', async () => {
    const stepped = [...frames.slice(0, 15), ...someFrames(15, 1_000_000_000_000_000_000n)];
    const read = await readBytes(pcap(stepped));
    expect(read.frames).toEqual(asRead(stepped));
    expect(damage(read)).toEqual({ 'capture/time-backwards': 1 });
  });

  test('one absurd time stamp is no damage to the records', async () => {
    const odd = frames.map((frame, i) => (i === 12 ? { ...frame, ns: 4_200_000_000_000_000_000n } : frame));
    const read = await readBytes(pcap(odd));
    expect(read.frames).toEqual(asRead(odd));
    expect(damage(read)).toEqual({ 'capture/time-backwards': 1 });
  });

  test('fractions of a second and more are added up', async () => {
    const odd = pcapRecord(frames[3]!, {}, { fraction: 1_500_000 });
    const read = await readBytes(join8(pcap(frames.slice(0, 3)), odd, ...frames.slice(4, 8).map((f) => pcapRecord(f))));
    expect(read.frames).toHaveLength(8);
    expect(read.frames[3]!.tNs).toBe(1_500_000_000);
  });
});
