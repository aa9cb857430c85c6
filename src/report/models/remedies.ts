// What would have let it finish: the price of each way out, from the same fitted dirtying.
//
// More bandwidth or more downtime: the saturating model. Post-copy: one full pass, stop, then what was dirtied meanwhile
// crosses once. Auto-converge: the smallest throttle at which the bandwidth suffices, each step costing about two rounds.
// XBZRLE: how small a changed page would have to become; its real size is not in a capture that holds no old copies.

import { DEFAULT_THROTTLE } from './auto-converge.js';
import { downtimeLimitOf, limitBelow } from './downtime-limit.js';
import { type Model, type ModelInput, NS, settledSamples } from './model.js';
import { requiredBandwidth, type WorkingSet, workingSetOf } from './saturating.js';

export interface RemediesResult {
  /**
   * Wire bytes per second that meets the downtime limit. Null where what it had is enough for it: then it only lacked time,
   * or the limit in force was lower.
   */
  readonly bandwidthFor: {
    readonly downtimeLimitNs: number;
    readonly bandwidth: number;
    /** The guest fills its working set in every round: less may do, how much less cannot be told. */
    readonly isUpperBound: boolean;
  } | null;
  /** What the limit in force must be below, ns, as QEMU went on; null where nothing contradicts the limit assumed. */
  readonly limitBelowNs: number | null;
  /** The lowest limit that ends it at the measured bandwidth. */
  readonly downtimeFor: { readonly bandwidth: number; readonly downtimeNs: number };
  readonly postcopy: {
    /** From the start to the last page. */
    readonly migrationNs: number;
    /** In which the guest runs but waits for pages it touches. */
    readonly degradedNs: number;
    readonly bytesAfterSwitch: number;
  };
  readonly autoConverge: { readonly throttlePercent: number; readonly extraNs: number } | null;
  /** Resent pages would have to shrink to this share; null where they need not. */
  readonly xbzrleShare: number | null;
}

/** Steps of the throttle as QEMU takes them, percent. */
const throttles = (): number[] => {
  const { initialPercent, incrementPercent, maxPercent } = DEFAULT_THROTTLE;
  const steps: number[] = [];
  for (let step = initialPercent; step < maxPercent; step += incrementPercent) steps.push(step);
  return [...steps, maxPercent];
};

const slowed = (set: WorkingSet, percent: number): WorkingSet => ({
  bytes: set.bytes,
  dirtyRate: set.dirtyRate * (1 - percent / 100),
});

export const remedies: Model<RemediesResult> = {
  id: 'remedies',
  title: 'What would have let it finish',
  validity: 'The workload stays as it was recorded; a throttled guest dirties proportionally less.',
  source: 'saturating model; QEMU postcopy and auto-converge behaviour',
  run(input: ModelInput) {
    const samples = settledSamples(input);
    const fit = workingSetOf(input);
    const limit = downtimeLimitOf(input);
    if (!fit || !limit || input.bandwidth === null) return null;
    const represented = input.bandwidth / input.wireRatio;
    const downtime = input.downtimeLimitSeconds;
    const needed = fit.saturated ? fit.bytes / downtime : requiredBandwidth(fit, downtime);
    const below = limitBelow(input);
    const limitBelowNs = below !== null && below < downtime * NS ? below : null;
    const enough = needed <= represented;
    const firstPass = input.rounds[0]!;
    const dirtyAfterFirst = samples[0]!.bytes * input.wireRatio;
    const steps = throttles();
    const step = fit.saturated
      ? -1
      : steps.findIndex((percent) => requiredBandwidth(slowed(fit, percent), downtime) <= represented);
    const roundSeconds = Math.max(1, (fit.bytes * input.wireRatio) / input.bandwidth);
    return {
      bandwidthFor:
        enough || limitBelowNs !== null
          ? null
          : { downtimeLimitNs: downtime * NS, bandwidth: needed * input.wireRatio, isUpperBound: fit.saturated },
      limitBelowNs,
      downtimeFor: { bandwidth: input.bandwidth, downtimeNs: limit.enoughNs },
      postcopy: {
        migrationNs: (firstPass.seconds + dirtyAfterFirst / input.bandwidth) * NS,
        degradedNs: (dirtyAfterFirst / input.bandwidth) * NS,
        bytesAfterSwitch: dirtyAfterFirst,
      },
      autoConverge:
        enough || step < 0 ? null : { throttlePercent: steps[step]!, extraNs: 2 * (step + 1) * roundSeconds * NS },
      xbzrleShare: enough ? null : represented / needed,
    };
  },
};
