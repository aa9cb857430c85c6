// Auto-converge: how far QEMU must have slowed the guest down, had the capability been on, and whether dirtying fell so.
//
// migration/ram.c, migration_trigger_throttle(): at a sync at least 1 s after the last one, more than threshold % of the
// bytes transferred in the period were dirtied again → count; at the second count throttle starts at 20 % and grows by
// 10 % per firing up to 99 %. A guest held at θ dirties roughly (1 − θ) as fast.
import type { Model } from './model.js';

export interface ThrottleParameters {
  readonly triggerPercent: number;
  readonly initialPercent: number;
  readonly incrementPercent: number;
  readonly maxPercent: number;
}

export const DEFAULT_THROTTLE: ThrottleParameters = {
  triggerPercent: 50,
  initialPercent: 20,
  incrementPercent: 10,
  maxPercent: 99,
};

export interface SyncPeriod {
  readonly seconds: number;
  readonly transferredBytes: number;
  readonly dirtiedBytes: number;
}

const MIN_PERIOD_SECONDS = 1;

/** The throttle in percent after each sync. Periods shorter than a second join the next one, as in QEMU. */
export function throttleSteps(
  periods: readonly SyncPeriod[],
  { triggerPercent, initialPercent, incrementPercent, maxPercent }: ThrottleParameters = DEFAULT_THROTTLE,
): number[] {
  let throttle = 0;
  let count = 0;
  let seconds = 0;
  let transferred = 0;
  let dirtied = 0;
  return periods.map((period) => {
    seconds += period.seconds;
    transferred += period.transferredBytes;
    dirtied += period.dirtiedBytes;
    if (seconds < MIN_PERIOD_SECONDS) return throttle;
    if (dirtied > (transferred * triggerPercent) / 100 && ++count >= 2) {
      count = 0;
      throttle = throttle === 0 ? initialPercent : Math.min(throttle + incrementPercent, maxPercent);
    }
    seconds = transferred = dirtied = 0;
    return throttle;
  });
}

export interface AutoConvergeResult {
  /** Throttle QEMU would have reached, percent. */
  readonly throttlePercent: number;
  readonly firings: number;
  /** How well dirtying fell as the throttle rose: 1 as predicted, 0 not at all; null with fewer than two firings. */
  readonly obeyed: number | null;
}

export const autoConverge: Model<AutoConvergeResult> = {
  id: 'autoConverge',
  title: 'Auto-converge, simulated',
  validity: 'Default parameters; before QEMU 9.2 syncs happen only at round ends, so large guests react slowly.',
  source: 'QEMU migration/ram.c',
  run({ rounds, pageBytes }) {
    if (rounds.length < 3) return null;
    const periods = rounds.slice(1).map((round, at) => ({
      seconds: rounds[at]!.seconds,
      transferredBytes: rounds[at]!.bytes,
      dirtiedBytes: round.pages * pageBytes,
    }));
    const steps = throttleSteps(periods);
    const firings = steps.filter((step, at) => step > (steps[at - 1] ?? 0)).length;
    return { throttlePercent: steps.at(-1) ?? 0, firings, obeyed: firings >= 2 ? obedience(periods, steps) : null };
  },
};

/** Dirtying per second before any throttle against that at the highest, as a share of the predicted fall. */
function obedience(periods: readonly SyncPeriod[], steps: readonly number[]): number | null {
  const rate = (period: SyncPeriod): number => (period.seconds > 0 ? period.dirtiedBytes / period.seconds : 0);
  // The first period covers the whole memory and is much longer than the rest; its rate is not comparable.
  const before = periods.slice(1).filter((_, at) => (steps[at] ?? 0) === 0);
  // A step takes effect in the period after its sync.
  const highest = steps.at(-2) ?? 0;
  const after = periods.slice(1).filter((_, at) => steps[at] === highest);
  if (before.length === 0 || after.length === 0) return null;
  const meanRate = (list: readonly SyncPeriod[]): number =>
    list.reduce((sum, period) => sum + rate(period), 0) / list.length;
  const start = meanRate(before);
  if (start <= 0 || highest === 0) return null;
  return Math.max(0, Math.min(1, (1 - meanRate(after) / start) / (highest / 100)));
}
