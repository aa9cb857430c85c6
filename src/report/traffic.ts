// What carried a transfer and what that came to: figures that the terminal, the page and the comparison share.
import { LIMITS, type Limit } from '../decode/tcp/results.js';
import type { UdpFlow } from '../decode/udp/results.js';
import type { Round } from '../migration-stream/results.js';
import type { Connection, Migration, ReportData } from './report.js';

/** One direction of one connection that carries the bulk of a transfer. */
export interface Carrier {
  readonly connection: Connection;
  readonly side: 0 | 1;
  /** Direction id as in the tables: 2·connection + side. */
  readonly direction: number;
}

/** The directions in which a migration's data flows, source to destination. */
export function carriersOf(report: ReportData, migration: Migration): Carrier[] {
  const wanted = new Set(migration.connections);
  return report.connections
    .filter((connection) => wanted.has(connection.id))
    .map((connection) => carrier(connection, migration.source));
}

/** The heavier direction of a connection, or the one that leaves `source` where that tells the sides apart. */
export function carrier(connection: Connection, source: string | null): Carrier {
  const { client, server, directions } = connection;
  const byAddress = source !== null && client.address !== server.address;
  let side: 0 | 1 = directions[1].payloadBytes > directions[0].payloadBytes ? 1 : 0;
  if (byAddress && client.address === source) side = 0;
  else if (byAddress && server.address === source) side = 1;
  return { connection, side, direction: 2 * connection.id + side };
}

/** Payload of a connection both ways: how heavy it is among others. */
export const payloadBytesOf = ({ directions }: Connection): number =>
  directions[0].payloadBytes + directions[1].payloadBytes;

/** The flows of other transports that carry a migration's streams. */
export function flowsOf(report: ReportData, migration: Migration): UdpFlow[] {
  const wanted = new Set(migration.udpStreams);
  return report.flows.filter((flow) => flow.streams.some((direction) => wanted.has(direction)));
}

/** Totals over carriers; rates are over `spanNs`. What a transport does not show is null. */
export interface Traffic {
  readonly uniqueBytes: number;
  readonly retransmittedSegments: number | null;
  readonly retransmittedBytes: number | null;
  readonly retransmittedShare: number | null;
  readonly goodput: number | null;
  readonly rttMinNs: number | null;
  readonly rttP50Ns: number | null;
  readonly rttP95Ns: number | null;
  /** Share of sending time by limit, largest first; empty when unknown. */
  readonly limits: readonly (readonly [Limit, number])[];
}

export function trafficOf(carriers: readonly Carrier[], spanNs: number): Traffic {
  const directions = carriers.map((c) => c.connection.directions[c.side]);
  const sum = (pick: (d: (typeof directions)[number]) => number): number =>
    directions.reduce((total, d) => total + pick(d), 0);
  const uniqueBytes = sum((d) => d.uniqueBytes);
  // The round-trip time of the transfer is that of its largest carrier: small channels idle and sample little.
  const largest = directions.reduce<(typeof directions)[number] | null>(
    (best, d) => (d.rttNs && (!best || d.uniqueBytes > best.uniqueBytes) ? d : best),
    null,
  );
  const retransmittedBytes = sum((d) => d.retransmittedBytes);
  return {
    uniqueBytes,
    retransmittedSegments: sum((d) => d.retransmittedSegments),
    retransmittedBytes,
    retransmittedShare: uniqueBytes > 0 ? retransmittedBytes / uniqueBytes : null,
    goodput: spanNs > 0 ? uniqueBytes / (spanNs / 1e9) : null,
    rttMinNs: largest?.rttNs?.min ?? null,
    rttP50Ns: largest?.rttNs?.p50 ?? null,
    rttP95Ns: largest?.rttNs?.p95 ?? null,
    limits: limitShares(carriers),
  };
}

/** The traffic of a migration; over a transport other than TCP only what its stream and its flows tell. */
export function migrationTraffic(report: ReportData, migration: Migration): Traffic {
  const spanNs = migration.endNs - migration.startNs;
  const carriers = carriersOf(report, migration);
  if (carriers.length > 0) return trafficOf(carriers, spanNs);
  const flows = flowsOf(report, migration);
  const fact = (name: string): number | null => {
    const value = flows[0]?.facts[name];
    return typeof value === 'number' ? value : null;
  };
  const counts = flows.flatMap((flow) => flow.directions.map((one) => one.retransmittedPackets));
  const segments = counts.reduce<number | null>((sum, n) => (n === null ? sum : (sum ?? 0) + n), null);
  const packetBytes = fact('packetPayloadBytes');
  const uniqueBytes = migration.bytes.total;
  const retransmittedBytes = segments === null || packetBytes === null ? null : segments * packetBytes;
  return {
    uniqueBytes,
    retransmittedSegments: segments,
    retransmittedBytes,
    retransmittedShare: retransmittedBytes === null || uniqueBytes === 0 ? null : retransmittedBytes / uniqueBytes,
    goodput: spanNs > 0 ? uniqueBytes / (spanNs / 1e9) : null,
    rttMinNs: fact('rttMinNs'),
    rttP50Ns: null,
    rttP95Ns: null,
    limits: [],
  };
}

// Each carrier's shares weigh by the time it was open and by its data: an idle control channel says nothing about speed.
function limitShares(carriers: readonly Carrier[]): [Limit, number][] {
  const totals = new Map<Limit, number>();
  let weights = 0;
  for (const { connection, side } of carriers) {
    const direction = connection.directions[side];
    if (!direction.limitedBy) continue;
    const weight = Math.max(1, connection.endNs - connection.startNs) * Math.max(1, direction.uniqueBytes);
    weights += weight;
    for (const limit of LIMITS) {
      totals.set(limit, (totals.get(limit) ?? 0) + (direction.limitedBy[limit] ?? 0) * weight);
    }
  }
  if (weights === 0) return [];
  return [...totals]
    .map(([limit, total]): [Limit, number] => [limit, total / weights])
    .filter(([, share]) => share > 0)
    .sort((a, b) => b[1] - a[1]);
}

/** Memory that the guest dirtied during a round; null where unknown. */
export const dirtiedBytes = ({ startNs, endNs, dirtyPagesPerSecond }: Round, pageSize: number | null): number | null =>
  dirtyPagesPerSecond === null || pageSize === null ? null : dirtyPagesPerSecond * pageSize * ((endNs - startNs) / 1e9);

/** Bytes per second of a round; null where all of it has one time stamp. */
export const roundRate = ({ startNs, endNs, goodput }: Round): number | null => (endNs > startNs ? goodput : null);
