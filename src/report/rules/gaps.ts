// Stretches in which no connection of a transfer sent anything.
import type { Interval, Transfer } from './transfer.js';

/** Frames of segmentation offload are up to 64 KiB (GSO_LEGACY_MAX_SIZE); on a slow line each takes its time to leave. */
const SUPER_FRAME_BYTES = 65_536;

/**
 * Gaps of at least `minNs`, and longer than a slow line makes between two frames, between busy bins of all flows
 * together, inside `within`, to the width of a bin.
 */
export function gapsOf(transfer: Transfer, within: Interval, minNs: number): Interval[] {
  const leastNs = Math.max(minNs, transfer.goodput ? (2e9 * SUPER_FRAME_BYTES) / transfer.goodput : 0);
  const { rows, startNs, durationNs } = transfer.busy;
  const gaps: Interval[] = [];
  let endNs: number | null = null;
  for (let row = 0; row < rows; row++) {
    const fromNs = startNs[row]!;
    if (fromNs < within[0] || fromNs >= within[1]) continue;
    if (endNs !== null && fromNs - endNs >= leastNs) gaps.push([endNs, fromNs]);
    endNs = Math.max(endNs ?? 0, fromNs + durationNs[row]!);
  }
  return gaps;
}
