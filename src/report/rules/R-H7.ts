import { bitRate, duration, moment } from '../format.js';
import { endingOf } from './endings.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-H7',
  title: 'Migration cancelled',
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
      'The source ended the stream in order before it was complete: somebody cancelled it (migrate_cancel, virsh domjobabort, a manager).',
    evidence: 'The source closes first, in the middle of a round, and the destination had not complained.',
    confusedWith:
      'A manager’s timeout (R-E7), which fits a policy; a failure at the destination (R-H2), which closes first.',
    advice: ['The guest goes on at the source. Before the next try look at what made it slow: the other findings.'],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.outcome !== 'cancelled') return [];
      const { decodedBytes, undecodedBytes } = migration.stream;
      if (decodedBytes < limits.minDecodedShare * (decodedBytes + undecodedBytes)) return [];
      const ending = endingOf(transfer, migration);
      return [
        {
          severity: 'major',
          confidence: 0.85,
          interval: [[Math.max(transfer.startNs, transfer.endNs - 1e9), transfer.endNs]],
          metrics: { elapsedNs: transfer.durationNs, during: ending.during, rounds: migration.rounds.length },
          text: `The source ended the migration in order at ${moment(transfer.endNs)}, ${duration(transfer.durationNs)} after the start, during ${ending.during} at ${bitRate(transfer.goodput)}: it was cancelled. The guest goes on at the source.`,
          advice: [
            'Ask who cancelled: the manager’s log, virsh domjobinfo --completed DOMAIN. If it was too slow, see the other findings.',
          ],
          alternatives: [
            'A failure inside the source QEMU also closes in order: query-migrate on the source says “cancelled” or “failed”.',
          ],
          transfer,
        },
      ];
    }),
});
