// Connection attempts that never carried a byte: what they were for, and whether the destination said no or nothing.
import type { Connection, ReportData } from '../report.js';

/** Ports on which hypervisors and their managers wait for a migration (libvirt's range, its control ports, QEMU's documentation). */
export const isMigrationPort = (port: number): boolean =>
  (port >= 49152 && port <= 49215) || port === 16509 || port === 16514 || port === 4444;

/** A connection that carries more may be a migration that was not recognised. */
const MOVED_BYTES = 1_000_000;

export interface FailedAttempt {
  readonly connection: Connection;
  readonly how: 'refused' | 'unanswered';
  /** SYN segments sent. */
  readonly tries: number;
}

/**
 * Attempts that look meant for a migration. In a capture in which nothing was moved every failed attempt counts,
 * otherwise only those to a migration port or to the port of a migration that is in the capture.
 */
export function failedAttempts(report: ReportData): FailedAttempt[] {
  const moved = report.connections.some(
    ({ directions }) => Math.max(directions[0].uniqueBytes, directions[1].uniqueBytes) >= MOVED_BYTES,
  );
  const ports = new Set(report.migrations.map((migration) => migration.port));
  return report.connections.flatMap((connection): FailedAttempt[] => {
    const [out, back] = connection.directions;
    const relevant =
      (report.migrations.length === 0 && !moved) ||
      isMigrationPort(connection.server.port) ||
      ports.has(connection.server.port);
    const opened = connection.options.mss[0] !== null || connection.options.windowScale[0] !== null;
    const carried = out.payloadBytes > 0 || back.payloadBytes > 0 || connection.handshakeRttNs !== null;
    if (!relevant || carried || !opened || out.frames === 0) return [];
    if (connection.endedBy === 'rst' && connection.closedFirstBy === 1 && connection.options.mss[1] === null) {
      return [{ connection, how: 'refused', tries: out.frames }];
    }
    return back.frames === 0 && out.frames >= 2 ? [{ connection, how: 'unanswered', tries: out.frames }] : [];
  });
}
