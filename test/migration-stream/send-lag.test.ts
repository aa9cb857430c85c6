import { describe, expect, test } from 'vitest';
import { SendLags } from '../../src/migration-stream/send-lag.js';

const MS = 1e6;

/** Lags, in whole ms, of frames captured at `ms` with timestamps of `tick`, one connection's unless said otherwise. */
function lags(
  ...frames: { readonly ms: number; readonly tick: number | null; readonly direction?: number }[]
): number[] {
  const of = new SendLags((frame) => {
    const { ms, tick, direction = 0 } = frames[frame]!;
    return tick === null ? null : { direction, tNs: ms * MS, tick };
  }).of;
  return frames.map((_, frame) => Math.round(of(frame) / MS));
}

describe('how late a frame was captured', () => {
  test('what its timestamp lacks of the time since the quickest one', () => {
    expect(lags({ ms: 0, tick: 500 }, { ms: 200, tick: 690 }, { ms: 400, tick: 880 })).toEqual([0, 10, 20]);
  });

  test('the quickest one may come at any time', () => {
    expect(lags({ ms: 0, tick: 0 }, { ms: 100, tick: 110 }, { ms: 300, tick: 300 })).toEqual([0, 0, 10]);
  });

  test('a new quickest one puts nothing in doubt', () => {
    expect(
      lags({ ms: 0, tick: 0 }, { ms: 600, tick: 590 }, { ms: 1000, tick: 1001 }, { ms: 1030, tick: 1015 }),
    ).toEqual([0, 10, 0, 16]);
  });

  test('timestamps pass the end of their 32 bits', () => {
    expect(lags({ ms: 0, tick: 0xffff_fff0 }, { ms: 100, tick: 0x50 })).toEqual([0, 4]);
  });

  test('connections have clocks of their own', () => {
    const other = { ms: 100, tick: 7_000_000, direction: 2 };
    expect(lags({ ms: 0, tick: 0 }, other, { ms: 100, tick: 90 }, { ...other, ms: 200 + 20, tick: 7_000_100 })).toEqual(
      [0, 0, 10, 20],
    );
  });
});

describe('how late a frame was, by one that came later', () => {
  const stamps = [
    { direction: 0, tNs: 0, tick: 0 },
    { direction: 0, tNs: 20 * MS, tick: 20 },
    { direction: 0, tNs: 40 * MS, tick: 53 },
    { direction: 2, tNs: 40 * MS, tick: 53 },
    { direction: 0, tNs: 40 * MS, tick: 10 },
    { direction: 0, tNs: 40 * MS, tick: 40_000 },
  ];
  const known = new SendLags((frame) => stamps[frame]!);
  known.of(0);
  const behind = (frame: number): number => known.behind(stamps[1]!, frame) / MS;

  test('a capture that began in a full queue has seen nothing quick before', () => {
    expect([0, 1].map(known.of)).toEqual([0, 0]);
    expect(behind(2)).toBe(13);
  });

  test('not by another connection’s, nor by a clock of another kind', () => {
    expect([3, 4, 5].map(behind)).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(known.behind(null, 2)).toBeNaN();
  });
});

describe('is not known', () => {
  test('without a timestamp', () => {
    expect(lags({ ms: 0, tick: 0 }, { ms: 100, tick: null }, { ms: 200, tick: 190 })).toEqual([0, 0, 10]);
  });

  test('by a clock that ticks every 4 ms, or every microsecond', () => {
    expect(lags({ ms: 0, tick: 0 }, { ms: 100, tick: 25 }, { ms: 1000, tick: 250 })).toEqual([0, 0, 0]);
    expect(lags({ ms: 0, tick: 0 }, { ms: 100, tick: 90_000 }, { ms: 1000, tick: 980_000 })).toEqual([0, 0, 0]);
  });

  test('where two hosts may have drifted apart by as much since the quickest frame', () => {
    const hour = 3_600_000;
    const later = { ms: hour + 1000, tick: hour - 70 + 980 };
    expect(lags({ ms: 0, tick: 0 }, { ms: hour, tick: hour - 70 }, later)).toEqual([0, 0, 20]);
  });

  test('of a connection whose id another one has taken', () => {
    const stamps = [
      { direction: 0, tNs: 0, tick: 0 },
      { direction: 0, tNs: 100 * MS, tick: 90 },
    ];
    const known = new SendLags((frame) => stamps[frame]!);
    known.of(0);
    known.forget(0);
    expect(known.of(1)).toBe(0);
  });
});
