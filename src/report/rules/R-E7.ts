import { digits, duration } from '../format.js';
import { hasPlateau } from '../models/downtime-limit.js';
import { convergenceOf } from './convergence.js';
import { endingOf } from './endings.js';
import { defineRule } from './rule.js';

const GIB = 2 ** 30;
/** Seconds per GiB of guest memory after which a manager gives up, and whose default it is. */
const PER_GIB: readonly (readonly [seconds: number, whose: string])[] = [
  [800, 'Nova live_migration_completion_timeout, KubeVirt completionTimeoutPerGiB of old, Harvester'],
  [150, 'KubeVirt completionTimeoutPerGiB'],
  [20, 'HyperConverged completionTimeoutPerGiB'],
];
/** Seconds without progress. */
const NO_PROGRESS_SECONDS = 150;

export default defineRule({
  id: 'R-E7',
  title: 'Manager gave up (timeout)',
  layer: 'L1',
  needs: ['migrations'],
  restsOn: ['stream'],
  explains: ['R-H7'],
  thresholds: {
    tolerance: { value: 0.05, unit: 'share', meaning: 'how near the elapsed time must be to a policy’s' },
  },
  about: {
    meaning:
      'QEMU itself never gives up. Someone cancelled a working migration after a time that fits a manager’s policy.',
    evidence:
      'The source closes in order in the middle of a round, after a time that is a known number of seconds per GiB, or 150 s without a smaller remainder.',
    confusedWith:
      'An operator’s cancel (R-H7) at an arbitrary time; a migration that could not converge anyway (R-E1).',
    advice: [
      'Raise the timeout or allow post-copy on timeout: Nova live_migration_timeout_action=force_complete, KubeVirt allowPostCopy. Progress must be judged per round: the remainder is a saw-tooth.',
    ],
  },
  run: (context, limits) =>
    context.transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || (migration.outcome !== 'cancelled' && migration.outcome !== 'failed')) return [];
      const ending = endingOf(transfer, migration);
      if (ending.by !== 'source') return [];
      const seconds = transfer.durationNs / 1e9;
      const near = (expected: number): boolean => Math.abs(seconds / expected - 1) <= limits.tolerance;
      const memoryGib = migration.ramBlocks.reduce((total, block) => total + block.lengthBytes, 0) / GIB;
      const policy =
        memoryGib > 0 ? PER_GIB.find(([perGib]) => near(perGib * Math.max(1, Math.ceil(memoryGib)))) : undefined;
      const state = convergenceOf(context, migration);
      const stalled = near(NO_PROGRESS_SECONDS) && state !== null && hasPlateau(state.sizes, 4, 0.9);
      if (!policy && !stalled) return [];
      return [
        {
          severity: 'fatal',
          confidence: 0.6,
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { elapsedNs: transfer.durationNs, memoryGib, secondsPerGib: policy?.[0] ?? null },
          text:
            `The source ended a working migration after ${duration(transfer.durationNs)}, during ${ending.during}: ` +
            (policy
              ? `${digits(policy[0])} s per GiB of guest memory, the default of ${policy[1]}.`
              : `${NO_PROGRESS_SECONDS} s without progress is the limit of KubeVirt and old Nova.`),
          advice: [
            'Raise the manager’s timeout, or let it force completion (post-copy, auto-converge) instead of cancelling; then look at why it takes so long.',
          ],
          alternatives: ['An operator may have cancelled at that time by chance: the manager’s log tells.'],
          transfer,
        },
      ];
    }),
});
