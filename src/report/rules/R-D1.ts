import { fairness as jainIndex } from '../../decode/tcp/streams.js';
import { bitRate, duration, percent } from '../format.js';
import { multifdFlows } from './multifd.js';
import { defineRule } from './rule.js';
import { MIN_SLOW_NS, SLOW_SENDER, slowSender } from './sender.js';

export default defineRule({
  id: 'R-D1',
  title: 'Too few parallel channels',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window', 'timing'],
  explains: ['R-E1', 'R-E2', 'R-E7', 'R-F1'],
  thresholds: {
    ...SLOW_SENDER,
    minPrecopyNs: MIN_SLOW_NS,
    minFairness: {
      value: 0.9,
      unit: 'Jain index',
      meaning: 'of the bytes per channel; below it one of them is slow, not each',
    },
    enough: { value: 16, unit: 'channels', meaning: 'more rarely help' },
  },
  about: {
    meaning: 'Every multifd thread is as fast as it can be and the network still waits: more threads would carry more.',
    evidence: 'All channels leave the network idle most of the time, without loss, full windows or a 100 ms rhythm.',
    confusedWith:
      'A CPU quota (R-C5), where more threads make it worse. A single slow channel (R-D3), for which the others wait.',
    advice: [
      'Raise multifd-channels (virsh migrate --parallel-connections); expect saturation at 8 to 16 on 100 Gbit/s, and give the threads free cores.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const channels = multifdFlows(transfer);
      if (channels.length < 2 || channels.length >= limits.enough) return [];
      if (transfer.precopy[1] - transfer.precopy[0] < limits.minPrecopyNs) return [];
      if ((jainIndex(channels.map((flow) => flow.forward.uniqueBytes)) ?? 0) < limits.minFairness) return [];
      const slow = slowSender(transfer, limits);
      if (!slow) return [];
      const proof = transfer.stretches(['sender-application', 'idle'], 3, transfer.precopy);
      return [
        {
          confidence: 0.55,
          interval: proof.length > 0 ? proof : [transfer.precopy],
          metrics: { channels: channels.length, share: slow.share, goodput: transfer.goodput },
          text: `All ${channels.length} channels together deliver ${bitRate(transfer.goodput)}, and for ${percent(slow.share)} of the time (${duration(slow.waitedNs)}) the network waited for them.`,
          advice: [
            `Try twice as many: multifd-channels ${Math.min(2 * channels.length, limits.enough)} on both sides, with as many free cores.`,
          ],
          alternatives: ['Too few cores for the threads: then more channels do not help (top -H on the source).'],
          cost: { of: 'migration-time', ns: slow.waitedNs / 2 },
          transfer,
        },
      ];
    }),
});
