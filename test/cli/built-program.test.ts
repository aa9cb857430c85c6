// The program as it is installed: bundled, in a process of its own, with what it loads only when it is needed.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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
