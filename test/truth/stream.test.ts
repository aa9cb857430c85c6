// Real recordings against what QEMU said about the same run (truth.json: query-migrate and QMP events).
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Migration, Round } from '../../src/migration-stream/results.js';
import { analyzeFiles } from '../support/analyze.js';
import { describeShared, sharedCapture } from '../support/shared.js';

interface QmpEvent {
  readonly event: string;
  readonly data?: { readonly pass?: number };
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

interface Truth {
  readonly final: {
    readonly downtime?: number;
    readonly ram: Record<string, number>;
    readonly compression?: { readonly pages: number };
  };
  readonly src_events: readonly QmpEvent[];
  readonly dst_events: readonly QmpEvent[];
}

const truthOf = (name: string): Truth => JSON.parse(readFileSync(sharedCapture(`${name}/truth.json`), 'utf8'));

/** Times of the source's events of one name, ns since the capture's first frame. */
function eventsNs(events: readonly QmpEvent[], name: string, epochNs: bigint): number[] {
  return events
    .filter(({ event }) => event === name)
    .map(({ timestamp }) =>
      Number(BigInt(timestamp.seconds) * 1_000_000_000n + BigInt(timestamp.microseconds) * 1000n - epochNs),
    );
}

const sum = (pages: Omit<Round['pages'], 'zero'> & { zero: number | null }): number =>
  pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;

/** Name, capture file, rounds on the wire, longest wait of a page in the source's send buffer and queue, ms. */
const RUNS = [
  { name: 'precopy-5.2', rounds: 2, delayMs: 40 },
  { name: 'precopy-7.2', rounds: 2, delayMs: 40 },
  { name: 'vxlan-7.2', rounds: 2, delayMs: 40 },
  { name: 'rwnd-ipv6', rounds: 3, delayMs: 350 },
  { name: 'wan-bbr-loss', rounds: 2, delayMs: 150 },
  { name: 'wan-cubic-tail', rounds: 3, delayMs: 150 },
  { name: 'tls-precopy-twin', rounds: 2, delayMs: 40 },
  { name: 'postcopy-7.2', rounds: 3, delayMs: 60 },
  { name: 'postcopy-10.0', rounds: 3, delayMs: 60 },
  { name: 'multifd-10.0', rounds: 2, delayMs: 40 },
  { name: 'multifd-zstd-11.1', rounds: 3, delayMs: 40 },
];

describeShared('recordings against QEMU', () => {
  describe.each(RUNS)('$name', ({ name, rounds, delayMs }) => {
    const truth = truthOf(name);
    let migration: Migration;
    let epochNs: bigint;
    let codes: string[];

    beforeAll(async () => {
      const { migration: result, capture, anomalies } = await analyzeFiles([sharedCapture(`${name}/src.pcap.gz`)]);
      expect(result.migrations).toHaveLength(1);
      migration = result.migrations[0]!;
      epochNs = capture.epochNs!;
      codes = anomalies.map(({ code }) => code).filter((code) => code.startsWith('stream/'));
    });

    test('pages normal and zero are exactly what QEMU counted', () => {
      const { normal, zero } = migration.pages;
      expect({ normal, zero }).toEqual({ normal: truth.final.ram['normal'], zero: truth.final.ram['duplicate'] });
    });

    test('every byte is decoded, nothing contradicts itself', () => {
      expect(migration.outcome).toBe('completed');
      expect(migration.stream.undecodedBytes).toBe(0);
      expect(migration.stream.decodedBytes).toBe(migration.bytes.total);
      const { ramRecords, deviceState, total } = migration.bytes;
      // What is left: section framing, commands, multifd headers, the description (about 100 KB).
      expect(total - ramRecords - deviceState).toBeGreaterThan(0);
      expect(total - ramRecords - deviceState).toBeLessThan(300_000);
      expect(codes).toEqual([]);
    });

    test('pages of the rounds add up to all pages', () => {
      expect(migration.rounds.reduce((total, { pages }) => total + sum(pages), 0)).toBe(sum(migration.pages));
      expect(migration.pages.distinct! + migration.pages.resent!).toBe(sum(migration.pages));
    });

    test('rounds are those of the bitmap syncs', () => {
      expect(migration.rounds).toHaveLength(rounds);
      // Reference §9.3: the last pending sync and the final one have no bytes between them (up to 11.0).
      const syncs = truth.final.ram['dirty-sync-count']!;
      expect(syncs - rounds).toBeGreaterThanOrEqual(0);
      expect(syncs - rounds).toBeLessThanOrEqual(1);
    });

    test('each round begins at a pass, as far as the send buffer lets see', () => {
      // 11.1 does not announce the first pass.
      const passes = eventsNs(truth.src_events, 'MIGRATION_PASS', epochNs);
      const first = truth.src_events.find(({ event }) => event === 'MIGRATION_PASS')!.data!.pass!;
      for (const { index, startNs } of migration.rounds.slice(first - 1)) {
        const latest = Math.max(...passes.filter((passNs) => passNs <= startNs + 30e6));
        expect([index, startNs - latest <= delayMs * 1e6]).toEqual([index, true]);
      }
    });

    test('downtime is within 30 ms or a quarter of what QEMU says', () => {
      const saidMs = truth.final.downtime!;
      const estimateMs = migration.downtime!.estimateNs / 1e6;
      expect(Math.abs(estimateMs - saidMs)).toBeLessThanOrEqual(Math.max(30, saidMs / 4));
    });

    test('the destination ran on after the guest had stopped', () => {
      const { earliestStartNs, latestStartNs, endNs } = migration.downtime!;
      expect(earliestStartNs).toBeLessThanOrEqual(latestStartNs);
      const [stopNs] = eventsNs(truth.src_events, 'STOP', epochNs);
      expect(latestStartNs).toBeGreaterThanOrEqual(stopNs! - 5e6);
      expect(endNs).toBeGreaterThan(stopNs!);
    });
  });

  test('a migration that never converges: incomplete, a round for every pass', async () => {
    const { migration } = await analyzeFiles([sharedCapture('wan-cubic-loss/src.pcap.gz')]);
    const [only] = migration.migrations;
    expect(only!.outcome).toBe('incomplete');
    expect([11, 12]).toContain(only!.rounds.length);
    expect(only!.downtime).toBeNull();
    // Later rounds do not shrink: that is what not converging looks like.
    const later = only!.rounds.slice(2, -1).map(({ pages }) => sum(pages));
    expect(Math.min(...later)).toBeGreaterThan(0.8 * Math.max(...later));
  });

  test('both ends of a path with loss see the same migration', async () => {
    const seen = await Promise.all(
      ['src', 'dst'].map(async (side) => {
        const { migration } = await analyzeFiles([sharedCapture(`wan-cubic-tail/${side}.pcap.gz`)]);
        const { pages, rounds, devices, bytes, stream } = migration.migrations[0]!;
        return {
          pages,
          rounds: rounds.map((round) => round.pages),
          devices: devices.map(({ name }) => name),
          bytes,
          stream,
        };
      }),
    );
    expect(seen[0]).toEqual(seen[1]);
  });

  test('XBZRLE: records on the wire, and the pages QEMU counts as normal', async () => {
    const truth = truthOf('xbzrle-7.2');
    const { migration } = await analyzeFiles([sharedCapture('xbzrle-7.2/src.pcap.gz')]);
    const [only] = migration.migrations;
    expect(only!.stream.undecodedBytes).toBe(0);
    expect(only!.pages).toMatchObject({ normal: truth.final.ram['normal'], zero: truth.final.ram['duplicate'] });
    // xbzrle-cache.pages also counts pages found unchanged, which send nothing.
    expect(only!.pages.xbzrle).toBeGreaterThan(0);
    expect(only!.stream.features).toContain('xbzrle');
  });

  test('compress: as many pages as QEMU sent; its counters repeat a stale result at every flush', async () => {
    const truth = truthOf('compress-7.2');
    const { migration } = await analyzeFiles([sharedCapture('compress-7.2/src.pcap.gz')]);
    const [only] = migration.migrations;
    expect(only!.stream.undecodedBytes).toBe(0);
    expect(only!.pages.normal).toBe(truth.final.ram['normal']);
    // 7.2 adds each of its two threads' last result again whenever it flushes them: a multiple of two too many.
    const counted = truth.final.ram['duplicate']! + truth.final.compression!.pages;
    const tooMany = counted - only!.pages.zero! - only!.pages.compressed;
    expect(tooMany).toBeGreaterThanOrEqual(0);
    expect(tooMany % 2).toBe(0);
    expect(tooMany).toBeLessThan(40);
  });

  describe.each(['postcopy-7.2', 'postcopy-10.0'])('%s', (name) => {
    test('page requests are those QEMU counted; each is answered, or its page was under way', async () => {
      const { migration } = await analyzeFiles([sharedCapture(`${name}/src.pcap.gz`)]);
      const { postcopy, returnPath } = migration.migrations[0]!;
      expect(postcopy!.requests).toBe(truthOf(name).final.ram['postcopy-requests']);
      expect(returnPath['req-pages']! + returnPath['req-pages-id']!).toBe(postcopy!.requests);
      expect(postcopy!.requestLatencyNs!.samples + postcopy!.pagesUnderway!).toBeLessThanOrEqual(postcopy!.requests);
      expect(postcopy!.requestLatencyNs!.samples + postcopy!.pagesUnderway!).toBeGreaterThan(0.9 * postcopy!.requests);
    });

    test('the guest resumed right after the package was loaded', async () => {
      const { migration, capture } = await analyzeFiles([sharedCapture(`${name}/src.pcap.gz`)]);
      const [resumeNs] = eventsNs(truthOf(name).dst_events, 'RESUME', capture.epochNs!);
      expect(Math.abs(migration.migrations[0]!.downtime!.endNs - resumeNs!)).toBeLessThan(10e6);
    });
  });

  describe.each([
    { name: 'headers-only-precopy-7.2', rounds: 2 },
    { name: 'headers-only-10.0', rounds: 3 },
  ])('$name', ({ name, rounds }) => {
    test('the number of rounds is right, boundaries within a tenth of the whole, said to be estimates', async () => {
      const { migration, capture } = await analyzeFiles([sharedCapture(`${name}/src.pcap.gz`)]);
      const [only] = migration.migrations;
      expect(only!.outcome).toBe('completed');
      expect(only!.stream.features).toContain('rounds-inferred');
      expect(only!.rounds).toHaveLength(rounds);
      const passes = eventsNs(truthOf(name).src_events, 'MIGRATION_PASS', capture.epochNs!);
      const wholeNs = only!.endNs - passes[0]!;
      only!.rounds.forEach(({ startNs, confidence }, i) => {
        expect(Math.abs(startNs - passes[i]!)).toBeLessThan(wholeNs / 10);
        if (i > 0) expect(confidence).toBeLessThan(0.95);
      });
    });
  });
});
