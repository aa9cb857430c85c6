// What must hold for any stream: the way its bytes arrive does not matter, and no bytes can hurt.
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { mainChannel } from '../../src/migration-stream/main-channel.js';
import type { Migration } from '../../src/migration-stream/results.js';
import { returnPath } from '../../src/migration-stream/return-path.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { type Chunk, decodeChunks, PAGE, range, smallMigration, stream } from '../support/migration-stream.js';
import { mutated, type Random, random } from '../support/random.js';
import { ack, type Frame, feed, fin, syn } from '../support/reassembly.js';

const SEEDS = range(1, 21);

/** Many pages of several kinds, over several passes; about 400 KiB. */
function longMigration(): Uint8Array {
  const blocks = [
    { name: 'pc.ram', length: 64 * PAGE },
    { name: 'pc.bios', length: 8 * PAGE },
  ];
  return stream()
    .header()
    .ramStart(blocks)
    .part((ram) => ram.pages('pc.ram', range(0, 40)))
    .part((ram) => ram.zeros('pc.ram', range(40, 64)).pages('pc.bios', range(0, 8)))
    .part((ram) => ram.pages('pc.ram', range(4, 30)).xbzrle('pc.ram', 31, range(1, 200)))
    .part((ram) => ram.pages('pc.ram', range(4, 20)).zeros('pc.ram', [22]))
    .end((ram) => ram.pages('pc.ram', range(6, 12)))
    .full(0, 'timer', range(0, 24))
    .eof()
    .build();
}

const DIRECTORY = {
  identity: () => ({
    client: { address: '10.0.0.1', port: 40_000 },
    server: { address: '10.0.0.2', port: 49_152 },
    startNs: 0,
  }),
};

/** The result for frames of one connection, times left out: they depend on which copy of a byte came first. */
function resultOf(frames: readonly Frame[]): { migrations: unknown[]; codes: string[] } {
  const log = new AnomalyLog();
  const streams = new MigrationStreams(log, DIRECTORY);
  const reassembler = new Reassembler(streams.claim, log);
  feed(reassembler, frames);
  reassembler.finish();
  const { migrations } = streams.finish();
  return { migrations: migrations.map(withoutTimes), codes: log.finish().map(({ code }) => code) };
}

function withoutTimes({ rounds, phases, devices, downtime, ...rest }: Migration): unknown {
  return {
    outcome: rest.outcome,
    pages: rest.pages,
    bytes: rest.bytes,
    stream: rest.stream,
    rounds: rounds.map(({ index, pages, bytes, boundary }) => ({ index, pages, bytes, boundary })),
    phases: phases.map(({ kind, bytes }) => ({ kind, bytes })),
    devices: devices.map(({ name, bytes }) => ({ name, bytes })),
    hasDowntime: downtime !== null,
  };
}

/** `whole` in segments of random size. */
function segments(whole: Uint8Array, source: Random, most: number): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < whole.length; ) {
    const length = 1 + source.below(most);
    frames.push({ offset: at, payload: whole.subarray(at, at + length) });
    at += length;
  }
  return frames;
}

