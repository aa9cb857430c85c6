import { bytes, duration, moment, plural } from '../format.js';
import { switchoverThreshold, WINDOW_SECONDS } from '../models/switchover.js';
import { median } from './comb.js';
import { convergenceOf } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E3',
  title: 'Switchover missed in a rate dip',
  layer: 'L1',
  needs: ['rounds', 'timeline'],
  restsOn: ['stream', 'rates', 'timing'],
  explains: [],
  thresholds: {
    maxDip: { value: 0.7, unit: 'share of the median rate', meaning: 'rate of the last 100 ms that counts as a dip' },
    minMissed: { value: 1, unit: 'rounds', meaning: 'switchovers missed' },
  },
  about: {
    meaning:
      'QEMU allows what the last 100 ms could carry. When that window happens to be slow, it thinks the remainder too large and starts another round, although the usual rate would have done.',
    evidence: 'At a round’s end the remainder fits at the median rate but not at the rate of the 100 ms before.',
    confusedWith: 'A real plateau (R-E1): there the remainder fits at no time.',
    advice: [
      'Set avail-switchover-bandwidth (QEMU 8.2 or later) to what the link gives at switchover, and remove the contention behind the dips.',
    ],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const state = transfer.migration ? convergenceOf(context, transfer.migration) : null;
      if (!state || state.rounds.length < 3) return [];
      const stepNs = WINDOW_SECONDS * 1e9;
      const steps = transfer.byteSteps(stepNs, transfer.precopy);
      if (!steps || steps.length < 10) return [];
      const usual = median(steps);
      const downtime = Math.min(context.downtimeLimitNs, state.limitBelowNs ?? Number.POSITIVE_INFINITY) / 1e9;
      // Rounds that went on although everything was usual say that the real limit is lower than we think.
      const contradicted = state.rounds.slice(1, -1).some((round) => {
        const window = steps[Math.floor((round.startNs - transfer.precopy[0]) / stepNs) - 1];
        return (
          window !== undefined && window > limits.maxDip * usual && round.bytes <= switchoverThreshold(window, downtime)
        );
      });
      if (contradicted) return [];
      const missed = state.rounds.slice(1, -1).flatMap((round) => {
        const window = steps[Math.floor((round.startNs - transfer.precopy[0]) / stepNs) - 1];
        if (window === undefined || window > limits.maxDip * usual) return [];
        const allowed = switchoverThreshold(window, downtime);
        return round.bytes > allowed && round.bytes <= switchoverThreshold(usual, downtime) ? [{ round, allowed }] : [];
      });
      const first = missed[0];
      if (!first || missed.length < limits.minMissed) return [];
      const wastedNs = state.rounds.at(-1)!.startNs - first.round.startNs;
      return [
        {
          confidence: 0.6,
          interval: missed.map(({ round }) => [round.startNs - stepNs, round.startNs] as const),
          metrics: {
            missed: missed.length,
            pendingBytes: first.round.bytes,
            allowedBytes: first.allowed,
            usualBytes: switchoverThreshold(usual, downtime),
          },
          text: `At ${moment(first.round.startNs)} ${bytes(first.round.bytes)} remained: enough for a switchover at the usual rate, but in the 100 ms before the rate had dipped and only ${bytes(first.allowed)} were allowed. ${plural(missed.length, 'such chance')} passed, ${duration(wastedNs)} were spent on further rounds.`,
          advice: [
            'QMP migrate-set-parameters avail-switchover-bandwidth = the bytes per second that the link gives (QEMU 8.2 or later).',
          ],
          cost: { of: 'migration-time', ns: wastedNs },
          transfer,
        },
      ];
    }),
});
