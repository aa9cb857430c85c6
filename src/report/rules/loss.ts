// What loss did to a transfer: how much was repeated, in how many blows, with or without a full queue, and at what rate
// loss of that kind lets a sender run.
import { cubicCeiling } from '../models/ceilings.js';
import { mean } from './comb.js';
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
  /** Whether a queue overflowed, by the round trips before; null where that is not known. */
  readonly queueFull: boolean | null;
  /** Most bytes were lost many packets at a time. */
  readonly inBlows: boolean;
  /** Time by which the transfer fell behind its best pace once losses had begun, ns. */
  readonly behindNs: number;
}

const DEFAULT_MSS = 1448;
/** So many bytes lost at once are no chance: a queue’s overflow, an outage or a policer. */
const BLOW_BYTES = 16 * DEFAULT_MSS;
/** Stalls from here on are told by R-B2. */
const STALL_NS = 200e6;
/**
 * Chance strikes at any round trip: the bins before such losses rank 0.5 on average among all bins, measured 0.45 … 0.72 on
 * recorded random loss and 0.66 before short outages. Before an overflow the round trip is near its longest: 0.86 … 1.00,
 * and 0.70 … 1.00 where it costs many packets at once, which is evidence by itself.
 */
const MIN_RANK = 0.75;
const MIN_BLOW_RANK = 0.7;
/** Fewer segments between capture point and acknowledgement hold no queue. */
const MIN_PATH_SEGMENTS = 2;

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
    ...pictureOf(transfer, episodes),
    behindNs: behind(transfer, episodes),
  };
}

/**
 * Whether most of the bytes were lost many packets at a time, and whether a queue overflowed then: round trips just before are
 * ranked among those of all bins. The lowest round trip of a bin counts: delayed acknowledgements lengthen single ones, a
 * queue all of them.
 */
function pictureOf(transfer: Transfer, episodes: readonly Episode[]): Pick<LossPicture, 'queueFull' | 'inBlows'> {
  const flow = transfer.mainFlow;
  const bins = transfer
    .bins(flow)
    .flatMap(({ startNs, rttMinNs }) => (rttMinNs === null ? [] : [{ startNs, rttMinNs }]));
  const levels = bins.map((bin) => bin.rttMinNs).sort((a, b) => a - b);
  const kinds = { blow: { bytes: 0, ranks: [] as number[] }, single: { bytes: 0, ranks: [] as number[] } };
  for (const episode of episodes) {
    if (episode.direction !== flow.directionId) continue;
    const kind = kinds[episode.retransmittedBytes >= BLOW_BYTES ? 'blow' : 'single'];
    const before = bins.findLast((bin) => bin.startNs <= episode.startNs);
    kind.bytes += episode.retransmittedBytes;
    if (before) kind.ranks.push(rankOf(before.rttMinNs, levels));
  }
  const { blow, single } = kinds;
  const inBlows = blow.bytes > single.bytes;
  const { ranks } = inBlows ? blow : single;
  // With hardly a segment on the path behind the capture point, what TCP has sent waits before it: that queue is not seen.
  const onPathBytes = flow.forward.goodput * ((flow.forward.rttNs?.p50 ?? 0) / 1e9);
  if (ranks.length === 0 || onPathBytes < MIN_PATH_SEGMENTS * DEFAULT_MSS) {
    return { queueFull: inBlows ? true : null, inBlows };
  }
  return { queueFull: mean(ranks) >= (inBlows ? MIN_BLOW_RANK : MIN_RANK), inBlows };
}

/** 0 … 1: the share of `sorted` below `value`, equals counted half. */
function rankOf(value: number, sorted: readonly number[]): number {
  const from = sorted.findIndex((other) => other >= value);
  const to = sorted.findLastIndex((other) => other <= value);
  return (from + to + 1) / 2 / sorted.length;
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
