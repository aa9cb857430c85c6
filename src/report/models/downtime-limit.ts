// The downtime limit, which is not on the wire, as the rounds tell it: with which one pre-copy would have ended, and below
// which one the limit in force must lie.
//
// QEMU stops the guest as soon as what is pending fits into the limit at the bandwidth it measured
// (migration/migration.c, migration_iteration_run). “Remaining” at any moment is a saw-tooth; what a round had to send is
// what remained when it began, so only whole rounds are compared.
import { type ModelInput, NS } from './model.js';
import { remainingFloor, workingSetOf } from './saturating.js';

export interface DowntimeLimit {
  /** What is left to send however many rounds pass, wire bytes: as measured where rounds no longer shrink, else as fitted. */
  readonly remainingBytes: number;
  /** The lowest limit with which pre-copy ends, ns, in the whole milliseconds it is set in: that remainder at the mean bandwidth. */
  readonly enoughNs: number;
}

/** Rounds after the first pass, and how near to the lowest before the last ones must stay, for pre-copy to have stalled. */
const STALLED = { rounds: 4, share: 0.9 } as const;

/** Null where rounds still shrink and too few were seen to fit the guest's working set. */
export function downtimeLimitOf(input: ModelInput): DowntimeLimit | null {
  const { rounds, bandwidth, wireRatio } = input;
  if (bandwidth === null) return null;
  const sizes = rounds.map((round) => round.bytes);
  const limit = (remainingBytes: number): DowntimeLimit => ({
    remainingBytes,
    enoughNs: Math.ceil((remainingBytes / bandwidth) * 1e3) * 1e6,
  });
  if (hasPlateau(sizes, STALLED.rounds, STALLED.share)) return limit(ranked(sizes.slice(1, -1), 0.5));
  const fit = workingSetOf(input);
  if (!fit) return null;
  return limit(wireRatio * (fit.saturated ? fit.bytes : remainingFloor(fit, bandwidth / wireRatio)));
}

/**
 * Whether what remains has stopped falling: the lowest of the last three rounds is above `share` of the lowest before.
 *
 * @param sizes      bytes of each pass, the first one included
 * @param minRounds  rounds needed after the first pass
 */
export function hasPlateau(sizes: readonly number[], minRounds: number, share: number): boolean {
  const later = sizes.slice(1);
  // The last round of a broken-off migration may be cut short.
  const whole = later.length > minRounds ? later.slice(0, -1) : later;
  if (whole.length < minRounds) return false;
  const recent = whole.slice(-3);
  const before = whole.slice(0, -3);
  return before.length > 0 && Math.min(...recent) > share * Math.min(...before);
}

/**
 * What the limit in force must be below, ns: QEMU went on although the remainder would have taken this long.
 * The lower quartile over all rounds that were not the last, so that a few rate dips do not decide; null below 4 rounds.
 */
export function limitBelow({ rounds }: ModelInput): number | null {
  const took = rounds.slice(1, -1).flatMap((round, at) => {
    const before = rounds[at]!;
    return before.seconds > 0 && before.bytes > 0 ? [(round.bytes / before.bytes) * before.seconds * NS] : [];
  });
  return took.length >= 4 ? ranked(took, 0.25) : null;
}

const ranked = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor(share * values.length)]!;
