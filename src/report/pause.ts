// How long the guest was paused, in words as sure as the capture allows.
import { BELIEVED } from '../migration-stream/downtime.js';
import type { Downtime } from '../migration-stream/results.js';
import { duration } from './format.js';

/** How a figure stands to the truth; 'perhaps' is an estimate that may well be wrong. */
export type Certainty = 'exact' | 'about' | 'perhaps' | 'at-least' | 'at-most';

/** Good for a figure without a mark, and for differences. */
export const isPlain = (certainty: Certainty): boolean => certainty === 'exact' || certainty === 'about';

/** What stands before a figure, and before one in a sentence. */
export const CERTAINTY_MARKS = { exact: '', about: '', perhaps: '~ ', 'at-least': '≥ ', 'at-most': '≤ ' } as const;
export const CERTAINTY_WORDS = {
  exact: '',
  about: 'about ',
  perhaps: 'perhaps ',
  'at-least': 'at least ',
  'at-most': 'at most ',
} as const;

/** What a confidence from BELIEVED on means; see Downtime.confidence. */
const BELIEVED_WITHIN_NS = 30e6;
const BELIEVED_WITHIN_SHARE = 0.25;

/** Nothing is known but a bound where the estimate is no more than the shortest that the wire allows, and far below the longest. */
export function pauseCertainty(downtime: Downtime): 'about' | 'perhaps' | 'at-least' | 'at-most' {
  const { earliestStartNs, latestStartNs, endNs, estimateNs } = downtime;
  const isLowest = estimateNs <= 1.01 * (endNs - latestStartNs) && endNs - earliestStartNs > 1.5 * estimateNs;
  if (isLowest) return estimateNs > 0 ? 'at-least' : 'at-most';
  return isDoubtful(downtime) ? 'perhaps' : 'about';
}

/** Whether the estimate is believed. */
export const isFirm = (downtime: Downtime): boolean => pauseCertainty(downtime) === 'about';

/** Whether only a bound of it is known. */
export const isBound = (downtime: Downtime): boolean => ['at-least', 'at-most'].includes(pauseCertainty(downtime));

/** Between which the pause lies: near the estimate where that is believed, else as far as the wire allows. */
export function pauseBounds(downtime: Downtime): readonly [leastNs: number, mostNs: number] {
  const { earliestStartNs, latestStartNs, endNs, estimateNs } = downtime;
  const [shortest, longest] = [endNs - latestStartNs, endNs - earliestStartNs];
  if (!isFirm(downtime)) return [Math.min(shortest, estimateNs), Math.max(longest, estimateNs)];
  const within = Math.max(BELIEVED_WITHIN_NS, BELIEVED_WITHIN_SHARE * estimateNs);
  return [
    Math.min(estimateNs, Math.max(shortest, estimateNs - within)),
    Math.max(estimateNs, Math.min(longest, estimateNs + within)),
  ];
}

const boundOf = (downtime: Downtime): number =>
  pauseCertainty(downtime) === 'at-most' ? downtime.endNs - downtime.earliestStartNs : downtime.estimateNs;

/** "about 46.1 ms", "at least 14.8 ms", "at most 354 ms", "perhaps 140 ms". */
export const pauseText = (downtime: Downtime): string =>
  `${CERTAINTY_WORDS[pauseCertainty(downtime)]}${duration(boundOf(downtime))}`;

/** The same as a figure: "46.1 ms", "≥ 14.8 ms", "≤ 354 ms", "~ 140 ms". */
export const pauseFigure = (downtime: Downtime): string =>
  `${CERTAINTY_MARKS[pauseCertainty(downtime)]}${duration(boundOf(downtime))}`;

/** Whether its own method calls the estimate uncertain. */
export const isDoubtful = ({ confidence }: Downtime): boolean => confidence !== undefined && confidence < BELIEVED;

/** The same as the subject of a sentence about its parts: a believed estimate needs no word before it. */
export const pauseTotal = (downtime: Downtime): string =>
  isFirm(downtime) ? duration(downtime.estimateNs) : pauseText(downtime);

/** "46.1 ms to 49.1 ms", or one figure where both ends agree. */
export function downtimeRange({ earliestStartNs, latestStartNs, endNs }: Downtime): string {
  const [shortest, longest] = [duration(endNs - latestStartNs), duration(endNs - earliestStartNs)];
  return shortest === longest ? shortest : `${shortest} to ${longest}`;
}
