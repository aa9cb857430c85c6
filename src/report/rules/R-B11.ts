import { bytes, duration, moment, plural } from '../format.js';
import { defineRule } from './rule.js';
import type { TcpEvent, Transfer } from './transfer.js';

export default defineRule({
  id: 'R-B11',
  title: 'Only probes for a while',
  layer: 'L0',
  needs: ['tcpEvents'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minProbes: { value: 2, unit: 'probes', meaning: 'in a row; one alone is chance' },
    minNs: { value: 200e6, unit: 'ns', meaning: 'from the first to the last of them' },
  },
  about: {
    meaning:
      'For a while the connection carried nothing but the kernel’s questions whether the other side is still there or has room again. Managers show this as “hung at X %”.',
    evidence:
      'Zero-window probes (the window is closed) or keep-alives (nothing to send), several in a row without new data between.',
    confusedWith:
      'Retransmissions (R-B2), which repeat data that was sent. A closed window means a destination that does not read (R-C3), keep-alives a source without work or a broken post-copy link (R-G1).',
    advice: [
      'Window probes: look at the destination’s QEMU (stopped, swapping, waiting for storage). Keep-alives: look at what the source waits for.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const waits = waitsOf(transfer).filter(
        ({ probes, startNs, endNs }) => probes.length >= limits.minProbes && endNs - startNs >= limits.minNs,
      );
      if (waits.length === 0) return [];
      const longest = waits.reduce((best, wait) =>
        wait.endNs - wait.startNs > best.endNs - best.startNs ? wait : best,
      );
      const all = waits.flatMap((wait) => wait.probes);
      const closed = all.filter((probe) => probe.kind === 'window-probe').length;
      const totalNs = waits.reduce((total, wait) => total + wait.endNs - wait.startNs, 0);
      return [
        {
          confidence: 0.9,
          packets: all.map((probe) => probe.frame),
          interval: waits.map(({ startNs, endNs }) => [startNs, endNs] as const),
          metrics: {
            windowProbes: closed,
            keepAlives: all.length - closed,
            waits: waits.length,
            totalNs,
            longestNs: longest.endNs - longest.startNs,
            sentBytes: longest.probes[0]!.offset,
          },
          text:
            `From ${moment(longest.startNs)} on, with ${bytes(longest.probes[0]!.offset)} sent, the connection carried only ${longest.probes[0]!.kind === 'window-probe' ? plural(longest.probes.length, 'probe of a closed window', 'probes of a closed window') : plural(longest.probes.length, 'keep-alive')} for ${duration(longest.endNs - longest.startNs)}` +
            (waits.length > 1 ? `; ${plural(waits.length, 'such wait')} took ${duration(totalNs)} in all.` : '.'),
          advice: [
            closed > 0
              ? 'On the destination: is QEMU running (ps -o stat,wchan), does it get memory and CPU?'
              : 'On the source: what does QEMU wait for (query-migrate, its log)?',
          ],
          cost: { of: 'migration-time', ns: Math.min(totalNs / transfer.busyFlows, transfer.durationNs) },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => transfer.sum(({ forward }) => forward.windowProbes + forward.keepAlives) === 0)
      ? 'no window probe and no keep-alive'
      : null,
});

interface Wait {
  readonly startNs: number;
  endNs: number;
  readonly probes: TcpEvent[];
}

/** Probes in the direction of memory that follow each other without progress: they all ask about the same byte. */
function waitsOf(transfer: Transfer): Wait[] {
  const forward = new Set(transfer.flows.map((flow) => flow.directionId));
  const open = new Map<number, Wait>();
  const waits: Wait[] = [];
  for (const probe of transfer.events('window-probe', 'keep-alive')) {
    if (!forward.has(probe.direction)) continue;
    const wait = open.get(probe.direction);
    if (wait && wait.probes[0]!.offset === probe.offset) {
      wait.probes.push(probe);
      wait.endNs = probe.tNs;
      continue;
    }
    const begun: Wait = { startNs: probe.tNs, endNs: probe.tNs, probes: [probe] };
    open.set(probe.direction, begun);
    waits.push(begun);
  }
  return waits;
}
