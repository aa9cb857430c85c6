// What becomes of results when writing them goes wrong, and what is never touched. Runs the built program as users do.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { print } from '../../src/cli/output.js';
import { cli } from '../support/cli.js';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const RSS = fileURLToPath(new URL('../bench/rss.mjs', import.meta.url));
const SAMPLE = fileURLToPath(new URL('../../samples/headers-only.pcap.gz', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'migscope-output-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A shell command in which $M is the program and $S a capture. */
function shell(
  command: string,
  env: Record<string, string> = {},
): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `set -o pipefail; ${command}`], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, M: `${process.execPath} ${CLI}`, S: SAMPLE, ...env },
    maxBuffer: 1 << 26,
  });
  return { code: status, stdout, stderr };
}

const fresh = (name: string): string => {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
};

// A file system of 64 KiB.
const tiny = join(folder, 'tiny');
mkdirSync(tiny);
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', tiny]).status === 0;
afterAll(() => {
  if (mounted) spawnSync('umount', [tiny]);
});

/** Leaves one page of the file system free. */
function fillUp(): void {
  const file = openSync(join(tiny, 'filler'), 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(4096));
  } catch {
    ftruncateSync(file, Math.max(0, fstatSync(file).size - 4096));
  } finally {
    closeSync(file);
  }
}

