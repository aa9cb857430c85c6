// Prints the chaos table of docs/robustness.md: node test/chaos/table.mjs [--dist FOLDER] [samples…]
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { loadProgram } from '../fuzz/program.mjs';
import { readPcap } from '../fuzz/samples.mjs';
import { DAMAGES, writePcap } from './damage.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { dist: { type: 'string', default: fileURLToPath(new URL('../../dist', import.meta.url)) } },
});
const program = await loadProgram(pathToFileURL(options.dist).href);

async function reportOn(file) {
  const log = new program.AnomalyLog();
  const source = await program.openStream('-', Readable.from([file], { objectMode: false }), log);
  const analysis = new program.Analysis(log, {});
  for await (const batch of source.batches()) analysis.push(batch);
  source.close();
  return program.judge(program.reportFrom(analysis.finish(source.info), '0'), {});
}

const sum = (report, key) =>
  report.connections.reduce((total, { directions }) => total + directions[0][key] + directions[1][key], 0);

/** Codes with their counts, all directions together. */
function anomaliesOf({ anomalies }) {
  const counts = new Map();
  for (const { code, count } of anomalies) counts.set(code, (counts.get(code) ?? 0) + count);
  return [...counts].map(([code, count]) => `${code} ${count}`).join(', ');
}

for (const name of positionals.length ? positionals : ['precopy', 'wan-loss', 'multifd']) {
  const path = new URL(`../../samples/${name}.pcap.gz`, import.meta.url);
  const original = readPcap(gunzipSync(readFileSync(path)));
  console.log(
    `\n| ${name} | frames | outcome | pages | rounds | downtime ms | unseen B | retr. | dup. | undecoded B | anomalies |`,
  );
  console.log(`|${'---|'.repeat(11)}`);
  for (const [damage, apply] of Object.entries(DAMAGES)) {
    const report = await reportOn(writePcap({ ...original, frames: apply(original.frames) }));
    const [m] = report.migrations;
    const cells = [
      damage,
      report.capture.frames,
      m ? m.outcome : 'no migration',
      m ? `${m.pages.normal} + ${m.pages.zero ?? '?'}` : '–',
      m ? m.rounds.length : '–',
      m?.downtime ? (m.downtime.estimateNs / 1e6).toFixed(1) : '–',
      sum(report, 'unseenBytes'),
      sum(report, 'retransmittedSegments'),
      sum(report, 'captureDuplicates'),
      m ? m.stream.undecodedBytes : '–',
      anomaliesOf(report) || 'none',
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
