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
  /**
   * What the downtime limit must be below, ns: QEMU went on although the remainder would have taken this long.
   * The lower quartile over all rounds that were not the last, so that a few rate dips do not decide; null below 4 rounds.
   */
  readonly limitBelowNs: number | null;
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
    limitBelowNs: limitBelow(input),
    allowedBytes: input.bandwidth === null ? null : input.bandwidth * input.downtimeLimitSeconds,
    fit: saturating.run(input),
  };
}

/** The longest run of later rounds that differ by at most `spread` from its first, [from, to) as indices; null below two. */
export function flatRun({ sizes }: Convergence, spread: number): readonly [number, number] | null {
  let best: [number, number] = [1, 1];
  let from = 1;
  for (let at = 1; at <= sizes.length; at++) {
    if (at < sizes.length && Math.abs(sizes[at]! / sizes[from]! - 1) <= spread) continue;
    if (at - from > best[1] - best[0]) best = [from, at];
    from = at;
  }
  return best[1] - best[0] >= 2 ? best : null;
}

function limitBelow({ rounds }: ModelInput): number | null {
  const took = rounds
    .slice(1, -1)
    .flatMap((round, at) => {
      const before = rounds[at]!;
      return before.seconds > 0 && before.bytes > 0 ? [(round.bytes / before.bytes) * before.seconds * 1e9] : [];
    })
    .sort((a, b) => a - b);
  return took.length >= 4 ? took[took.length >> 2]! : null;
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
