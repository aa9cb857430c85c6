import { duration } from '../format.js';
import { hasPlateau } from '../models/downtime-limit.js';
import { convergenceOf, laterRounds } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E2',
  title: 'Downtime limit too strict',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream', 'rates'],
  explains: [],
  thresholds: {
    minRounds: { value: 4, unit: 'rounds', meaning: 'after the first pass' },
    plateauShare: { value: 0.9, unit: 'share', meaning: 'of the lowest remainder so far' },
    maxFactor: { value: 10, unit: 'downtime limits', meaning: 'beyond it more downtime is no remedy (R-E1)' },
  },
  about: {
    meaning:
      'What remains is small: a little more downtime would end the migration. The limit, not the link, keeps it going.',
    evidence: 'The plateau of the rounds would take at most ten times the usual downtime limit to send.',
    confusedWith: 'A guest that dirties far more than the link carries (R-E1 alone).',
    advice: [
      'virsh migrate-setmaxdowntime DOMAIN MS works while it runs; 300 ms is QEMU’s default and often a manager’s, 30 ms was that of old versions.',
    ],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || migration.outcome === 'completed') return [];
      const state = convergenceOf(context, migration);
      if (!state?.limit || !hasPlateau(state.sizes, limits.minRounds, limits.plateauShare)) return [];
      const { enoughNs } = state.limit;
      const factor = enoughNs / context.downtimeLimitNs;
      if (factor > limits.maxFactor) return [];
      const stuck = laterRounds(state);
      const enoughMs = Math.ceil(enoughNs / 1e6);
      return [
        {
          confidence: 0.75,
          interval: [stuck],
          metrics: { enoughNs, downtimeLimitNs: context.downtimeLimitNs, factor },
          text: `A downtime limit of ${duration(enoughNs)} would have been enough to finish; ${factor > 1 ? `the one in force is taken to be ${duration(context.downtimeLimitNs)}` : 'the one in force is lower'}.`,
          advice: [
            `If the workload bears it: virsh migrate-setmaxdowntime DOMAIN ${enoughMs} (QMP downtime-limit ${enoughMs}); it takes effect at once.`,
          ],
          alternatives: [
            'The real limit is not on the wire; with a higher one something else holds the switchover back.',
          ],
          cost: { of: 'migration-time', ns: stuck[1] - stuck[0] },
          transfer,
        },
      ];
    }),
});
