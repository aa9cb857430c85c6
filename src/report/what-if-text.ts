// The answer to --what-if in a sentence: terminal and page say the same.
import { bitRate, duration, plural } from './format.js';
import type { WhatIfResult } from './models/what-if.js';
import type { Migration } from './report.js';

/** What would have become of the migration in the world that was asked for; null when none was, or no model could say. */
export function whatIfText({ models }: Migration): string | null {
  const found = models['whatIf'] as Partial<WhatIfResult> | undefined;
  if (typeof found?.bandwidth !== 'number') return null;
  const { bandwidth, downtimeLimitNs = null, converges, rounds = 0, migrationNs = null, downtimeNs = null } = found;
  const world = `At ${bitRate(bandwidth)} and a downtime limit of ${duration(downtimeLimitNs)}`;
  return converges
    ? `${world} it would have taken ${duration(migrationNs)} in ${plural(rounds, 'round')}, with the guest paused for ${duration(downtimeNs)}.`
    : `${world} it would not have finished by itself, either.`;
}
