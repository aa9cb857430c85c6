import { fairness as jainIndex } from '../../decode/tcp/streams.js';
import { bytes, digits, duration, percent } from '../format.js';
import { mean, median } from './comb.js';
import { channelText, multifdFlows } from './multifd.js';
import { defineRule, type Observation } from './rule.js';
import type { Flow } from './transfer.js';

export default defineRule({
  id: 'R-D3',
  title: 'One parallel channel holds up the others',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['rates', 'loss'],
  explains: ['R-B1', 'R-B2', 'R-B11', 'R-C3', 'R-D1', 'R-D4', 'R-E1', 'R-E2', 'R-E7', 'R-E9', 'R-F1', 'R-F2', 'R-F3'],
  thresholds: {
    maxFairness: { value: 0.9, unit: 'Jain index', meaning: '1 is even, 1/n all on one channel' },
    minBytes: { value: 10e6, unit: 'bytes', meaning: 'below it channels had no time to even out' },
    minRepeatedShare: { value: 0.01, unit: 'share of bytes', meaning: 'that a channel with a bad path sent again' },
    lossFactor: { value: 5, unit: 'factor', meaning: 'by which that is above the others' },
    rttFactor: { value: 3, unit: 'factor', meaning: 'by which its round trip may be above theirs instead' },
    minRttGapNs: { value: 1e6, unit: 'ns', meaning: 'and by so much at least' },
    minWaitShare: { value: 0.3, unit: 'share of time', meaning: 'in which the others have nothing to send' },
  },
  about: {
    meaning:
      'One channel is much slower than the others, mostly because its path is worse. At every synchronisation all wait for the slowest, so it sets the pace of the migration.',
    evidence:
      'One channel alone has losses or a long round trip and is busy all the time, while the others are idle; or bytes per channel are uneven (Jain’s index below 0.9).',
    confusedWith:
      'Loss on all channels (R-B1), or too many of them (R-D2). A very short migration, where the first channel simply took most of the work.',
    advice: [
      'Compare loss and round trip of the channels: an ECMP or bond member with errors hits only those hashed to it. Use a layer3+4 hash so that channels spread.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer): readonly Observation[] => {
      const channels = multifdFlows(transfer);
      const loads = channels.map((flow) => flow.forward.uniqueBytes);
      const fairness = jainIndex(loads);
      const total = loads.reduce((sum, load) => sum + load, 0);
      if (channels.length < 2 || fairness === null || total < limits.minBytes) return [];
      const metrics = { fairness, channels: channels.length, evenBytes: total / channels.length };
      const proof = { interval: [transfer.precopy], transfer } as const;

      const slow = slowest(channels, limits);
      if (slow) {
        const { flow, others, waitShare } = slow;
        const waitedNs = waitShare * (transfer.precopy[1] - transfer.precopy[0]);
        const rttNs = flow.forward.rttNs?.p50 ?? null;
        return [
          {
            ...proof,
            confidence: 0.85,
            packets: transfer
              .events('retransmission-timeout', 'retransmission-fast', 'retransmission-other')
              .filter((event) => event.direction === flow.directionId)
              .map((event) => event.frame),
            metrics: {
              ...metrics,
              slowBytes: flow.forward.uniqueBytes,
              repeatedShare: repeatedShare(flow),
              othersRepeatedShare: median(others.map(repeatedShare)),
              rttNs,
              waitShare,
            },
            text:
              `${capital(channelText(flow))} has a worse path than the other ${others.length === 1 ? 'one' : others.length}: ` +
              (slow.byLoss
                ? `${percent(repeatedShare(flow))} of its bytes had to be sent again (there ${percent(median(others.map(repeatedShare)))})`
                : `its round trip takes ${duration(rttNs)} (there ${duration(median(others.map(typicalRttNs)))})`) +
              `. They had nothing to send for ${percent(waitShare)} of the time (${duration(waitedNs)}): at each synchronisation all wait for the slowest.`,
            advice: [
              `Look at the path of that channel (source port ${(flow.side === 0 ? flow.connection.client : flow.connection.server).port}): bond or ECMP member statistics, error counters. Taking the bad link out of the bond cures it at once.`,
            ],
            alternatives: ['Its thread may share a core with something busy: then it would have no losses.'],
            cost: { of: 'migration-time', ns: waitedNs },
            connections: [flow.connection.id],
          },
        ];
      }
      if (fairness >= limits.maxFairness) return [];
      const least = channels.reduce((low, flow) => (flow.forward.uniqueBytes < low.forward.uniqueBytes ? flow : low));
      return [
        {
          ...proof,
          severity: 'info',
          confidence: 0.7,
          packets: [least.connection.firstFrame],
          metrics: { ...metrics, slowBytes: least.forward.uniqueBytes },
          text: `The ${channels.length} channels are uneven (Jain index ${digits(fairness)}): ${channelText(least)} carried ${bytes(least.forward.uniqueBytes)}, an even share is ${bytes(total / channels.length)}.`,
          advice: [
            'Compare the channels’ round trips and losses, and what shares a core with that channel’s thread (top -H on both hosts).',
          ],
          connections: [least.connection.id],
        },
      ];
    }),
});

const repeatedShare = ({ forward }: Flow): number => forward.retransmittedBytes / Math.max(1, forward.uniqueBytes);
const typicalRttNs = ({ forward }: Flow): number => forward.rttNs?.p50 ?? 0;
const waiting = ({ forward }: Flow): number =>
  forward.limitedBy ? forward.limitedBy.idle + forward.limitedBy['sender-application'] : 0;
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

interface Slowest {
  readonly flow: Flow;
  readonly others: readonly Flow[];
  readonly byLoss: boolean;
  /** Mean share of time in which the others had nothing to send. */
  readonly waitShare: number;
}

/** The one channel whose path is worse than all others', while they wait; null without such. */
function slowest(
  channels: readonly Flow[],
  limits: {
    readonly minRepeatedShare: number;
    readonly lossFactor: number;
    readonly rttFactor: number;
    readonly minRttGapNs: number;
    readonly minWaitShare: number;
  },
): Slowest | null {
  const flow = channels.reduce((busiest, other) => (waiting(other) < waiting(busiest) ? other : busiest));
  const others = channels.filter((other) => other !== flow);
  const waitShare = mean(others.map(waiting));
  if (waitShare < limits.minWaitShare || waiting(flow) > waitShare / 2) return null;
  const lossOfOthers = Math.max(...others.map(repeatedShare));
  const rttOfOthers = Math.max(...others.map(typicalRttNs));
  const byLoss =
    repeatedShare(flow) >= limits.minRepeatedShare && repeatedShare(flow) >= limits.lossFactor * lossOfOthers;
  const byRtt =
    typicalRttNs(flow) >= limits.rttFactor * rttOfOthers && typicalRttNs(flow) - rttOfOthers >= limits.minRttGapNs;
  return byLoss || byRtt ? { flow, others, byLoss, waitShare } : null;
}
