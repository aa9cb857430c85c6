// Real recordings come to harm: the result changes only as the harm explains, and the anomalies say so. All figures:
// docs/chaos.md (node test/chaos/table.mjs).
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { readPcap } from '../fuzz/samples.mjs';
import { reportOn } from '../support/analyze.js';
import { random } from '../support/random.js';
import {
  clockStep,
  doubled,
  dropped,
  droppedBlock,
  flipped,
  jittered,
  snapped,
  swapped,
  writePcap,
} from './damage.mjs';

const reportFor = (file: Uint8Array): Promise<ReportData> =>
  reportOn('-', { stdin: Readable.from([Buffer.from(file)], { objectMode: false }) });

/** What is true of the migration and its connections whatever the clock of the capture does. */
const timeless = ({ migrations, connections }: ReportData): unknown => ({
  migrations: migrations.map(({ outcome, pages, bytes, stream, ramBlocks, returnPath, rounds }) => ({
    ...{ outcome, pages, bytes, stream, ramBlocks, returnPath },
    rounds: rounds.map((round) => ({ pages: round.pages, bytes: round.bytes, boundary: round.boundary })),
  })),
  connections: connections.map(({ endedBy, directions }) => ({
    endedBy,
    bytes: directions.map(({ uniqueBytes, unseenBytes }) => ({ uniqueBytes, unseenBytes })),
  })),
});

const codes = (report: ReportData): string[] => [...new Set(report.anomalies.map(({ code }) => code))];
const total = (report: ReportData, key: 'unseenBytes' | 'uniqueBytes' | 'captureDuplicates'): number =>
  report.connections.reduce((sum, { directions: [a, b] }) => sum + a[key] + b[key], 0);

