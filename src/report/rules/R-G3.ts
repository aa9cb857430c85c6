import { bitRate, duration, percent } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-G3',
  title: 'Post-copy background unbounded',
  layer: 'L0',
  needs: ['timeline', 'postcopy'],
  restsOn: ['rates'],
  explains: [],
  thresholds: {
    minCongestionShare: { value: 0.6, unit: 'share of post-copy', meaning: 'time in which the network sets the pace' },
    minNs: { value: 1e9, unit: 'ns', meaning: 'shorter bursts hurt nobody' },
  },
  about: {
    meaning:
      'After the switch the rest of memory is pushed as fast as the path allows (max-postcopy-bandwidth is unlimited by default). Storage replication and heartbeats on the same link suffer; a field case lost its DRBD connection.',
    evidence: 'From the switch on the network alone sets the pace.',
    confusedWith: 'A pre-copy that saturates the line (R-A6), which is bounded by max-bandwidth.',
    advice: [
      'Set max-postcopy-bandwidth (QMP migrate-set-parameters, virsh migrate --postcopy-bandwidth) where the link is shared.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const postcopy = transfer.migration?.postcopy;
      if (!postcopy || postcopy.endNs - postcopy.startNs < limits.minNs) return [];
      const within = [postcopy.startNs, postcopy.endNs] as const;
      const shares = transfer.limitedBy(within);
      if (!shares || transfer.bins(transfer.mainFlow).length === 0) return [];
      const share = shares.congestion + shares.recovery;
      if (share < limits.minCongestionShare) return [];
      const steps = transfer.byteSteps(0.1e9, within);
      const rate = steps ? steps.reduce((total, bytes) => total + bytes, 0) / (steps.length * 0.1) : null;
      return [
        {
          severity: 'info',
          confidence: 0.7,
          interval: [within],
          metrics: { share, rate },
          text: `After the switch the background filled the path for ${percent(share)} of ${duration(postcopy.endNs - postcopy.startNs)}${rate === null ? '' : ` at ${bitRate(rate)}`}. If others share it, they felt it.`,
          advice: ['On a shared link set max-postcopy-bandwidth (virsh migrate --postcopy-bandwidth MIB_PER_S).'],
          transfer,
        },
      ];
    }),
});
