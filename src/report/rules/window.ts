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

/** A window that is closed for less than this share of the time it is full is small; its reader keeps up. */
const MIN_CLOSED_OF_FULL = 0.1;

export interface Closures {
  readonly episodes: number;
  /** Closed, ns, over all flows. */
  readonly totalNs: number;
  /** Share of the transfer's time; of several flows the mean. */
  readonly share: number;
  /** Hardly more than what any full window shows now and then: it was full far longer than closed. */
  readonly onlySmall: boolean;
}

/** How often and how long receive windows were closed. */
export function closuresOf(transfer: Transfer): Closures {
  const totalNs = Math.max(
    transfer.sum(({ forward }) => forward.zeroWindow.totalNs),
    transfer.episodes('zero-window').reduce((total, episode) => total + episode.durationNs, 0),
  );
  const share = transfer.durationNs > 0 ? Math.min(1, totalNs / transfer.busyFlows / transfer.durationNs) : 0;
  return {
    episodes: transfer.sum(({ forward }) => forward.zeroWindow.episodes),
    totalNs,
    share,
    onlySmall: share < MIN_CLOSED_OF_FULL * (transfer.limitedBy()?.['receiver-window'] ?? 0),
  };
}
