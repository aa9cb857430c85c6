// Real recordings that begin late, end early or were cut to their headers: what they still say of the migration.
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { snapped, writePcap } from '../chaos/damage.mjs';
import { readPcap } from '../fuzz/samples.mjs';
import { reportOn } from '../support/analyze.js';

/** What frames [from, to) of a sample say, as shares of all, cut to `snap` bytes; `forward` leaves out what the server sends. */
async function part(name: string, from = 0, to = 1, snap = 65_535, forward = false): Promise<ReportData> {
  const { linkType, frames } = readPcap(gunzipSync(readFileSync(`samples/${name}.pcap.gz`)));
  const kept = frames.slice(Math.floor(from * frames.length), Math.floor(to * frames.length));
  const isForward = ({ bytes }: (typeof frames)[number]): boolean => Buffer.from(bytes).readUInt16BE(34) < 49_152;
  const file = writePcap({ linkType, frames: snapped(snap)(forward ? kept.filter(isForward) : kept) });
  return reportOn('-', { stdin: Readable.from([Buffer.from(file)], { objectMode: false }) });
}

const dirtyRates = ({ migrations }: ReportData): (number | null)[][] =>
  migrations.map(({ rounds }) =>
    rounds.map(({ dirtyPagesPerSecond: rate }) => (rate === null ? null : Math.round(rate))),
  );

test('the dirty rate is not known where the next pass was cut short', async () => {
  const whole = [285, 473, 434, 973, 611, null];
  expect(dirtyRates(await part('cancel-retry'))).toEqual([[null, null], whole]);
  expect(dirtyRates(await part('postcopy'))).toEqual([[null, null, null]]);
  expect(dirtyRates(await part('precopy'))).toEqual([[1904, 2890, 2545, 1511, null]]);
  expect(dirtyRates(await part('precopy', 0, 0.95))).toEqual([[1904, 2890, 2545, null, null]]);
});

test.each([
  ['multifd', 0.3],
  ['multifd', 0.5],
  ['multifd', 0.7],
  ['two-vms', 0.5],
  ['precopy', 0.5],
] as const)('%s ends after %d: what was announced and never came is in no round either', async (name, to) => {
  for (const { bytes, rounds } of (await part(name, 0, to)).migrations) {
    expect(rounds.reduce((sum, round) => sum + round.bytes, 0)).toBe(bytes.ramRecords);
  }
});

describe('begun midway and cut to the packet headers', () => {
  const midway = [0.1, 0.3, 0.5, 0.7, 0.9];
  const kindsIn = ({ connections }: ReportData): string[] => connections.map(({ channel }) => channel.kind).sort();
  const codesIn = ({ anomalies }: ReportData): string[] => anomalies.map(({ code }) => code);

  test.each([
    ['multifd', 4],
    ['multifd-zlib-7.2', 2],
    ['multifd-5.2', 2],
  ])('%s: channels that show nothing are told by where they go, and it is said', async (name, count) => {
    for (const from of midway) {
      const report = await part(name, from, 1, 96);
      const [{ bytes, outcome, pages, rounds, stream }, ...others] = report.migrations as [
        (typeof report.migrations)[0],
      ];
      expect(others).toEqual([]);
      expect(outcome).toBe('completed');
      expect(kindsIn(report)).toEqual(['main', ...Array<string>(count).fill('multifd')]);
      const presumed = report.connections.filter(({ channel }) => channel.confidence === 0.8);
      const sent = presumed
        .flatMap(({ directions }) => directions)
        .reduce((sum, { uniqueBytes }) => sum + uniqueBytes, 0);
      expect(presumed).toHaveLength(count);
      expect(bytes.multifd).toBe(sent);
      expect(bytes.total).toBe(sent + bytes.main);
      expect(stream.undecodedBytes).toBeGreaterThanOrEqual(sent);
      // As if all were full pages; which ones is not to be seen.
      expect(pages).toMatchObject({ zero: null, distinct: null, resent: null });
      expect(pages.normal).toBeCloseTo(sent / 4104, -1);
      expect(rounds[0]).toMatchObject({ boundary: 'joined-midway', confidence: 0.5 });
      expect(stream.features).toContain('channel-roles-inferred');
      expect(codesIn(report).filter((code) => code === 'stream/mid-stream')).toHaveLength(1 + count);
      expect(codesIn(report)).not.toContain('stream/channel-missing');
    }
  });

  test('two guests to two ports keep their own', async () => {
    const { migrations, connections } = await part('two-vms', 0.3, 1, 96);
    const ports = connections.map(({ channel, client, server }) => [
      channel.migration,
      Math.min(client.port, server.port),
      Math.max(client.port, server.port),
    ]);
    for (const [migration, ...pair] of ports) expect(pair).toContain(migrations[migration!]!.port);
  });

  test('the channel of urgent pages is none of multifd’s', async () => {
    for (const from of midway) expect(kindsIn(await part('postcopy-preempt', from, 1, 96))).not.toContain('multifd');
  });

  test('one channel: pages are estimated from all bytes, not from those behind the first that was found', async () => {
    for (const from of midway.slice(0, 4)) {
      const { migrations } = await part('precopy', from, 1, 96);
      const [{ bytes, pages, rounds, outcome }] = migrations as [(typeof migrations)[0]];
      expect(outcome).toBe('completed');
      // The rest is device state and its description.
      expect(pages.normal * 4104).toBeGreaterThan(0.9 * bytes.total);
      expect(pages.normal * 4104).toBeLessThan(bytes.total);
      expect(rounds[0]).toMatchObject({ boundary: 'joined-midway', confidence: 0.5 });
    }
  });
});

