// Session: which connections form one migration.
//
// All channels of a migration run from one source address to one destination address and port. One of them is the main
// channel; a new main channel there begins a new migration. Channels without a magic of their own (preempt) are told by
// what they carry, and only beside a migration that could own them. In front of a stream may stand what its source asked a
// proxy for.
import type { AnomalyLog } from '../anomaly.js';
import { type ColumnData, TableBuilder } from '../columns.js';
import type { ClockLeap } from '../decode/clock-leaps.js';
import type { ClaimStream, StreamConsumer } from '../decode/stream.js';
import type { RdmaConsumer } from '../decode/udp/rdma.js';
import {
  EVENT_ROWS,
  MIGRATION_STREAMS,
  MIGRATIONS,
  PROXIES,
  RDMA_RANGE_PAGES,
  STREAM_RECORDS,
  STREAM_SEARCHES,
} from '../limits.js';
import { DECODERS, EitherStream, StreamDriver } from './decoder.js';
import {
  type ConnectionEnding,
  type ConnectionIdentity,
  channelsOf,
  connectionOf,
  connectionsOf,
  endingOf,
  forward,
  type Group,
  groupKey,
  isForward,
  isProven,
  isUnderway,
  lengthOf,
  type Stream,
  sinkOf,
} from './group.js';
import { isLibvirtMessage, LibvirtTunnel } from './libvirt-tunnel.js';
import { mainChannel } from './main-channel.js';
import { MigrationState } from './migration.js';
import { multifd } from './multifd.js';
import { nbdClient, nbdServer } from './nbd.js';
import { opaqueStream } from './opaque.js';
import { compare, ownerOf, resultOf } from './outcome.js';
import { preempt } from './preempt.js';
import { type PresumedChannel, presumedChannels, unreadDirection } from './presumed.js';
import { proxyAnswerBytes, proxyRequest, StreamBehind } from './proxy.js';
import {
  PAGE_NORMAL,
  PAGE_ZERO,
  type PageKind,
  type SearchSink,
  type StreamContext,
  type StreamDecoder,
} from './records.js';
import {
  type Channel,
  type Migration,
  type MigrationResults,
  type MigrationSnapshot,
  type OpaqueStream,
  PAGE_REGION_UNITS,
  PAGE_REQUEST_UNITS,
  type ProxyHop,
} from './results.js';
import { returnPath } from './return-path.js';
import { SealedMigration } from './sealed.js';
import { type FrameStamp, SendLags } from './send-lag.js';
import { Sightings } from './sightings.js';
import { DiskSink, MultifdSink, SealedSink } from './sinks.js';
import { isClientHello, tls } from './tls.js';

/** Looks up a connection by id. */
export interface ConnectionDirectory {
  identity(connection: number): ConnectionIdentity;
  /** The TCP timestamp of a frame whose bytes are being read; null where it has none. */
  stamp?(frame: number): FrameStamp | null;
}

export interface MigrationOptions {
  /** Take connections to this server port as the migration, whatever their first bytes say. */
  readonly port?: number;
  /** Take this connection as the migration. */
  readonly connection?: number;
}

/** Page size of RDMA writes where nothing has told it. */
const LIKELY_PAGE_BYTES = 4096;

/** What a search shows of one of several streams that may be the main channel is not mixed with what it shows of the others. */
const seenOf = (state: MigrationState, sightings: Sightings): SearchSink => ({
  sighting: (offset, tNs, block, address, kind) => state.sighting(offset, tNs, block, address, kind, sightings),
  glimpse: (offset, tNs, text) => sightings.glimpse(offset, tNs, text),
});

export class MigrationStreams implements RdmaConsumer {
  readonly #log: AnomalyLog;
  readonly #connections: ConnectionDirectory;
  readonly #options: MigrationOptions;
  #groups: Group[] = [];
  /** Disks being copied, whoever they belong to. */
  readonly #disks: { readonly stream: Stream; readonly sink: DiskSink }[] = [];
  /** Streams being read, by direction. */
  readonly #streams = new Map<number, Stream>();
  /** What connections asked proxies for before anything else, by connection; null while it is not known yet. */
  readonly #proxies = new Map<number, readonly ProxyHop[] | null>();
  readonly #opaque = new Map<number, OpaqueStream>();
  readonly #lags: SendLags;

