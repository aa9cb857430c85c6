// A group: the streams that make one migration, and what each of them is in it.
import { UDP_STREAM_BASE } from '../decode/stream.js';
import type { StreamDriver } from './decoder.js';
import { mainChannel } from './main-channel.js';
import type { MigrationState } from './migration.js';
import { preempt } from './preempt.js';
import { PRESUMED_CONFIDENCE, type PresumedChannel } from './presumed.js';
import type { MigrationSink, StreamDecoder } from './records.js';
import type { Channel, ChannelKind, ProxyHop, Quantiles } from './results.js';
import { returnPath } from './return-path.js';
import { SealedMigration } from './sealed.js';
import { type MultifdSink, ReplySink, SideChannelSink } from './sinks.js';
import { tls } from './tls.js';

/** Who talks to whom; the client opened the connection. */
export interface ConnectionIdentity {
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
  readonly startNs: number;
}

/** How a connection ended, known when the capture has. */
export interface ConnectionEnding {
  readonly id: number;
  readonly endNs: number;
  readonly endedBy: 'fin' | 'rst' | 'capture-end' | 'idle';
  readonly closedFirstBy: 0 | 1 | null;
  /** null or absent where the handshake is not in the capture. */
  readonly handshakeRttNs?: number | null;
  /** What its two directions had in flight; see TcpDirection.pipe. */
  readonly directions?: readonly {
    readonly pipe: Quantiles | null;
    readonly uniqueBytes?: number;
    readonly unseenBytes?: number;
    readonly firstDataNs?: number | null;
    readonly lastDataNs?: number | null;
  }[];
  /** What of it was seen; see TcpConnection. */
  readonly completeness?: number;
}

/** One stream that a decoder reads. */
export interface Stream {
  readonly direction: number;
  readonly decoder: StreamDecoder;
  readonly driver: StreamDriver;
  readonly identity: ConnectionIdentity;
  /** null for disks, which belong to no migration until the end. */
  group: Group | null;
  /** What a multifd channel said of itself; null for other streams. */
  readonly multifd: MultifdSink | null;
  /** It comes from the destination. */
  readonly isReply: boolean;
  /** Its beginning is not in the capture. */
  readonly isJoined: boolean;
  /** Its connection is no longer known: the id is another one's. */
  isForgotten: boolean;
}

/** One migration and its streams. */
export interface Group {
  readonly key: string;
  readonly state: MigrationState;
  readonly identity: ConnectionIdentity;
  readonly streams: Stream[];
  readonly proxies: readonly ProxyHop[];
  readonly startNs: number;
  /** Bytes of pages written past the streams (RDMA). */
  besideBytes: number;
  /** Channels of which nothing can be read; known when the capture has ended. */
  presumed: readonly PresumedChannel[];
}

/** What feeds `state` from a stream that `decoder` reads. */
export function sinkOf(decoder: StreamDecoder, state: MigrationState): MigrationSink {
  if (decoder === returnPath) return new ReplySink(state);
  return decoder === preempt ? new SideChannelSink(state) : state;
}

/** Behind a proxy, the place it leads to counts, too: other guests may go through the same one. */
export const groupKey = ({ client, server }: ConnectionIdentity, proxies: readonly ProxyHop[]): string =>
  [`${client.address}>${server.address}:${server.port}`, ...proxies.map(({ to }) => to)].join('>');

/** A migration is real once its main channel is known to be one. */
export const isProven = ({ state, streams }: Group): boolean =>
  state instanceof SealedMigration
    ? state.proven
    : streams.some(({ decoder, driver }) => driver.proven && decoder !== returnPath);

/** Its main channel is open. */
export const isUnderway = (group: Group): boolean =>
  group.streams.some(({ decoder, driver }) => decoder === mainChannel && driver.proven && driver.ended === null);

/** The TCP connection that carries a stream; null where it is not TCP or no longer known. */
export const connectionOf = ({ direction, isForgotten }: Stream): number | null =>
  direction < UDP_STREAM_BASE && !isForgotten ? direction >>> 1 : null;

export const connectionsOf = (group: Group): number[] => [
  ...new Set([
    ...group.streams.map(connectionOf).filter((connection) => connection !== null),
    ...group.presumed.map(({ connection }) => connection),
  ]),
];

/** The opener's direction: sources open the connections of a migration. */
export const isForward = (direction: number): boolean => direction % 2 === 0;

export const forward = (group: Group): Stream[] =>
  group.streams.filter(({ driver, isReply }) => driver.proven && !isReply);

export const lengthOf = (streams: readonly Stream[]): number =>
  streams.reduce((sum, { driver }) => sum + driver.account.length, 0);

export const channelsOf = (group: Group, id: number): Channel[] => [
  ...forward(group).flatMap((stream): Channel[] => {
    const connection = connectionOf(stream);
    if (connection === null) return [];
    const role = group.state instanceof SealedMigration ? group.state.roles.get(stream.direction) : undefined;
    if (role) return [{ connection, migration: id, ...role }];
    const { decoder, multifd: channel } = stream;
    return [{ connection, kind: decoder.channel, index: channel?.channel ?? null, migration: id }];
  }),
  ...group.presumed.map(({ connection, kind }): Channel => {
    return { connection, kind, index: null, migration: id, confidence: PRESUMED_CONFIDENCE };
  }),
];

/** Inside TLS a channel whose part does not show is counted as main. */
export function kindOf({ state }: Group, { decoder, direction }: Stream): ChannelKind {
  if (decoder !== tls) return decoder.channel;
  return (state instanceof SealedMigration && state.roles.get(direction)?.kind) || 'main';
}

/** How the connection of `stream` ended, where that is known. */
export function endingOf(
  stream: Stream | undefined,
  endings: ReadonlyMap<number, ConnectionEnding>,
): ConnectionEnding | undefined {
  const connection = stream ? connectionOf(stream) : null;
  return connection === null ? undefined : endings.get(connection);
}
