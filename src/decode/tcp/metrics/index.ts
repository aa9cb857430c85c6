// The list of TCP metrics, and what runs them and puts their answers together.
import type { AnomalyLog } from '../../../anomaly.js';
import type { PacketBatch } from '../../../capture/packet-batch.js';
import { TableBuilder } from '../../../columns.js';
import { EVENT_ROWS } from '../../../limits.js';
import type { SegmentRows } from '../../rows.js';
import { giveUp } from '../acknowledge.js';
import type { Connection, Connections } from '../connections.js';
import type { Direction } from '../direction.js';
import {
  type ConnectionSnapshot,
  TCP_EPISODE_UNITS,
  TCP_EVENT_UNITS,
  TCP_SEGMENT_UNITS,
  type TcpConnection,
  type TcpDirection,
  type TcpResults,
} from '../results.js';
import { WINDOW_MAX_BYTES } from '../sequence.js';
import { halfLoops, isNear, vantageByMarks, vantageOf } from '../vantage.js';
import { congestionControl } from './congestion-control.js';
import { inFlight } from './in-flight.js';
import { limits } from './limits.js';
import type { MetricContext, StartMetric, TcpMetric } from './metric.js';
import { retransmissions } from './retransmissions.js';
import { rhythm } from './rhythm.js';
import { roundTrip } from './round-trip.js';
import { segments } from './segments.js';
import { snapshotOf } from './snapshot.js';
import { throughput } from './throughput.js';
import { Timelines, type TimelineView } from './timelines.js';
import { windows } from './windows.js';

/** All metrics. `throughput` comes first: it gives directions their timelines. */
const METRICS: readonly StartMetric[] = [
  throughput,
  retransmissions,
  windows,
  inFlight,
  roundTrip,
  limits,
  rhythm,
  congestionControl,
  segments,
];

/** Rows that every metric sees before the next ones: so few that their columns stay in the processor's nearest cache. */
const ROWS_AT_ONCE = 256;

/** A connection silent for this long before the capture ended is taken to be over. */
const IDLE_END_NS = 60e9;

/** Runs every metric over annotated rows; finish() once. */
export class TcpMetrics {
  readonly #connections: Connections;
  readonly #log: AnomalyLog;
  readonly #context: MetricContext;
  readonly #metrics: readonly TcpMetric[];
  #latestNs = 0;

  constructor(connections: Connections, log: AnomalyLog) {
    this.#connections = connections;
    this.#log = log;
    this.#context = {
      connections,
      timelines: new Timelines(),
      events: new TableBuilder(TCP_EVENT_UNITS, EVENT_ROWS),
      episodes: new TableBuilder(TCP_EPISODE_UNITS, EVENT_ROWS),
      segments: new TableBuilder(TCP_SEGMENT_UNITS, EVENT_ROWS),
    };
    this.#metrics = METRICS.map((start) => start(this.#context));
    connections.onReplaced((id) => {
      for (const metric of this.#metrics) metric.forget(id);
      this.#context.timelines.forget(id);
    });
  }

