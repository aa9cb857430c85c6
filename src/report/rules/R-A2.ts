import { bitRate, digits, memory, percent } from '../format.js';
import { RATE_LIMIT, rateLimitOf } from './rate-limit.js';
import { defineRule, type Observation } from './rule.js';

/** What a limit becomes when its number is read in another unit: measured over intended. */
const MISREADINGS: readonly (readonly [factor: number, how: string])[] = [
  [8, 'a number of bits where bytes are expected'],
  [1 / 8, 'a number of bytes where bits are expected'],
  [1.048576, 'MiB where MB were meant'],
  [1 / 1.048576, 'MB where MiB were meant'],
  [8 * 1.048576, 'Mibit taken for MB'],
  [1 / (8 * 1.048576), 'MB taken for Mibit'],
  [1024, 'KiB where bytes were meant, or MiB where KiB'],
  [1 / 1024, 'bytes where KiB were meant, or KiB where MiB'],
  [1 / 1_048_576, 'bytes where MiB were meant'],
];

export default defineRule({
  id: 'R-A2',
  title: 'Rate limit in the wrong unit or not applied',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates', 'timing'],
  explains: ['R-A1'],
  thresholds: {
    intendedRate: { value: 0, unit: 'bytes/s', meaning: 'the limit that was meant; 0 when nobody said' },
    unitTolerance: { value: 0.02, unit: 'share', meaning: 'how near the ratio must be to that of two units' },
    minExcess: { value: 1.1, unit: 'factor', meaning: 'rate over the intended limit that shows it is not applied' },
    ...RATE_LIMIT,
  },
  about: {
    meaning:
      'The limit that QEMU keeps is not the one somebody meant: bits were taken for bytes, MiB for MB, or the value never reached QEMU.',
    evidence:
      'The limit measured as for R-A1, compared with the intended one (--threshold R-A2.intendedRate=BYTES_PER_SECOND): their ratio is 8, 1.048576, 1024 or one over these; or a rate above the intended one without a 100 ms rhythm. What was meant is not on the wire, so without intendedRate the rule is silent.',
    confusedWith: 'A limit that somebody else set on purpose (R-A1): then the ratio is arbitrary.',
    advice: [
      'QMP max-bandwidth is in bytes per second, virsh migrate-setspeed in MiB/s, HMP migrate_set_parameter max-bandwidth in MiB/s unless it has a suffix, KubeVirt bandwidthPerMigration a quantity (64Mi is not 64M), Proxmox bwlimit in KiB/s.',
      'query-migrate-parameters on the source says what QEMU keeps.',
    ],
  },
  run: ({ transfers }, limits) => {
    const intended = limits.intendedRate;
    if (!(intended > 0)) return [];
    return transfers.flatMap((transfer): readonly Observation[] => {
      const { precopy } = transfer;
      const limit = rateLimitOf(transfer, limits);
      if (limit) {
        const ratio = limit.rate / intended;
        const misread = MISREADINGS.find(([factor]) => Math.abs(ratio / factor - 1) <= limits.unitTolerance);
        if (!misread) return [];
        return [
          {
            severity: 'minor',
            confidence: 0.8,
            interval: [precopy],
            metrics: { limitBytesPerSecond: Math.round(limit.rate), intendedBytesPerSecond: intended, ratio },
            text: `The limit in force is ${memory(limit.rate)}/s (${bitRate(limit.rate)}), ${digits(ratio)} times the intended ${memory(intended)}/s: ${misread[1]}.`,
            advice: [
              `Set it again in the unit of the interface used: QMP max-bandwidth ${Math.round(intended)} (bytes/s), virsh migrate-setspeed DOMAIN ${digits(intended / 2 ** 20)} (MiB/s).`,
            ],
            cost: {
              of: 'migration-time',
              ns: Math.max(0, 1 - ratio) * limit.share * (precopy[1] - precopy[0]),
            },
            transfer,
          },
        ];
      }
      const rate = transfer.goodput;
      if (rate === null || rate < limits.minExcess * intended) return [];
      return [
        {
          severity: 'minor',
          confidence: 0.8,
          interval: [precopy],
          metrics: { rate, intendedBytesPerSecond: intended, ratio: rate / intended },
          text: `The migration ran at ${bitRate(rate)}, ${percent(rate / intended - 1)} above the intended limit of ${bitRate(intended)}, and without pauses: no limit was applied.`,
          advice: [
            'Look at query-migrate-parameters (max-bandwidth) on the source while it runs; some managers drop the value unless it is also marked as set.',
          ],
          transfer,
        },
      ];
    });
  },
});
