import { duration, percent } from '../format.js';
import { gapsOf } from './gaps.js';
import { multifdFlows } from './multifd.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-D4',
  title: 'Channels stall at synchronisation',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minShare: { value: 0.05, unit: 'share of pre-copy', meaning: 'time in which all channels are idle' },
    minGapNs: { value: 3e6, unit: 'ns', meaning: 'shorter gaps are scheduling' },
    maxRecoveryShare: {
      value: 0.05,
      unit: 'share of pre-copy',
      meaning: 'time in loss recovery; beyond it losses make the gaps',
    },
    maxWindowShare: {
      value: 0.05,
      unit: 'share of pre-copy',
      meaning: 'time with a full receive window; beyond it the destination makes the gaps',
    },
    minGaps: { value: 5, unit: 'gaps', meaning: 'fewer are events of their own' },
    minPrecopyNs: { value: 2e9, unit: 'ns', meaning: 'shorter migrations have no speed problem' },
  },
  about: {
    meaning:
      'All channels wait for each other at flush marks; the link is idle meanwhile. Old QEMU flushes after every section, newer ones once a round.',
    evidence: 'Gaps in which no channel sends, although nothing holds any of them back.',
    confusedWith:
      'The rate limit (R-A1), whose gaps keep a 100 ms rhythm. A destination that stops reading (R-C3), and one channel with a bad path (R-D3), which also make all of them wait.',
    advice: [
      'QEMU 8.1 or later with a machine type of 8.1 or later flushes once a round; for older ones fewer channels lose less.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const channels = multifdFlows(transfer);
      const precopyNs = transfer.precopy[1] - transfer.precopy[0];
      if (channels.length < 2 || precopyNs < limits.minPrecopyNs) return [];
      const held = transfer.limitedBy(transfer.precopy);
      if (!held || held['rate-limit'] > 0.05 || held.recovery > limits.maxRecoveryShare) return [];
      if (held['receiver-window'] > limits.maxWindowShare) return [];
      const gaps = gapsOf(transfer, transfer.precopy, limits.minGapNs);
      const idleNs = gaps.reduce((total, [from, to]) => total + to - from, 0);
      if (gaps.length < limits.minGaps || idleNs < limits.minShare * precopyNs) return [];
      // With bytes in flight a channel waits for its acknowledgements, not for the others.
      if (held['sender-application'] + held.idle < idleNs / precopyNs) return [];
      const flushesOnceARound = transfer.migration?.stream.features.includes('multifd-flush') ?? false;
      return [
        {
          confidence: 0.55,
          interval: [...gaps].sort((a, b) => b[1] - b[0] - (a[1] - a[0])).slice(0, 5),
          metrics: { gaps: gaps.length, idleNs, share: idleNs / precopyNs },
          text: `In ${gaps.length} gaps no channel sent anything: ${duration(idleNs)} in all, ${percent(idleNs / precopyNs)} of pre-copy, while the channels waited for each other.`,
          advice: [
            flushesOnceARound
              ? 'See which channel comes last at the end of each round: fewer channels, or equal paths for all of them, lose less.'
              : 'Use a machine type of QEMU 8.1 or later, which flushes once a round instead of after every section.',
          ],
          alternatives: ['Dirty-bitmap synchronisation of a large guest causes such gaps too, once a round.'],
          cost: { of: 'migration-time', ns: idleNs },
          transfer,
        },
      ];
    }),
});
