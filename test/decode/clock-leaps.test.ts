import { describe, expect, test } from 'vitest';
import { clockLeaps } from '../../src/decode/clock-leaps.js';

const S = 1e9;

interface Row {
  readonly direction: number;
  readonly startNs?: number;
  readonly endNs?: number;
  readonly clockNs?: number;
  readonly clockTicks?: number;
  readonly frameAfter?: number;
}

/** What silences of an hour, or as said, tell. */
function leaps(...rows: Row[]) {
  const column = (name: keyof Row, usual: number) => ({
    unit: '',
    values: Float64Array.from(rows, (row) => row[name] ?? usual),
  });
  return clockLeaps({
    rows: rows.length,
    columns: {
      direction: column('direction', 0),
      startNs: column('startNs', 2 * S),
      endNs: column('endNs', 3602 * S),
      clockNs: column('clockNs', Number.NaN),
      clockTicks: column('clockTicks', Number.NaN),
      frameAfter: column('frameAfter', 7),
    },
  });
}

describe('the clock of a capture leapt', () => {
  test('where those of both ends stood still, once for all connections', () => {
    const rows = [0, 1, 4, 5].map((direction) => ({ direction, clockNs: 0.02 * S, frameAfter: 7 + direction }));
    expect(leaps(...rows)).toEqual([{ startNs: 2 * S, endNs: 3602 * S, frame: 7 }]);
  });

  test('also by clocks whose ticks nobody has measured, for none is longer than a second', () => {
    expect(leaps({ direction: 2, clockTicks: 20 }, { direction: 3, clockTicks: 0 })).toHaveLength(1);
    expect(leaps({ direction: 2, clockTicks: 2000 }, { direction: 3, clockTicks: 2000 })).toEqual([]);
  });

  test('twice, each time for what both ends have in common', () => {
    const first = { startNs: 2 * S, endNs: 10 * S, clockNs: 0 };
    const second = { startNs: 20 * S, endNs: 30 * S, clockNs: 0 };
    const found = leaps(
      { direction: 0, ...second },
      { direction: 1, ...second, startNs: 19 * S },
      { direction: 0, ...first },
      { direction: 1, ...first, endNs: 9 * S },
    );
    expect(found.map(({ startNs, endNs }) => [startNs, endNs])).toEqual([
      [2 * S, 9 * S],
      [20 * S, 30 * S],
    ]);
  });
});

describe('it did not', () => {
  test('in a true silence: clocks go on', () => {
    expect(leaps({ direction: 0, clockNs: 3599 * S }, { direction: 1, clockNs: 3600 * S })).toEqual([]);
  });

  test('where one end alone stood still: its host may have been suspended', () => {
    expect(leaps({ direction: 0, clockNs: 0 }, { direction: 1, clockNs: 3600 * S })).toEqual([]);
    expect(leaps({ direction: 0, clockNs: 0 }, { direction: 2, clockNs: 0 })).toEqual([]);
    expect(
      leaps({ direction: 0, clockNs: 0 }, { direction: 1, clockNs: 0, startNs: 4000 * S, endNs: 5000 * S }),
    ).toEqual([]);
  });

  test('without time stamps, or for less than a second', () => {
    expect(leaps({ direction: 0 }, { direction: 1 })).toEqual([]);
    const short = { startNs: 0, endNs: 0.9 * S, clockNs: 0 };
    expect(leaps({ direction: 0, ...short }, { direction: 1, ...short })).toEqual([]);
  });
});
