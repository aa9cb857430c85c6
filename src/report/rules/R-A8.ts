import { bitRate, duration, percent } from '../format.js';
import { channelText, multifdFlows } from './multifd.js';
import { FLAT, lineRateOf, paceOf } from './plateau.js';
import { defineRule, type Observation } from './rule.js';
import type { Flow, Transfer } from './transfer.js';

export default defineRule({
  id: 'R-A8',
  title: 'Parallel channels share one link of a bond',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['rates', 'timing'],
  explains: [],
  thresholds: {
    minFateFactor: { value: 2, unit: 'factor', meaning: 'between the round trips of channels on different links' },
    maxFateSpread: { value: 1.3, unit: 'factor', meaning: 'among those on the same link' },
    minFateGapNs: { value: 1e6, unit: 'ns', meaning: 'by which they must differ at least' },
    minCongestionShare: { value: 0.4, unit: 'share of pre-copy', meaning: 'time in which the network sets the pace' },
    maxVariation: { value: 0.1, unit: 'deviation / mean', meaning: 'a full line is flat' },
    flatVariation: FLAT,
  },
  about: {
    meaning:
      'A bond or an ECMP group places each connection on one of its links by a hash. Channels that land on the same link share it while others lie idle.',
    evidence:
      'Round trips in two groups (each link has its own queue), with an unequal number of channels in them; or all channels together at exactly one common line rate, which says so only where a bond is known to be there.',
    confusedWith: 'A single line that is simply full (R-A6): the capture cannot tell it from one link of a bond.',
    advice: [
      'Hash by ports: xmit_hash_policy layer3+4 on both hosts, the same on the switch, net.ipv4.fib_multipath_hash_policy=1 for ECMP.',
      'More channels spread more evenly: with n links take at least 4 n.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer): readonly Observation[] => {
      const channels = multifdFlows(transfer);
      if (channels.length < 2) return [];
      const groups = fateGroups(channels, limits);
      if (groups) return unevenGroups(transfer, groups);
      const shares = transfer.limitedBy(transfer.precopy);
      const pace = paceOf(transfer, transfer.precopy);
      const line = pace && pace.variation <= limits.maxVariation ? lineRateOf(pace.median) : null;
      if (!shares || !pace || line === null) return [];
      const paced =
        shares.congestion + shares.recovery >= limits.minCongestionShare || pace.variation <= limits.flatVariation;
      if (!paced) return [];
      return [
        {
          severity: 'info',
          confidence: 0.4,
          interval: [transfer.precopy],
          metrics: { channels: channels.length, rate: pace.median, lineBitsPerSecond: line },
          text: `All ${channels.length} channels together fill one ${bitRate(line / 8)} line (${bitRate(pace.median)}). If the hosts are joined by several such links, the hash put every channel on the same one.`,
          advice: [
            'Where there is a bond: cat /proc/net/bonding/BOND (Transmit Hash Policy); choose layer3+4, on the switch too.',
          ],
          alternatives: ['There may be only one link: then it is full, and nothing is wrong (R-A6).'],
          transfer,
        },
      ];
    }),
});

const typicalRttNs = (flow: Flow): number => flow.forward.rttNs?.p50 ?? Number.NaN;

/** The channels by round trip in two groups of unequal size, the larger first; null unless they fall apart that clearly. */
function fateGroups(
  channels: readonly Flow[],
  limits: { readonly minFateFactor: number; readonly maxFateSpread: number; readonly minFateGapNs: number },
): readonly [readonly Flow[], readonly Flow[]] | null {
  if (channels.length < 3 || channels.some((flow) => Number.isNaN(typicalRttNs(flow)))) return null;
  const sorted = [...channels].sort((a, b) => typicalRttNs(a) - typicalRttNs(b));
  const rtts = sorted.map(typicalRttNs);
  for (let at = 1; at < sorted.length; at++) {
    const apart = rtts[at]! >= limits.minFateFactor * rtts[at - 1]! && rtts[at]! - rtts[at - 1]! >= limits.minFateGapNs;
    const alike = rtts[at - 1]! <= limits.maxFateSpread * rtts[0]! && rtts.at(-1)! <= limits.maxFateSpread * rtts[at]!;
    if (!apart || !alike || 2 * at === sorted.length) continue;
    const [fast, slow] = [sorted.slice(0, at), sorted.slice(at)];
    return fast.length > slow.length ? [fast, slow] : [slow, fast];
  }
  return null;
}

function unevenGroups(transfer: Transfer, [most, fewest]: readonly [readonly Flow[], readonly Flow[]]): Observation[] {
  const load = (flows: readonly Flow[]): number => flows.reduce((sum, { forward }) => sum + forward.uniqueBytes, 0);
  const total = load(most) + load(fewest);
  return [
    {
      severity: 'info',
      confidence: 0.6,
      interval: [transfer.precopy],
      packets: [...most, ...fewest].map((flow) => flow.connection.firstFrame),
      metrics: {
        crowded: most.length,
        others: fewest.length,
        crowdedRttNs: typicalRttNs(most[0]!),
        otherRttNs: typicalRttNs(fewest[0]!),
        crowdedByteShare: load(most) / total,
      },
      text: `The channels fall into two groups with round trips of about ${duration(typicalRttNs(most[0]!))} and ${duration(typicalRttNs(fewest[0]!))}, so they take different links: ${most.length} share one and carry ${percent(load(most) / total)} of the bytes, ${fewest.map(channelText).join(', ')} ${fewest.length === 1 ? 'has' : 'have'} the other.`,
      advice: ['Hash by ports (layer3+4) and use more channels, so that they spread evenly over the links.'],
      alternatives: ['A single link with priorities by flow would also give channels different delays.'],
      transfer,
    },
  ];
}
