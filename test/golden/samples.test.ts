// Every bundled sample against two witnesses: the figures we hold to be right (NAME.expected.json, small and readable),
// and what QEMU and the kernel said of the same run (NAME.truth.json).
//
// UPDATE_EXPECTED=1 writes the expected files anew; a commit that does so says why the new figures are right.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { reportOn } from '../support/analyze.js';

const names = readdirSync('samples')
  .filter((file) => file.endsWith('.pcap.gz'))
  .map((file) => file.replace('.pcap.gz', ''));

/** What QEMU said of one migration; times are seconds. A try that was cancelled keeps no counters to its end. */
interface Account {
  readonly endedAt: number;
  readonly final: { readonly status: string; readonly downtime?: number; readonly ram?: Counters };
  readonly samples: readonly { readonly t: number; readonly ram?: Counters }[];
  readonly events: Record<'source' | 'destination', readonly { t: number; event: string; pass?: number }[]>;
}

interface Counters {
  readonly normal: number;
  readonly duplicate: number;
  readonly 'dirty-sync-count': number;
  readonly 'postcopy-requests': number;
}

interface Truth extends Account {
  readonly versions: { readonly qemu: string };
  /** Of record.mjs: rate in Mbit/s, wmem in bytes. */
  readonly options: { readonly capability: readonly string[]; readonly rate: string; readonly wmem?: string };
  /** The try after a cancelled one, or the guest that left at the same time. */
  readonly second?: Account;
}

const truthOf = (name: string): Truth => JSON.parse(readFileSync(`samples/${name}.truth.json`, 'utf8')) as Truth;

/** The guest stood still, ms: STOP at the source to RESUME at the destination. */
function pauseMs({ events }: Account): number {
  const [stop, resume] = [
    events.source.find(({ event }) => event === 'STOP'),
    events.destination.find(({ event }) => event === 'RESUME'),
  ];
  return (resume!.t - stop!.t) * 1000;
}

/** Before a cancelled try ended, what had been counted this long before was on the wire: the send buffers of these samples are small. */
const BUFFERED_SECONDS = 0.2;

/** Bytes; QEMU migration/qemu-file.c, IO_BUF_SIZE. */
const QEMU_FILE_BUFFER = 32_768;

/** What a reader would check by hand. */
function digest(report: ReportData): unknown {
  const { capture, migrations, connections, findings, anomalies } = report;
  return {
    capture: { frames: capture.frames, wireBytes: capture.wireBytes, vantage: capture.vantage },
    migrations: migrations.map((migration) => ({
      outcome: migration.outcome,
      stream: migration.stream,
      ramBlocks: migration.ramBlocks,
      pages: migration.pages,
      bytes: migration.bytes,
      rounds: migration.rounds.map((round) => ({
        pages: round.pages,
        bytes: round.bytes,
        ms: Math.round((round.endNs - round.startNs) / 1e6),
        boundary: round.boundary,
      })),
      phases: migration.phases.map((phase) => phase.kind),
      downtimeMs: migration.downtime && Math.round(migration.downtime.estimateNs / 1e6),
      devices: migration.devices.length,
      returnPath: migration.returnPath,
    })),
    connections: connections.map(({ channel, vantage, endedBy, directions }) => ({
      channel: channel.kind,
      vantage,
      endedBy,
      directions: directions.map((direction) => ({
        uniqueBytes: direction.uniqueBytes,
        unseenBytes: direction.unseenBytes,
        retransmittedSegments: direction.retransmittedSegments,
        outOfOrderSegments: direction.outOfOrderSegments,
      })),
    })),
    findings: findings.map((finding) => finding.rule),
    anomalies: anomalies.map((anomaly) => anomaly.code),
  };
}

