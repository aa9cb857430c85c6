// Do the rounds shrink? What remained after each pass, and whether it has stopped falling.
//
// “Remaining” at any moment is a saw-tooth; only values at round boundaries are compared. The size of a round is what was
// dirty when it began.
import { type ModelInput, modelInput } from '../models/model.js';
import { type SaturatingResult, saturating } from '../models/saturating.js';
import type { Migration } from '../report.js';
import type { RuleContext } from './rule.js';
import type { Interval } from './transfer.js';

export interface Convergence {
  readonly input: ModelInput;
  /** Wire bytes of each pass before any switch to post-copy. */
  readonly sizes: readonly number[];
  readonly rounds: Migration['rounds'];
  /** Wire bytes that fit into the accepted downtime at the mean bandwidth. */
  readonly allowedBytes: number | null;
  readonly fit: SaturatingResult | null;
}

/** Null for streams whose rounds are not known. */
export function convergenceOf(context: RuleContext, migration: Migration): Convergence | null {
  const input = modelInput(context.report, migration, context.downtimeLimitNs / 1e9);
  if (input.rounds.length === 0) return null;
  return {
    input,
    sizes: input.rounds.map((round) => round.bytes),
    rounds: migration.rounds.slice(0, input.rounds.length),
    allowedBytes: input.bandwidth === null ? null : input.bandwidth * input.downtimeLimitSeconds,
    fit: saturating.run(input),
  };
}

/** From the second round to the last: the stretch in which sending again bought nothing. */
export const laterRounds = ({ rounds }: Convergence): Interval => [rounds[0]!.endNs, rounds.at(-1)!.endNs];

/**
 * Whether what remains has stopped falling: the lowest of the last three rounds is above `share` of the lowest before.
 * Needs `minRounds` rounds after the first pass.
 */
export function hasPlateau({ sizes }: Convergence, minRounds: number, share: number): boolean {
  const later = sizes.slice(1);
  // The last round of a broken-off migration may be cut short.
  const whole = later.length > minRounds ? later.slice(0, -1) : later;
  if (whole.length < minRounds) return false;
  const recent = whole.slice(-3);
  const before = whole.slice(0, -3);
  return before.length > 0 && Math.min(...recent) > share * Math.min(...before);
}
