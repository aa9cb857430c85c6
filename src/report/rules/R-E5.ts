import { count, digits, percent } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E5',
  title: 'XBZRLE of little use',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    maxShare: { value: 0.1, unit: 'share of resent pages', meaning: 'sent as a delta; below it the cache misses' },
    minResent: { value: 1000, unit: 'pages', meaning: 'before a share means anything' },
  },
  about: {
    meaning:
      'XBZRLE is on, but hardly any page is sent as a delta: the cache is too small or pages change too much. It costs CPU for nothing.',
    evidence: 'The stream declares or uses XBZRLE records, yet most resent pages are whole.',
    confusedWith: 'A migration in which nothing is sent twice.',
    advice: ['Size the cache to the working set (xbzrle-cache-size, a power of two), or switch XBZRLE off.'],
  },
  run: ({ migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration?.stream.features.includes('xbzrle')) return [];
      const later = migration.rounds.slice(1);
      const deltas = later.reduce((total, round) => total + round.pages.xbzrle, 0);
      const whole = later.reduce((total, round) => total + round.pages.normal, 0);
      if (deltas + whole < limits.minResent || deltas > limits.maxShare * (deltas + whole)) return [];
      return [
        {
          severity: 'info',
          confidence: 0.85,
          interval: [[later[0]!.startNs, later.at(-1)!.endNs]],
          metrics: { deltaPages: deltas, wholePages: whole },
          text: `XBZRLE is on, but only ${percent(deltas / (deltas + whole))} of ${count(deltas + whole)} resent pages went as a delta.`,
          advice: ['Raise xbzrle-cache-size to the working set, or switch the capability off.'],
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) => {
    const migration = transfers.find((transfer) => transfer.migration?.stream.features.includes('xbzrle'))?.migration;
    const later = migration?.rounds.slice(1) ?? [];
    const deltas = later.reduce((total, round) => total + round.pages.xbzrle, 0);
    const whole = later.reduce((total, round) => total + round.pages.normal, 0);
    return deltas > whole
      ? `XBZRLE pays: ${digits(deltas / Math.max(1, deltas + whole))} of the resent pages are deltas`
      : null;
  },
});
