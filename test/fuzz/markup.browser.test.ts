// Every free text of a result holds markup, script and marks that reorder text; a real browser then says what became of it:
// the page has the same elements as its twin with harmless letters, asks for nothing, and nothing runs.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { judge } from '../../src/cli/deliver.js';
import { compareReports, renderCompareHtml, renderCompareText } from '../../src/report/compare.js';
import { renderHtml } from '../../src/report/html.js';
import type { ReportData } from '../../src/report/report.js';
import { checkSaved } from '../../src/report/saved.js';
import { csvFiles } from '../../src/report/tables.js';
import { renderText } from '../../src/report/text.js';
import { reportOn } from '../support/analyze.js';
import { BrowserPage, describeBrowser } from '../support/browser.js';
import { reportData } from '../support/report-data.js';
import { checkText } from './checks.mjs';
import { shortResult } from './targets.mjs';

/** Leaves a script element, an attribute, a template, a comment; drives a terminal, reorders what follows. */
const PAYLOAD = `</script><img src=x onerror=owned=1>"'><!--<script>\${owned=1}\u202e\u001b[2J`;
const HARMLESS = 'n'.repeat(PAYLOAD.length);

/** `report` with `text` in place of every string that may be any, and as a further key wherever keys may be any. */
function filled(report: ReportData, text: string): ReportData {
  const copy = JSON.parse(JSON.stringify(report));
  const accepted = (): boolean => typeof checkSaved(copy) !== 'string';
  const known = new Map<string, boolean>();
  let count = 0;
  const visit = (holder: Record<string, unknown>, path: string): void => {
    for (const key of Object.keys(holder)) {
      const value = holder[key];
      const at = `${path}.${Array.isArray(holder) ? '' : key}`;
      if (typeof value === 'string') {
        holder[key] = text;
        if (!known.has(at)) known.set(at, accepted());
        if (known.get(at)) count++;
        else holder[key] = value;
      } else if (typeof value === 'object' && value !== null) {
        visit(value as Record<string, unknown>, at);
      }
    }
    const first = Object.keys(holder)[0];
    if (Array.isArray(holder) || first === undefined) return;
    holder[text] = structuredClone(holder[first]);
    if (!known.has(`${path}{}`)) known.set(`${path}{}`, accepted());
    if (!known.get(`${path}{}`)) delete holder[text];
  };
  visit(copy, '');
  expect(accepted()).toBe(true);
  expect(count).toBeGreaterThan(20);
  return copy;
}

/** Uses the page: opens everything, presses everything, points at everything. */
const USE = `(async () => {
  for (const each of document.querySelectorAll('details')) each.open = true;
  for (const each of document.querySelectorAll('button, th, summary, a[href^="#"]')) each.click();
  for (const each of document.querySelectorAll('.chart, .strip')) {
    each.scrollIntoView({ block: 'center', behavior: 'instant' });
    await new Promise((done) => setTimeout(done, 60));
    const plot = each.querySelector('canvas, svg') ?? each;
    const box = plot.getBoundingClientRect();
    for (let i = 1; i < 20; i++) {
      const place = { clientX: box.left + (box.width * i) / 20, clientY: box.top + (box.height * (i % 5)) / 5, bubbles: true };
      plot.dispatchEvent(new PointerEvent('pointermove', place));
      plot.dispatchEvent(new MouseEvent('mousemove', place));
    }
  }
})()`;
/** How many elements of each kind there are, and what must not be anywhere. */
const SEEN = `(() => {
  const elements = {};
  for (const { localName } of document.querySelectorAll('*')) elements[localName] = (elements[localName] ?? 0) + 1;
  const attributes = new Set();
  for (const each of document.querySelectorAll('*')) for (const { name } of each.attributes) attributes.add(name);
  return {
    elements,
    handlers: [...attributes].filter((name) => name.startsWith('on')),
    owned: typeof owned,
    treacherous: /.{0,60}[\\u202a-\\u202e\\u2066-\\u2069\\u001b].{0,60}/.exec(document.documentElement.outerHTML)?.[0] ?? null,
  };
})()`;

interface Seen {
  readonly elements: Record<string, number>;
  readonly handlers: string[];
  readonly owned: string;
  readonly treacherous: string | null;
}

describeBrowser('a result full of markup', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'migscope-markup-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function look(html: string): Promise<Seen> {
    const path = join(folder, 'page.html');
    writeFileSync(path, html);
    const page = await BrowserPage.open(path);
    try {
      await page.evaluate(USE);
      await page.settle();
      const seen = await page.evaluate<Seen>(SEEN);
      expect(page.requests).toEqual([`file://${path}`]);
      expect(page.errors).toEqual([]);
      return seen;
    } finally {
      await page.close();
    }
  }

  async function expectSame(hostile: string, harmless: string): Promise<void> {
    const seen = await look(hostile);
    expect(seen).toMatchObject({ handlers: [], owned: 'undefined', treacherous: null });
    expect(seen.elements).toEqual((await look(harmless)).elements);
  }

  const SOURCES: readonly (readonly [string, () => ReportData | Promise<ReportData>])[] = [
    ['a lossy run with findings', () => reportData('lossy')],
    ['post-copy with a preempt channel', async () => shortResult(await reportOn('samples/postcopy-preempt.pcap.gz'))],
    ['a run inside TLS', () => reportOn('samples/tls-multifd.pcap.gz')],
  ];

  test.each(SOURCES)(
    '%s',
    async (_, source) => {
      const report = await source();
      const [hostile, harmless] = [filled(report, PAYLOAD), filled(report, HARMLESS)];
      await expectSame(await renderHtml(hostile), await renderHtml(harmless));
      // Rules write their own sentences around such names.
      await expectSame(await renderHtml(judge(hostile, {})), await renderHtml(judge(harmless, {})));
      checkText(renderText(judge(hostile, {}), { color: false, width: 80 }));
      checkText(renderText(hostile, { color: false, width: 80 }));
      for (const { name } of await csvFiles(hostile)) expect(name).toMatch(/^[\w-]+\.(csv|json)$/);
    },
    180_000,
  );

  test('two results beside each other', async () => {
    const named = (text: string) =>
      compareReports([
        { name: text, report: filled(reportData('lossy'), text) },
        { name: `${text}2`, report: filled(reportData('healthy'), text) },
      ]);
    await expectSame(await renderCompareHtml(named(PAYLOAD)), await renderCompareHtml(named(HARMLESS)));
    checkText(renderCompareText(named(PAYLOAD), { color: false, width: 80 }));
  }, 180_000);
});
