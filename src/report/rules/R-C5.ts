import { bytes, duration, percent } from '../format.js';
import { combOf } from './comb.js';
import { lossesOf } from './loss.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-C5',
  title: 'CPU quota starves the migration threads',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['timing', 'rates'],
  explains: ['R-C1', 'R-C2', 'R-E1', 'R-E2', 'R-E7', 'R-F1'],
  thresholds: {
    periodNs: { value: 100e6, unit: 'ns', meaning: 'default period of CFS bandwidth control' },
    periodTolerance: { value: 0.12, unit: 'share', meaning: 'how far the burst distance may be from it' },
    minRegularity: { value: 0.7, unit: 'share', meaning: 'burst distances that must fit the period' },
    minSizeVariation: {
      value: 0.15,
      unit: 'share of a burst',
      meaning: 'below it bursts are equal: a rate limit (R-A1)',
    },
    minSilentShare: { value: 0.2, unit: 'share of pre-copy', meaning: 'time without sending' },
    maxRttNs: {
      value: 10e6,
      unit: 'ns',
      meaning:
        'least round trip; on longer paths TCP spreads bursts and grows back after each pause, so that equal ones differ',
    },
    maxRepeatedShare: {
      value: 0.001,
      unit: 'share of bytes',
      meaning: 'sent again; beyond it losses make equal bursts look unequal',
    },
    minBursts: { value: 10, unit: 'bursts', meaning: 'before it is a rhythm' },
  },
  about: {
    meaning:
      'The kernel lets QEMU’s threads run for part of each 100 ms and then stops them (a container CPU limit, cgroup cpu.max). The migration shares that quota with the guest.',
    evidence:
      'Bursts begin every 100 ms, but carry different amounts: what the threads got done before they were stopped.',
    confusedWith: 'The hypervisor’s rate limit (R-A1): same rhythm, equal bursts.',
    advice: [
      'Check throttling: cat /sys/fs/cgroup/…/cpu.stat (nr_throttled). Remove or raise the CPU limit, or add housekeeping CPUs for emulator threads; use fewer multifd channels until then.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const comb = combOf(transfer, transfer.precopy);
      if (!comb?.burstByBurst || comb.bursts < limits.minBursts || comb.regularity < limits.minRegularity) return [];
      if (Math.abs(comb.periodNs / limits.periodNs - 1) > limits.periodTolerance) return [];
      if (comb.sizeVariation < limits.minSizeVariation || comb.silentShare < limits.minSilentShare) return [];
      if ((transfer.minRttNs ?? 0) > limits.maxRttNs) return [];
      if (lossesOf(transfer).repeatedShare > limits.maxRepeatedShare) return [];
      const precopyNs = transfer.precopy[1] - transfer.precopy[0];
      return [
        {
          confidence: 0.6,
          interval: [transfer.precopy],
          metrics: {
            periodNs: comb.periodNs,
            bytesPerPeriod: comb.burstBytes,
            sizeVariation: comb.sizeVariation,
            silentShare: comb.silentShare,
          },
          text: `The source sends in bursts ${duration(comb.periodNs)} apart that vary (${bytes(comb.burstBytes)} ± ${percent(comb.sizeVariation)}) and is silent for ${percent(comb.silentShare)} of the time: the rhythm of a CPU quota, not of a rate limit.`,
          advice: [
            'On the source: grep throttled in cpu.stat of QEMU’s cgroup. Raise or remove the CPU limit of the pod or slice.',
          ],
          alternatives: ['A rate limit: bursts would be equal.'],
          cost: { of: 'migration-time', ns: comb.silentShare * precopyNs },
          transfer,
        },
      ];
    }),
});
