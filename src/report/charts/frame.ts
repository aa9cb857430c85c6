// What all charts share: margins, the shared time axis, and units that fit the values.
//
// The time axis must lie at the same pixels in every chart, so margins are fixed here and not left to the layout.
import { colour } from './palette.js';
import type { Scene } from './scene.js';

export const MARGIN = { left: 56, right: 16, top: 8, bottom: 22 } as const;
/** Bottom margin of a chart that leaves the labels of its horizontal axis to its neighbours. */
export const BARE_BOTTOM = 2;

/** Unit and divisor for an axis whose largest value is `max`. */
export interface AxisUnit {
  readonly unit: string;
  readonly divisor: number;
}

const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'];

/** Decimal unit, e.g. 'Mbit/s' for 3e8 and base 'bit/s'. */
export function axisUnit(max: number, base: string): AxisUnit {
  let power = 0;
  while (max >= 1000 ** (power + 1) * 2 && power < DECIMAL.length - 1) power++;
  return { unit: `${DECIMAL[power]}${base}`, divisor: 1000 ** power };
}

/** Unit for seconds: s, ms or µs. */
export function timeUnit(maxSeconds: number): AxisUnit {
  if (maxSeconds >= 2) return { unit: 's', divisor: 1 };
  if (maxSeconds >= 0.002) return { unit: 'ms', divisor: 1e-3 };
  return { unit: 'µs', divisor: 1e-6 };
}

/** The largest known number of a column; 0 when there is none. */
export const largest = (values: readonly (number | string | null)[] = []): number =>
  values.reduce<number>((max, value) => (typeof value === 'number' && value > max ? value : max), 0);

/** The middle of the known numbers; 0 when there is none. */
export const median = (values: readonly (number | string | null)[] = []): number => quantile(values, 0.5);

/** What all but rare peaks stay below; 0 when there is none. */
export const usual = (values: readonly (number | string | null)[] = []): number => quantile(values, 0.98);

function quantile(values: readonly (number | string | null)[], share: number): number {
  const known = values.filter((value): value is number => typeof value === 'number').sort((a, b) => a - b);
  return known[Math.floor((known.length - 1) * share)] ?? 0;
}

/** A vertical axis that labels values in `unit`. */
export const valueAxis = ({ divisor }: AxisUnit, extra: Record<string, unknown> = {}) => ({
  title: null,
  labelExpr: `format(datum.value / ${divisor}, ',~g')`,
  // Vega thins out given values, too, where they are more than asked for.
  ...('values' in extra ? {} : { tickCount: { expr: 'max(2, ceil(height / 45))' } }),
  ...extra,
});

// Time labels adapt to the window: minutes for long stretches, milliseconds for short runs, more digits when zoomed in.
const TIME_LABEL = [
  't1 < 2 ? format(datum.value * 1000, (t1 - t0) < 0.01 ? ",.3~f" : ",.1~f") + " ms"',
  '(t1 - t0) >= 180 ? floor(datum.value / 60) + ":" + format(datum.value % 60, "02d")',
  'format(datum.value, (t1 - t0) < 0.01 ? ",.5~f" : (t1 - t0) < 0.1 ? ",.4~f" : (t1 - t0) < 1 ? ",.3~f" : ",.2~f") + " s"',
].join(' : ');
const MINUTE_STEP =
  '(t1 - t0) >= 14400 ? 3600 : (t1 - t0) >= 3600 ? 900 : (t1 - t0) >= 1200 ? 300 : (t1 - t0) >= 420 ? 60 : 30';

/** Round values of a binary unit from 0 to `max`: 0, 10, 20 … MiB. */
export function binaryTicks(max: number, divisor: number, count: number): number[] {
  const rough = max / divisor / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  return Array.from({ length: Math.floor(max / divisor / step) + 1 }, (_, i) => i * step * divisor);
}

/** 0 and round values up to `max` that lie well apart on a square-root axis. */
export function rootTicks(max: number, divisor: number): number[] {
  const top = max / divisor;
  const ticks: number[] = [];
  let last = Number.POSITIVE_INFINITY;
  for (let power = Math.ceil(Math.log10(top)); power > Math.log10(top) - 3; power--) {
    for (const tick of [5, 4, 3, 2, 1].map((factor) => factor * 10 ** power)) {
      const at = Math.sqrt(tick / top);
      if (at > 1 || last - at < TICK_GAP || at < TICK_GAP) continue;
      ticks.push(tick * divisor);
      last = at;
    }
  }
  return [0, ...ticks.reverse()];
}

/** Part of the axis that two labels need between them. */
const TICK_GAP = 0.13;

/** Binary unit for bytes of guest memory. */
export function memoryUnit(max: number): AxisUnit {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  while (max >= 1024 ** (power + 1) * 2 && power < units.length - 1) power++;
  return { unit: units[power]!, divisor: 1024 ** power };
}

