// A connection of a running analysis, for a live view: read from the state that connections and timelines keep anyway.
import type { ConnectionIdentity } from '../connections.js';
import { type ConnectionSnapshot, LIMITS } from '../results.js';
import type { Connection } from '../tracker.js';
import {
  SERIES_LIMIT,
  SERIES_PAYLOAD,
  SERIES_REPEATED_BYTES,
  SERIES_REPEATED_SEGMENTS,
  SERIES_UNIQUE,
  type Timelines,
} from './timelines.js';

/** The stretch of time that counts as "now" for what holds a sender back. */
const NOW_NS = 1e9;

/** What the busier side of `connection` has sent, and how it fares now. */
export function snapshotOf(
  connection: Connection,
  identity: ConnectionIdentity,
  timelines: Timelines,
): ConnectionSnapshot {
  const [first, second] = connection.directions;
  const side = second.sentMax > first.sentMax ? 1 : 0;
  const sender = connection.directions[side]!;
  const timeline = timelines.find(sender.id);
  const sum = (series: number): number => {
    let total = 0;
    const values = timeline?.bins.series[series];
    for (let bin = 0; values && bin < timeline.bins.used; bin++) total += values[bin]!;
    return total;
  };
  const uniqueBytes = timeline ? sum(SERIES_UNIQUE) : sender.sentMax - sender.unseenBytes;
  const known = (value: number): number | null => (Number.isFinite(value) ? value : null);
  return {
    connection: connection.id,
    sender: side === 0 ? identity.client : identity.server,
    receiver: side === 0 ? identity.server : identity.client,
    payloadBytes: timeline ? sum(SERIES_PAYLOAD) : uniqueBytes,
    uniqueBytes,
    retransmittedSegments: sum(SERIES_REPEATED_SEGMENTS),
    retransmittedBytes: sum(SERIES_REPEATED_BYTES),
    rttNs: known(sender.roundTripNs),
    windowBytes: known(sender.edge - sender.acked),
    inFlightBytes: known(sender.outstanding),
    limit: timeline ? limitNow(timeline) : null,
  };
}

/** The same where only the places of its frames are known; what is counted on the other thread is 0 or null until the end. */
export function bareSnapshotOf(identity: ConnectionIdentity, sentBytes: readonly [number, number]): ConnectionSnapshot {
  const { id, client, server } = identity;
  const [first, second] = sentBytes;
  const bytes = Math.max(first, second);
  return {
    connection: id,
    sender: second > first ? server : client,
    receiver: second > first ? client : server,
    payloadBytes: bytes,
    uniqueBytes: bytes,
    retransmittedSegments: 0,
    retransmittedBytes: 0,
    rttNs: null,
    windowBytes: null,
    inFlightBytes: null,
    limit: null,
  };
}

/** The state that held the sender for most of the newest second; null where nothing was charged yet. */
function limitNow({ bins }: { readonly bins: NonNullable<ReturnType<Timelines['find']>>['bins'] }) {
  const from = Math.max(0, bins.used - Math.ceil(NOW_NS / bins.binNs));
  let longest = 0;
  let limit: (typeof LIMITS)[number] | null = null;
  LIMITS.forEach((name, state) => {
    const values = bins.series[SERIES_LIMIT + state]!;
    let total = 0;
    for (let bin = from; bin < bins.used; bin++) total += values[bin]!;
    if (total > longest) {
      longest = total;
      limit = name;
    }
  });
  return limit;
}