  /** Takes a batch whose rows are annotated. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    for (let from = 0; from < batch.count; from += ROWS_AT_ONCE) {
      const to = Math.min(batch.count, from + ROWS_AT_ONCE);
      for (const metric of this.#metrics) metric.push(batch, rows, from, to);
    }
    if (batch.count > 0) this.#latestNs = Math.max(this.#latestNs, batch.tNs[batch.count - 1]!);
  }

  /** How connection `id` fares right now. */
  snapshot(id: number): ConnectionSnapshot {
    return snapshotOf(this.#connections.connection(id), this.#connections.identity(id), this.#context.timelines);
  }

  /** Ids of the `count` connections that carried most so far, the busiest first. */
  busiest(count: number): number[] {
    const carried = (id: number): number => {
      const [first, second] = this.#connections.connection(id).directions;
      return first.sentMax + second.sentMax;
    };
    const ids = Array.from({ length: this.#connections.count }, (_, id) => id);
    const live = ids.filter((id) => !this.#connections.connection(id).evicted);
    return live.sort((a, b) => carried(b) - carried(a)).slice(0, count);
  }

  finish(): TcpResults {
    this.#connections.trim();
    const connections: TcpConnection[] = [];
    for (let id = 0; id < this.#connections.count; id++) {
      const connection = this.#connections.connection(id);
      if (connection.evicted) continue;
      for (const direction of connection.directions) this.#noteGaps(connection, direction);
      const directions: [TcpDirection, TcpDirection] = [emptyDirection(), emptyDirection()];
      for (const metric of this.#metrics) metric.fill(connection, directions);
      connections.push(this.#describe(connection, directions));
    }
    this.#doubtVantage(connections);
    const { timelines, events, episodes, segments } = this.#context;
    return {
      connections,
      timeline: timelines.finish((direction) => this.#view(direction)),
      events: events.finish(),
      episodes: episodes.finish(),
      segments: segments.finish(),
    };
  }

  /** Where one connection shows that two hosts are next to each other, no time tells the place. */
  #doubtVantage(connections: readonly TcpConnection[]): void {
    const pair = ({ client, server }: TcpConnection): string => [client.address, server.address].sort().join(' ');
    const near = new Set(connections.filter(({ id }) => isNear(this.#connections.connection(id))).map(pair));
    for (const connection of connections) {
      if (near.has(pair(connection))) connection.vantage = vantageByMarks(this.#connections.connection(connection.id));
    }
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
    if (direction.dataFrames > 0 && !other.started) this.#log.note('tcp/one-sided', where);
  }

  #describe(connection: Connection, directions: [TcpDirection, TcpDirection]): TcpConnection {
    const [first, second] = connection.directions;
    const identity = this.#connections.identity(connection.id);
    const clean = !connection.handshakeRepeated;
    const handshakeNs = connection.establishedNs - connection.synNs;
    const closed = connection.reset ? 'rst' : connection.closed ? 'fin' : null;
    const silentNs = this.#latestNs - connection.endNs;
    const known = first.synSent || second.synSent;
    return {
      ...identity,
      transport: 'tcp',
      endNs: connection.endNs,
      handshakeRttNs: clean && handshakeNs >= 0 ? handshakeNs : null,
      endedBy: closed ?? (silentNs > IDLE_END_NS ? 'idle' : 'capture-end'),
      closedFirstBy: connection.closedFirstBy < 0 ? null : connection.closedFirstBy === 0 ? 0 : 1,
      vantage: vantageOf(connection),
      options: {
        mss: [orNull(first.mss), orNull(second.mss)],
        windowScale: [orNull(first.windowScale), orNull(second.windowScale)],
        sack: first.sackPermitted && second.sackPermitted ? true : known && !first.sackUsable ? false : null,
        timestamps: timestamps(first, second),
      },
      directions,
    };
  }

  #view(id: number): TimelineView {
    const connection = this.#connections.connection(id >>> 1);
    const side = id & 1 ? 1 : 0;
    const { toSenderNs, toReceiverNs } = halfLoops(connection, side);
    const loop = toSenderNs > toReceiverNs ? 'echo' : 'ack';
    const other = loop === 'ack' ? toSenderNs : toReceiverNs;
    return {
      windowScale: 2 ** connection.directions[1 - side]!.shift,
      loop,
      addNs: Number.isNaN(other) ? 0 : other,
    };
  }
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

function timestamps(first: Direction, second: Direction): boolean | null {
  if (first.timestamps || second.timestamps) return true;
  return first.synOptionsWhole || second.synOptionsWhole ? false : null;
}

const emptyDirection = (): TcpDirection => ({
  frames: 0,
  dataFrames: 0,
  wireSegments: 0,
  payloadBytes: 0,
  uniqueBytes: 0,
  unseenBytes: 0,
  retransmittedSegments: 0,
  retransmittedBytes: 0,
  retransmissions: { fast: 0, timeout: 0, tailLossProbe: 0, spurious: 0, other: 0 },
  outOfOrderSegments: 0,
  networkDuplicates: 0,
  captureDuplicates: 0,
  duplicateAcks: 0,
  windowProbes: 0,
  keepAlives: 0,
  zeroWindow: { episodes: 0, totalNs: 0 },
  rttNs: null,
  window: null,
  inFlight: null,
  throughput: 0,
  goodput: 0,
  firstDataNs: null,
  lastDataNs: null,
  ackedBytes: null,
  wireBytes: null,
  ecn: { congestionMarks: 0, echoes: 0, windowReductions: 0 },
  windowScaleInferred: false,
  windowShrinks: 0,
  pipe: null,
  lateOriginals: 0,
  inferredRetransmissions: 0,
  rhythm: null,
  comb: null,
  pacingRate: null,
  limitSummary: null,
  congestionControl: null,
  limitedBy: null,
});
