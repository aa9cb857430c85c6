import { bytes, count, duration, percent } from '../format.js';
import { defineRule } from './rule.js';
import { closuresOf, SHRUNK_SHARE, shrunkShare } from './window.js';

export default defineRule({
  id: 'R-C3',
  title: 'Destination too slow',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window'],
  explains: ['R-B3', 'R-B11', 'R-C1', 'R-C2', 'R-D1', 'R-E1', 'R-E2', 'R-E7', 'R-E8', 'R-F1', 'R-B2', 'R-H7'],
  thresholds: {
    minZeroWindowShare: { value: 0.01, unit: 'share of time', meaning: 'time with the window closed' },
    minZeroWindowNs: { value: 20e6, unit: 'ns', meaning: 'shorter closures are noise' },
    minNs: { value: 2e9, unit: 'ns', meaning: 'shorter transfers have no speed problem' },
    minShrunkShare: SHRUNK_SHARE,
    minFullShare: { value: 0.3, unit: 'share of time', meaning: 'time in which a shrunk window was full' },
  },
  about: {
    meaning:
      'The destination’s QEMU does not read as fast as data arrives: its kernel buffer fills and the window closes.',
    evidence: 'The advertised window shrinks to zero, again and again or for long; the sender probes until it opens.',
    confusedWith: 'A small window (R-B3): it is full as well, but steady and never zero.',
    advice: [
      'On the destination look at CPU (top -H), memory allocation (transparent huge pages, NUMA binding, swap), and huge pages that are allocated only now: preallocate them.',
      'A destination stopped for seconds (SIGSTOP, an overloaded host, a hung storage backend) shows as one long closure.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { episodes: closures, totalNs: zeroNs, share, onlySmall } = closuresOf(transfer);
      const closed = zeroNs >= limits.minZeroWindowNs && share >= limits.minZeroWindowShare;
      const fullShare = transfer.limitedBy()?.['receiver-window'] ?? 0;
      const shrunk = fullShare >= limits.minFullShare && shrunkShare(transfer) >= limits.minShrunkShare;
      if (!closed && !shrunk) return [];
      const episodes = [...transfer.episodes('zero-window')].sort((a, b) => b.durationNs - a.durationNs);
      const longestNs = episodes[0]?.durationNs ?? null;
      // The rest of the time in which a small window was full is no fault of its reader (R-B3).
      const waitedNs = Math.max(
        zeroNs / transfer.busyFlows,
        onlySmall && !shrunk ? 0 : fullShare * transfer.durationNs,
      );
      const proof = episodes.map((episode) => [episode.startNs, episode.startNs + episode.durationNs] as const);
      const { window } = transfer.mainFlow.forward;
      const probes = transfer.sum(({ forward }) => forward.windowProbes);
      return [
        {
          ...(transfer.durationNs < limits.minNs ? { severity: 'info' as const } : {}),
          confidence: closed ? 0.92 : 0.8,
          packets: [
            ...transfer.events('zero-window-start').map((event) => event.frame),
            ...episodes.map((episode) => episode.firstFrame),
          ],
          interval: proof.length > 0 ? proof.slice(0, 5) : [[transfer.startNs, transfer.endNs]],
          metrics: {
            closures,
            zeroNs,
            share,
            fullShare,
            longestNs,
            windowProbes: probes,
            largestWindowBytes: window?.max ?? null,
          },
          text: closed
            ? `The destination closed its receive window ${closures === 1 ? 'once, for' : `${count(closures)} times, for`} ${duration(zeroNs)}${closures === 1 ? '' : ' in all'} (${percent(share)} of ${transfer.busyFlows > 1 ? 'each connection’s' : 'the'} time)` +
              (longestNs !== null && closures > 1 ? `, the longest for ${duration(longestNs)}` : '') +
              `: its QEMU does not read as fast as data arrives${window ? `; at other times its window was up to ${bytes(window.max)}` : ''}.`
            : `The destination’s window shrank from ${bytes(window?.max ?? null)} to ${bytes(window?.p50 ?? null)} and was full for ${percent(fullShare)} of the time: its QEMU does not read as fast as data arrives.`,
          advice: [
            'On the destination: top -H (is QEMU’s incoming or multifd thread at 100 %?), numastat -p, swap (vmstat 1), stalls in the kernel log.',
            'Preallocate the guest’s memory (huge pages, <allocation mode="immediate"/>), and check that the host is not overcommitted.',
          ],
          alternatives: [
            closed
              ? 'A window that is merely small: excluded, it closed completely.'
              : 'A window that is merely small: unlikely, it was larger at first.',
          ],
          cost: { of: 'migration-time', ns: Math.min(waitedNs, transfer.durationNs) },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => transfer.sum(({ forward }) => forward.zeroWindow.episodes) === 0)
      ? 'the destination never closed its window'
      : null,
});
