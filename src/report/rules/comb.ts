// Bursts and their rhythm: what a sender that works in slices looks like on the timeline.
//
// QEMU lets max-bandwidth / 10 bytes pass per 100 ms (BUFFER_DELAY, migration/migration.c) and then sleeps, so a capped
// sender shows bursts of equal size at equal distance. A CPU quota (CFS bandwidth control, also 100 ms) gives the same
// distance but sizes that vary with what the thread did. So both distance and size are measured here, and judged by rules.
import type { BusyBins, Interval, Transfer } from './transfer.js';

export interface Comb {
  readonly bursts: number;
  /** Mean distance of burst starts, skipped ones counted, ns. */
  readonly periodNs: number;
  /** Share of distances within JITTER of `periodNs`, or so near to a whole multiple of it. */
  readonly regularity: number;
  /** Median bytes of a burst. */
  readonly burstBytes: number;
  /**
   * How much a burst differs from the one before, as a share of the median: a spread that a limit changed on the way, or a
   * few short bursts, do not raise (1.05 × the median absolute difference, which is one standard deviation of even noise).
   */
  readonly sizeVariation: number;
  /** Sizes were compared burst by burst; otherwise `sizeVariation` is deviation over mean, and mergers raise it. */
  readonly burstByBurst: boolean;
  /** Share of the time in which nothing was sent. */
  readonly silentShare: number;
  /** Bytes per second while sending. */
  readonly burstRate: number;
}

/**
 * A pause of this length ends a burst. Several threads that share a budget may spend it in two goes a few ms apart, and a
 * limit near the path's speed leaves only short pauses; so each is tried and the most regular reading counts.
 */
const PAUSES_NS = [10e6, 25e6, 50e6] as const;
/** Distances may be off by this share of the period: timers of a busy host fire late. */
const JITTER = 0.2;
/** Bins wider than this blur a 100 ms rhythm. */
const WIDEST_BIN_NS = 20e6;

/** The rhythm of all flows of `transfer` together; null with fewer than five bursts, or where it cannot be told. */
export function combOf(transfer: Transfer, within: Interval): Comb | null {
  return transfer.once(`comb within ${within}`, () => combOfTimeline(transfer, within) ?? combOfFlow(transfer));
}

/** The rhythm that packet-level analysis found on a single busy flow; for timelines too coarse to show it. */
function combOfFlow(transfer: Transfer): Comb | null {
  const { forward } = transfer.mainFlow;
  const waiting = forward.limitedBy?.['rate-limit'] ?? 0;
  if (!forward.comb || forward.comb.periods < 5 || forward.uniqueBytes < 0.9 * transfer.bytes || waiting === 0)
    return null;
  const { periods, periodNs, bytesPerPeriod, bytesVariation } = forward.comb;
  return {
    bursts: periods,
    periodNs,
    regularity: 1,
    burstBytes: bytesPerPeriod,
    sizeVariation: bytesVariation,
    burstByBurst: false,
    silentShare: waiting,
    burstRate: waiting < 1 ? (bytesPerPeriod / periodNs / (1 - waiting)) * 1e9 : Number.POSITIVE_INFINITY,
  };
}

function combOfTimeline(transfer: Transfer, within: Interval): Comb | null {
  const { rows, startNs, durationNs } = transfer.busy;
  let binNs = 0;
  for (let row = 0; row < rows; row++) {
    if (startNs[row]! >= within[0] && startNs[row]! < within[1]) binNs = Math.max(binNs, durationNs[row]!);
  }
  if (binNs > WIDEST_BIN_NS) return null;
  const readings = PAUSES_NS.map((pauseNs) => combOfBursts(burstsOf(transfer.busy, within, binNs, pauseNs), binNs));
  return readings.reduce((best, comb) => (comb && (!best || comb.regularity > best.regularity) ? comb : best), null);
}

interface Burst {
  readonly startNs: number;
  endNs: number;
  bytes: number;
}

/** Bins that begin inside `within`, with no pause between them. */
function burstsOf(busy: BusyBins, within: Interval, binNs: number, pauseNs: number): Burst[] {
  const bursts: Burst[] = [];
  let last: Burst | undefined;
  for (let row = 0; row < busy.rows; row++) {
    const startNs = busy.startNs[row]!;
    if (startNs < within[0] || startNs >= within[1]) continue;
    const endNs = startNs + binNs;
    const bytes = busy.payloadBytes[row]!;
    if (last && startNs - last.endNs < pauseNs) {
      last.endNs = endNs;
      last.bytes += bytes;
    } else {
      last = { startNs, endNs, bytes };
      bursts.push(last);
    }
  }
  return bursts;
}

function combOfBursts(bursts: readonly Burst[], binNs: number): Comb | null {
  if (bursts.length < 5) return null;
  const distances = bursts.slice(1).map((burst, at) => burst.startNs - bursts[at]!.startNs);
  const typicalNs = median(distances);
  const periodsIn = (distance: number): number => Math.max(1, Math.round(distance / typicalNs));
  const regular = distances.filter(
    (distance) => Math.abs(distance - periodsIn(distance) * typicalNs) <= Math.max(JITTER * typicalNs, binNs),
  );
  // Starts are known to the width of a bin; their mean distance is much finer.
  const periodNs =
    regular.reduce((total, distance) => total + distance, 0) /
    regular.reduce((total, distance) => total + periodsIn(distance), 0);
  const sizes = bursts.map((burst) => burst.bytes);
  const changes = sizes.slice(1).map((size, at) => Math.abs(size - sizes[at]!));
  const sendingNs = bursts.reduce((total, burst) => total + burst.endNs - burst.startNs, 0);
  const spanNs = bursts.at(-1)!.endNs - bursts[0]!.startNs;
  return {
    bursts: bursts.length,
    periodNs,
    regularity: regular.length / distances.length,
    burstBytes: median(sizes),
    sizeVariation: (1.05 * median(changes)) / median(sizes),
    burstByBurst: true,
    silentShare: 1 - sendingNs / spanNs,
    burstRate: (sizes.reduce((total, size) => total + size, 0) / sendingNs) * 1e9,
  };
}

/** Median of a list that is not empty. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / values.length;

export const deviation = (values: readonly number[]): number => {
  const centre = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - centre) ** 2)));
};
