// Every bundled sample as a reader gets it: the summary fits a terminal, the page stays small, and neither shows what a
// program says when it does not know.
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { renderHtml } from '../../src/report/html.js';
import { csvFiles } from '../../src/report/tables.js';
import { renderText } from '../../src/report/text.js';
import { reportOn } from '../support/analyze.js';

const names = readdirSync('samples')
  .filter((file) => file.endsWith('.pcap.gz'))
  .map((file) => file.replace('.pcap.gz', ''));

/** Words that only a program would say. */
const PROGRAM_TALK = /\b(?:NaN|undefined|Infinity|\[object \w+\]|null)\b/;

describe.each(names)('sample %s', (name) => {
  const report = reportOn(`samples/${name}.pcap.gz`);

  test('the summary fits into 80 columns and speaks plainly', async () => {
    const text = renderText(await report, { color: false, width: 80 });
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(text).not.toMatch(PROGRAM_TALK);
    for (const { outcome } of (await report).migrations) expect(text).toContain(outcome.toUpperCase());
  });

  test('the page speaks plainly, is below 3 MB, and draws the chart of its rounds', async () => {
    const page = await renderHtml(await report);
    const visible = page.replace(/<(script|style)[\s\S]*?<\/\1>/g, '').replace(/<[^>]*>/g, ' ');
    expect(visible).not.toMatch(PROGRAM_TALK);
    expect(page.length).toBeLessThan(3e6);
    expect(page).toContain('id="m0-ladder"');
  });

  test('the tables hold every round', async () => {
    const rounds = (await csvFiles(await report)).find((file) => file.name === 'rounds.csv')!;
    const count = (await report).migrations.reduce((sum, migration) => sum + migration.rounds.length, 0);
    expect(String(rounds.content).trimEnd().split('\n')).toHaveLength(count + 1);
  });
});
