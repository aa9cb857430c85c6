// Flow: one conversation without TCP, and the contract of the transports that may run in it.
//
// A transport recognises its datagrams by content, keeps what state it needs for one flow, and reports the same events
// as TCP does: lost, reordered, retransmitted, round trip. The flow adds them up and keeps them over time.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { Timeline } from '../../columns.js';
import type { SegmentRows } from '../rows.js';
import type { OpaqueTransfer } from './opaque-transfer.js';
import type { UdpDirection, UdpEndpoint } from './results.js';

/** Facts of a finished flow by name, unit last; null where not known. */
export type Facts = Record<string, number | string | boolean | null>;

/** One transport: how it is recognised and how a flow of it is read. */
export interface Transport {
  readonly id: string;
  /** Whether this row, by itself, must belong to the transport. */
  recognise(batch: PacketBatch, rows: SegmentRows, row: number): boolean;
  /** State for a flow whose next row was just recognised. */
  open(flow: Flow): TransportFlow;
}

export interface TransportFlow {
  /** The transport's name, more exact than its id where the flow told (say 'srt'). */
  readonly name: string;
  /** Takes the next row of the flow; side 0 sent the flow's first datagram. Damage is counted, never thrown. */
  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void;
  /** Bulk transfers inside an encrypted tunnel; absent for transports that can be read. Called once, at the end. */
  transfers?(): readonly OpaqueTransfer[];
  /** Called once, when nothing more comes. */
  finish(): Facts;
}

/** Series of a flow's timeline, in order. */
const SERIES_CLIENT_BYTES = 0;
const SERIES_SERVER_BYTES = 1;
const SERIES_LOST = 2;
const SERIES_RETRANSMITTED = 3;
const SERIES_RTT_MIN = 4;

/** One flow while the capture is read; the client sent its first datagram. */
export class Flow {
  readonly directions: readonly [UdpDirection, UdpDirection] = [emptyDirection(), emptyDirection()];
  endNs: number;
  /** Frame and time of the row at hand. */
  frame: number;
  tNs: number;
  timeline: Timeline | null = null;
  transport: TransportFlow | null = null;
  /** Direction ids (of side 0) of the byte streams it carries. */
  readonly streams: number[] = [];
  /** Datagrams that no transport recognised so far. */
  unrecognised = 0;
  /** Wire bytes at which the flow next asks for a timeline. */
  timelineAskBytes: number;
  /** Round-trip samples: number, extremes and sum, ns. */
  #rttSamples = 0;
  #rttMinNs = Number.POSITIVE_INFINITY;
  #rttMaxNs = 0;
  #rttSumNs = 0;

  constructor(
    readonly id: number,
    readonly client: UdpEndpoint,
    readonly server: UdpEndpoint,
    readonly firstFrame: number,
    readonly startNs: number,
    timelineAskBytes: number,
  ) {
    this.endNs = startNs;
    this.frame = firstFrame;
    this.tNs = startNs;
    this.timelineAskBytes = timelineAskBytes;
  }

  get wireBytes(): number {
    return this.directions[0].wireBytes + this.directions[1].wireBytes;
  }

  count(side: 0 | 1, wireBytes: number, payloadBytes: number): void {
    const totals = this.directions[side]!;
    totals.frames++;
    totals.wireBytes += wireBytes;
    totals.payloadBytes += payloadBytes;
    if (this.timeline) {
      const bin = this.timeline.bin(this.tNs);
      const series = this.timeline.series[side === 0 ? SERIES_CLIENT_BYTES : SERIES_SERVER_BYTES]!;
      series[bin] = series[bin]! + wireBytes;
    }
  }

  startTimeline(): void {
    this.timeline = new Timeline(['sum', 'sum', 'sum', 'sum', 'min']);
  }

  // Events of transports, at the time of the row at hand. `side` is the one that sent the packets.

  /** The direction has a sequence: from now on its counts are known, not null. */
  sequenced(side: 0 | 1): void {
    const totals = this.directions[side]!;
    totals.lostPackets ??= 0;
    totals.reorderedPackets ??= 0;
    totals.retransmittedPackets ??= 0;
  }

  /** A negative number takes back what turned out to be late, not lost. */
  lost(side: 0 | 1, packets: number): void {
    const totals = this.directions[side]!;
    totals.lostPackets = (totals.lostPackets ?? 0) + packets;
    this.#mark(SERIES_LOST, packets);
  }

  reordered(side: 0 | 1, packets: number): void {
    const totals = this.directions[side]!;
    totals.reorderedPackets = (totals.reorderedPackets ?? 0) + packets;
  }

  retransmitted(side: 0 | 1, packets: number): void {
    const totals = this.directions[side]!;
    totals.retransmittedPackets = (totals.retransmittedPackets ?? 0) + packets;
    this.#mark(SERIES_RETRANSMITTED, packets);
  }

  roundTrip(ns: number): void {
    if (!(ns >= 0)) return;
    this.#rttSamples++;
    this.#rttSumNs += ns;
    if (ns < this.#rttMinNs) this.#rttMinNs = ns;
    if (ns > this.#rttMaxNs) this.#rttMaxNs = ns;
    if (this.timeline) {
      const bin = this.timeline.bin(this.tNs);
      const series = this.timeline.series[SERIES_RTT_MIN]!;
      const before = series[bin]!;
      if (!(before <= ns)) series[bin] = ns;
    }
  }

  rttFacts(): Facts {
    const known = this.#rttSamples > 0;
    return {
      rttSamples: this.#rttSamples,
      rttMinNs: known ? this.#rttMinNs : null,
      rttMeanNs: known ? this.#rttSumNs / this.#rttSamples : null,
      rttMaxNs: known ? this.#rttMaxNs : null,
    };
  }

  #mark(which: number, packets: number): void {
    if (!this.timeline) return;
    const bin = this.timeline.bin(this.tNs);
    const series = this.timeline.series[which]!;
    series[bin] = series[bin]! + packets;
  }
}

function emptyDirection(): UdpDirection {
  return {
    frames: 0,
    wireBytes: 0,
    payloadBytes: 0,
    lostPackets: null,
    reorderedPackets: null,
    retransmittedPackets: null,
  };
}
