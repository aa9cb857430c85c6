// Stretches in which no connection of a transfer sent anything.
import type { Interval, Transfer } from './transfer.js';

/** Gaps of at least `minNs` between busy bins of all flows together, inside `within`, to the width of a bin. */
export function gapsOf(transfer: Transfer, within: Interval, minNs: number): Interval[] {
  const busy = transfer.flows
    .flatMap((flow) => transfer.bins(flow))
    .filter((bin) => bin.payloadBytes > 0 && bin.startNs >= within[0] && bin.startNs < within[1])
    .sort((a, b) => a.startNs - b.startNs);
  const gaps: Interval[] = [];
  let endNs = busy[0] ? busy[0].startNs + busy[0].durationNs : 0;
  for (const bin of busy) {
    if (bin.startNs - endNs >= minNs) gaps.push([endNs, bin.startNs]);
    endNs = Math.max(endNs, bin.startNs + bin.durationNs);
  }
  return gaps;
}
