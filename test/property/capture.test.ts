// Truths about reading that need no expected values: how a capture is stored, cut or handed over changes nothing.
import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  asRead,
  type ByteOrder,
  blocks,
  join8,
  pcap,
  pcapHeader,
  pcapng,
  pcapRecord,
  type ReadCapture,
  type Recorded,
  readCapture,
  temporaryFiles,
} from '../support/captures.js';

const file = temporaryFiles();
const haveZstd = spawnSync('zstd', ['--version']).error === undefined;

/** Fixed, so that a run can be repeated; fast-check prints it with a counterexample. */
const SEED = Number(process.env['SEED'] ?? 20_261_122);
const RUNS = Number(process.env['RUNS'] ?? 100);

const startNs = 1_700_000_000_000_000_000n;

/** Frames with gaps of whole µs, now and then backwards, some of them cut. */
const recorded: fc.Arbitrary<Recorded[]> = fc
  .array(
    fc.record({
      gapUs: fc.oneof(
        { weight: 9, arbitrary: fc.nat(1_000_000) },
        { weight: 1, arbitrary: fc.integer({ min: -500, max: 0 }) },
      ),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
      cut: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(2000) }),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((items) => {
    let ns = startNs;
    return items.map(({ gapUs, bytes, cut }) => {
      ns += BigInt(gapUs) * 1000n;
      return { ns, bytes, wire: bytes.length + cut };
    });
  });

const chunkBytes = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 100, max: 100_000 }));
const order = fc.constantFrom<ByteOrder>('little', 'big');

/** What must not depend on how the capture is stored. */
const essence = ({ frames, epochNs, anomalies, inputs }: ReadCapture) => ({
  frames,
  epochNs,
  anomalies,
  counts: inputs.map(({ frames: count, capturedBytes, wireBytes, cutFrames }) => [
    count,
    capturedBytes,
    wireBytes,
    cutFrames,
  ]),
});

/** The same with damage: every byte of the file may be hit. */
const mangled = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(
      fc.record({
        at: fc.nat(bytes.length - 25),
        value: fc.constantFrom(0, 1, 4, 6, 127, 255),
        length: fc.integer({ min: 1, max: 9 }),
      }),
      {
        minLength: 1,
        maxLength: 6,
      },
    )
    .map((hits) => {
      const copy = bytes.slice();
      for (const { at, value, length } of hits) copy.fill(value, 24 + at, 24 + at + length);
      return copy;
    });

const stored: readonly (readonly [string, (frames: readonly Recorded[]) => Uint8Array])[] = [
  ['big-endian pcap', (frames) => pcap(frames, { order: 'big' })],
  ['ns pcap', (frames) => pcap(frames, { magic: 0xa1b23c4d })],
  ['pcapng', (frames) => pcapng(frames)],
  ['big-endian pcapng', (frames) => pcapng(frames, 'big')],
  ['gzip', (frames) => gzipSync(pcap(frames))],
  ['gzip of pcapng', (frames) => gzipSync(pcapng(frames))],
];

