// Real recordings that begin late, end early or were cut to their headers: what they still say of the migration.
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { writePcap } from '../chaos/damage.mjs';
import { readPcap } from '../fuzz/samples.mjs';
import { reportOn } from '../support/analyze.js';

/** What frames [from, to) of a sample say, as shares of all. */
async function part(name: string, from = 0, to = 1): Promise<ReportData> {
  const { linkType, frames } = readPcap(gunzipSync(readFileSync(`samples/${name}.pcap.gz`)));
  const kept = frames.slice(Math.floor(from * frames.length), Math.floor(to * frames.length));
  const file = writePcap({ linkType, frames: kept });
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
