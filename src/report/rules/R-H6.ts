import { memory, plain } from '../format.js';
import { endingOf } from './endings.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-H6',
  title: 'RAM layout mismatch',
  layer: 'L1',
  needs: ['migrations'],
  restsOn: ['stream'],
  explains: ['R-H2', 'R-D5'],
  thresholds: {
    maxPages: { value: 0, unit: 'pages', meaning: 'sent before the destination closed' },
    listedBlocks: { value: 6, unit: 'blocks', meaning: 'named in the text' },
  },
  about: {
    meaning:
      'The destination closed after reading the list of RAM blocks: it was started with other memory, firmware or devices.',
    evidence: 'The stream holds the block list and no page, and the destination closes first.',
    confusedWith: 'A refused capability (R-D5) or an authentication failure, before the list.',
    advice: [
      'Start both sides alike: memory size and slots, machine type, firmware and option ROM sizes, device order. The destination’s log names the block (“Unknown ramblock”, “Length mismatch”).',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || migration.outcome === 'completed' || migration.outcome === 'incomplete') return [];
      const { normal, zero, xbzrle, compressed } = migration.pages;
      const ending = endingOf(transfer, migration);
      if (
        migration.ramBlocks.length === 0 ||
        normal + (zero ?? 0) + xbzrle + compressed > limits.maxPages ||
        ending.by !== 'destination'
      )
        return [];
      const named = migration.ramBlocks
        .slice(0, limits.listedBlocks)
        .map((block) => `${plain(block.name, 60)} ${memory(block.lengthBytes)}`)
        .join(', ');
      return [
        {
          severity: 'fatal',
          confidence: 0.75,
          packets: [ending.flow.connection.firstFrame],
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { blocks: migration.ramBlocks.length },
          text: `The destination closed right after the list of RAM blocks (${named}${migration.ramBlocks.length > limits.listedBlocks ? ', …' : ''}): its own layout differs.`,
          advice: [
            'Compare the command lines of both QEMUs: -m, -machine, firmware, device order; the destination’s log names the block.',
          ],
          transfer,
        },
      ];
    }),
});
