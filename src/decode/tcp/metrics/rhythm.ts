// Rhythm: bursts and pauses of a sender, and how its receiver acknowledges.
//
// A burst is a run of frames with gaps below 50 µs or an eighth of the round trip, whichever is longer. Full segments in a row
// within a burst are a train: they arrive as far apart as the narrowest line before the capture point sets them, where the
// network and not the sender set the pace.
import { WIDE_ZERO } from '../../../wide-zero.js';
import { NO_DIRECTION, VERDICT_CAPTURE_DUPLICATE, VERDICT_NETWORK_DUPLICATE } from '../../rows.js';
import type { TcpDirection } from '../results.js';
import { type BucketRoom, LogHistogram } from './histogram.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';

const BURST_GAP_NS = 50e3;
const BURST_GAP_SHARE = 1 / 8;
const IDLE_NS = 100e6;
/** Held back for longer than any path's jitter (Linux: at least 40 ms). */
const DELAYED_ACK_NS = 35e6;
/** So much closer than the data they answer; data that left closer together than hosts batch frames says nothing. */
const COMPRESSED_SHARE = 1 / 4;
const BATCHED_NS = 100e3;
/** A train has so many frames, a power of two, and lasts longer than what hosts take in at once. */
const TRAIN_FRAMES = 16;
const TRAIN_NS = 1e6;
/** Share of trains that must agree on a rate, and of time in which the network must have set the pace. */
const TRAINS_SHARE_MIN = 0.3;
const NETWORK_SHARE_MIN = 0.5;
/** A half of the path that takes less than this share of the round trip is no path at all. */
const END_SHARE = 0.1;

class Bursts {
  readonly #room: BucketRoom;
  lastNs = Number.NaN;
  startNs = Number.NaN;
  bytes = WIDE_ZERO;
  frames = 0;
  count = 0;
  // Made with their first sample: most connections never have one.
  burstBytes: LogHistogram | null = null;
  burstRate: LogHistogram | null = null;
  idleGaps = 0;
  idleNs = WIDE_ZERO;
  /** Largest payload of a single segment. */
  segmentBytes = 1;
  // The train: where in the burst it began.
  trainNs = WIDE_ZERO;
  trainFrame = 0;
  trainBytes = 0;
  trainRate: LogHistogram | null = null;
  /** Smallest loop from the capture point to the receiver, and to the sender. */
  ackLoopMinNs = Number.NaN;
  echoLoopMinNs = Number.NaN;
  /** A longer gap ends a burst. */
  burstGapNs = BURST_GAP_NS;
  acked = Number.NaN;
  /** The latest acknowledgement that timed its data, and what it measured. */
  timedNs = Number.NaN;
  timedLoopNs = Number.NaN;
  compressedAcks = 0;
  ackedBytes = WIDE_ZERO;
  acks = 0;
  stretchAcks = 0;
  delayedAcks = 0;

  constructor(room: BucketRoom) {
    this.#room = room;
  }

  release(): void {
    this.burstBytes?.release();
    this.burstRate?.release();
    this.trainRate?.release();
  }

