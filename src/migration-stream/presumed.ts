// Presumed channels: streams beside a main channel that show nothing of what they are.
//
// A multifd channel shows itself by its hello, or by the header of a packet. A capture that begins later and is cut to the
// packet headers may have neither. But nobody else connects to the port of a destination that waits for a migration: what
// goes there from the same source at the same time is a channel, and beside multifd's main channel it is one of multifd's.
import { MIGRATION_STREAMS } from '../limits.js';
import type { ConnectionEnding, ConnectionIdentity } from './group.js';

/** A connection taken for a multifd channel, or, where only what answers it could be read, the main one. */
export interface PresumedChannel {
  readonly kind: 'multifd' | 'main';
  readonly connection: number;
  /** Of the source. */
  readonly direction: number;
  readonly bytes: number;
  readonly firstNs: number;
  readonly lastNs: number;
}

/** How sure its part is. */
export const PRESUMED_CONFIDENCE = 0.8;
/** TcpConnection.completeness: a SYN or its answer. */
const HANDSHAKE = 3;

/**
 * Connections with data from the source to the port of `migration` between `startNs` and `endNs` whose beginning is not in the
 * capture: what begins in it has shown what it is.
 *
 * @param identityOf  who talks to whom on a connection
 * @param isKnown     it was read, or named otherwise
 */
export function presumedChannels(
  migration: ConnectionIdentity,
  startNs: number,
  endNs: number,
  endings: readonly ConnectionEnding[],
  identityOf: (connection: number) => ConnectionIdentity,
  isKnown: (connection: number) => boolean,
): PresumedChannel[] {
  const found: PresumedChannel[] = [];
  for (const ending of endings) {
    const { id, completeness = HANDSHAKE } = ending;
    if ((completeness & HANDSHAKE) !== 0 || isKnown(id)) continue;
    const { client, server } = identityOf(id);
    for (const side of [0, 1]) {
      const [from, to] = side === 0 ? [client, server] : [server, client];
      const isHere = from.address === migration.client.address && to.address === migration.server.address;
      if (!isHere || to.port !== migration.server.port) continue;
      const unread = unreadDirection(2 * id + side, ending);
      if (!unread || unread.lastNs < startNs || unread.firstNs > endNs || found.length === MIGRATION_STREAMS) continue;
      found.push({ kind: 'multifd', ...unread });
    }
  }
  return found;
}

/** What is known of a direction that nobody could read; null where it carried nothing, or that is not known. */
export function unreadDirection(
  direction: number,
  ending: ConnectionEnding | undefined,
): Omit<PresumedChannel, 'kind'> | null {
  const { uniqueBytes = 0, unseenBytes = 0, firstDataNs, lastDataNs } = ending?.directions?.[direction & 1] ?? {};
  if (uniqueBytes === 0 || firstDataNs == null || lastDataNs == null) return null;
  const bytes = uniqueBytes + unseenBytes;
  return { connection: direction >>> 1, direction, bytes, firstNs: firstDataNs, lastNs: lastDataNs };
}
