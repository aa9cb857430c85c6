// The pre-copy loop with QEMU's stop rule, for worlds that were not recorded: other bandwidth, other downtime limit.
//
// QEMU stops the guest when what remains fits into the downtime limit; it never gives up by itself. The loop ends without
// success when the remainder no longer shrinks.
export interface ReplayInput {
  /** Wire bytes of the first pass. */
  readonly firstPassBytes: number;
  /** Wire bytes per second. */
  readonly bandwidth: number;
  readonly downtimeSeconds: number;
  /** Wire bytes that must be sent again after the guest ran for this long. */
  readonly dirtied: (seconds: number) => number;
}

export interface Replay {
  readonly converges: boolean;
  /** Passes before the guest stops. */
  readonly rounds: number;
  readonly precopySeconds: number;
  /** Network part of the downtime; of the last remainder where it does not converge. */
  readonly copySeconds: number;
  readonly bytes: number;
}

const MAX_ROUNDS = 1000;
/** A round that leaves at least this share of the one before has stopped shrinking … */
const STALL_SHARE = 0.999;
/** … when so many of them follow each other. */
const STALL_ROUNDS = 3;

export function replayPrecopy({ firstPassBytes, bandwidth, downtimeSeconds, dirtied }: ReplayInput): Replay {
  let remaining = firstPassBytes;
  let elapsed = 0;
  let bytes = 0;
  let rounds = 0;
  let stalled = 0;
  while (remaining > bandwidth * downtimeSeconds && rounds < MAX_ROUNDS && stalled < STALL_ROUNDS) {
    const seconds = remaining / bandwidth;
    elapsed += seconds;
    bytes += remaining;
    rounds++;
    const next = dirtied(seconds);
    stalled = next >= STALL_SHARE * remaining ? stalled + 1 : 0;
    remaining = next;
  }
  return {
    converges: remaining <= bandwidth * downtimeSeconds,
    rounds,
    precopySeconds: elapsed,
    copySeconds: remaining / bandwidth,
    bytes: bytes + remaining,
  };
}
