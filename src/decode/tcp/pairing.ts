// Pairing: two captures of one run, one at each host, put side by side.
//
// A frame is found in the other capture by what the path leaves unchanged: addresses and ports, sequence number,
// timestamp value and IP identification. Offloads cut the stream differently at the two hosts, so a frame of one side may
// match several of the other, and bytes are matched, not frames. What one side sent and the other never saw was lost on
// the way; unless the receiver acknowledged it all the same, then the other capture lost it.
//
// The clocks of the hosts differ. The smallest delay seen each way is the path's own, taken to be the same both ways; half
// the difference of the two is the offset of the clocks, and how that changes over the run is their drift. Queues only
// add to delays, so minima are what to trust.
import { type ColumnData, TableBuilder } from '../../columns.js';
import { EVENT_ROWS } from '../../limits.js';
import { VERDICT_CONTROL, VERDICT_NONE, VERDICT_RETRANSMISSION } from '../rows.js';
import type { Connections } from './connections.js';
import type { FrameLog } from './frame-log.js';
import { IpIds } from './ip-ids.js';
import { LogHistogram } from './metrics/histogram.js';
import type { Quantiles } from './results.js';
import type { Connection } from './tracker.js';

/** One of the two captures, analysed. */
export interface PairedCapture {
  readonly log: FrameLog;
  readonly connections: Connections;
  /** The state of a connection at the end of the capture. */
  readonly connection: (id: number) => Connection;
  /** Absolute time of its first frame; null when it has none. */
  readonly epochNs: bigint | null;
}

/** Clock of the second capture against that of the first. */
export interface ClockComparison {
  /** How far the second clock is ahead at the start of the first capture, ns. */
  readonly offsetNs: number;
  /** How much faster the second clock runs, parts in a million; null when the run is too short to tell. */
  readonly driftPpm: number | null;
  /** Least delay both ways together, ns; the offset is uncertain by half of it at most. */
  readonly roundTripMinNs: number;
}

/** What became of what one side of one connection sent. */
export interface PairedDirection {
  /** Direction ids in the capture at the sender and in the one at the receiver. */
  readonly sentIn: number;
  readonly receivedIn: number;
  readonly sentFrames: number;
  readonly sentBytes: number;
  /** Payload bytes that were found at the other side. */
  readonly arrivedBytes: number;
  readonly lostBytes: number;
  /** Bytes that the other capture does not show although the receiver acknowledged them and nobody sent them again. */
  readonly uncapturedBytes: number;
  /** Bytes sent after the capture at the receiver had ended. */
  readonly unjudgedBytes: number;
  /** Bytes that came more than once for one time sent. */
  readonly duplicatedBytes: number;
  /** One-way delay above its minimum, ns. */
  readonly delayVariationNs: Quantiles | null;
}

export interface PairedConnection {
  /** Connection ids in the first and in the second capture. */
  readonly first: number;
  readonly second: number;
  readonly directions: readonly PairedDirection[];
}

const LOSS_UNITS = {
  direction: 'direction id in the capture at the sender',
  frame: 'frame number in the capture at the sender',
  tNs: 'ns',
  offset: 'bytes',
  bytes: 'bytes',
  retransmission: '1 when what was lost was a retransmission',
} as const;

export interface Pairing {
  readonly connections: readonly PairedConnection[];
  readonly clock: ClockComparison | null;
  /** Every piece of payload that was sent and did not arrive, in the order sent. */
  readonly losses: ColumnData;
}

/** Parts of the run whose minima are compared for the drift. */
const DRIFT_PARTS = 32;
const DRIFT_RUN_NS = 10e9;
const DRIFT_PARTS_MIN = 8;
/** What a queue may add to the offset of a part, as a share of the run. */
const DRIFT_ERROR = 10e-6;
/** Frames of one byte range looked at to find the copy meant. */
const CANDIDATES = 64;
/** Largest payload of an offloaded frame (BIG TCP). */
const PAYLOAD_MAX = 1 << 19;

