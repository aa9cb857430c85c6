// One field of a migration stream in a real recording tells a lie: pages, rounds, downtime, outcome and retransmissions
// stay as they were, or an anomaly says that something is wrong.
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { MARKS, markedFrame, readPcap, strike } from '../fuzz/samples.mjs';
import { Trouble } from '../fuzz/trouble.mjs';
import { reportOn } from '../support/analyze.js';
import { writePcap } from './damage.mjs';

const SEED = Number(process.env['SEED'] ?? 20_261_124);
const CASES = 60;

/** Fields of a multifd packet that nothing else in the stream vouches for: another value is as possible. */
const UNVOUCHED: readonly (readonly [offset: number, why: string])[] = [
  [16, 'pages of a compressed packet'],
  [20, 'bytes of a compressed packet, where the next header is found again'],
  [32, 'zero pages: their addresses are in the packet whether they count or not'],
  [320, 'address of a page'],
];
const MULTIFD = Buffer.from('11223344', 'hex');
const vouched = MARKS.filter(
  ([pattern, offset]) => !(pattern.equals(MULTIFD) && UNVOUCHED.some(([field]) => field === offset)),
);

const figures = ({ migrations, connections }: ReportData): unknown => ({
  migrations: migrations.map(({ outcome, pages, rounds, downtime }) => ({
    ...{ outcome, downtime: downtime?.estimateNs ?? null, rounds: rounds.length },
    pages: [pages.normal, pages.zero, pages.xbzrle, pages.compressed],
  })),
  retransmissions: connections.map(({ directions }) => directions.map((each) => each.retransmittedSegments)),
});
const anomalies = (report: ReportData): string =>
  report.anomalies
    .map(({ code, count }) => `${code} ${count}`)
    .sort()
    .join();

test.each(['multifd-zlib', 'postcopy', 'xbzrle'])(
  `%s: no figure changes in silence, ${CASES} fields from seed ${SEED} on`,
  async (name) => {
    const { linkType, frames } = readPcap(gunzipSync(readFileSync(`samples/${name}.pcap.gz`)));
    const report = (list: typeof frames): Promise<ReportData> =>
      reportOn('-', { stdin: Readable.from([writePcap({ linkType, frames: list })], { objectMode: false }) });
    const honest = await report(frames);
    let changed = 0;
    for (let seed = SEED; seed < SEED + CASES; seed++) {
      const trouble = new Trouble(seed);
      const [pattern, offset, size] = trouble.pick(vouched);
      const at = markedFrame(frames, pattern, trouble.below(frames.length));
      if (at < 0) continue;
      const bytes = Buffer.from(frames[at]!.bytes);
      if (!strike(trouble, bytes, bytes.indexOf(pattern) + offset, size)) continue;
      const lying = await report(frames.map((each, i) => (i === at ? { ...each, bytes } : each)));
      if (anomalies(lying) !== anomalies(honest)) changed++;
      else expect(figures(lying), `seed ${seed}`).toEqual(figures(honest));
    }
    expect(changed).toBeGreaterThan(5);
  },
  60_000,
);
