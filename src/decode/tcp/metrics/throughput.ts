// Throughput: frames, bytes and rates of each direction, and their course in time.
//
// Interval of all rates is [first payload, last payload]. Goodput counts a byte once, when the capture shows it first.
import { WIDE_ZERO } from '../../../wide-zero.js';
import {
  NO_DIRECTION,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_KEEP_ALIVE,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_WINDOW_PROBE,
} from '../../rows.js';
import type { GoodputPeak, Overheads, TcpDirection } from '../results.js';
import { ECN_FLAGS, EcnFeedback } from './ecn.js';
import { type DirectionEnd, type MetricContext, PerDirection, type TcpMetric } from './metric.js';
import {
  type DirectionTimeline,
  SERIES_ACK_LOOP_MAX,
  SERIES_ACK_LOOP_MIN,
  SERIES_ACKED,
  SERIES_ECHO_LOOP_MAX,
  SERIES_ECHO_LOOP_MIN,
  SERIES_FLIGHT_MAX,
  SERIES_PAYLOAD,
  SERIES_REPEATED_BYTES,
  SERIES_REPEATED_SEGMENTS,
  SERIES_UNIQUE,
} from './timelines.js';

class Totals {
  frames = 0;
  dataFrames = 0;
  segments = 0;
  payloadBytes = WIDE_ZERO;
  uniqueBytes = WIDE_ZERO;
  firstNs = Number.NaN;
  lastNs = Number.NaN;
  networkDuplicates = 0;
  captureDuplicates = 0;
  windowProbes = 0;
  keepAlives = 0;
  /** Highest offset acknowledged. */
  acked = Number.NaN;
  /** IP bytes and frames of the wire behind offloads are worked out at the end from these. */
  ipBytes = WIDE_ZERO;
  congestionMarks = 0;
  /** Made with the first frame that says something. */
  feedback: EcnFeedback | null = null;
}

/** ECN field of a packet that met congestion. Source: RFC 3168 §5. */
const CONGESTION_EXPERIENCED = 3;
/** Ethernet per frame around the IP packet: header 14, check sequence 4, preamble and gap 20. */
const ETHERNET_BYTES = 38;
/** What peaks depend on: bins at least this wide. */
const PEAK_BINS_NS = [10e6, 100e6, 1e9];

export function throughput({ rows, timelines }: MetricContext): TcpMetric {
  const {
    direction,
    verdict,
    payloadLen,
    newBytes,
    segments,
    ackOffset,
    loopNs,
    trigger,
    flight,
    ipBytes,
    ecn,
    flags,
    tNs,
  } = rows;
  const totals = new PerDirection(() => new Totals());
  return {
    push(from: number, to: number): void {
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (id === NO_DIRECTION) continue;
        const sum = totals.at(id);
        const kind = verdict[row]!;
        sum.frames++;
        if (kind === VERDICT_CAPTURE_DUPLICATE) {
          sum.captureDuplicates++;
          continue;
        }
        const bytes = payloadLen[row]!;
        const t = tNs[row]!;
        sum.ipBytes += ipBytes[row]!;
        if (ecn[row] === CONGESTION_EXPERIENCED) sum.congestionMarks++;
        const flag = flags[row]!;
        if (flag & ECN_FLAGS || sum.feedback?.accurate) {
          const peer = totals.at(id ^ 1);
          sum.feedback ??= new EcnFeedback();
          peer.feedback ??= new EcnFeedback();
          sum.feedback.take(flag, ackOffset[row]!, peer.feedback);
        }
        if (kind === VERDICT_NETWORK_DUPLICATE) sum.networkDuplicates++;
        else if (kind === VERDICT_WINDOW_PROBE) sum.windowProbes++;
        else if (kind === VERDICT_KEEP_ALIVE) sum.keepAlives++;
        if (bytes > 0) {
          const fresh = newBytes[row]!;
          sum.dataFrames++;
          sum.segments += segments[row] || 1;
          sum.payloadBytes += bytes;
          sum.uniqueBytes += fresh;
          if (Number.isNaN(sum.firstNs)) sum.firstNs = t;
          if (!(sum.lastNs >= t)) sum.lastNs = t;
          const timeline = timelines.find(id) ?? timelines.ask(id, t, sum.payloadBytes);
          if (timeline !== undefined) {
            timeline.bytes += bytes;
            const bin = timeline.bin(t);
            const { series } = timeline.bins;
            series[SERIES_PAYLOAD]![bin]! += bytes;
            series[SERIES_UNIQUE]![bin]! += fresh;
            if (trigger[row] !== 0) {
              series[SERIES_REPEATED_BYTES]![bin]! += bytes;
              series[SERIES_REPEATED_SEGMENTS]![bin]! += segments[row] || 1;
            }
            raise(series[SERIES_FLIGHT_MAX]!, bin, flight[row]!);
          }
        }
        const acked = ackOffset[row]!;
        const loop = loopNs[row]!;
        // NaN compares false: rows without either are left alone.
        if (loop >= 0) {
          // The loop leads to this row's sender: the peer of one direction, and the sender of its own.
          const own = timelines.find(id);
          if (own !== undefined) {
            const bin = own.bin(t);
            lower(own.bins.series[SERIES_ECHO_LOOP_MIN]!, bin, loop);
            raise(own.bins.series[SERIES_ECHO_LOOP_MAX]!, bin, loop);
          }
          const other = timelines.find(id ^ 1);
          if (other !== undefined) {
            const bin = other.bin(t);
            lower(other.bins.series[SERIES_ACK_LOOP_MIN]!, bin, loop);
            raise(other.bins.series[SERIES_ACK_LOOP_MAX]!, bin, loop);
          }
        }
        if (acked > -1) {
          const reverse = totals.at(id ^ 1);
          if (!(reverse.acked >= acked)) {
            const step = acked - (Number.isNaN(reverse.acked) ? 0 : reverse.acked);
            reverse.acked = acked;
            const timeline = timelines.find(id ^ 1);
            if (timeline !== undefined && step > 0) {
              const bin = timeline.bin(t);
              timeline.bins.series[SERIES_ACKED]![bin]! += step;
            }
          }
        }
      }
    },
    forget: (connection) => totals.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const sum = totals.find(2 * connection.id + side);
        const state = connection.directions[side];
        const out = into[side];
        if (!sum) continue;
        revise(sum, state);
        out.frames = sum.frames;
        out.dataFrames = sum.dataFrames;
        out.wireSegments = Number.isNaN(state.segmentBytes) && sum.dataFrames > 0 ? null : sum.segments;
        out.payloadBytes = 0 + sum.payloadBytes;
        out.uniqueBytes = 0 + sum.uniqueBytes;
        out.unseenBytes = state.unseenBytes;
        out.networkDuplicates = sum.networkDuplicates;
        out.captureDuplicates = sum.captureDuplicates;
        out.duplicateAcks = state.duplicateAcks;
        out.selectiveAcks = state.selectiveAcks;
        out.duplicateReports = state.duplicateReports;
        out.windowProbes = sum.windowProbes;
        out.keepAlives = sum.keepAlives;
        const seconds = (sum.lastNs - sum.firstNs) / 1e9;
        out.throughput = seconds > 0 ? sum.payloadBytes / seconds : 0;
        out.goodput = seconds > 0 ? sum.uniqueBytes / seconds : 0;
        const timeline = timelines.find(2 * connection.id + side);
        if (timeline) out.goodputPeaks = peaks(timeline, sum.lastNs);
        out.firstDataNs = Number.isNaN(sum.firstNs) ? null : sum.firstNs;
        out.lastDataNs = Number.isNaN(sum.lastNs) ? null : sum.lastNs;
        out.ackedBytes = Number.isNaN(sum.acked) ? null : sum.acked;
        out.wireBytes = wireBytes(sum, out.wireSegments);
        out.wireRate = out.wireBytes !== null && seconds > 0 ? out.wireBytes / seconds : null;
        out.ecn = {
          congestionMarks: sum.congestionMarks,
          echoes: sum.feedback?.echoes ?? 0,
          windowReductions: sum.feedback?.reductions ?? 0,
          accurate: sum.feedback?.accurate ?? false,
        };
      }
      into[0].overheads = overheads(into[0], into[1]);
      into[1].overheads = overheads(into[1], into[0]);
    },
  };
}

