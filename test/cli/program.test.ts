import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
    expect(stderr).toMatch(/^migscope: .+\n/);
  });

  test('a capture in the place of the command: the command is named', async () => {
    const { code, stderr } = await cli(['samples/precopy.pcap.gz']);
    expect(code).toBe(2);
    expect(stderr).toContain('It is a file: migscope analyze FILE reads a capture');
    expect((await cli(['absent.pcap'])).stderr).not.toContain('It is a file');
  });
});

describe('what was asked for and is not there', () => {
  test.each([
    ['a port', ['--port', '4444'], 'No connection in the capture goes to port 4444.\n  Most data went to 49152.'],
    ['a connection', ['--connection', '7'], 'There is no connection 7 in the capture.'],
  ])('%s is told, and the rest of the result is delivered', async (_name, options, sentence) => {
    const { code, stdout, stderr } = await cli(['analyze', 'samples/precopy.pcap.gz', ...options]);
    expect(code).toBe(0);
    expect(stdout).toContain('NO MIGRATION FOUND');
    expect(stderr).toContain(sentence);
  });

  test('what is there gives no such word', async () => {
    const options = ['--port', '49152', '--connection', '0'];
    expect((await cli(['analyze', 'samples/precopy.pcap.gz', ...options])).stderr).toBe('');
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
    [
      'a capture inside xz',
      file('packed.xz', Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(40)])),
      'xz -dc',
    ],
    [
      'a saved result',
      file('result.json', `{"schema":"migscope.report","padding":"${'x'.repeat(40)}"}`),
      'migscope report',
    ],
    ['a capture without frames', file('header.pcap', PCAP_HEADER), 'no frames'],
    ['a folder', folder, 'cannot be read'],
  ])('%s: exit code 1 and a sentence', async (_name, path, sentence) => {
    const { code, stdout, stderr } = await cli(['analyze', path]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain(sentence);
  });

  test.each([
    ['a file', ['analyze', 'no\x1b[31m\nsuch.pcap'], 'no\\u{1b}[31m\\u{a}such.pcap does not exist'],
    ['a command', ['ana\x1b[31m'], "unknown command 'ana\\u{1b}[31m'"],
  ])('control characters in the name of %s are shown and not obeyed', async (_name, args, sentence) => {
    const { stderr } = await cli(args);
    expect(stderr).toContain(sentence);
    expect(stderr).not.toContain('\x1b');
  });

  test('report on what is not there or is a folder', async () => {
    expect((await cli(['report', join(folder, 'absent.json')])).stderr).toContain('absent.json does not exist');
    expect((await cli(['report', folder])).stderr).toContain('it is a directory');
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

  test.each([
    ['JSON', '--json'],
    ['the page', '--html'],
  ])('%s never replaces the capture it is made from, not even with --force', async (_name, option) => {
    const capture = file('only-copy.pcap.gz', readFileSync('samples/precopy.pcap.gz'));
    const { code, stderr } = await cli(['analyze', capture, option, join(folder, '.', 'only-copy.pcap.gz'), '--force']);
    expect(code).toBe(2);
    expect(stderr).toContain('is what is to be read');
    expect(readFileSync(capture)).toEqual(readFileSync('samples/precopy.pcap.gz'));
  });

  test.each([
    ['a folder for a file', () => ['--json', folder, '--force'], 'is a folder'],
    ['a file for a folder', () => ['--csv', file('plain.txt', '')], 'is a file'],
    [
      'one folder for both kinds of tables',
      () => ['--csv', join(folder, 'both'), '--arrow', `${folder}/./both`],
      'share',
    ],
  ])('%s is refused before the work is done', async (_name, options, sentence) => {
    const { code, stderr } = await cli(['analyze', 'samples/precopy.pcap.gz', ...options()]);
    expect(code).toBe(2);
    expect(stderr).toContain(sentence);
  });

  test('tables: a second set needs --force, and one that cannot be written leaves nothing', async () => {
    const tables = join(folder, 'tables');
    expect((await cli(['analyze', 'samples/precopy.pcap.gz', '-q', '--csv', tables])).code).toBe(0);
    const again = await cli(['analyze', 'samples/precopy.pcap.gz', '-q', '--csv', tables]);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('schema.json exists already')]);
    // A folder stands where one of the tables goes.
    const blocked = join(folder, 'blocked');
    mkdirSync(join(blocked, 'timeline.csv'), { recursive: true });
    const { code } = await cli(['analyze', 'samples/precopy.pcap.gz', '-q', '--csv', blocked, '--force']);
    expect(code).toBe(1);
    expect(readdirSync(blocked)).toEqual(['timeline.csv']);
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

  test('standard input is called that where it is of no use', async () => {
    const empty = await cli(['analyze', '-'], { stdin: new Uint8Array(0) });
    expect(empty).toMatchObject({ code: 1, stderr: expect.stringMatching(/^migscope: Standard input is empty\./) });
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

  test.each([
    ['the choices of an option', 'live --engine ""', 'auto tcpdump dumpcap cap'],
    ['nothing where any text may stand', 'live --interface ""', ''],
    ['options by their beginning', 'report --th', '--threshold'],
    ['rules', 'explain R-E1', 'R-E1 R-E10'],
    ['shells', 'completion z', 'zsh'],
    ['folders for tables, and no files', 'analyze --csv sampl', 'samples'],
    ['files', 'analyze package.js', 'package.json'],
  ])('bash completes %s', async (_name, words, expected) => {
    const { stdout } = await cli(['completion', 'bash']);
    const line = `COMP_WORDS=(migscope ${words}) COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))`;
    const script = `${stdout}\n${line}\n_migscope; echo "\${COMPREPLY[*]}"`;
    const completed = spawnSync('bash', ['-c', script]).stdout.toString().trim().split(/\s+/).sort();
    expect(completed).toEqual(expected.split(' ').sort());
  });

  test('the zsh completion names every command', async () => {
    const { stdout } = await cli(['completion', 'zsh']);
    expect(stdout.startsWith('#compdef migscope\n')).toBe(true);
    for (const name of COMMANDS) expect(stdout).toContain(`'${name}:`);
  });

  test('the manual page has a section for every command', async () => {
    const { stdout } = await cli(['man']);
    for (const name of COMMANDS) expect(stdout).toContain(`.SS ${name} `);
    expect(stdout).toContain('time between two updates; 1s if not given');
    expect(stdout).toContain('migscope compare cubic.pcap bbr.pcap');
    expect(stdout).toContain('sudo setcap');
    expect(stdout.split('\n').filter((line) => /^\.(?!TH|SH|SS|TP|PP|B|nf|fi)/.test(line))).toEqual([]);
  });
});
