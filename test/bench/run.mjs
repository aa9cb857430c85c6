// `npm run bench [-- --inputs offload,multifd --folder DIR --keep]`: how fast, and how much memory, as ratios in one run.
//
// Whole processes against `cat`, tcptrace and tshark where installed; stages inside one process against reading alone;
// resident memory at 1× and 4× length. CPU time (all threads) beside time: on a machine that does other things as well
// only the former means much. Nothing here is a test: figures depend on the machine, ratios much less.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { INPUTS, input } from './inputs.mjs';
import { STAGES, timeStage, WITHOUT_TCP } from './stages.mjs';

const { values: options } = parseArgs({
  options: {
    inputs: { type: 'string', default: Object.keys(INPUTS).join(',') },
    folder: { type: 'string', default: `${tmpdir()}/migscope-bench` },
    repeats: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    capture: { type: 'string', multiple: true, default: [] },
    // tshark takes minutes and gigabytes for millions of frames.
    'others-below': { type: 'string', default: '4.4e9' },
  },
});
const repeats = Number(options.repeats);
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const rssProbe = fileURLToPath(new URL('./rss.mjs', import.meta.url));
const OTHERS = [
  ['tcptrace', ['-l', '-r', '-W']],
  ['tshark', ['-q', '-z', 'conv,tcp', '-r']],
];
const scratch = mkdtempSync(`${tmpdir()}/migscope-bench-`);

/** Opens a page, runs its scripts, prints its elements and ends. */
const BROWSER = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--dump-dom'],
];

const installed = (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

/** Fastest of `repeats` runs: seconds, and seconds of CPU time; null when the program failed. */
function timed(command, args, times = repeats) {
  let best = null;
  for (let i = 0; i < times; i++) {
    const start = process.hrtime.bigint();
    const { status, stdout } = spawnSync(
      'sh',
      ['-c', '"$@" > /dev/null 2>&1; s=$?; times; exit $s', 'sh', command, ...args],
      {
        cwd: scratch,
        encoding: 'utf8',
      },
    );
    const wall = Number(process.hrtime.bigint() - start) / 1e9;
    if (status !== 0) return null;
    // The second line of `times`: user and system time of the children.
    const [user, system] = [...stdout.split('\n')[1].matchAll(/(\d+)m([\d.]+)s/g)].map(
      ([, m, s]) => 60 * m + Number(s),
    );
    best ??= { wall, cpu: user + system };
    best = { wall: Math.min(best.wall, wall), cpu: Math.min(best.cpu, user + system) };
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
  console.log(cells.map((cell, i) => (i ? String(cell).padStart(12) : String(cell).padEnd(32))).join(''));
const ms = (s) => (s === undefined ? '–' : `${Math.round(s * 1000)} ms`);
const times = (a, b) => (a === undefined || b === undefined ? '–' : `${(a / b).toFixed(2)}×`);
const program = (name, run, base, ...more) =>
  row(`  ${name}`, ms(run?.wall), times(run?.wall, base.wall), ms(run?.cpu), times(run?.cpu, base.cpu), ...more);

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
  const cat = timed('cat', [path]);
  console.log(`${name}: ${(bytes / 1e9).toFixed(2)} GB`);
  row('  whole process', 'time', 'to cat', 'CPU', 'to cat', 'memory');
  program('cat', cat, cat);
  const whole = timed(process.execPath, [cli, 'analyze', path, '--json', '-']);
  program('migscope', whole, cat, `${Math.round(peakMemory(path))} MB`);
  for (const [tool, args] of OTHERS) {
    if (!installed(tool) || bytes > Number(options['others-below'])) continue;
    const other = timed(tool, [...args, path], 1);
    program(tool, other, cat, `ours ${times(whole?.cpu, other?.cpu)} in CPU`);
  }
  row('  stages so far', 'time', 'to read', 'CPU', 'ns/frame');
  let read = null;
  let before = 0;
  for (const stage of STAGES) {
    const { seconds, cpu, frames } = timeStage(stage, path, repeats);
    read ??= seconds;
    row(`  + ${stage}`, ms(seconds), times(seconds, read), ms(cpu), (((cpu - before) * 1e9) / frames).toFixed(0));
    before = cpu;
  }
  // On two threads the other one works while this one decodes: what tracking and metrics add is what the whole takes longer.
  const without = timeStage(WITHOUT_TCP, path, repeats);
  const aside = timeStage('everything', path, repeats, true);
  row(`  ${WITHOUT_TCP}`, ms(without.seconds), times(without.seconds, read), ms(without.cpu));
  row('  everything, two threads', ms(aside.seconds), times(aside.seconds, read), ms(aside.cpu));
  const added = ((aside.seconds - without.seconds) * 1e9) / aside.frames;
  row('  tracking and metrics add', `${added.toFixed(0)} ns/frame`, times(added, (read * 1e9) / aside.frames));
  // Compiling them and starting their thread is done once, however long the capture.
  const warm = aside.warmNs - without.warmNs;
  if (warm > 0) row('  the same once warm', `${warm.toFixed(0)} ns/frame`, times(warm, (read * 1e9) / aside.frames));
  const html = `${scratch}/report.html`;
  const saved = `${scratch}/report.json`;
  writeFileSync(
    saved,
    spawnSync(process.execPath, [cli, 'analyze', path, '--json', '-'], { maxBuffer: 1 << 28 }).stdout,
  );
  const page = timed(process.execPath, [cli, 'report', saved, '--html', html, '--force', '--quiet']);
  row(
    '  page from JSON',
    ms(page?.wall),
    '',
    ms(page?.cpu),
    page ? `${(statSync(html).size / 1e6).toFixed(2)} MB` : '–',
  );
  if (installed('chromium')) {
    writeFileSync(`${scratch}/empty.html`, '<!doctype html><title>empty</title>');
    const opened = (file) => timed('chromium', [...BROWSER, `--user-data-dir=${scratch}/browser`, `file://${file}`]);
    const [whole, empty] = [opened(html), opened(`${scratch}/empty.html`)];
    row(
      '  page opened',
      whole && empty ? ms(Math.max(0, whole.wall - empty.wall)) : '–',
      '',
      '',
      'beyond an empty page',
    );
  }
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