describe.each(['precopy', 'wan-loss', 'multifd-zlib'])('%s', (name) => {
  const original = readPcap(gunzipSync(readFileSync(`samples/${name}.pcap.gz`)));
  const { frames, linkType } = original;
  const file = writePcap(original);
  const whole = reportFor(file);
  const harmed = (harm: (each: typeof frames) => typeof frames): Promise<ReportData> =>
    reportFor(writePcap({ linkType, frames: harm(frames) }));

  test('unharmed, it says nothing of damage', async () => {
    expect((await whole).anomalies).toEqual([]);
  });

  test('every frame doubled: the same result, and the duplicates are counted', async () => {
    const report = await harmed(doubled);
    expect(timeless(report)).toEqual(timeless(await whole));
    expect(codes(report)).toEqual(['tcp/captured-twice']);
    const tcpFrames = report.connections.flatMap((c) => c.directions).reduce((sum, d) => sum + d.frames, 0);
    expect(total(report, 'captureDuplicates')).toBeGreaterThan(0.95 * (tcpFrames / 2));
  });

  test('neighbours swapped: the same bytes and pages', async () => {
    expect(timeless(await harmed(swapped(10)))).toEqual(timeless(await whole));
  });

  test('time stamps step back: the same bytes and pages, and it is said', async () => {
    for (const harm of [jittered, clockStep(-5)]) {
      const report = await harmed(harm);
      expect(timeless(report)).toEqual(timeless(await whole));
      expect(codes(report)).toEqual(['capture/time-backwards']);
    }
  });

  test('the clock steps on by an hour: the same bytes and pages, an hour longer', async () => {
    const report = await harmed(clockStep(3600));
    expect(timeless(report)).toEqual(timeless(await whole));
    expect(report.capture.durationNs - (await whole).capture.durationNs).toBeCloseTo(3600e9, -4);
  });

  test('bits flipped inside payloads: not a byte more or less', async () => {
    const report = await harmed(flipped(50));
    expect(total(report, 'uniqueBytes')).toBe(total(await whole, 'uniqueBytes'));
    expect(codes(report).every((code) => code.startsWith('stream/'))).toBe(true);
  });

  test.each([
    ['1 %', dropped(0.01)],
    ['5 %', dropped(0.05)],
    ['60 in a row', droppedBlock(60)],
  ] as const)('frames lost by the capture, %s: what is missing is missing, and named', async (_, harm) => {
    const report = await harmed(harm);
    const before = await whole;
    expect(report.migrations).toHaveLength(1);
    // Nothing is invented: seen and unseen bytes together are no more than there were.
    expect(total(report, 'uniqueBytes')).toBeLessThan(total(before, 'uniqueBytes'));
    expect(total(report, 'unseenBytes')).toBeGreaterThan(0);
    expect(total(report, 'uniqueBytes') + total(report, 'unseenBytes')).toBeLessThanOrEqual(
      total(before, 'uniqueBytes'),
    );
    const [pages, pagesBefore] = [report.migrations[0]!.pages, before.migrations[0]!.pages];
    expect(pages.normal).toBeLessThanOrEqual(pagesBefore.normal);
    expect(pages.compressed).toBeLessThanOrEqual(pagesBefore.compressed);
    // The send buffer is measured by sections: where they are hidden the estimate may be another, and says so.
    const [downtime, downtimeBefore] = [report.migrations[0]!.downtime, before.migrations[0]!.downtime!];
    const far = Math.max(30e6, 0.25 * downtimeBefore.estimateNs);
    if (downtime && Math.abs(downtime.estimateNs - downtimeBefore.estimateNs) > far)
      expect(downtime.method).toContain('uncertain');
    expect(codes(report)).toEqual(expect.arrayContaining(['tcp/acked-unseen', 'stream/hole']));
  });

  test.each([54, 64, 96, 128])(
    'snapped to %i: TCP figures stay, pages are not invented, and it is said',
    async (snap) => {
      const report = await harmed(snapped(snap));
      const before = await whole;
      expect(total(report, 'uniqueBytes')).toBe(total(before, 'uniqueBytes'));
      expect(total(report, 'unseenBytes')).toBe(0);
      expect(codes(report)).toContain('capture/frames-cut');
      const normal = report.migrations[0]?.pages.normal ?? 0;
      // A headers-only estimate may be a little off either way; see migration-stream/sightings.ts.
      expect(normal).toBeLessThanOrEqual(1.1 * before.migrations[0]!.pages.normal);
      if (report.migrations[0]) expect(report.migrations[0].stream.undecodedBytes).toBeGreaterThan(0);
    },
  );

  test('cut anywhere: all before the cut counts, and nothing else', async () => {
    const before = await whole;
    const ends = [24];
    for (let at = 24; at < file.length; ) ends.push((at += 16 + file.readUInt32LE(at + 8)));
    const source = random(4096);
    const cuts = Array.from({ length: 12 }, () => 4096 * source.below(Math.floor(file.length / 4096)));
    let last = { cut: 0, unique: 0, normal: 0 };
    for (const cut of cuts.filter((each) => each > ends[1]!).sort((a, b) => a - b)) {
      const report = await reportFor(file.subarray(0, cut));
      const inside = ends.filter((end) => end <= cut).length - 1;
      expect(report.capture.frames, `cut at ${cut}`).toBe(inside);
      expect(codes(report).includes('capture/record-truncated'), `cut at ${cut}`).toBe(!ends.includes(cut));
      const unique = total(report, 'uniqueBytes');
      const normal = report.migrations[0]?.pages.normal ?? 0;
      expect(unique, `cut at ${cut}`).toBeGreaterThanOrEqual(last.unique);
      expect(normal, `cut at ${cut}`).toBeGreaterThanOrEqual(last.normal);
      expect(normal, `cut at ${cut}`).toBeLessThanOrEqual(before.migrations[0]!.pages.normal);
      const ended = before.migrations[0]!.endNs;
      if (report.capture.durationNs < 0.8 * ended)
        expect(report.migrations[0]?.outcome ?? 'incomplete').toBe('incomplete');
      last = { cut, unique, normal };
    }
  });

  test('byte order, time unit and packing of the file make no difference', async () => {
    const {
      capture: { inputs: _, ...capture },
      ...rest
    } = await whole;
    for (const form of [{ big: true }, { nano: true }, { big: true, nano: true }]) {
      const {
        capture: { inputs: __, ...other },
        ...same
      } = await reportFor(gzipSync(writePcap(original, form), { level: 1 }));
      expect({ ...same, capture: other }).toEqual({ ...rest, capture });
    }
  });
});
