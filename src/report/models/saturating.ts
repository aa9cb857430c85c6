// Saturating pre-copy: the guest writes a working set of W bytes, at first at D0 bytes per second of pages not yet dirty.
//
//   U(t) = W · (1 − e^(−D0·t/W))                    unique bytes dirtied within t
//   x*   = U(x*/B)                                  what remains to be sent after any number of rounds
//   d_min = x*/B      B_req(d) = U(d)/d             lowest downtime at B, lowest bandwidth for downtime d
//
// Pre-copy converges exactly when B ≥ B_req(d). Hot pages are counted once a round, however often they are written: that
// is why a constant dirtying rate (geometric.ts) misleads for most guests.
import { type Model, type ModelInput, NS, settledSamples } from './model.js';

export interface WorkingSet {
  /** W, bytes. */
  readonly bytes: number;
  /** D0, bytes per second. */
  readonly dirtyRate: number;
}

/** U(t), bytes. */
export const dirtiedIn = ({ bytes, dirtyRate }: WorkingSet, seconds: number): number =>
  bytes > 0 ? -bytes * Math.expm1((-dirtyRate * seconds) / bytes) : 0;

/** x*, bytes; 0 when the bandwidth keeps up with the peak dirtying rate. */
export function remainingFloor(set: WorkingSet, bandwidth: number): number {
  const ratio = set.dirtyRate / bandwidth;
  if (ratio <= 1) return 0;
  return set.bytes * (1 + lambertW0(-ratio * Math.exp(-ratio)) / ratio);
}

/** B_req(d), bytes per second. */
export const requiredBandwidth = (set: WorkingSet, downtimeSeconds: number): number =>
  dirtiedIn(set, downtimeSeconds) / downtimeSeconds;

/** Principal branch of Lambert's W for z in [−1/e, 0]: w·e^w = z with w ≥ −1. Halley's iteration. */
export function lambertW0(z: number): number {
  if (z <= -1 / Math.E) return -1;
  // Near the branch point the series in √(2(1 + e·z)) converges where a start at z would not.
  let w = z < -0.25 ? -1 + Math.sqrt(2 * (1 + Math.E * z)) : z;
  for (let step = 0; step < 50; step++) {
    const power = Math.exp(w);
    const error = w * power - z;
    const slope = power * (w + 1) - ((w + 2) * error) / (2 * w + 2);
    if (slope === 0) break;
    const next = w - error / slope;
    if (Math.abs(next - w) <= 1e-15 * Math.abs(next)) return next;
    w = next;
  }
  return w;
}

export interface DirtySample {
  readonly seconds: number;
  readonly bytes: number;
}

export interface WorkingSetFit extends WorkingSet {
  /** Even the shortest round is near W: D0 could be any larger value, so B_req(d) is only known to lie below W / d. */
  readonly saturated: boolean;
  /** Root mean square of ln(measured / fitted). */
  readonly residual: number;
}

/** Samples with lengths closer together than this say nothing about saturation. */
const MIN_SPREAD = 1.2;
/** D0·t/W of the shortest round from which it is: U is then above 95 % of W. */
const SATURATED_EXPONENT = 3;
/** A fit that misses by more (root mean square of the logarithm) means that the workload changed. */
const MAX_RESIDUAL = 0.5;

/**
 * Least squares on logarithms with 0 < W ≤ `memoryBytes`, each eighth of an octave of t weighing the same.
 * Null with fewer than two rounds of different length (then only U(t)/t at those lengths is known), and when no such
 * curve fits, as when the guest was throttled.
 */
export function fitWorkingSet(samples: readonly DirtySample[], memoryBytes: number | null): WorkingSetFit | null {
  const points = thinned(samples);
  const lengths = points.map((point) => point.seconds);
  if (points.length < 2 || Math.max(...lengths) < MIN_SPREAD * Math.min(...lengths)) return null;
  const largest = Math.max(...points.map((point) => point.bytes));
  const rates = points.map((point) => point.bytes / point.seconds);
  const most = Math.max(memoryBytes ?? 0, 1.5 * largest, memoryBytes === null ? 100 * largest : 0);
  const error = (set: WorkingSet): number =>
    points.reduce((total, point) => total + Math.log(point.bytes / dirtiedIn(set, point.seconds)) ** 2, 0) /
    points.length;
  const bestRate = (bytes: number): WorkingSet => ({
    bytes,
    dirtyRate: minimum((dirtyRate) => error({ bytes, dirtyRate }), Math.min(...rates) / 2, Math.max(...rates) * 100),
  });
  const bytes = minimum((size) => error(bestRate(size)), largest / 2, most, 40);
  const set = bestRate(bytes);
  const residual = Math.sqrt(error(set));
  if (residual > MAX_RESIDUAL) return null;
  return { ...set, saturated: (set.dirtyRate * Math.min(...lengths)) / bytes >= SATURATED_EXPONENT, residual };
}

