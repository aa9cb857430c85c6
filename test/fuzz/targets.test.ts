// The targets of coverage-guided fuzzing keep working: each takes its own corpus and a few hundred changed copies of it.
// With FUZZ_CORPUS=FOLDER the corpus is written there, for jazzer.mjs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { Analysis } from '../../src/analyze.js';
import { AnomalyLog } from '../../src/anomaly.js';
import { createBatch } from '../../src/capture/packet-batch.js';
import { openStream } from '../../src/capture/source.js';
import { judge } from '../../src/cli/deliver.js';
import { StreamFeed } from '../../src/decode/stream-feed.js';
import { InputError } from '../../src/errors.js';
import { describedDevices } from '../../src/migration-stream/description.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { compareReports, renderCompareText } from '../../src/report/compare.js';
import { reportFrom } from '../../src/report/from-results.js';
import { renderHtml } from '../../src/report/html.js';
import { redact } from '../../src/report/redact.js';
import { checkSaved } from '../../src/report/saved.js';
import { renderText } from '../../src/report/text.js';
import { reportOn } from '../support/analyze.js';
import { mutated, random } from '../support/random.js';
import { corpus } from './corpus.js';
import { runTarget, TARGET_NAMES } from './targets.mjs';

const SEED = Number(process.env['SEED'] ?? 20_261_126);
const COPIES = 150;
const FOLDER = process.env['FUZZ_CORPUS'];

const program = {
  ...{
    Analysis,
    AnomalyLog,
    createBatch,
    openStream,
    judge,
    InputError,
    describedDevices,
    StreamFeed,
    MigrationStreams,
  },
  ...{ compareReports, renderCompareText, reportFrom, renderHtml, redact, checkSaved, renderText },
};

test('every target has a corpus', () => {
  expect(Object.keys(corpus).sort()).toEqual([...TARGET_NAMES].sort());
});

test.each(TARGET_NAMES)(
  `%s, seed ${SEED}`,
  async (name) => {
    const seeds = corpus[name]!;
    if (FOLDER) {
      mkdirSync(join(FOLDER, name), { recursive: true });
      for (const [i, seed] of seeds.entries()) writeFileSync(join(FOLDER, name, `seed-${i}`), seed);
    }
    const reports = name === 'saved' ? [await reportOn('samples/multifd-zlib.pcap.gz')] : [];
    const source = random(SEED);
    const packed = name === 'reader' ? seeds.map((seed) => new Uint8Array(gzipSync(seed))) : [];
    const inputs = [
      ...seeds,
      ...Array.from({ length: COPIES }, () => mutated(source.pick([...seeds, ...packed]), source)),
    ];
    for (const [i, bytes] of inputs.entries()) {
      try {
        await runTarget(name, bytes, program, { reports, page: i === 0 });
      } catch (error) {
        throw new Error(`input ${i}: ${Buffer.from(bytes).toString('base64').slice(0, 4000)}`, { cause: error });
      }
    }
  },
  60_000,
);
