// AVG: pre-copy with one constant dirtying rate in pages per second (Akoush et al. 2010).
import { type Iteration, iteratePrecopy } from './iteration.js';
import { dirtySamples, type Model, NS, relativeError } from './model.js';

export interface AverageInput {
  readonly memoryBytes: number;
  readonly pageBytes: number;
  readonly bandwidth: number;
  readonly dirtyPagesPerSecond: number;
}

export const averageModel = ({ memoryBytes, pageBytes, bandwidth, dirtyPagesPerSecond }: AverageInput): Iteration =>
  iteratePrecopy({
    pages: Math.floor(memoryBytes / pageBytes),
    pageBytes,
    bandwidth,
    dirtied: (from, to) => dirtyPagesPerSecond * (to - from),
  });

export interface PredictionResult {
  readonly rounds: number;
  readonly migrationNs: number;
  readonly downtimeNs: number;
  /** Share by which the prediction exceeds the measurement; null when nothing was measured. */
  readonly migrationError: number | null;
  readonly downtimeError: number | null;
}

export const average: Model<PredictionResult & { readonly dirtyPagesPerSecond: number }> = {
  id: 'average',
  title: 'AVG: constant dirtying rate',
  validity: 'Even dirtying and Xen’s stop rules; overestimates where a small working set is written again and again.',
  source: 'Akoush et al. 2010',
  run(input) {
    const { pageBytes, bandwidth } = input;
    const samples = dirtySamples(input);
    if (bandwidth === null || samples.length === 0) return null;
    const seconds = samples.reduce((total, sample) => total + sample.seconds, 0);
    const dirtyPagesPerSecond = samples.reduce((total, sample) => total + sample.bytes, 0) / pageBytes / seconds;
    // Zero pages count as the few bytes they take: the model knows only bytes and bandwidth.
    const memoryBytes = input.rounds[0]!.bytes;
    const iteration = averageModel({ memoryBytes, pageBytes, bandwidth, dirtyPagesPerSecond });
    return { dirtyPagesPerSecond, ...compared(iteration, input) };
  },
};

/** A loop's outcome beside what was measured. */
export const compared = (
  iteration: Iteration,
  measured: { readonly migrationSeconds: number; readonly downtimeSeconds: number | null },
): PredictionResult => ({
  rounds: iteration.rounds,
  migrationNs: iteration.migrationSeconds * NS,
  downtimeNs: iteration.downtimeSeconds * NS,
  migrationError: relativeError(iteration.migrationSeconds, measured.migrationSeconds),
  downtimeError: relativeError(iteration.downtimeSeconds, measured.downtimeSeconds),
});
