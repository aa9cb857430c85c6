// `npm run bench [-- --inputs offload,multifd --folder DIR --keep]`: how fast, and how much memory, as ratios in one run.
//
// Whole processes against `cat`, tcptrace and tshark where installed; stages inside one process against reading alone;
// resident memory at 1× and 4× length. Nothing here is a test: figures depend on the machine, ratios much less.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { INPUTS, input } from './inputs.mjs';
import { STAGES, timeStage } from './stages.mjs';

const { values: options } = parseArgs({
  options: {
    inputs: { type: 'string', default: Object.keys(INPUTS).join(',') },
    folder: { type: 'string', default: `${tmpdir()}/migscope-bench` },
    repeats: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    capture: { type: 'string', multiple: true, default: [] },
  },
});
const repeats = Number(options.repeats);
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const rssProbe = fileURLToPath(new URL('./rss.mjs', import.meta.url));
const scratch = mkdtempSync(`${tmpdir()}/migscope-bench-`);

const installed = (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

/** Fastest of `repeats` runs, seconds; null when the program failed. */
function seconds(command, args, times = repeats) {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const start = process.hrtime.bigint();
    const run = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'ignore'], cwd: scratch });
    if (run.status !== 0) return null;
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
  }
  return best;
}

/** Peak resident memory of one analysis, MB. */
function peakMemory(path) {
  const file = `${scratch}/rss`;
  spawnSync(process.execPath, ['--import', rssProbe, cli, 'analyze', path, '--json', '-'], {
    stdio: 'ignore',
    env: { ...process.env, MIGSCOPE_RSS_FILE: file },
  });
  return Number(readFileSync(file, 'utf8')) / 1024;
}

const row = (...cells) =>
  console.log(cells.map((cell, i) => (i ? String(cell).padStart(12) : String(cell).padEnd(22))).join(''));
const ms = (s) => (s === null ? '–' : `${Math.round(s * 1000)} ms`);
const times = (a, b) => (a === null || b === null ? '–' : `${(a / b).toFixed(2)}×`);

console.log(`${cpus().length} × ${cpus()[0].model.trim()}, node ${process.version}, fastest of ${repeats}\n`);
const paths = [
  ...options.inputs
    .split(',')
    .filter(Boolean)
    .map((name) => [name, () => input(options.folder, name)]),
  ...options.capture.map((path) => [path.split('/').slice(-2).join('/'), () => path]),
];
for (const [name, make] of paths) {
  const path = make();
  const bytes = statSync(path).size;
  spawnSync('cat', [path], { stdio: ['ignore', 'ignore', 'ignore'] }); // warm the cache
  const cat = seconds('sh', ['-c', `cat ${path} > /dev/null`]);
  console.log(`${name}: ${(bytes / 1e9).toFixed(2)} GB`);
  row('  whole process', 'time', 'to cat', 'rate', 'memory');
  row('  cat', ms(cat), '1.00×', `${(bytes / cat / 1e9).toFixed(2)} GB/s`);
  const whole = seconds(process.execPath, [cli, 'analyze', path, '--json', '-']);
  row(
    '  migscope',
    ms(whole),
    times(whole, cat),
    whole ? `${(bytes / whole / 1e9).toFixed(2)} GB/s` : '–',
    `${Math.round(peakMemory(path))} MB`,
  );
  if (installed('tcptrace')) {
    const other = seconds('tcptrace', ['-l', '-r', '-W', path], 1);
    row('  tcptrace -l -r -W', ms(other), times(other, cat), `ours ${times(whole, other)}`);
  }
  if (installed('tshark')) {
    const other = seconds('tshark', ['-q', '-z', 'conv,tcp', '-r', path], 1);
    row('  tshark conv,tcp', ms(other), times(other, cat), `ours ${times(whole, other)}`);
  }
  row('  stages so far', 'time', 'to read', 'ns/frame');
  let read = null;
  let before = 0;
  for (const stage of STAGES) {
    const { seconds: s, frames } = await timeStage(stage, path, repeats);
    read ??= s;
    row(`  + ${stage}`, ms(s), times(s, read), (((s - before) * 1e9) / frames).toFixed(0));
    before = s;
  }
  const html = `${scratch}/report.html`;
  const saved = `${scratch}/report.json`;
  writeFileSync(
    saved,
    spawnSync(process.execPath, [cli, 'analyze', path, '--json', '-'], { maxBuffer: 1 << 28 }).stdout,
  );
  const page = seconds(process.execPath, [cli, 'report', saved, '--html', html, '--force', '--quiet']);
  row('  page from JSON', ms(page), '', page === null ? '–' : `${(statSync(html).size / 1e6).toFixed(2)} MB`);
  console.log('');
}

if (options.memory) {
  console.log('Peak resident memory by length');
  row('  input', '1×', '4×', 'ratio');
  for (const name of ['offload', 'loss', 'many-connections']) {
    const one = peakMemory(input(options.folder, name, 1));
    const four = peakMemory(input(options.folder, name, 4));
    row(`  ${name}`, `${Math.round(one)} MB`, `${Math.round(four)} MB`, (four / one).toFixed(2));
  }
}
rmSync(scratch, { recursive: true });
if (!options.keep && options.folder.startsWith(tmpdir())) rmSync(options.folder, { recursive: true, force: true });
