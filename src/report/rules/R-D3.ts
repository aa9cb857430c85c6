import { fairness as jainIndex } from '../../decode/tcp/streams.js';
import { bytes, digits } from '../format.js';
import { channelText, multifdFlows } from './multifd.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-D3',
  title: 'Parallel channels are uneven',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['rates'],
  explains: [],
  thresholds: {
    maxFairness: { value: 0.9, unit: 'Jain index', meaning: '1 is even, 1/n all on one channel' },
    minBytes: { value: 10e6, unit: 'bytes', meaning: 'below it channels had no time to even out' },
  },
  about: {
    meaning:
      'One channel carries much less than the others. At every synchronisation all wait for the slowest, so one bad path sets the pace.',
    evidence: 'Bytes per channel: Jain’s index below 0.9.',
    confusedWith: 'A very short migration, where the first channel simply took most of the work.',
    advice: [
      'Compare loss and round trip of the channels: an ECMP or bond member with errors hits only those hashed to it. Use a layer3+4 hash so that channels spread.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const channels = multifdFlows(transfer);
      const loads = channels.map((flow) => flow.forward.uniqueBytes);
      const fairness = jainIndex(loads);
      const total = loads.reduce((sum, load) => sum + load, 0);
      if (channels.length < 2 || fairness === null || fairness >= limits.maxFairness || total < limits.minBytes)
        return [];
      const least = channels.reduce((low, flow) => (flow.forward.uniqueBytes < low.forward.uniqueBytes ? flow : low));
      const sick = channels.filter((flow) => flow.forward.retransmittedSegments > 0);
      const onlyLeast = sick.length === 1 && sick[0] === least;
      return [
        {
          severity: onlyLeast ? 'minor' : 'info',
          confidence: onlyLeast ? 0.85 : 0.7,
          packets: [least.connection.firstFrame],
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: {
            fairness,
            channels: channels.length,
            leastBytes: least.forward.uniqueBytes,
            evenBytes: total / channels.length,
          },
          text:
            `The ${channels.length} channels are uneven (Jain index ${digits(fairness)}): ${channelText(least)} carried ${bytes(least.forward.uniqueBytes)}, an even share is ${bytes(total / channels.length)}.` +
            (onlyLeast ? ' It is also the only one with losses: its path is the problem.' : ''),
          advice: ['Look at the path of that channel: bond or ECMP member statistics, error counters.'],
          transfer,
          connections: [least.connection.id],
        },
      ];
    }),
  ruledOut: ({ transfers }) => {
    const fairness = transfers.map((transfer) =>
      jainIndex(multifdFlows(transfer).map((flow) => flow.forward.uniqueBytes)),
    );
    const known = fairness.filter((index) => index !== null);
    return known.length > 0 && Math.min(...known) >= 0.98
      ? `channels share the work evenly (Jain index ${digits(Math.min(...known))})`
      : null;
  },
});
