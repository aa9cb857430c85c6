// Every part of a saved result is replaced by every kind of value: it is refused in words, or read without harm.
import { expect, test } from 'vitest';
import { judge } from '../../src/cli/deliver.js';
import { compareReports, renderCompareText } from '../../src/report/compare.js';
import { redact } from '../../src/report/redact.js';
import type { ReportData } from '../../src/report/report.js';
import { checkSaved } from '../../src/report/saved.js';
import { renderText } from '../../src/report/text.js';
import { reportOn } from '../support/analyze.js';
import { checkText } from './checks.mjs';
import { pathsOf, shortResult } from './targets.mjs';

const ABSENT = Symbol('absent');
const VALUES = [null, -1, 1e308, 'x', true, [], {}, [null], { a: null }, ABSENT];

function replaced(text: string, path: readonly string[], value: unknown): unknown {
  const report = JSON.parse(text);
  const holder = path.slice(0, -1).reduce((inner, key) => inner[key], report);
  if (value === ABSENT) delete holder[path.at(-1)!];
  else holder[path.at(-1)!] = structuredClone(value);
  return JSON.parse(JSON.stringify(report)); // what was taken out of a list is null in a file
}

function read(report: ReportData): void {
  const judged = judge(report, {});
  checkText(renderText(judged, { color: false, width: 80 }));
  const named = [judged, redact(judged)].map((each, i) => ({ name: `${i}`, report: each }));
  renderCompareText(compareReports(named), { color: false, width: 80 });
}

test('every part of a saved result, as every kind of value', async () => {
  const small = shortResult(await reportOn('samples/multifd-zlib.pcap.gz'));
  // A part that no anomaly-free recording shows.
  const place = { frame: 3, tNs: 5, direction: 0, detail: 'x' };
  const anomaly = { code: 'stream/hole', severity: 'warning', origin: 'capture', text: 'x', direction: 0, count: 2 };
  const withAnomaly = { ...small, anomalies: [{ ...anomaly, first: place, last: place, samples: [place] }] };
  const text = JSON.stringify(withAnomaly);
  expect(checkSaved(JSON.parse(text))).toBeTypeOf('object');
  // The second and third entry of a list are like the first.
  const paths = pathsOf(withAnomaly).filter((path) => !path.some((key) => key === '1' || key === '2'));
  const kinds = { refused: 0, taken: 0 };
  for (const path of paths) {
    for (const value of VALUES) {
      const found = checkSaved(replaced(text, path, value));
      if (typeof found === 'string') {
        kinds.refused++;
        expect(found).toMatch(/^[^\n]{1,300}$/);
        continue;
      }
      kinds.taken++;
      try {
        read(found);
      } catch (error) {
        throw new Error(`${path.join('.')} = ${String(value)}`, { cause: error });
      }
    }
  }
  expect(kinds.refused).toBeGreaterThan(paths.length);
  expect(kinds.taken).toBeGreaterThan(paths.length);
}, 120_000);