describe('the same frames', () => {
  test.each(stored)('as %s', async (_name, store) => {
    await fc.assert(
      fc.asyncProperty(recorded, chunkBytes, async (frames, chunk) => {
        const plain = await readCapture(file('plain', pcap(frames)));
        expect(plain.frames).toEqual(asRead(frames));
        expect(essence(await readCapture(file('stored', store(frames)), { chunkBytes: chunk }))).toEqual(
          essence(plain),
        );
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });

  test.runIf(haveZstd)('as zstd', async () => {
    await fc.assert(
      fc.asyncProperty(recorded, async (frames) => {
        const packed = spawnSync('zstd', ['-q'], { input: pcap(frames) }).stdout;
        expect(essence(await readCapture(file('zst', packed)))).toEqual(
          essence(await readCapture(file('plain', pcap(frames)))),
        );
      }),
      { numRuns: 10, seed: SEED },
    );
  });

  test('in several files, given in any order', async () => {
    await fc.assert(
      fc.asyncProperty(
        recorded,
        fc.array(fc.nat(60), { maxLength: 4 }),
        fc.infiniteStream(fc.nat()),
        async (some, cuts, keys) => {
          const frames = [...some].sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0));
          const borders = [0, ...cuts.filter((cut) => cut < frames.length).sort((a, b) => a - b), frames.length];
          const paths = borders
            .slice(1)
            .map((end, i) => file(`part${i}`, (i % 2 ? pcapng : pcap)(frames.slice(borders[i], end))))
            .map((path) => ({ path, key: keys.next().value }))
            .sort((a, b) => a.key - b.key)
            .map(({ path }) => path);
          const read = await readCapture(paths);
          expect(read.frames.map((frame) => ({ ...frame, iface: 0 }))).toEqual(asRead(frames));
        },
      ),
      { numRuns: RUNS, seed: SEED },
    );
  });

  test('dealt out to several files that overlap', async () => {
    await fc.assert(
      fc.asyncProperty(
        recorded,
        fc.array(fc.nat(3), { minLength: 60, maxLength: 60 }),
        chunkBytes,
        async (some, deal, chunk) => {
          // All times differ, so the order is determined.
          const frames = some.map((frame, i) => ({ ...frame, ns: startNs + BigInt(i * 1000) }));
          const hands = [0, 1, 2, 3]
            .map((hand) => frames.filter((_, i) => deal[i] === hand))
            .filter((hand) => hand.length > 0);
          const paths = hands.map((hand, i) => file(`hand${i}`, (i % 2 ? pcapng : pcap)(hand)));
          const read = await readCapture(paths, { chunkBytes: chunk });
          expect(read.frames.map((frame) => ({ ...frame, iface: 0 }))).toEqual(asRead(frames));
          expect(read).toEqual(await readCapture([...paths].reverse()));
        },
      ),
      { numRuns: RUNS, seed: SEED },
    );
  });
});

describe('damage', () => {
  test.each([
    ['pcap', (frames: readonly Recorded[], byteOrder: ByteOrder) => pcap(frames, { order: byteOrder })],
    ['pcapng', pcapng],
  ])('is seen alike in %s whatever the read size', async (_name, store) => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(recorded, order).chain(([frames, byteOrder]) => mangled(store(frames, byteOrder))),
        chunkBytes,
        async (bytes, chunk) => {
          const path = file('mangled', bytes);
          expect(await readCapture(path, { chunkBytes: chunk })).toEqual(await readCapture(path));
        },
      ),
      { numRuns: RUNS, seed: SEED },
    );
  });

  test('of one pcap record header costs no other frame', async () => {
    const field = fc.constantFrom('captured', 'wire', 'both');
    const value = fc.oneof(fc.nat(0xffff_ffff), fc.nat(70_000));
    await fc.assert(
      fc.asyncProperty(recorded, fc.nat(59), field, value, async (frames, pick, which, wrong) => {
        fc.pre(frames.length > 3 && pick < frames.length - 3);
        const hit = frames[pick]!;
        // A wrong length that ends where another record does cannot be told from a right one.
        let border = -16;
        const borders = frames.slice(pick).map(({ bytes }) => (border += 16 + bytes.length));
        fc.pre(which === 'wire' || !borders.includes(wrong));
        const damaged = pcapRecord(
          which === 'captured' ? hit : { ...hit, wire: wrong },
          {},
          which === 'wire' ? {} : { captured: wrong },
        );
        const parts = frames.map((frame, i) => (i === pick ? damaged : pcapRecord(frame)));
        const read = await readCapture(file('hit', join8(pcapHeader(), ...parts)));
        const others = asRead(frames).filter((_, i) => i !== pick);
        const times = new Set(read.frames.map(({ tNs, bytes }) => `${BigInt(tNs) + read.epochNs!} ${bytes}`));
        for (const { tNs, bytes } of others) expect(times).toContain(`${BigInt(tNs) + frames[0]!.ns} ${bytes}`);
        expect(read.frames.length).toBeLessThanOrEqual(frames.length);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });

  test('of one pcapng block length costs no other frame', async () => {
    const { section, description, enhanced, u32 } = blocks();
    await fc.assert(
      fc.asyncProperty(
        recorded,
        fc.nat(59),
        fc.oneof(fc.nat(0xffff_ffff), fc.nat(5000)),
        fc.boolean(),
        async (frames, pick, wrong, behind) => {
          fc.pre(pick < frames.length);
          const parts = frames.map(({ ns, bytes, wire }) => enhanced(ns / 1000n, bytes, 0, [], wire));
          const hit = parts[pick]!.slice();
          hit.set(u32(wrong), behind ? hit.length - 4 : 4);
          fc.pre(!Buffer.from(hit).equals(parts[pick]!));
          const read = await readCapture(
            file('hit', join8(section(), description(), ...parts.map((part, i) => (i === pick ? hit : part)))),
          );
          expect(read.frames.map(({ bytes }) => bytes)).toEqual(
            asRead(frames)
              .filter((_, i) => i !== pick)
              .map(({ bytes }) => bytes),
          );
        },
      ),
      { numRuns: RUNS, seed: SEED },
    );
  });
});
