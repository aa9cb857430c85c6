import { readFileSync } from 'node:fs';
import { Type, tableFromIPC } from '@uwdata/flechette';
import { fromArrow } from 'arquero';
import { describe, expect, test } from 'vitest';
import type { ReportData } from '../../src/report/report.js';
import { arrowFiles, csvFiles, hotRegions, timelineOf } from '../../src/report/tables.js';
import { carriersOf } from '../../src/report/traffic.js';
import { reportData, reportWithoutMigration } from '../support/report-data.js';

const total = (values: readonly (number | null)[]): number =>
  values.reduce<number>((sum, value) => sum + (value ?? 0), 0);

describe('timeline of several channels', () => {
  const report = reportData('long');
  const carriers = carriersOf(report, report.migrations[0]!);
  const source = report.tables['timeline']!.columns;
  const all = (name: string): (number | null)[] =>
    source[name]!.values.map((value) => (value === null ? null : Number(value)));

  test.each([2000, 300, 7])('in at most %d bins no byte is lost', (limit) => {
    const bins = timelineOf(report, carriers, limit)!;
    expect(bins.startNs.length).toBeLessThanOrEqual(limit + 1);
    expect(total(bins.uniqueBytes)).toBe(total(all('uniqueBytes')));
    expect(total(bins.retransmittedBytes)).toBe(total(all('retransmittedBytes')));
  });

  test('round-trip times keep their extremes, windows add up over channels', () => {
    const bins = timelineOf(report, carriers, 50)!;
    expect(Math.max(...bins.rttMaxNs.map(Number))).toBe(Math.max(...all('rttMaxNs').map(Number)));
    expect(bins.windowMaxBytes[3]).toBe(4 * 24e6);
  });

  test('one channel alone gives its own bytes only', () => {
    const one = timelineOf(report, [carriers[1]!], 2000)!;
    const mine = all('uniqueBytes').filter((_, row) => source['direction']!.values[row] === carriers[1]!.direction);
    expect(total(one.uniqueBytes)).toBe(total(mine));
  });

  test('what was never measured stays unknown', () => {
    const quiet = reportData('healthy');
    const column = quiet.tables['timeline']!.columns['windowMaxBytes']!;
    quiet.tables['timeline'] = {
      ...quiet.tables['timeline']!,
      columns: {
        ...quiet.tables['timeline']!.columns,
        windowMaxBytes: { unit: column.unit, values: column.values.map(() => null) },
      },
    };
    const bins = timelineOf(quiet, carriersOf(quiet, quiet.migrations[0]!), 500)!;
    expect(new Set(bins.windowMaxBytes)).toEqual(new Set([null]));
  });

  test('a report without timeline has none', () => {
    expect(timelineOf({ ...report, tables: {} }, carriers, 100)).toBeNull();
  });
});

describe('hot regions', () => {
  test('come hottest first and leave the first round out', () => {
    const report = reportData('lossy');
    const regions = hotRegions(report, 0, 5);
    const resent = regions.map((region) => region.resent);
    expect(resent).toEqual([...resent].sort((a, b) => b - a));
    const pages = report.migrations[0]!.ramBlocks[0]!.lengthBytes / 4096;
    for (const { startPage } of regions) {
      expect(startPage).toBeGreaterThan(pages * 0.3);
      expect(startPage).toBeLessThan(pages * 0.4);
    }
  });
});

