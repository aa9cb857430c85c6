// Loss episodes: what was acknowledged before, during and after each, and what it cost.
//
// Before and after are read off the timeline when the capture has ended. What an episode cost is what would have been
// acknowledged at the rate before it, from the latest news before it to its end, less what was.
import type { TableBuilder } from '../../../columns.js';
import { TCP_EPISODE_KINDS, type TCP_EPISODE_UNITS } from '../results.js';
import type { HalfLoops } from '../vantage.js';
import { SERIES_ACKED, type Timelines } from './timelines.js';

/** The least stretch before and after: one slice of QEMU's rate limiter. And in round trips, so that a flight more or less is little. */
const AROUND_MIN_NS = 100e6;
const AROUND_ROUNDS = 8;

const LOSSES: readonly number[] = (['recovery', 'timeout', 'mixed'] as const).map((kind) =>
  TCP_EPISODE_KINDS.indexOf(kind),
);

/** Fills the rates around each loss, and its cost; `halfLoops` gives those of a direction. */
export function weighEpisodes(
  episodes: TableBuilder<keyof typeof TCP_EPISODE_UNITS>,
  timelines: Timelines,
  halfLoops: (direction: number) => HalfLoops,
): void {
  for (let row = 0; row < episodes.rows; row++) {
    if (!LOSSES.includes(episodes.get(row, 'kind'))) continue;
    const direction = episodes.get(row, 'direction');
    const timeline = timelines.find(direction);
    const startNs = episodes.get(row, 'startNs');
    // Without one, or of a connection whose id has passed on to another.
    if (!timeline || startNs < timeline.originNs) continue;
    const { toSenderNs, toReceiverNs } = halfLoops(direction);
    const aroundNs = Math.max(AROUND_MIN_NS, AROUND_ROUNDS * (toSenderNs + toReceiverNs) || 0);
    const endNs = startNs + episodes.get(row, 'durationNs');
    const heldNs = startNs - episodes.get(row, 'waitedNs');
    const before = timeline.rate(SERIES_ACKED, heldNs - aroundNs, heldNs);
    const during = episodes.get(row, 'goodputDuring');
    episodes.set(row, 'goodputBefore', before);
    episodes.set(row, 'goodputAfter', timeline.rate(SERIES_ACKED, endNs, endNs + aroundNs));
    episodes.set(row, 'costBytes', Math.max(0, ((before - during) * (endNs - heldNs)) / 1e9));
  }
}
