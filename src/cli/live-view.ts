// LiveView: one picture of a running capture, from two snapshots a moment apart.
//
// Rates come from the differences of counters over our own clock: while nothing arrives the frames' clock stands still,
// and the rate is then zero, not unknown.
import type { ChannelSnapshot, Snapshot } from '../analyze.js';
import type { MigrationSnapshot } from '../migration-stream/results.js';
import { endpoint } from '../report/format.js';
import { type Forecast, forecast, type Range } from './forecast.js';

/** What the capture itself tells at a tick. */
export interface CaptureState {
  readonly interface: string;
  readonly engine: string;
  readonly accuracy: string;
  /** Frames lost by the capture; null when the engine cannot know. */
  readonly lost: number | null;
  readonly snapLength: number | null;
  /** Frames cut by it so far; with some, pages cannot be counted nor foretold. */
  readonly cutFrames: number;
  /** Since when only the migration is captured, ns of frame time; null while everything is. */
  readonly narrowedNs: number | null;
  /** Lines that need attention, worst first. */
  readonly alerts: readonly string[];
  readonly recording: { readonly path: string; readonly bytes: number; readonly files: number } | null;
  readonly ending: boolean;
}

export interface ChannelView {
  readonly label: string;
  /** TCP payload and new stream bytes a second; null at the first tick. */
  readonly rate: number | null;
  readonly goodput: number | null;
  readonly retransmittedSegments: number;
  readonly retransmittedShare: number;
  readonly rttNs: number | null;
  readonly windowBytes: number | null;
  readonly inFlightBytes: number | null;
  readonly limit: ChannelSnapshot['limit'];
}

export interface LiveView {
  readonly elapsedNs: number;
  readonly capture: CaptureState;
  readonly frames: number;
  readonly wireBytes: number;
  readonly migration: MigrationSnapshot | null;
  /** ns of the migration so far, in frame time. */
  readonly migrationNs: number | null;
  /** Of all channels together; null at the first tick. */
  readonly rate: number | null;
  readonly goodput: number | null;
  /** Goodput of the ticks so far, oldest first, bounded. */
  readonly goodputs: readonly number[];
  readonly forecast: Forecast | null;
  readonly channels: readonly ChannelView[];
}

/** Ticks kept for the small chart and for the spread of the bandwidth. */
const TICKS = 160;
/** Ticks that say how fast it goes "lately". */
const RECENT_TICKS = 10;

/** Turns snapshots into views; keeps the counters of the last tick and a bounded history. */
export class LiveMeter {
  readonly #startMs: number;
  readonly #downtimeLimitNs: number;
  #lastMs: number;
  /** Of the last tick, by connection. */
  #last = new Map<number, ChannelSnapshot>();
  #goodputs: number[] = [];

  /** @param nowMs  a clock that only goes forward, ms */
  constructor(nowMs: number, downtimeLimitNs: number) {
    this.#startMs = nowMs;
    this.#lastMs = nowMs;
    this.#downtimeLimitNs = downtimeLimitNs;
  }

  view(snapshot: Snapshot, capture: CaptureState, nowMs: number): LiveView {
    const seconds = Math.max(1e-3, (nowMs - this.#lastMs) / 1000);
    const channels = snapshot.channels.map((channel) =>
      channelView(channel, this.#last.get(channel.connection), seconds),
    );
    this.#last = new Map(snapshot.channels.map((channel) => [channel.connection, channel]));
    this.#lastMs = nowMs;
    const rate = total(channels.map((channel) => channel.rate));
    const goodput = total(channels.map((channel) => channel.goodput));
    if (goodput !== null) this.#goodputs = [...this.#goodputs, goodput].slice(-TICKS);
    const { migration } = snapshot;
    return {
      elapsedNs: (nowMs - this.#startMs) * 1e6,
      capture,
      frames: snapshot.frames,
      wireBytes: snapshot.wireBytes,
      migration,
      migrationNs: migration && Math.max(0, migration.lastDataNs - migration.startNs),
      rate,
      goodput,
      goodputs: this.#goodputs,
      forecast:
        migration === null || capture.cutFrames > 0
          ? null
          : forecast(migration, snapshot.nowNs, recentGoodput(this.#goodputs), this.#downtimeLimitNs),
      channels,
    };
  }
}

function channelView(now: ChannelSnapshot, last: ChannelSnapshot | undefined, seconds: number): ChannelView {
  return {
    label: now.kind === 'unknown' ? `to ${endpoint(now.receiver)}` : `${now.kind} ${now.index ?? ''}`.trim(),
    rate: last ? Math.max(0, now.payloadBytes - last.payloadBytes) / seconds : null,
    goodput: last ? Math.max(0, now.uniqueBytes - last.uniqueBytes) / seconds : null,
    retransmittedSegments: now.retransmittedSegments,
    retransmittedShare: now.payloadBytes > 0 ? now.retransmittedBytes / now.payloadBytes : 0,
    rttNs: now.rttNs,
    windowBytes: now.windowBytes,
    inFlightBytes: now.inFlightBytes,
    limit: now.limit,
  };
}

/** null when nothing is known of any of them. */
function total(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
}

/** Median and quartiles of the newest ticks with traffic. */
function recentGoodput(goodputs: readonly number[]): Range | null {
  const recent = goodputs
    .slice(-RECENT_TICKS)
    .filter((goodput) => goodput > 0)
    .sort((a, b) => a - b);
  if (recent.length === 0) return null;
  const at = (share: number): number => recent[Math.round(share * (recent.length - 1))]!;
  return { low: at(0.25), likely: at(0.5), high: at(0.75) };
}
