// What is said of a migration of which the capture holds only a part: figures are bounded, unknown, or true.
import { describe, expect, test } from 'vitest';
import { Generations, MAIN_LANE } from '../../src/migration-stream/generations.js';
import { PageHistory } from '../../src/migration-stream/pages.js';
import { PAGE_NORMAL } from '../../src/migration-stream/records.js';
import { BLOCK_STRIDE, Rounds } from '../../src/migration-stream/rounds.js';
import { PAGE, range } from '../support/migration-stream.js';

/** Rounds of a guest of one large block, number 0, and a small one behind it. */
function guest(): { rounds: Rounds; section: (tNs: number, pages: readonly number[]) => void } {
  const history = new PageHistory();
  history.size(100_000 * PAGE);
  const rounds = new Rounds(history);
  const section = (tNs: number, pages: readonly number[]): void => {
    rounds.section(tNs, 'part');
    for (const page of pages) {
      const block = Math.floor((page * PAGE) / BLOCK_STRIDE);
      rounds.page(tNs, block, page * PAGE - block * BLOCK_STRIDE, PAGE_NORMAL, PAGE + 8);
    }
    rounds.endSection(tNs);
  };
  return { rounds, section };
}

/** A page of the small block. */
const small = (page: number): number => BLOCK_STRIDE / PAGE + page;

describe('rounds around a gap', () => {
  test('a scan that comes around between two sections has not come around within the second', () => {
    // The gap hides pages 3000 to 5000, so no page shows that the second round sends some of them again.
    const { rounds, section } = guest();
    section(0, range(0, 3000));
    rounds.blind();
    section(1e9, [...range(5000, 8000), small(0)]);
    section(2e9, range(3000, 4000));
    section(3e9, range(4000, 4800));
    const boundaries = rounds.finish().map(({ boundary, startNs }) => `${boundary} ${startNs / 1e9}s`);
    expect(boundaries).toEqual(['first-pass 0s', 'scan-lap 2s']);
  });

  test('a round that is seen to have begun in the section behind a gap may have begun in the gap', () => {
    const { rounds, section } = guest();
    section(0, range(0, 100));
    rounds.blind();
    section(1e9, range(50, 60));
    section(2e9, range(55, 58));
    expect(rounds.finish().map(({ confidence }) => confidence)).toEqual([0.5, 0.5, 0.95]);
  });

  test('a first pass whose beginning was lost is not known to be whole', () => {
    const { rounds, section } = guest();
    rounds.blind();
    section(0, range(0, 100));
    expect(rounds.finish()[0]!.confidence).toBe(0.5);
  });
});

describe('rounds of channels that do not keep step', () => {
  test('pages that waited in the buffers of slow channels when the guest stopped belong to the round before the last', () => {
    // The mark of the stop comes by the main channel at once, the pages before it later; then pages repeat, so those were late.
    const { rounds, section } = guest();
    rounds.unordered();
    section(0, range(0, 1000));
    section(1e9, range(500, 520));
    for (const page of range(520, 600)) rounds.page(2e9, 0, page * PAGE, PAGE_NORMAL, PAGE + 8);
    rounds.finalSection(3e9);
    rounds.endSection(3e9);
    section(4e9, range(550, 560));
    section(5e9, range(560, 570));
    const [, second, last, ...more] = rounds.finish();
    expect(second).toMatchObject({ index: 2, startNs: 1e9, boundary: 'page-repeat', pages: { normal: 100 } });
    expect(last).toMatchObject({ index: 3, startNs: 4e9, boundary: 'section-end', pages: { normal: 20 } });
    expect(more).toEqual([]);
  });

  test('a channel joined midway may be out of step: no round is sure', () => {
    const history = new PageHistory();
    const rounds = new Rounds(history);
    const generations = new Generations(rounds);
    generations.join(true);
    generations.page(1, 0, 0, 0, PAGE_NORMAL, PAGE);
    generations.mark(1);
    generations.mark(MAIN_LANE);
    generations.page(1, 1e9, 0, 0, PAGE_NORMAL, PAGE);
    generations.finish();
    expect(rounds.finish().map(({ confidence }) => confidence)).toEqual([0.5, 0.5]);
  });
});
