// The contract of a model: a formula that predicts or attributes, what it needs, and where it holds.
//
// Formulas work in bytes, pages and seconds, as they are published; what enters and leaves a Model follows the JSON
// result (ns, bytes per second). Symbols and derivations: the notes on migration models in docs/.
import { isBound } from '../pause.js';
import type { Migration, ReportData } from '../report.js';

/** One observed pass over dirty memory. */
export interface RoundSample {
  /** From this round's start to the next one's: the time in which the next round's pages were dirtied. */
  readonly seconds: number;
  readonly bytes: number;
  readonly pages: number;
}

/** A migration as the models see it. */
export interface ModelInput {
  readonly report: ReportData;
  readonly migration: Migration;
  /** Guest RAM that takes part, bytes; null when the stream does not say. */
  readonly memoryBytes: number | null;
  readonly pageBytes: number;
  /** Passes before the guest stopped or switched to post-copy, and the last one; empty for undecoded streams. */
  readonly rounds: readonly RoundSample[];
  /** Wire bytes per second over the rounds; null without any. */
  readonly bandwidth: number | null;
  /** Wire bytes per byte of guest memory after the first pass (below 1 with compression, zero pages …). */
  readonly wireRatio: number;
  readonly downtimeLimitSeconds: number;
  readonly migrationSeconds: number;
  /** null where it is not known, or only a bound of it. */
  readonly downtimeSeconds: number | null;
}

export interface Model<Result> {
  /** Key under `migration.models`. */
  readonly id: string;
  readonly title: string;
  /** Where the result may be believed. */
  readonly validity: string;
  readonly source: string;
  /** Null when the migration does not hold what the model needs. */
  run(input: ModelInput): Result | null;
}

export const NS = 1e9;

/** How far a prediction is from the measurement, as a share of it; null when there is none to compare with. */
export const relativeError = (predicted: number, measured: number | null): number | null =>
  measured !== null && measured > 0 ? predicted / measured - 1 : null;

/** QEMU's downtime-limit when nobody sets one (migration/options.c, DEFAULT_MIGRATE_SET_DOWNTIME). */
const DEFAULT_DOWNTIME_SECONDS = 0.3;

/** Reads what the models need from a migration. Rounds after the switch to post-copy are not passes and are left out. */
export function modelInput(
  report: ReportData,
  migration: Migration,
  downtimeLimitSeconds = DEFAULT_DOWNTIME_SECONDS,
): ModelInput {
  const postcopyNs = migration.postcopy?.startNs ?? Number.POSITIVE_INFINITY;
  const kept = migration.rounds.filter((round) => round.boundary !== 'post-copy' && round.startNs < postcopyNs);
  const pageBytes = migration.stream.pageSize ?? 4096;
  const rounds = kept.map((round, at): RoundSample => {
    const { normal, zero, xbzrle, compressed } = round.pages;
    const untilNs = kept[at + 1]?.startNs ?? round.endNs;
    return {
      seconds: Math.max(0, untilNs - round.startNs) / NS,
      bytes: round.bytes,
      pages: normal + zero + xbzrle + compressed,
    };
  });
  const seconds = rounds.reduce((total, round) => total + round.seconds, 0);
  const bytes = rounds.reduce((total, round) => total + round.bytes, 0);
  const later = rounds.slice(1).filter((round) => round.pages > 0);
  const laterPages = later.reduce((total, round) => total + round.pages, 0);
  const memory = migration.ramBlocks.reduce((total, block) => total + block.lengthBytes, 0);
  return {
    report,
    migration,
    memoryBytes: memory > 0 ? memory : null,
    pageBytes,
    rounds,
    bandwidth: seconds > 0 && bytes > 0 ? bytes / seconds : null,
    wireRatio: laterPages > 0 ? later.reduce((total, round) => total + round.bytes, 0) / (laterPages * pageBytes) : 1,
    downtimeLimitSeconds,
    migrationSeconds: Math.max(0, migration.endNs - migration.startNs) / NS,
    downtimeSeconds: migration.downtime && !isBound(migration.downtime) ? migration.downtime.estimateNs / NS : null,
  };
}

/** Samples (t, unique bytes dirtied within t): what a round had to send was dirtied while the one before it ran. */
export const dirtySamples = (input: ModelInput): { readonly seconds: number; readonly bytes: number }[] =>
  input.rounds
    .slice(1)
    .map((round, at) => ({ seconds: input.rounds[at]!.seconds, bytes: round.pages * input.pageBytes }))
    .filter((sample) => sample.seconds > 0 && sample.bytes > 0);

/**
 * The same for fitting what the guest dirties. The last pass of a migration that did not finish was cut short. QEMU ends a round as soon as the rest of it fits into the downtime limit, and
 * the next round starts with that rest (migration_iteration_run). From round to round this evens out, but what crosses after
 * the stop carries it on top, so it is no sample; and with one round between, that round lacks what the last one brought.
 */
export function settledSamples(input: ModelInput): readonly { readonly seconds: number; readonly bytes: number }[] {
  const samples = dirtySamples(input);
  const [first, last] = samples;
  if (input.migration.postcopy || !first || !last) return samples;
  if (input.migration.outcome !== 'completed') return samples.slice(0, -1);
  if (samples.length > 2) return samples.slice(0, -1);
  return [
    { seconds: first.seconds, bytes: ((first.bytes + last.bytes) * first.seconds) / (first.seconds + last.seconds) },
  ];
}
