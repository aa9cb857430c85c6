import { duration } from '../format.js';
import { downtimeOf, downtimeSeverity } from './downtime.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-F3',
  title: 'Destination slow to start the guest',
  layer: 'L1',
  needs: ['phases'],
  restsOn: ['stream', 'timing'],
  explains: [],
  thresholds: {
    minNs: { value: 50e6, unit: 'ns', meaning: 'silence after the end of the stream, beyond the round trip' },
    minShare: { value: 0.3, unit: 'share of downtime', meaning: 'that this silence makes up' },
  },
  about: {
    meaning:
      'Everything had arrived, but the destination took long to load devices and start the guest: vhost or IOMMU set-up, memory pinning, interface plugging.',
    evidence: 'After the stream’s end mark was acknowledged the wire is silent before the return path says goodbye.',
    confusedWith: 'A long round trip (R-F4).',
    advice: [
      'Trace the destination: trace-enable loadvm_* and vmstate_downtime_* (QEMU 8.2 or later) names the device and its time.',
    ],
  },
  run: ({ migrations, downtimeLimitNs }, limits) =>
    migrations.flatMap((transfer) => {
      if (transfer.flows.length === 0) return []; // not over TCP: repairs after the end mark are not told from silence
      const split = downtimeOf(transfer);
      const rttNs = transfer.minRttNs ?? 0;
      if (!split || split.handoverNs - rttNs < limits.minNs || split.handoverNs < limits.minShare * split.totalNs)
        return [];
      return [
        {
          severity: downtimeSeverity(split, downtimeLimitNs),
          confidence: 0.75,
          interval: [[split.endNs - split.handoverNs, split.endNs]],
          metrics: { downtimeNs: split.totalNs, handoverNs: split.handoverNs, rttNs },
          text: `The stream had ended, yet the destination needed another ${duration(split.handoverNs)}${split.share(split.handoverNs).replace(')', ' of the downtime)')} before it confirmed.`,
          advice: [
            'On the destination, enable the trace points vmstate_downtime_load and loadvm_state_setup: they show which device takes the time (vhost-user reconnect, VFIO, IOMMU).',
          ],
          alternatives: [
            'A destination started with -S (paused) confirms early; what the manager then waits for is not on this wire.',
          ],
          cost: { of: 'downtime', ns: split.handoverNs },
          transfer,
        },
      ];
    }),
});
