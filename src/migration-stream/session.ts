// Which connections form one migration, and what became of it.
//
// All channels of a migration run from one source address to one destination address and port. One of them is the main
// channel; a new main channel there begins a new migration. Channels without a magic of their own (preempt) are told by
// what they carry, and only beside a migration that could own them. In front of a stream may stand what its source asked a
// proxy for.
import type { AnomalyLog } from '../anomaly.js';
import { type ColumnData, TableBuilder } from '../columns.js';
import type { ClockLeap } from '../decode/clock-leaps.js';
import {
  type ClaimStream,
  type HoleCause,
  type StreamConsumer,
  type StreamEnd,
  UDP_STREAM_BASE,
} from '../decode/stream.js';
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
import { countingRules } from './counting.js';
import { DECODERS, StreamDriver } from './decoder.js';
import { isLibvirtMessage, LibvirtTunnel } from './libvirt-tunnel.js';
import { mainChannel } from './main-channel.js';
import { MigrationState } from './migration.js';
import { multifd } from './multifd.js';
import { nbdClient, nbdServer } from './nbd.js';
import { opaqueStream } from './opaque.js';
import { preempt } from './preempt.js';
import { proxyAnswerBytes, proxyRequest, StreamBehind } from './proxy.js';
import {
  type MigrationSink,
  PAGE_NORMAL,
  PAGE_ZERO,
  type PageKind,
  type StreamContext,
  type StreamDecoder,
} from './records.js';
import { relayedFrom } from './relay.js';
import {
  type Channel,
  type ChannelKind,
  type Migration,
  type MigrationResults,
  type MigrationSnapshot,
  type OpaqueStream,
  PAGE_REGION_UNITS,
  PAGE_REQUEST_UNITS,
  type ProxyHop,
  type Quantiles,
  type Round,
} from './results.js';
import { returnPath } from './return-path.js';
import { SealedMigration } from './sealed.js';
import { DiskSink, MultifdSink, ReplySink, SealedSink, SideChannelSink } from './sinks.js';
import { tls } from './tls.js';

/** Who talks to whom; the client opened the connection. */
export interface ConnectionIdentity {
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
  readonly startNs: number;
}

/** Looks up a connection by id. */
export interface ConnectionDirectory {
  identity(connection: number): ConnectionIdentity;
}

/** How a connection ended, known when the capture has. */
export interface ConnectionEnding {
  readonly id: number;
  readonly endNs: number;
  readonly endedBy: 'fin' | 'rst' | 'capture-end' | 'idle';
  readonly closedFirstBy: 0 | 1 | null;
  /** What its two directions had in flight; see TcpDirection.pipe. */
  readonly directions?: readonly { readonly pipe: Quantiles | null }[];
}

export interface MigrationOptions {
  /** Take connections to this server port as the migration, whatever their first bytes say. */
  readonly port?: number;
  /** Take this connection as the migration. */
  readonly connection?: number;
}

/** A destination announces its guest several times for about a second; half as long again for slow ones. */
const ANNOUNCING_NS = 1.5e9;
/** By so much time a mirror's port may outweigh when it ends. */
const NEXT_PORT_NS = 0.5e9;
/** Confidence in a downtime that is measured with a clock that leapt. */
const LEAPT_CONFIDENCE = 0.2;
/** Page size of RDMA writes where nothing has told it. */
const LIKELY_PAGE_BYTES = 4096;

/** One stream that a decoder reads. */
interface Stream {
  readonly direction: number;
  readonly decoder: StreamDecoder;
  readonly driver: StreamDriver;
  readonly identity: ConnectionIdentity;
  /** null for disks, which belong to no migration until the end. */
  entry: Entry | null;
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
interface Entry {
  readonly key: string;
  readonly state: MigrationState;
  readonly identity: ConnectionIdentity;
  readonly streams: Stream[];
  readonly proxies: readonly ProxyHop[];
  readonly startNs: number;
  /** Bytes of pages written past the streams (RDMA). */
  besideBytes: number;
}

export class MigrationStreams implements RdmaConsumer {
  readonly #log: AnomalyLog;
  readonly #connections: ConnectionDirectory;
  readonly #options: MigrationOptions;
  #entries: Entry[] = [];
  /** Disks being copied, whoever they belong to. */
  readonly #disks: { readonly stream: Stream; readonly sink: DiskSink }[] = [];
  /** Streams being read, by direction. */
  readonly #streams = new Map<number, Stream>();
  /** What connections asked proxies for before anything else, by connection; null while it is not known yet. */
  readonly #proxies = new Map<number, readonly ProxyHop[] | null>();
  readonly #opaque = new Map<number, OpaqueStream>();