/**
 * Compares the capture at one host with that at the other. Which is which does not matter: of each direction the capture
 * that is nearer to the sender is taken as sent.
 *
 * Connections without a counterpart are left out. Never throws; an empty result says that nothing matched.
 */
export function pair(first: PairedCapture, second: PairedCapture): Pairing {
  const losses = new TableBuilder(LOSS_UNITS, EVENT_ROWS);
  const clocks = new Clocks();
  const found: Matched[] = [];
  for (const [a, b] of counterparts(first.connections, second.connections)) {
    const nearFirst = toClient(first.connection(a)) <= toClient(second.connection(b));
    for (const side of [0, 1] as const) {
      const sentFirst = nearFirst === (side === 0);
      const [from, to] = sentFirst ? [first, second] : [second, first];
      const ids = { first: a, second: b };
      found.push(
        match(ids, from, to, 2 * (sentFirst ? a : b) + side, 2 * (sentFirst ? b : a) + side, sentFirst, clocks),
      );
    }
  }
  const clock = clocks.compare(epochGap(first, second));
  const connections = new Map<number, PairedConnection & { directions: PairedDirection[] }>();
  for (const direction of found) {
    const entry = connections.get(direction.ids.first) ?? { ...direction.ids, directions: [] };
    entry.directions.push(conclude(direction, losses, clocks));
    connections.set(direction.ids.first, entry);
  }
  return { connections: [...connections.values()], clock, losses: losses.finish() };
}

/** Nanoseconds that the second capture began after the first, by their own clocks. */
const epochGap = (first: PairedCapture, second: PairedCapture): number =>
  first.epochNs === null || second.epochNs === null ? 0 : Number(second.epochNs - first.epochNs);

/** Pairs of connection ids with the same endpoints; of several on the same ones, in the order they began. */
function counterparts(first: Connections, second: Connections): [number, number][] {
  const names = (connections: Connections): Map<string, number[]> => {
    const byName = new Map<string, number[]>();
    for (const id of connections.ids()) {
      const { client, server } = connections.identity(id);
      const ends = [`${client.address} ${client.port}`, `${server.address} ${server.port}`];
      const name = ends.join(' ');
      byName.set(name, [...(byName.get(name) ?? []), id]);
    }
    return byName;
  };
  const others = names(second);
  return [...names(first)].flatMap(([name, ids]) => {
    const matching = others.get(name) ?? [];
    return ids.slice(0, matching.length).map((id, n): [number, number] => [id, matching[n]!]);
  });
}

/** Least time to the client and back: the capture with less is the one at the client. */
function toClient({ directions: [client, server] }: Connection): number {
  const loops = [client.echoLoopMinNs, server.ackLoopMinNs].filter((ns) => !Number.isNaN(ns));
  return loops.length > 0 ? Math.min(...loops) : Number.POSITIVE_INFINITY;
}

interface Matched {
  readonly ids: { readonly first: number; readonly second: number };
  readonly from: PairedCapture;
  readonly sentIn: number;
  readonly receivedIn: number;
  readonly sentFirst: boolean;
  /** Frames with payload at the sender, by stream offset, as rows of its log. */
  readonly sent: Uint32Array;
  /** Of each: bytes found at the receiver, and the delay of the first of them by the two raw clocks. */
  readonly arrived: Float64Array;
  readonly delayNs: Float64Array;
  readonly duplicatedBytes: number;
  /** Highest offset the receiver acknowledged. */
  readonly acked: number;
  /** Frames sent later than this are not judged: the capture at the receiver had ended. */
  readonly judgedToNs: number;
}

