import { bytes, duration, plural } from '../format.js';
import { convergenceOf, laterRounds } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E8',
  title: 'Convergence was a matter of luck',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream', 'rates'],
  explains: [],
  thresholds: {
    minRounds: { value: 4, unit: 'rounds', meaning: 'after the first pass' },
    nearFactor: { value: 1.5, unit: 'factor', meaning: 'of the allowed remainder that counts as nearly there' },
  },
  about: {
    meaning:
      'The remainder hovered just above what the downtime limit allows. A moment of luck ends such a migration, a moment of bad luck prolongs it.',
    evidence: 'Rounds whose remainder came within 1.5 times of the allowed one without ending the migration.',
    confusedWith: 'A clear plateau (R-E1), which stays well above.',
    advice: [
      'A slightly larger downtime limit makes the outcome certain: virsh migrate-setmaxdowntime. Managers should force the switchover at a local minimum of the remainder, not at a random moment.',
    ],
  },
  run: (context, limits) =>
    context.transfers.flatMap((transfer) => {
      const { migration } = transfer;
      const state = migration ? convergenceOf(context, migration) : null;
      if (!state || state.allowedBytes === null) return [];
      const later = state.sizes.slice(1, migration?.outcome === 'completed' ? -1 : undefined);
      if (later.length < limits.minRounds) return [];
      const allowed = state.allowedBytes;
      const near = later.filter((size) => size > allowed && size <= limits.nearFactor * allowed);
      if (near.length < 2) return [];
      const stretch = laterRounds(state);
      return [
        {
          confidence: 0.55,
          interval: [stretch],
          metrics: { nearRounds: near.length, allowedBytes: allowed, lowestBytes: Math.min(...near) },
          text: `${plural(near.length, 'round')} left between ${bytes(Math.min(...near))} and ${bytes(Math.max(...near))}, just above the ${bytes(allowed)} that fit into ${duration(context.downtimeLimitNs)}: ending or not was luck.`,
          advice: [
            `virsh migrate-setmaxdowntime DOMAIN ${Math.ceil((context.downtimeLimitNs * limits.nearFactor) / 1e6)} would have ended it.`,
          ],
          alternatives: ['The real downtime limit is not on the wire.'],
          cost: { of: 'migration-time', ns: stretch[1] - stretch[0] },
          transfer,
        },
      ];
    }),
});
