// The hypervisor's rate limit as the wire shows it: what QEMU was told, and the time it waited for it.
import { type Comb, combOf } from './comb.js';
import type { Transfer } from './transfer.js';

export interface RateLimit {
  /** Bytes per second that QEMU was told. */
  readonly rate: number;
  /** Share of pre-copy spent waiting. */
  readonly share: number;
  /** Share of pre-copy that packet-level analysis puts down to the limit. */
  readonly waited: number;
  readonly comb: Comb | null;
}

export interface RateLimitLimits {
  readonly periodNs: number;
  readonly maxEarly: number;
  readonly maxLate: number;
  readonly minRegularity: number;
  readonly maxSizeVariation: number;
  readonly maxOverallVariation: number;
  readonly minWaitShare: number;
}

/** Thresholds of every rule that asks for the limit. */
export const RATE_LIMIT = {
  periodNs: { value: 100e6, unit: 'ns', meaning: 'slice in which QEMU spends its limit' },
  maxEarly: { value: 0.03, unit: 'share', meaning: 'by which bursts may come sooner: QEMU waits at least this long' },
  maxLate: { value: 0.12, unit: 'share', meaning: 'by which they may come later; busy hosts run late' },
  minRegularity: { value: 0.7, unit: 'share', meaning: 'burst distances that must fit the period' },
  maxSizeVariation: { value: 0.1, unit: 'share of a burst', meaning: 'bursts of a limit have equal size' },
  maxOverallVariation: {
    value: 0.3,
    unit: 'deviation / mean',
    meaning: 'the same where bursts cannot be compared one by one',
  },
  minWaitShare: { value: 0.2, unit: 'share of pre-copy', meaning: 'time waited before the limit is worth a word' },
} as const;

/** Null unless bursts of equal size begin every 100 ms, or, where they cannot be told, TCP analysis found the wait. */
export function rateLimitOf(transfer: Transfer, limits: RateLimitLimits): RateLimit | null {
  const { precopy } = transfer;
  const comb = combOf(transfer, precopy);
  const waited = transfer.limitedBy(precopy)?.['rate-limit'] ?? 0;
  const inTime =
    comb !== null &&
    comb.regularity >= limits.minRegularity &&
    comb.periodNs >= limits.periodNs * (1 - limits.maxEarly) &&
    comb.periodNs <= limits.periodNs * (1 + limits.maxLate);
  const mostVariation = comb?.burstByBurst ? limits.maxSizeVariation : limits.maxOverallVariation;
  const equal = comb !== null && comb.sizeVariation <= mostVariation;
  if (comb !== null && !(inTime && equal)) return null;
  const share = Math.max(waited, comb?.silentShare ?? 0);
  if (share < limits.minWaitShare || (comb === null && waited < limits.minWaitShare)) return null;
  // What QEMU was told: a slice that runs late is longer, but its budget stays.
  const rate = comb ? (comb.burstBytes / limits.periodNs) * 1e9 : transfer.goodput;
  return rate === null ? null : { rate, share, waited, comb };
}
