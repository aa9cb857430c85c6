// How sure an estimate of downtime is, and what tells a pause before the switch-over.
//
// The wire shows when things passed by, not when the guest's processors stopped. What may have moved the one against the
// other is a doubt of so many ns; an estimate that an open doubt could carry beyond the tolerance is called uncertain.
import type { Flight } from './send-buffer.js';

/** An estimate is good when it is within so much, or within this share, of what the hypervisor says. */
const TOLERANCE_NS = 30e6;
const TOLERANCE_SHARE = 0.25;
/** Confidence from which on an estimate is believed to be that good, and the highest there is. */
export const BELIEVED = 0.6;
const HIGHEST = 0.9;

/** A mirror is ended and the migration goes on at once: a request or two of the manager lie between. */
const MIRROR_END_NS = 50e6;

/** Something by which an estimate may be wrong, and by how much. */
export interface Doubt {
  readonly ns: number;
  readonly why: string;
}

/** What an answer ends: captured at the source the mark is early and the answer late, at the destination the other way round. */
export const roundTripDoubt = (flight: Flight | null): Doubt => ({
  ns: flight?.rttNs ?? 0,
  why: 'a round trip lies between what the two hosts see',
});

/**
 * Confidence in an estimate, and what a method has to add to it.
 *
 * @returns `confidence` 0 … 1, and `uncertain`: '' or a clause that says why, largest doubt first
 */
export function confidenceOf(
  estimateNs: number,
  doubts: readonly Doubt[],
): { readonly confidence: number; readonly uncertain: string } {
  const toleranceNs = Math.max(TOLERANCE_NS, TOLERANCE_SHARE * estimateNs);
  const largestNs = Math.max(0, ...doubts.map(({ ns }) => ns));
  const confidence = Math.min(HIGHEST, Math.round((100 * BELIEVED * toleranceNs) / largestNs) / 100);
  const grave = doubts.filter(({ ns }) => ns > toleranceNs).sort((a, b) => b.ns - a.ns);
  if (grave.length === 0) return { confidence: Math.max(BELIEVED, confidence), uncertain: '' };
  return {
    confidence: Math.min(BELIEVED - 0.01, confidence),
    uncertain: `; uncertain, for ${grave.map(({ why }) => why).join(', and ')}`,
  };
}

/**
 * Whether a mirror ended in silence right before the switch-over: a manager pauses the migration there, with the guest
 * stopped, until all disks are the same (capability pause-before-switchover).
 *
 * @param lastMemoryNs  the last memory sent before the silence
 * @param markNs        what followed it
 */
export const isMirrorPause = (mirrorEndsNs: readonly number[], lastMemoryNs: number, markNs: number): boolean =>
  mirrorEndsNs.some((endNs) => endNs > lastMemoryNs && endNs <= markNs && markNs - endNs < MIRROR_END_NS);