describe.each(names)('sample %s', (name) => {
  const report = reportOn(`samples/${name}.pcap.gz`);

  test('gives the expected figures', async () => {
    const path = `samples/${name}.expected.json`;
    const found = digest(await report);
    if (process.env['UPDATE_EXPECTED']) writeFileSync(path, `${JSON.stringify(found, null, 1)}\n`);
    expect(existsSync(path), `${path} is missing`).toBe(true);
    expect(found).toEqual(JSON.parse(readFileSync(path, 'utf8')));
  });

  const truth = truthOf(name);
  const { versions, options, second } = truth;
  const accounts = second ? [truth, second] : [truth];
  const major = Number.parseInt(versions.qemu, 10);
  const uses = (capability: string): boolean => options.capability.includes(capability);

  test('ends as QEMU says, each try and each guest of its own', async () => {
    const { migrations } = await report;
    expect(migrations.map(({ outcome }) => outcome)).toEqual(accounts.map(({ final }) => final.status));
  });

  if (name === 'headers-only') return; // page records lie beyond the cut: rounds are estimates

  describe.each(accounts.map((account, i) => ({ i, account, ram: account.final.ram })))('migration $i', (each) => {
    const { i, account, ram } = each;
    const migration = report.then(({ migrations }) => migrations[i]!);

    if (ram)
      test('carries the pages QEMU counted', async () => {
        const { encryption, stream, pages } = await migration;
        // Up to 7.2 the last page of a multifd packet may travel twice.
        const most = Math.floor(ram!.normal * (uses('multifd') && major < 8 ? 1.01 : 1));
        expect(pages.normal).toBeGreaterThanOrEqual(ram!.normal);
        expect(pages.normal).toBeLessThanOrEqual(most);
        const isSealed = encryption === 'tls'; // zero pages hide in packet headers
        expect(pages.zero).toBe(isSealed ? null : ram!.duplicate);
        if (!isSealed) expect(stream.undecodedBytes).toBe(0);
      });

    if (ram && uses('postcopy-ram'))
      test('asks for the pages QEMU was asked for', async () => {
        expect((await migration).postcopy?.requests).toBe(ram!['postcopy-requests']);
      });

    if (ram && !(major >= 11 && uses('postcopy-ram')))
      test('has the rounds QEMU counted', async () => {
        // The last sync has no pages when the one before it left none; 11.x counts sections where post-copy is allowed.
        const syncs = ram!['dirty-sync-count'];
        expect([syncs - 1, syncs]).toContain((await migration).rounds.length);
      });

    if (ram)
      test('stops the guest as long as QEMU says, within 30 ms or a quarter and the send buffer', async () => {
        // With post-copy QEMU's own figure ends before the destination has anything. What waits to be sent when the guest stops
        // reaches the wire later: where the send buffer was made small, it and QEMU's own bound how much later.
        const saidMs = uses('postcopy-ram') ? pauseMs(account) : account.final.downtime!;
        const estimateMs = (await migration).downtime!.estimateNs / 1e6;
        const waitingBytes = options.wmem ? Number(options.wmem) + QEMU_FILE_BUFFER : 0;
        const waitingMs = (waitingBytes * 8) / Number(options.rate) / 1000;
        expect(Math.abs(estimateMs - saidMs)).toBeLessThanOrEqual(Math.max(30, saidMs / 4, waitingMs));
      });

    if (!ram)
      test('carries what QEMU had counted shortly before it was cancelled', async () => {
        const { endedAt, samples, events } = account;
        const earlier = samples.findLast(({ t, ram: counted }) => counted && t < endedAt - BUFFERED_SECONDS)!;
        const { pages, stream, rounds, downtime } = await migration;
        expect(pages.normal).toBeGreaterThanOrEqual(earlier.ram!.normal);
        expect(pages.zero).toBeGreaterThanOrEqual(earlier.ram!.duplicate);
        const passes = events.source.filter(({ event }) => event === 'MIGRATION_PASS').length;
        expect([passes - 1, passes]).toContain(rounds.length);
        expect([stream.undecodedBytes, downtime]).toEqual([0, null]);
      });
  });
});
