// Rounds of a stream that cannot be read, from when it paused: a sender that syncs its dirty bitmap is silent with nothing
// in flight, and with a steady guest each round is ρ times the one before.
//
// Pauses locked to 100 ms are the rate limit, not rounds. Fewer than three rounds, or ratios that scatter, prove nothing:
// then the answer is null. A pause that is not a sync joins two rounds or splits one, so all of this is marked inferred.
export interface Step {
  readonly startNs: number;
  readonly bytes: number;
}

export interface InferredRound {
  readonly startNs: number;
  readonly endNs: number;
  readonly bytes: number;
}

export interface InferredRounds {
  readonly rounds: readonly InferredRound[];
  /** Median ratio of a round's bytes to those of the one before. */
  readonly ratio: number;
}

const MIN_GAP_NS = 5e6;
const MAX_GAP_NS = 500e6;
const SLICE_NS = 100e6;
const MIN_ROUNDS = 3;
/** Ratios may scatter by this factor around their median. */
const MAX_SCATTER = 1.5;

/** @param steps in order of time, `stepNs` apart at least; steps without bytes may be left out. */
export function inferRounds(steps: readonly Step[], stepNs: number): InferredRounds | null {
  const bursts = burstsOf(steps, stepNs);
  const tooLong = bursts.some((burst, at) => at > 0 && burst.startNs - bursts[at - 1]!.endNs > MAX_GAP_NS);
  return tooLong ? null : shrinkingRounds(bursts, stepNs);
}

/** Stretches of sending with silences of 5 ms or more between them. */
export function burstsOf(steps: readonly Step[], stepNs: number): InferredRound[] {
  const bursts: InferredRound[] = [];
  for (const step of steps) {
    if (step.bytes <= 0) continue;
    const last = bursts.at(-1);
    const endNs = step.startNs + stepNs;
    if (last && step.startNs - last.endNs < MIN_GAP_NS)
      bursts[bursts.length - 1] = { startNs: last.startNs, endNs, bytes: last.bytes + step.bytes };
    else bursts.push({ startNs: step.startNs, endNs, bytes: step.bytes });
  }
  return bursts;
}

/** Bursts as rounds, when they shrink by one ratio; null when they do not, or when a rate limit makes them. */
export function shrinkingRounds(rounds: readonly InferredRound[], stepNs: number): InferredRounds | null {
  if (rounds.length < MIN_ROUNDS || isComb(rounds, stepNs)) return null;
  const ratios = rounds.slice(1).map((round, at) => round.bytes / rounds[at]!.bytes);
  const sorted = [...ratios].sort((a, b) => a - b);
  const ratio = sorted[sorted.length >> 1]!;
  const steady = ratios.every((value) => value <= ratio * MAX_SCATTER && value >= ratio / MAX_SCATTER);
  return ratio < 1 && steady ? { rounds, ratio } : null;
}

/** Starts that lie whole slices apart come from the rate limit. */
function isComb(rounds: readonly InferredRound[], stepNs: number): boolean {
  const onBeat = rounds.slice(1).filter((round, at) => {
    const distance = round.startNs - rounds[at]!.startNs;
    return (
      Math.abs(distance - Math.max(1, Math.round(distance / SLICE_NS)) * SLICE_NS) <= Math.max(stepNs, 0.05 * SLICE_NS)
    );
  });
  return onBeat.length >= 0.8 * (rounds.length - 1);
}
