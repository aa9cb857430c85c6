import { bytes, digits } from '../format.js';
import { nbdBytes, nbdConnections } from './nbd.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-I3',
  title: 'Time is disk, not memory',
  layer: 'L0',
  needs: ['connections', 'migrations'],
  restsOn: [],
  explains: [],
  thresholds: {
    minFactor: { value: 3, unit: 'factor', meaning: 'disk bytes over memory bytes' },
  },
  about: {
    meaning: 'Most of what crossed the network is the guest’s disk. Many reports of slow migration are slow disks.',
    evidence: 'NBD bytes far above memory bytes.',
    confusedWith: 'A guest with shared storage, which has no NBD connection.',
    advice: ['Look at disk throughput on both hosts (iostat -x 1); shared storage removes this part.'],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const mirrors = transfer.migration ? nbdConnections(report, transfer.migration) : [];
      const disk = nbdBytes(mirrors);
      if (mirrors.length === 0 || disk < limits.minFactor * transfer.bytes) return [];
      return [
        {
          severity: 'info',
          confidence: 0.85,
          packets: mirrors.map((mirror) => mirror.firstFrame),
          interval: mirrors.slice(0, 5).map((mirror) => [mirror.startNs, mirror.endNs] as const),
          metrics: { diskBytes: disk, memoryBytes: transfer.bytes },
          text: `The disk (${bytes(disk)}) is ${digits(disk / Math.max(1, transfer.bytes))} times the memory (${bytes(transfer.bytes)}): time went into storage.`,
          advice: [
            'Compare iostat -x 1 on both hosts with the mirror’s rate; use shared storage if moves are frequent.',
          ],
          transfer,
          connections: mirrors.map((mirror) => mirror.id),
        },
      ];
    }),
});