const fits = new WeakMap<ModelInput, WorkingSetFit | null>();

/** The working set that the settled rounds of `input` tell; fitted once, as many ask. Null where fitWorkingSet() finds none. */
export function workingSetOf(input: ModelInput): WorkingSetFit | null {
  let fit = fits.get(input);
  if (fit === undefined) fits.set(input, (fit = fitWorkingSet(settledSamples(input), input.memoryBytes)));
  return fit;
}

/** One geometric mean per eighth of an octave of t. */
function thinned(samples: readonly DirtySample[]): DirtySample[] {
  const groups = new Map<number, { count: number; seconds: number; bytes: number }>();
  for (const { seconds, bytes } of samples) {
    const key = Math.round(8 * Math.log2(seconds));
    const group = groups.get(key) ?? { count: 0, seconds: 0, bytes: 0 };
    group.count++;
    group.seconds += Math.log(seconds);
    group.bytes += Math.log(bytes);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ count, seconds, bytes }) => ({
    seconds: Math.exp(seconds / count),
    bytes: Math.exp(bytes / count),
  }));
}

/** Relative precision of a fitted parameter; the rounds it is fitted to differ by far more. */
const PRECISION = 1e-6;

/** Where `of` is least in [from, to], both positive: a logarithmic grid, then golden section around its best point. */
function minimum(of: (value: number) => number, from: number, to: number, grid = 24): number {
  if (!(to > from)) return from;
  const step = Math.log(to / from) / grid;
  const errors = Array.from({ length: grid + 1 }, (_, index) => of(from * Math.exp(step * index)));
  const best = errors.indexOf(Math.min(...errors));
  let low = Math.log(from) + step * Math.max(0, best - 1);
  let high = Math.log(from) + step * Math.min(grid, best + 1);
  const golden = (Math.sqrt(5) - 1) / 2;
  let left = high - golden * (high - low);
  let right = low + golden * (high - low);
  let errorLeft = of(Math.exp(left));
  let errorRight = of(Math.exp(right));
  while (high - low > PRECISION) {
    if (errorLeft < errorRight) {
      high = right;
      right = left;
      errorRight = errorLeft;
      left = high - golden * (high - low);
      errorLeft = of(Math.exp(left));
    } else {
      low = left;
      left = right;
      errorLeft = errorRight;
      right = low + golden * (high - low);
      errorRight = of(Math.exp(right));
    }
  }
  return Math.exp((low + high) / 2);
}

export interface SaturatingResult {
  readonly workingSetBytes: number;
  /** Peak rate at which clean pages become dirty, guest bytes per second. */
  readonly peakDirtyRate: number;
  readonly peakDirtyRateIsLowerBound: boolean;
  readonly fitResidual: number;
  readonly samples: number;
  /** Guest bytes that remain to be sent however many rounds pass, at the measured bandwidth. */
  readonly remainingFloorBytes: number;
  readonly lowestDowntimeNs: number;
  readonly downtimeLimitNs: number;
  /** Wire bytes per second for the downtime limit. */
  readonly requiredBandwidth: number;
  readonly requiredBandwidthIsUpperBound: boolean;
  readonly bandwidth: number;
  readonly converges: boolean;
}

export const saturating: Model<SaturatingResult> = {
  id: 'saturating',
  title: 'Working-set pre-copy',
  validity: 'A stable workload during the migration and at least two rounds of different length.',
  source: 'derived; motivated by Nathan et al. 2015 (models without the working set miss by 46 % and more)',
  run(input) {
    const fit = workingSetOf(input);
    if (!fit || input.bandwidth === null) return null;
    // Pages compete for the link at the rate at which they are represented, not at the wire rate.
    const bandwidth = input.bandwidth / input.wireRatio;
    const downtime = input.downtimeLimitSeconds;
    const needed = fit.saturated ? fit.bytes / downtime : requiredBandwidth(fit, downtime);
    const floor = fit.saturated ? fit.bytes : remainingFloor(fit, bandwidth);
    return {
      workingSetBytes: fit.bytes,
      peakDirtyRate: fit.dirtyRate,
      peakDirtyRateIsLowerBound: fit.saturated,
      fitResidual: fit.residual,
      samples: settledSamples(input).length,
      remainingFloorBytes: floor,
      lowestDowntimeNs: (floor / bandwidth) * NS,
      downtimeLimitNs: downtime * NS,
      requiredBandwidth: needed * input.wireRatio,
      requiredBandwidthIsUpperBound: fit.saturated,
      bandwidth: input.bandwidth,
      converges: bandwidth >= needed || floor <= bandwidth * downtime,
    };
  },
};