describe('begun midway', () => {
  test('the destination may speak first', async () => {
    const [migration] = (await part('multifd', 0.1)).migrations;
    expect(migration!.returnPath).toEqual({ pong: 1, shut: 1 });
    expect(migration!.downtime!.method).toContain('SHUT on the return path');
  });

  test('page requests behind which a frame was cut are answers all the same', async () => {
    const [migration] = (await part('postcopy-11.1', 0.7, 1, 96)).migrations;
    expect(migration).toMatchObject({ outcome: 'completed', returnPath: { shut: 1 } });
    expect(migration!.postcopy!.requests).toBeGreaterThan(10);
  });

  test('what other channels show is not taken for the end of the main one', async () => {
    for (const snap of [96, 128]) {
      const [migration] = (await part('multifd', 0.1, 1, snap, true)).migrations;
      expect(migration!.outcome).toBe('completed');
    }
  });
});

describe('the downtime of multifd', () => {
  const downtimes = async (...of: Parameters<typeof part>) =>
    (await part(...of)).migrations.map(({ downtime }) => downtime!);

  test('is corrected for what waited before the capture as if all of it were there', async () => {
    for (const [name, qemuMs] of [
      ['multifd', 47],
      ['two-vms', 44],
    ] as const) {
      const whole = (await downtimes(name)).at(-1)!;
      expect(Math.abs(whole.estimateNs / 1e6 - qemuMs)).toBeLessThan(15);
      for (const from of [0.1, 0.9]) {
        for (const snap of [128, 65_535]) {
          const { estimateNs, method } = (await downtimes(name, from, 1, snap)).at(-1)!;
          expect(Math.abs(estimateNs - whole.estimateNs)).toBeLessThan(10e6);
          expect(method).toContain('before it was captured');
        }
      }
    }
  });

  test('where the last section was not seen to end, is uncertain and may have begun at any time', async () => {
    const [downtime] = await downtimes('multifd-5.2', 0.9);
    expect(downtime!.confidence).toBeLessThan(0.6);
    expect(downtime!.method).toContain('uncertain, for the last memory section before it was not seen to end');
    expect((downtime!.endNs - downtime!.earliestStartNs) / 1e6).toBeGreaterThan(47); // as QEMU says
  });
});

test('a downtime is uncertain where the capture began shortly before it, or ends within', async () => {
  const uncertain = { confidence: expect.toSatisfy((confidence: number) => confidence < 0.6) as number };
  expect((await part('q35-devices', 0.9)).migrations[0]!.downtime).toMatchObject({
    ...uncertain,
    method: expect.stringContaining('uncertain, for the capture began shortly before') as string,
  });
  expect((await part('receiver-window', 0, 0.9)).migrations[0]!.downtime).toMatchObject({
    ...uncertain,
    method: expect.stringContaining('uncertain, for the capture ends before the stream does') as string,
  });
});

test('who closed first is known also where the destination was seen first', async () => {
  const { migrations } = await part('cancel-retry', 0.01);
  expect(migrations.map(({ outcome }) => outcome)).toEqual(['cancelled', 'completed']);
});
