import { duration, moment, plain } from '../format.js';
import { endingOf } from './endings.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-H2',
  title: 'Migration broke off',
  layer: 'L0',
  needs: ['migrations'],
  restsOn: [],
  explains: [],
  thresholds: {
    minDecodedShare: {
      value: 0.5,
      unit: 'share of bytes',
      meaning: 'decoded; below it an end mark may have been missed',
    },
  },
  about: {
    meaning:
      'A side closed the connection before the stream’s end mark. Which side did so first, and what was on the wire then, says where to look.',
    evidence: 'The first FIN or RST and the stream’s position at that moment.',
    confusedWith:
      'A cancel by the operator (R-H7): the source closes in order. The end of the capture, where nobody closes.',
    advice: [
      'Closed by the destination: its QEMU log (/var/log/libvirt/qemu/DOMAIN.log) has the reason. Right after a device section it is a load error of that device; during the RAM block list it is a layout mismatch (R-H6).',
      'Reset by the source: its QEMU crashed or was killed; the guest may be gone with it. Look at the journal for the OOM killer.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.outcome !== 'failed') return [];
      const ending = endingOf(transfer, migration);
      const { decodedBytes, undecodedBytes } = migration.stream;
      const unread = decodedBytes < limits.minDecodedShare * (decodedBytes + undecodedBytes);
      if (unread && !ending.reset) return []; // closed in order: it may well have been complete
      const device = ending.during === 'device state' ? migration.devices.at(-1)?.name : undefined;
      const during = device === undefined ? ending.during : `the state of ${plain(device, 60)}`;
      const who = ending.by === null ? 'Somebody' : ending.by === 'source' ? 'The source' : 'The destination';
      return [
        {
          severity: 'fatal',
          confidence: ending.by === null ? 0.6 : 0.9,
          interval: [[Math.max(transfer.startNs, transfer.endNs - 1e9), transfer.endNs]],
          metrics: {
            closedFirstBy: ending.by,
            reset: ending.reset ? 'yes' : 'no',
            during,
            elapsedNs: transfer.durationNs,
            decodedBytes: migration.stream.decodedBytes,
          },
          text: `${who} ${ending.reset ? 'reset' : 'closed'} the connection at ${moment(transfer.endNs)}, ${duration(transfer.durationNs)} after the start, during ${during}. The migration failed; the guest goes on at the source unless post-copy had begun.`,
          advice:
            ending.by === 'destination'
              ? [
                  `Read the destination’s QEMU log (/var/log/libvirt/qemu/DOMAIN.log): it says why it stopped loading${device === undefined ? '' : ` ${plain(device, 60)}`}.`,
                  'Check that it did not crash or get killed: journalctl -k | grep -i oom, coredumpctl.',
                ]
              : ['Read the source’s QEMU log and journalctl for a crash or kill; then query-migrate on the source.'],
          alternatives: [
            'A middlebox can forge resets: if neither log shows a reason, look at firewalls between the hosts.',
          ],
          transfer,
        },
      ];
    }),
  ruledOut: ({ report }) =>
    report.migrations.length > 0 && report.migrations.every((migration) => migration.outcome === 'completed')
      ? 'the stream was complete'
      : null,
});
