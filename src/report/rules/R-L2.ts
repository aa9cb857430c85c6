import { byteRate, duration, percent } from '../format.js';
import type { Migration } from '../report.js';
import { defineRule } from './rule.js';
import { type Bin, bulkTransfersOf, type Interval, type Transfer } from './transfer.js';

export default defineRule({
  id: 'R-L2',
  title: 'Other traffic suffers during the migration',
  layer: 'L2',
  needs: ['connections', 'timeline', 'migrations'],
  restsOn: ['rates', 'timing'],
  explains: [],
  thresholds: {
    minNs: { value: 1e9, unit: 'ns', meaning: 'that the other connection ran during the migration, and outside of it' },
    maxGoodput: { value: 0.7, unit: 'share', meaning: 'of its goodput outside that is left during the migration' },
    rttFactor: { value: 3, unit: 'factor', meaning: 'median round trip during the migration over that outside' },
    minExtraRttNs: { value: 5e6, unit: 'ns', meaning: 'added to it' },
  },
  about: {
    meaning:
      'Connections of other guests or services on the same path became slower while memory moved, and recovered afterwards: they pay for the migration.',
    evidence:
      'Goodput and round-trip time of connections that do not belong to the migration, during it and outside of it.',
    confusedWith:
      'A service that had less to send at that time: then its round trips stay as they were, and the confidence is lower.',
    advice: [
      'Cap the migration (max-bandwidth, virsh migrate-setspeed) below what the link has left, move it to a network of its own, or migrate at quiet hours.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration) return [];
      return bulkTransfersOf(report)
        .filter(
          ({ mainFlow: { connection } }) => connection.channel.migration === null && connection.channel.kind !== 'nbd',
        )
        .flatMap((other) => {
          const figures = compared(other, migration, limits.minNs);
          if (!figures) return [];
          const { during, outside, within } = figures;
          const left = during.goodput / outside.goodput;
          const slower =
            during.rttNs !== null &&
            outside.rttNs !== null &&
            during.rttNs >= limits.rttFactor * outside.rttNs &&
            during.rttNs - outside.rttNs >= limits.minExtraRttNs;
          if (left > limits.maxGoodput && !slower) return [];
          const { client, server, firstFrame, id } = other.mainFlow.connection;
          return [
            {
              severity: 'minor' as const,
              confidence: slower ? 0.8 : 0.6,
              packets: [firstFrame],
              interval: [within],
              metrics: {
                goodputDuring: during.goodput,
                goodputOutside: outside.goodput,
                rttDuringNs: during.rttNs,
                rttOutsideNs: outside.rttNs,
              },
              text: `While memory moved, the connection from ${client.address} to ${server.address} port ${server.port} had ${byteRate(during.goodput)} (${percent(left)} of its ${byteRate(outside.goodput)} outside)${slower ? ` and round trips of ${duration(during.rttNs)} instead of ${duration(outside.rttNs)}` : ''}.`,
              advice: ['Cap the migration (virsh migrate-setspeed) or give it a network of its own.'],
              alternatives: slower ? [] : ['It may have had less to send: its round trips did not change.'],
              migration,
              connections: [id],
            },
          ];
        });
    }),
});

interface Figures {
  /** Bytes a second. */
  readonly goodput: number;
  /** Median of the bins' longest round trips; null where none was measured. */
  readonly rttNs: number | null;
}

/** A connection during a migration and outside of it; null where it is not there for `minNs` of both. */
function compared(
  other: Transfer,
  { startNs, endNs }: Migration,
  minNs: number,
): { during: Figures; outside: Figures; within: Interval } | null {
  const { forward } = other.mainFlow;
  if (forward.firstDataNs === null || forward.lastDataNs === null) return null;
  const from = Math.max(startNs, forward.firstDataNs);
  const to = Math.min(endNs, forward.lastDataNs);
  const insideNs = to - from;
  const outsideNs = forward.lastDataNs - forward.firstDataNs - insideNs;
  if (insideNs < minNs || outsideNs < minNs) return null;
  const bins = other.bins(other.mainFlow);
  const isInside = (bin: Bin): boolean =>
    bin.startNs + bin.durationNs / 2 >= from && bin.startNs + bin.durationNs / 2 < to;
  const during = figuresOf(bins.filter(isInside), insideNs);
  const outside = figuresOf(
    bins.filter((bin) => !isInside(bin)),
    outsideNs,
  );
  return outside.goodput > 0 ? { during, outside, within: [from, to] } : null;
}

function figuresOf(bins: readonly Bin[], ns: number): Figures {
  const rtts = bins.flatMap((bin) => (bin.rttMaxNs === null ? [] : [bin.rttMaxNs])).sort((a, b) => a - b);
  return {
    goodput: (bins.reduce((total, bin) => total + bin.uniqueBytes, 0) / ns) * 1e9,
    rttNs: rtts[rtts.length >> 1] ?? null,
  };
}
