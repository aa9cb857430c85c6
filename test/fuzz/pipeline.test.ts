// Whole captures with lies in them, through the whole program: it ends in time, keeps within its memory, and what it
// reports can be true. Longer, with coverage feedback: npm run fuzz.
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Analysis } from '../../src/analyze.js';
import { AnomalyLog } from '../../src/anomaly.js';
import { openStream } from '../../src/capture/source.js';
import { judge } from '../../src/cli/deliver.js';
import { InputError } from '../../src/errors.js';
import { reportFrom } from '../../src/report/from-results.js';
import { renderHtml } from '../../src/report/html.js';
import { redact } from '../../src/report/redact.js';
import { arrowFiles, csvFiles } from '../../src/report/tables.js';
import { renderText } from '../../src/report/text.js';
import { makeCase, runCase } from './cases.mjs';
import { loadSamples } from './samples.mjs';

const SEED = Number(process.env['SEED'] ?? 20_261_122);
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 15);
/** A case of at most 4 MB; machines under load are ten times slower than the usual 50 ms. */
const CASE_MS = 10_000;
const RSS_BYTES = 1 << 30; // the test runner and its transformed modules included

const program = {
  Analysis,
  AnomalyLog,
  openStream,
  judge,
  InputError,
  reportFrom,
  renderHtml,
  redact,
  arrowFiles,
  csvFiles,
  renderText,
};

test(
  `captures from seed ${SEED} on, ${SECONDS} s`,
  async () => {
    // The two smallest recordings and a long one with every kind of TCP trouble.
    const names = ['headers-only', 'multifd-zlib', 'wan-loss'].map((name) => `${name}.pcap.gz`);
    const samples = loadSamples(readdirSync('samples').flatMap((n) => (names.includes(n) ? [`samples/${n}`] : [])));
    expect(samples).toHaveLength(3);
    const until = performance.now() + SECONDS * 1000;
    let analysed = 0;
    for (let seed = SEED; performance.now() < until; seed++) {
      const { kind, bytes } = makeCase(seed, samples);
      const start = performance.now();
      try {
        if ((await runCase(bytes, program, { page: seed % 8 === 0 })) === 'analysed') analysed++;
      } catch (error) {
        throw new Error(`SEED=${seed} (${kind}, ${bytes.length} bytes)`, { cause: error });
      }
      const ms = performance.now() - start;
      if (ms > CASE_MS) throw new Error(`SEED=${seed} (${kind}, ${bytes.length} bytes) took ${Math.round(ms)} ms`);
    }
    expect(analysed).toBeGreaterThan(SECONDS);
    expect(process.memoryUsage.rss()).toBeLessThan(RSS_BYTES);
  },
  SECONDS * 1000 + 60_000,
);
