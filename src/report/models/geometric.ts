// Geometric pre-copy: constant bandwidth B, constant dirtying rate D, so each round is ρ = D / B of the one before.
import { dirtySamples, type Model, NS, relativeError } from './model.js';

export interface GeometricInput {
  /** Bytes of the first pass. */
  readonly memoryBytes: number;
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Bytes per second. */
  readonly dirtyRate: number;
  readonly downtimeSeconds: number;
}

export interface Geometric {
  /** Rounds before the guest stops. */
  readonly rounds: number;
  readonly precopySeconds: number;
  /** Network part of the downtime. */
  readonly copySeconds: number;
  readonly totalSeconds: number;
  readonly totalBytes: number;
  /** Bytes sent over memory size. */
  readonly amplification: number;
}

/** Null where it never converges (ρ ≥ 1). */
export function geometricPrecopy({
  memoryBytes,
  bandwidth,
  dirtyRate,
  downtimeSeconds,
}: GeometricInput): Geometric | null {
  const ratio = dirtyRate / bandwidth;
  const stopBytes = bandwidth * downtimeSeconds;
  if (stopBytes < memoryBytes && ratio >= 1) return null;
  const rounds =
    stopBytes >= memoryBytes ? 0 : ratio <= 0 ? 1 : Math.ceil(Math.log(stopBytes / memoryBytes) / Math.log(ratio));
  const firstPass = memoryBytes / bandwidth;
  const sumOf = (terms: number): number => (ratio === 1 || terms === 0 ? terms : (1 - ratio ** terms) / (1 - ratio));
  const precopySeconds = firstPass * sumOf(rounds);
  const copySeconds = firstPass * ratio ** rounds;
  return {
    rounds,
    precopySeconds,
    copySeconds,
    totalSeconds: precopySeconds + copySeconds,
    totalBytes: memoryBytes * sumOf(rounds + 1),
    amplification: sumOf(rounds + 1),
  };
}

export interface GeometricResult {
  /** Mean ratio of dirtying to bandwidth; at 1 and above pre-copy cannot converge. */
  readonly dirtyingRatio: number;
  readonly dirtyRate: number;
  readonly converges: boolean;
  readonly rounds: number | null;
  readonly migrationNs: number | null;
  readonly downtimeNs: number | null;
  readonly amplification: number | null;
  readonly migrationError: number | null;
  readonly downtimeError: number | null;
}

export const geometric: Model<GeometricResult> = {
  id: 'geometric',
  title: 'Geometric pre-copy',
  validity: 'Dirtying spread evenly over all memory (no working set) and below the bandwidth.',
  source: 'derived; the classic lambda = D / B of pre-copy analyses',
  run(input) {
    const samples = dirtySamples(input);
    const { bandwidth } = input;
    if (bandwidth === null || samples.length === 0) return null;
    const dirtied = samples.reduce((total, sample) => total + sample.bytes, 0) * input.wireRatio;
    const dirtyRate = dirtied / samples.reduce((total, sample) => total + sample.seconds, 0);
    const outcome = geometricPrecopy({
      memoryBytes: input.rounds[0]!.bytes,
      bandwidth,
      dirtyRate,
      downtimeSeconds: input.downtimeLimitSeconds,
    });
    return {
      dirtyingRatio: dirtyRate / bandwidth,
      dirtyRate,
      converges: outcome !== null,
      rounds: outcome?.rounds ?? null,
      migrationNs: outcome ? outcome.totalSeconds * NS : null,
      downtimeNs: outcome ? outcome.copySeconds * NS : null,
      amplification: outcome?.amplification ?? null,
      migrationError: outcome ? relativeError(outcome.totalSeconds, input.migrationSeconds) : null,
      downtimeError: outcome ? relativeError(outcome.copySeconds, input.downtimeSeconds) : null,
    };
  },
};
