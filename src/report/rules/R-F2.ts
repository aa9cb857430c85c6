import { bytes, duration, plain } from '../format.js';
import { downtimeOf, downtimeSeverity } from './downtime.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-F2',
  title: 'Downtime is device state',
  layer: 'L1',
  needs: ['phases', 'devices'],
  restsOn: ['stream', 'timing'],
  explains: [],
  thresholds: {
    minShare: { value: 0.4, unit: 'share of downtime', meaning: 'spent on device state' },
    largeBytes: { value: 16 * 2 ** 20, unit: 'bytes', meaning: 'device state that is worth naming by itself' },
  },
  about: {
    meaning:
      'While the guest stood still, the state of its devices was saved, sent and loaded. Passed-through devices (VFIO), GPUs and network cards with many queues carry megabytes.',
    evidence: 'Device sections take at least 40 % of the time from the guest’s stop to the destination’s confirmation.',
    confusedWith: 'A slow destination (R-F3), where the wire is silent after the last byte.',
    advice: [
      'VFIO: use a driver with pre-copy support, multifd device state (QEMU 10.0) and switchover-ack. virtio-net: fewer queues.',
    ],
  },
  run: ({ migrations, downtimeLimitNs }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const split = downtimeOf(transfer);
      if (!migration || !split || split.deviceNs < limits.minShare * split.totalNs) return [];
      const largest = [...migration.devices].sort((a, b) => b.bytes - a.bytes)[0];
      const slowest = [...migration.devices].sort((a, b) => b.endNs - b.startNs - (a.endNs - a.startNs))[0];
      const long = split.totalNs > downtimeLimitNs || (largest?.bytes ?? 0) >= limits.largeBytes;
      return [
        {
          severity: downtimeSeverity(split, downtimeLimitNs),
          confidence: 0.8,
          interval: [[split.startNs, split.endNs]],
          metrics: {
            downtimeNs: split.totalNs,
            deviceNs: split.deviceNs,
            deviceBytes: split.deviceBytes,
            largestDevice: largest?.name ?? null,
            largestBytes: largest?.bytes ?? null,
            slowestDevice: slowest?.name ?? null,
            slowestNs: slowest ? slowest.endNs - slowest.startNs : null,
          },
          text:
            `Of ${split.total} downtime ${duration(split.deviceNs)}${split.share(split.deviceNs)} went into ${bytes(split.deviceBytes)} of device state.` +
            (largest ? ` The largest device is ${plain(largest.name, 60)} (${bytes(largest.bytes)})` : '') +
            (slowest && largest
              ? `, the slowest ${plain(slowest.name, 60)} (${duration(slowest.endNs - slowest.startNs)}).`
              : ''),
          advice: long
            ? [
                `Look at ${plain(slowest?.name ?? 'the devices', 60)} first: for VFIO pre-copy support and multifd device state, for virtio-net fewer queues.`,
              ]
            : [],
          cost: { of: 'downtime', ns: split.deviceNs },
          transfer,
        },
      ];
    }),
});
