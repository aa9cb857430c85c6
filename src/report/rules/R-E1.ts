import { bitRate, bytes, duration, memory, percent } from '../format.js';
import { hasPlateau } from '../models/downtime-limit.js';
import { remedies } from '../models/remedies.js';
import { convergenceOf, laterRounds } from './convergence.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-E1',
  title: 'Cannot converge at this bandwidth',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream', 'rates'],
  explains: ['R-E2', 'R-E7', 'R-H7'],
  thresholds: {
    minRounds: { value: 4, unit: 'rounds', meaning: 'after the first pass' },
    plateauShare: { value: 0.9, unit: 'share', meaning: 'of the lowest remainder so far; above it nothing was gained' },
  },
  about: {
    meaning:
      'The guest dirties memory as fast as it is sent. Each round leaves about as much as the one before, more than fits into the allowed downtime, so pre-copy would go on for ever.',
    evidence: 'Rounds of about equal size, larger than bandwidth × downtime limit, at least four of them.',
    confusedWith:
      'A manager that gave up a healthy migration (R-E7): there rounds were still shrinking. A saw-tooth of “remaining” within rounds is normal.',
    advice: [
      'Three ways out: more bandwidth, more downtime, or a guest that writes less (post-copy, auto-converge, dirty-limit, or pausing the workload).',
      'migrate-start-postcopy (capability postcopy-ram on both sides, set before the start) ends any pre-copy at once.',
    ],
  },
  run: (context, limits) =>
    context.migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || migration.outcome === 'completed') return [];
      const state = convergenceOf(context, migration);
      if (!state?.limit || !hasPlateau(state.sizes, limits.minRounds, limits.plateauShare)) return [];
      const { sizes, fit, allowedBytes, input, limitBelowNs } = state;
      const { remainingBytes, enoughNs } = state.limit;
      if (allowedBytes === null || input.bandwidth === null) return [];
      const prices = remedies.run(input);
      // Where what is left fits into the limit assumed here, the one in force is lower, and no bandwidth can be named.
      const limitIsLower = remainingBytes <= allowedBytes || (limitBelowNs ?? enoughNs) < context.downtimeLimitNs;
      const neededBandwidth = limitIsLower
        ? null
        : (prices?.bandwidthFor?.bandwidth ?? remainingBytes / input.downtimeLimitSeconds);
      const stuck = laterRounds(state);
      return [
        {
          severity: 'major',
          confidence: fit ? 0.92 : 0.85,
          interval: [stuck],
          metrics: {
            rounds: sizes.length,
            remainingBytes,
            allowedBytes,
            bandwidth: input.bandwidth,
            neededBandwidth,
            neededDowntimeNs: enoughNs,
            downtimeLimitNs: context.downtimeLimitNs,
            limitBelowNs: limitIsLower ? limitBelowNs : null,
            workingSetBytes: fit?.workingSetBytes ?? null,
            peakDirtyRate: fit?.peakDirtyRate ?? null,
            postcopyNs: prices?.postcopy.migrationNs ?? null,
            throttlePercent: prices?.autoConverge?.throttlePercent ?? null,
          },
          text:
            `After ${sizes.length} rounds about ${bytes(remainingBytes)} still have to be sent each time; at ${bitRate(input.bandwidth)} that takes ${duration(enoughNs)}. ` +
            (limitIsLower
              ? `QEMU goes on all the same, so its downtime limit must be below ${limitBelowNs === null ? 'that' : duration(limitBelowNs)}. `
              : `Only ${bytes(allowedBytes)} fit into a downtime of ${duration(context.downtimeLimitNs)}. `) +
            (fit ? `The guest keeps rewriting ${memory(fit.workingSetBytes)}. ` : '') +
            'It will not finish by itself.',
          advice: [
            ...(neededBandwidth === null
              ? []
              : [
                  `Bandwidth: about ${bitRate(neededBandwidth)}${prices?.bandwidthFor?.isUpperBound === false ? '' : ', or less,'} would do for a downtime of ${duration(context.downtimeLimitNs)} (now ${bitRate(input.bandwidth)}).`,
                ]),
            `Downtime: allow ${duration(enoughNs)}: virsh migrate-setmaxdowntime DOMAIN ${Math.ceil(enoughNs / 1e6)}, or QMP migrate-set-parameters downtime-limit.`,
            prices
              ? `Post-copy: switching after the first pass would have taken ${duration(prices.postcopy.migrationNs)} in all, the last ${duration(prices.postcopy.degradedNs)} with slow page access (virsh migrate --postcopy --postcopy-after-precopy).`
              : 'Post-copy: virsh migrate --postcopy --postcopy-after-precopy.',
            prices?.autoConverge
              ? `Auto-converge: would have to slow the guest by ${percent(prices.autoConverge.throttlePercent / 100)} (virsh migrate --auto-converge).`
              : 'Auto-converge or dirty-limit (virsh migrate --auto-converge): slows the guest until it fits.',
          ],
          alternatives: [
            'The downtime limit is not on the wire; QEMU’s default is assumed. Say --what-if downtime=… for another.',
          ],
          cost: { of: 'migration-time', ns: stuck[1] - stuck[0] },
          transfer,
        },
      ];
    }),
  ruledOut: ({ report }) =>
    report.migrations.length > 0 &&
    report.migrations.every(
      (migration) => migration.outcome === 'completed' && migration.rounds.length > 1 && !migration.postcopy,
    )
      ? 'pre-copy converged'
      : null,
});
