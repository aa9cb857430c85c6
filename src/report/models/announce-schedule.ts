// When a destination announces the guest's address (net/announce.c, qemu_announce_timer_step): the first at once, then at
// intervals that grow by a step up to a maximum.
export interface AnnounceParameters {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly rounds: number;
  readonly stepMs: number;
}

const DEFAULT_ANNOUNCE: AnnounceParameters = { initialMs: 50, maxMs: 550, rounds: 5, stepMs: 100 };

/** ms after the guest's start at which each announcement leaves. */
export function announceTimes({ initialMs, maxMs, rounds, stepMs }: AnnounceParameters = DEFAULT_ANNOUNCE): number[] {
  const times: number[] = [];
  let at = 0;
  for (let round = 0; round < rounds; round++) {
    times.push(at);
    at += Math.min(initialMs + round * stepMs, maxMs);
  }
  return times;
}
