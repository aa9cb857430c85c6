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

interface Truth {
  readonly final: {
    readonly status: string;
    readonly downtime: number;
    readonly ram: { readonly normal: number; readonly duplicate: number; readonly 'dirty-sync-count': number };
  };
}

const truthOf = (name: string): Truth => JSON.parse(readFileSync(`samples/${name}.truth.json`, 'utf8')) as Truth;

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

  test('agrees with QEMU', async () => {
    const { final } = truthOf(name);
    const [migration, ...others] = (await report).migrations;
    expect(others).toEqual([]);
    expect(migration?.outcome).toBe(final.status);
    if (name === 'headers-only') return; // page records lie beyond the cut: rounds are estimates
    if (migration?.encryption === 'tls') {
      expect(migration.pages).toMatchObject({ normal: final.ram.normal, zero: null }); // they hide in packet headers
    } else {
      expect(migration?.stream.undecodedBytes).toBe(0);
      expect(migration?.pages).toMatchObject({ normal: final.ram.normal, zero: final.ram.duplicate });
    }
    const syncs = final.ram['dirty-sync-count'];
    expect([syncs - 1, syncs]).toContain(migration?.rounds.length);
  });
});