/** Finds every frame of one direction in the capture at the receiver. */
function match(
  ids: Matched['ids'],
  from: PairedCapture,
  to: PairedCapture,
  sentIn: number,
  receivedIn: number,
  sentFirst: boolean,
  clocks: Clocks,
): Matched {
  const here = from.log;
  const there = to.log;
  const sender = from.connection(sentIn >>> 1).directions[sentIn & 1]!;
  const receiver = to.connection(receivedIn >>> 1).directions[receivedIn & 1]!;
  // Both captures count offsets from the first byte they saw: the raw numbers of offset 0 tell them apart.
  const shift = (receiver.nextSeq - sender.nextSeq + (sender.sentMax - receiver.sentMax)) | 0;
  const sent = rowsOf(here, sentIn, true).sort((a, b) => here.offset[a]! - here.offset[b]! || a - b);
  const arrived = new Float64Array(sent.length);
  const delayNs = new Float64Array(sent.length).fill(Number.NaN);
  let duplicatedBytes = 0;
  const received = rowsOf(there, receivedIn, true);
  const segmentBytes = sender.segmentBytes > 0 ? sender.segmentBytes : PAYLOAD_MAX;
  for (const row of received) {
    const start = there.offset[row]! + shift;
    const end = start + there.payloadLen[row]!;
    for (let at = start; at < end; ) {
      const entry = find(here, sent, arrived, at, there, row, sender.ipIds, segmentBytes);
      if (entry < 0) break;
      const source = sent[entry]!;
      const stop = Math.min(end, here.offset[source]! + here.payloadLen[source]!);
      const fresh = Math.min(stop - at, here.payloadLen[source]! - arrived[entry]!);
      arrived[entry]! += fresh;
      duplicatedBytes += stop - at - fresh;
      if (Number.isNaN(delayNs[entry]!)) {
        delayNs[entry] = there.tNs[row]! - here.tNs[source]!;
        clocks.sample(sentFirst, sentFirst ? here.tNs[source]! : there.tNs[row]!, delayNs[entry]!);
      }
      at = stop;
    }
  }
  matchBare(here, there, sentIn, receivedIn, sentFirst, clocks);
  // The sender got acknowledgements that the other capture does not show: that one ended first.
  const endedEarly = sender.acked > receiver.acked + shift;
  let judgedToNs = endedEarly ? 0 : Number.POSITIVE_INFINITY;
  for (let entry = 0; entry < sent.length && endedEarly; entry++) {
    if (arrived[entry]! > 0) judgedToNs = Math.max(judgedToNs, here.tNs[sent[entry]!]!);
  }
  return {
    judgedToNs,
    ids,
    from,
    sentIn,
    receivedIn,
    sentFirst,
    sent,
    arrived,
    delayNs,
    duplicatedBytes,
    acked: sender.acked,
  };
}

/** The frame among `sent` (by offset) that carried byte `offset` as it arrived in `row`; −1 when there is none. */
function find(
  here: FrameLog,
  sent: Uint32Array,
  arrived: Float64Array,
  offset: number,
  there: FrameLog,
  row: number,
  ipIds: IpIds,
  segmentBytes: number,
): number {
  let low = 0;
  let high = sent.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (here.offset[sent[middle]!]! <= offset) low = middle + 1;
    else high = middle;
  }
  let best = -1;
  for (let entry = low - 1; entry >= 0 && entry >= low - CANDIDATES; entry--) {
    const source = sent[entry]!;
    const start = here.offset[source]!;
    if (start < offset - PAYLOAD_MAX) break;
    if (start + here.payloadLen[source]! <= offset || here.tsValue[source] !== there.tsValue[row]) continue;
    if (ipIds.counting && !ipIds.constant) {
      // Segment n of an offloaded frame carries the frame's identification plus n.
      const expected = (here.ipId[source]! + Math.floor((offset - start) / segmentBytes)) & 0xffff;
      if (expected === there.ipId[row]) return entry;
      if (!IpIds.isOlder(expected, (there.ipId[row]! + 2) & 0xffff) || segmentBytes === PAYLOAD_MAX) continue;
      if (here.payloadLen[source] !== there.payloadLen[row]) best = entry;
      continue;
    }
    // Without identification the oldest copy that is still missing is the one.
    if (best < 0 || arrived[entry]! < here.payloadLen[source]!) best = entry;
  }
  return best;
}

