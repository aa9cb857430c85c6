// Mutated captures: reading ends, stays inside its memory, and never fails in any other way than "this is no capture".
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { openFiles } from '../../src/capture/source.js';
import { InputError } from '../../src/errors.js';
import { BATCH_ROWS, FRAME_BYTES } from '../../src/limits.js';
import { blocks, join8, pcap, pcapHeader, pcapng, someFrames, temporaryFiles } from '../support/captures.js';
import { mutated, random } from '../support/random.js';

const file = temporaryFiles();
const { section, description, enhanced, simple, obsolete, statistics, block, u32, u64 } = blocks('big');
const one = Uint8Array.of(1, 2, 3);

const originals: readonly Uint8Array[] = [
  pcap(someFrames(40)),
  pcap(someFrames(40), { order: 'big', magic: 0xa1b23c4d }),
  pcap(someFrames(40), { magic: 0xa1b2cd34 }),
  pcapng(someFrames(40)),
  join8(
    section(),
    description(1, 0, [[9, Uint8Array.of(0x94)]]),
    description(276, 64, [
      [2, Uint8Array.of(101)],
      [14, u64(5n)],
    ]),
    enhanced(1_000_000n, one, 1, [
      [2, u32(0x82)],
      [4, u64(1n)],
    ]),
    simple(one, 9),
    obsolete(1_000_001n, one, 0, 2, [[2, u32(1)]]),
    statistics(0, [[5, u64(2n)]]),
    block(0x0bad, new Uint8Array(40)),
    enhanced(1_000_002n, one),
  ),
  gzipSync(pcap(someFrames(40))),
];

/** Reads to the end and checks every row; the number of rows. */
async function survey(path: string, chunkBytes: number): Promise<number> {
  const source = await openFiles([path], new AnomalyLog(), { chunkBytes });
  let rows = 0;
  for await (const batch of source.batches()) {
    expect(batch.count).toBeGreaterThan(0);
    expect(batch.count).toBeLessThanOrEqual(BATCH_ROWS);
    expect(batch.firstFrame).toBe(rows + 1);
    for (let row = 0; row < batch.count; row++) {
      const captured = batch.captured[row]!;
      if (captured > FRAME_BYTES || batch.start[row]! + captured > batch.bytes.length)
        throw new Error('outside memory');
      if (captured > batch.wire[row]!) throw new Error('more captured than there was');
      if (!Number.isFinite(batch.tNs[row])) throw new Error('no time');
      if (batch.iface[row]! >= batch.interfaces.length) throw new Error('no interface');
    }
    rows += batch.count;
  }
  return rows;
}

describe('mutated captures', () => {
  const SEED = Number(process.env['SEED'] ?? 20_261_122);
  const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 4);

  test(
    `seed ${SEED}, ${SECONDS} s`,
    async () => {
      const source = random(SEED);
      const until = performance.now() + SECONDS * 1000;
      let read = 0;
      let refused = 0;
      for (let round = 0; performance.now() < until; round++) {
        const bytes = mutated(source.pick(originals), source);
        const path = file('mutated', bytes);
        try {
          // Every frame takes at least 8 bytes of the file, unpacked: nothing comes from nothing.
          expect(await survey(path, source.pick([1, 64, 262_144])), `round ${round}`).toBeLessThanOrEqual(1000);
          read++;
        } catch (error) {
          if (!(error instanceof InputError)) throw new Error(`round ${round} of seed ${SEED}`, { cause: error });
          refused++;
        }
      }
      expect(read).toBeGreaterThan(refused);
      expect(read + refused).toBeGreaterThan(200);
    },
    1000 * SECONDS + 60_000,
  );
});

describe('captures made to be slow', () => {
  const timed = async (bytes: Uint8Array): Promise<number> => {
    const begin = performance.now();
    await survey(file('slow', bytes), 262_144);
    return performance.now() - begin;
  };
  const megabytes = 16;
  /** Far above what a sound file of this size takes, far below what a quadratic reader would. */
  const LIMIT_MS = 8000;
  const repeated = (unit: Uint8Array): Uint8Array => new Uint8Array(Buffer.alloc(megabytes << 20, unit));

  test('record headers that lie, one after another', async () => {
    // Every 17 bytes a header that looks fine and claims almost a megabyte.
    const liar = join8(u32(1_700_000_000), u32(1), u32(1_000_000), u32(1_000_000), Uint8Array.of(0));
    expect(await timed(join8(pcapHeader({ order: 'big' }), repeated(liar)))).toBeLessThan(LIMIT_MS);
  });

  test('a clock that jumps with every record', async () => {
    const jumping = [1_000_000_000, 2_000_000_000].map((second) => join8(u32(second), u32(1), u32(4), u32(4), u32(0)));
    expect(await timed(join8(pcapHeader({ order: 'big' }), repeated(join8(...jumping))))).toBeLessThan(LIMIT_MS);
  });

  test('block headers that lie, one after another', async () => {
    const liar = join8(u32(6), u32(1_000_000), u32(0));
    expect(await timed(join8(section(), description(), repeated(liar)))).toBeLessThan(LIMIT_MS);
  });

  test('thousands of sections', async () => {
    const unit = join8(section(), description(), enhanced(1_000_000n, one));
    expect(await timed(repeated(unit))).toBeLessThan(LIMIT_MS);
  });

  test('options without end', async () => {
    const empty = Array.from({ length: 10_000 }, () => [1, new Uint8Array(0)] as const);
    const unit = join8(enhanced(1_000_000n, one, 0, empty));
    expect(await timed(join8(section(), description(), repeated(unit)))).toBeLessThan(LIMIT_MS);
  });
});
