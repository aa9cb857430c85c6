import { duration, percent } from '../format.js';
import { median } from './comb.js';
import { gapsOf } from './gaps.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E9',
  title: 'Something stops the source every second or two',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['timing'],
  explains: ['R-C1', 'R-D4'],
  thresholds: {
    minPeriodNs: { value: 0.8e9, unit: 'ns', meaning: 'from one pause to the next' },
    maxPeriodNs: { value: 2.5e9, unit: 'ns', meaning: 'beyond it a pause is an event, not a cadence' },
    jitter: { value: 0.15, unit: 'share of the period', meaning: 'by which a distance may be off' },
    minRegularity: { value: 0.7, unit: 'share', meaning: 'of the distances that fit the period' },
    minGaps: { value: 5, unit: 'pauses', meaning: 'before it is a cadence' },
    minGapNs: { value: 20e6, unit: 'ns', meaning: 'shorter pauses are scheduling' },
    maxPausedShare: { value: 0.3, unit: 'share of time', meaning: 'beyond it bursts make the cadence, not pauses' },
    maxRecoveryShare: {
      value: 0.05,
      unit: 'share of time',
      meaning: 'in loss recovery; beyond it losses make the pauses',
    },
    maxAtRounds: {
      value: 0.5,
      unit: 'share of pauses',
      meaning: 'at a round’s start; beyond it rounds make the cadence',
    },
  },
  about: {
    meaning:
      'Sending pauses again and again at a cadence of seconds that the migration itself does not have. Monitoring that measures the dirty rate (calc-dirty-rate, virsh domdirtyrate-calc, a metrics exporter) takes the same locks and synchronises the same bitmap.',
    evidence:
      'Pauses of 20 ms and more on all channels, 0.8 to 2.5 s apart and regular, that do not fall on round boundaries.',
    confusedWith:
      'The rate limit (R-A1) and CPU quotas (R-C5), whose rhythm is 100 ms; bitmap synchronisation between rounds, which falls on their boundaries.',
    advice: [
      'Stop external dirty-rate measurements and query loops for the time of the migration; query-migrate reports dirty-pages-rate anyway.',
      'Look for whatever else runs at that cadence on the source: cron-like agents, snapshots of metrics, ballooning statistics.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      if ((transfer.limitedBy(transfer.precopy)?.recovery ?? 0) > limits.maxRecoveryShare) return [];
      const gaps = gapsOf(transfer, transfer.precopy, limits.minGapNs);
      if (gaps.length < limits.minGaps) return [];
      const distances = gaps.slice(1).map(([from], at) => from - gaps[at]![0]);
      const periodNs = median(distances);
      if (periodNs < limits.minPeriodNs || periodNs > limits.maxPeriodNs) return [];
      const regular = distances.filter((distance) => Math.abs(distance - periodNs) <= limits.jitter * periodNs).length;
      if (regular < limits.minRegularity * distances.length) return [];
      const rounds = transfer.migration?.rounds.slice(1) ?? [];
      const atRounds = gaps.filter(([from, to]) =>
        rounds.some(({ startNs }) => startNs >= from - limits.minGapNs && startNs <= to + limits.minGapNs),
      ).length;
      if (atRounds > limits.maxAtRounds * gaps.length) return [];
      const pausedNs = gaps.reduce((total, [from, to]) => total + to - from, 0);
      const precopyNs = transfer.precopy[1] - transfer.precopy[0];
      if (pausedNs > limits.maxPausedShare * precopyNs) return [];
      return [
        {
          confidence: 0.5,
          interval: gaps,
          metrics: { pauses: gaps.length, periodNs, medianNs: median(gaps.map(([from, to]) => to - from)), pausedNs },
          text: `Every ${duration(periodNs)} the source stopped sending for about ${duration(median(gaps.map(([from, to]) => to - from)))}, ${gaps.length} times (${percent(pausedNs / precopyNs)} of pre-copy), and not because a round began: something else on the host has this cadence.`,
          advice: [
            'Look for a monitor that calls calc-dirty-rate (virsh domdirtyrate-calc) or stops the guest at this cadence, and pause it during migrations.',
          ],
          alternatives: ['A busy neighbour on the source’s cores with the same cadence.'],
          cost: { of: 'migration-time', ns: pausedNs },
          transfer,
        },
      ];
    }),
});