  constructor(log: AnomalyLog, connections: ConnectionDirectory, options: MigrationOptions = {}) {
    this.#log = log;
    this.#connections = connections;
    this.#lags = new SendLags((frame) => connections.stamp?.(frame) ?? null);
    this.#options = options;
  }

  /** What the newest migration that still goes on does, or the newest at all; for a live view. */
  snapshot(): MigrationSnapshot | null {
    const proven = this.#groups.filter(isProven);
    const group = proven.findLast(({ state }) => !state.complete) ?? proven.at(-1);
    if (!group) return null;
    const id = proven.indexOf(group);
    const { client, server } = group.identity;
    return {
      id,
      source: client.address,
      destination: server.address,
      port: server.port,
      encryption: group.state instanceof SealedMigration ? 'tls' : 'none',
      outcome: group.state.complete ? 'completed' : null,
      bytes: lengthOf(forward(group)) + group.besideBytes,
      channels: channelsOf(group, id),
      ...group.state.snapshot(),
    };
  }

  /** Whether a connection is known to carry part of a migration. */
  carries(connection: number): boolean {
    return [2 * connection, 2 * connection + 1].some((direction) => {
      const group = this.#streams.get(direction)?.group;
      return group != null && isProven(group);
    });
  }

  /** The connection's id is given to another one: what was read of it stays, but must not be taken for the other one's. */
  forget(connection: number): void {
    for (const direction of [2 * connection, 2 * connection + 1]) {
      const stream = this.#streams.get(direction);
      if (stream) stream.isForgotten = true;
      this.#streams.delete(direction);
    }
    this.#proxies.delete(connection);
    this.#opaque.delete(connection);
    this.#lags.forget(connection);
  }

  /** Decides who reads a direction; see ClaimStream. */
  readonly claim: ClaimStream = (
    direction,
    buffer,
    start,
    end,
    fromStart,
    ...place
  ): StreamConsumer | null | undefined => {
    const connection = direction >>> 1;
    const { connection: only } = this.#options;
    if (only !== undefined && only !== connection) return null;
    if (!fromStart) return this.#claimStream(direction, buffer, start, end, fromStart, ...place);
    const at = isForward(direction)
      ? this.#behindRequests(connection, buffer, start, end)
      : this.#behindAnswers(connection, buffer, start, end);
    if (typeof at !== 'number') return at;
    if (at === end) return undefined;
    const opaque = opaqueStream(buffer, at, end);
    if (opaque) {
      // Both ends of SSH greet.
      const isFirst = isForward(direction) || !this.#opaque.has(connection);
      if (isFirst && this.#opaque.size < STREAM_RECORDS) this.#opaque.set(connection, { connection, ...opaque });
      return null;
    }
    const consumer = this.#claimStream(direction, buffer, at, end, fromStart, ...place);
    // Frames cut to their headers hide the rest of the hello: it stays undecided, and closed.
    if (isForward(direction) && isClientHello(buffer, at, end)) {
      this.#opaque.delete(connection);
      if (consumer === undefined) this.#closed(connection);
    }
    return consumer && at > start ? new StreamBehind(consumer, at - start) : consumer;
  };

  /** Where a stream begins behind what its source asked proxies for; undefined when more bytes are needed to say. */
  #behindRequests(connection: number, buffer: Uint8Array, start: number, end: number): number | undefined {
    const proxies: ProxyHop[] = [];
    let at = start;
    while (at < end && proxies.length < PROXIES) {
      const request = proxyRequest(buffer, at, end);
      if (request === undefined) {
        this.#proxies.set(connection, null);
        return undefined;
      }
      if (request === null) break;
      const { length, ...hop } = request;
      proxies.push(hop);
      at += length;
    }
    // The answers come before the stream does.
    if (proxies.length > 0) this.#proxies.set(connection, proxies);
    else this.#proxies.delete(connection);
    return at;
  }

