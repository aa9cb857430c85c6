import { duration } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-G2',
  title: 'Page requests wait long',
  layer: 'L1',
  needs: ['postcopy'],
  restsOn: ['stream', 'timing'],
  explains: [],
  thresholds: {
    maxP99Ns: { value: 10e6, unit: 'ns', meaning: 'beyond the round trip' },
    rttFactor: { value: 3, unit: 'round trips', meaning: 'that a request may take on a long path' },
    painfulP50Ns: { value: 10e6, unit: 'ns', meaning: 'typical wait that a guest notices' },
    painfulP99Ns: { value: 100e6, unit: 'ns', meaning: 'rare wait that a guest notices' },
    minRequests: { value: 20, unit: 'requests', meaning: 'before a percentile means anything' },
  },
  about: {
    meaning:
      'After the switch the guest stands still whenever it touches a page that has not come yet. The requests wait long, mostly behind background pages in the same queue.',
    evidence: 'Time from a page request on the return path to that page’s last byte.',
    confusedWith: 'A long path, where every answer takes a round trip.',
    advice: [
      'Capability postcopy-preempt (QEMU 7.1 or later) gives requested pages a channel of their own; max-postcopy-bandwidth keeps the background from filling the queue.',
    ],
  },
  run: ({ migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const postcopy = migration?.postcopy;
      const latency = postcopy?.requestLatencyNs;
      if (!migration || !postcopy || !latency || latency.samples < limits.minRequests) return [];
      const rttNs = transfer.minRttNs ?? 0;
      if (latency.p99 <= Math.max(limits.maxP99Ns, limits.rttFactor * rttNs)) return [];
      const preempt = migration.stream.features.includes('preempt');
      const waitedNs = Math.min(latency.p50 * latency.samples, postcopy.endNs - postcopy.startNs);
      return [
        {
          severity:
            latency.p50 > limits.painfulP50Ns + rttNs || latency.p99 > limits.painfulP99Ns + rttNs ? 'minor' : 'info',
          confidence: 0.8,
          interval: [[postcopy.startNs, postcopy.endNs]],
          metrics: {
            p50Ns: latency.p50,
            p99Ns: latency.p99,
            maxNs: latency.max,
            requests: latency.samples,
            preempt: preempt ? 'yes' : 'no',
            rttNs,
          },
          text: `After the switch a page request took ${duration(latency.p50)} (99 %: ${duration(latency.p99)}, worst ${duration(latency.max)}) on a path of ${duration(rttNs)}: the guest was stopped for up to ${duration(waitedNs)} in all by ${latency.samples} requests.`,
          advice: preempt
            ? [
                'Requested pages already have a channel of their own; the queue is below it. Set max-postcopy-bandwidth under the link’s rate so that the background leaves room.',
              ]
            : [
                'Set capability postcopy-preempt on both sides (QEMU 7.1 or later), and max-postcopy-bandwidth under the link’s rate.',
              ],
          alternatives: [
            'Seen from the capture point; at the destination itself requests wait half a round trip longer.',
          ],
          cost: { of: 'migration-time', ns: waitedNs },
          transfer,
        },
      ];
    }),
});
