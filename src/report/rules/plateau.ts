// The pace of a transfer: its rate in steps of several round trips, the level it settles on, and how flat it is there.
import { percent } from '../format.js';
import { lineEfficiency } from '../models/ceilings.js';
import { deviation, mean, median } from './comb.js';
import type { Interval, Transfer } from './transfer.js';

export interface Pace {
  readonly stepNs: number;
  /** Bytes per second in each step. */
  readonly rates: readonly number[];
  readonly median: number;
  /** 95th percentile: what the path gave at its best. */
  readonly peak: number;
  /** Standard deviation over mean of the middle 80 % of the steps in which data flowed, less what whole frames make of it. */
  readonly variation: number;
  /** Median change from one step to the next, as a share of the median rate: small on each level of a shaper that is set anew on the way. */
  readonly jitter: number;
}

/** Line rates in common use, bits per second. */
const LINE_RATES = [10e6, 100e6, 1e9, 2.5e9, 5e9, 10e9, 20e9, 25e9, 40e9, 50e9, 100e9, 200e9, 400e9] as const;
const MIN_STEP_NS = 100e6;
/** Frames that a step should hold where there is time for it: of a few 64 KiB super-packets one more or less is a swing. */
const FRAMES_PER_STEP = 32;
const MIN_STEPS = 8;
/** Steps below this share of the fastest are pauses. */
const BUSY_SHARE = 0.1;

/** Within what the rate stays even, in words: below a percent chance alone may make it flat. */
export const evenness = ({ variation }: Pace): string => percent(Math.max(0.01, variation));

/** Needs eight steps with data. Rates are of all payload, as what shapes them counts repeated bytes too. Null when the timeline is missing or too coarse. */
export function paceOf(transfer: Transfer, within: Interval): Pace | null {
  const spanNs = within[1] - within[0];
  const frames = transfer.sum(({ forward }) => forward.dataFrames);
  const frameNs = frames > 0 ? transfer.durationNs / frames : 0;
  const wanted = Math.max(MIN_STEP_NS, 4 * (transfer.minRttNs ?? 0), FRAMES_PER_STEP * frameNs);
  // Whole bins only: a step that cuts bins would see a beat between the two.
  const binNs = Math.max(1, ...transfer.bins(transfer.mainFlow).map((bin) => bin.durationNs));
  const stepNs = Math.max(1, Math.floor(Math.min(Math.max(wanted, spanNs / 200), spanNs / MIN_STEPS) / binNs)) * binNs;
  const steps = transfer.byteSteps(stepNs, within);
  if (!steps || steps.length < MIN_STEPS) return null;
  const rates = steps.map((bytes) => (bytes / stepNs) * 1e9);
  const sorted = [...rates].sort((a, b) => a - b);
  const flowing = sorted.filter((rate) => rate > BUSY_SHARE * sorted.at(-1)!);
  if (flowing.length < MIN_STEPS) return null;
  const edge = Math.floor(flowing.length / 10);
  const middle = flowing.slice(edge, flowing.length - edge);
  const centre = middle.length > 0 ? mean(middle) : 0;
  if (centre <= 0) return null;
  const usual = median(flowing);
  return {
    stepNs,
    rates,
    median: usual,
    peak: sorted[Math.ceil(0.95 * sorted.length) - 1]!,
    variation: Math.sqrt(Math.max(0, (deviation(middle) / centre) ** 2 - (EDGE_DEVIATION * (frameNs / stepNs)) ** 2)),
    jitter: median(rates.slice(1).map((rate, at) => Math.abs(rate - rates[at]!))) / usual,
  };
}

/** Standard deviation, in frames, of how many whole frames of a steady stream fall into a step: both its edges are chance. */
const EDGE_DEVIATION = Math.sqrt(1 / 6);

/** A rate this even is set by hardware or a queue, never by a busy thread. */
export const FLAT = {
  value: 0.05,
  unit: 'deviation / mean',
  meaning: 'a rate this even is set by a line or a shaper',
} as const;

/** Measured rates may be off by so much: other traffic, the edges of the steps. */
const LINE_TOLERANCE = 0.015;

/** The line rate (bits/s) that a goodput fills, headers of MTU 1500 to 9000 allowed for; null when none fits. */
export function lineRateOf(goodput: number): number | null {
  const lowest = lineEfficiency(1500) - LINE_TOLERANCE;
  const highest = lineEfficiency(9000) + LINE_TOLERANCE / 3;
  return LINE_RATES.find((line) => goodput * 8 >= lowest * line && goodput * 8 <= highest * line) ?? null;
}
