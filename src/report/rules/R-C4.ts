import type { ProxyHop } from '../../migration-stream/results.js';
import { bitRate, percent, plain } from '../format.js';
import { defineRule } from './rule.js';
import type { Transfer } from './transfer.js';

const TUNNEL_PORTS: Readonly<Record<number, string>> = {
  22: 'SSH',
  8006: 'the Proxmox API (WebSocket)',
  16509: 'the libvirt connection',
  16514: 'the libvirt TLS connection',
};

const PROXIES: Readonly<Record<ProxyHop['kind'], string>> = {
  'http-connect': 'an HTTP proxy',
  socks4: 'a SOCKS 4 proxy',
  socks5: 'a SOCKS 5 proxy',
  'proxy-protocol': 'a balancer that speaks the PROXY protocol',
};

export default defineRule({
  id: 'R-C4',
  title: 'Migration tunnelled through a management channel or a proxy',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['rates'],
  explains: ['R-C1', 'R-C2'],
  thresholds: {
    minBytes: { value: 50e6, unit: 'bytes', meaning: 'a management connection that carries more moves a guest' },
  },
  about: {
    meaning:
      'Memory travels inside a management connection or through a proxy, copied and often encrypted by a daemon on one core. Field figures: libvirt tunnelled about 2 Gbit/s on 10 Gbit/s; a WebSocket tunnel 1 MB/s where direct transfer made 300.',
    evidence:
      'The migration stream inside libvirt’s messages; a proxy’s request in front of it; the same stream on a second connection, a moment later; or a bulk connection to a management port, or one that greets as SSH, and no migration beside it.',
    confusedWith: 'An image copied over SSH at the same time.',
    advice: [
      'Use the native transport: virsh migrate without --tunnelled (with --tls if needed), Nova live_migration_tunnelled = false, Proxmox migration: insecure on a trusted network.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { connection, forward } = transfer.mainFlow;
      const carrier = carrierOf(transfer);
      const port = connection.opaque?.kind === 'ssh' ? 22 : connection.server.port;
      const suspected = transfer.migration === null && port in TUNNEL_PORTS && forward.uniqueBytes >= limits.minBytes;
      if (!carrier && !suspected) return [];
      const channel = carrier ?? `${TUNNEL_PORTS[port]} (port ${connection.server.port})`;
      const shares = transfer.limitedBy();
      const waiting = shares ? shares['sender-application'] + shares.idle + shares['receiver-window'] : null;
      return [
        {
          severity: 'minor',
          confidence: carrier ? 0.95 : waiting !== null && waiting > 0.5 ? 0.7 : 0.5,
          interval: [[transfer.startNs, transfer.endNs]],
          packets: [connection.firstFrame],
          metrics: { port: connection.server.port, goodput: transfer.goodput, endHostShare: waiting },
          text:
            `${carrier ? 'The migration' : 'The only bulk transfer'} runs through ${channel} at ${bitRate(transfer.goodput)}` +
            (waiting === null ? '.' : `; for ${percent(waiting)} of the time the network waited for the end hosts.`),
          advice: [
            transfer.migration?.proxies || transfer.migration?.relayOf !== undefined
              ? 'Let QEMU connect to the destination itself, without a proxy, balancer or forwarder in between; add TLS for secrecy.'
              : 'Let QEMU talk to QEMU directly: virsh migrate without --tunnelled, Nova live_migration_tunnelled=false; add --tls for secrecy.',
          ],
          alternatives: carrier ? [] : ['It may be a file copy rather than a migration: the content is encrypted.'],
          transfer,
        },
      ];
    }),
});

/** What carries a migration that is known to be one; null where nothing lies between its ends. */
function carrierOf({ migration, mainFlow: { connection } }: Transfer): string | null {
  if (migration?.stream.features.includes('tunnelled-by-libvirt'))
    return `${TUNNEL_PORTS[connection.server.port] ?? 'a management connection'} (port ${connection.server.port})`;
  if (migration?.proxies)
    return migration.proxies
      .map(({ kind, from, to }) => {
        const ends = [from && `from ${plain(from, 80)}`, to && `to ${plain(to, 80)}`].filter((end) => end);
        return ends.length > 0 ? `${PROXIES[kind]} (${ends.join(' ')})` : PROXIES[kind];
      })
      .join(' and ');
  if (migration?.relayOf !== undefined)
    return `a relay, of which this is the second connection (the first is migration ${migration.relayOf}),`;
  return null;
}
