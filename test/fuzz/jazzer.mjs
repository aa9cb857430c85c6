// Coverage-guided fuzzing with jazzer.js, which is no dependency of the project: install @jazzer.js/core elsewhere and
//
//   FUZZ_CORPUS=/tmp/corpus npx vitest run test/fuzz/targets   writes a corpus, a folder for each target
//   FUZZ_TARGET=conversation FUZZ_DIST=dist npx jazzer test/fuzz/jazzer.mjs /tmp/corpus/conversation -i dist/ -- -max_len=60000
//
// FUZZ_REPORTS: a folder of saved results (JSON), for the target `saved`. FUZZ_FINDINGS: a folder for inputs that fail, one
// for each distinct message; the run then goes on.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadProgram } from './program.mjs';
import { runTarget } from './targets.mjs';

const { FUZZ_TARGET: target, FUZZ_DIST: dist = 'dist', FUZZ_REPORTS: folder, FUZZ_FINDINGS: findings } = process.env;
const program = await loadProgram(pathToFileURL(resolve(dist)).href);
const reports = folder ? readdirSync(folder).map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))) : [];
const PAGE_EVERY = 64;
let runs = 0;
const known = new Set();

export async function fuzz(bytes) {
  try {
    await runTarget(target, bytes, program, { reports, page: runs++ % PAGE_EVERY === 0 });
  } catch (error) {
    if (!findings) throw error;
    const text = error?.stack ?? String(error);
    const key = text.split('\n')[0].replace(/-?\d+(\.\d+)?(e[+-]?\d+)?/g, '#');
    if (known.has(key)) return;
    known.add(key);
    const name = join(findings, `${target}-${Date.now().toString(36)}`);
    writeFileSync(name, bytes);
    writeFileSync(`${name}.txt`, text);
    console.log(`FINDING ${name} ${text.split('\n')[0]}`);
  }
}