  constructor(log: AnomalyLog, connections: ConnectionDirectory, options: MigrationOptions = {}) {
    this.#log = log;
    this.#connections = connections;
    this.#options = options;
  }

  /** What the newest migration that still goes on does, or the newest at all; for a live view. */
  snapshot(): MigrationSnapshot | null {
    const proven = this.#entries.filter(isProven);
    const entry = proven.findLast(({ state }) => !state.complete) ?? proven.at(-1);
    if (!entry) return null;
    const id = proven.indexOf(entry);
    const { client, server } = entry.identity;
    return {
      id,
      source: client.address,
      destination: server.address,
      port: server.port,
      encryption: entry.state instanceof SealedMigration ? 'tls' : 'none',
      outcome: entry.state.complete ? 'completed' : null,
      bytes: lengthOf(forward(entry)) + entry.besideBytes,
      channels: channelsOf(entry, id),
      ...entry.state.snapshot(),
    };
  }

  /** Whether a connection is known to carry part of a migration. */
  carries(connection: number): boolean {
    return [2 * connection, 2 * connection + 1].some((direction) => {
      const entry = this.#streams.get(direction)?.entry;
      return entry != null && isProven(entry);
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
    // Which side opened a connection is not known midway: the one that sends is the source then.
    const identity = fromStart || isForward(direction) ? seen : { ...seen, client: seen.server, server: seen.client };
    const forced =
      options.connection === connection || (options.port !== undefined && options.port === identity.server.port);
    if (options.port !== undefined && !forced) return null;
    const key = groupKey(identity, this.#proxies.get(connection) ?? []);
    const owner = this.#entries.findLast((entry) => entry.key === key && isProven(entry)) ?? this.#paused(identity);
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
    const underway = this.#entries.find((entry) => entry.key === key && isUnderway(entry));
    const other = underway ? preempt : mainChannel;
    return new EitherStream(this.#open(other, context, identity, key, underway, tNs, true), channel, disk, sealed);
  }

  // RDMA: pages are written past the stream, see RdmaConsumer.

  blocks(direction: number): void {
    this.#streams.get(direction)?.entry?.state.feature('rdma');
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
    const entry = this.#streams.get(direction)?.entry;
    if (!entry) return;
    const { state } = entry;
    const pageBytes = state.knownPageSize ?? LIKELY_PAGE_BYTES;
    const bytes = kind === PAGE_NORMAL ? pageBytes : 0;
    const end = offset + Math.min(length, RDMA_RANGE_PAGES * pageBytes);
    if (end < offset + length)
      this.#log.note('stream/limit', { direction, tNs, detail: `RDMA range of ${length} bytes` });
    for (let at = offset; at < end; at += pageBytes) {
      state.sidePage(tNs, block, at, kind, bytes);
      entry.besideBytes += bytes;
    }
  }

  /** As `claim`, for a stream that libvirt carries inside its own connection. */
  readonly #tunnelled: ClaimStream = (direction, ...first) => {
    const consumer = this.#claimStream(direction, ...first);
    if (consumer) this.#streams.get(direction)?.entry?.state.feature('tunnelled-by-libvirt');
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
    this.#entries.filter(isProven).forEach((entry, id) => {
      migrations.push(resultOf(entry, id, byId, this.#mirrorEndsNs(entry)));
      channels.push(...channelsOf(entry, id));
      const answered = entry.state.requests;
      for (let row = 0; row < answered.rows; row++) {
        requests.add(id, ...(['tNs', 'latencyNs', 'bytes'] as const).map((name) => answered.get(row, name)));
      }
      const table = entry.state.history.regions();
      for (let row = 0; row < table.rows; row++) {
        regions.add(id, ...names.map((name) => table.get(row, name)));
      }
    });
    this.#giveDisks(migrations, channels, byId);
    for (const migration of migrations) {
      const leg = relayedFrom(migration, migrations.slice(0, migration.id));
      if (leg !== null) migration.relayOf = leg;
      if (migration.downtime && (migration.proxies || leg !== null))
        migration.downtime.method += '; what a relay before the capture held back is not in it';
    }
    if (signals) boundByAnnouncements(migrations, signals);
    for (const { downtime, startNs } of migrations) {
      if (!downtime || !leaps.some((leap) => leap.startNs < downtime.endNs && startNs < leap.endNs)) continue;
      downtime.confidence = Math.min(LEAPT_CONFIDENCE, downtime.confidence ?? 1);
      downtime.method += '; uncertain, for the clock of the capture was set ahead meanwhile';
    }
    for (const entry of this.#entries) if (!isProven(entry)) this.#leaveOpaque(entry);
    const opaque = [...this.#opaque.values()];
    return { migrations, channels, opaque, pageRegions: regions.finish(), pageRequests: requests.finish() };
  }

  /** When the disks copied between the migration's hosts were last asked for anything. */
  #mirrorEndsNs({ identity: { client, server } }: Entry): number[] {
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
    owner: Entry | undefined,
    tNs: number,
    joined: boolean,
  ): StreamDriver | null {
    const { direction } = context;
    const reverse = this.#streams.get(direction ^ 1);
    const opposite = reverse?.entry;
    const isReply = decoder === returnPath || (decoder === tls && reverse?.decoder === tls);
    let entry = decoder === returnPath ? (opposite ?? owner) : owner;
    if (decoder === tls) entry = isReply ? opposite! : joined ? undefined : this.#sealed(key);
    else if (decoder === mainChannel || decoder === multifd) entry = this.#beginning(key, decoder);
    if (joined && decoder !== tls) entry ??= this.#searched(key);
    if (entry ? entry.streams.length >= MIGRATION_STREAMS : this.#isFull(decoder === tls)) {
      this.#log.note('stream/limit', { direction, tNs, detail: entry ? 'channels' : 'migrations' });
      return null;
    }
    if (!entry) {
      const startNs = Math.min(tNs, identity.startNs);
      const state = new (decoder === tls ? SealedMigration : MigrationState)(this.#log, direction, startNs);
      const proxies = this.#proxies.get(direction >>> 1) ?? [];
      for (const { kind } of proxies) state.feature(kind);
      entry = { key, state, identity, proxies, streams: [], startNs, besideBytes: 0 };
    }
    const channel =
      decoder === multifd
        ? new MultifdSink(
            () => stream.entry!.state,
            joined,
            (): StreamDriver => driver,
          )
        : null;
    const sealed =
      decoder === tls ? new SealedSink(() => stream.entry!.state as SealedMigration, direction, isReply) : null;
    const sink = channel ?? sealed ?? sinkOf(decoder, entry.state);
    const driver: StreamDriver = new StreamDriver(
      decoder,
      sink,
      context,
      this.#log,
      joined ? () => this.#enter(stream, key, true) : null,
    );
    const stream: Stream = {
      direction,
      decoder,
      driver,
      identity,
      entry,
      multifd: channel,
      isReply,
      isJoined: joined,
      isForgotten: false,
    };
    this.#streams.set(direction, stream);
    // A stream that is only searched makes no migration until it is proven; most never are, and are then forgotten.
    if (!joined) this.#enter(stream, key, false);
    return driver;
  }

  /** Whether there is no room for another migration, in TLS or in clear, although what turned out to be none is forgotten. */
  #isFull(sealed: boolean): boolean {
    const isAlike = ({ state }: Entry): boolean => state instanceof SealedMigration === sealed;
    if (this.#entries.filter(isAlike).length < MIGRATIONS) return false;
    this.#entries = this.#entries.filter((entry) => {
      const stays = isProven(entry) || entry.streams.some(({ driver }) => driver.ended === null);
      if (!stays) this.#leaveOpaque(entry);
      return stays;
    });
    return this.#entries.filter(isAlike).length >= MIGRATIONS;
  }

  /** What was no migration, for all that can be seen of it, is named where it is TLS. */
  #leaveOpaque(entry: Entry): void {
    if (!(entry.state instanceof SealedMigration)) return;
    for (const connection of connectionsOf(entry)) {
      if (this.#opaque.size >= STREAM_RECORDS) return;
      this.#opaque.set(connection, { connection, kind: 'tls', banner: null, holds: null });
    }
  }

  /** Makes a stream, now known for what it is, part of its migration. */
  #enter(stream: Stream, key: string, joined: boolean): void {
    // While a channel was searched, the migration that it belongs to may have been found.
    if (stream.multifd) stream.entry = this.#beginning(key, multifd) ?? stream.entry;
    if (stream.decoder === tls && joined) stream.entry = this.#sealed(key) ?? stream.entry;
    const entry = stream.entry!;
    entry.streams.push(stream);
    stream.driver.notBefore(entry.startNs);
    if (stream.decoder === preempt) entry.state.feature('preempt');
    this.#streams.set(stream.direction, stream);
    if (this.#entries.includes(entry)) return;
    this.#entries.push(entry);
    if (joined) entry.state.rounds.joined();
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
        entry: null,
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
  #searched(key: string): Entry | undefined {
    for (const { entry, decoder, driver } of this.#streams.values()) {
      if (entry?.key === key && decoder !== tls && driver.searching) return entry;
    }
    return undefined;
  }

  /** A migration that is under way and still lacks this kind of channel: channels open in any order. */
  #beginning(key: string, decoder: StreamDecoder): Entry | undefined {
    return this.#entries.findLast((entry) => {
      if (entry.key !== key || entry.state.complete) return false;
      const main = entry.streams.find((stream) => stream.decoder === mainChannel);
      return decoder === mainChannel ? !main : main?.driver.ended == null;
    });
  }

