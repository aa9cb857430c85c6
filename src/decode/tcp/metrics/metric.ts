// What a TCP metric is: an independent pass over annotated rows that fills its own fields of the result.
import type { PacketBatch } from '../../../capture/packet-batch.js';
import type { TableBuilder } from '../../../columns.js';
import type { SegmentRows } from '../../rows.js';
import type { Connection, Connections } from '../connections.js';
import type { TCP_EPISODE_UNITS, TCP_EVENT_UNITS, TCP_SEGMENT_UNITS, TcpDirection } from '../results.js';
import type { Timelines } from './timelines.js';

/** What all metrics share: the connections (read only), and the tables they write to. */
export interface MetricContext {
  readonly connections: Connections;
  readonly timelines: Timelines;
  readonly events: TableBuilder<keyof typeof TCP_EVENT_UNITS>;
  readonly episodes: TableBuilder<keyof typeof TCP_EPISODE_UNITS>;
  readonly segments: TableBuilder<keyof typeof TCP_SEGMENT_UNITS>;
}

export interface TcpMetric {
  /** Takes rows [from, to) of a batch; they come in order, some rows at a time. */
  push(batch: PacketBatch, rows: SegmentRows, from: number, to: number): void;
  /** A connection's id passes on to a new connection: its state goes. */
  forget(connection: number): void;
  /** Called once per connection at the end: closes what is open and fills this metric's fields of both directions. */
  fill(connection: Connection, into: readonly [TcpDirection, TcpDirection]): void;
}

export type StartMetric = (context: MetricContext) => TcpMetric;

/** State per direction id, made on first use. */
export class PerDirection<State> {
  readonly #states: (State | undefined)[] = [];
  readonly #make: () => State;

  constructor(make: () => State) {
    this.#make = make;
  }

  /** The state of `direction`, made when there is none. */
  at(direction: number): State {
    return this.#states[direction] ?? this.#add(direction);
  }

  find(direction: number): State | undefined {
    return this.#states[direction];
  }

  forget(connection: number): void {
    this.#states[2 * connection] = undefined;
    this.#states[2 * connection + 1] = undefined;
  }

  #add(direction: number): State {
    // Filled without gaps, the array stays a plain one.
    while (this.#states.length <= direction) this.#states.push(undefined);
    const state = this.#make();
    this.#states[direction] = state;
    return state;
  }
}
