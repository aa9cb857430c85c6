// docs/tcp-fields.md names fields and tests: all of them exist.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = (path: string): string => readFileSync(root + path, 'utf8');
const rows = text('docs/tcp-fields.md')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('|--'))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);

test('every test that it names exists', () => {
  const tests = [...text('docs/tcp-fields.md').matchAll(/`(test\/[^`]+)`/g)].map(([, path]) => path!);
  expect(tests.length).toBeGreaterThan(50);
  expect(tests.filter((path) => !existsSync(root + path))).toEqual([]);
});

test('every field that it names exists', () => {
  const declared = ['results.ts', 'streams.ts', 'pairing.ts'].map((file) => text(`src/decode/tcp/${file}`)).join('\n');
  const fields = rows.filter(({ length }) => length === 6).flatMap((cells) => quoted(cells[3]!));
  expect(fields.length).toBeGreaterThan(50);
  // Codes of anomalies and kinds of events stand in their own lists.
  const codes = text('src/anomaly.ts');
  const known = (word: string): boolean =>
    new RegExp(`\\b(readonly )?${word}:`).test(declared) ||
    declared.includes(`'${word}'`) ||
    codes.includes(`'${word}'`);
  expect(fields.filter((word) => !known(word))).toEqual([]);
});

test('every field that it names is looked at by one of its tests', () => {
  const unseen = rows
    .filter(({ length }) => length === 6)
    .flatMap((cells) => {
      const tests = quoted(cells[4]!).map(text).join('\n');
      return quoted(cells[3]!).filter((word) => !new RegExp(`\\b${word}\\b`).test(tests));
    });
  expect(unseen).toEqual([]);
});
