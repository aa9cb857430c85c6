// Rhythm: bursts and pauses of a sender, and how its receiver acknowledges.
//
// A burst is a run of frames with gaps below 50 µs or an eighth of the round trip, whichever is longer.
import { NO_DIRECTION, type SegmentRows, VERDICT_CAPTURE_DUPLICATE, VERDICT_NETWORK_DUPLICATE } from '../../rows.js';
import { LogHistogram } from './histogram.js';
import { type MetricContext, PerDirection, type RowTimes, type TcpMetric } from './metric.js';

const BURST_GAP_NS = 50e3;
const BURST_GAP_SHARE = 1 / 8;
const IDLE_NS = 100e6;
/** Held back for longer than any path's jitter (Linux: at least 40 ms). */
const DELAYED_ACK_NS = 35e6;

class Bursts {
  lastNs = Number.NaN;
  startNs = Number.NaN;
  bytes = 0;
  frames = 0;
  count = 0;
  readonly burstBytes = new LogHistogram();
  readonly burstRate = new LogHistogram();
  idleGaps = 0;
  idleNs = 0;
  /** Largest payload of a single segment. */
  segmentBytes = 1;
  /** Smallest loop on either half. */
  roundTripMinNs = Number.NaN;
  acked = Number.NaN;
  ackedBytes = 0;
  acks = 0;
  stretchAcks = 0;
  delayedAcks = 0;

  end(): void {
    if (this.frames === 0) return;
    this.count++;
    this.burstBytes.add(this.bytes);
    if (this.lastNs > this.startNs) this.burstRate.add((this.bytes * 1e9) / (this.lastNs - this.startNs));
    this.frames = this.bytes = 0;
  }
}

export function rhythm(_: MetricContext): TcpMetric {
  const states = new PerDirection(() => new Bursts());
  return {
    push(times: RowTimes, rows: SegmentRows, from: number, to: number): void {
      const { direction, verdict, payloadLen, segments, ackOffset, loopNs } = rows;
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (id === NO_DIRECTION) continue;
        const kind = verdict[row]!;
        if (kind === VERDICT_CAPTURE_DUPLICATE || kind === VERDICT_NETWORK_DUPLICATE) continue;
        const t = times.tNs[row]!;
        const bytes = payloadLen[row]!;
        const acked = ackOffset[row]!;
        if (acked > -1) {
          const data = states.find(id ^ 1);
          if (data && data.count + data.frames > 0 && !(acked <= data.acked)) {
            const step = acked - (Number.isNaN(data.acked) ? 0 : data.acked);
            data.acked = acked;
            if (step > 0) {
              data.acks++;
              data.ackedBytes += step;
              if (step > 2 * data.segmentBytes) data.stretchAcks++;
              else if (t - data.lastNs - (data.roundTripMinNs || 0) >= DELAYED_ACK_NS) data.delayedAcks++;
            }
            if (loopNs[row]! >= 0 && !(data.roundTripMinNs <= loopNs[row]!)) data.roundTripMinNs = loopNs[row]!;
          }
        }
        if (bytes === 0) continue;
        const state = states.at(id);
        if (segments[row] === 1 && bytes > state.segmentBytes) state.segmentBytes = bytes;
        const gapNs = t - state.lastNs;
        if (gapNs > Math.max(BURST_GAP_NS, BURST_GAP_SHARE * state.roundTripMinNs || 0)) {
          state.end();
          if (gapNs > Math.max(IDLE_NS, 4 * state.roundTripMinNs || 0)) {
            state.idleGaps++;
            state.idleNs += gapNs;
          }
        }
        if (state.frames === 0) state.startNs = t;
        state.frames++;
        state.bytes += bytes;
        state.lastNs = t;
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (!state) continue;
        state.end();
        into[side].rhythm = {
          bursts: state.count,
          burstBytes: state.burstBytes.quantiles(),
          burstRate: state.burstRate.quantiles(),
          idleGaps: state.idleGaps,
          idleNs: state.idleNs,
          bytesPerAck: state.acks > 0 ? state.ackedBytes / state.acks : null,
          delayedAcks: state.delayedAcks,
          stretchAckShare: state.acks > 0 ? state.stretchAcks / state.acks : null,
        };
      }
    },
  };
}
