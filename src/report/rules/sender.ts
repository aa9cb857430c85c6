// A sender that had time: the network and the receiver had room, yet nothing was sent. Common ground of the CPU rules.
import { combOf } from './comb.js';
import { FLAT, paceOf } from './plateau.js';
import type { Transfer } from './transfer.js';

export interface SlowSender {
  /** Share of pre-copy in which the application gave TCP nothing to send. */
  readonly share: number;
  readonly waitedNs: number;
  /** 95th percentile of flight over the usual window; null when unknown. */
  readonly windowUse: number | null;
}

export interface SlowSenderLimits {
  readonly minShare: number;
  readonly maxWindowUse: number;
  readonly maxRecoveryShare: number;
  readonly maxLossShare: number;
  readonly minVariation: number;
  readonly minJitter: number;
  readonly minFrames: number;
}

/**
 * Null unless the sender itself was the limit. Pauses locked to 100 ms belong to the rate limit (R-A1) or a CPU quota
 * (R-C5) and are not counted here; an even rate belongs to the source’s interface (R-A4, R-A6).
 */
export function slowSender(transfer: Transfer, limits: SlowSenderLimits): SlowSender | null {
  const shares = transfer.limitedBy(transfer.precopy);
  if (!shares || transfer.sum(({ forward }) => forward.dataFrames) < limits.minFrames) return null;
  const share = shares['sender-application'] + shares.idle;
  const { inFlight, window } = transfer.mainFlow.forward;
  const windowUse = inFlight && window && window.p50 > 0 ? inFlight.p95 / window.p50 : null;
  const comb = combOf(transfer, transfer.precopy);
  const pace = paceOf(transfer, transfer.precopy);
  if (pace !== null && (pace.variation <= limits.minVariation || pace.jitter <= limits.minJitter)) return null;
  const locked = comb !== null && comb.regularity >= 0.7 && Math.abs(comb.periodNs / 100e6 - 1) <= 0.12;
  const segments = transfer.sum(({ forward }) => forward.wireSegments ?? forward.dataFrames);
  const lossy = transfer.sum(({ forward }) => forward.retransmittedSegments) > limits.maxLossShare * segments;
  if (lossy || share < limits.minShare || shares.recovery > limits.maxRecoveryShare || locked) return null;
  if (windowUse !== null && windowUse > limits.maxWindowUse) return null;
  return { share, waitedNs: share * (transfer.precopy[1] - transfer.precopy[0]), windowUse };
}

/** Thresholds that every rule about a slow sender shares. */
export const SLOW_SENDER = {
  minShare: { value: 0.5, unit: 'share of pre-copy', meaning: 'time in which the sender had nothing to send' },
  maxWindowUse: { value: 0.7, unit: 'share', meaning: 'flight over window; above it TCP may be the limit' },
  maxRecoveryShare: { value: 0.1, unit: 'share of pre-copy', meaning: 'time in loss recovery' },
  maxLossShare: {
    value: 0.0005,
    unit: 'share of segments',
    meaning: 'sent again; beyond it loss is the likelier limit',
  },
  minVariation: FLAT,
  minJitter: {
    value: 0.03,
    unit: 'share of the rate',
    meaning:
      'typical change from one step to the next; a busy thread is less even, even where a shaper has several levels',
  },
  minFrames: { value: 256, unit: 'frames', meaning: 'of fewer super-packets nobody can tell how even their rate is' },
} as const;

/** Shorter pre-copy phases are over before a slow thread costs anything, ns. */
export const MIN_SLOW_NS = { value: 2e9, unit: 'ns', meaning: 'shorter migrations have no speed problem' } as const;
