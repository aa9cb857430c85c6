// QEMU's own decision to stop the guest: complete when what is pending fits into the downtime limit at the bandwidth it
// measured over the last 100 ms (migration/migration.c, migration_update_counters and migration_iteration_run).
import { type Model, NS } from './model.js';

/** QEMU measures and limits in windows of this length (BUFFER_DELAY). */
export const WINDOW_SECONDS = 0.1;

/** Bytes that may remain for the switchover; `availableBandwidth` is avail-switchover-bandwidth where set. */
export const switchoverThreshold = (
  windowBytes: number,
  downtimeSeconds: number,
  availableBandwidth: number | null = null,
): number => (availableBandwidth ?? windowBytes / WINDOW_SECONDS) * downtimeSeconds;

/** Seconds the guest would have to stop now (query-migrate's expected-downtime). */
export const expectedDowntime = (remainingBytes: number, bandwidth: number): number => remainingBytes / bandwidth;

export interface SwitchoverResult {
  readonly downtimeLimitNs: number;
  /** At each round's start: what was pending then, what the limit allowed, and the downtime QEMU must have expected. */
  readonly rounds: readonly {
    readonly tNs: number;
    readonly pendingBytes: number;
    readonly thresholdBytes: number;
    readonly expectedDowntimeNs: number;
  }[];
}

/** Rounds listed one by one; the last ones decide, so they are kept. */
const LISTED_ROUNDS = 500;

export const switchover: Model<SwitchoverResult> = {
  id: 'switchover',
  title: 'QEMU’s switchover threshold, reconstructed',
  validity:
    'The bandwidth QEMU saw is taken as the goodput of the round before; dips shorter than a round are smoothed.',
  source: 'QEMU migration/migration.c',
  run({ migration, rounds, downtimeLimitSeconds }) {
    if (rounds.length < 2) return null;
    return {
      downtimeLimitNs: downtimeLimitSeconds * NS,
      rounds: rounds
        .slice(1)
        .flatMap((round, at) => {
          const before = rounds[at]!;
          if (before.seconds <= 0 || before.bytes <= 0) return [];
          const bandwidth = before.bytes / before.seconds;
          return [
            {
              tNs: migration.rounds[at + 1]!.startNs,
              pendingBytes: round.bytes,
              thresholdBytes: switchoverThreshold(bandwidth * WINDOW_SECONDS, downtimeLimitSeconds),
              expectedDowntimeNs: expectedDowntime(round.bytes, bandwidth) * NS,
            },
          ];
        })
        .slice(-LISTED_ROUNDS),
    };
  },
};
