// The program as it is installed: bundled, in a process of its own, with what it loads only when it is needed.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const PROGRAM = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const SAMPLE = 'samples/precopy.pcap.gz';
const folder = mkdtempSync(join(tmpdir(), 'migscope-built-'));
afterAll(() => rmSync(folder, { recursive: true }));

const migscope = (...args: string[]): string =>
  execFileSync(process.execPath, [PROGRAM, ...args], { encoding: 'utf8' });

test('page and tables, with the assets and libraries they need', () => {
  const page = join(folder, 'report.html');
  const csv = join(folder, 'csv');
  const arrow = join(folder, 'arrow');
  migscope('analyze', SAMPLE, '--html', page, '--csv', csv, '--arrow', arrow);
  expect(readFileSync(page, 'utf8')).toMatch(/<\/script>\s*<\/body>/);
  expect(readdirSync(csv)).toContain('rounds.csv');
  expect(readdirSync(arrow)).toContain('rounds.arrow');
});

test('a comparison as a page', () => {
  const page = join(folder, 'compare.html');
  migscope('compare', SAMPLE, 'samples/postcopy.pcap.gz', '--html', page);
  expect(readFileSync(page, 'utf8')).toContain('</html>');
});

test('its version is that of the package', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  expect(migscope('--version').trim()).toBe(version);
});

test('what every command needs was compiled when the program was built, and V8 takes it', () => {
  const scripts = new URL('../../dist/cli/code-cache.js', import.meta.url).href;
  const program = new URL('../../dist/cli/program.js', import.meta.url).href;
  const rejected = `import { scripts } from '${scripts}'; import '${program}';
    console.log(JSON.stringify([...scripts].map(([name, script]) => [name, script.cachedDataRejected])))`;
  const found = execFileSync(process.execPath, ['--input-type=module', '-e', rejected], { encoding: 'utf8' });
  const byName = new Map(JSON.parse(found) as [string, boolean][]);
  expect(byName.get('program')).toBe(false);
  expect([...byName.values()]).not.toContain(true);
});

test('where V8 is another, or was not there when it was built, it is compiled anew', () => {
  const dist = join(folder, 'dist');
  cpSync('dist', dist, { recursive: true });
  cpSync('package.json', join(folder, 'package.json'));
  symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'));
  const summary = migscope('analyze', SAMPLE);
  const moved = (...flags: string[]): string =>
    execFileSync(process.execPath, [...flags, join(dist, 'cli.js'), 'analyze', SAMPLE], { encoding: 'utf8' });
  expect(moved('--no-opt')).toBe(summary); // other switches
  for (const name of readdirSync(join(dist, 'cli'))) if (name.endsWith('.cache')) rmSync(join(dist, 'cli', name));
  expect(moved()).toBe(summary);
});
