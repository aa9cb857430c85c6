import { describe, expect, test } from 'vitest';
import { SendBuffer } from '../../src/migration-stream/send-buffer.js';
import { range } from '../support/migration-stream.js';

const MS = 1e6;
const MB = 1e6;
const PAGE_BYTES = 4104;

/**
 * A source that writes pages through a socket buffer of `bufferBytes` to a path of `rate` bytes/ns, as QEMU and Linux do:
 * a section ends at the first look at the clock after 50 ms, one look every 64 pages; a writer that finds the buffer full
 * goes on when a third of it is free. `growth` bytes are added to the buffer in the last sections.
 */
function source(bufferBytes: number, rate: number, sections: number, growth = 0) {
  const buffer = new SendBuffer();
  let size = bufferBytes;
  let written = 0;
  let clockNs = 0;
  let pages = 0;
  const wireNs = (): number => Math.max(clockNs, written / rate);
  for (let section = 0; section < sections; section++) {
    if (section === sections - 12) size += growth;
    buffer.section(written, wireNs(), pages);
    const startNs = clockNs;
    for (let i = 0; ; i++) {
      if (written + PAGE_BYTES - rate * clockNs > size) clockNs = (written - (2 / 3) * size) / rate;
      buffer.left(written, wireNs());
      written += PAGE_BYTES;
      clockNs += 1000;
      pages++;
      if (i % 64 === 0 && clockNs - startNs > 50 * MS) break;
    }
  }
  return { buffer, written, clockNs, tNs: wireNs() };
}