  end(): void {
    if (this.frames === 0) return;
    this.count++;
    this.burstBytes ??= new LogHistogram(this.#room);
    this.burstBytes.add(this.bytes);
    if (this.lastNs > this.startNs) {
      this.burstRate ??= new LogHistogram(this.#room);
      this.burstRate.add((this.bytes * 1e9) / (this.lastNs - this.startNs));
    }
    this.frames = this.bytes = this.trainFrame = this.trainBytes = 0;
  }

  get roundTripMinNs(): number {
    return (this.ackLoopMinNs || 0) + (this.echoLoopMinNs || 0);
  }

  /** Takes a loop shorter than any before. */
  shorter(loopNs: number, toReceiver: boolean): void {
    if (toReceiver) this.ackLoopMinNs = loopNs;
    else this.echoLoopMinNs = loopNs;
    this.burstGapNs = Math.max(BURST_GAP_NS, BURST_GAP_SHARE * this.roundTripMinNs);
  }

  /** Ends a train with the latest frame, and begins one with it. */
  endTrain(tNs: number): void {
    if (this.trainFrame > 0 && tNs - this.trainNs < TRAIN_NS) return;
    const bytes = this.bytes - this.trainBytes;
    const whole = bytes === (this.frames - this.trainFrame) * this.segmentBytes;
    if (this.trainFrame > 0 && whole) {
      this.trainRate ??= new LogHistogram(this.#room);
      this.trainRate.add((bytes * 1e9) / (tNs - this.trainNs));
    }
    this.trainNs = tNs;
    this.trainFrame = this.frames;
    this.trainBytes = this.bytes;
  }

  /** Takes the loop that an acknowledgement measured: by how much it is shorter than the one before, the data was further apart. */
  timed(tNs: number, loopNs: number): void {
    const apartNs = tNs - this.timedNs;
    const sentApartNs = apartNs - (loopNs - this.timedLoopNs);
    if (sentApartNs > BATCHED_NS && apartNs < COMPRESSED_SHARE * sentApartNs) this.compressedAcks++;
    this.timedNs = tNs;
    this.timedLoopNs = loopNs;
  }
}

export function rhythm({ rows, newRoom }: MetricContext): TcpMetric {
  const { direction, verdict, payloadLen, segments, ackOffset, loopNs, tNs } = rows;
  const buckets = newRoom();
  const states = new PerDirection(
    () => new Bursts(buckets),
    (state) => state.release(),
  );
  return {
    push(from: number, to: number): void {
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (id === NO_DIRECTION) continue;
        const kind = verdict[row]!;
        if (kind === VERDICT_CAPTURE_DUPLICATE || kind === VERDICT_NETWORK_DUPLICATE) continue;
        const t = tNs[row]!;
        const bytes = payloadLen[row]!;
        const acked = ackOffset[row]!;
        if (acked > -1) {
          const data = states.find(id ^ 1);
          if (data !== undefined && data.count + data.frames > 0 && !(acked <= data.acked)) {
            const step = acked - (Number.isNaN(data.acked) ? 0 : data.acked);
            data.acked = acked;
            if (step > 0) {
              data.acks++;
              data.ackedBytes += step;
              if (step > 2 * data.segmentBytes) data.stretchAcks++;
              else if (t - data.lastNs - (data.ackLoopMinNs || 0) >= DELAYED_ACK_NS) data.delayedAcks++;
            }
            if (loopNs[row]! >= 0) {
              if (!(data.ackLoopMinNs <= loopNs[row]!)) data.shorter(loopNs[row]!, true);
              data.timed(t, loopNs[row]!);
            }
          }
        }
        if (bytes === 0) continue;
        const state = states.at(id);
        if (segments[row] === 1 && bytes > state.segmentBytes) state.segmentBytes = bytes;
        const gapNs = t - state.lastNs;
        if (gapNs > state.burstGapNs) {
          state.end();
          if (loopNs[row]! >= 0 && !(state.echoLoopMinNs <= loopNs[row]!)) state.shorter(loopNs[row]!, false);
          if (gapNs > Math.max(IDLE_NS, 4 * state.roundTripMinNs)) {
            state.idleGaps++;
            state.idleNs += gapNs;
          }
        }
        if (state.frames === 0) state.startNs = t;
        state.frames++;
        state.bytes += bytes;
        if ((state.frames & (TRAIN_FRAMES - 1)) === 0) state.endTrain(t);
        state.lastNs = t;
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (state === undefined) continue;
        state.end();
        const { toSenderNs, toReceiverNs } = connection.directions[side];
        const roundTripNs = toSenderNs + toReceiverNs;
        if (toSenderNs > END_SHARE * roundTripNs) into[side].bottleneckRate = bottleneckRate(state, into[side]);
        into[side].rhythm = {
          bursts: state.count,
          burstBytes: state.burstBytes?.quantiles() ?? null,
          burstRate: state.burstRate?.quantiles() ?? null,
          idleGaps: state.idleGaps,
          idleNs: 0 + state.idleNs,
          bytesPerAck: state.acks > 0 ? state.ackedBytes / state.acks : null,
          delayedAcks: state.delayedAcks,
          compressedAcks: toReceiverNs > END_SHARE * roundTripNs ? state.compressedAcks : null,
          stretchAckShare: state.acks > 0 ? state.stretchAcks / state.acks : null,
        };
      }
    },
  };
}

/** Bytes on the line per second at which most trains came; see TcpDirection. */
function bottleneckRate({ trainRate }: Bursts, direction: TcpDirection): number | null {
  const { limitedBy, wireBytes, wireSegments, dataFrames, payloadBytes } = direction;
  const byNetwork = limitedBy !== null && limitedBy.congestion + limitedBy.recovery >= NETWORK_SHARE_MIN;
  const mode = trainRate?.mode();
  if (!byNetwork || wireBytes === null || wireSegments !== dataFrames || !mode || mode.share < TRAINS_SHARE_MIN)
    return null;
  return (mode.value * wireBytes) / payloadBytes;
}
