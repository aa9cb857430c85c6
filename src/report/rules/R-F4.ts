import { duration, percent } from '../format.js';
import { downtimeOf } from './downtime.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-F4',
  title: 'Downtime is round trips',
  layer: 'L0',
  needs: ['phases'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minRttNs: { value: 5e6, unit: 'ns', meaning: 'on shorter paths round trips cost nothing' },
    turns: { value: 1, unit: 'round trips', meaning: 'that every switchover needs: last byte and confirmation' },
    minShare: { value: 0.3, unit: 'share of downtime', meaning: 'that they make up' },
  },
  about: {
    meaning: 'The path is long, and the switchover has to wait for an answer. No bandwidth changes that.',
    evidence: 'Round trips in the switchover × round-trip time is a large part of the downtime.',
    confusedWith: 'A slow destination (R-F3), whose silence is longer than the round trip.',
    advice: [
      'Expected on a WAN. Avoid extra handshakes where they are not needed: pause-before-switchover and switchover-ack add at least one each.',
    ],
  },
  run: ({ migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const split = downtimeOf(transfer);
      const rttNs = transfer.minRttNs;
      if (!migration || !split || rttNs === null || rttNs < limits.minRttNs) return [];
      const acknowledged = Object.keys(migration.returnPath).some((name) => /switchover/i.test(name)) ? 1 : 0;
      const turnsNs = (limits.turns + acknowledged) * rttNs;
      if (turnsNs < limits.minShare * split.totalNs) return [];
      return [
        {
          severity: 'info',
          confidence: 0.6,
          interval: [[split.startNs, split.endNs]],
          metrics: { downtimeNs: split.totalNs, rttNs, roundTrips: limits.turns + acknowledged },
          text: `${percent(Math.min(1, turnsNs / split.totalNs))} of ${split.total} downtime are ${limits.turns + acknowledged} round trip(s) of ${duration(rttNs)}: distance, not bandwidth.`,
          advice: ['Expected on a path this long.'],
          cost: { of: 'downtime', ns: turnsNs },
          transfer,
        },
      ];
    }),
});
