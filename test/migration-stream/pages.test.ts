import { describe, expect, test } from 'vitest';
import { NO_PAGE, PageHistory, roundStamp } from '../../src/migration-stream/pages.js';
import { PAGE } from '../support/migration-stream.js';

const GIB = 2 ** 30;

describe('history of a page', () => {
  test('remembers the latest round and counts distinct pages', () => {
    const history = new PageHistory();
    history.size(GIB);
    const first = history.number(0, 5 * PAGE);
    const other = history.number(1, 5 * PAGE);
    expect(first).not.toBe(other);
    expect(history.lastRound(first)).toBe(0);
    history.sent(first, roundStamp(1));
    history.sent(other, roundStamp(1));
    history.sent(first, roundStamp(2));
    history.sent(first, roundStamp(3));
    expect(history.lastRound(first)).toBe(3);
    expect(history.distinct).toBe(2);
  });

  test('a huge address costs one chunk, not the space before it', () => {
    const history = new PageHistory();
    expect(history.number(0, 2 ** 51)).toBe(0);
    expect(history.number(0, 2 ** 51 + PAGE)).toBe(1);
  });

  test('beyond the limit pages have no history', () => {
    const history = new PageHistory(2 * 4096);
    expect(history.number(0, 0)).toBe(0);
    expect(history.number(0, 4096 * PAGE)).toBe(4096);
    expect(history.number(0, 8192 * PAGE)).toBe(NO_PAGE);
    expect(history.number(0, PAGE)).toBe(1);
  });

  test('marks of rounds never read as "never sent"', () => {
    expect([1, 65_535, 65_536, 131_071].map(roundStamp)).toEqual([1, 65_535, 1, 1]);
  });
});

describe('heat by region', () => {
  test('copies a round, of the regions that were touched', () => {
    const history = new PageHistory();
    history.size(GIB); // 262 144 pages: 512 regions of 512
    for (const page of [0, 1, 511, 512]) history.sent(history.number(0, page * PAGE), 1);
    history.endRound(1);
    history.sent(history.number(0, 0), 2);
    history.endRound(2);
    const table = history.regions();
    const rows = Array.from({ length: table.rows }, (_, row) => ({
      startPage: table.get(row, 'startPage'),
      pages: table.get(row, 'pages'),
      round: table.get(row, 'round'),
      copies: table.get(row, 'copies'),
    }));
    expect(rows).toEqual([
      { startPage: 0, pages: 512, round: 1, copies: 3 },
      { startPage: 512, pages: 512, round: 1, copies: 1 },
      { startPage: 0, pages: 512, round: 2, copies: 1 },
    ]);
  });
});
