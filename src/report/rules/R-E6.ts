import { percent, plural } from '../format.js';
import { autoConverge } from '../models/auto-converge.js';
import { convergenceOf, laterRounds } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E6',
  title: 'Guest throttled by auto-converge',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    minObeyed: { value: 0.5, unit: 'share', meaning: 'of the fall in dirtying that throttling predicts' },
    minFirings: { value: 4, unit: 'steps', meaning: 'of the throttle that must have happened' },
  },
  about: {
    meaning:
      'Dirtying fell step by step as it does when QEMU slows the guest’s CPUs. The migration finishes at the guest’s expense.',
    evidence:
      'QEMU’s trigger, recomputed from the rounds, fired at least twice, and dirtying fell in proportion to 20, 30, 40 % …',
    confusedWith: 'A workload that calmed down by itself at that time.',
    advice: [
      'Confirm with query-migrate (cpu-throttle-percentage). If the guest suffers, prefer post-copy or a longer downtime.',
    ],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const state = transfer.migration ? convergenceOf(context, transfer.migration) : null;
      const outcome = state ? autoConverge.run(state.input) : null;
      if (!state || !outcome || outcome.obeyed === null) return [];
      if (outcome.firings < limits.minFirings || outcome.obeyed < limits.minObeyed) return [];
      return [
        {
          severity: 'info',
          confidence: 0.5,
          interval: [laterRounds(state)],
          metrics: { throttlePercent: outcome.throttlePercent, firings: outcome.firings, obeyed: outcome.obeyed },
          text: `Dirtying fell as if QEMU had throttled the guest ${plural(outcome.firings, 'time')}, up to ${percent(outcome.throttlePercent / 100)}.`,
          advice: ['Ask the source: query-migrate shows cpu-throttle-percentage while it runs.'],
          alternatives: ['The workload may have become quieter by itself.'],
          transfer,
        },
      ];
    }),
});
