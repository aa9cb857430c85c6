// What is said of a migration of which the capture holds only a part: figures are bounded, unknown, or true.
import { describe, expect, test } from 'vitest';
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
