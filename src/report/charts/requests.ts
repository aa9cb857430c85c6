// Page requests of post-copy: how long the guest waited for each, over time and as a distribution. Both axes of waiting are
// logarithmic: what comes at once and what is queued behind the background lie three powers of ten apart.
import type { Chart } from './chart.js';
import { frame, largest, timeAxis, tip } from './frame.js';
import { colour } from './palette.js';

/** Labels on a logarithmic axis of seconds. */
const SECONDS_LABEL =
  "datum.value >= 1 ? format(datum.value, '~g') + ' s' : datum.value >= 1e-3 ? format(datum.value * 1e3, '~g') + ' ms' : format(datum.value * 1e6, '~g') + ' µs'";

const known = (values: readonly (number | string | null)[] = []): number[] =>
  values.filter((value): value is number => typeof value === 'number' && value > 0);

/** Whole powers of ten inside [from, to]; halves as well where there are few. */
function ticks(from: number, to: number): number[] {
  const decades = Math.log10(to / from);
  const steps = decades > 3 ? [1] : [1, 3];
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
    for (const step of steps) {
      const value = Number((step * 10 ** power).toPrecision(1));
      if (value >= from && value <= to) found.push(value);
    }
  }
  return found;
}

export const requests: Chart = {
  id: 'requests',
  title: 'Page requests',
  question: 'How long did the guest wait for a page, and when?',
  needs: ['requests'],
  axis: 'time',
  absent: '',
  legend: [{ label: 'one request', colour: 'dirty', mark: 'area' }],
  spec({ data, window }) {
    const waits = known(data['requests']?.['wait']);
    if (waits.length === 0) return null;
    const domain = [Math.min(...waits) / 1.3, Math.max(...waits) * 1.3];
    return {
      unit: 'from request to page',
      height: 120,
      left: 56,
      vegaLite: {
        ...frame(120, window),
        data: { name: 'requests' },
        mark: { type: 'point', clip: true, filled: true, size: 14, opacity: 0.75, color: colour('dirty') },
        encoding: {
          x: timeAxis('t'),
          y: {
            field: 'wait',
            type: 'quantitative',
            scale: { type: 'log', domain, nice: false },
            axis: { title: null, values: ticks(domain[0]!, domain[1]!), labelExpr: SECONDS_LABEL },
          },
          tooltip: tip(),
        },
      } as never,
    };
  },
};

export const requestWaits: Chart = {
  id: 'request-waits',
  title: 'Waits for pages',
  question: 'Were long waits the rule or the exception?',
  needs: ['waits'],
  axis: 'own',
  absent: '',
  legend: [
    { label: 'requests', colour: 'dirty', mark: 'area' },
    { label: 'median and 99 %', colour: 'ink', mark: 'dash' },
  ],
  spec({ data }) {
    const bins = data['waits'];
    const [from, to] = [known(bins?.['from'])[0], known(bins?.['to']).at(-1)];
    if (from === undefined || to === undefined) return null;
    const x = {
      type: 'quantitative',
      scale: { type: 'log', domain: [from, to], nice: false },
      axis: { title: null, grid: false, values: ticks(from, to), labelExpr: SECONDS_LABEL, labelOverlap: true },
    };
    return {
      unit: 'requests by the time they waited',
      height: 110,
      left: 56,
      vegaLite: {
        ...frame(110, null),
        layer: [
          {
            data: { name: 'waits' },
            mark: { type: 'rect', color: colour('dirty') },
            encoding: {
              x: { field: 'from', ...x },
              x2: { field: 'to' },
              y: {
                field: 'count',
                type: 'quantitative',
                scale: { domain: [0, largest(bins?.['count'])], nice: true },
                axis: { title: null, tickMinStep: 1, format: 'd', tickCount: 3 },
              },
              y2: { datum: 0 },
              tooltip: tip(),
            },
          },
          {
            data: { name: 'quantiles' },
            mark: { type: 'rule', color: colour('ink'), strokeDash: [2, 3] },
            encoding: { x: { field: 'wait', ...x }, tooltip: tip() },
          },
        ],
      } as never,
    };
  },
};
