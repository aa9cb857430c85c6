import { bytes } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-K1',
  title: 'Guest memory crosses in clear text',
  layer: 'L1',
  needs: ['migrations'],
  restsOn: [],
  explains: [],
  thresholds: {},
  about: {
    meaning:
      'Everything in the guest’s memory, keys and passwords included, can be read by whoever sees this network, and stands in the capture file.',
    evidence: 'The migration stream was read without any key.',
    confusedWith: 'A stream inside IPsec or WireGuard recorded before encryption: then only the file is sensitive.',
    advice: [
      'Encrypt: virsh migrate --tls, or an encrypted migration network. Treat the capture like a memory dump; record with -s 128 to leave page contents out.',
    ],
  },
  run: ({ migrations }) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.encryption !== 'none' || migration.stream.decodedBytes === 0) return [];
      return [
        {
          severity: 'info',
          confidence: 1,
          packets: transfer.flows.map((flow) => flow.connection.firstFrame),
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { bytes: migration.bytes.total },
          text: `${bytes(migration.bytes.total)} of guest memory and devices crossed unencrypted. The capture file itself holds guest memory unless it was cut to headers.`,
          advice: [
            'Use TLS (virsh migrate --tls) or an encrypted network; keep and share this capture as you would a memory dump.',
          ],
          transfer,
        },
      ];
    }),
});