  /** The TLS migration that a further connection belongs to. */
  #sealed(key: string): Entry | undefined {
    return this.#entries.findLast(
      (entry) =>
        entry.key === key &&
        entry.state instanceof SealedMigration &&
        !entry.streams.some(({ driver }) => driver.ended !== null),
    );
  }

  /** A post-copy migration between these hosts that may go on over another port after a pause. */
  #paused({ client, server }: ConnectionIdentity): Entry | undefined {
    return this.#entries.findLast(
      ({ identity, state }) =>
        identity.client.address === client.address &&
        identity.server.address === server.address &&
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

/** A stream that one of several decoders may prove to be its own; the others are dropped then. */
class EitherStream implements StreamConsumer {
  #drivers: readonly StreamDriver[];

  constructor(...drivers: (StreamDriver | null)[]) {
    this.#drivers = drivers.filter((driver) => driver !== null);
  }

  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): boolean {
    let wanted = false;
    for (const driver of this.#drivers) {
      wanted = driver.bytes(buffer, start, end, offset, tNs, frame) || wanted;
      if (this.#settle(driver)) break;
    }
    return wanted;
  }

  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    for (const driver of this.#drivers) driver.hole(offset, length, cause, tNs, frame);
  }

  end(offset: number, cause: StreamEnd, tNs: number, frame: number): void {
    for (const driver of this.#drivers) {
      driver.end(offset, cause, tNs, frame);
      if (this.#settle(driver)) break;
    }
  }

  #settle(driver: StreamDriver): boolean {
    if (driver.proven && this.#drivers.length > 1) this.#drivers = [driver];
    return driver.proven;
  }
}

/**
 * A mirror runs between the hosts of its migration, either way round, begins before the memory moves and is ended in the pause
 * for the switch-over. Where guests move at once, the migration that ends with it owns it; libvirt and Proxmox give it the
 * port after the migration's.
 */
function ownerOf(
  { identity: { client, server }, startNs, endNs }: { identity: ConnectionIdentity; startNs: number; endNs: number },
  migrations: readonly Migration[],
): Migration | undefined {
  const distance = ({ port, endNs: migratedNs }: Migration): number =>
    Math.abs(migratedNs - endNs) + (port + 1 === server.port ? 0 : NEXT_PORT_NS);
  return migrations
    .filter(
      ({ source, destination, startNs: beganNs, endNs: migratedNs }) =>
        ((source === client.address && destination === server.address) ||
          (source === server.address && destination === client.address)) &&
        migratedNs >= startNs &&
        beganNs <= endNs,
    )
    .sort((a, b) => distance(a) - distance(b))[0];
}

/** What feeds `state` from a stream that `decoder` reads. */
function sinkOf(decoder: StreamDecoder, state: MigrationState): MigrationSink {
  if (decoder === returnPath) return new ReplySink(state);
  return decoder === preempt ? new SideChannelSink(state) : state;
}

/** Behind a proxy, the place it leads to counts, too: other guests may go through the same one. */
const groupKey = ({ client, server }: ConnectionIdentity, proxies: readonly ProxyHop[]): string =>
  [`${client.address}>${server.address}:${server.port}`, ...proxies.map(({ to }) => to)].join('>');

/** A migration is real once its main channel is known to be one. */
const isProven = ({ state, streams }: Entry): boolean =>
  state instanceof SealedMigration
    ? state.proven
    : streams.some(({ decoder, driver }) => driver.proven && decoder !== returnPath);

/** Its main channel is open. */
const isUnderway = (entry: Entry): boolean =>
  entry.streams.some(({ decoder, driver }) => decoder === mainChannel && driver.proven && driver.ended === null);

/** The TCP connection that carries a stream; null where it is not TCP or no longer known. */
const connectionOf = ({ direction, isForgotten }: Stream): number | null =>
  direction < UDP_STREAM_BASE && !isForgotten ? direction >>> 1 : null;

const connectionsOf = (entry: Entry): number[] => [
  ...new Set(entry.streams.map(connectionOf).filter((connection) => connection !== null)),
];

/** The opener's direction: sources open the connections of a migration. */
const isForward = (direction: number): boolean => direction % 2 === 0;

const forward = (entry: Entry): Stream[] => entry.streams.filter(({ driver, isReply }) => driver.proven && !isReply);

const lengthOf = (streams: readonly Stream[]): number =>
  streams.reduce((sum, { driver }) => sum + driver.account.length, 0);

const channelsOf = (entry: Entry, id: number): Channel[] =>
  forward(entry).flatMap((stream) => {
    const connection = connectionOf(stream);
    if (connection === null) return [];
    const role = entry.state instanceof SealedMigration ? entry.state.roles.get(stream.direction) : undefined;
    if (role) return [{ connection, migration: id, ...role }];
    const { decoder, multifd: channel } = stream;
    return [{ connection, kind: decoder.channel, index: channel?.channel ?? null, migration: id }];
  });

/** How the connection of `stream` ended, where that is known. */
function endingOf(
  stream: Stream | undefined,
  endings: ReadonlyMap<number, ConnectionEnding>,
): ConnectionEnding | undefined {
  const connection = stream ? connectionOf(stream) : null;
  return connection === null ? undefined : endings.get(connection);
}

/**
 * A guest runs by the time its destination announces it: QEMU holds RARP back until then (net/announce.c). Whose guest
 * it is shows only where no other migration ended since.
 */
function boundByAnnouncements(migrations: readonly Migration[], { rows, columns }: ColumnData): void {
  const kinds = columns['kind']!.values;
  const times = columns['tNs']!.values;
  for (const migration of migrations) {
    const { downtime } = migration;
    const sinceNs = downtime?.earliestEndNs;
    if (!downtime || sinceNs === undefined) continue;
    for (let row = 0; row < rows; row++) {
      const tNs = Number(times[row]);
      if (kinds[row] !== 'rarp-announcement' || tNs < sinceNs) continue;
      const isOthers = ({ downtime: other }: Migration): boolean =>
        other !== null &&
        other !== downtime &&
        other.endNs > sinceNs - ANNOUNCING_NS &&
        (other.earliestEndNs ?? other.endNs) <= tNs;
      if (migrations.some(isOthers)) break;
      downtime.latestEndNs = tNs;
      const afterMs = (tNs - downtime.endNs) / 1e6;
      const when = afterMs >= 1 ? `${Math.round(afterMs)} ms later` : 'by then';
      downtime.method += `; the guest announced itself ${when}`;
      break;
    }
  }
}

/** Inside TLS a channel whose part does not show is counted as main. */
function kindOf({ state }: Entry, { decoder, direction }: Stream): ChannelKind {
  if (decoder !== tls) return decoder.channel;
  return (state instanceof SealedMigration && state.roles.get(direction)?.kind) || 'main';
}

/** What the main connection had in flight; null where that is not known. */
function flightOf(
  entry: Entry,
  streams: readonly Stream[],
  endings: ReadonlyMap<number, ConnectionEnding>,
): Quantiles | null {
  const main = streams.find((stream) => kindOf(entry, stream) === 'main');
  return (main && endingOf(main, endings)?.directions?.[main.direction & 1]?.pipe) ?? null;
}

function resultOf(
  entry: Entry,
  id: number,
  endings: ReadonlyMap<number, ConnectionEnding>,
  mirrorEndsNs: readonly number[],
): Migration {
  const streams = forward(entry);
  const figures = entry.state.finish(flightOf(entry, streams, endings), mirrorEndsNs);
  const sealed = entry.state instanceof SealedMigration ? entry.state : null;
  const bytesOf = (kind: ChannelKind): number => lengthOf(streams.filter((stream) => kindOf(entry, stream) === kind));
  const total = lengthOf(streams) + entry.besideBytes;
  const undecodedBytes = sealed ? total : streams.reduce((sum, { driver }) => sum + driver.account.undecodedBytes, 0);
  const { client, server } = entry.identity;
  const { machineType, pageSize, features, ramRecordBytes, deviceStateBytes, lostPages, rounds, ...rest } = figures;
  const outcome = outcomeOf(entry, streams, endings);
  if (rest.downtime && (outcome === 'failed' || outcome === 'cancelled'))
    rest.downtime.method += ', where the migration broke off: the guest did not run at the destination';
  return {
    id,
    source: client.address,
    destination: server.address,
    port: server.port,
    connections: connectionsOf(entry),
    udpStreams: entry.streams.map(({ direction }) => direction).filter((direction) => direction >= UDP_STREAM_BASE),
    outcome,
    encryption: sealed ? 'tls' : 'none',
    stream: {
      machineType,
      pageSize,
      features,
      decodedBytes: total - undecodedBytes,
      undecodedBytes,
      lostPages: lostPages ?? null,
    },
    startNs: entry.startNs,
    endNs: figures.phases.at(-1)?.endNs ?? entry.startNs,
    bytes: {
      total,
      main: bytesOf('main') + entry.besideBytes,
      multifd: bytesOf('multifd'),
      preempt: bytesOf('preempt'),
      ramRecords: ramRecordBytes,
      deviceState: deviceStateBytes,
      returnPath: sealed?.replyBytes ?? lengthOf(entry.streams.filter(({ decoder }) => decoder === returnPath)),
    },
    disks: [],
    ...(entry.proxies.length > 0 ? { proxies: entry.proxies } : {}),
    rounds: sealed && streams[0]?.isJoined ? rounds.map(joinedRound) : rounds,
    countingRules: countingRules({ outcome, features, rounds, ...rest }),
    ...rest,
  };
}

/** Inside TLS a first pass that was joined looks like a whole one. */
const joinedRound = (round: Round, i: number): Round =>
  i === 0 ? { ...round, boundary: 'joined-midway', confidence: Math.min(round.confidence, 0.5) } : round;

/**
 * Completed needs the end mark or the destination's SHUT; the end mark may have reached a buffer on the way and no further. Otherwise the way the main connection ended decides: the
 * source closed it in order (cancelled), it was reset or the destination gave up first (failed), or the capture ended.
 * A SHUT with an error flag that follows the source's own closing is only the answer to it.
 */
function outcomeOf(
  entry: Entry,
  streams: readonly Stream[],
  endings: ReadonlyMap<number, ConnectionEnding>,
): Migration['outcome'] {
  const { complete, shut, shutNs, sightings } = entry.state;
  const main = streams.findLast((stream) => kindOf(entry, stream) === 'main');
  const closedBySource = main?.driver.ended === 'fin' && !(shutNs < main.driver.endNs);
  if (shut !== null && shut !== 0) return closedBySource ? 'cancelled' : 'failed';
  const reply = entry.streams.findLast(({ decoder }) => decoder === returnPath)?.driver;
  // A destination that has answered before says when it is done.
  const isUnconfirmed = shut === null && reply?.ended === 'fin' && isWhole(reply);
  if (shut === 0 || (complete && !isUnconfirmed)) return 'completed';
  // In a capture cut to headers the end mark may be hidden: a description up to an orderly end says the same.
  if (closedBySource && sightings.endsInText && !isUnconfirmed) return 'completed';
  const ending = endingOf(main, endings);
  // The end mark may have been in what the capture lost; and post-copy can pause, but not be cancelled.
  if (closedBySource && ending?.closedFirstBy !== 1)
    return main.driver.endsUnread || entry.state.mayBeInPostcopy ? 'incomplete' : 'cancelled';
  switch (ending?.endedBy ?? main?.driver.ended) {
    case 'fin':
    case 'rst':
      return 'failed';
    default:
      return 'incomplete';
  }
}

/** Something was sent, and all of it is in the capture. */
const isWhole = ({ account }: StreamDriver): boolean => account.length > 0 && account.missingBytes === 0;
