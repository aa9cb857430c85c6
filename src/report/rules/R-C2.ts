import { bitRate, duration, percent } from '../format.js';
import { defineRule } from './rule.js';
import { MIN_SLOW_NS, SLOW_SENDER, slowSender } from './sender.js';

export default defineRule({
  id: 'R-C2',
  title: 'Encryption too slow',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window', 'timing'],
  explains: ['R-E1', 'R-E2', 'R-E7', 'R-E8', 'R-F1'],
  thresholds: { ...SLOW_SENDER, minPrecopyNs: MIN_SLOW_NS },
  about: {
    meaning: 'The stream is encrypted on one core, and that core is the limit.',
    evidence:
      'TLS records, and a sender that leaves the network idle most of the time without loss or a 100 ms rhythm.',
    confusedWith:
      'A slow sender thread without encryption (R-C1): compare with a run without TLS on a trusted network.',
    advice: [
      'Several channels encrypt on several cores: multifd with TLS.',
      'Check that AES is done in hardware: grep -m1 -o aes /proc/cpuinfo, and a GnuTLS priority that prefers AES-GCM.',
      'Without TLS only on an isolated network: it removes authentication as well as secrecy.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration, precopy } = transfer;
      if (!migration || migration.encryption === 'none' || precopy[1] - precopy[0] < limits.minPrecopyNs) return [];
      const slow = slowSender(transfer, limits);
      if (!slow) return [];
      const proof = transfer.stretches(['sender-application', 'idle'], 3, precopy);
      return [
        {
          confidence: 0.6,
          interval: proof.length > 0 ? proof : [precopy],
          metrics: {
            share: slow.share,
            windowUse: slow.windowUse,
            goodput: transfer.goodput,
            channels: transfer.flows.length,
          },
          text: `The migration is encrypted and for ${percent(slow.share)} of the time (${duration(slow.waitedNs)}) the network waited for the source: ${bitRate(transfer.goodput)} is what its cipher thread delivers.`,
          advice: [
            'Use multifd with TLS (virsh migrate --tls --parallel --parallel-connections 4): each channel encrypts on its own core.',
            'Check for AES in hardware (grep -m1 -o aes /proc/cpuinfo) and that QEMU’s threads have free cores.',
          ],
          alternatives: [
            'The sending thread may be slow without TLS too (R-C1); one test run in plain text on a trusted network tells.',
          ],
          cost: { of: 'migration-time', ns: slow.waitedNs },
          transfer,
        },
      ];
    }),
});
