// The pace of a transfer: its rate in steps of several round trips, the level it settles on, and how flat it is there.
import { deviation, mean, median } from './comb.js';
import type { Interval, Transfer } from './transfer.js';

export interface Pace {
  readonly stepNs: number;
  /** Bytes per second in each step. */
  readonly rates: readonly number[];
  readonly median: number;
  /** 95th percentile: what the path gave at its best. */
  readonly peak: number;
  /** Standard deviation over mean of the middle 80 %. */
  readonly variation: number;
}

/** Line rates in common use, bits per second. */
const LINE_RATES = [10e6, 100e6, 1e9, 2.5e9, 5e9, 10e9, 20e9, 25e9, 40e9, 50e9, 100e9, 200e9, 400e9] as const;
const MIN_STEP_NS = 20e6;
const MIN_STEPS = 8;

/** Null when the timeline is missing or too coarse for eight steps. */
export function paceOf(transfer: Transfer, within: Interval): Pace | null {
  const spanNs = within[1] - within[0];
  const wanted = Math.max(MIN_STEP_NS, 4 * (transfer.minRttNs ?? 0));
  const stepNs = Math.min(Math.max(wanted, spanNs / 200), spanNs / MIN_STEPS);
  const steps = transfer.byteSteps(stepNs, within);
  if (!steps || steps.length < MIN_STEPS) return null;
  const rates = steps.map((bytes) => (bytes / stepNs) * 1e9);
  const sorted = [...rates].sort((a, b) => a - b);
  const edge = Math.floor(sorted.length / 10);
  const middle = sorted.slice(edge, sorted.length - edge);
  const centre = mean(middle);
  if (centre <= 0) return null;
  return {
    stepNs,
    rates,
    median: median(sorted),
    peak: sorted[Math.ceil(0.95 * sorted.length) - 1]!,
    variation: deviation(middle) / centre,
  };
}

/** The line rate (bits/s) that a goodput fills: 94 % of it at MTU 1500, 99 % with jumbo frames; null when none fits. */
export function lineRateOf(goodput: number): number | null {
  const bits = goodput * 8;
  return LINE_RATES.find((line) => bits >= 0.925 * line && bits <= 0.995 * line) ?? null;
}
