// TCP metrics: what the tracker knows and what the passes over rows found out, put together.
import type { AnomalyLog } from '../../../anomaly.js';
import type { PacketBatch } from '../../../capture/packet-batch.js';
import { WIDE_ZERO } from '../../../wide-zero.js';
import { createRows, type SegmentRows } from '../../rows.js';
import { giveUp } from '../acknowledge.js';
import type { ConnectionIdentity } from '../connections.js';
import type { Direction } from '../direction.js';
import type { ConnectionSnapshot, TcpConnection, TcpResults } from '../results.js';
import { WINDOW_MAX_BYTES } from '../sequence.js';
import { type Connection, createTracker, type Tracker } from '../tracker.js';
import { halfLoops, isNear, vantageByMarks, vantageOf } from '../vantage.js';
import type { ConnectionEnd, DirectionEnd, TcpMeasurement } from './metric.js';
import { Passes } from './passes.js';
import { snapshotOf } from './snapshot.js';

/** A connection silent for this long before the capture ended is taken to be over. */
const IDLE_END_NS = 60e9;
/** Rows tracked and measured before the next ones: so few that their columns stay in the processor's nearest cache. */
const ROWS_AT_ONCE = 512;

/** Tracks and measures on the thread that calls it. */
export class TcpMetrics implements TcpMeasurement {
  readonly #log: AnomalyLog;
  readonly #rows: SegmentRows;
  readonly #tracker: Tracker;
  readonly #passes: Passes;
  #latestNs = WIDE_ZERO;

  /** @param rows  all that will ever be measured */
  constructor(log: AnomalyLog, rows = createRows()) {
    this.#log = log;
    this.#rows = rows;
    this.#tracker = createTracker(rows, log);
    this.#passes = new Passes(rows);
  }

  nextRows(): SegmentRows {
    return this.#rows;
  }

  push({ count, firstFrame }: Pick<PacketBatch, 'count' | 'firstFrame'>): void {
    this.take(0, count, firstFrame);
  }

  /** Takes rows [from, to) of all; `zeroFrame`: number that a frame in row 0 would have. */
  take(from: number, to: number, zeroFrame: number): void {
    for (let at = from; at < to; at += ROWS_AT_ONCE) {
      const end = Math.min(to, at + ROWS_AT_ONCE);
      this.#tracker.push(at, end, zeroFrame);
      this.#passes.push(at, end, zeroFrame);
    }
    if (to > from) this.#latestNs = Math.max(this.#latestNs, this.#rows.tNs[to - 1]!);
  }

  forget(connection: number): void {
    this.#passes.forget(connection);
    this.#tracker.forget(connection);
  }

  /** The state of a connection whose id was not passed on. */
  connection(id: number): Connection {
    return this.#tracker.connection(id);
  }

