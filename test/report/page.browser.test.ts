// The page in a real browser: it draws, zooms, proves, sorts and stays quiet.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { compareReports, renderCompareHtml } from '../../src/report/compare.js';
import { renderHtml } from '../../src/report/html.js';
import { BrowserPage, describeBrowser } from '../support/browser.js';
import { HOSTILE, reportData, withSegments } from '../support/report-data.js';

/** Start and end of the stretch shown, as the strip tells assistive technology. */
const WINDOW = `['.from', '.to'].map((name) => Number(document.querySelector('.range ' + name).getAttribute('aria-valuenow')))`;
/** Charts whose canvas holds more than one colour, out of all; scrolls through so that each is drawn. */
const DRAWN = `(async () => {
  const drawn = [];
  for (const figure of document.querySelectorAll('.chart, .strip')) {
    figure.scrollIntoView({ block: 'center', behavior: 'instant' });
    await new Promise((done) => setTimeout(done, 120));
    const canvas = figure.querySelector('canvas');
    if (!canvas) continue;
    const pixels = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    if (new Set(pixels).size > 3) drawn.push(figure.id);
  }
  return [drawn.length, document.querySelectorAll('.chart, .strip').length];
})()`;

describeBrowser('page in a browser', () => {
  let folder: string;
  let page: BrowserPage | null = null;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'migscope-page-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(async () => {
    await page?.close();
    page = null;
  });

  const open = async (html: string, width?: number, scheme?: 'light' | 'dark'): Promise<BrowserPage> => {
    const path = join(folder, 'page.html');
    writeFileSync(path, html);
    page = await BrowserPage.open(path, width, scheme);
    return page;
  };

  test.each([
    ['wide and light', 1280, 'light'],
    ['narrow and dark', 420, 'dark'],
  ] as const)('%s: every chart draws, nothing overflows, no request and no error', async (_, width, scheme) => {
    const opened = await open(await renderHtml(reportData('lossy')), width, scheme);
    const [drawn, all] = await opened.evaluate<[number, number]>(DRAWN);
    expect(drawn).toBe(all);
    expect(all).toBeGreaterThan(10);
    expect(await opened.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(
      0,
    );
    expect(opened.requests).toEqual([`file://${join(folder, 'page.html')}`]);
    expect(opened.errors).toEqual([]);
  });

  test('dragging over a chart zooms all of them, 0 and the button go back', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const whole = await opened.evaluate<[number, number]>(WINDOW);
    await opened.drag('#m0-rate .plot', 0.4, 0.6);
    const [from, to] = await opened.evaluate<[number, number]>(WINDOW);
    expect(to - from).toBeLessThan((whole[1] - whole[0]) * 0.3);
    expect(from).toBeGreaterThan(whole[0]);
    await opened.evaluate(`document.querySelector('#m0-rate .plot').focus()`);
    await opened.press('0');
    expect(await opened.evaluate(WINDOW)).toEqual(whole);
  });

  test('keys pan and zoom the focused chart', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const [start, end] = await opened.evaluate<[number, number]>(WINDOW);
    await opened.evaluate(`document.querySelector('#m0-rate .plot').focus()`);
    await opened.press('+');
    const zoomed = await opened.evaluate<[number, number]>(WINDOW);
    expect(zoomed[1] - zoomed[0]).toBeCloseTo((end - start) * 0.6, 5);
    await opened.press('ArrowRight');
    expect((await opened.evaluate<[number, number]>(WINDOW))[0]).toBeGreaterThan(zoomed[0]);
  });

  test('the window in the strip can be dragged by its edge', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const [start, end] = await opened.evaluate<[number, number]>(WINDOW);
    await opened.drag('#m0-overview .range', 0, 0.5);
    const [from, to] = await opened.evaluate<[number, number]>(WINDOW);
    expect(from).toBeGreaterThan(start + (end - start) * 0.3);
    expect(to).toBeCloseTo(end, 6);
  });

  test('a proof moves the charts to its moment and marks it', async () => {
    const report = reportData('lossy');
    const opened = await open(await renderHtml(report));
    await opened.evaluate(`document.querySelector('.proof').click()`);
    await opened.settle();
    const [from, to] = await opened.evaluate<[number, number]>(WINDOW);
    const [proofFrom, proofTo] = report.findings[0]!.interval[0]!;
    expect(from).toBeLessThan(proofFrom / 1e9);
    expect(to).toBeGreaterThan(proofTo / 1e9);
    expect(to - from).toBeLessThan(((proofTo - proofFrom) / 1e9) * 2);
    expect(await opened.evaluate(`document.querySelector('#m0-rate .mark').hidden`)).toBe(false);
  });

  test('below the time-sequence graph a stretch of single segments is one press away, and the page stays where it is', async () => {
    const opened = await open(await renderHtml(withSegments(reportData('lossy'))));
    await opened.evaluate(`document.querySelector('.close-ups').scrollIntoView({ behavior: 'instant' })`);
    const before = await opened.evaluate('scrollY');
    await opened.evaluate(`document.querySelector('.close-ups .proof').click()`);
    await opened.settle();
    expect(await opened.evaluate(WINDOW)).toEqual([0.1, 0.141]);
    expect(await opened.evaluate('scrollY')).toBe(before);
    expect(opened.errors).toEqual([]);
  });

  test.each([
    ['of a channel that carries little', 500, 1],
    ['of the first half of the run', 250, 20_000],
  ])('single segments %s are shown when asked for, not in place of the whole run', async (_name, slower, larger) => {
    const report = withSegments(reportData('lossy'));
    const { columns } = report.tables['tcpSegments']!;
    const { tNs, offset } = columns;
    Object.assign(columns, {
      tNs: { ...tNs, values: tNs!.values.map((value) => (Number(value) - 100e6) * slower) },
      offset: { ...offset, values: offset!.values.map((value) => Number(value) * larger) },
    });
    const opened = await open(await renderHtml(report));
    const pressed = `[...document.querySelectorAll('.close-ups .proof')].map((one) => one.getAttribute('aria-pressed'))`;
    await opened.evaluate(`document.querySelector('.close-ups').scrollIntoView({ behavior: 'instant' })`);
    await opened.settle();
    expect(await opened.evaluate(pressed)).toEqual(['false']);
    await opened.evaluate(`document.querySelector('.close-ups .proof').click()`);
    await opened.settle();
    expect(await opened.evaluate(pressed)).toEqual(['true']);
    expect(opened.errors).toEqual([]);
  });

  test('for a print every chart is drawn as wide as paper, afterwards as wide as the screen', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const widest = `Math.max(...[...document.querySelectorAll('canvas')].map((canvas) => canvas.clientWidth))`;
    await opened.evaluate(`dispatchEvent(new Event('beforeprint'))`);
    expect(await opened.evaluate(widest)).toBeLessThanOrEqual(700);
    expect(await opened.evaluate('document.querySelectorAll(".chart canvas").length')).toBe(
      await opened.evaluate('document.querySelectorAll(".chart").length'),
    );
    await opened.evaluate(`dispatchEvent(new Event('afterprint'))`);
    await opened.settle();
    expect(await opened.evaluate(widest)).toBeGreaterThan(1000);
  });

  test('what is folded on the screen can be read on paper, but for licences', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const isOpen = `[...document.querySelectorAll('main details.more')].map((details) => details.open)`;
    const before = await opened.evaluate<boolean[]>(isOpen);
    expect(before).toContain(false);
    await opened.evaluate(`dispatchEvent(new Event('beforeprint'))`);
    expect(await opened.evaluate<boolean[]>(isOpen)).not.toContain(false);
    expect(await opened.evaluate(`document.querySelector('footer details').open`)).toBe(false);
    await opened.evaluate(`dispatchEvent(new Event('afterprint'))`);
    expect(await opened.evaluate(isOpen)).toEqual(before);
  });

  test('a table sorts by number, up and then down', async () => {
    const opened = await open(await renderHtml(reportData('lossy')));
    const order = `(() => { const table = [...document.querySelectorAll('table')].find((t) => t.rows[0].cells[0].textContent === 'Round');
      table.rows[0].cells[3].querySelector('button').click();
      return [...table.tBodies[0].rows].map((row) => Number(row.cells[3].dataset.sort)); })()`;
    const up = await opened.evaluate<number[]>(order);
    expect(up).toEqual([...up].sort((a, b) => a - b));
    const down = await opened.evaluate<number[]>(order);
    expect(down).toEqual([...up].reverse());
  });

  test('the theme switches paper and charts', async () => {
    const opened = await open(await renderHtml(reportData('healthy')));
    const paper = 'getComputedStyle(document.body).backgroundColor';
    expect(await opened.evaluate(paper)).toBe('rgb(255, 255, 255)');
    await opened.evaluate(`document.getElementById('theme').click()`);
    await opened.settle();
    expect(await opened.evaluate(paper)).toBe('rgb(20, 24, 29)');
    const [drawn, all] = await opened.evaluate<[number, number]>(DRAWN);
    expect(drawn).toBe(all);
  });

  test('hostile names run nothing, hide nothing and load nothing', async () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    for (const device of migration!.devices) device.name = HOSTILE.markup;
    migration!.ramBlocks[0]!.name = HOSTILE.markup;
    migration!.source = `${HOSTILE.bidi}${HOSTILE.markup}`;
    report.capture.inputs[0]!.name = HOSTILE.markup;
    const opened = await open(await renderHtml(report));
    await opened.evaluate(DRAWN);
    expect(await opened.evaluate(`[document.title, document.images.length]`)).toEqual([
      expect.stringContaining('migscope'),
      0,
    ]);
    expect(await opened.evaluate('document.title')).not.toBe('owned');
    expect(opened.requests).toHaveLength(1);
    expect(opened.errors).toEqual([]);
  });

  test('ten minutes over four channels open in under a second', async () => {
    const opened = await open(await renderHtml(reportData('long')));
    const loaded = await opened.evaluate<number>(`performance.getEntriesByType('navigation')[0].loadEventEnd`);
    expect(loaded).toBeLessThan(1000);
    const [drawn, all] = await opened.evaluate<[number, number]>(DRAWN);
    expect(drawn).toBe(all);
  });

  test('a comparison draws its overlays without request or error', async () => {
    const comparison = compareReports([
      { name: 'a', report: reportData('lossy') },
      { name: 'b', report: reportData('recovered') },
    ]);
    const opened = await open(await renderCompareHtml(comparison));
    const [drawn, all] = await opened.evaluate<[number, number]>(DRAWN);
    expect([drawn, all]).toEqual([5, 5]);
    expect(opened.requests).toHaveLength(1);
    expect(opened.errors).toEqual([]);
  });
});