  /** Where a reply begins behind what proxies answered; null when they refused. */
  #behindAnswers(connection: number, buffer: Uint8Array, start: number, end: number): number | null | undefined {
    const proxies = this.#proxies.get(connection);
    if (proxies === null) return undefined;
    let at = start;
    for (const { kind } of proxies ?? []) {
      const length = proxyAnswerBytes(kind, buffer, at, end);
      if (typeof length !== 'number') return length;
      at += length;
    }
    return at;
  }

  readonly #claimStream: ClaimStream = (
    direction,
    buffer,
    start,
    end,
    fromStart,
    tNs,
  ): StreamConsumer | null | undefined => {
    const connection = direction >>> 1;
    const options = this.#options;
    const seen = this.#connections.identity(connection);
    // Which side opened a connection is not known midway: the one that sends is the source then, unless it only answers.
    const identity = fromStart || isForward(direction) ? seen : { ...seen, client: seen.server, server: seen.client };
    const ports = fromStart ? [seen.server.port] : [seen.server.port, seen.client.port];
    const forced = options.connection === connection || (options.port !== undefined && ports.includes(options.port));
    if (options.port !== undefined && !forced) return null;
    const key = groupKey(identity, this.#proxies.get(connection) ?? []);
    const owner = this.#groups.findLast((group) => group.key === key && isProven(group)) ?? this.#paused(identity);
    const reverse = this.#streams.get(direction ^ 1);
    const context: StreamContext = {
      direction,
      fromStart,
      reverse: reverse ? (reverse.driver.proven ? reverse.decoder.id : 'searching') : null,
      knownBlocks: owner && !owner.state.complete ? owner.state.blockNames : new Set(),
      pageSize: owner?.state.knownPageSize ?? null,
      isSealed: () => this.#sealed(key) !== undefined,
    };
    let undecided = false;
    let search: StreamDecoder | null = forced && isForward(direction) ? mainChannel : null;
    if (fromStart && end - start >= 12 && isLibvirtMessage(buffer, start))
      return new LibvirtTunnel(direction, this.#tunnelled);
    if (fromStart && end - start < 12 && buffer[start] === 0) undecided = true;
    for (const decoder of DECODERS) {
      const probe = decoder.probe(buffer, start, end, context);
      if (probe === 'yes') {
        return decoder === nbdServer || decoder === nbdClient
          ? this.#openDisk(decoder, context, identity, tNs, false)
          : this.#open(decoder, context, identity, key, owner, tNs, false);
      }
      if (probe === 'more') undecided = true;
      if (probe === 'search') search ??= decoder;
    }
    if (undecided) return undefined;
    if (!search || this.#searches() >= STREAM_SEARCHES) return null;
    return this.#joined(context, identity, key, tNs);
  };

  /** A stream joined midway: a multifd channel, a disk, or a main channel; beside an open one, a preempt channel instead. */
  #joined(context: StreamContext, identity: ConnectionIdentity, key: string, tNs: number): StreamConsumer {
    const disk = this.#openDisk(nbdClient, context, identity, tNs, true);
    const sealed = this.#open(tls, context, identity, key, undefined, tNs, true);
    const channel = this.#open(multifd, context, identity, key, undefined, tNs, true);
    const underway = this.#groups.find((group) => group.key === key && isUnderway(group));
    const other = underway ? preempt : mainChannel;
    return new EitherStream(this.#open(other, context, identity, key, underway, tNs, true), channel, disk, sealed);
  }

  // RDMA: pages are written past the stream, see RdmaConsumer.

  blocks(direction: number): void {
    this.#streams.get(direction)?.group?.state.feature('rdma');
  }

  written(direction: number, block: number, offset: number, length: number, tNs: number): void {
    this.#pagesOf(direction, block, offset, length, tNs, PAGE_NORMAL);
  }

  zero(direction: number, block: number, offset: number, length: number, tNs: number): void {
    this.#pagesOf(direction, block, offset, length, tNs, PAGE_ZERO);
  }

  /** The stream's own section ends with it. */
  iterationEnd(): void {}

  #pagesOf(direction: number, block: number, offset: number, length: number, tNs: number, kind: PageKind): void {
    const group = this.#streams.get(direction)?.group;
    if (!group) return;
    const { state } = group;
    const pageBytes = state.knownPageSize ?? LIKELY_PAGE_BYTES;
    const bytes = kind === PAGE_NORMAL ? pageBytes : 0;
    const end = offset + Math.min(length, RDMA_RANGE_PAGES * pageBytes);
    if (end < offset + length)
      this.#log.note('stream/limit', { direction, tNs, detail: `RDMA range of ${length} bytes` });
    for (let at = offset; at < end; at += pageBytes) {
      state.sidePage(tNs, block, at, kind, bytes);
      group.besideBytes += bytes;
    }
  }

  /** As `claim`, for a stream that libvirt carries inside its own connection. */
  readonly #tunnelled: ClaimStream = (direction, ...first) => {
    const consumer = this.#claimStream(direction, ...first);
    if (consumer) this.#streams.get(direction)?.group?.state.feature('tunnelled-by-libvirt');
    return consumer;
  };

  /**
   * Ends everything; call after the transports have ended their streams.
   *
   * @param signals  what Signals collected, for the announcements of guests
   * @param leaps    of the capture's clock
   */
  finish(
    endings: readonly ConnectionEnding[] = [],
    signals: ColumnData | null = null,
    leaps: readonly ClockLeap[] = [],
  ): MigrationResults {
    const byId = new Map(endings.map((ending) => [ending.id, ending]));
    const migrations: Migration[] = [];
    const channels: Channel[] = [];
    const regions = new TableBuilder(PAGE_REGION_UNITS, EVENT_ROWS);
    const requests = new TableBuilder(PAGE_REQUEST_UNITS, EVENT_ROWS);
    const names = ['block', 'startPage', 'pages', 'round', 'copies'] as const;
    for (const group of this.#groups.filter(isProven)) this.#presume(group, endings, byId);
    this.#groups.filter(isProven).forEach((group, id) => {
      migrations.push(resultOf(group, id, byId, this.#mirrorEndsNs(group)));
      channels.push(...channelsOf(group, id));
      const answered = group.state.requests.answered;
      for (let row = 0; row < answered.rows; row++) {
        requests.add(id, ...(['tNs', 'latencyNs', 'bytes'] as const).map((name) => answered.get(row, name)));
      }
      const table = group.state.history.regions();
      for (let row = 0; row < table.rows; row++) {
        regions.add(id, ...names.map((name) => table.get(row, name)));
      }
    });
    this.#giveDisks(migrations, channels, byId);
    compare(migrations, signals, leaps);
    for (const group of this.#groups) if (!isProven(group)) this.#leaveOpaque(group);
    const opaque = [...this.#opaque.values()];
    return { migrations, channels, opaque, pageRegions: regions.finish(), pageRequests: requests.finish() };
  }

  /** Gives a migration the channels that could not be read. */
  #presume(group: Group, endings: readonly ConnectionEnding[], byId: ReadonlyMap<number, ConnectionEnding>): void {
    const { state, identity, proxies, startNs, streams } = group;
    if (proxies.length > 0 || state instanceof SealedMigration) return;
    const main = streams.find(({ decoder }) => decoder === mainChannel);
    if (!main) {
      const reply = streams.find(({ decoder, driver }) => decoder === returnPath && driver.proven);
      const found = reply && unreadDirection(reply.direction ^ 1, endingOf(reply, byId));
      if (!found) return;
      state.mainPresumed(found.bytes, found.lastNs);
      this.#take(group, [{ kind: 'main', ...found }]);
      return;
    }
    const endNs = endingOf(main, byId)?.endNs;
    if (endNs === undefined) return;
    const isKnown = (connection: number): boolean =>
      this.#opaque.has(connection) ||
      [2 * connection, 2 * connection + 1].some((direction) => this.#streams.get(direction)?.driver.proven);
    const found = presumedChannels(identity, startNs, endNs, endings, (id) => this.#connections.identity(id), isKnown);
    if (!state.hasMultifdBeside(found.reduce((sum, { bytes }) => sum + bytes, 0))) return;
    for (const { bytes, lastNs } of found) state.multifdPresumed(bytes, lastNs);
    this.#take(group, found);
  }

  #take(group: Group, presumed: readonly PresumedChannel[]): void {
    for (const { direction, kind, bytes, lastNs } of presumed) {
      const detail = `${bytes} bytes not decoded, taken for those of a ${kind} channel`;
      this.#log.note('stream/mid-stream', { direction, tNs: lastNs, detail });
    }
    group.presumed = presumed;
  }

  /** When the disks copied between the migration's hosts were last asked for anything. */
  #mirrorEndsNs({ identity: { client, server } }: Group): number[] {
    return this.#disks
      .filter(({ stream: { identity } }) => {
        const hosts = [identity.client.address, identity.server.address];
        return hosts.includes(client.address) && hosts.includes(server.address);
      })
      .map(({ sink }) => sink.finish().endNs);
  }

  #giveDisks(
    migrations: readonly Migration[],
    channels: Channel[],
    endings: ReadonlyMap<number, ConnectionEnding>,
  ): void {
    this.#disks.forEach(({ stream, sink }, index) => {
      const disk = sink.finish();
      const endNs = Math.max(disk.endNs, endingOf(stream, endings)?.endNs ?? 0);
      const owner = ownerOf({ identity: stream.identity, startNs: disk.startNs, endNs }, migrations);
      owner?.disks.push(disk);
      const connection = connectionOf(stream);
      if (connection !== null) channels.push({ connection, kind: 'nbd', index, migration: owner?.id ?? null });
    });
  }

  #open(
    decoder: StreamDecoder,
    context: StreamContext,
    identity: ConnectionIdentity,
    key: string,
    owner: Group | undefined,
    tNs: number,
    joined: boolean,
  ): StreamDriver | null {
    const { direction } = context;
    const reverse = this.#streams.get(direction ^ 1);
    const opposite = reverse?.group;
    const isReply = decoder === returnPath || (decoder === tls && reverse?.decoder === tls);
    let group = decoder === returnPath ? (opposite ?? owner) : owner;
    if (decoder === tls) group = isReply ? opposite! : joined ? undefined : this.#sealed(key);
    else if (decoder === mainChannel || decoder === multifd) group = this.#beginning(key, decoder);
    if (joined && decoder !== tls) group ??= this.#searched(key);
    if (group ? group.streams.length >= MIGRATION_STREAMS : this.#isFull(decoder === tls)) {
      this.#log.note('stream/limit', { direction, tNs, detail: group ? 'channels' : 'migrations' });
      return null;
    }
    if (!group) {
      const startNs = Math.min(tNs, identity.startNs);
      const state = new (decoder === tls ? SealedMigration : MigrationState)(this.#log, direction, startNs, this.#lags);
      const proxies = this.#proxies.get(direction >>> 1) ?? [];
      for (const { kind } of proxies) state.feature(kind);
      group = { key, state, identity, proxies, streams: [], startNs, besideBytes: 0, presumed: [] };
    }
    const channel =
      decoder === multifd
        ? new MultifdSink(
            () => stream.group!.state,
            joined,
            (): StreamDriver => driver,
          )
        : null;
    const sealed =
      decoder === tls ? new SealedSink(() => stream.group!.state as SealedMigration, direction, isReply) : null;
    const sink = channel ?? sealed ?? sinkOf(decoder, group.state);
    const seen = joined && decoder === mainChannel ? new Sightings() : null;
    const driver: StreamDriver = new StreamDriver(
      decoder,
      sink,
      seen ? { ...context, seen: seenOf(group.state, seen) } : context,
      this.#log,
      joined ? () => this.#enter(stream, key, seen) : null,
    );
    const stream: Stream = {
      direction,
      decoder,
      driver,
      identity,
      group,
      multifd: channel,
      isReply,
      isJoined: joined,
      isForgotten: false,
    };
    this.#streams.set(direction, stream);
    // A stream that is only searched makes no migration until it is proven; most never are, and are then forgotten.
    if (!joined) this.#enter(stream, key);
    return driver;
  }

  /** Whether there is no room for another migration, in TLS or in clear, although what turned out to be none is forgotten. */
  #isFull(sealed: boolean): boolean {
    const isAlike = ({ state }: Group): boolean => state instanceof SealedMigration === sealed;
    if (this.#groups.filter(isAlike).length < MIGRATIONS) return false;
    this.#groups = this.#groups.filter((group) => {
      const stays = isProven(group) || group.streams.some(({ driver }) => driver.ended === null);
      if (!stays) this.#leaveOpaque(group);
      return stays;
    });
    return this.#groups.filter(isAlike).length >= MIGRATIONS;
  }

  /** What was no migration, for all that can be seen of it, is named where it is TLS. */
  #leaveOpaque(group: Group): void {
    if (!(group.state instanceof SealedMigration)) return;
    for (const connection of connectionsOf(group)) this.#closed(connection);
  }

  #closed(connection: number): void {
    if (this.#opaque.size < STREAM_RECORDS)
      this.#opaque.set(connection, { connection, kind: 'tls', banner: null, holds: null });
  }

  /** Makes a stream, now known for what it is, part of its migration; `seen` is what a search showed of a main channel. */
  #enter(stream: Stream, key: string, seen: Sightings | null = null): void {
    // While a channel was searched, the migration that it belongs to may have been found.
    if (stream.multifd) stream.group = this.#beginning(key, multifd) ?? stream.group;
    if (stream.decoder === tls && stream.isJoined) stream.group = this.#sealed(key) ?? stream.group;
    const group = stream.group!;
    group.streams.push(stream);
    stream.driver.notBefore(group.startNs);
    if (stream.decoder === preempt) group.state.feature('preempt');
    this.#streams.set(stream.direction, stream);
    if (seen && !group.streams.some((other) => other !== stream && other.decoder === mainChannel))
      group.state.sightings = seen;
    if (this.#groups.includes(group)) return;
    this.#groups.push(group);
    if (stream.isJoined) group.state.rounds.joined();
  }

  #openDisk(
    decoder: StreamDecoder,
    context: StreamContext,
    identity: ConnectionIdentity,
    tNs: number,
    joined: boolean,
  ): StreamDriver | null {
    const { direction } = context;
    if (this.#disks.length >= MIGRATIONS) {
      if (!joined) this.#log.note('stream/limit', { direction, tNs, detail: 'disks' });
      return null;
    }
    const sink = new DiskSink(direction >>> 1, Math.min(tNs, identity.startNs));
    const enter = (): void => {
      const stream: Stream = {
        direction,
        decoder,
        driver,
        identity,
        group: null,
        multifd: null,
        isReply: false,
        isJoined: joined,
        isForgotten: false,
      };
      this.#streams.set(direction, stream);
      if (decoder === nbdClient) this.#disks.push({ stream, sink });
    };
    const driver = new StreamDriver(decoder, sink, context, this.#log, joined ? enter : null);
    if (!joined) enter();
    return driver;
  }

  /** What other streams between the same ends, still searched, would belong to. */
  #searched(key: string): Group | undefined {
    for (const { group, decoder, driver } of this.#streams.values()) {
      if (group?.key === key && decoder !== tls && driver.searching) return group;
    }
    return undefined;
  }

  /** A migration that is under way and still lacks this kind of channel: channels open in any order. */
  #beginning(key: string, decoder: StreamDecoder): Group | undefined {
    return this.#groups.findLast((group) => {
      if (group.key !== key || group.state.complete) return false;
      const main = group.streams.find((stream) => stream.decoder === mainChannel);
      return decoder === mainChannel ? !main : main?.driver.ended == null;
    });
  }

  /** The TLS migration that a further connection belongs to. */
  #sealed(key: string): Group | undefined {
    return this.#groups.findLast(
      (group) =>
        group.key === key &&
        group.state instanceof SealedMigration &&
        !group.streams.some(({ driver }) => driver.ended !== null),
    );
  }

  /** A post-copy migration between these hosts that may go on over another port after a pause. */
  #paused({ client, server }: ConnectionIdentity): Group | undefined {
    return this.#groups.findLast(
      ({ identity, state }) =>
        identity.client.address === client.address &&
        identity.server.address === server.address &&
        !(state instanceof SealedMigration) &&
        state.mayBeInPostcopy &&
        !state.complete,
    );
  }

  /** Streams searched at the moment; those that were searched in vain are forgotten. */
  #searches(): number {
    let searches = 0;
    for (const [direction, { driver }] of this.#streams) {
      if (driver.searching) searches++;
      else if (!driver.proven) this.#streams.delete(direction);
    }
    return searches;
  }
}