/** Sections of full pages that take as long on the wire as said, at 1 byte a µs, without any buffer. */
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
  test.each([
    [0.5, 24],
    [0.83, 24],
    [1.4, 36],
    [2.7, 24],
    [3.4, 24],
    [1.4, 12],
    [0.7, 2],
  ])('a buffer of %f MB before a path of %i MB/s', (megabytes, rate) => {
    const { buffer, written, clockNs, tNs } = source(megabytes * MB, rate / 1000, 40);
    const delayNs = tNs - clockNs;
    const estimateNs = tNs - buffer.written(written, tNs, { p50: 0, max: (megabytes * MB) / 6 }).tNs;
    expect(delayNs).toBeGreaterThan(12 * MS);
    expect(Math.abs(estimateNs - delayNs)).toBeLessThan(Math.max(12 * MS, 0.3 * delayNs));
  });

  test('a buffer that grew long after the start: what is in flight tells', () => {
    const { buffer, written, clockNs, tNs } = source(1 * MB, 0.036, 60, 3 * MB);
    const delayNs = tNs - clockNs;
    expect(delayNs).toBeGreaterThan(70 * MS);
    expect(Math.abs(tNs - buffer.written(written, tNs, { p50: 0, max: 1.2 * MB }).tNs - delayNs)).toBeLessThan(
      0.2 * delayNs,
    );
  });

  test('a congestion window larger than any socket buffer is not believed', () => {
    const { buffer, written, tNs } = source(1 * MB, 0.036, 40);
    expect(tNs - buffer.written(written, tNs, { p50: 0, max: 2 ** 40 }).tNs).toBeLessThan((4.2 * MB) / 0.036);
  });

  test('sections whose pages cannot be counted: those that lasted about as long as the limit', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    const delayMs = (tNs - buffer.written(offset, tNs).tNs) / MS;
    expect(Math.abs(delayMs - 90)).toBeLessThan(25);
  });

  test('a disk that travels between the first sections of the memory fills no buffer', () => {
    const buffer = new SendBuffer();
    let ms = 0;
    const send = (durationMs: number): void => {
      for (const end = ms + durationMs; ms < end; ms++) buffer.left(ms * 1000, ms * MS);
    };
    for (const section of range(0, 16)) {
      buffer.section(ms * 1000, ms * MS);
      send(60);
      buffer.sectionEnds(ms * 1000, ms * MS);
      if (section < 2) send(80);
    }
    expect(buffer.written(ms * 1000, ms * MS).tNs).toBe(ms * MS);
  });

  describe('where sections end for other reasons than time, the flight alone tells', () => {
    /** One section without an end: 36 bytes a µs for 400 ms, then `laterRate` bytes a µs for 10 ms. */
    const long = (laterRate: number) => {
      const buffer = new SendBuffer();
      buffer.section(0, 0, 0);
      let offset = 0;
      for (let us = 0; us < 410_000; us += 100) {
        buffer.left(offset, us * 1000);
        offset += 100 * (us < 400_000 ? 36 : laterRate);
      }
      return { buffer, offset };
    };

    test('that of a path as busy as ever', () => {
      const { buffer, offset } = long(36);
      const delayNs = 410 * MS - buffer.written(offset, 410 * MS, { p50: 0, max: 0.3 * MB }).tNs;
      expect(Math.abs(delayNs - (0.75 * 0.93 * MS) / 0.036)).toBeLessThan(2 * MS);
      expect(buffer.written(offset, 410 * MS).tNs).toBe(410 * MS);
    });

    test('but not where the last bytes came slower: none had to wait', () => {
      const { buffer, offset } = long(5);
      expect(buffer.written(offset, 410 * MS, { p50: 0, max: 0.03 * MB }).tNs).toBe(410 * MS);
    });
  });

  test('where memory begins with zero pages, the section behind them fills the buffer', () => {
    const { buffer, offset, tNs } = sender([60, 150, ...range(0, 12).map(() => 60), 200]);
    const delayMs = (tNs - buffer.written(offset, tNs).tNs) / MS;
    expect(Math.abs(delayMs - 90)).toBeLessThan(17);
  });

  test('at the latest possible after silence: the buffer has emptied', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    expect(buffer.written(offset, tNs + 120 * MS)).toEqual({ tNs: tNs + 120 * MS, doubtNs: 121 * MS });
  });

  test('as ever where the silence is no longer than a large frame takes on so slow a link', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    const { tNs: writtenNs, doubtNs } = buffer.written(offset, tNs + 80 * MS);
    expect(writtenNs).toBeLessThan(tNs);
    expect(doubtNs).toBe(tNs + 80 * MS - writtenNs);
  });

  test('after a silence of which nobody knows the reason it may have been before it; not so where they are usual', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60)]);
    expect(buffer.written(offset, tNs + 120 * MS).doubtNs).toBe(121 * MS);
    for (let i = 1; i <= 3; i++) buffer.left(offset + 20_000 * i, tNs + i * 100 * MS);
    const lastNs = tNs + 300 * MS;
    expect(buffer.written(offset + 60_000, lastNs + 120 * MS)).toEqual({ tNs: lastNs + 120 * MS, doubtNs: 0 });
  });

  test('before a pause that is known to be one, however short', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    const paused = buffer.written(offset, tNs + 120 * MS, null, true).tNs;
    expect(paused).toBeLessThan(tNs);
    expect(paused).toBe(buffer.written(offset, tNs).tNs);
    expect(new SendBuffer().written(0, 5 * MS, null, true).tNs).toBe(0);
  });

  test('later where much is in flight on a long path: that waits no more', () => {
    const { buffer, written, tNs } = source(1 * MB, 0.036, 40);
    const near = buffer.written(written, tNs, { p50: 64 << 10, max: 0.4 * MB });
    const far = buffer.written(written, tNs, { p50: (64 << 10) + 360_000, max: 0.4 * MB });
    expect(Math.abs(far.tNs - near.tNs - 10 * MS)).toBeLessThan(MS);
  });

  test('half as sure of it as the wait is long', () => {
    const { buffer, written, tNs } = source(1 * MB, 0.036, 40);
    const { tNs: writtenNs, doubtNs } = buffer.written(written, tNs);
    expect(doubtNs).toBe((tNs - writtenNs) / 2);
  });

  test('a byte far behind the newest is judged by what came before it', () => {
    const { buffer, offset, tNs } = sender(range(0, 12).map(() => 60));
    const frontier = buffer.written(offset, tNs).tNs;
    for (let ms = 1; ms <= 100; ms++) buffer.left(offset + ms * 1000, tNs + ms * MS);
    expect(Math.abs(buffer.written(offset, tNs).tNs - frontier)).toBeLessThan(20 * MS);
  });

  test('as ever, though one of the newest sections was held up for an hour', () => {
    const delayMs = (heldUpMs: number): number => {
      const { buffer, offset, tNs } = sender([150, ...range(0, 10).map(() => 60)]);
      buffer.section(offset, tNs);
      for (let ms = 0; ms < 60; ms++) buffer.left(offset + ms * 1000, tNs + (ms + (ms > 5 ? heldUpMs : 0)) * MS);
      let at = offset + 60_000;
      let ms = tNs / MS + 60 + heldUpMs;
      for (let section = 0; section < 4; section++) {
        buffer.section(at, ms * MS, (section + 1) * 65);
        for (let i = 0; i < 60; i++) buffer.left(at + i * 1000, (ms + i) * MS);
        at += 60_000;
        ms += 60;
      }
      return ms - buffer.written(at, ms * MS).tNs / MS;
    };
    expect(delayMs(0)).toBeGreaterThan(20);
    expect(Math.abs(delayMs(3600e3) - delayMs(0))).toBeLessThan(1);
  });

  test('before a silence that is longer than an iterating source ever keeps: a pause with the guest stopped', () => {
    const { buffer, offset, tNs } = sender([150, ...range(0, 12).map(() => 60), 200]);
    expect(buffer.written(offset, tNs + 400 * MS).tNs).toBeLessThan(tNs);
  });

  test('bytes that a hole hides are taken to have left evenly', () => {
    const buffer = new SendBuffer();
    buffer.left(0, 0);
    buffer.left(6 * 2 ** 20, 60 * MS);
    expect(buffer.earliestNs(6 * 2 ** 20, 60 * MS)).toBeCloseTo(20 * MS, -6);
  });

  test('a jump over an absurdly long hole takes no time', () => {
    const { buffer, tNs } = sender([60, 60]);
    buffer.left(2 ** 50, tNs);
    expect(tNs - buffer.earliestNs(2 ** 50, tNs)).toBeLessThan(1);
  });

  test('when it was seen, where sections end for other reasons than time', () => {
    for (const durations of [
      [150, 5, 5, 5, 5, 5],
      [300, 250, 250, 250, 250],
      [90, 60],
    ]) {
      const { buffer, offset, tNs } = sender(durations);
      expect(buffer.written(offset, tNs).tNs).toBe(tNs);
    }
  });

  test('when it was seen, where the bytes before it came slower than the path takes them', () => {
    const { buffer, written, tNs } = source(1 * MB, 0.036, 40);
    for (let ms = 1; ms <= 400; ms++) buffer.left(written + ms * 1000, tNs + ms * MS);
    const lastNs = tNs + 400 * MS;
    expect(buffer.written(written + 400_000, lastNs).tNs).toBe(lastNs);
  });

  test('long before that, perhaps, where the path is so long that a smaller window explains the slowness', () => {
    const { buffer, written, tNs } = source(1 * MB, 0.036, 40);
    for (let ms = 1; ms <= 400; ms++) buffer.left(written + ms * 1000, tNs + ms * MS);
    const lastNs = tNs + 400 * MS;
    const flight = { p50: 0, max: MB / 6, rttNs: 100 * MS };
    const { tNs: writtenNs, doubtNs } = buffer.written(written + 400_000, lastNs, flight);
    expect(writtenNs).toBeLessThan(lastNs - 300 * MS);
    expect(doubtNs).toBe(lastNs - writtenNs);
    expect(buffer.written(written + 400_000, lastNs, { ...flight, rttNs: MS })).toEqual({ tNs: lastNs, doubtNs: 0 });
  });
});
