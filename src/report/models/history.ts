// HIST: pre-copy replayed against a recorded history of dirtying (Akoush et al. 2010); here the history is this capture.
import { compared, type PredictionResult } from './average.js';
import { type Iteration, iteratePrecopy } from './iteration.js';
import { dirtySamples, type Model, type ModelInput } from './model.js';

/** Distinct pages dirtied in consecutive intervals of a recorded run. */
export interface DirtyHistory {
  readonly seconds: readonly number[];
  readonly pages: readonly number[];
}

export interface HistoryInput {
  readonly memoryBytes: number;
  readonly pageBytes: number;
  readonly bandwidth: number;
  readonly history: DirtyHistory;
}

/**
 * Within a recorded interval dirtying is taken as even, and an interval's distinct pages are never counted twice when
 * it is cut; beyond the end of the record its last interval goes on.
 */
export function historyModel({ memoryBytes, pageBytes, bandwidth, history }: HistoryInput): Iteration {
  return iteratePrecopy({
    pages: Math.floor(memoryBytes / pageBytes),
    pageBytes,
    bandwidth,
    dirtied: (from, to) => dirtiedWithin(history, from, to),
  });
}

function dirtiedWithin({ seconds, pages }: DirtyHistory, from: number, to: number): number {
  let start = 0;
  let total = 0;
  for (let at = 0; at < seconds.length; at++) {
    const last = at === seconds.length - 1;
    const end = last ? Number.POSITIVE_INFINITY : start + seconds[at]!;
    const overlap = Math.min(to, end) - Math.max(from, start);
    if (overlap > 0) total += pages[at]! * (overlap / seconds[at]!);
    start = end;
  }
  return total;
}

export const history: Model<PredictionResult> = {
  id: 'history',
  title: 'HIST: replay of the recorded dirtying',
  validity: 'Dirtying is known per round only, not inside one; Xen’s stop rules.',
  source: 'Akoush et al. 2010',
  run(input: ModelInput) {
    const samples = dirtySamples(input);
    if (input.bandwidth === null || samples.length === 0) return null;
    const iteration = historyModel({
      memoryBytes: input.rounds[0]!.bytes, // as in AVG
      pageBytes: input.pageBytes,
      bandwidth: input.bandwidth,
      history: {
        seconds: samples.map((sample) => sample.seconds),
        pages: samples.map((sample) => sample.bytes / input.pageBytes),
      },
    });
    return compared(iteration, input);
  },
};
