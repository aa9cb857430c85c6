// Pre-copy as Xen iterates it, with a dirtying function put in: the common loop of AVG and HIST (Akoush et al. 2010).
//
// Stop rules of Xen: fewer than 50 pages dirtied in the last iteration, 29 iterations, or more than 3 times the memory sent.
export interface IterationInput {
  readonly pages: number;
  readonly pageBytes: number;
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Distinct pages dirtied in [from, to) seconds since the start. */
  readonly dirtied: (from: number, to: number) => number;
  readonly overheadBeforeSeconds?: number;
  readonly overheadAfterSeconds?: number;
}

export interface Iteration {
  readonly rounds: number;
  readonly migrationSeconds: number;
  readonly downtimeSeconds: number;
  readonly pagesSent: number;
}

const FEW_PAGES = 50;
const MAX_ITERATIONS = 29;
const MAX_SENT_FACTOR = 3;

export function iteratePrecopy(input: IterationInput): Iteration {
  const { pages, pageBytes, bandwidth, dirtied } = input;
  let dirty = pages;
  let sent = 0;
  let elapsed = 0;
  let rounds = 0;
  do {
    const seconds = (dirty * pageBytes) / bandwidth;
    sent += dirty;
    rounds++;
    dirty = Math.min(Math.floor(dirtied(elapsed, elapsed + seconds)), pages);
    elapsed += seconds;
  } while (dirty >= FEW_PAGES && rounds < MAX_ITERATIONS && sent <= MAX_SENT_FACTOR * pages);
  const after = input.overheadAfterSeconds ?? 0;
  const finalSeconds = (dirty * pageBytes) / bandwidth;
  return {
    rounds,
    migrationSeconds: (input.overheadBeforeSeconds ?? 0) + elapsed + finalSeconds + after,
    downtimeSeconds: finalSeconds + after,
    pagesSent: sent + dirty,
  };
}
