import { bitRate, duration, percent } from '../format.js';
import { defineRule } from './rule.js';
import { MIN_SLOW_NS, SLOW_SENDER, slowSender } from './sender.js';

export default defineRule({
  id: 'R-C1',
  title: 'Sender thread too slow',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window', 'timing'],
  explains: ['R-E1', 'R-E2', 'R-E7', 'R-E8', 'R-F1'],
  thresholds: { ...SLOW_SENDER, minPrecopyNs: MIN_SLOW_NS },
  about: {
    meaning:
      'The network and the destination wait for the source: one migration thread reads memory, looks for zero pages and copies into the socket, and one core is busy with it.',
    evidence:
      'Most of the time nothing waits to be sent, there is no loss, no 100 ms rhythm, and what is in flight is well below the window.',
    confusedWith:
      'The rate limit (R-A1) and CPU quotas (R-C5) have a 100 ms rhythm; encryption (R-C2) shows TLS records; zero-page scanning (R-C1b) is slow in bytes but fast in pages.',
    advice: [
      'Use several threads: virsh migrate --parallel --parallel-connections 4, or multifd with multifd-channels; since QEMU 9.0 they also look for zero pages.',
      'Give the migration threads cores of their own (emulatorpin), and try zero-copy-send with locked memory.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration, precopy } = transfer;
      if (migration?.encryption !== 'none' || precopy[1] - precopy[0] < limits.minPrecopyNs) return [];
      // Guests that leave together slow each other: R-A7.
      if (transfers.some((other) => other !== transfer && other.startNs < precopy[1] && other.endNs > precopy[0]))
        return [];
      const multifd = transfer.flows.filter((flow) => flow.connection.channel.kind === 'multifd').length;
      const slow = slowSender(transfer, limits);
      if (!slow || multifd > 1) return [];
      const proof = transfer.stretches(['sender-application', 'idle'], 3, precopy);
      return [
        {
          confidence: slow.windowUse === null ? 0.55 : 0.7,
          interval: proof.length > 0 ? proof : [precopy],
          metrics: { share: slow.share, windowUse: slow.windowUse, goodput: transfer.goodput },
          text: `For ${percent(slow.share)} of pre-copy (${duration(slow.waitedNs)}) the source gave TCP nothing to send: no loss, no full window, no rate limit. At ${bitRate(transfer.goodput)} the migration runs as fast as its one sending thread.`,
          advice: [
            'Send with several threads: virsh migrate --live --parallel --parallel-connections 4 (QMP capability multifd, parameter multifd-channels).',
            'Check the source: top -H -p $(pidof qemu-system-x86_64) – is the migration thread at 100 % of a core?',
          ],
          alternatives: [
            'A throttled disk (storage migration) or a starved host would also leave the sender without data.',
          ],
          cost: { of: 'migration-time', ns: slow.waitedNs },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => {
      const shares = transfer.limitedBy(transfer.precopy);
      return shares !== null && shares['sender-application'] + shares.idle < 0.2;
    })
      ? 'the sender always had data ready'
      : null,
});
