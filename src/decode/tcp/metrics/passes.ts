// The list of TCP metrics, and what runs them over rows and puts their tables together.
import { TableBuilder } from '../../../columns.js';
import { EVENT_ROWS } from '../../../limits.js';
import type { SegmentRows } from '../../rows.js';
import { TCP_EPISODE_UNITS, TCP_EVENT_UNITS, TCP_SEGMENT_UNITS, type TcpDirection } from '../results.js';
import { congestionControl } from './congestion-control.js';
import { weighEpisodes } from './episodes.js';
import { BucketRoom } from './histogram.js';
import { inFlight } from './in-flight.js';
import { limits } from './limits.js';
import type { ConnectionEnd, DirectionEnd, MetricResults, StartMetric, TcpMetric } from './metric.js';
import { retransmissions } from './retransmissions.js';
import { rhythm } from './rhythm.js';
import { roundTrip } from './round-trip.js';
import { segments } from './segments.js';
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

/** Runs every metric over rows that were tracked. */
export class Passes {
  readonly timelines = new Timelines();
  readonly #events = new TableBuilder(TCP_EVENT_UNITS, EVENT_ROWS);
  readonly #episodes = new TableBuilder(TCP_EPISODE_UNITS, EVENT_ROWS);
  readonly #segments = new TableBuilder(TCP_SEGMENT_UNITS, EVENT_ROWS);
  readonly #metrics: readonly TcpMetric[];
  readonly #rooms: BucketRoom[] = [];

  /** @param rows  all that will ever be measured */
  constructor(rows: SegmentRows) {
    const context = {
      rows,
      timelines: this.timelines,
      newRoom: () => {
        const room = new BucketRoom();
        this.#rooms.push(room);
        return room;
      },
      events: this.#events,
      episodes: this.#episodes,
      segments: this.#segments,
    };
    this.#metrics = METRICS.map((start) => start(context));
  }

  /** Histograms whose quantiles are rough, for want of memory. */
  get coarse(): number {
    return this.#rooms.reduce((sum, { coarse }) => sum + coarse, 0);
  }

  /** Takes rows [from, to), see TcpMetric. */
  push(from: number, to: number, zeroFrame: number): void {
    for (const metric of this.#metrics) metric.push(from, to, zeroFrame);
  }

  forget(connection: number): void {
    for (const metric of this.#metrics) metric.forget(connection);
    this.timelines.forget(connection);
  }

  finish(connections: readonly ConnectionEnd[]): MetricResults {
    const directions = connections.map((connection) => {
      const both: [TcpDirection, TcpDirection] = [emptyDirection(), emptyDirection()];
      for (const metric of this.#metrics) {
        metric.fill(connection, both);
        metric.forget(connection.id); // its state makes room for the results
      }
      return both;
    });
    const byId = new Map(connections.map((connection) => [connection.id, connection]));
    const endOf = (direction: number): DirectionEnd => byId.get(direction >>> 1)!.directions[direction & 1]!;
    weighEpisodes(this.#episodes, this.timelines, endOf);
    return {
      directions,
      timeline: this.timelines.finish((direction) => viewOf(endOf(direction))),
      // Passes take turns, some rows each: which of them came first depends on how the input was cut into batches.
      events: this.#events.finish('frame', 'direction', 'kind'),
      episodes: this.#episodes.finish('startNs', 'firstFrame', 'direction', 'kind'),
      segments: this.#segments.finish(),
    };
  }
}

/** How the bins of a direction are to be read: which half of the round trip is long, and what the other one adds. */
function viewOf({ toSenderNs, toReceiverNs, windowUnit }: DirectionEnd): TimelineView {
  const loop = toSenderNs > toReceiverNs ? 'echo' : 'ack';
  const other = loop === 'ack' ? toSenderNs : toReceiverNs;
  return { windowScale: windowUnit, loop, addNs: Number.isNaN(other) ? 0 : other };
}

/** A direction of which nothing was sent and nothing is known. */
export const emptyDirection = (): TcpDirection => ({
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
  selectiveAcks: 0,
  duplicateReports: 0,
  windowProbes: 0,
  keepAlives: 0,
  zeroWindow: { episodes: 0, totalNs: 0 },
  rttNs: null,
  queueingNs: null,
  rttSmoothedNs: null,
  window: null,
  inFlight: null,
  inFlightDoubt: null,
  throughput: 0,
  goodput: 0,
  busyNs: null,
  goodputBusy: null,
  goodputPeaks: null,
  firstDataNs: null,
  lastDataNs: null,
  ackedBytes: null,
  wireBytes: null,
  wireRate: null,
  overheads: null,
  ecn: { congestionMarks: 0, echoes: 0, windowReductions: 0, accurate: false },
  windowScaleInferred: false,
  windowShrinks: 0,
  windowUpdates: 0,
  windowUse: null,
  windowHighUseNs: null,
  frozenEdge: null,
  pipe: null,
  lateOriginals: 0,
  inferredRetransmissions: 0,
  retransmittedAtLeast: false,
  rhythm: null,
  comb: null,
  pacingRate: null,
  bottleneckRate: null,
  limitSummary: null,
  congestionControl: null,
  limitedBy: null,
});
