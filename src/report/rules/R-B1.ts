import { bitRate, digits, duration, percent, plural } from '../format.js';
import { cubicCeiling } from '../models/ceilings.js';
import { paceOf } from './plateau.js';
import { defineRule } from './rule.js';

const DEFAULT_MSS = 1448;

export default defineRule({
  id: 'R-B1',
  title: 'Packet loss limits the rate',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['loss', 'rates'],
  explains: ['R-E1', 'R-E2', 'R-E3', 'R-E7', 'R-E8', 'R-E10', 'R-F1', 'R-G2', 'R-H7'],
  thresholds: {
    minLossShare: { value: 0.001, unit: 'share of bytes', meaning: 'retransmitted bytes before loss is worth a word' },
    minHeldShare: { value: 0.3, unit: 'share of time', meaning: 'time in recovery or regrowth' },
    maxSpuriousShare: { value: 0.5, unit: 'share of retransmissions', meaning: 'beyond it nothing was lost (R-B4)' },
    maxCeilingFactor: {
      value: 3,
      unit: 'factor',
      meaning:
        'how far above the rate that the losses allow a loss-based sender a rate may be before loss is not its limit',
    },
    queueFactor: {
      value: 1.5,
      unit: 'factor',
      meaning: 'p95 round trip over the lowest from which losses follow a full queue',
    },
  },
  about: {
    meaning:
      'Lost packets make TCP slow down again and again; the migration runs at the rate the losses allow, not at that of the link.',
    evidence:
      'Bytes sent again, most time spent in recovery or in growing back, and a rate near what the loss rate and the round-trip time allow.',
    confusedWith:
      'Frames the recorder lost (R-J1), reordering that triggers needless retransmissions (R-B4), and losses that do not matter because the sender ignores them (BBR) or the line is full anyway.',
    advice: [
      'Random loss without a queue: cable, optics, duplex, error counters (ethtool -S, switch port), wireless or WAN hops, a policer.',
      'Loss with a full queue: a shallow switch buffer or a faster-to-slower hop. Pace below it with max-bandwidth, or use fq pacing and ECN.',
      'On long paths with loss that cannot be cured: BBR on the source (sysctl net.ipv4.tcp_congestion_control=bbr), or several multifd channels.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const sum = (of: Parameters<typeof transfer.sum>[0]): number => transfer.sum(of);
      const segments = sum(({ forward }) => forward.retransmittedSegments);
      const spurious = sum(({ forward }) => forward.retransmissions.spurious);
      const lostShare = transfer.bytes > 0 ? sum(({ forward }) => forward.retransmittedBytes) / transfer.bytes : 0;
      if (segments === 0 || lostShare < limits.minLossShare || spurious > limits.maxSpuriousShare * segments) return [];
      const shares = transfer.limitedBy();
      const heldShare = shares ? shares.recovery + shares.congestion : null;
      if (heldShare !== null && heldShare < limits.minHeldShare) return [];
      const main = transfer.mainFlow;
      const rtt = main.forward.rttNs;
      const episodes = transfer.episodes('recovery', 'timeout', 'mixed');
      const events = transfer.events(
        'retransmission-fast',
        'retransmission-timeout',
        'retransmission-tail-loss-probe',
        'retransmission-other',
      );
      // One window reduction per recovery, however many segments it repaired.
      const wireSegments = sum(({ forward }) => forward.wireSegments ?? forward.dataFrames);
      const eventRate = Math.max(1, episodes.length > 0 ? episodes.length : segments) / Math.max(1, wireSegments);
      const rttNs = rtt?.p50 ?? transfer.minRttNs;
      const mss = main.connection.options.mss.find((size) => size !== null) ?? DEFAULT_MSS;
      const ceiling = rttNs ? cubicCeiling(mss, rttNs / 1e9, eventRate) * transfer.flows.length : null;
      const goodput = transfer.goodput;
      if (ceiling !== null && goodput !== null && goodput > limits.maxCeilingFactor * ceiling) return [];
      const queued = rtt !== null && rtt.p95 >= limits.queueFactor * rtt.min && rtt.p95 - rtt.min >= 1e6;
      const perEpisode = segments / Math.max(1, episodes.length);
      const pace = paceOf(transfer, transfer.precopy);
      const recoveryNs = (shares?.recovery ?? 0) * transfer.durationNs;
      const behindNs = pace && goodput !== null ? transfer.durationNs * Math.max(0, 1 - goodput / pace.peak) : 0;
      const costNs = Math.min(Math.max(recoveryNs, behindNs), (heldShare ?? 1) * transfer.durationNs);
      const { fast, timeout, tailLossProbe } = transfer.flows.reduce(
        (total, { forward: { retransmissions } }) => ({
          fast: total.fast + retransmissions.fast,
          timeout: total.timeout + retransmissions.timeout,
          tailLossProbe: total.tailLossProbe + retransmissions.tailLossProbe,
        }),
        { fast: 0, timeout: 0, tailLossProbe: 0 },
      );
      return [
        {
          confidence: ceiling === null ? 0.7 : 0.9,
          packets: events.map((event) => event.frame),
          interval: longest(episodes.map((episode) => [episode.startNs, episode.startNs + episode.durationNs])),
          metrics: {
            lostShare,
            retransmittedSegments: segments,
            spurious,
            fast,
            timeout,
            tailLossProbe,
            episodes: episodes.length,
            heldShare,
            goodput,
            lossCeiling: ceiling,
            rttNs: rttNs ?? null,
          },
          text:
            `${plural(segments, 'segment')} (${percent(lostShare)} of the bytes) had to be sent again` +
            (heldShare !== null
              ? `, and TCP spent ${percent(heldShare)} of the time recovering or growing back. `
              : '. ') +
            (ceiling !== null && goodput !== null && rttNs
              ? `At ${duration(rttNs)} round trip such loss allows about ${bitRate(ceiling)}; the migration got ${bitRate(goodput)}. `
              : '') +
            (queued
              ? `The losses come when a queue on the path overflows (round trips rise to ${duration(rtt.p95)})${perEpisode > 2 ? `, ${digits(perEpisode)} at a time` : ''}.`
              : 'Round trips stay low before the losses, so no queue of this migration overflows: the path itself loses packets.'),
          advice: queued
            ? [
                'Set max-bandwidth slightly below the bottleneck’s rate, or pace on the source: tc qdisc replace dev IFACE root fq.',
                'Deepen the buffer at the slow hop, or mark instead of drop: ECN on both hosts (sysctl net.ipv4.tcp_ecn=1) and the switch.',
              ]
            : [
                'Find the hop: ethtool -S IFACE | grep -iE "err|drop|crc" on both hosts, error counters of the switch ports, duplex and optics; a policer drops like this too.',
                'Until it is cured: sysctl net.ipv4.tcp_congestion_control=bbr on the source (QEMU opens a new connection for the next try), or several multifd channels.',
              ],
          alternatives: [
            spurious > 0
              ? `Reordering: ${plural(spurious, 'retransmission')} of ${segments} proved needless.`
              : 'Reordering: excluded, no retransmission proved needless.',
          ],
          cost: { of: 'migration-time', ns: costNs },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) => {
    const segments = transfers.reduce(
      (total, transfer) => total + transfer.sum(({ forward }) => forward.retransmittedSegments),
      0,
    );
    const sent = transfers.reduce(
      (total, transfer) => total + transfer.sum(({ forward }) => forward.wireSegments ?? forward.dataFrames),
      0,
    );
    return segments === 0 ? `no retransmission in ${plural(sent, 'segment')}` : null;
  },
});

const longest = (intervals: readonly (readonly [number, number])[]): (readonly [number, number])[] =>
  [...intervals].sort((a, b) => b[1] - b[0] - (a[1] - a[0])).slice(0, 5);
