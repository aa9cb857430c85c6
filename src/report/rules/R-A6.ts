import { bitRate } from '../format.js';
import { evenness, FLAT, lineRateOf, paceOf } from './plateau.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-A6',
  title: 'Line saturated',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates'],
  explains: [],
  thresholds: {
    minCongestionShare: { value: 0.4, unit: 'share of pre-copy', meaning: 'time in which the network sets the pace' },
    maxVariation: { value: 0.1, unit: 'deviation / mean', meaning: 'a full line is flat' },
    flatVariation: FLAT,
  },
  about: {
    meaning: 'The migration used all that the path carries. That is healthy: nothing on the hosts is in the way.',
    evidence: 'The network sets the pace, the rate is flat, and it equals a common line rate less headers.',
    confusedWith:
      'A shaper (R-A4), which is flat at some other rate; a hypervisor limit (R-A1), which pauses every 100 ms.',
    advice: ['Faster only with a faster link, several links (multifd over ECMP or a bond), compression, or post-copy.'],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const shares = transfer.limitedBy(transfer.precopy);
      const pace = paceOf(transfer, transfer.precopy);
      const line = pace && lineRateOf(pace.median);
      if (!shares || !pace || !line || pace.variation > limits.maxVariation) return [];
      // With the source’s own interface as bottleneck TCP never has to wait for acknowledgements.
      const paced =
        shares.congestion + shares.recovery >= limits.minCongestionShare || pace.variation <= limits.flatVariation;
      if (!paced) return [];
      return [
        {
          severity: 'info',
          confidence: 0.85,
          interval: [transfer.precopy],
          metrics: { rate: pace.median, lineBitsPerSecond: line, congestionShare: shares.congestion },
          text: `The ${transfer.noun} fills a ${bitRate(line / 8)} line: ${bitRate(pace.median)} of memory, flat within ${evenness(pace)}. The hosts are not in the way.`,
          advice: ['Only a faster or additional link, compression or post-copy would be quicker.'],
          transfer,
        },
      ];
    }),
});
