// Another world for the same guest: the recorded first pass and dirtying under a different bandwidth or downtime limit.
import { type Model, type ModelInput, NS, relativeError, settledSamples } from './model.js';
import { type Replay, replayPrecopy } from './replay.js';
import { dirtiedIn, workingSetOf } from './saturating.js';

/** Bytes per second and ns; what is left out stays as it was. */
export interface World {
  readonly bandwidth?: number;
  readonly downtime?: number;
}

export interface WhatIfResult {
  readonly bandwidth: number;
  readonly downtimeLimitNs: number;
  readonly converges: boolean;
  readonly rounds: number;
  /** Null where it would not end by itself. */
  readonly migrationNs: number | null;
  readonly downtimeNs: number | null;
  readonly bytes: number | null;
  /** The working set was fitted; otherwise dirtying is taken as one constant rate, which is pessimistic for long rounds. */
  readonly workingSetKnown: boolean;
}

/**
 * Wire bytes dirtied within t seconds, as fitted to the rounds; null without two rounds.
 * A constant rate stands in when all rounds are of one length, limited to the first pass.
 */
function dirtyingOf(
  input: ModelInput,
): { readonly dirtied: (seconds: number) => number; readonly fitted: boolean } | null {
  const samples = settledSamples(input);
  if (samples.length === 0) return null;
  const fit = workingSetOf(input);
  if (fit) return { dirtied: (seconds) => dirtiedIn(fit, seconds) * input.wireRatio, fitted: true };
  const rate =
    samples.reduce((sum, sample) => sum + sample.bytes, 0) / samples.reduce((sum, sample) => sum + sample.seconds, 0);
  const most = Math.max(input.rounds[0]!.bytes, ...samples.map((sample) => sample.bytes));
  return { dirtied: (seconds) => Math.min(rate * seconds, most) * input.wireRatio, fitted: false };
}

/** Time outside the rounds that another bandwidth would not change: set-up, device state, hand-over. */
const fixedSeconds = (input: ModelInput): number =>
  Math.max(0, input.migrationSeconds - input.rounds.reduce((total, round) => total + round.seconds, 0));

function replayed(input: ModelInput, world: World): { readonly replay: Replay; readonly result: WhatIfResult } | null {
  const dirtying = dirtyingOf(input);
  const bandwidth = world.bandwidth ?? input.bandwidth;
  if (!dirtying || bandwidth === null || !(bandwidth > 0)) return null;
  const downtimeSeconds = world.downtime !== undefined ? world.downtime / NS : input.downtimeLimitSeconds;
  const replay = replayPrecopy({
    firstPassBytes: input.rounds[0]!.bytes,
    bandwidth,
    downtimeSeconds,
    dirtied: dirtying.dirtied,
  });
  const { converges } = replay;
  return {
    replay,
    result: {
      bandwidth,
      downtimeLimitNs: downtimeSeconds * NS,
      converges,
      rounds: replay.rounds,
      migrationNs: converges ? (fixedSeconds(input) + replay.precopySeconds + replay.copySeconds) * NS : null,
      downtimeNs: converges ? replay.copySeconds * NS : null,
      bytes: converges ? replay.bytes : null,
      workingSetKnown: dirtying.fitted,
    },
  };
}

/** Null when fewer than two rounds were seen or the world has no bandwidth. */
export const whatIf = (input: ModelInput, world: World): WhatIfResult | null => replayed(input, world)?.result ?? null;

export interface PredictedResult extends WhatIfResult {
  readonly migrationError: number | null;
}

/** The same loop under the recorded conditions: how far the model may be trusted for other worlds. */
export const replay: Model<PredictedResult> = {
  id: 'replay',
  title: 'Replay under the recorded conditions',
  validity: 'Downtime is its network part only; device state and hand-over come on top.',
  source: 'QEMU’s stop rule with the fitted dirtying',
  run(input) {
    const result = whatIf(input, {});
    if (!result) return null;
    const measured = input.migration.outcome === 'completed' ? input.migrationSeconds : null;
    return {
      ...result,
      migrationError: result.migrationNs === null ? null : relativeError(result.migrationNs / NS, measured),
    };
  },
};
