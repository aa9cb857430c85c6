// Storage that moves beside memory: NBD connections between the hosts of a migration.
import type { Connection, Migration, ReportData } from '../report.js';
import { column, type Interval } from './transfer.js';

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

/** Payload of these connections in bins that lie wholly inside `within`; null where the result has no timeline for them. */
export function nbdBytesWithin(
  report: ReportData,
  connections: readonly Connection[],
  [from, to]: Interval,
): number | null {
  const ids = new Set(connections.map(({ id }) => id));
  const timeline = report.tables['timeline'];
  const startNs = column(timeline, 'startNs');
  const durationNs = column(timeline, 'durationNs');
  const payloadBytes = column(timeline, 'payloadBytes');
  let total: number | null = null;
  column(timeline, 'direction').forEach((direction, row) => {
    if (!ids.has(Number(direction) >> 1)) return;
    total ??= 0;
    const start = Number(startNs[row]);
    if (start >= from && start + Number(durationNs[row]) <= to) total += Number(payloadBytes[row]);
  });
  return total;
}
