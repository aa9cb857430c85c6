// What remained after each pass, and what the models make of it.
import { type DowntimeLimit, downtimeLimitOf, limitBelow } from '../models/downtime-limit.js';
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
  /** The downtime limit that would have ended it; null when that cannot be told. */
  readonly limit: DowntimeLimit | null;
  /** What the limit in force must be below, ns. */
  readonly limitBelowNs: number | null;
  readonly fit: SaturatingResult | null;
}

const known = new WeakMap<RuleContext, Map<Migration, Convergence | null>>();

/** Worked out once for all rules. Null for streams whose rounds are not known. */
export function convergenceOf(context: RuleContext, migration: Migration): Convergence | null {
  const found = known.get(context) ?? new Map<Migration, Convergence | null>();
  known.set(context, found);
  if (!found.has(migration)) found.set(migration, converging(context, migration));
  return found.get(migration) ?? null;
}

function converging(context: RuleContext, migration: Migration): Convergence | null {
  const input = modelInput(context.report, migration, context.downtimeLimitNs / 1e9);
  if (input.rounds.length === 0) return null;
  return {
    input,
    sizes: input.rounds.map((round) => round.bytes),
    rounds: migration.rounds.slice(0, input.rounds.length),
    limit: downtimeLimitOf(input),
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

/** From the second round to the last: the stretch in which sending again bought nothing. */
export const laterRounds = ({ rounds }: Convergence): Interval => [rounds[0]!.endNs, rounds.at(-1)!.endNs];