describe('how segments arrive makes no difference', () => {
  const whole = longMigration();
  const inOrder = resultOf([syn(), { offset: 0, payload: whole }, fin(whole.length)]);

  test('the plain case is a migration without complaint', () => {
    expect(inOrder.codes).toEqual([]);
    expect(inOrder.migrations).toMatchObject([
      {
        outcome: 'completed',
        stream: { undecodedBytes: 0 },
        pages: { normal: 40 + 8 + 26 + 16 + 6, zero: 25, xbzrle: 1, distinct: 72 },
        rounds: [
          { boundary: 'first-pass' },
          { boundary: 'page-repeat' },
          { boundary: 'page-repeat' },
          { boundary: 'section-end' },
        ],
      },
    ]);
  });

  test.each(SEEDS)('split anywhere, seed %i', (seed) => {
    const source = random(seed);
    const most = source.pick([3, 100, 1448, 9000, 65_160]);
    expect(resultOf([syn(), ...segments(whole, source, most), fin(whole.length)])).toEqual(inOrder);
  });

  test.each(SEEDS)('reordered and duplicated, seed %i', (seed) => {
    const source = random(seed);
    const frames = segments(whole, source, source.pick([500, 1448, 9000]));
    const copies = Array.from({ length: 20 }, () => source.pick(frames));
    const shuffled = [...frames, ...copies]
      .map((frame, i) => ({ frame, key: i + source.below(30) }))
      .sort((a, b) => a.key - b.key)
      .map(({ frame }) => frame);
    expect(resultOf([syn(), ...shuffled, fin(whole.length)])).toEqual(inOrder);
  });

  test.each(SEEDS)('lost and never captured, seed %i: only pages in the gaps are missed', (seed) => {
    const source = random(seed);
    const frames = segments(whole, source, 1448);
    const lost = new Set([source.pick(frames.slice(1)), source.pick(frames.slice(1))]);
    const kept = frames.filter((frame) => !lost.has(frame));
    const { migrations } = resultOf([syn(), ...kept, ack(whole.length), fin(whole.length)]);
    const [{ pages, bytes }] = migrations as [Migration];
    const [{ pages: all }] = inOrder.migrations as [Migration];
    expect(bytes.total).toBe(whole.length);
    expect(pages.normal).toBeLessThanOrEqual(all.normal);
    // A gap over a header costs that record, and what lies before the next place that is sure.
    expect(pages.normal).toBeGreaterThanOrEqual(all.normal - 16);
  });
});

describe('no bytes can hurt', () => {
  const samples = [
    smallMigration().build(),
    stream()
      .header()
      .command(3, new Uint8Array(16))
      .ramStart([{ name: 'm', length: 8 * PAGE }])
      .part((ram) => ram.zeros('m', range(0, 8)))
      .packaged((inner) => inner.command(4).full(0, 'timer', range(0, 24)).ping(3).command(5))
      .part((ram) => ram.compressed('m', 3, range(0, 90)).xbzrle('m', 4, range(1, 50)))
      .end()
      .eof()
      .build(),
    stream({ footers: false })
      .header(null)
      .ramStart([{ name: 'm', length: 4 * PAGE }])
      .full(0, 'cpu', range(0, 90))
      .eof()
      .build(),
  ];

  test.each(range(1, 301))('a damaged stream is read to its end, seed %i', (seed) => {
    const source = random(seed);
    const damaged = mutated(source.pick(samples), source);
    const chunks: Chunk[] = [];
    for (let at = 0; at < damaged.length; ) {
      const length = 1 + source.below(3000);
      if (source.below(40) === 0) chunks.push({ hole: length, cause: source.pick(['unseen', 'cut', 'given-up']) });
      else chunks.push(damaged.slice(at, at + length));
      at += length;
    }
    const joined = source.below(4) === 0;
    const result = decodeChunks(mainChannel, chunks, { joined });
    // A stream that was only searched is nobody's: its end is told to nobody.
    if (!joined || result.records.length > 0) expect(result.records.at(-1)).toBe(`stream end @${result.length}`);
    expect(result.undecodedBytes).toBeGreaterThanOrEqual(0);
    expect(result.undecodedBytes).toBeLessThanOrEqual(result.length);
  });

  test.each(range(1, 51))('noise as a return path, seed %i', (seed) => {
    const source = random(seed);
    const noise = source.bytes(400).map((byte, i) => (i % 4 === 0 || i % 4 === 2 ? 0 : byte % 9));
    const result = decodeChunks(returnPath, [noise]);
    expect(result.records.at(-1)).toBe('stream end @400');
  });

  test('a megabyte of zeros, of header-like words, of footer bytes: searched in reasonable time', () => {
    const word = [0, 0, 0, 0, 0, 0, 0x10, 0x28];
    const fills = [() => 0, (at: number) => word[at % 8]!, () => 0x7e, (at: number) => [0x7e, 0, 0, 0, 2][at % 5]!];
    for (const fill of fills) {
      const noise = Uint8Array.from({ length: 1 << 20 }, (_, at) => fill(at));
      const begin = performance.now();
      decodeChunks(mainChannel, [noise], { joined: true });
      expect(performance.now() - begin).toBeLessThan(5000);
    }
  });
});
