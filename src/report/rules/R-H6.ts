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
    maxBytes: {
      value: 2 ** 20,
      unit: 'bytes',
      meaning: 'of memory under way before the destination’s reset was heard',
    },
    listedBlocks: { value: 6, unit: 'blocks', meaning: 'named in the text' },
  },
  about: {
    meaning:
      'The destination closed after reading the list of RAM blocks: it was started with other memory, firmware or devices.',
    evidence:
      'The destination closes first, and all of memory that follows the block list is what was under way by then.',
    confusedWith:
      'A refused capability (R-D5) or an authentication failure, before the list. A destination that dies by chance in the first moments.',
    advice: [
      'Start both sides alike: memory size and slots, machine type, firmware and option ROM sizes, device order. The destination’s log names the block (“Unknown ramblock”, “Length mismatch”).',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || migration.outcome === 'completed' || migration.outcome === 'incomplete') return [];
      const ending = endingOf(transfer, migration);
      if (
        migration.ramBlocks.length === 0 ||
        migration.bytes.ramRecords > limits.maxBytes ||
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
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { blocks: migration.ramBlocks.length, memoryBytes: migration.bytes.ramRecords },
          text: `The destination closed right after the list of RAM blocks (${named}${migration.ramBlocks.length > limits.listedBlocks ? ', …' : ''}): its own layout differs.`,
          advice: [
            'Compare the command lines of both QEMUs: -m, -machine, firmware, device order; the destination’s log names the block.',
          ],
          transfer,
        },
      ];
    }),
});
