// A capture makes the program touch no file that nobody asked for. The analysis runs under Node's permission model, which
// lets it read its own code and write nothing; the program, which the model forbids to flush its files, is looked after.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCase } from './cases.mjs';

const SEED = Number(process.env['SEED'] ?? 20_261_127);
const CAPTURES = 6;
const CASES = 60;
const KINDS = ['json', 'html', 'csv', 'arrow'];
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'migscope-files-')));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The flag lost its prefix when the model became stable. */
const PERMISSION = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission';
const program = resolve('dist');
const mayRead = [program, resolve('node_modules'), realpathSync('node_modules'), resolve('package.json')];

/** Runs Node so that it may read only inside `read`, and write nowhere. */
function confined(read: readonly string[], args: readonly string[]) {
  // Named twice, a path is an assertion of Node 20 that fails.
  const inside = [...new Set(read)].map((path) => `--allow-fs-read=${path}${path.endsWith('.json') ? '' : '/*'}`);
  const all = [PERMISSION, '--no-warnings', ...inside, ...args];
  return spawnSync(process.execPath, all, { cwd: folder, encoding: 'utf8' });
}

describe('confined to what was asked for', () => {
  beforeAll(() => {
    expect(existsSync(join(program, 'cli.js')), 'npm test builds the program first').toBe(true);
  });

  test(`captures with hostile names, seeds from ${SEED}: only the files named for results appear`, () => {
    const [input, output, home, cwd] = ['in', 'out', 'home', 'home/cwd'].map((name) => join(folder, name)) as string[];
    for (const each of [input, output, home, cwd]) mkdirSync(each!);
    const env = { ...process.env, HOME: home, TMPDIR: home, XDG_CACHE_HOME: home, XDG_CONFIG_HOME: home };
    let analysed = 0;
    for (let i = 0; i < CAPTURES; i++) {
      const file = join(input!, `${i}.pcap`);
      writeFileSync(file, makeCase(SEED + i, []).bytes);
      const wanted = KINDS.flatMap((kind) => [`--${kind}`, join(output!, `${i}.${kind}`)]);
      const args = [join(program, 'cli.js'), 'analyze', file, ...wanted];
      const { status, stderr } = spawnSync(process.execPath, args, { cwd: cwd!, env, encoding: 'utf8' });
      expect([0, 1], stderr).toContain(status);
      if (status === 0) analysed++;
    }
    expect(analysed).toBeGreaterThan(1);
    const there = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const asked =
      /^(home|home\/cwd|in|in\/\d\.pcap|out|out\/\d\.(json|html|csv|arrow)|out\/\d\.(csv|arrow)\/\w+\.(csv|arrow|json))$/;
    expect(there.filter((path) => !asked.test(path))).toEqual([]);
    expect(existsSync('/tmp/owned')).toBe(false); // trouble.mjs
  }, 120_000);

  test(`the whole analysis, ${CASES} cases, writes nothing and reads only its own files`, () => {
    const fuzz = resolve('test/fuzz');
    const script = `
      const { makeCase, runCase } = await import('file://${fuzz}/cases.mjs');
      const { loadProgram } = await import('file://${fuzz}/program.mjs');
      const program = await loadProgram('file://${program}');
      for (let seed = ${SEED}; seed < ${SEED + CASES}; seed++) {
        await runCase(makeCase(seed, []).bytes, program, { page: seed % 8 === 0 });
      }
      console.log('untouched');`;
    const { stdout, stderr } = confined([...mayRead, fuzz], ['--input-type=module', '--eval', script]);
    expect(stderr).toBe('');
    expect(stdout).toBe('untouched\n');
  }, 120_000);
});
