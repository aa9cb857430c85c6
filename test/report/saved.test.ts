import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { renderHtml } from '../../src/report/html.js';
import { modelMigration } from '../../src/report/models/index.js';
import { redact } from '../../src/report/redact.js';
import type { ReportData } from '../../src/report/report.js';
import { diagnose } from '../../src/report/rules/engine.js';
import { checkSaved } from '../../src/report/saved.js';
import { csvFiles } from '../../src/report/tables.js';
import { renderText } from '../../src/report/text.js';
import { reportData, reportWithoutMigration } from '../support/report-data.js';

const saved = (report: unknown): unknown => JSON.parse(JSON.stringify(report));
const SEED = 20_261_122;

describe('saved results', () => {
  test.each([
    ['a healthy run', reportData('healthy')],
    ['a lossy run with findings', reportData('lossy')],
    ['a capture without migration', reportWithoutMigration()],
  ])('%s reads back as it was', (_, report) => {
    expect(checkSaved(saved(report))).toEqual(saved(report));
  });

  test('fields that other versions add are left alone', () => {
    expect(checkSaved(saved({ ...reportData('healthy'), added: { later: 1 } }))).toMatchObject({ added: { later: 1 } });
  });

  test.each<[string, (report: ReportData) => unknown, string]>([
    ['another schema', () => ({ schema: 'x' }), 'it is not a migscope.report'],
    ['a later version', (report) => ({ ...report, schemaVersion: 2 }), 'schemaVersion 2 is not understood'],
    ['a list in its place', () => [], 'it is not a migscope.report'],
    [
      'a port that is text',
      (report) => ({ ...report, migrations: [{ ...report.migrations[0], port: '49152' }] }),
      'migrations[0].port is not a number',
    ],
    [
      'an unknown outcome',
      (report) => ({ ...report, migrations: [{ ...report.migrations[0], outcome: 'fine' }] }),
      'migrations[0].outcome is none of the words known there',
    ],
    [
      'a column that is too short',
      (report) => ({ ...report, tables: { t: { rows: 2, columns: { a: { unit: 'x', values: [1] } } } } }),
      'tables.t.a has 1 values for 2 rows',
    ],
    [
      'a table that claims rows without a column',
      (report) => ({ ...report, tables: { tunnels: { rows: 1e9, columns: {} } } }),
      'tables.tunnels has rows but no columns',
    ],
    [
      'a counting rule that is no text',
      (report) => ({
        ...report,
        migrations: [{ ...report.migrations[0], countingRules: [{ figure: 'rounds', text: 5 }] }],
      }),
      'migrations[0].countingRules[0].text is not a string',
    ],
    [
      'a cell that is an object',
      (report) => ({ ...report, tables: { t: { rows: 1, columns: { a: { unit: 'x', values: [{}] } } } } }),
      'tables.t.a[0] is neither a number nor text',
    ],
  ])('%s is named', (_, change, problem) => {
    expect(checkSaved(saved(change(reportData('healthy'))))).toBe(problem);
  });

  test('damaged in any one place, it is refused or every output still works', async () => {
    const original = JSON.stringify(reportData('lossy'));
    const paths = pathsIn(JSON.parse(original));
    const junk = fc.constantFrom<unknown>(undefined, null, -1, 1e300, '', '\u001b[2J', [], {}, true, [[]], { a: [] });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), junk, async (path, value) => {
        const report = JSON.parse(original) as Record<string, unknown>;
        put(report, path, value);
        const read = checkSaved(report);
        if (typeof read === 'string') return;
        for (const migration of read.migrations) migration.models = modelMigration(read, migration);
        read.findings = diagnose(read);
        const redacted = redact(read);
        renderText(redacted, { color: true, width: 80 });
        await csvFiles(redacted);
        await renderHtml(redacted);
      }),
      { seed: SEED, numRuns: 150 },
    );
  });
});

/** Every place in a value, long lists by their first three entries. */
function pathsIn(value: unknown, path: readonly string[] = []): string[][] {
  const own = path.length === 0 ? [] : [[...path]];
  if (typeof value !== 'object' || value === null) return own;
  const keys = Array.isArray(value) ? [...value.keys()].slice(0, 3).map(String) : Object.keys(value);
  return [...own, ...keys.flatMap((key) => pathsIn((value as Record<string, unknown>)[key], [...path, key]))];
}

function put(value: Record<string, unknown>, [key, ...rest]: readonly string[], replacement: unknown): void {
  if (rest.length === 0) {
    if (replacement === undefined) delete value[key!];
    else value[key!] = replacement;
  } else put(value[key!] as Record<string, unknown>, rest, replacement);
}
