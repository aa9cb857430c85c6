import { bytes, duration, percent } from '../format.js';
import { nbdBytes, nbdBytesWithin, nbdConnections } from './nbd.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-I1',
  title: 'Disk mirror competes with memory',
  layer: 'L0',
  needs: ['connections', 'migrations'],
  restsOn: ['rates'],
  explains: ['R-E1', 'R-E2'],
  thresholds: {
    minOverlap: { value: 0.3, unit: 'share of pre-copy', meaning: 'time side by side' },
    minShare: { value: 0.1, unit: 'share of bytes', meaning: 'that the disk takes while both run' },
  },
  about: {
    meaning:
      'The guest’s disk is mirrored over the same link while its memory moves: each slows the other, and the memory converges later.',
    evidence: 'An NBD connection between the same hosts that carries data during the rounds.',
    confusedWith: 'Unrelated traffic of other guests.',
    advice: [
      'Let the mirror finish first, cap its speed (blockjob speed, virsh migrate --copy-storage-… with --bandwidth), or give it another network.',
    ],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration, precopy } = transfer;
      const mirrors = migration ? nbdConnections(report, migration) : [];
      const precopyNs = precopy[1] - precopy[0];
      const overlapNs = Math.max(
        0,
        ...mirrors.map((mirror) => Math.min(mirror.endNs, precopy[1]) - Math.max(mirror.startNs, precopy[0])),
      );
      // A mirror in step keeps its connection and says little: only what it sends beside the memory competes.
      const disk = nbdBytesWithin(report, mirrors, precopy) ?? nbdBytes(mirrors);
      const share = disk / (disk + transfer.bytes);
      if (mirrors.length === 0 || overlapNs < limits.minOverlap * precopyNs || share < limits.minShare) return [];
      return [
        {
          confidence: 0.75,
          packets: mirrors.map((mirror) => mirror.firstFrame),
          interval: [precopy],
          metrics: { diskBytes: disk, memoryBytes: transfer.bytes, overlapNs },
          text: `A disk mirror (${bytes(disk)}) ran beside the memory (${bytes(transfer.bytes)}) for ${duration(overlapNs)} and took ${percent(share)} of the bytes.`,
          advice: ['Start the memory migration when the mirror is ready, or cap the mirror: QMP block-job-set-speed.'],
          cost: { of: 'migration-time', ns: overlapNs * share },
          transfer,
          connections: [...transfer.connectionIds, ...mirrors.map((mirror) => mirror.id)],
        },
      ];
    }),
});
