import { describe, expect, test } from 'vitest';
import { SendBuffer } from '../../src/migration-stream/send-buffer.js';
import { range } from '../support/migration-stream.js';

const MS = 1e6;
/** A link of 1 byte a µs; sections last `durationMs` on the wire. */
function sender(durationsMs: readonly number[]): { buffer: SendBuffer; offset: number; tNs: number } {
  const buffer = new SendBuffer();
  let offset = 0;
  let tNs = 0;
  for (const durationMs of durationsMs) {
    buffer.section(offset, tNs);
    for (let ms = 0; ms < durationMs; ms++) buffer.left(offset + ms * 1000, tNs + ms * MS);
    offset += durationMs * 1000;
    tNs += durationMs * MS;
  }
  return { buffer, offset, tNs };
}

describe('when a byte was written', () => {
  test('as much earlier as the first section was longer than the others', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    const delayMs = (tNs - buffer.writtenNs(offset, tNs)) / MS;
    expect(Math.abs(delayMs - 90)).toBeLessThan(17);
  });

  test('where memory begins with zero pages, the section behind them fills the buffer', () => {
    const { buffer, offset, tNs } = sender([5, 150, ...range(0, 12).map(() => 60), 200]);
    const delayMs = (tNs - buffer.writtenNs(offset, tNs)) / MS;
    expect(Math.abs(delayMs - 90)).toBeLessThan(17);
  });

  test('not before the section it is in began', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 20]);
    expect(buffer.writtenNs(offset, tNs)).toBe(tNs - 20 * MS);
  });

  test('at the latest possible after silence: the buffer has emptied', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    expect(buffer.writtenNs(offset, tNs + 50 * MS)).toBe(tNs + 50 * MS);
  });

  test('before a silence that is longer than an iterating source ever keeps: a pause with the guest stopped', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    expect(buffer.writtenNs(offset, tNs + 400 * MS)).toBeLessThan(tNs);
  });

  test('a jump over an absurdly long hole takes no time', () => {
    const { buffer, tNs } = sender([60, 60]);
    buffer.left(2 ** 50, tNs);
    expect(buffer.earliestNs(2 ** 50, tNs)).toBe(tNs);
  });

  test('when it was seen, where sections end for other reasons than time', () => {
    for (const durations of [
      [150, 5, 5, 5, 5, 5],
      [300, 250, 250, 250, 250],
      [60, 60, 60, 60, 60],
      [90, 60],
    ]) {
      const { buffer, offset, tNs } = sender(durations);
      expect(buffer.writtenNs(offset, tNs)).toBe(tNs);
    }
  });
});
