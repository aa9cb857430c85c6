import { digits, percent } from '../format.js';
import { convergenceOf } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-G5',
  title: 'Post-copy switched too early or too late',
  layer: 'L1',
  needs: ['rounds', 'postcopy'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    maxAmplification: { value: 2, unit: 'factor', meaning: 'pages sent before the switch over guest pages' },
    minFirstPass: {
      value: 0.95,
      unit: 'share of guest pages',
      meaning: 'that a finished first pass must have covered',
    },
  },
  about: {
    meaning:
      'The best moment to switch is after one full pass. Earlier, most of the memory is still missing and the guest waits for it; later, rounds were spent for nothing.',
    evidence: 'Pages sent before the switch compared with the guest’s memory.',
    confusedWith: 'A deliberate choice of the manager (switch on timeout).',
    advice: ['virsh migrate --postcopy --postcopy-after-precopy switches after the first pass.'],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const postcopy = migration?.postcopy;
      const state = migration && postcopy ? convergenceOf(context, migration) : null;
      if (!migration || !postcopy || !state || state.input.memoryBytes === null) return [];
      const pages = state.input.memoryBytes / state.input.pageBytes;
      const sent = state.input.rounds.reduce((total, round) => total + round.pages, 0);
      const early = state.input.rounds.length === 1 && sent < limits.minFirstPass * pages;
      const late = sent > limits.maxAmplification * pages;
      if (!early && !late) return [];
      const spentNs = Math.max(0, postcopy.startNs - state.rounds[0]!.endNs);
      return [
        {
          confidence: 0.75,
          interval: [[transfer.startNs, postcopy.startNs]],
          metrics: { pagesBefore: sent, guestPages: pages, rounds: state.rounds.length },
          text: early
            ? `The switch came when only ${percent(sent / pages)} of the pages had been sent once: the guest had to wait for the rest at the destination.`
            : `Before the switch ${digits(sent / pages)} times the guest’s memory had been sent in ${state.rounds.length} rounds; one pass would have been enough.`,
          advice: ['Switch after the first pass: virsh migrate --postcopy --postcopy-after-precopy.'],
          cost: late ? { of: 'migration-time', ns: spentNs } : null,
          transfer,
        },
      ];
    }),
});
