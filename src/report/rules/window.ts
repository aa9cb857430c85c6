// Did the receive window shrink after it had been larger? A slow reader leaves its buffer full; a small buffer never grew.
import type { Transfer } from './transfer.js';

/** A window below this share of what it was before has shrunk. */
const SHRUNK_TO = 0.5;

export const SHRUNK_SHARE = {
  value: 0.4,
  unit: 'share of time',
  meaning: 'with a window below half of what it had been before',
} as const;

/** Share of the main flow's time in which the window stood below half of its own earlier maximum; 0 when unknown. */
export function shrunkShare(transfer: Transfer): number {
  let largest = 0;
  let allNs = 0;
  let shrunkNs = 0;
  for (const bin of transfer.bins(transfer.mainFlow)) {
    if (bin.windowMaxBytes === null) continue;
    largest = Math.max(largest, bin.windowMaxBytes);
    allNs += bin.durationNs;
    if (bin.windowMaxBytes < SHRUNK_TO * largest) shrunkNs += bin.durationNs;
  }
  return allNs > 0 ? shrunkNs / allNs : 0;
}
