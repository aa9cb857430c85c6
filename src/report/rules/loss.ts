// What loss did to a transfer: how much was repeated, in how many blows, with or without a full queue, and at what rate
// loss of that kind lets a sender run.
import { cubicCeiling } from '../models/ceilings.js';
import { paceOf } from './plateau.js';
import type { Episode, Transfer } from './transfer.js';

export interface LossPicture {
  readonly segments: number;
  readonly spurious: number;
  /** Repeated bytes over new bytes. */
  readonly repeatedShare: number;
  readonly episodes: readonly Episode[];
  /** Time in stalls that a retransmission timer ended, ns; with several channels their mean. */
  readonly stalledNs: number;
  /** Share of time in recovery or with the congestion window as limit; null when unknown. */
  readonly heldShare: number | null;
  /** Bytes per second that a loss-based sender reaches with such losses; null without a round-trip time. */
  readonly ceiling: number | null;
  readonly rttNs: number | null;
  /** Whether most of it came in blows, or with round trips near their highest; null where that is not known. */
  readonly queueFull: boolean | null;
  /** Time by which the transfer fell behind its best pace once losses had begun, ns. */
  readonly behindNs: number;
}

const DEFAULT_MSS = 1448;
/** So many bytes lost at once are a queue’s overflow, not chance. */
const BLOW_BYTES = 16 * DEFAULT_MSS;
/** Stalls from here on are told by R-B2. */
const STALL_NS = 200e6;
/** Before a loss the queue delay must reach this share of its highest value … */
const FULL_QUEUE_SHARE = 0.6;
/** … and this share of the bare round trip, for the queue to have been full. */
const NOTABLE_QUEUE_SHARE = 0.1;

export function lossesOf(transfer: Transfer): LossPicture {
  const main = transfer.mainFlow;
  const rtt = main.forward.rttNs;
  const episodes = transfer.episodes('recovery', 'timeout', 'mixed');
  const segments = transfer.sum(({ forward }) => forward.retransmittedSegments);
  const sent = transfer.sum(({ forward }) => forward.wireSegments ?? forward.dataFrames);
  const shares = transfer.limitedBy();
  const rttNs = rtt?.p50 ?? transfer.minRttNs;
  const mss = main.connection.options.mss.find((size) => size !== null) ?? DEFAULT_MSS;
  // One window reduction per recovery, however many segments it repaired.
  const eventRate = (episodes.length > 0 ? episodes.length : segments) / Math.max(1, sent);
  return {
    segments,
    spurious: transfer.sum(({ forward }) => forward.retransmissions.spurious),
    repeatedShare: transfer.bytes > 0 ? transfer.sum(({ forward }) => forward.retransmittedBytes) / transfer.bytes : 0,
    episodes,
    stalledNs:
      episodes
        .filter((episode) => episode.kind !== 'recovery' && episode.durationNs >= STALL_NS)
        .reduce((total, episode) => total + episode.durationNs, 0) / transfer.busyFlows,
    heldShare: shares ? shares.recovery + shares.congestion : null,
    ceiling: rttNs && eventRate > 0 ? cubicCeiling(mss, rttNs / 1e9, eventRate) * transfer.flows.length : null,
    rttNs,
    queueFull: queueFull(transfer, episodes),
    behindNs: behind(transfer, episodes),
  };
}

/**
 * A vote of the episodes, each with the bytes it cost: a blow, or round trips in the two bins before it near the highest
 * of the whole transfer, speak for a full queue.
 */
function queueFull(transfer: Transfer, episodes: readonly Episode[]): boolean | null {
  const flow = transfer.mainFlow;
  const rtt = flow.forward.rttNs;
  const bins = transfer.bins(flow);
  if (!rtt || bins.length === 0) return null;
  const notableNs = Math.max(FULL_QUEUE_SHARE * (rtt.p99 - rtt.min), NOTABLE_QUEUE_SHARE * rtt.min);
  let full = 0;
  let all = 0;
  for (const episode of episodes) {
    if (episode.direction !== flow.directionId) continue;
    const fromNs = episode.startNs - Math.max(2 * rtt.p50, 2 * bins[0]!.durationNs);
    const seen = bins.filter((bin) => bin.startNs + bin.durationNs > fromNs && bin.startNs <= episode.startNs);
    const highest = Math.max(...seen.map((bin) => bin.rttMaxNs ?? Number.NEGATIVE_INFINITY));
    const blow = episode.retransmittedBytes >= BLOW_BYTES;
    if (!blow && !Number.isFinite(highest)) continue;
    all += episode.retransmittedBytes;
    if (blow || highest - rtt.min >= notableNs) full += episode.retransmittedBytes;
  }
  return all > 0 ? full > all / 2 : null;
}

function behind(transfer: Transfer, episodes: readonly Episode[]): number {
  const startNs = Math.min(...episodes.map((episode) => episode.startNs));
  const [from, to] = transfer.precopy;
  const pace = paceOf(transfer, transfer.precopy);
  if (!pace || !(startNs < to)) return 0;
  const rates = pace.rates.slice(Math.max(0, Math.floor((startNs - from) / pace.stepNs)));
  const short = rates.reduce((total, rate) => total + Math.max(0, 1 - rate / pace.peak), 0);
  return short * pace.stepNs;
}
