#!/usr/bin/env node
// `npm run fuzz -- --minutes 10 --seed 1 [--captures FILE.pcap.gz …] [--dist FOLDER] [--coverage]`: long runs by hand.
//
// Cases run in a child; this process watches: a case that takes longer than --seconds, or a child that dies or grows
// beyond --rss, is a finding too. Findings are written as files (--out), one for each distinct message, beside a log.
// With --coverage captures that reach code no earlier one reached are kept and spoiled further.
import { fork } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { makeCase, runCase } from './cases.mjs';
import { loadProgram } from './program.mjs';
import { loadSamples } from './samples.mjs';

const root = new URL('../../', import.meta.url);
const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '20' },
    rss: { type: 'string', default: '1000' },
    captures: { type: 'string', multiple: true, default: [] },
    dist: { type: 'string', default: fileURLToPath(new URL('dist', root)) },
    out: { type: 'string', default: `${tmpdir()}/migscope-fuzz` },
    coverage: { type: 'boolean', default: false },
  },
});
const KEPT = 400;
/** The parent may look at a case while the child is a few further. */
const caseFile = (seed) => `${options.out}/case-${seed % 64}.bin`;
const PAGE_EVERY = 8;

await (process.send ? work() : watch());

/** The parent: starts workers until the time is up, and sees what they cannot say themselves. */
async function watch() {
  mkdirSync(options.out, { recursive: true });
  const until = Date.now() + Number(options.minutes) * 60_000;
  const findings = new Map();
  const tally = { cases: 0, analysed: 0, refused: 0, kept: 0, slowestMs: 0, peakMb: 0 };
  let seed = Number(options.seed);
  const found = (message, at, kind) => {
    const key = message.split('\n')[0].replace(/\d+(\.\d+)?/g, '#');
    const known = findings.get(key);
    if (known) known.count++;
    else {
      findings.set(key, { count: 1, seed: at });
      copyFileSync(caseFile(at), `${options.out}/finding-${at}.bin`);
      console.log(`seed ${at} (${kind}), finding-${at}.bin\n  ${message.split('\n').slice(0, 4).join('\n  ')}`);
    }
  };
  while (Date.now() < until) {
    const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--seed', String(seed)]);
    let kind = '';
    let started = Date.now();
    const stop = setInterval(() => {
      const late = Date.now() - started > Number(options.seconds) * 1000;
      if (late) found(`a case took longer than ${options.seconds} s`, seed, kind);
      if (late || Date.now() >= until) child.kill('SIGKILL');
    }, 500);
    child.on('message', (message) => {
      if (message.begin !== undefined) {
        [seed, kind, started] = [message.begin, message.kind, Date.now()];
        return;
      }
      tally.cases++;
      tally[message.outcome] = (tally[message.outcome] ?? 0) + 1;
      tally.kept = message.kept;
      tally.slowestMs = Math.max(tally.slowestMs, message.ms);
      tally.peakMb = Math.max(tally.peakMb, message.rssMb);
      if (message.error) found(message.error, seed, kind);
      if (message.rssMb > Number(options.rss)) {
        found(`resident memory above ${options.rss} MB`, seed, kind);
        child.kill('SIGKILL');
      }
    });
    const [code, signal] = await new Promise((resolve) => child.once('exit', (...end) => resolve(end)));
    clearInterval(stop);
    if (code !== null && Date.now() < until) found(`the process ended with ${code ?? signal}`, seed, kind);
    seed++;
  }
  console.log(JSON.stringify({ minutes: Number(options.minutes), nextSeed: seed, ...tally }));
  for (const [key, { count, seed: first }] of findings) console.log(`${count}×, first seed ${first}: ${key}`);
  process.exitCode = findings.size ? 1 : 0;
}

/** The child: case after case. The capture is on disk before it is read, so that a hang can be repeated. */
async function work() {
  const program = await loadProgram(pathToFileURL(options.dist).href);
  const bundled = readdirSync(new URL('samples', root)).filter((name) => name.endsWith('.pcap.gz'));
  const samples = loadSamples([
    ...bundled.map((name) => fileURLToPath(new URL(`samples/${name}`, root))),
    ...options.captures,
  ]);
  const kept = [];
  const reached = options.coverage ? await coverage() : () => false;
  for (let seed = Number(options.seed); ; seed++) {
    const { kind, bytes } = makeCase(seed, samples, kept);
    writeFileSync(caseFile(seed), bytes);
    process.send({ begin: seed, kind });
    const start = performance.now();
    let outcome = 'failed';
    let error = null;
    try {
      outcome = await runCase(bytes, program, { page: seed % PAGE_EVERY === 0 });
    } catch (thrown) {
      error = thrown?.stack ?? String(thrown);
    }
    const ms = Math.round(performance.now() - start);
    if ((await reached()) && bytes.length < 1 << 20) kept[kept.length < KEPT ? kept.length : seed % KEPT] = bytes;
    process.send({ outcome, error, ms, kept: kept.length, rssMb: Math.round(process.memoryUsage.rss() / 1e6) });
    await new Promise(setImmediate); // let messages leave
  }
}

/** A function that says whether anything ran since its last call that had never run before. */
async function coverage() {
  const session = new Session();
  session.connect();
  const post = (method, params) =>
    new Promise((resolve, reject) =>
      session.post(method, params, (error, result) => (error ? reject(error) : resolve(result))),
    );
  await post('Profiler.enable');
  await post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const seen = new Set();
  return async () => {
    const { result } = await post('Profiler.takePreciseCoverage');
    let news = false;
    for (const { url, functions } of result) {
      if (!url.startsWith(pathToFileURL(options.dist).href)) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          const key = `${url}:${startOffset}:${endOffset}`;
          if (count === 0 || seen.has(key)) continue;
          seen.add(key);
          news = true;
        }
      }
    }
    return news;
  };
}
