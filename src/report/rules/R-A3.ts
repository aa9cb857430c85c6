import { bitRate, duration } from '../format.js';
import { median } from './comb.js';
import { defineRule } from './rule.js';

const MIB = 2 ** 20;

export default defineRule({
  id: 'R-A3',
  title: 'Deliberate slow start',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates'],
  explains: ['R-A1'],
  thresholds: {
    slowRate: { value: 1.3 * MIB, unit: 'bytes/s', meaning: 'rate at which a manager holds a migration' },
    minSlowRate: {
      value: 0.2 * MIB,
      unit: 'bytes/s',
      meaning: 'below it the connection idles, or carries something else',
    },
    minSlowNs: { value: 2e9, unit: 'ns', meaning: 'shortest time held' },
    minStep: { value: 5, unit: 'factor', meaning: 'how much faster it must go afterwards' },
  },
  about: {
    meaning:
      'A manager let the migration crawl on purpose and released it later. OpenStack Nova does so until the network ports are wired at the destination.',
    evidence: 'About 1 MiB/s for seconds from the start, then at least five times as fast.',
    confusedWith: 'A permanent limit (R-A1), or TCP’s own slow start, which takes round trips, not seconds.',
    advice: [
      'If it takes long, look at the network agent on the destination (Neutron: network-vif-plugged), not at the link.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const stepNs = 0.5e9;
      const steps = transfer.byteSteps(stepNs, transfer.precopy);
      if (!steps) return [];
      const rates = steps.map((bytes) => bytes / (stepNs / 1e9));
      const release = rates.findIndex((rate) => rate > limits.slowRate);
      const slowNs = release * stepNs;
      if (release < 0 || slowNs < limits.minSlowNs) return [];
      const slow = rates.slice(0, release);
      const later = rates.slice(release);
      const before = slow.reduce((total, rate) => total + rate, 0) / slow.length;
      const after = later.reduce((total, rate) => total + rate, 0) / later.length;
      if (median(slow) < limits.minSlowRate || after < limits.minStep * before || after < limits.slowRate) return [];
      const from = transfer.precopy[0];
      return [
        {
          confidence: 0.8,
          interval: [[from, from + slowNs]],
          metrics: { slowNs, slowRate: before, laterRate: after },
          text: `For the first ${duration(slowNs)} the migration was held at ${bitRate(before)}, then it went on at ${bitRate(after)}: someone waited on purpose, as Nova does until the destination’s ports are wired.`,
          advice: [
            'Find out what it waited for: Nova and Neutron logs around network-vif-plugged, or the SDN agent at the destination.',
          ],
          alternatives: ['max-bandwidth raised by hand during the migration looks the same.'],
          cost: { of: 'migration-time', ns: slowNs * (1 - before / after) },
          transfer,
        },
      ];
    }),
});
