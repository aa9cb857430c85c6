// Prints docs/chaos.md: node test/chaos/table.mjs [--dist FOLDER] [samples…], and behind it the same with --cuts.
//
// Every kind of harm (damage.mjs) is done to every sample. What changed is compared with what the harm may change; figures
// that changed beyond that, or without an anomaly beside them, stand in the last column. With --cuts the files are cut
// at every 4 KiB instead, which takes half an hour. Exit code 1 where the last column is not empty.
import { readdirSync, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { checkReport } from '../fuzz/checks.mjs';
import { loadProgram } from '../fuzz/program.mjs';
import { readPcap } from '../fuzz/samples.mjs';
import { DAMAGES, writePcap } from './damage.mjs';

const root = new URL('../../', import.meta.url);
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dist: { type: 'string', default: fileURLToPath(new URL('dist', root)) },
    cuts: { type: 'boolean', default: false },
  },
});
const program = await loadProgram(pathToFileURL(options.dist).href);
const CUT_BYTES = 4096;
/** As far as the downtime may move while its interval still holds what it was: the accuracy promised for it. */
const DOWNTIME_SHARE = 0.25;
const DOWNTIME_MS = 30;
const UNCERTAIN = ' (said to be uncertain)';

async function reportOn(file) {
  const log = new program.AnomalyLog();
  const source = await program.openStream('-', Readable.from([file], { objectMode: false }), log);
  const analysis = new program.Analysis(log, {});
  for await (const batch of source.batches()) analysis.push(batch);
  source.close();
  const report = program.reportFrom(analysis.finish(source.info), '0');
  checkReport(report);
  return report;
}

const ms = (ns) => ns / 1e6;
const sum = (report, key) =>
  report.connections.reduce((total, { directions }) => total + directions[0][key] + directions[1][key], 0);

/** What is compared, in the words of the table. */
function figuresOf(report) {
  const [migration, ...others] = report.migrations;
  const kinds = migration && ['normal', 'zero', 'xbzrle', 'compressed'].map((kind) => migration.pages[kind] ?? '?');
  return {
    outcome: migration ? [migration.outcome, ...others.map(({ outcome }) => outcome)].join(', ') : 'no migration',
    pages: kinds ? kinds.join(' + ') : '–',
    rounds: migration ? migration.rounds.length : '–',
    downtime: migration?.downtime
      ? `${ms(migration.downtime.estimateNs).toFixed(1)}${migration.downtime.method.includes('uncertain') ? UNCERTAIN : ''}`
      : '–',
    bytes: sum(report, 'uniqueBytes'),
    unseen: sum(report, 'unseenBytes'),
    undecoded: migration ? migration.stream.undecodedBytes : '–',
    retransmitted: sum(report, 'retransmittedSegments'),
    duplicates: sum(report, 'captureDuplicates') + sum(report, 'networkDuplicates'),
    time: ms(report.capture.durationNs).toFixed(3),
  };
}

/** Codes with their counts, all directions together. */
function anomaliesOf({ anomalies }) {
  const counts = new Map();
  for (const { code, count } of anomalies) counts.set(code, (counts.get(code) ?? 0) + count);
  return counts;
}

/** What the harm does not explain; empty where all is as it must be. */
function unexplained(whole, harmed, { may, says, quiet = false }) {
  const [before, after] = [figuresOf(whole), figuresOf(harmed)];
  const codes = [...anomaliesOf(harmed).keys()];
  const bare = (figure) => String(figure).replace(UNCERTAIN, '');
  const changed = Object.keys(before).filter((key) => key !== 'unseen' && bare(before[key]) !== bare(after[key]));
  const odd = changed.filter((key) => !may.includes(key)).map((key) => `${key} changed`);
  const told = changed.filter((key) => !['time', 'duplicates', 'downtime'].includes(key));
  if (told.length > 0 && codes.length === 0 && !quiet) odd.push(`${told.join(', ')}: nothing said`);
  // Lost answers leave no trace.
  if (says && changed.length > 0 && !codes.some((code) => says.test(code))) odd.push(`${says.source} is not said`);
  if (after.bytes + after.unseen > before.bytes) odd.push('more bytes than there were');
  const [was, is] = [whole, harmed].map(({ migrations }) => migrations[0]?.downtime ?? null);
  if (was && is) {
    const moved = Math.abs(is.estimateNs - was.estimateNs);
    const near = Math.max(DOWNTIME_MS * 1e6, DOWNTIME_SHARE * was.estimateNs);
    const [least, most] = [is.endNs - is.latestStartNs, is.endNs - is.earliestStartNs];
    const holds = was.estimateNs >= least - 1e6 && was.estimateNs <= most + 1e6;
    // Where time steps back no time means much; else the interval must hold what it was, and the method say so.
    const said = codes.includes('capture/time-backwards') || (holds && is.method.includes('uncertain'));
    if (moved > near && !said) odd.push(`downtime moved${holds ? ', inside its interval' : ''}`);
  }
  return odd;
}

