import { count, duration, moment, plural } from '../format.js';
import type { Migration } from '../report.js';
import { defineRule } from './rule.js';
import type { Episode, Transfer } from './transfer.js';

export default defineRule({
  id: 'R-B2',
  title: 'Retransmission-timeout stall',
  layer: 'L0',
  needs: ['tcpEpisodes'],
  restsOn: ['loss', 'timing'],
  explains: ['R-E3', 'R-F1', 'R-G2', 'R-H7'],
  thresholds: {
    minStallNs: { value: 200e6, unit: 'ns', meaning: 'Linux waits at least 200 ms before it repeats on its own' },
  },
  about: {
    meaning:
      'The sender heard nothing, waited for its timer, and sent again. Each wait is at least 200 ms and doubles; in the switchover it is downtime.',
    evidence:
      'A silence of 200 ms or more with data outstanding, ended by a retransmission of the first unacknowledged byte.',
    confusedWith:
      'A sender that has nothing to send (no data outstanding), a closed window (R-C3), a broken post-copy link (R-G1), an MTU black hole (R-B5: it never ends).',
    advice: [
      'Look for what happened on the path at these moments: link flaps and bond fail-overs (journalctl -k, switch log), spanning tree, a saturated queue.',
      'Fewer timeouts after tail losses: keep RACK-TLP on (sysctl net.ipv4.tcp_recovery=1, the default).',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const stalls = transfer
        .episodes('timeout', 'mixed')
        .flatMap((episode) => stallsIn(transfer, episode, limits.minStallNs));
      if (stalls.length === 0) return [];
      const longest = stalls.reduce((best, stall) => (stall.durationNs > best.durationNs ? stall : best));
      const totalNs = stalls.reduce((total, stall) => total + stall.durationNs, 0);
      const downtime = transfer.migration?.downtime;
      const during = downtime
        ? stalls.filter(
            (stall) => stall.startNs < downtime.endNs && stall.startNs + stall.durationNs > downtime.latestStartNs,
          )
        : [];
      return [
        {
          confidence: 0.9,
          packets: stalls.map((stall) => stall.firstFrame),
          interval: stalls.map((stall) => [stall.startNs, stall.startNs + stall.durationNs] as const),
          metrics: {
            stalls: stalls.length,
            totalNs,
            longestNs: longest.durationNs,
            lostBytes: stalls.reduce((total, stall) => total + stall.lostBytes, 0),
            inDowntime: during.length,
          },
          text:
            (stalls.length === 1
              ? `Once, at ${moment(longest.startNs)}, the sender had to wait for its retransmission timer: ${duration(longest.durationNs)}.`
              : `${count(stalls.length)} times the sender had to wait for its retransmission timer: ${duration(totalNs)} in all, the longest ${duration(longest.durationNs)} at ${moment(longest.startNs)}.`) +
            (during.length > 0 ? ` ${plural(during.length, 'stall')} fell into the downtime.` : ''),
          advice: [
            `Look for a link flap, bond fail-over or queue overflow at ${moment(longest.startNs)} into the capture: journalctl -k on both hosts, the switch’s log.`,
          ],
          cost:
            downtime && during.length > 0
              ? { of: 'downtime', ns: during.reduce((total, stall) => total + overlapNs(stall, downtime), 0) }
              : { of: 'migration-time', ns: Math.min(totalNs / transfer.busyFlows, transfer.durationNs) },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => transfer.sum(({ forward }) => forward.retransmissions.timeout) === 0)
      ? 'no retransmission timeout'
      : null,
});

/**
 * The silences of an episode: recovery goes on after them and is no stall. Seen away from the sender a lost retransmission
 * can pass for a timeout, but not without silence. The whole episode where there is no timeline to look at.
 */
function stallsIn(transfer: Transfer, episode: Episode, minNs: number): Episode[] {
  const endNs = episode.startNs + episode.durationNs;
  const silences = transfer.silences(episode.direction, [episode.startNs, endNs], minNs);
  if (silences) return silences.map(([from, to]) => ({ ...episode, startNs: from, durationNs: to - from }));
  return episode.durationNs >= minNs ? [episode] : [];
}

const overlapNs = (stall: Episode, downtime: NonNullable<Migration['downtime']>): number =>
  Math.max(
    0,
    Math.min(stall.startNs + stall.durationNs, downtime.endNs) - Math.max(stall.startNs, downtime.latestStartNs),
  );
