// Storage that moves beside memory: NBD connections between the hosts of a migration.
import type { Connection, Migration, ReportData } from '../report.js';

/** The usual NBD port, for mirrors whose negotiation is not in the capture. */
const NBD_PORT = 10_809;

export function nbdConnections(report: ReportData, migration: Migration): Connection[] {
  const hosts = [migration.source, migration.destination];
  return report.connections.filter(
    ({ channel, client, server }) =>
      (channel.kind === 'nbd' && channel.migration === migration.id) ||
      (server.port === NBD_PORT && hosts.includes(client.address) && hosts.includes(server.address)),
  );
}

export const nbdBytes = (connections: readonly Connection[]): number =>
  connections.reduce((total, { directions: [up, down] }) => total + Math.max(up.uniqueBytes, down.uniqueBytes), 0);
