import { byteRate, bytes, duration, percent, plain } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-I2',
  title: 'Disk mirror never catches up',
  layer: 'L1',
  needs: ['migrations'],
  restsOn: ['rates'],
  explains: ['R-I1', 'R-I3'],
  thresholds: {
    minNs: { value: 1e9, unit: 'ns', meaning: 'after the first pass over the disk' },
    minRate: { value: 0.5, unit: 'share of the first pass’s rate', meaning: 'at which blocks are written again' },
  },
  about: {
    meaning:
      'The mirror has copied the disk once, but the guest writes as fast as the copy can follow: it goes on at full rate and would never be done.',
    evidence:
      'After the last new place on the disk was written, NBD write requests to places already copied go on at a rate like that of the first pass.',
    confusedWith:
      'A mirror that is in step: after the first pass it carries only what the guest writes, far below the path’s rate.',
    advice: [
      'Throttle the guest’s writes (virsh blkdeviotune, QMP block_set_io_throttle), give the mirror more bandwidth, or mirror with copy-mode write-blocking, which makes the guest wait for it.',
    ],
  },
  run: ({ migrations }, limits) =>
    migrations.flatMap((transfer) =>
      (transfer.migration?.disks ?? []).flatMap((disk) => {
        const firstNs = disk.sweptNs - disk.startNs;
        const againNs = disk.endNs - disk.sweptNs;
        const firstRate = ((disk.writtenBytes + disk.zeroedBytes - disk.rewrittenBytes) / firstNs) * 1e9;
        const againRate = (disk.rewrittenBytes / againNs) * 1e9;
        if (!(firstNs > 0) || againNs < limits.minNs || !(againRate >= limits.minRate * firstRate)) return [];
        return [
          {
            confidence: 0.75,
            interval: [[disk.sweptNs, disk.endNs] as const],
            metrics: { firstRate, againRate, rewrittenBytes: disk.rewrittenBytes, againNs, name: plain(disk.name, 60) },
            text: `The disk was copied once in ${duration(firstNs)}, then the mirror went on for ${duration(againNs)} with ${bytes(disk.rewrittenBytes)} of blocks that the guest had written again, at ${byteRate(againRate)} (${percent(Math.min(9.99, againRate / firstRate))} of the first pass): it does not catch up.`,
            advice: [
              'Throttle the guest’s writes until the mirror is in step (virsh blkdeviotune), or use copy-mode write-blocking.',
            ],
            cost: { of: 'migration-time', ns: againNs } as const,
            transfer,
            connections: [disk.connection],
          },
        ];
      }),
    ),
});