/** Frames without payload: they say nothing about loss of data, but how long the way takes. */
function matchBare(
  here: FrameLog,
  there: FrameLog,
  sentIn: number,
  receivedIn: number,
  sentFirst: boolean,
  clocks: Clocks,
): void {
  const key = (log: FrameLog, row: number): number =>
    log.tsValue[row]! * 0x1_0000 + (log.ipId[row]! || log.ack[row]! & 0xffff);
  const rows = new Map<number, number>();
  for (const row of rowsOf(here, sentIn, false)) if (!rows.has(key(here, row))) rows.set(key(here, row), row);
  for (const row of rowsOf(there, receivedIn, false)) {
    const source = rows.get(key(there, row));
    if (source === undefined || here.ack[source] !== there.ack[row]) continue;
    rows.delete(key(there, row));
    clocks.sample(sentFirst, sentFirst ? here.tNs[source]! : there.tNs[row]!, there.tNs[row]! - here.tNs[source]!);
  }
}

/** Rows of one direction, with payload or without. */
function rowsOf(log: FrameLog, direction: number, withPayload: boolean): Uint32Array {
  const rows = new Uint32Array(log.count);
  let count = 0;
  for (let row = 0; row < log.count; row++) {
    if (log.direction[row] !== direction) continue;
    const bare = log.verdict[row] === VERDICT_NONE || log.verdict[row] === VERDICT_CONTROL;
    if (withPayload ? log.payloadLen[row]! > 0 : bare && log.payloadLen[row] === 0) rows[count++] = row;
  }
  return rows.slice(0, count);
}

/** Losses and delays of one direction. */
function conclude(matched: Matched, losses: TableBuilder<keyof typeof LOSS_UNITS>, clocks: Clocks): PairedDirection {
  const { from, sent, arrived, delayNs, sentFirst, acked } = matched;
  const { log } = from;
  const variation = new LogHistogram();
  let sentBytes = 0;
  let arrivedBytes = 0;
  let uncapturedBytes = 0;
  let unjudgedBytes = 0;
  const lost: number[] = [];
  for (let entry = 0; entry < sent.length; entry++) {
    const row = sent[entry]!;
    sentBytes += log.payloadLen[row]!;
    arrivedBytes += arrived[entry]!;
    variation.add(clocks.above(sentFirst, log.tNs[row]!, delayNs[entry]!));
    const missing = log.payloadLen[row]! - arrived[entry]!;
    if (missing === 0) continue;
    if (log.tNs[row]! > matched.judgedToNs) unjudgedBytes += missing;
    else if (wasAckedOnly(log, sent, entry, acked)) uncapturedBytes += missing;
    else lost.push(entry);
  }
  lost.sort((a, b) => sent[a]! - sent[b]!);
  for (const entry of lost) {
    const row = sent[entry]!;
    const retransmission = log.verdict[row] === VERDICT_RETRANSMISSION ? 1 : 0;
    const missing = log.payloadLen[row]! - arrived[entry]!;
    losses.add(matched.sentIn, log.frame[row]!, log.tNs[row]!, log.offset[row]!, missing, retransmission);
  }
  return {
    sentIn: matched.sentIn,
    receivedIn: matched.receivedIn,
    sentFrames: sent.length,
    sentBytes,
    arrivedBytes,
    lostBytes: sentBytes - arrivedBytes - uncapturedBytes - unjudgedBytes,
    uncapturedBytes,
    unjudgedBytes,
    duplicatedBytes: matched.duplicatedBytes,
    delayVariationNs: variation.quantiles(),
  };
}

/** Acknowledged although it was sent only once and that one was not seen: the receiver got it, its capture did not. */
function wasAckedOnly(log: FrameLog, sent: Uint32Array, entry: number, acked: number): boolean {
  const row = sent[entry]!;
  const start = log.offset[row]!;
  const end = start + log.payloadLen[row]!;
  if (end > acked) return false;
  const overlaps = (other: number): boolean => {
    const near = sent[other];
    if (near === undefined) return false;
    return log.offset[near]! < end && log.offset[near]! + log.payloadLen[near]! > start;
  };
  return !overlaps(entry - 1) && !overlaps(entry + 1);
}

