import { bitRate, duration, plural } from '../format.js';
import { lossesOf } from './loss.js';
import { evenness, FLAT, lineRateOf, type Pace, paceOf } from './plateau.js';
import { defineRule, type Observation } from './rule.js';
import { SLOW_SENDER } from './sender.js';

export default defineRule({
  id: 'R-A4',
  title: 'Shaper or bottleneck in the path',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates', 'timing', 'loss'],
  explains: ['R-B1'],
  thresholds: {
    minCongestionShare: { value: 0.4, unit: 'share of pre-copy', meaning: 'time in which the network sets the pace' },
    maxVariation: { value: 0.1, unit: 'deviation / mean', meaning: 'a shaper is flat' },
    flatVariation: FLAT,
    maxJitter: SLOW_SENDER.minJitter,
    minRepeatedShare: { value: 0.001, unit: 'share of bytes', meaning: 'sent again, where a policer drops' },
    minEpisodes: { value: 5, unit: 'losses', meaning: 'apart from each other, where a policer drops' },
    minQueueNs: { value: 1e6, unit: 'ns', meaning: 'standing delay that shows a queue' },
    minQueueFactor: { value: 1.5, unit: 'factor', meaning: 'median round trip over the lowest' },
  },
  about: {
    meaning:
      'Something between the hosts passes no more than a fixed rate that is not the speed of a common line: a traffic shaper, a policer, a slower hop.',
    evidence:
      'The rate is flat and the network sets the pace, with a constant extra delay (a queue stands before a shaper) and no 100 ms pauses. A policer has no queue: losses again and again, without longer round trips before them, yet a flat rate.',
    confusedWith:
      'A hypervisor limit (R-A1): pauses every 100 ms, no queue. A full line (R-A6): a common line rate. Random loss (R-B1): the rate swings.',
    advice: [
      'Look for a QoS class, tc qdisc show on both hosts, a policer on the switch, a provider’s rate contract.',
      'If it is meant to be there, set max-bandwidth slightly below it: the queue, and the delay for everybody else, disappears.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer): readonly Observation[] => {
      const shares = transfer.limitedBy(transfer.precopy);
      const pace = paceOf(transfer, transfer.precopy);
      const rtt = transfer.mainFlow.forward.rttNs;
      if (!shares || !pace || !rtt) return [];
      const flat = pace.variation <= limits.maxVariation;
      const loss = lossesOf(transfer);
      // A policer has no queue: it drops what comes too fast, and the sender swings closely around its rate.
      const policed =
        flat &&
        loss.queueFull === false &&
        loss.repeatedShare >= limits.minRepeatedShare &&
        loss.episodes.length >= limits.minEpisodes;
      const queueNs = rtt.p50 - rtt.min;
      const queued = queueNs >= limits.minQueueNs && rtt.p50 >= limits.minQueueFactor * rtt.min;
      const onPath = flat && queued && shares.congestion + shares.recovery >= limits.minCongestionShare;
      // A shaper on the source itself holds data back before it is captured: no queue shows, only an even rate.
      const inSteps = pace.variation > limits.flatVariation && pace.jitter <= limits.maxJitter;
      const atSource = shares['sender-application'] >= 0.5 && (pace.variation <= limits.flatVariation || inSteps);
      if (!(policed || onPath || atSource) || (!inSteps && lineRateOf(pace.median) !== null)) return [];
      return [
        {
          severity: policed ? 'minor' : 'info',
          confidence: 0.7,
          interval: [transfer.precopy],
          packets: policed ? loss.episodes.map((episode) => episode.firstFrame) : [],
          metrics: {
            rate: pace.median,
            variation: pace.variation,
            queueNs,
            where: onPath || policed ? 'path' : 'source',
            kind: policed ? 'policer' : 'shaper',
          },
          text: policed
            ? `The rate stays within ${evenness(pace)} of ${bitRate(pace.median)} although ${plural(loss.episodes.length, 'time')} packets were lost, and round trips do not grow before: a policer drops what exceeds that rate instead of delaying it.`
            : onPath
              ? `The path carries ${bitRate(pace.median)} and no more: the rate is flat within ${evenness(pace)} and packets wait ${duration(queueNs)} in a queue. The hosts could send faster.`
              : inSteps
                ? `The source sends evenly, but on several levels between ${bitRate(lowOf(pace))} and ${bitRate(pace.peak)}, although path and destination would take more: its interface or a queue before it (tc) sets the pace, and was set anew on the way.`
                : `The source sends ${bitRate(pace.median)}, even within ${evenness(pace)}, although path and destination would take more: its interface or a queue before it (tc) sets the pace. A busy thread would be less even.`,
          advice: [
            'If the link should be faster, look for a shaper: tc -s qdisc show on both hosts, QoS classes and policers on the switches.',
            'If the rate is intended, set max-bandwidth slightly below it to keep the queue empty for others.',
          ],
          alternatives: policed
            ? ['Random loss on the path: the rate would swing more.']
            : ['A link whose speed is not one of the common ones, or one shared with steady other traffic.'],
          transfer,
        },
      ];
    }),
});

/** What the slowest tenth of the busy steps reach, bytes per second. */
function lowOf({ rates }: Pace): number {
  const busy = rates.filter((rate) => rate > 0).sort((a, b) => a - b);
  return busy[Math.floor(busy.length / 10)] ?? 0;
}
