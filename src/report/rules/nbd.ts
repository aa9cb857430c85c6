// Storage that moves beside memory: NBD connections between the hosts of a migration.
import type { Connection, Migration, ReportData } from '../report.js';

/** libvirt's and QEMU's usual NBD ports. */
const NBD_PORT = 10_809;

export function nbdConnections(report: ReportData, migration: Migration): Connection[] {
  const hosts = [migration.source, migration.destination];
  return report.connections.filter(
    ({ channel, client, server }) =>
      (channel.kind === 'nbd' || server.port === NBD_PORT) &&
      hosts.includes(client.address) &&
      hosts.includes(server.address),
  );
}

export const nbdBytes = (connections: readonly Connection[]): number =>
  connections.reduce((total, { directions: [up, down] }) => total + Math.max(up.uniqueBytes, down.uniqueBytes), 0);