/** Delays both ways by the raw clocks of the two captures, times by the clock of the first one. */
class Clocks {
  readonly #samples: { tNs: number[]; delayNs: number[] }[] = [
    { tNs: [], delayNs: [] },
    { tNs: [], delayNs: [] },
  ];
  /** Least delay each way, and how much it grows per ns. */
  #floor = [Number.NaN, Number.NaN];
  #slope = 0;

  sample(sentFirst: boolean, tNs: number, delayNs: number): void {
    const way = this.#samples[sentFirst ? 0 : 1]!;
    way.tNs.push(tNs);
    way.delayNs.push(delayNs);
  }

  /** Offset and drift; null without frames both ways. `gapNs` is what the captures' epochs differ. */
  compare(gapNs: number): ClockComparison | null {
    const [forth, back] = this.#samples as [Samples, Samples];
    if (forth.tNs.length === 0 || back.tNs.length === 0) return null;
    const drift = this.#drift(forth, back);
    this.#slope = drift ?? 0;
    this.#floor = [least(forth, this.#slope), least(back, -this.#slope)];
    const [there, here] = this.#floor as [number, number];
    return {
      offsetNs: (there - here) / 2 + gapNs,
      driftPpm: drift === null ? null : drift * 1e6,
      roundTripMinNs: there + here,
    };
  }

  /** Delay above the least one of its way, drift taken out. */
  above(sentFirst: boolean, tNs: number, delayNs: number): number {
    const way = sentFirst ? 0 : 1;
    return Math.max(0, delayNs - this.#floor[way]! - (sentFirst ? this.#slope : -this.#slope) * tNs);
  }

  /** Slope of the offset over the run: a line through the minima of those parts that saw the path empty, by least squares. */
  #drift(forth: Samples, back: Samples): number | null {
    const startNs = Math.min(first(forth), first(back));
    const endNs = Math.max(last(forth), last(back));
    if (endNs - startNs < DRIFT_RUN_NS) return null;
    const minima = [forth, back].map(({ tNs, delayNs }) => {
      const parts = new Float64Array(DRIFT_PARTS).fill(Number.POSITIVE_INFINITY);
      for (let n = 0; n < tNs.length; n++) {
        const part = Math.min(DRIFT_PARTS - 1, Math.floor(((tNs[n]! - startNs) / (endNs - startNs)) * DRIFT_PARTS));
        if (delayNs[n]! < parts[part]!) parts[part] = delayNs[n]!;
      }
      return parts;
    });
    // Both ways together take as long as the path does, whatever the clocks: where they take longer, something stood in a queue.
    const loopsNs = minima[0]!.map((delayNs, part) => delayNs + minima[1]![part]!);
    const leastNs = Math.min(...loopsNs);
    if (leastNs === Number.POSITIVE_INFINITY) return null;
    const emptyNs = leastNs + 2 * DRIFT_ERROR * (endNs - startNs);
    const points: [number, number][] = [];
    for (let part = 0; part < DRIFT_PARTS; part++) {
      if (!(loopsNs[part]! <= emptyNs)) continue;
      const offset = (minima[0]![part]! - minima[1]![part]!) / 2;
      points.push([startNs + ((part + 0.5) * (endNs - startNs)) / DRIFT_PARTS, offset]);
    }
    if (points.length < DRIFT_PARTS_MIN) return null;
    const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
    const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
    const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
    const below = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
    return above / below;
  }
}

interface Samples {
  readonly tNs: number[];
  readonly delayNs: number[];
}

const first = ({ tNs }: Samples): number => tNs.reduce((low, t) => Math.min(low, t), Number.POSITIVE_INFINITY);
const last = ({ tNs }: Samples): number => tNs.reduce((high, t) => Math.max(high, t), 0);

/** Least delay with a slope taken out. */
const least = ({ tNs, delayNs }: Samples, slope: number): number =>
  delayNs.reduce((low, delay, n) => Math.min(low, delay - slope * tNs[n]!), Number.POSITIVE_INFINITY);
