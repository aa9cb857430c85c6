// What a TCP metric is: an independent pass over tracked rows that fills its own fields of the result.
//
// Metrics see rows while the capture is read, and at the end one small record of each connection. They never look at the
// connections themselves, nor at the bytes of frames, so they may run beside the tracker on a thread of its own (aside.ts).
import type { PacketBatch } from '../../../capture/packet-batch.js';
import type { ColumnData, TableBuilder } from '../../../columns.js';
import type { SegmentRows } from '../../rows.js';
import type { ConnectionIdentity } from '../connections.js';
import type {
  ConnectionSnapshot,
  TCP_EPISODE_UNITS,
  TCP_EVENT_UNITS,
  TCP_SEGMENT_UNITS,
  TcpDirection,
  TcpResults,
} from '../results.js';
import type { HalfLoops } from '../vantage.js';
import type { BucketRoom } from './histogram.js';
import type { Timelines } from './timelines.js';

/** What all metrics share: the rows they read, and the tables they write to. */
export interface MetricContext {
  /**
   * The same for as long as the analysis lasts. Metrics, and what goes before them, take the columns out of it once and keep
   * them as constants: V8 then compiles their addresses into the code instead of asking each array, for every value, what it is,
   * how long it is and where it lies.
   */
  readonly rows: SegmentRows;
  readonly timelines: Timelines;
  /** Room for the histograms of one metric. Of its own: what another one takes in between depends on how the input was cut. */
  readonly newRoom: () => BucketRoom;
  readonly events: TableBuilder<keyof typeof TCP_EVENT_UNITS>;
  readonly episodes: TableBuilder<keyof typeof TCP_EPISODE_UNITS>;
  readonly segments: TableBuilder<keyof typeof TCP_SEGMENT_UNITS>;
}

export interface TcpMetric {
  /** Takes rows [from, to), some at a time and in order. `zeroFrame`: number that a frame in row 0 would have. */
  push(from: number, to: number, zeroFrame: number): void;
  /** A connection's id passes on to a new connection: its state goes. */
  forget(connection: number): void;
  /** Called once per connection at the end: closes what is open and fills this metric's fields of both directions. */
  fill(connection: ConnectionEnd, into: readonly [TcpDirection, TcpDirection]): void;
}

export type StartMetric = (context: MetricContext) => TcpMetric;

/** What is known of a connection when the capture has ended, beyond what its rows said. Plain data. */
export interface ConnectionEnd {
  readonly id: number;
  readonly endNs: number;
  readonly directions: readonly [DirectionEnd, DirectionEnd];
}

/** The same of one direction; its own frames unless said otherwise. NaN is "not known". */
export interface DirectionEnd extends HalfLoops {
  /** The frames were captured at this side, or that is not known. */
  readonly atSender: boolean;
  /** The capture has frames of the other side. */
  readonly peerSeen: boolean;
  /** The most that may have been in flight where the frames were captured away from this side, bytes. */
  readonly flightAtMost: number;
  /** Frames of this side carry timestamps. */
  readonly timestamps: boolean;
  /** Payload of a full segment on the wire. */
  readonly segmentBytes: number;
  /** Bytes that the capture lost, and bytes that nobody has seen. */
  readonly unseenBytes: number;
  readonly missingBytes: number;
  /** Packets that did not come by although their identifications were counted; null where those tell nothing. */
  readonly missingPackets: number | null;
  /** Retransmissions lost before the capture point, segments, and those of them that no timeout triggered. */
  readonly overtaken: number;
  readonly overtakenFast: number;
  /** Acknowledgements of this direction that its peer repeated. */
  readonly duplicateAcks: number;
  /** Those that report blocks beyond a hole, and those that report a duplicate. */
  readonly selectiveAcks: number;
  readonly duplicateReports: number;
  /** Twins that turned out to be the capture's: frames with payload and without, and payload. */
  readonly revisedDataFrames: number;
  readonly revisedAckFrames: number;
  readonly revisedBytes: number;
  /** 2^shift of the windows that the peer advertises to this side, and whether it was inferred. */
  readonly windowUnit: number;
  readonly windowScaleInferred: boolean;
}

/** What all metrics together found out. */
export interface MetricResults {
  /** In the order of the connections asked for. */
  readonly directions: readonly [TcpDirection, TcpDirection][];
  readonly timeline: ColumnData;
  readonly events: ColumnData;
  readonly episodes: ColumnData;
  readonly segments: ColumnData;
}

/** What becomes of rows that know their place: they are tracked and measured, here or on another thread. */
export interface TcpMeasurement {
  /** Rows for the next batch. They may be used until the next ones are asked for; see SegmentRows for who writes what. */
  nextRows(): SegmentRows;
  /** Takes a batch whose rows, the latest from `nextRows()`, know where they belong. */
  push(batch: Pick<PacketBatch, 'count' | 'firstFrame'>): void;
  /** The connection's id passes on to a new connection before the next batch. */
  forget(connection: number): void;
  /** How a connection fares right now; `sentBytes` by its two sides, as far as their places tell. */
  snapshot(connection: ConnectionIdentity, sentBytes: readonly [number, number]): ConnectionSnapshot;
  /**
   * Once; `connections` are those whose results are wanted.
   *
   * @param forgets  nobody will ask for the state of a connection: it goes before the results come
   */
  finish(connections: readonly ConnectionIdentity[], forgets?: boolean): TcpResults;
}

/** State per direction id, made on first use. */
export class PerDirection<State> {
  readonly #states: (State | undefined)[] = [];
  readonly #make: () => State;
  readonly #release: (state: State) => void;

  /** @param release  what is to be done with a state that is forgotten */
  constructor(make: () => State, release: (state: State) => void = () => {}) {
    this.#make = make;
    this.#release = release;
  }

  /** The state of `direction`, made when there is none. */
  at(direction: number): State {
    return this.#states[direction] ?? this.#add(direction);
  }

  find(direction: number): State | undefined {
    return this.#states[direction];
  }

  forget(connection: number): void {
    for (let direction = 2 * connection; direction < 2 * connection + 2; direction++) {
      const state = this.#states[direction];
      if (state === undefined) continue;
      this.#release(state);
      this.#states[direction] = undefined;
    }
  }

  #add(direction: number): State {
    // Filled without gaps, the array stays a plain one.
    while (this.#states.length <= direction) this.#states.push(undefined);
    const state = this.#make();
    this.#states[direction] = state;
    return state;
  }
}
