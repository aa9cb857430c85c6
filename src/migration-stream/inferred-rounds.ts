// Rounds of streams whose pages could not be read: from the main channel's marks, or from an estimate for the whole stream.
import { WORD_BYTES } from './lost-pages.js';
import type { Migration, Round } from './results.js';

/** Where a round begins, as far as the main channel tells. */
export interface Mark {
  readonly startNs: number;
  readonly boundary: 'first-pass' | 'joined-midway' | 'flush-mark' | 'section-end';
}

const MARK_CONFIDENCE = { 'first-pass': 0.9, 'joined-midway': 0.5, 'flush-mark': 0.6, 'section-end': 0.9 } as const;

/** Rounds between marks. Which bytes went over the other channels in each is not known: they are shared out by time. */
export function roundsFromMarks(marks: readonly Mark[], endNs: number, bytes: number): Round[] {
  const wholeNs = Math.max(1, endNs - marks[0]!.startNs);
  return marks.map(({ startNs, boundary }, i) => {
    const until = marks[i + 1]?.startNs ?? endNs;
    const share = Math.round((bytes * (until - startNs)) / wholeNs);
    return {
      index: i + 1,
      startNs,
      endNs: until,
      pages: { normal: 0, zero: 0, xbzrle: 0, compressed: 0 },
      bytes: share,
      goodput: (bytes / wholeNs) * 1e9,
      dirtyPagesPerSecond: null,
      boundary,
      confidence: MARK_CONFIDENCE[boundary],
    };
  });
}

/** Rounds estimated from a whole stream, up to the switch: there are no syncs behind it. Bytes are shared out by time. */
export function untilSwitch(rounds: readonly Round[], switchNs: number): Round[] {
  const before = rounds.filter(({ startNs }) => startNs < switchNs);
  const cut = before.at(-1);
  if (!cut) return [...rounds];
  const endNs = Math.max(switchNs, rounds.at(-1)!.endNs);
  const share = cut.endNs > switchNs ? (cut.endNs - switchNs) / (cut.endNs - cut.startNs) : 0;
  const behind = Math.round(cut.bytes * share);
  const bytes = rounds.slice(before.length).reduce((sum, round) => sum + round.bytes, behind);
  const pages = { normal: 0, zero: 0, xbzrle: 0, compressed: 0 };
  before[before.length - 1] = { ...cut, endNs: Math.min(cut.endNs, switchNs), bytes: cut.bytes - behind, pages };
  const goodput = endNs > switchNs ? (bytes / (endNs - switchNs)) * 1e9 : 0;
  before.push({
    index: before.length + 1,
    startNs: switchNs,
    endNs,
    pages: { ...pages },
    bytes,
    goodput,
    dirtyPagesPerSecond: null,
    boundary: 'post-copy',
    confidence: 0.9,
  });
  return before;
}

/**
 * Pages of rounds whose records could not be read: as many full ones as their bytes amount to, which each round is given, too.
 * What else there was is not known.
 */
export function fullPages(rounds: readonly Round[], pageSize: number): Migration['pages'] {
  for (const { pages, bytes } of rounds) pages.normal ||= Math.round(bytes / (pageSize + WORD_BYTES));
  const normal = rounds.reduce((sum, { pages }) => sum + pages.normal, 0);
  return { normal, zero: null, xbzrle: 0, compressed: 0, distinct: null, resent: null };
}
