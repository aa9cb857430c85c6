import { bitRate, duration, percent } from '../format.js';
import { FLAT, lineRateOf, paceOf } from './plateau.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-A4',
  title: 'Shaper or bottleneck in the path',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates', 'timing'],
  explains: [],
  thresholds: {
    minCongestionShare: { value: 0.4, unit: 'share of pre-copy', meaning: 'time in which the network sets the pace' },
    maxVariation: { value: 0.1, unit: 'deviation / mean', meaning: 'a shaper is flat' },
    flatVariation: FLAT,
    minQueueNs: { value: 1e6, unit: 'ns', meaning: 'standing delay that shows a queue' },
    minQueueFactor: { value: 1.5, unit: 'factor', meaning: 'median round trip over the lowest' },
  },
  about: {
    meaning:
      'Something between the hosts passes no more than a fixed rate that is not the speed of a common line: a traffic shaper, a policer, a slower hop.',
    evidence:
      'The rate is flat and the network sets the pace, with a constant extra delay (a queue stands before a shaper) and no 100 ms pauses.',
    confusedWith: 'A hypervisor limit (R-A1): pauses every 100 ms, no queue. A full line (R-A6): a common line rate.',
    advice: [
      'Look for a QoS class, tc qdisc show on both hosts, a policer on the switch, a provider’s rate contract.',
      'If it is meant to be there, set max-bandwidth slightly below it: the queue, and the delay for everybody else, disappears.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const shares = transfer.limitedBy(transfer.precopy);
      const pace = paceOf(transfer, transfer.precopy);
      const rtt = transfer.mainFlow.forward.rttNs;
      if (!shares || !pace || !rtt || lineRateOf(pace.median) !== null || pace.variation > limits.maxVariation)
        return [];
      const queueNs = rtt.p50 - rtt.min;
      const queued = queueNs >= limits.minQueueNs && rtt.p50 >= limits.minQueueFactor * rtt.min;
      const onPath = queued && shares.congestion + shares.recovery >= limits.minCongestionShare;
      // A shaper on the source itself holds data back before it is captured: no queue shows, only an even rate.
      const atSource = pace.variation <= limits.flatVariation && shares['sender-application'] >= 0.5;
      if (!onPath && !atSource) return [];
      return [
        {
          severity: 'info',
          confidence: 0.7,
          interval: [transfer.precopy],
          metrics: { rate: pace.median, variation: pace.variation, queueNs, where: onPath ? 'path' : 'source' },
          text: onPath
            ? `The path carries ${bitRate(pace.median)} and no more: the rate is flat within ${percent(pace.variation)} and packets wait ${duration(queueNs)} in a queue. The hosts could send faster.`
            : `The source sends ${bitRate(pace.median)}, even within ${percent(pace.variation)}, although path and destination would take more: its interface or a queue before it (tc) sets the pace. A busy thread would be less even.`,
          advice: [
            'If the link should be faster, look for a shaper: tc -s qdisc show on both hosts, QoS classes and policers on the switches.',
            'If the rate is intended, set max-bandwidth slightly below it to keep the queue empty for others.',
          ],
          alternatives: ['A link whose speed is not one of the common ones, or one shared with steady other traffic.'],
          transfer,
        },
      ];
    }),
});