describe('writing goes wrong', () => {
  test.each(['--json - | head -c 10', '| head -1', '--html - | true'])('a reader that went away: %s', (rest) => {
    const { code, stderr } = shell(`$M analyze $S ${rest}`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test.runIf(process.platform === 'linux').each(['--json -', ''])('standard output is full: analyze %s', (options) => {
    const { code, stderr } = shell(`$M analyze $S ${options} > /dev/full`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^migscope: .*ENOSPC.*\n$/);
  });

  test('whoever calls print() is told as well', async () => {
    const { Writable } = await import('node:stream');
    const full = new Writable({ write: (_chunk, _encoding, done) => done(new Error('ENOSPC')) }).on('error', () => {});
    await expect(print(full, 'text')).rejects.toThrow('Standard output could not be written: ENOSPC');
  });

  test.each(['report saved.json', 'compare saved.json saved.json', 'rules', '--help'])(
    'a reader that went away, and a full standard output: %s',
    async (command) => {
      await saved();
      expect(shell(`$M ${command} | head -1`)).toMatchObject({ code: 0, stderr: '' });
      if (process.platform !== 'linux') return;
      const { code, stderr } = shell(`$M ${command} > /dev/full`);
      expect({ code, stack: stderr.includes('    at ') }).toEqual({ code: 1, stack: false });
    },
  );
});

/** Every command that writes files, as arguments before the file or folder. */
const OUTPUTS: readonly (readonly [name: string, folder: boolean, args: readonly string[]])[] = [
  ...['--json', '--html', '--csv', '--arrow'].flatMap((option) => {
    const tables = option === '--csv' || option === '--arrow';
    return [
      [`analyze ${option}`, tables, ['analyze', SAMPLE, '--quiet', option]] as const,
      [`report ${option}`, tables, ['report', join(folder, 'saved.json'), '--quiet', option]] as const,
    ];
  }),
  ...['--json', '--html'].map((option) => {
    const result = join(folder, 'saved.json');
    return [`compare ${option}`, false, ['compare', result, result, '--quiet', option]] as const;
  }),
];

/** Makes saved.json. */
async function saved(): Promise<void> {
  if (existsSync(join(folder, 'saved.json'))) return;
  expect((await cli(['analyze', SAMPLE, '--quiet', '--json', join(folder, 'saved.json')])).code).toBe(0);
}

describe.each(OUTPUTS)('%s', (_name, tables, args) => {
  beforeAll(saved);

  test('replaces nothing unless told to, and says so before any work', async () => {
    const place = fresh(`kept ${args.join(' ').replaceAll(/[^\w-]+/g, '-')}`);
    const target = join(place, 'out');
    if (tables) {
      // Folders may exist: what counts are the files in them.
      expect((await cli([...args, target])).code).toBe(0);
      for (const name of readdirSync(target)) writeFileSync(join(target, name), 'mine');
    } else writeFileSync(target, 'mine');
    const { code, stderr } = await cli([...args, target]);
    expect({ code, stderr: stderr.includes('--force') }).toEqual({ code: 2, stderr: true });
    const files = tables ? readdirSync(target).map((name) => join(target, name)) : [target];
    for (const path of files) expect(readFileSync(path, 'utf8')).toBe('mine');
    expect(readdirSync(place)).toEqual(['out']);
    expect((await cli([...args, target, '--force'])).code).toBe(0);
    for (const path of files) expect(readFileSync(path, 'utf8')).not.toBe('mine');
  });

  test.runIf(mounted)(
    'the disk is full: every file is the old one or the whole new one, nothing else is left',
    async () => {
      const whole = join(folder, `whole ${args.join(' ').replaceAll(/[^\w-]+/g, '-')}`);
      expect((await cli([...args, whole])).code).toBe(0);
      const names = tables ? readdirSync(whole).sort() : ['out'];
      const target = tables ? join(tiny, 'out') : tiny;
      if (tables) mkdirSync(target);
      for (const name of names) writeFileSync(join(target, name), 'old');
      fillUp();
      const { code, stderr } = await cli([...args, tables ? target : join(tiny, 'out'), '--force']);
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('ENOSPC') });
      expect(
        readdirSync(target)
          .filter((name) => name !== 'filler')
          .sort(),
      ).toEqual(names);
      for (const name of names) {
        const now = readFileSync(join(target, name));
        expect(now.equals(Buffer.from('old')) || (tables && now.equals(readFileSync(join(whole, name)))), name).toBe(
          true,
        );
      }
      for (const name of readdirSync(tiny)) rmSync(join(tiny, name), { recursive: true });
    },
  );
});

describe('what cannot be written is refused before any work', () => {
  test.each([
    ['--json two --html two', 'two is given for two results'],
    ['--json two --html ./two --force', './two is given for two results'],
    ['--json two --csv two', 'two is given for two results'],
    ['--json to-target --html target', 'target is given for two results'],
    ['--json a-file/x', 'a-file/x cannot be written: what should be its folder is a file'],
    ['--json a-file/deep/x', 'a-file/deep/x cannot be written: what should be its folder is a file'],
    ['--csv a-file/x', 'a-file/x cannot be written: what should be its folder is a file'],
    ['--json ""', 'An empty name names no file to write'],
    ['--csv ""', 'An empty name names no file to write'],
    ['--json x/', 'x/ names no file to write'],
  ])('%s', (options, reason) => {
    writeFileSync(join(folder, 'a-file'), '');
    if (!readdirSync(folder).includes('to-target')) symlinkSync('target', join(folder, 'to-target'));
    const before = readdirSync(folder).sort();
    const { code, stdout, stderr } = shell(`$M analyze $S ${options}`);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`migscope: ${reason}.`);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  test.each(['--json /proc/x', '--csv /proc/x', '--csv /proc/x/y', `--json ${'n'.repeat(300)}`])(
    'a place that takes no files: %s',
    (options) => {
      const { code, stderr } = shell(`timeout 20 $M analyze $S ${options}`);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /could not be written: (no such file or directory|permission denied|name too long) \(E[A-Z]+\)\.\n/,
      );
    },
  );

  test('two results may both go to nowhere', () => {
    expect(shell('$M analyze $S -q --json /dev/null --html /dev/null')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('a link whose target does not exist yet stays a link', () => {
    symlinkSync('later.json', join(folder, 'link.json'));
    expect(shell('$M analyze $S -q --json link.json').code).toBe(0);
    expect(lstatSync(join(folder, 'link.json')).isSymbolicLink()).toBe(true);
    expect(JSON.parse(readFileSync(join(folder, 'later.json'), 'utf8')).schema).toBe('migscope.report');
  });
});

describe('runs to compare', () => {
  test('standard input is one run at most, and called by its name', () => {
    const { code, stderr } = shell('$M compare - - < $S');
    expect(code).toBe(2);
    expect(stderr).toContain('Standard input is given twice, and can be read only once.');
    expect(shell('$M compare $S - < $S').stdout).toContain('standard input against');
  });

  test('a named pipe is a run like any other, and its writer is not cut off', () => {
    const script =
      'mkfifo runs; (zcat "$S" > runs; echo $? > written) & timeout 30 $M compare "$S" runs > text; wait $!';
    const { code, stderr } = shell(script);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(readFileSync(join(folder, 'written'), 'utf8')).toBe('0\n');
  });

  test('an empty file is called empty', () => {
    writeFileSync(join(folder, 'nothing.json'), '');
    expect(shell('$M report nothing.json').stderr).toContain('nothing.json is not a saved result: it is empty.');
  });
});

describe('a signal ends the program', () => {
  // Writes 4 KiB every 20 ms, as a slow disk might.
  const slow = join(folder, 'slow.mjs');
  writeFileSync(
    slow,
    `import fs from 'node:fs';
     import { syncBuiltinESMExports } from 'node:module';
     const { writeSync } = fs;
     fs.writeSync = (file, bytes, at) => {
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
       return writeSync(file, bytes, at, Math.min(4096, bytes.length - at));
     };
     syncBuiltinESMExports();`,
  );

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s while a file is written: it is whole, and no other is left', async (signal, code) => {
    const place = fresh(signal);
    writeFileSync(join(place, 'out.json'), 'old');
    const args = ['--import', slow, CLI, 'analyze', SAMPLE, '--quiet', '--force', '--json', join(place, 'out.json')];
    const child = spawn(process.execPath, args);
    const ended = once(child, 'exit');
    while (child.exitCode === null && !readdirSync(place).some((name) => name.endsWith('.partial'))) await sleep(5);
    child.kill(signal);
    expect(await ended).toEqual([code, null]);
    expect(readdirSync(place)).toEqual(['out.json']);
    expect(JSON.parse(readFileSync(join(place, 'out.json'), 'utf8'))).toMatchObject({ schema: 'migscope.report' });
  });
});

describe('what is asked for is touched, nothing else', () => {
  test('one file each, and no temporary ones', async () => {
    const place = fresh('asked');
    await cli(['analyze', SAMPLE, '--json', join(place, 'a.json'), '--html', join(place, 'a.html')]);
    expect(readdirSync(place).sort()).toEqual(['a.html', 'a.json']);
  });

  test('tables do not replace files either, unless told to', async () => {
    const place = fresh('tables');
    writeFileSync(join(place, 'rounds.csv'), 'mine');
    const refused = await cli(['analyze', SAMPLE, '--csv', place]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--force');
    expect(readdirSync(place)).toEqual(['rounds.csv']);
    expect(readFileSync(join(place, 'rounds.csv'), 'utf8')).toBe('mine');
    expect((await cli(['analyze', SAMPLE, '--csv', place, '--force'])).code).toBe(0);
    expect(readFileSync(join(place, 'rounds.csv'), 'utf8')).not.toBe('mine');
  });

  test('a device is written into, never replaced', async () => {
    expect((await cli(['analyze', SAMPLE, '--json', '/dev/null', '--force'])).code).toBe(0);
    expect((await cli(['analyze', SAMPLE, '--json', '/dev/null'])).code).toBe(0);
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  test('a named pipe gets the result', () => {
    const { code, stdout } = shell('mkfifo pipe; cat pipe & $M analyze $S --quiet --json pipe; wait; test -p pipe');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 'migscope.report' });
  });

  test('a pipe that has a number and no name gets the result, and may be closed early', () => {
    const whole = shell('$M analyze $S --quiet --json /dev/stdout | cat');
    expect(JSON.parse(whole.stdout)).toMatchObject({ schema: 'migscope.report' });
    const cut = shell('$M analyze $S --quiet --json /dev/stdout 2>&1 | head -c 9');
    expect(cut).toMatchObject({ code: 0, stdout: '{"schema"' });
  });

  test('a name as long as the file system takes is written; a longer one is refused in words', async () => {
    const place = fresh('long');
    const longest = `${'x'.repeat(250)}.json`;
    expect((await cli(['analyze', SAMPLE, '--quiet', '--json', join(place, longest)])).code).toBe(0);
    const { code, stderr } = await cli(['analyze', SAMPLE, '--quiet', '--json', join(place, `x${longest}`)]);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('could not be written: name too long (ENAMETOOLONG)'),
    });
    expect(readdirSync(place)).toEqual([longest]);
  });

  test('a link stays a link', async () => {
    const place = fresh('links');
    writeFileSync(join(place, 'real.json'), 'old');
    symlinkSync('real.json', join(place, 'link.json'));
    expect((await cli(['analyze', SAMPLE, '--json', join(place, 'link.json'), '--force'])).code).toBe(0);
    expect(lstatSync(join(place, 'link.json')).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(place, 'real.json'), 'utf8')).toContain('migscope.report');
    expect(readdirSync(place).sort()).toEqual(['link.json', 'real.json']);
  });

  test('a folder in the place of a file is an error, not a defect', async () => {
    const place = fresh('folder');
    const { code, stderr } = await cli(['analyze', SAMPLE, '--json', place, '--force']);
    expect(code).toBe(2);
    expect(stderr).toContain('is a folder');
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
  });
});

describe('decompression', () => {
  test('a small file that unpacks to hundreds of megabytes of zeros is read in little memory', () => {
    const head = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');
    const piece = gzipSync(Buffer.alloc(64 << 20));
    // Members of gzip follow each other: 6 × 64 MiB from 400 KB.
    writeFileSync(join(folder, 'bomb.gz'), Buffer.concat([gzipSync(head), ...Array<Buffer>(6).fill(piece)]));
    const rssFile = join(folder, 'rss');
    const { code } = shell(`${process.execPath} --import ${RSS} ${CLI} analyze bomb.gz --quiet`, {
      MIGSCOPE_RSS_FILE: rssFile,
    });
    expect([0, 1]).toContain(code);
    expect(Number(readFileSync(rssFile, 'utf8')) / 1024).toBeLessThan(256);
  });
});
