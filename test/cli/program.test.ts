import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { cli } from '../support/cli.js';

const folder = mkdtempSync(join(tmpdir(), 'migscope-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const PCAP_HEADER = Buffer.from('d4c3b2a1020004000000000000000000ffff000001000000', 'hex');
const COMMANDS = ['analyze', 'live', 'interfaces', 'compare', 'report', 'rules', 'explain', 'completion', 'man'];

describe('help', () => {
  test('without arguments it prints the help and fails', async () => {
    const { code, stderr } = await cli([]);
    expect(code).toBe(2);
    expect(stderr).toContain('migscope analyze migration.pcap');
  });

  test('--help names every command and the exit codes', async () => {
    const { code, stdout } = await cli(['--help']);
    expect(code).toBe(0);
    for (const name of COMMANDS) expect(stdout).toContain(`  ${name}`);
    expect(stdout).toContain('Exit codes:');
  });

  test.each(COMMANDS)('%s --help has examples', async (name) => {
    const { code, stdout } = await cli([name, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain(`migscope ${name}`);
  });

  test('--version prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('wrong calls', () => {
  test.each([
    ['an unknown command', ['analyse', 'x.pcap'], 'unknown command'],
    ['an unknown option', ['analyze', '--jsn', 'x.json', 'y.pcap'], 'unknown option'],
    ['no file', ['analyze'], 'Expected capture files'],
    ['a port that is none', ['analyze', '--port', '70000', 'x.pcap'], '1 to 65535'],
    ['a what-if without unit', ['analyze', '--what-if', 'bandwidth=10', 'x.pcap'], 'bandwidth=10Gbit'],
    ['two results on standard output', ['analyze', '--json', '-', '--html', '-', 'x.pcap'], 'standard output'],
    ['one run to compare', ['compare', 'x.pcap'], 'at least two'],
    ['a rule that does not exist', ['explain', 'R-Z9'], 'migscope rules'],
    ['a shell that is not known', ['completion', 'fish'], 'bash or zsh'],
  ])('%s: exit code 2 and a sentence', async (_name, args, sentence) => {
    const { code, stdout, stderr } = await cli(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(sentence);
  });
});

describe('inputs that cannot be used', () => {
  test.each([
    ['a missing file', join(folder, 'absent.pcap'), 'does not exist'],
    ['an empty file', file('empty.pcap', ''), 'is empty'],
    [
      'something else',
      file('text.pcap', 'this is not a capture, but long enough to be one'),
      'does not start like a capture',
    ],
    ['a capture without frames', file('header.pcap', PCAP_HEADER), 'no frames'],
    ['a folder', folder, 'cannot be read'],
  ])('%s: exit code 1 and a sentence', async (_name, path, sentence) => {
    const { code, stdout, stderr } = await cli(['analyze', path]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(sentence);
  });

  test('a saved result that is none', async () => {
    const { code, stderr } = await cli(['report', file('other.json', '{"schema":"other"}')]);
    expect(code).toBe(1);
    expect(stderr).toContain('not a saved result');
  });
});

describe('outputs', () => {
  test('an existing file is left alone without --force', async () => {
    const kept = file('kept.json', 'precious');
    const { code, stderr } = await cli(['analyze', 'samples/precopy.pcap.gz', '--json', kept]);
    expect(code).toBe(2);
    expect(stderr).toContain('--force');
    expect(readFileSync(kept, 'utf8')).toBe('precious');
  });

  test('a folder that does not exist is said before the work is done', async () => {
    const { code, stderr } = await cli(['analyze', 'samples/precopy.pcap.gz', '--json', join(folder, 'no/where.json')]);
    expect(code).toBe(2);
    expect(stderr).toContain('folder does not exist');
  });

  test('standard input and --json - make a filter', async () => {
    const stdin = readFileSync('samples/precopy.pcap.gz');
    const { code, stdout, stderr } = await cli(['analyze', '-', '--json', '-'], { stdin });
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ schema: 'migscope.report', schemaVersion: 1 });
  });

  test('nothing but text without a terminal, colours with one', async () => {
    const csi = '\x1b[';
    const plain = await cli(['analyze', 'samples/precopy.pcap.gz']);
    expect(plain.stdout + plain.stderr).not.toContain(csi);
    const coloured = await cli(['analyze', 'samples/precopy.pcap.gz'], { terminal: true });
    expect(coloured.stdout).toContain(csi);
    const against = await cli(['analyze', 'samples/precopy.pcap.gz'], { terminal: true, env: { NO_COLOR: '1' } });
    expect(against.stdout).not.toContain(csi);
  });

  test('a saved result gives the same summary as the capture', async () => {
    const saved = join(folder, 'saved.json');
    const first = await cli(['analyze', 'samples/precopy.pcap.gz', '--json', saved]);
    const again = await cli(['report', saved]);
    expect(again).toEqual(first);
  });
});

describe('both ends', () => {
  test('one end alone is a wrong call', async () => {
    const { code, stderr } = await cli(['analyze', '--source', 'samples/precopy.pcap.gz']);
    expect(code).toBe(2);
    expect(stderr).toContain('--destination');
  });

  test('a capture beside itself lost nothing', async () => {
    const { code, stdout } = await cli([
      'analyze',
      ...['--source', 'samples/precopy.pcap.gz', '--destination', 'samples/precopy.pcap.gz'],
      ...['--json', '-'],
    ]);
    expect(code).toBe(0);
    const { bothEnds } = JSON.parse(stdout) as ReportData;
    expect(bothEnds?.clock?.offsetNs).toBe(0);
    expect(bothEnds?.connections[0]?.directions.map(({ lostBytes }) => lostBytes)).toEqual([0, 0]);
  });
});

describe('shell files', () => {
  test('the bash completion is valid bash and knows the commands', async () => {
    const { stdout } = await cli(['completion', 'bash']);
    expect(spawnSync('bash', ['-n'], { input: stdout }).status).toBe(0);
    const script = `${stdout}\nCOMP_WORDS=(migscope ana) COMP_CWORD=1; _migscope; echo "\${COMPREPLY[*]}"`;
    expect(spawnSync('bash', ['-c', script]).stdout.toString()).toBe('analyze\n');
  });

  test('the zsh completion names every command', async () => {
    const { stdout } = await cli(['completion', 'zsh']);
    expect(stdout.startsWith('#compdef migscope\n')).toBe(true);
    for (const name of COMMANDS) expect(stdout).toContain(`'${name}:`);
  });

  test('the manual page has a section for every command', async () => {
    const { stdout } = await cli(['man']);
    for (const name of COMMANDS) expect(stdout).toContain(`.SS ${name} `);
    expect(stdout.split('\n').filter((line) => /^\.(?!TH|SH|SS|TP|B)/.test(line))).toEqual([]);
  });
});
