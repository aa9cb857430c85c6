import { describe, expect, test } from 'vitest';
import { SECTION_PAGES } from '../../src/limits.js';
import { PageHistory } from '../../src/migration-stream/pages.js';
import { PAGE_NORMAL } from '../../src/migration-stream/records.js';
import type { Round } from '../../src/migration-stream/results.js';
import { Rounds, type RoundsEnd } from '../../src/migration-stream/rounds.js';
import { PAGE, range } from '../support/migration-stream.js';

type Step = readonly number[] | 'end' | 'blind' | 'blind-long' | 'post-copy';

/** Sections of page numbers of one block, one section a second; 'end' makes the next one the final section. */
function roundsOf(steps: readonly Step[], end?: RoundsEnd, joined = false): Round[] {
  const history = new PageHistory();
  history.size(100_000 * PAGE);
  const rounds = new Rounds(history);
  if (joined) rounds.joined();
  let tNs = 0;
  let kind: 'part' | 'end' = 'part';
  for (const step of steps) {
    if (step === 'end') kind = 'end';
    else if (step === 'blind') rounds.blind(64);
    else if (step === 'blind-long') rounds.blind(16 * PAGE);
    else if (step === 'post-copy') rounds.mark(tNs, 'post-copy');
    else {
      rounds.section(tNs, kind);
      for (const page of step) rounds.page(tNs + 1e6, 0, page * PAGE, PAGE_NORMAL, PAGE + 8);
      rounds.endSection(tNs + 2e6);
      kind = 'part';
      tNs += 1e9;
    }
  }
  return rounds.finish(end);
}

const shape = (rounds: readonly Round[]): string[] =>
  rounds.map(({ boundary, startNs, pages }) => `${boundary} ${startNs / 1e9}s ${pages.normal}`);