describe('files for other programs', () => {
  test('CSV has a header, a row a round, and empty cells for what is unknown', async () => {
    const files = await csvFiles(reportData('healthy'));
    const rounds = files.find((file) => file.name === 'rounds.csv')!;
    const [head, first, last] = String(rounds.content).split('\n');
    expect(head).toMatch(/^migration,round,startNs,endNs,bytes,goodput,dirtyPagesPerSecond,/);
    expect(first).toMatch(/^0,1,21000000,/);
    expect(last!.split(',')[6]).toBe('');
  });

  test('the schema names every file with the unit of every column', async () => {
    const files = await csvFiles(reportData('lossy'));
    const schema = JSON.parse(String(files.at(-1)!.content)) as {
      tables: { file: string; rows: number; columns: { name: string; unit: string }[] }[];
    };
    expect(schema.tables.map((table) => table.file)).toEqual(files.slice(0, -1).map((file) => file.name));
    for (const wanted of ['rounds', 'timeline', 'connections', 'tcpEvents', 'sections', 'pageRegions', 'findings']) {
      expect(schema.tables.map((table) => table.file)).toContain(`${wanted}.csv`);
    }
    for (const { columns } of schema.tables) for (const { unit } of columns) expect(unit).not.toBe('');
  });

  test('Arrow files read back as the same rows', async () => {
    const report = reportData('healthy');
    const files = await arrowFiles(report);
    const timeline = fromArrow(files.find((file) => file.name === 'timeline.arrow')!.content as Uint8Array);
    expect(timeline.numRows()).toBe(report.tables['timeline']!.rows);
    expect(Array.from(timeline.array('uniqueBytes') as ArrayLike<number>)).toEqual(
      report.tables['timeline']!.columns['uniqueBytes']!.values,
    );
  });

  test('a column has one type in every Arrow file: numbers are float64, words utf8, empty columns too', async () => {
    const typesIn = async (report: ReportData): Promise<Map<string, number>> =>
      new Map(
        (await arrowFiles(report))
          .filter(({ name }) => name.endsWith('.arrow'))
          .flatMap(({ name, content }) =>
            tableFromIPC(content as Uint8Array).schema.fields.map((field): [string, number] => [
              `${name} ${field.name}`,
              field.type.typeId,
            ]),
          ),
      );
    const full = await typesIn(reportData('long'));
    const none = await typesIn(reportWithoutMigration());
    for (const [column, type] of none) expect([column, full.get(column) ?? type]).toEqual([column, type]);
    expect(none.get('rounds.arrow boundary')).toBe(Type.Utf8);
    expect(none.get('rounds.arrow startNs')).toBe(Type.Float);
    expect(full.get('connections.arrow migration')).toBe(Type.Float);
  });

  test('what the number in a column stands for is in the schema, and in the documentation', async () => {
    const files = await csvFiles(reportData('lossy'));
    const schema = JSON.parse(String(files.find(({ name }) => name === 'schema.json')!.content)) as {
      tables: { name: string; columns: { name: string; values?: string[] }[] }[];
    };
    const documentation = readFileSync('docs/report.md', 'utf8');
    const coded = schema.tables.flatMap(({ name, columns }) =>
      columns.flatMap(({ name: column, values }) => (values ? [{ table: name, column, values }] : [])),
    );
    expect(coded.map(({ table, column }) => `${table}.${column}`)).toEqual(['tcpEvents.kind', 'tcpEpisodes.kind']);
    for (const { table, values } of coded)
      expect(documentation).toContain(`| \`${table}\` | ${values.map((value) => `\`${value}\``).join(', ')} |`);
  });

  test('columns and units of a result made by hand become neither formulas nor control characters', async () => {
    const report = reportData('healthy');
    report.tables['own'] = {
      rows: 1,
      columns: { '=cmd': { unit: 'ns', values: [1] }, fine: { unit: 'a\u202eb', values: [2] } },
    };
    const files = await csvFiles(report);
    expect(files.find(({ name }) => name === 'own.csv')!.content).toBe('fine\n2\n');
    expect(files.find(({ name }) => name === 'schema.json')!.content).not.toContain('\u202e');
  });

  test.each(['+1', '-1', '@SUM(1)', '＝1', '＠x'])('%s is only text to a spreadsheet', async (name) => {
    const report = reportData('healthy');
    report.migrations[0]!.devices[0]!.name = name;
    const sections = (await csvFiles(report)).find((file) => file.name === 'sections.csv')!;
    expect(String(sections.content)).toContain(`,'${name},`);
  });

  test('a name that looks like a formula is only text to a spreadsheet', async () => {
    const report = reportData('healthy');
    report.migrations[0]!.devices[0]!.name = '=HYPERLINK("http://x","y")\u0007';
    const sections = (await csvFiles(report)).find((file) => file.name === 'sections.csv')!;
    expect(String(sections.content)).toContain(`"'=HYPERLINK(""http://x"",""y"")\\u{7}"`);
  });
});
