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
  const busy = transfer.flows
    .flatMap((flow) => transfer.bins(flow))
    .filter((bin) => bin.payloadBytes > 0 && bin.startNs >= within[0] && bin.startNs < within[1])
    .sort((a, b) => a.startNs - b.startNs);
  const gaps: Interval[] = [];
  let endNs = busy[0] ? busy[0].startNs + busy[0].durationNs : 0;
  for (const bin of busy) {
    if (bin.startNs - endNs >= leastNs) gaps.push([endNs, bin.startNs]);
    endNs = Math.max(endNs, bin.startNs + bin.durationNs);
  }
  return gaps;
}
