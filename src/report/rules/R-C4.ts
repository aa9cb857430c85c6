import { bitRate, percent } from '../format.js';
import { defineRule } from './rule.js';

const TUNNEL_PORTS: Readonly<Record<number, string>> = {
  22: 'SSH',
  8006: 'the Proxmox API (WebSocket)',
  16509: 'the libvirt connection',
  16514: 'the libvirt TLS connection',
};

export default defineRule({
  id: 'R-C4',
  title: 'Migration tunnelled through a management channel',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['rates'],
  explains: ['R-C1', 'R-C2'],
  thresholds: {
    minBytes: { value: 50e6, unit: 'bytes', meaning: 'a management connection that carries more moves a guest' },
  },
  about: {
    meaning:
      'Memory travels inside a management connection, copied and encrypted by a daemon on one core. Field figures: libvirt tunnelled about 2 Gbit/s on 10 Gbit/s; a WebSocket tunnel 1 MB/s where direct transfer made 300.',
    evidence:
      'The migration stream inside libvirt’s messages, or a bulk connection to a management port and no migration beside it.',
    confusedWith: 'An image copied over SSH at the same time.',
    advice: [
      'Use the native transport: virsh migrate without --tunnelled (with --tls if needed), Nova live_migration_tunnelled = false, Proxmox migration: insecure on a trusted network.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { connection, forward } = transfer.mainFlow;
      const through = TUNNEL_PORTS[connection.server.port];
      const tunnelled = transfer.migration?.stream.features.includes('tunnelled-by-libvirt') ?? false;
      const suspected = transfer.migration === null && through !== undefined && forward.uniqueBytes >= limits.minBytes;
      if (!tunnelled && !suspected) return [];
      const channel = through ?? 'a management connection';
      const shares = transfer.limitedBy();
      const waiting = shares ? shares['sender-application'] + shares.idle + shares['receiver-window'] : null;
      return [
        {
          severity: 'minor',
          confidence: tunnelled ? 0.95 : waiting !== null && waiting > 0.5 ? 0.7 : 0.5,
          interval: [[transfer.startNs, transfer.endNs]],
          packets: [connection.firstFrame],
          metrics: { port: connection.server.port, goodput: transfer.goodput, endHostShare: waiting },
          text:
            `${tunnelled ? 'The migration' : 'The only bulk transfer'} runs through ${channel} (port ${connection.server.port}) at ${bitRate(transfer.goodput)}` +
            (waiting === null ? '.' : `; for ${percent(waiting)} of the time the network waited for the end hosts.`),
          advice: [
            'Let QEMU talk to QEMU directly: virsh migrate without --tunnelled, Nova live_migration_tunnelled=false; add --tls for secrecy.',
          ],
          alternatives: tunnelled ? [] : ['It may be a file copy rather than a migration: the content is encrypted.'],
          transfer,
        },
      ];
    }),
});
