import { bytes, duration, plural } from '../format.js';
import { median } from './comb.js';
import { convergenceOf, flatRun } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E8',
  title: 'Converged late, after rounds without gain',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream', 'rates'],
  explains: [],
  thresholds: {
    minRounds: { value: 5, unit: 'rounds', meaning: 'in a row without gain' },
    spread: { value: 0.1, unit: 'share', meaning: 'by which rounds without gain differ' },
  },
  about: {
    meaning:
      'Round after round left about as much as the one before, until one of them happened to leave less (a lucky moment, or a throttled guest) and QEMU could stop. The rounds between bought nothing.',
    evidence: 'Rounds of about equal size before the last one of a migration that completed.',
    confusedWith:
      'Steady progress, where every round is clearly smaller; a guest that auto-converge slowed down on purpose (R-E6).',
    advice: [
      'A downtime limit just above the plateau ends it at the first of these rounds: virsh migrate-setmaxdowntime. A manager should force the switchover at a local minimum of the remainder.',
    ],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const state =
        migration?.outcome === 'completed' && !migration.postcopy ? convergenceOf(context, migration) : null;
      if (!state || state.input.bandwidth === null) return [];
      const run = flatRun(state, limits.spread);
      if (!run || run[1] - run[0] < limits.minRounds) return [];
      const level = median(state.sizes.slice(run[0], run[1]));
      const neededNs = (level / state.input.bandwidth) * 1e9;
      const [from, to] = [state.rounds[run[0]]!.startNs, state.rounds[run[1] - 1]!.endNs];
      return [
        {
          confidence: 0.75,
          interval: [[from, to]],
          metrics: { rounds: run[1] - run[0], levelBytes: level, neededNs, limitBelowNs: state.limitBelowNs },
          text: `${plural(run[1] - run[0], 'round')} in a row left about ${bytes(level)} each (${duration(neededNs)} to send) without getting smaller, for ${duration(to - from)}; then the guest wrote less and it ended. Without that it would have gone on.`,
          advice: [
            `virsh migrate-setmaxdowntime DOMAIN ${Math.ceil(neededNs / 1e6)} would have ended it ${duration(to - from)} earlier; or switch to post-copy after the first pass.`,
          ],
          cost: { of: 'migration-time', ns: to - from },
          transfer,
        },
      ];
    }),
});
