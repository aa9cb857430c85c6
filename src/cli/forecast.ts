// Forecast: what is left of a running pre-copy, whether it will converge, and when, each with its uncertainty.
//
// Pre-copy sends all of memory once, then in every round the pages dirtied during the round before. QEMU stops the guest
// when what is left fits into the downtime limit at the present bandwidth (migration/migration.c,
// migration_iteration_run). So with a send rate of s pages a second and d pages dirtied a second, rounds of n, n·d/s,
// n·(d/s)² … pages follow, and the end is known as far as s and d are. Both vary: the range is the outcome for the better
// and the worse of what was seen lately. Dirtying is only known once a round has followed another.
import type { MigrationSnapshot, Round } from '../migration-stream/results.js';

export interface Range {
  readonly low: number;
  readonly likely: number;
  readonly high: number;
}

export interface Forecast {
  /** Pages left in the round going on; null when there is no way to tell. */
  readonly pagesLeft: Range | null;
  /** ns until the round going on ends. */
  readonly roundNs: Range | null;
  /** Pages dirtied a second, each counted once a round; null before the second round. */
  readonly dirtyPages: Range | null;
  /** What the round going on has shown so far of `dirtyPages`; null in the first. */
  readonly dirtyAtLeast: number | null;
  /** Pages sent a second at the present bandwidth. */
  readonly sentPages: Range | null;
  /** ns until pre-copy has ended; Infinity where it never would; null when dirtying is not known yet. */
  readonly endNs: Range | null;
}

/** Rounds whose dirtying counts as "lately". */
const RECENT_ROUNDS = 3;
/** Further rounds looked ahead. QEMU has no bound; beyond this many nobody would call it converging. */
const ROUNDS_AHEAD = 100;
/** Below this share of memory walked over, extrapolating the round from it means nothing. */
const SWEPT_ENOUGH = 0.05;
/** Stream bytes of a zero page: header and fill byte (QEMU migration/ram.c, save_zero_page). */
const ZERO_PAGE_BYTES = 9;
/** Taken for the spread of a figure known from one sample only. */
const SPREAD = 0.3;

/**
 * @param goodput          stream bytes a second lately; null when not known yet
 * @param downtimeLimitNs  what the source was told; QEMU's default is 300 ms
 */
export function forecast(
  migration: MigrationSnapshot,
  nowNs: number,
  goodput: Range | null,
  downtimeLimitNs: number,
): Forecast {
  const { round } = migration;
  const nothing = {
    pagesLeft: null,
    roundNs: null,
    dirtyPages: null,
    dirtyAtLeast: null,
    sentPages: null,
    endNs: null,
  };
  if (round === null || migration.outcome !== null || migration.phase === 'postcopy') return nothing;
  const dirtyAtLeast = dirtiedAtLeast(migration);
  const dirtyPages = recentDirtying(migration, dirtyAtLeast ?? 0);
  const unknown = { ...nothing, dirtyAtLeast };
  const pagesLeft = leftInRound(migration, dirtyPages);
  const bytesPerPage = pageCost(migration);
  if (goodput === null || !(goodput.likely > 0) || bytesPerPage === null) return { ...unknown, pagesLeft, dirtyPages };
  const sentPages = mapRange(goodput, (rate) => rate / bytesPerPage);
  if (pagesLeft === null) return { ...unknown, dirtyPages, sentPages };
  // In the first pass nobody knows what kind the rest is: all of it zero pages, or none.
  const cheapest = round.index === 1 ? Math.min(ZERO_PAGE_BYTES, bytesPerPage) : bytesPerPage;
  const dearest = round.index === 1 ? Math.max(migration.pageSize ?? 0, bytesPerPage) : bytesPerPage;
  const roundNs = {
    low: secondsToNs((pagesLeft.low * cheapest) / goodput.high),
    likely: secondsToNs((pagesLeft.likely * bytesPerPage) / goodput.likely),
    high: secondsToNs((pagesLeft.high * dearest) / goodput.low),
  };
  if (dirtyPages === null) return { ...unknown, pagesLeft, sentPages, roundNs };
  const pastSeconds = Math.max(0, nowNs - round.startNs) / 1e9;
  const end = (left: number, sent: number, dirtied: number): number =>
    secondsToNs(secondsToEnd(left, pastSeconds, sent, dirtied, downtimeLimitNs / 1e9, migration.ramPages));
  return {
    pagesLeft,
    roundNs,
    dirtyPages,
    dirtyAtLeast,
    sentPages,
    endNs: {
      low: end(pagesLeft.low, sentPages.high, dirtyPages.low),
      likely: end(pagesLeft.likely, sentPages.likely, dirtyPages.likely),
      high: end(pagesLeft.high, sentPages.low, dirtyPages.high),
    },
  };
}

