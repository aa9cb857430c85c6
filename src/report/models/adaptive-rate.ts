// What the rate controller of Clark et al. 2005 would have chosen: the first round slowly, each next one a fixed step
// above the dirtying rate just seen, until that is beyond the maximum; then stop and copy at the maximum.
import { dirtySamples, type Model } from './model.js';

const MEGABIT = 1e6 / 8;

export interface AdaptiveRateInput {
  /** Bytes per second dirtied during each round. */
  readonly dirtyRates: readonly number[];
  readonly minRate: number;
  readonly maxRate: number;
  readonly stepRate?: number;
}

export interface AdaptiveRate {
  /** Bytes per second of each pre-copy round. */
  readonly rates: readonly number[];
  /** Index of the round at which it would have stopped the guest; null when it would have gone on. */
  readonly stopsAtRound: number | null;
}

export function adaptiveRates({
  dirtyRates,
  minRate,
  maxRate,
  stepRate = 50 * MEGABIT,
}: AdaptiveRateInput): AdaptiveRate {
  const rates = [minRate];
  for (let round = 0; round < dirtyRates.length; round++) {
    const next = dirtyRates[round]! + stepRate;
    if (next > maxRate) return { rates, stopsAtRound: round + 1 };
    rates.push(next);
  }
  return { rates, stopsAtRound: null };
}

const MIN_RATE = 100 * MEGABIT;
const LISTED_ROUNDS = 200;

export const adaptiveRate: Model<AdaptiveRate> = {
  id: 'adaptiveRate',
  title: 'Clark’s adaptive rate',
  validity:
    'Shows what another controller would do with the same dirtying; the dirtying itself depends on round lengths.',
  source: 'Clark et al. 2005',
  run(input) {
    const samples = dirtySamples(input);
    if (samples.length === 0 || input.bandwidth === null) return null;
    return adaptiveRates({
      dirtyRates: samples.slice(0, LISTED_ROUNDS).map((sample) => sample.bytes / sample.seconds),
      minRate: Math.min(MIN_RATE, input.bandwidth),
      maxRate: input.bandwidth,
    });
  },
};
