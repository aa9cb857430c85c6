import { bytes, duration } from '../format.js';
import type { Connection, ReportData } from '../report.js';
import { isMigrationPort } from './attempts.js';
import { defineRule } from './rule.js';
import { type Signal, signalsOf } from './signals.js';

/** Of the alerts a peer sends before encryption, those that name the cause. Source: RFC 8446 §6. */
const ALERTS: Readonly<Record<number, string>> = {
  40: 'handshake failure',
  42: 'bad certificate',
  43: 'unsupported certificate',
  44: 'certificate revoked',
  45: 'certificate expired',
  46: 'certificate unknown',
  48: 'unknown CA',
  51: 'decrypt error',
  70: 'protocol version',
  112: 'unrecognised name',
  115: 'unknown PSK identity',
  116: 'certificate required',
};
/** libvirt's own TLS port: short exchanges are its business there. */
const LIBVIRT_TLS_PORT = 16514;

export default defineRule({
  id: 'R-H3',
  title: 'TLS handshake failed',
  layer: 'L0',
  needs: ['connections', 'signals'],
  restsOn: [],
  explains: ['R-H2', 'R-H7', 'R-D5'],
  thresholds: {
    maxBytes: { value: 30_000, unit: 'bytes', meaning: 'both ways; a handshake is not larger' },
    maxNs: { value: 30e9, unit: 'ns', meaning: 'time until it broke' },
    maxFindings: { value: 5, unit: 'findings', meaning: 'destinations reported one by one' },
  },
  about: {
    meaning:
      'The sides could not agree on TLS: certificate unknown, expired or for another name, keys that differ, or one side without TLS.',
    evidence:
      'A connection to a migration port that begins with a ClientHello and ends after its handshake records, before any bulk data; an alert sent in clear names the reason.',
    confusedWith:
      'A destination that fails later (R-H2), after megabytes. A multifd channel that had nothing to send belongs to a migration that was completed.',
    advice: [
      'The certificate must cover the name or address actually used (subjectAltName); give tls-hostname otherwise. Check the CA on both sides: certtool -i, virt-pki-validate.',
    ],
  },
  run: ({ report }, limits) => {
    const hellos = signalsOf(report, 'tls-hello');
    const alerts = signalsOf(report, 'tls-alert');
    const worked = new Set(
      report.migrations
        .filter(({ outcome, bytes }) => outcome === 'completed' || bytes.total > limits.maxBytes)
        .map(({ id }) => id),
    );
    return report.connections
      .flatMap((connection) => {
        // The other channels of its migration carried memory: the handshakes went well.
        const { channel, directions, endedBy, closedFirstBy, startNs, endNs } = connection;
        const exchanged = directions[0].uniqueBytes + directions[1].uniqueBytes;
        const hello = isOfMigration(report, connection) && hellos.find((signal) => isOf(signal, connection, 0));
        if (!hello || closedFirstBy === null || (endedBy !== 'fin' && endedBy !== 'rst')) return [];
        if (exchanged > limits.maxBytes || endNs - startNs > limits.maxNs) return [];
        if (channel.migration !== null && worked.has(channel.migration)) return [];
        const alert = alerts.find((signal) => isOf(signal, connection, 0) || isOf(signal, connection, 1));
        const reason = alert?.code == null ? null : (ALERTS[alert.code] ?? `alert ${alert.code}`);
        const { address, port } = connection.server;
        const by = closedFirstBy === 0 ? 'source' : 'destination';
        return [
          {
            severity: 'fatal' as const,
            confidence: alert ? 0.95 : 0.8,
            packets: [hello.frame, ...(alert ? [alert.frame] : [])],
            interval: [[startNs, endNs] as const],
            metrics: { destination: address, port, exchangedBytes: exchanged, closedFirstBy: by, alert: reason },
            text: `The ${by} ended the TLS connection to ${address} port ${port} after ${bytes(exchanged)} and ${duration(endNs - startNs)}: the handshake failed${reason === null ? '' : ` (${reason})`}, no memory was sent.`,
            advice: [
              'Check that the destination’s certificate covers the address used (openssl x509 -noout -ext subjectAltName) or set tls-hostname, and that both sides trust the same CA (virt-pki-validate) or hold the same pre-shared key.',
            ],
            connections: [connection.id],
          },
        ];
      })
      .slice(0, limits.maxFindings);
  },
});

/** Ports of migrations that are in the capture, and those that are meant for migration. */
const isOfMigration = ({ migrations }: ReportData, { server }: Connection): boolean =>
  (isMigrationPort(server.port) && server.port !== LIBVIRT_TLS_PORT) ||
  migrations.some(({ destination, port }) => destination === server.address && port === server.port);

const isOf = (signal: Signal, { client, server }: Connection, side: 0 | 1): boolean => {
  const [from, to] = side === 0 ? [client, server] : [server, client];
  return (
    signal.from === from.address &&
    signal.sourcePort === from.port &&
    signal.about === to.address &&
    signal.port === to.port
  );
};
