// Results of an analysis → ReportData: the facts about the capture as a whole, and what goes into which table.
import type { Results } from '../analyze.js';
import type { ColumnData } from '../columns.js';
import type { TcpConnection, Vantage } from '../decode/tcp/results.js';
import { type Stream, summarizeStreams } from '../decode/tcp/streams.js';
import type { MigrationResults } from '../migration-stream/results.js';
import { buildReport, picked } from './build.js';
import type { ReportData } from './report.js';

/**
 * The report of a finished analysis, without findings and models (see `diagnose` and `modelMigration`).
 *
 * @param version  of the program that makes it
 */
export function reportFrom(results: Results, version: string): ReportData {
  const { capture, frames, wireBytes, durationNs } = results;
  const report = buildReport(
    {
      capture: {
        inputs: capture.inputs,
        start: capture.epochNs === null ? null : rfc3339(capture.epochNs),
        durationNs,
        frames,
        wireBytes,
        vantage: vantageOf(results),
      },
      anomalies: results.anomalies,
      tcp: results.tcp,
      udp: results.udp,
      migration:
        capture.inputs.length > 1 ? endingAlone(withSubflows(results), results.tcp.connections) : withSubflows(results),
      tables: {
        signals: results.signals,
        silences: silencesAround(results),
        ...(results.multipath.length > 0 ? { subflows: subflowTable(results.multipath) } : {}),
      },
    },
    version,
  );
  for (const migration of report.migrations) {
    const streams = results.tcp.connections
      .filter(({ id }) => migration.connections.includes(id))
      .map((connection): Stream => ({ connection, side: connection.server.address === migration.source ? 1 : 0 }));
    if (streams.length > 0) migration.streams = summarizeStreams(streams, results.tcp.episodes);
  }
  return report;
}

/** The migrations, with every path of a multipath connection as a connection of theirs: the stream knows the first only. */
function withSubflows({ migration, multipath }: Results): MigrationResults {
  if (multipath.length === 0) return migration;
  const paths = (connection: number): readonly number[] =>
    multipath.find(({ connections }) => connections[0] === connection)?.connections ?? [connection];
  return {
    ...migration,
    channels: migration.channels.flatMap((channel) =>
      paths(channel.connection).map((connection) => ({ ...channel, connection })),
    ),
    migrations: migration.migrations.map((one) => ({ ...one, connections: one.connections.flatMap(paths) })),
  };
}

/**
 * In a merged capture a migration that did not finish ends with its last frame. Its streams stay open to the end of the
 * capture, which another file may put off by hours.
 */
function endingAlone(results: MigrationResults, connections: readonly TcpConnection[]): MigrationResults {
  return {
    ...results,
    migrations: results.migrations.map((migration) => {
      const own = connections.filter(({ id }) => migration.connections.includes(id));
      if (migration.outcome !== 'incomplete' || own.length === 0) return migration;
      const lastNs = Math.max(migration.startNs, ...own.map(({ endNs }) => endNs));
      const cut = <Span extends { startNs: number; endNs: number }>(span: Span): Span => ({
        ...span,
        startNs: Math.min(span.startNs, lastNs),
        endNs: Math.min(span.endNs, lastNs),
      });
      return {
        ...cut(migration),
        phases: migration.phases.map(cut),
        rounds: migration.rounds.map((round) => {
          const { startNs, endNs } = cut(round);
          return endNs === round.endNs
            ? round
            : { ...round, startNs, endNs, goodput: endNs > startNs ? (round.bytes / (endNs - startNs)) * 1e9 : 0 };
        }),
      };
    }),
  };
}

const SUBFLOW_UNITS = {
  multipath: 'index of the multipath connection',
  connection: 'connection id',
  side: 'side',
  bytes: 'bytes',
  share: 'share',
  reinjectedBytes: 'bytes',
  unmappedBytes: 'bytes',
  waitingMaxBytes: 'bytes',
} as const;

/** One row a subflow and direction; what cannot be told apart by subflow is that of the direction. */
function subflowTable(multipath: Results['multipath']): ColumnData {
  const rows = multipath.flatMap(({ connections, directions }, index) =>
    directions.flatMap(({ bytes, subflowBytes, reinjectedBytes, unmappedBytes, waitingMaxBytes }, side) =>
      bytes === 0
        ? []
        : connections.map((connection, i) => {
            const carried = subflowBytes[i] ?? 0;
            return [index, connection, side, carried, carried / bytes, reinjectedBytes, unmappedBytes, waitingMaxBytes];
          }),
    ),
  );
  const columns = Object.entries(SUBFLOW_UNITS).map(([name, unit], column) => [
    name,
    { unit, values: Float64Array.from(rows, (row) => row[column]!) },
  ]);
  return { rows: rows.length, columns: Object.fromEntries(columns) };
}

/** Silences from a second before a migration to half a minute after it: a network may need as long to find the guest again. */
function silencesAround({ silences, migration: { migrations } }: Results): ColumnData {
  const [startNs, endNs] = [silences.columns['startNs']!.values, silences.columns['endNs']!.values] as Float64Array[];
  return migrations.length === 0
    ? silences
    : picked(silences, (row) =>
        migrations.some(
          (migration) => endNs![row]! >= migration.startNs - 1e9 && startNs![row]! <= migration.endNs + 30e9,
        ),
      );
}

/** Where the capture was taken, seen from the migration; from the connection with most bytes where there is none. */
function vantageOf({ tcp, migration }: Results): Vantage {
  const channels = new Set(migration.channels.filter((channel) => channel.migration !== null).map((c) => c.connection));
  const bytes = ({ directions: [a, b] }: TcpConnection): number => a.uniqueBytes + b.uniqueBytes;
  const candidates = tcp.connections.filter((connection) => channels.size === 0 || channels.has(connection.id));
  let best: TcpConnection | undefined;
  for (const connection of candidates) {
    if (connection.vantage !== 'unknown' && (!best || bytes(connection) > bytes(best))) best = connection;
  }
  return best?.vantage ?? 'unknown';
}

const YEAR_10000_NS = 253_402_300_800_000_000_000n;

/**
 * ns since 1970 → '2026-01-31T12:00:00.123456789Z'. null from the year 10000 on, which RFC 3339 §5.6 cannot write, and
 * before 1970, which no capture was and a pcapng time offset may pretend.
 */
export function rfc3339(epochNs: bigint): string | null {
  if (epochNs < 0n || epochNs >= YEAR_10000_NS) return null;
  const seconds = epochNs / 1_000_000_000n;
  const fraction = (epochNs % 1_000_000_000n).toString().padStart(9, '0');
  return new Date(Number(seconds) * 1000).toISOString().replace(/\.\d+Z$/, `.${fraction}Z`);
}