/** Seconds until the guest has been stopped and the rest sent; Infinity when the rounds stop shrinking. */
function secondsToEnd(
  left: number,
  pastSeconds: number,
  sent: number,
  dirtied: number,
  downtimeSeconds: number,
  ramPages: number | null,
): number {
  let seconds = left / sent;
  let roundSeconds = pastSeconds + seconds;
  for (let ahead = 0; ahead < ROUNDS_AHEAD; ahead++) {
    const pages = Math.min(dirtied * roundSeconds, ramPages ?? Infinity);
    const needSeconds = pages / sent;
    if (needSeconds <= downtimeSeconds) return seconds + needSeconds;
    if (ahead > 0 && needSeconds >= roundSeconds) return Infinity;
    seconds += needSeconds;
    roundSeconds = needSeconds;
  }
  return Infinity;
}

/** Pages of a round over the duration of the round before, for the newest few; `atLeast` of the newest is known already. */
function recentDirtying(migration: MigrationSnapshot, atLeast: number): Range | null {
  const rates: number[] = [];
  migration.rounds.forEach((round, at) => {
    const before = migration.rounds[at - 1];
    const seconds = before?.index === round.index - 1 ? lengthSeconds(before) : 0;
    if (seconds > 0) rates.push(pagesOf(round) / seconds);
  });
  const recent = rates.slice(-RECENT_ROUNDS);
  const likely = recent.at(-1);
  if (likely === undefined) return null;
  if (atLeast > likely) return { low: atLeast, likely: atLeast, high: Math.max(atLeast * (1 + SPREAD), ...recent) };
  if (recent.length === 1) return spread(likely);
  return { low: Math.min(...recent), likely, high: Math.max(...recent) };
}

/** Every page of the round going on was dirtied during the round before. */
function dirtiedAtLeast({ round, rounds }: MigrationSnapshot): number | null {
  const before = rounds.at(-1);
  if (round === null || before?.index !== round.index - 1) return null;
  const seconds = lengthSeconds(before);
  return seconds > 0 ? round.pages / seconds : null;
}

function leftInRound(migration: MigrationSnapshot, dirtyPages: Range | null): Range | null {
  const { round, rounds, ramPages } = migration;
  if (round === null) return null;
  if (round.index === 1) {
    if (ramPages === null) return null;
    const left = Math.max(0, ramPages - round.pages);
    return { low: left, likely: left, high: left };
  }
  // Two views of how many pages the round will have: what was dirtied in the round before, and how far into memory the
  // pages sent so far reach. The second gets better with every page.
  const before = rounds.at(-1);
  const seconds = before === undefined ? 0 : lengthSeconds(before);
  const byDirtying = dirtyPages && seconds > 0 ? mapRange(dirtyPages, (rate) => rate * seconds) : null;
  const { swept } = round;
  const bySweep = swept !== null && swept >= SWEPT_ENOUGH ? round.pages / swept : null;
  const minus = (total: number): number => Math.max(0, total - round.pages);
  if (bySweep === null) return byDirtying && mapRange(byDirtying, minus);
  if (byDirtying === null) return mapRange(spread(bySweep), minus);
  const likely = swept! * bySweep + (1 - swept!) * byDirtying.likely;
  return mapRange(
    { low: Math.min(bySweep, byDirtying.low, likely), likely, high: Math.max(bySweep, byDirtying.high, likely) },
    minus,
  );
}

/** Stream bytes a page costs, in the round going on, or in the one before while that has only begun. */
function pageCost(migration: MigrationSnapshot): number | null {
  const { round, rounds, pageSize } = migration;
  if (round !== null && round.pages > 0 && round.bytes > 0) return round.bytes / round.pages;
  const before = rounds.at(-1);
  if (before !== undefined && before.bytes > 0 && pagesOf(before) > 0) return before.bytes / pagesOf(before);
  return pageSize;
}

const lengthSeconds = (round: Round): number => (round.endNs - round.startNs) / 1e9;

/** All kinds together; those that cannot be told apart do not count. */
const pagesOf = ({ pages }: Round): number => pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;

const spread = (value: number): Range => ({ low: value * (1 - SPREAD), likely: value, high: value * (1 + SPREAD) });

const mapRange = (range: Range, change: (value: number) => number): Range => ({
  low: change(range.low),
  likely: change(range.likely),
  high: change(range.high),
});

const secondsToNs = (seconds: number): number => seconds * 1e9;
