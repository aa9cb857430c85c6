// Streams: several connections of one transfer (multifd channels, post-copy preempt) looked at together.
//
// Plain functions over finished results; each says which streams it was given, none decides which belong together.
import type { ColumnData } from '../../columns.js';
import { LIMITS, type Limit, TCP_EPISODE_KINDS, type TcpConnection, type TcpDirection } from './results.js';

/** One stream: a connection, and the side that sends. */
export interface Stream {
  readonly connection: TcpConnection;
  readonly side: 0 | 1;
}

export interface StreamsSummary {
  readonly streams: number;
  readonly uniqueBytes: number;
  /** Bytes per second over the time from the first payload of any stream to the last. */
  readonly goodput: number;
  /** 1 when all carried the same, 1/n when one carried all; null without bytes. Source: Jain, Chiu, Hawe (1984). */
  readonly fairness: number | null;
  /** Standard deviation of the bytes over their mean; null without bytes. */
  readonly variation: number | null;
  /** Largest over mean; null without bytes. */
  readonly skew: number | null;
  /** Streams that went on after the median one had ended, for more than a twentieth of the whole time. */
  readonly stragglers: readonly number[];
  /** Share of time per limit, each stream weighted by its bytes; null where no stream knows its own. */
  readonly limitedBy: Record<Limit, number> | null;
  /** How many streams each limit held for most of the time. */
  readonly mostly: Record<Limit, number>;
  readonly loss: LossPattern;
  /** Streams whose least round trip is more than a tenth above the least of all: another path. */
  readonly otherPaths: readonly number[];
}

/** Whether losses hit the streams together (a shared queue overflowed) or one by one. */
export interface LossPattern {
  readonly episodes: number;
  /** Episodes that began within a round trip of those of at least two other streams. */
  readonly together: number;
  readonly pattern: 'none' | 'shared' | 'independent' | 'mixed';
}

const STRAGGLER_SHARE = 0.05;
const OTHER_PATH_SHARE = 0.1;
const TOGETHER_STREAMS = 3;
/** Where the round trip is not known. */
const TOGETHER_NS = 10e6;
const MOSTLY_TOGETHER = 0.6;
const MOSTLY_ALONE = 0.2;

const sender = ({ connection, side }: Stream): TcpDirection => connection.directions[side];

/** Jain's index of `loads`; null when all are 0. */
export function fairness(loads: readonly number[]): number | null {
  const sum = loads.reduce((total, load) => total + load, 0);
  const squares = loads.reduce((total, load) => total + load * load, 0);
  return squares > 0 ? (sum * sum) / (loads.length * squares) : null;
}

/** All streams as one. `episodes` is the table of TcpResults. */
export function summarizeStreams(streams: readonly Stream[], episodes: ColumnData): StreamsSummary {
  const loads = streams.map((stream) => sender(stream).uniqueBytes);
  const total = loads.reduce((sum, load) => sum + load, 0);
  const mean = streams.length > 0 ? total / streams.length : 0;
  const variance = loads.reduce((sum, load) => sum + (load - mean) ** 2, 0) / Math.max(1, loads.length);
  const [startNs, endNs] = extent(streams);
  const seconds = (endNs - startNs) / 1e9;
  const shares = limitShares(streams);
  return {
    streams: streams.length,
    uniqueBytes: total,
    goodput: seconds > 0 ? total / seconds : 0,
    fairness: fairness(loads),
    variation: mean > 0 ? Math.sqrt(variance) / mean : null,
    skew: mean > 0 ? Math.max(...loads) / mean : null,
    stragglers: stragglers(streams, endNs - startNs),
    limitedBy: shares,
    mostly: mostly(streams),
    loss: lossPattern(streams, episodes),
    otherPaths: otherPaths(streams),
  };
}

/** First and last payload of any stream; [0, 0] without payload. */
function extent(streams: readonly Stream[]): [number, number] {
  const starts = streams.map((stream) => sender(stream).firstDataNs).filter((ns) => ns !== null);
  const ends = streams.map((stream) => sender(stream).lastDataNs).filter((ns) => ns !== null);
  return starts.length > 0 ? [Math.min(...starts), Math.max(...ends)] : [0, 0];
}

