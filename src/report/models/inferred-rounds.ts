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
  const rounds: InferredRound[] = [];
  for (const step of steps) {
    if (step.bytes <= 0) continue;
    const last = rounds.at(-1);
    const gap = last ? step.startNs - last.endNs : Number.POSITIVE_INFINITY;
    if (last && gap < MIN_GAP_NS) {
      rounds[rounds.length - 1] = {
        startNs: last.startNs,
        endNs: step.startNs + stepNs,
        bytes: last.bytes + step.bytes,
      };
    } else if (last && gap > MAX_GAP_NS) return null;
    else rounds.push({ startNs: step.startNs, endNs: step.startNs + stepNs, bytes: step.bytes });
  }
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
