import { bitRate, digits, percent } from '../format.js';
import { convergenceOf } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E10',
  title: 'First pass is nearly all of it',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    minShare: { value: 0.8, unit: 'share of migration time', meaning: 'spent in the first pass' },
    maxAmplification: { value: 1.1, unit: 'factor', meaning: 'all bytes over those of the first pass' },
  },
  about: {
    meaning:
      'Memory crossed once and little had to be sent again. Nothing is wrong with convergence: only bandwidth and zero-page speed decide the time.',
    evidence: 'More than 80 % of the time in the first pass, less than 10 % sent again.',
    confusedWith: 'A migration that was cut off in its first pass.',
    advice: ['Faster only by more bandwidth, compression, or a smaller guest (ballooning, dropping caches).'],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const state = migration?.outcome === 'completed' ? convergenceOf(context, migration) : null;
      if (!migration || !state || state.sizes.length < 2 || transfer.durationNs === 0) return [];
      const first = state.rounds[0]!;
      if (first.boundary === 'joined-midway') return []; // what came before is not known
      const share = (first.endNs - first.startNs) / transfer.durationNs;
      const amplification = state.sizes.reduce((total, size) => total + size, 0) / state.sizes[0]!;
      if (share < limits.minShare || amplification > limits.maxAmplification) return [];
      return [
        {
          severity: 'info',
          confidence: 0.95,
          interval: [[first.startNs, first.endNs]],
          metrics: { firstPassShare: share, amplification },
          text: `${percent(share)} of the time went into the first pass at ${bitRate(first.goodput)}, and only ${digits(amplification)} times its bytes were sent in all: convergence is no issue.`,
          transfer,
        },
      ];
    }),
});
