import { bitRate, plural } from '../format.js';
import { defineRule } from './rule.js';
import type { Transfer } from './transfer.js';

export default defineRule({
  id: 'R-A7',
  title: 'Parallel migrations share the link',
  layer: 'L0',
  needs: ['migrations'],
  restsOn: ['rates'],
  explains: ['R-C1', 'R-C2', 'R-D1', 'R-E1', 'R-E2', 'R-E8'],
  thresholds: {
    minOverlap: { value: 0.3, unit: 'share of the shorter', meaning: 'time side by side' },
  },
  about: {
    meaning:
      'Several guests left one host at the same time. Each gets a share of the link, each dirties memory for longer, and none converges as it would alone.',
    evidence: 'Migration flows from one source that overlap in time.',
    confusedWith: 'A slow path (R-A4): there a single migration is as slow.',
    advice: [
      'Migrate fewer at a time: KubeVirt parallelOutboundMigrationsPerNode 1, Nova max_concurrent_live_migrations 1, Proxmox max_workers; large busy guests alone.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer, at) => {
      const beside = transfers.filter(
        (other, otherAt) =>
          otherAt > at &&
          other.migration !== null &&
          other.migration.source === transfer.migration?.source &&
          overlapNs(transfer, other) >= limits.minOverlap * Math.min(transfer.durationNs, other.durationNs),
      );
      if (transfer.migration === null || beside.length === 0) return [];
      const all = [transfer, ...beside];
      const rate = all.reduce((total, one) => total + (one.goodput ?? 0), 0);
      const from = Math.max(...all.map((one) => one.startNs));
      const to = Math.min(...all.map((one) => one.endNs));
      return [
        {
          confidence: 0.8,
          interval: to > from ? [[from, to]] : [[transfer.startNs, transfer.endNs]],
          metrics: { migrations: all.length, totalRate: rate, ownRate: transfer.goodput },
          text: `${plural(all.length, 'migration')} left ${transfer.migration.source} at the same time and shared ${bitRate(rate)}.`,
          advice: ['Run them one after the other: the sum takes as long, each takes less, and busy guests converge.'],
          cost: { of: 'migration-time', ns: overlapNs(transfer, beside[0]!) * (1 - 1 / all.length) },
          transfer,
          connections: all.flatMap((one) => one.connectionIds),
        },
      ];
    }),
});

const overlapNs = (a: Transfer, b: Transfer): number => Math.min(a.endNs, b.endNs) - Math.max(a.startNs, b.startNs);
