import { duration } from '../format.js';
import { multifdFlows } from './multifd.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-D5',
  title: 'Parallel channels failed at set-up',
  layer: 'L0',
  needs: ['migrations'],
  restsOn: [],
  explains: ['R-H2', 'R-H7'],
  thresholds: {
    maxRounds: { value: 1, unit: 'rounds', meaning: 'it must break within the first' },
    maxNs: { value: 5e9, unit: 'ns', meaning: 'and soon' },
    minAheadNs: {
      value: 10e6,
      unit: 'ns',
      meaning: 'its channels end before a main connection that the source closed',
    },
  },
  about: {
    meaning:
      'The channels were opened and the migration broke at once: both sides do not agree on multifd (one has it off, versions or compression differ).',
    evidence: 'Main and multifd connections accepted, then closed within the first pass.',
    confusedWith: 'A load error at the destination (R-H2), which also occurs without multifd.',
    advice: [
      'Set capability multifd, multifd-channels and multifd-compression alike on both sides before migrate; known breakage between versions (for example 7.1 → 9.2): align them or go without multifd.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      const channels = multifdFlows(transfer);
      // The main connection may stay open for a while: the source notices at its next synchronisation.
      if (!migration || channels.length === 0 || migration.outcome === 'completed') return [];
      if (migration.rounds.length > limits.maxRounds || transfer.durationNs > limits.maxNs) return [];
      // Where the source closed the main connection first, somebody cancelled: the destination then closes the channels.
      const main = transfer.flows.find((flow) => flow.connection.channel.kind === 'main');
      const mainEndNs =
        main && main.connection.closedFirstBy === main.side ? main.connection.endNs : Number.POSITIVE_INFINITY;
      const byPeer = channels.some(
        ({ connection, side }) =>
          connection.closedFirstBy !== null &&
          connection.closedFirstBy !== side &&
          connection.endNs <= mainEndNs - limits.minAheadNs,
      );
      if (!byPeer) return [];
      return [
        {
          severity: 'fatal',
          confidence: 0.6,
          packets: channels.map((flow) => flow.connection.firstFrame),
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { channels: channels.length, durationNs: transfer.durationNs },
          text: `The destination closed the parallel channels ${duration(transfer.durationNs)} after the start: it does not accept multifd as the source speaks it.`,
          advice: [
            'Compare on both sides: query-migrate-capabilities (multifd), query-migrate-parameters (multifd-channels, multifd-compression), and the QEMU versions. Try once without multifd.',
          ],
          alternatives: ['The destination may have failed for another reason; its log tells.'],
          transfer,
        },
      ];
    }),
});
