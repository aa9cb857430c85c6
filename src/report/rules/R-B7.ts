import { duration } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B7',
  title: 'Migration fills a queue (bufferbloat)',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minFactor: { value: 5, unit: 'factor', meaning: 'p95 round trip over the lowest' },
    harmfulNs: {
      value: 100e6,
      unit: 'ns',
      meaning: 'added to the usual round trip; from here on heartbeats and consoles notice, and so does the switchover',
    },
    minExtraNs: { value: 20e6, unit: 'ns', meaning: 'delay added for everybody on the path' },
    minUsualExtraNs: {
      value: 1e6,
      unit: 'ns',
      meaning: 'added to the usual round trip; less is no queue that is kept full',
    },
  },
  about: {
    meaning:
      'The migration keeps a queue full. It does not slow the transfer, but everything else on that path waits as long: cluster heartbeats, storage, consoles, and at the switchover the last pages and their confirmation.',
    evidence: 'Round trips during the migration far above the lowest seen.',
    confusedWith:
      'A path change (the lowest round trip itself moves) or a busy destination host that acknowledges late.',
    advice: [
      'Set max-bandwidth to about 90 % of the bottleneck, or use fq pacing / BBR on the source, or ECN.',
      'Give heartbeats and storage their own network or priority.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const rtt = transfer.mainFlow.forward.rttNs;
      if (!rtt || rtt.p95 < limits.minFactor * rtt.min) return [];
      if (rtt.p95 - rtt.min < limits.minExtraNs || rtt.p50 - rtt.min < limits.minUsualExtraNs) return [];
      const bins = transfer.bins(transfer.mainFlow).filter((bin) => (bin.rttMaxNs ?? 0) >= rtt.p95);
      return [
        {
          severity: rtt.p50 - rtt.min >= limits.harmfulNs ? 'minor' : 'info',
          confidence: 0.8,
          interval:
            bins.length > 0
              ? bins.slice(0, 5).map((bin) => [bin.startNs, bin.startNs + bin.durationNs] as const)
              : [[transfer.startNs, transfer.endNs]],
          metrics: { lowestNs: rtt.min, medianNs: rtt.p50, p95Ns: rtt.p95 },
          text: `While the ${transfer.noun} runs, round trips take ${duration(rtt.p50)} (95 %: ${duration(rtt.p95)}) instead of ${duration(rtt.min)}: it keeps a queue full, and everything else on this path waits behind it.`,
          advice: [
            'If heartbeats or storage share the path: max-bandwidth at about 90 % of the rate seen here, or tc qdisc replace dev IFACE root fq with BBR on the source.',
          ],
          alternatives: ['A destination that acknowledges late looks the same from the source.'],
          transfer,
        },
      ];
    }),
});