function printDamages(whole, capture) {
  console.log('| harm | frames | what changed | anomalies | not explained |\n|---|---|---|---|---|');
  return Object.entries(DAMAGES).reduce(async (before, [name, damage]) => {
    const odd = await before;
    const harmed = await reportOn(damage.make(capture));
    const [a, b] = [figuresOf(whole), figuresOf(harmed)];
    const changed = Object.keys(a).flatMap((key) => (a[key] === b[key] ? [] : [`${key} ${a[key]} → ${b[key]}`]));
    const said = [...anomaliesOf(harmed)].map(([code, count]) => `${code} ${count}`);
    const found = unexplained(whole, harmed, damage);
    const cells = [name, harmed.capture.frames, changed.join('; ') || '–', said.join(', ') || '–', found.join('; ')];
    console.log(`| ${cells.join(' | ')} |`);
    return odd + found.length;
  }, Promise.resolve(0));
}

/** Whether migrations that will have come out like `full` may look like this before. */
const isOnTheWay = (outcome, full) => {
  const outcomes = full.split(', ');
  return (
    outcome === 'no migration' || outcome.split(', ').every((one, i) => one === 'incomplete' || one === outcomes[i])
  );
};

/** Cuts the file at every CUT_BYTES: all before the cut counts, and nothing else. */
async function printCuts(name, whole, capture) {
  const file = writePcap(capture);
  const ends = [24];
  for (let at = 24; at < file.length; ) ends.push((at += 16 + file.readUInt32LE(at + 8)));
  const odd = new Map();
  const note = (what, cut) => odd.set(what, [...(odd.get(what) ?? []), cut]);
  const full = figuresOf(whole);
  const pagesOf = (report) => {
    const pages = report.migrations[0]?.pages;
    return pages ? pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed : 0;
  };
  const most = { pages: pagesOf(whole), rounds: whole.migrations[0]?.rounds.length ?? 0 };
  // Pages of headers only, or inside TLS, are estimated from what is there; other pages are counted.
  const counted = whole.migrations[0]?.pages.zero !== null;
  let [cuts, inside, completedAt] = [0, 0, null];
  let last = { bytes: 0, pages: 0 };
  for (let cut = CUT_BYTES; cut < file.length; cut += CUT_BYTES, cuts++) {
    while (ends[inside + 1] <= cut) inside++;
    if (inside === 0) continue; // not one frame
    const report = await reportOn(file.subarray(0, cut));
    const figures = figuresOf(report);
    const pages = pagesOf(report);
    if (report.capture.frames !== inside) note('frames', cut);
    if (anomaliesOf(report).has('capture/record-truncated') === ends.includes(cut)) note('cut not said', cut);
    if (figures.bytes < last.bytes || figures.bytes > full.bytes) note('bytes', cut);
    if (counted && (pages < last.pages || pages > most.pages)) note('pages', cut);
    if (!counted && pages > 1.25 * most.pages) note('pages', cut);
    if ((report.migrations[0]?.rounds.length ?? 0) > most.rounds) note('rounds', cut);
    if (figures.outcome === full.outcome) completedAt ??= cut;
    else if (completedAt !== null) note('outcome', cut);
    else if (!isOnTheWay(figures.outcome, full.outcome)) note(`outcome ${figures.outcome}`, cut);
    last = { bytes: figures.bytes, pages };
  }
  const share = completedAt === null ? 'the end' : `${((100 * completedAt) / file.length).toFixed(1)} %`;
  const found = [...odd].map(([what, at]) => `${what} (${at.length} cuts, first at ${at[0]})`).join('; ');
  console.log(`| ${[name, cuts, full.outcome, share, found].join(' | ')} |`);
  return odd.size;
}

const names = readdirSync(new URL('samples', root)).flatMap((name) => /^(.+)\.pcap\.gz$/.exec(name)?.[1] ?? []);
let odd = 0;
if (options.cuts) {
  console.log('\n## Cut at every 4 KiB\n');
  console.log('| sample | cuts | outcome | known from | not explained |\n|---|---|---|---|---|');
} else {
  console.log(`# Harm done to every sample

Written by \`node test/chaos/table.mjs > docs/chaos.md; node test/chaos/table.mjs --cuts >> docs/chaos.md\`, never by hand.
Beside each harm: which figures changed, which anomalies were noted (directions together), and what neither the harm nor an
anomaly explains. Pages are normal + zero + XBZRLE + compressed; downtime and time in ms.`);
}
for (const name of positionals.length ? positionals : names) {
  const capture = readPcap(gunzipSync(readFileSync(new URL(`samples/${name}.pcap.gz`, root))));
  const whole = await reportOn(writePcap(capture));
  if (options.cuts) {
    odd += await printCuts(name, whole, capture);
    continue;
  }
  console.log(`\n## ${name}\n`);
  console.log(
    `${Object.entries(figuresOf(whole))
      .map(([key, value]) => `${key} ${value}`)
      .join('; ')}\n`,
  );
  odd += await printDamages(whole, capture);
}
process.exitCode = odd > 0 ? 1 : 0;