/** Bytes on the line, every segment with headers of its own; null where the number of segments is not known. */
function wireBytes(sum: Totals, segments: number | null): number | null {
  if (segments === null) return null;
  const merged = sum.segments - sum.dataFrames;
  const plain = sum.ipBytes + (sum.frames - sum.captureDuplicates) * ETHERNET_BYTES;
  return plain + merged * (headerBytes(sum) + ETHERNET_BYTES);
}

/** Goodput in whole bins up to `lastNs`, by the width of the bins; a width that the transfer does not fill once is left out. */
function peaks({ bins, originNs }: DirectionTimeline, lastNs: number): GoodputPeak[] {
  const unique = bins.series[SERIES_UNIQUE]!;
  const widths = new Set(PEAK_BINS_NS.map((binNs) => Math.ceil(binNs / bins.binNs)));
  return [...widths].flatMap((width) => {
    const binNs = width * bins.binNs;
    const rates = new Float64Array(Math.max(0, Math.floor((lastNs - originNs) / binNs)));
    if (rates.length === 0) return [];
    for (let bin = 0; bin < rates.length * width; bin++)
      rates[Math.floor(bin / width)]! += (unique[bin]! * 1e9) / binNs;
    rates.sort();
    const at = (share: number): number => rates[Math.max(0, Math.ceil(share * rates.length) - 1)]!;
    return [{ binNs, p50: at(0.5), p95: at(0.95), max: at(1) }];
  });
}

function overheads({ wireBytes, payloadBytes, uniqueBytes }: TcpDirection, back: TcpDirection): Overheads | null {
  if (wireBytes === null || payloadBytes === 0) return null;
  return {
    headers: 1 - payloadBytes / wireBytes,
    repeated: 1 - uniqueBytes / payloadBytes,
    acknowledgements: back.wireBytes === null ? null : back.wireBytes / wireBytes,
  };
}

/** IP and TCP headers of a frame, on average. */
function headerBytes(sum: Totals): number {
  const frames = sum.frames - sum.captureDuplicates;
  return frames > 0 ? (sum.ipBytes - sum.payloadBytes) / frames : 0;
}

/** Moves twins that were taken for the network's to the capture's. */
function revise(sum: Totals, { revisedDataFrames, revisedAckFrames, revisedBytes }: DirectionEnd): void {
  const header = headerBytes(sum); // while all its parts count the same frames
  const frames = revisedDataFrames + revisedAckFrames;
  sum.networkDuplicates -= frames;
  sum.captureDuplicates += frames;
  sum.dataFrames -= revisedDataFrames;
  sum.segments -= revisedDataFrames;
  sum.payloadBytes -= revisedBytes;
  sum.ipBytes -= revisedBytes + frames * header;
}

function raise(values: Float64Array, bin: number, value: number): void {
  if (value > values[bin]! || Number.isNaN(values[bin]!)) values[bin] = value;
}

function lower(values: Float64Array, bin: number, value: number): void {
  if (!(values[bin]! <= value)) values[bin] = value;
}
