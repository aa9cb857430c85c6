import { bitRate, digits, duration, percent, plural } from '../format.js';
import { lossesOf } from './loss.js';
import { defineRule } from './rule.js';

/** Losses below this number are an anecdote. */
const MIN_RARE = 3;

export default defineRule({
  id: 'R-B1',
  title: 'Packet loss limits the rate',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['loss', 'rates'],
  explains: ['R-E1', 'R-E2', 'R-E3', 'R-E7', 'R-E8', 'R-F1', 'R-G2', 'R-H7'],
  thresholds: {
    minRepeatedShare: { value: 0.001, unit: 'share of bytes', meaning: 'sent again before loss is worth a word' },
    minRareShare: {
      value: 0.0001,
      unit: 'share of bytes',
      meaning: 'the same on a path without a queue, where TCP did little but grow back',
    },
    minRareHeldShare: { value: 0.8, unit: 'share of time', meaning: 'in recovery or regrowth, for so rare losses' },
    minHeldShare: { value: 0.3, unit: 'share of time', meaning: 'time in recovery or regrowth' },
    maxSpuriousShare: {
      value: 0.5,
      unit: 'share of retransmissions',
      meaning: 'needless ones; beyond it nothing was lost (R-B4)',
    },
    maxCeilingFactor: {
      value: 3,
      unit: 'factor',
      meaning: 'how far above what such losses allow a loss-based sender a rate may be before loss is not its limit',
    },
    maxRoomFactor: {
      value: 10,
      unit: 'factor',
      meaning: 'how far above the rate what such losses allow may be before something else is the limit',
    },
    wastefulShare: {
      value: 0.03,
      unit: 'share of bytes',
      meaning: 'sent again; from here on the repetition itself costs, whatever the rate',
    },
  },
  about: {
    meaning:
      'Lost packets make TCP slow down again and again; the migration runs at the rate the losses allow, not at that of the link.',
    evidence:
      'Bytes sent again, most time spent in recovery or in growing back, and a rate near what the loss rate and the round-trip time allow (RFC 9438, Mathis et al. 1997).',
    confusedWith:
      'Frames the recorder lost (R-J1), packets that were only late (R-B4), and losses that do not matter because the sender ignores them (BBR) or the line is full anyway. Long silences are told by R-B2.',
    advice: [
      'Loss without a queue: cable, optics, duplex, error counters (ethtool -S, switch port), wireless or WAN hops, a policer.',
      'Loss with a full queue: a shallow switch buffer or a faster-to-slower hop. Pace below it with max-bandwidth, or use fq pacing and ECN.',
      'On long paths with loss that cannot be cured: BBR on the source (sysctl net.ipv4.tcp_congestion_control=bbr), or several multifd channels.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const loss = lossesOf(transfer);
      const { segments, spurious, repeatedShare, heldShare, ceiling, rttNs, episodes } = loss;
      const goodput = transfer.goodput;
      if (segments === 0 || spurious > limits.maxSpuriousShare * segments) return [];
      // On a long path a few losses hold a rate down for seconds; where a queue fills, the line is the limit and not they.
      const rare = repeatedShare < limits.minRepeatedShare;
      if (rare && (repeatedShare < limits.minRareShare || episodes.length < MIN_RARE || loss.queueFull !== false))
        return [];
      if (heldShare !== null && heldShare < (rare ? limits.minRareHeldShare : limits.minHeldShare)) return [];
      if (loss.stalledNs > 0.5 * transfer.durationNs) return []; // R-B2, R-B5
      const held =
        ceiling === null ||
        goodput === null ||
        (goodput <= limits.maxCeilingFactor * ceiling && ceiling <= limits.maxRoomFactor * goodput);
      const wasteful = repeatedShare >= limits.wastefulShare;
      if (!held && !wasteful) return [];
      const heldNs = (heldShare ?? 1) * transfer.durationNs - loss.stalledNs;
      const repeatNs = (repeatedShare / (1 + repeatedShare)) * transfer.durationNs;
      const costNs = Math.max(
        0,
        Math.min(held ? Math.max(loss.behindNs - loss.stalledNs, repeatNs) : repeatNs, heldNs),
      );
      const perEpisode = segments / Math.max(1, episodes.length);
      const longest = [...episodes].sort((a, b) => b.durationNs - a.durationNs).slice(0, 5);
      const kinds = { fast: 0, timeout: 0, tailLossProbe: 0, other: 0 };
      for (const { forward } of transfer.flows) {
        kinds.fast += forward.retransmissions.fast;
        kinds.timeout += forward.retransmissions.timeout;
        kinds.tailLossProbe += forward.retransmissions.tailLossProbe;
        kinds.other += forward.retransmissions.other;
      }
      const events = transfer.events(
        'retransmission-fast',
        'retransmission-timeout',
        'retransmission-tail-loss-probe',
        'retransmission-other',
      );
      return [
        {
          confidence: rare ? 0.65 : ceiling === null || loss.queueFull === null ? 0.75 : 0.9,
          packets: events.map((event) => event.frame),
          interval: longest.map((episode) => [episode.startNs, episode.startNs + episode.durationNs] as const),
          metrics: {
            repeatedShare,
            retransmittedSegments: segments,
            spurious,
            ...kinds,
            episodes: episodes.length,
            heldShare,
            goodput,
            lossCeiling: ceiling,
            rttNs,
            queueFull: loss.queueFull === null ? null : loss.queueFull ? 'yes' : 'no',
          },
          text:
            `${plural(segments, 'segment')} (${percent(repeatedShare)} of the bytes) had to be sent again` +
            (heldShare === null
              ? '. '
              : `, and TCP spent ${percent(heldShare)} of the time recovering or growing back. `) +
            (held && ceiling !== null && goodput !== null && rttNs !== null
              ? `At ${duration(rttNs)} round trip such loss allows about ${bitRate(ceiling)}; the ${transfer.noun} got ${bitRate(goodput)}. `
              : '') +
            (held ? '' : 'That is not what sets the rate, but so much had to be repeated that it cost time. ') +
            (loss.queueFull === null
              ? ''
              : loss.queueFull
                ? `They are lost ${digits(perEpisode)} at a time, when round trips peak: a queue on the path overflows.`
                : loss.inBlows
                  ? `They are lost ${digits(perEpisode)} at a time and round trips do not rise before: no queue overflows, the path fails for moments, or a policer drops what comes too fast.`
                  : 'They are lost one by one and round trips do not rise before: no queue overflows, the path itself loses packets.'),
          advice: loss.queueFull
            ? [
                'Set max-bandwidth slightly below the bottleneck’s rate, or pace on the source: tc qdisc replace dev IFACE root fq.',
                'Deepen the buffer at the slow hop, or mark instead of drop: ECN on both hosts (sysctl net.ipv4.tcp_ecn=1) and the switch.',
              ]
            : [
                'Find the hop: ethtool -S IFACE | grep -iE "err|drop|crc" on both hosts, error counters of the switch ports, duplex and optics; a policer drops like this too.',
                'Until it is cured: sysctl net.ipv4.tcp_congestion_control=bbr on the source (for the next connection), or several multifd channels.',
              ],
          alternatives: [
            spurious > 0
              ? `Packets only late: ${plural(spurious, 'retransmission')} of ${segments} proved needless.`
              : 'Packets only late: excluded, no retransmission proved needless.',
          ],
          cost: { of: 'migration-time', ns: costNs },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) => {
    const sum = (of: Parameters<(typeof transfers)[number]['sum']>[0]): number =>
      transfers.reduce((total, transfer) => total + transfer.sum(of), 0);
    return sum(({ forward }) => forward.retransmittedSegments) === 0
      ? `no retransmission in ${plural(
          sum(({ forward }) => forward.wireSegments ?? forward.dataFrames),
          'segment',
        )}`
      : null;
  },
});