  snapshot(connection: ConnectionIdentity): ConnectionSnapshot {
    return snapshotOf(this.#tracker.connection(connection.id), connection, this.#passes.timelines);
  }

  finish(identities: readonly ConnectionIdentity[], forgets = false): TcpResults {
    const ends: ConnectionEnd[] = [];
    const near = new Set<string>();
    const described = identities.map((identity) => {
      const connection = this.#tracker.connection(identity.id);
      for (const direction of connection.directions) this.#noteGaps(connection, direction);
      ends.push(endOf(connection));
      if (isNear(connection)) near.add(hostsOf(identity));
      const description = this.#describe(connection, identity);
      const byMarks = vantageByMarks(connection);
      if (forgets) this.#tracker.forget(identity.id); // its state makes room for the results
      return { description, byMarks };
    });
    const { directions, ...tables } = this.#passes.finish(ends);
    if (this.#passes.coarse > 0) this.#log.note('tcp/coarse-quantiles', {}, this.#passes.coarse);
    const connections = described.map(({ description, byMarks }, at) => {
      // Where one connection shows that two hosts are next to each other, no time tells the place.
      if (near.has(hostsOf(description))) description.vantage = byMarks;
      return Object.assign(description, { directions: directions[at]! });
    });
    return { connections, ...tables };
  }

  /** Gives up holes that the peer has acknowledged, and says what the capture lacks. */
  #noteGaps(connection: Connection, direction: Direction): void {
    const { holes } = direction;
    while (holes.count > 0 && holes.starts[0]! < direction.acked) {
      giveUp(direction, holes.starts[0]!, Math.min(holes.ends[0]!, direction.acked));
    }
    const where = { frame: connection.firstFrame, tNs: connection.startNs, direction: direction.id };
    if (direction.unseenBytes > 0) {
      this.#log.note('tcp/acked-unseen', { ...where, detail: `${direction.unseenBytes} bytes` });
    }
    const { unseen } = direction;
    for (let range = 0; range < unseen.count; range++) {
      if (unseen.ends[range]! - unseen.starts[range]! <= WINDOW_MAX_BYTES) continue;
      this.#log.note('tcp/sequence-ambiguous', where);
    }
    if (direction.transmitted.dropped + holes.merged + direction.sacked.merged > 0) {
      this.#log.note('tcp/approximate', where);
    }
    const other = connection.directions[1 - (direction.id & 1)]!;
    // Of a peer not seen at all an acknowledgement tells: a FIN takes one number (RFC 9293 §3.4), all beyond is data.
    if (!other.started && (direction.dataFrames > 0 || other.acked > 1)) this.#log.note('tcp/one-sided', where);
  }

  /** All but its directions. */
  #describe(connection: Connection, identity: ConnectionIdentity): Omit<TcpConnection, 'directions'> {
    const [first, second] = connection.directions;
    const { id, encapsulation, client, server, firstFrame, startNs } = identity;
    const clean = !connection.handshakeRepeated;
    const handshakeNs = connection.establishedNs - connection.synNs;
    const closed = connection.reset ? 'rst' : connection.closed ? 'fin' : null;
    const silentNs = this.#latestNs - connection.endNs;
    const known = first.synSent || second.synSent;
    return {
      id,
      encapsulation,
      client,
      server,
      firstFrame,
      startNs,
      transport: 'tcp',
      endNs: connection.endNs,
      handshakeRttNs: clean && handshakeNs >= 0 ? handshakeNs : null,
      endedBy: closed ?? (silentNs > IDLE_END_NS ? 'idle' : 'capture-end'),
      completeness: completeness(connection),
      closedFirstBy: connection.closedFirstBy < 0 ? null : connection.closedFirstBy === 0 ? 0 : 1,
      vantage: vantageOf(connection),
      options: {
        mss: [orNull(first.mss), orNull(second.mss)],
        windowScale: [orNull(first.windowScale), orNull(second.windowScale)],
        sack: first.sackPermitted && second.sackPermitted ? true : known && !first.sackUsable ? false : null,
        timestamps: timestamps(first, second),
      },
    };
  }
}

const hostsOf = ({ client, server }: Pick<ConnectionIdentity, 'client' | 'server'>): string =>
  [client.address, server.address].sort().join(' ');

function endOf(connection: Connection): ConnectionEnd {
  const vantage = vantageOf(connection);
  const end = (side: 0 | 1): DirectionEnd => {
    const own = connection.directions[side];
    const peer = connection.directions[1 - side]!;
    const { dataTwins, ackTwins, ipIds } = own;
    dataTwins.finish();
    ackTwins.finish();
    // No spread: a literal of many fields with one becomes a slow object of several kilobytes.
    const { toSenderNs, toReceiverNs } = halfLoops(connection, side);
    return {
      toSenderNs,
      toReceiverNs,
      atSender: vantage === 'unknown' || vantage === (side === 0 ? 'source' : 'destination'),
      peerSeen: peer.started,
      flightAtMost: own.isAtSender ? Number.NaN : own.flightAtMost,
      timestamps: own.timestamps,
      segmentBytes: own.segmentBytes,
      unseenBytes: own.unseenBytes,
      missingBytes: own.holes.bytes,
      missingPackets: ipIds.counting && !ipIds.constant ? ipIds.missing : null,
      overtaken: own.overtaken,
      overtakenFast: own.overtakenFast,
      duplicateAcks: own.duplicateAcks,
      selectiveAcks: own.selectiveAcks,
      duplicateReports: own.duplicateReports,
      revisedDataFrames: dataTwins.revised,
      revisedAckFrames: ackTwins.revised,
      revisedBytes: dataTwins.revisedBytes,
      windowUnit: peer.windowUnit,
      windowScaleInferred: peer.shiftInferred,
    };
  };
  return { id: connection.id, endNs: connection.endNs, directions: [end(0), end(1)] };
}

/** Source: Wireshark, tcp.completeness. */
function completeness({ synNs, synAckNs, establishedNs, reset, directions: [first, second] }: Connection): number {
  const seen = [
    !Number.isNaN(synNs),
    !Number.isNaN(synAckNs),
    !Number.isNaN(establishedNs),
    first.dataFrames + second.dataFrames > 0,
    first.finSent || second.finSent,
    reset,
  ];
  return seen.reduce((sum, yes, bit) => sum + (yes ? 2 ** bit : 0), 0);
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

function timestamps(first: Direction, second: Direction): boolean | null {
  if (first.timestamps || second.timestamps) return true;
  return first.synOptionsWhole || second.synOptionsWhole ? false : null;
}