function stragglers(streams: readonly Stream[], wholeNs: number): number[] {
  const ended = streams.flatMap((stream) => {
    const { lastDataNs } = sender(stream);
    return lastDataNs === null ? [] : [{ id: stream.connection.id, lastDataNs }];
  });
  ended.sort((a, b) => a.lastDataNs - b.lastDataNs);
  const median = ended[(ended.length - 1) >> 1];
  if (!median) return [];
  return ended
    .filter(({ lastDataNs }) => lastDataNs - median.lastDataNs > STRAGGLER_SHARE * wholeNs)
    .map(({ id }) => id);
}

function limitShares(streams: readonly Stream[]): Record<Limit, number> | null {
  const known = streams.map(sender).filter(({ limitedBy }) => limitedBy !== null);
  const weight = known.reduce((sum, { uniqueBytes }) => sum + uniqueBytes, 0);
  if (weight === 0) return null;
  const share = (limit: Limit): number =>
    known.reduce((sum, { limitedBy, uniqueBytes }) => sum + limitedBy![limit] * uniqueBytes, 0) / weight;
  return Object.fromEntries(LIMITS.map((limit) => [limit, share(limit)])) as Record<Limit, number>;
}

function mostly(streams: readonly Stream[]): Record<Limit, number> {
  const counts = Object.fromEntries(LIMITS.map((limit) => [limit, 0])) as Record<Limit, number>;
  for (const { limitedBy } of streams.map(sender)) {
    if (limitedBy) counts[LIMITS.reduce((most, limit) => (limitedBy[limit] > limitedBy[most] ? limit : most))]++;
  }
  return counts;
}

function lossPattern(streams: readonly Stream[], episodes: ColumnData): LossPattern {
  const roundTripNs = new Map(
    streams.map((stream) => [2 * stream.connection.id + stream.side, sender(stream).rttNs?.p50 ?? TOGETHER_NS]),
  );
  const column = (name: string): Float64Array => episodes.columns[name]!.values as Float64Array;
  const kinds = column('kind');
  const directions = column('direction');
  const starts = column('startNs');
  const repaired = (['recovery', 'timeout', 'mixed'] as const).map((kind) => TCP_EPISODE_KINDS.indexOf(kind));
  const losses: { direction: number; startNs: number }[] = [];
  for (let row = 0; row < episodes.rows; row++) {
    if (!repaired.includes(kinds[row]!) || !roundTripNs.has(directions[row]!)) continue;
    losses.push({ direction: directions[row]!, startNs: starts[row]! });
  }
  losses.sort((a, b) => a.startNs - b.startNs);
  let together = 0;
  let from = 0;
  losses.forEach(({ direction, startNs }) => {
    const withinNs = roundTripNs.get(direction)!;
    while (losses[from]!.startNs < startNs - withinNs) from++;
    const hit = new Set<number>();
    for (let at = from; at < losses.length && losses[at]!.startNs <= startNs + withinNs; at++)
      hit.add(losses[at]!.direction);
    if (hit.size >= TOGETHER_STREAMS) together++;
  });
  const share = losses.length > 0 ? together / losses.length : 0;
  const pattern =
    losses.length === 0
      ? 'none'
      : share >= MOSTLY_TOGETHER
        ? 'shared'
        : share <= MOSTLY_ALONE
          ? 'independent'
          : 'mixed';
  return { episodes: losses.length, together, pattern };
}

function otherPaths(streams: readonly Stream[]): number[] {
  const timed = streams.flatMap((stream) => {
    const { rttNs } = sender(stream);
    return rttNs === null ? [] : [{ id: stream.connection.id, minNs: rttNs.min }];
  });
  const least = Math.min(...timed.map(({ minNs }) => minNs));
  return timed.filter(({ minNs }) => minNs > (1 + OTHER_PATH_SHARE) * least).map(({ id }) => id);
}