/** The shared horizontal axis in seconds; its domain is the window [t0, t1] that the viewer moves. */
export const timeAxis = (field: string) => ({
  field,
  type: 'quantitative' as const,
  scale: { domain: [{ expr: 't0' }, { expr: 't1' }], nice: false, zero: false } as never,
  axis: {
    title: null,
    grid: false,
    labelFlush: 24,
    labelExpr: TIME_LABEL,
    tickCount: { expr: 'max(2, ceil(width / 110))' } as never,
    values: {
      expr: `(t1 - t0) >= 180 ? sequence(ceil(t0 / (${MINUTE_STEP})) * (${MINUTE_STEP}), t1, ${MINUTE_STEP}) : null`,
    } as never,
  },
});

/** Domain of a vertical axis that the viewer fits to the window; needs the parameter 'top'. */
export const fitted = { domain: [0, { expr: 'top' }], nice: false } as const;

interface FrameOptions {
  readonly left?: number;
  readonly bottom?: number;
  /** Initial end of a fitted axis. */
  readonly top?: number;
  /** Width of the timeline's bins, s, for charts that use `stepped`. */
  readonly binSeconds?: number;
}

/** Size, margins and window parameters of a chart; the viewer sets the width. */
export const frame = (
  height: number,
  window: readonly [number, number] | null,
  { left = MARGIN.left, bottom = MARGIN.bottom, top, binSeconds }: FrameOptions = {},
) => ({
  $schema: 'https://vega.github.io/schema/vega-lite/v6.json' as const,
  width: 640,
  height,
  autosize: { type: 'none' as const },
  padding: { left, right: MARGIN.right, top: MARGIN.top, bottom },
  params: [
    ...(window
      ? [
          { name: 't0', value: window[0] },
          { name: 't1', value: window[1] },
        ]
      : []),
    ...(top === undefined ? [] : [{ name: 'top', value: top }]),
    ...(binSeconds === undefined
      ? []
      : [{ name: 'step', expr: `${binSeconds} * max(1, ceil((t1 - t0) / width * ${STEP_PX} / ${binSeconds}))` }]),
  ],
});

/** Bins narrower than this are drawn together; zooming in takes them apart. */
const STEP_PX = 4;

/** Width of the timeline's bins, s. */
export function binSecondsOf({ data }: Scene): number {
  const [from, to] = [data['timeline']?.['t']?.[0], data['timeline']?.['t2']?.[0]];
  return typeof from === 'number' && typeof to === 'number' && to > from ? to - from : 1e-3;
}

/**
 * Timeline rows joined into steps of a few pixels: rates average over the step, extremes stay extremes.
 * Gives 'b' and 'b2' (start and end of the step, s) and the named columns.
 */
export const stepped = (columns: { rates?: readonly string[]; max?: readonly string[]; min?: readonly string[] }) => {
  const { rates = [], max = [], min = [] } = columns;
  return [
    { calculate: 'floor(datum.t / step + 1e-6) * step', as: 'b' },
    ...rates.map((name) => ({ calculate: `datum.${name} * (datum.t2 - datum.t)`, as: `${name}Amount` })),
    {
      aggregate: [
        ...rates.map((name) => ({ op: 'sum', field: `${name}Amount`, as: `${name}Amount` })),
        ...max.map((name) => ({ op: 'max', field: name, as: `${name}Top` })),
        ...min.map((name) => ({ op: 'min', field: name, as: `${name}Bottom` })),
      ],
      groupby: ['b'],
    },
    { calculate: 'datum.b + step', as: 'b2' },
    ...rates.map((name) => ({ calculate: `datum.${name}Amount / step`, as: name })),
  ];
};

/** Whether a round is wider on the screen than so many px. */
export const widerThan = (px: number): string => `(datum.end - datum.start) / (t1 - t0) * width > ${px}`;

/** Faint vertical lines where rounds begin; rounds so short that the lines would be a screen have none. */
export const roundLines = () => ({
  data: { name: 'rounds' },
  transform: [{ filter: widerThan(6) }],
  mark: { type: 'rule' as const, clip: true, color: colour('muted'), strokeDash: [2, 3], opacity: 0.7 },
  encoding: { x: timeAxis('start') },
});

/** A tooltip from one prepared text column. */
export const tip = (field = 'tip') => ({ field, type: 'nominal' as const });

/** Bottom margin of a chart whose horizontal axis has a title. */
export const TITLED_BOTTOM = 38;

/** Round numbers along a horizontal axis, whole ones only; needs TITLED_BOTTOM. */
export const roundAxis = (field: string) => ({
  field,
  type: 'quantitative' as const,
  scale: { zero: false, nice: false },
  axis: {
    title: 'round',
    titleFontWeight: 'normal' as const,
    titlePadding: 2,
    grid: false,
    tickMinStep: 1,
    format: 'd',
    labelOverlap: true,
    labelFlush: 20,
    tickCount: { expr: 'max(2, ceil(width / 80))' },
  },
});