describe('boundaries', () => {
  test('a page sent again opens a round at the start of its section', () => {
    const rounds = roundsOf([range(0, 50), range(50, 100), [90, 95, 3, 4], [5], 'end', [7]]);
    expect(shape(rounds)).toEqual(['first-pass 0s 100', 'page-repeat 2s 5', 'section-end 4s 1']);
  });

  test('the pages of that section before the repeat belong to the new round', () => {
    const rounds = roundsOf([range(0, 50), [60, 61, 3], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 50', 'page-repeat 1s 3', 'section-end 2s 0']);
  });

  test('coming around the end of memory is no boundary by itself', () => {
    // The round began at page 5000: the scan goes on to the end, around, and up to there.
    const rounds = roundsOf([
      range(0, 5000),
      [4999, ...range(5000, 9000)],
      range(0, 100),
      range(2000, 2100),
      'end',
      [],
    ]);
    expect(shape(rounds)).toEqual(['first-pass 0s 5000', 'page-repeat 1s 4201', 'section-end 4s 0']);
  });

  test('pages beyond where the round began, after coming around, belong to another, repeated or not', () => {
    const rounds = roundsOf([range(0, 9000), [8999, 9000], [100, 101], [12_000, 12_001], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 9000', 'page-repeat 1s 4', 'scan-lap 3s 2', 'section-end 4s 0']);
  });

  test('coming around a second time takes another sync', () => {
    const rounds = roundsOf([range(0, 9000), [5000, 5001, 8000], [100, 101], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 9000', 'page-repeat 1s 3', 'scan-lap 2s 2', 'section-end 3s 0']);
  });

  test('one page astray is none, be it one sent before, far below or far above', () => {
    for (const astray of [5990, 190, 3, 5500, 60_000]) {
      const first = [range(0, 5000), [...range(5000, 6000), astray, ...range(6000, 7000)], range(7000, 9000)];
      const rounds = roundsOf([...first, range(2000, 2100), range(8000, 8100), 'end', []]);
      expect(shape(rounds)).toEqual(['first-pass 0s 9001', 'page-repeat 3s 200', 'section-end 5s 0']);
    }
  });

  test('one page sent again on the way is a round: a guest that writes page after page leaves no more', () => {
    const rounds = roundsOf([range(0, 50), [30, 31], [31, 32, 33], [34], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 50', 'page-repeat 1s 2', 'page-repeat 2s 4', 'section-end 4s 0']);
  });

  test('a round that began where the scan comes around goes on past the place it came around to', () => {
    // The sync came when the scan stood at the end: its first section begins behind the turn, the next ones go on.
    const rounds = roundsOf([range(0, 9000), range(100, 200), range(3000, 3100), range(8900, 9000), 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 9000', 'page-repeat 1s 300', 'section-end 4s 0']);
  });

  test('a round whose pages are still on their way at the final header, and are sent again behind it, stays one', () => {
    const rounds = new Rounds(new PageHistory());
    const pages = (tNs: number, numbers: readonly number[]): void => {
      for (const page of numbers) rounds.page(tNs, 0, page * PAGE, PAGE_NORMAL, PAGE + 8);
    };
    rounds.unordered();
    rounds.section(0, 'part');
    pages(1e6, range(0, 100));
    rounds.endSection(1e9);
    rounds.section(1e9, 'part');
    pages(1e9, range(10, 20));
    rounds.finalSection(1.5e9);
    pages(1.6e9, range(20, 30));
    rounds.endSection(2e9);
    pages(2e9, [12, 13]);
    expect(shape(rounds.finish())).toEqual(['first-pass 0s 100', 'page-repeat 1s 20', 'section-end 2s 2']);
  });

  test('compression threads reorder by some pages: no boundary', () => {
    const rounds = roundsOf([[0, 3, 1, 2, 7, 5, 6, 4], [9, 8, 11, 10], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 12', 'section-end 2s 0']);
  });

  test('a page twice within one section is no sync: none can happen there', () => {
    const rounds = roundsOf([[0, 1, 2, 2, 3], 'end', []]);
    expect(shape(rounds)).toEqual(['first-pass 0s 5', 'section-end 1s 0']);
  });

  test('after the switch to post-copy there are no more syncs', () => {
    const rounds = roundsOf([range(0, 10), 'post-copy', [4, 4, 3], [3]]);
    expect(shape(rounds)).toEqual(['first-pass 0s 10', 'post-copy 1s 4']);
  });

  test('a stretch that could not be read lowers the confidence', () => {
    const [first, second] = roundsOf([range(0, 10), 'blind', range(20, 30), [25], 'end', []]);
    expect(first!.confidence).toBe(0.5);
    expect(second!.confidence).toBeGreaterThan(0.9);
  });
});

describe('dirty rate', () => {
  const rates = (...of: Parameters<typeof roundsOf>): (number | null)[] =>
    roundsOf(...of).map(({ dirtyPagesPerSecond }) => dirtyPagesPerSecond);
  const cutShort = { isLastWhole: false, hasAllChannels: true };

  test('what is sent for the first time was not dirtied: the first pass ended without it', () => {
    expect(rates([range(0, 50), [...range(50, 70), 1, 2, 3], 'end', [4]])).toEqual([3, 1, null]);
  });

  test('the last pass of a migration that broke off is not all that was dirtied', () => {
    const steps = [range(0, 50), range(0, 20), range(0, 7)];
    expect(rates(steps)).toEqual([20, 7, null]);
    expect(rates(steps, cutShort)).toEqual([20, null, null]);
  });

  test('nor is the pass that post-copy cut short, and what follows holds the rest of it', () => {
    const steps = [range(0, 50), range(0, 20), range(0, 7), 'post-copy', range(7, 20)] as const;
    expect(rates(steps)).toEqual([20, null, null, null]);
  });

  test('when the round began that a capture joined is not known; what it sees first may have been sent before', () => {
    expect(rates([range(0, 50), range(0, 20), range(0, 100), 'end', []], undefined, true)).toEqual([
      null,
      100,
      0,
      null,
    ]);
  });

  test('where channels are missing, so are their pages', () => {
    expect(rates([range(0, 50), range(0, 20)], { isLastWhole: true, hasAllChannels: false })).toEqual([null, null]);
  });

  test('a little that could not be read changes little, more leaves it unknown', () => {
    expect(rates([range(0, 50), range(0, 20), 'blind', range(30, 50), 'end', [3]])).toEqual([40, 0.5, null]);
    expect(rates([range(0, 50), range(0, 20), 'blind-long', range(30, 50), 'end', [3]])).toEqual([null, null, null]);
  });
});

describe('figures', () => {
  test('dirty rate of a round: pages of the next over its duration', () => {
    const [first, second, last] = roundsOf([range(0, 50), range(0, 20), 'end', [3]]);
    expect(first!.dirtyPagesPerSecond).toBe(20);
    expect(second!.dirtyPagesPerSecond).toBe(1);
    expect(last!.dirtyPagesPerSecond).toBeNull();
  });

  test('bytes and goodput are those of its page records', () => {
    const [first] = roundsOf([range(0, 50), range(0, 20), 'end', []]);
    expect(first!.bytes).toBe(50 * (PAGE + 8));
    expect(first!.goodput).toBe(50 * (PAGE + 8));
  });

  test('a section of more pages than may wait is settled in parts', () => {
    const history = new PageHistory();
    const rounds = new Rounds(history);
    rounds.section(0, 'part');
    for (let page = 0; page < SECTION_PAGES + 10; page++) rounds.page(1, 0, page * PAGE, PAGE_NORMAL, 8);
    // What was settled stays in its round, although the section turns out to belong to the next.
    rounds.page(2, 0, 0, PAGE_NORMAL, 8);
    expect(shape(rounds.finish())).toEqual([`first-pass 0s ${SECTION_PAGES}`, 'page-repeat 0s 11']);
    expect(history.distinct).toBe(SECTION_PAGES + 10);
  });
});
