import { bitRate, duration, memory } from '../format.js';
import { defineRule } from './rule.js';
import { column } from './transfer.js';

export default defineRule({
  id: 'R-G4',
  title: 'Each page request fetches a huge page',
  layer: 'L1',
  needs: ['pageRequests', 'postcopy'],
  restsOn: ['stream', 'rates'],
  explains: ['R-G2'],
  thresholds: {
    minBytes: { value: 2 ** 20, unit: 'bytes', meaning: 'that one request asks for' },
    minTransferNs: { value: 50e6, unit: 'ns', meaning: 'that they need on this path, by themselves' },
  },
  about: {
    meaning:
      'The guest’s memory lies in huge pages, and a huge page can only be placed as a whole: after the switch every access to a missing byte waits until 2 MiB or 1 GiB have crossed the network.',
    evidence: 'The length of page requests, and that length over the rate that the path gave.',
    confusedWith: 'Small pages that wait behind others in a queue (R-G2).',
    advice: [
      'For guests that shall move by post-copy use 2 MiB pages instead of 1 GiB, and small pages on slow networks; or give pre-copy more passes before the switch.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const postcopy = migration?.postcopy;
      const table = report.tables['pageRequests'];
      if (!migration || !postcopy || !table) return [];
      const sizes = column(table, 'bytes').filter(
        (bytes, row): bytes is number => typeof bytes === 'number' && column(table, 'migration')[row] === migration.id,
      );
      const requestBytes = Math.max(0, ...sizes);
      const ns = postcopy.endNs - postcopy.startNs;
      const moved = migration.phases
        .filter(({ kind }) => kind === 'postcopy')
        .reduce((sum, { bytes }) => sum + bytes, 0);
      const rate = ns > 0 ? (moved / ns) * 1e9 : 0;
      const transferNs = rate > 0 ? (requestBytes / rate) * 1e9 : 0;
      if (requestBytes < limits.minBytes || transferNs < limits.minTransferNs) return [];
      const waitedNs = Math.min(transferNs * sizes.length, ns);
      return [
        {
          severity: 'minor',
          confidence: 0.85,
          interval: [[postcopy.startNs, postcopy.endNs]],
          metrics: {
            requestBytes,
            transferNs,
            rate,
            requests: postcopy.requests,
            p50Ns: postcopy.requestLatencyNs?.p50 ?? null,
          },
          text: `Each page request brought ${memory(requestBytes)}: at ${bitRate(rate)} the guest waited at least ${duration(transferNs)} for every one of ${sizes.length}, however few bytes it wanted.`,
          advice: [
            requestBytes >= 2 ** 30
              ? 'Back the guest with 2 MiB pages instead of 1 GiB ones if it shall move by post-copy.'
              : 'Back the guest with small pages if it shall move by post-copy on this path, or raise the rate.',
          ],
          cost: { of: 'migration-time', ns: waitedNs },
          transfer,
        },
      ];
    }),
});
