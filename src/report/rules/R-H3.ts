import { bytes, duration } from '../format.js';
import { endingOf } from './endings.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-H3',
  title: 'TLS handshake failed',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: ['R-H2', 'R-H7', 'R-D5'],
  thresholds: {
    maxBytes: { value: 30_000, unit: 'bytes', meaning: 'both ways; a handshake is not larger' },
    maxNs: { value: 30e9, unit: 'ns', meaning: 'time until it broke' },
  },
  about: {
    meaning:
      'The sides could not agree on TLS: certificate unknown, expired or for another name, or one side without TLS.',
    evidence: 'A TLS connection that ends after its handshake records, before any bulk data.',
    confusedWith: 'A destination that fails later (R-H2), after megabytes.',
    advice: [
      'The certificate must cover the name or address actually used (subjectAltName); give tls-hostname otherwise. Check the CA on both sides: certtool -i, virt-pki-validate.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.encryption !== 'tls' || migration.outcome === 'completed') return [];
      const exchanged = transfer.sum(({ forward, reverse }) => forward.uniqueBytes + reverse.uniqueBytes);
      const ending = endingOf(transfer, migration);
      if (exchanged > limits.maxBytes || transfer.durationNs > limits.maxNs || ending.by === null) return [];
      return [
        {
          severity: 'fatal',
          confidence: 0.8,
          packets: [ending.flow.connection.firstFrame],
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { exchangedBytes: exchanged, closedFirstBy: ending.by },
          text: `The ${ending.by} ended the TLS connection after ${bytes(exchanged)} and ${duration(transfer.durationNs)}: the handshake failed, no memory was sent.`,
          advice: [
            'Check that the destination’s certificate covers the address used (openssl x509 -noout -ext subjectAltName) or set tls-hostname, and that both sides trust the same CA (virt-pki-validate).',
          ],
          transfer,
        },
      ];
    }),
});
