// What becomes of results when writing them goes wrong, and what is never touched. Runs the built program as users do.
import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
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

  const tiny = join(folder, 'tiny');
  mkdirSync(tiny);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', tiny]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [tiny]);
  });
  test.runIf(mounted)('the disk is full: the old file stays, nothing new is left', () => {
    writeFileSync(join(tiny, 'result.json'), 'old');
    const { code, stderr } = shell('$M analyze $S --quiet --force --json tiny/result.json');
    expect(code).toBe(1);
    expect(stderr).toContain('ENOSPC');
    expect(readdirSync(tiny)).toEqual(['result.json']);
    expect(readFileSync(join(tiny, 'result.json'), 'utf8')).toBe('old');
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
    expect(code).toBe(1);
    expect(stderr).toContain('could not be written');
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
