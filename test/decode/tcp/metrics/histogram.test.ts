import { describe, expect, test } from 'vitest';
import { LogHistogram } from '../../../../src/decode/tcp/metrics/histogram.js';
import { random } from '../../../support/random.js';

describe('log histogram', () => {
  test('quantiles within a hundredth of the true ones, over twelve decades', () => {
    const source = random(3);
    const histogram = new LogHistogram();
    const values = Array.from({ length: 20_000 }, () => Math.exp(source.next() * 27));
    for (const value of values) histogram.add(value);
    values.sort((a, b) => a - b);
    for (const q of [0.01, 0.5, 0.95, 0.99]) {
      const exact = values[Math.ceil(q * values.length) - 1]!;
      expect(Math.abs(histogram.quantile(q) / exact - 1)).toBeLessThan(0.01);
    }
    expect([histogram.min, histogram.max]).toEqual([values[0], values[values.length - 1]]);
  });

  test.each([1, 2, 3, 4, 64, 65, 66])('as good with %i samples, however they are kept, and so is a copy', (samples) => {
    const source = random(samples);
    const histogram = new LogHistogram();
    const values = Array.from({ length: samples }, () => Math.exp(source.next() * 9));
    for (const value of values) histogram.add(value);
    values.sort((a, b) => a - b);
    const copy = histogram.copy();
    histogram.add(1e9);
    for (const q of [0.01, 0.4, 0.6, 0.99]) {
      expect(Math.abs(copy.quantile(q) / values[Math.ceil(q * samples) - 1]! - 1)).toBeLessThan(0.01);
    }
    expect([histogram.samples, copy.samples, copy.max]).toEqual([samples + 1, samples, values.at(-1)]);
  });

  test('zero is a value, unknown and negative are not', () => {
    const histogram = new LogHistogram();
    for (const value of [0, 0, Number.NaN, -5]) histogram.add(value);
    expect(histogram.quantiles()).toEqual({ min: 0, p50: 0, p95: 0, p99: 0, max: 0, samples: 2 });
  });

  test('a zero with a sign is one without', () => {
    const histogram = new LogHistogram();
    for (const value of [65_000, 65_400, -0, 65_500]) histogram.add(value);
    const { min, p50, p95, max } = histogram.quantiles()!;
    expect([min, max]).toEqual([0, 65_500]);
    expect(p95).toBeGreaterThan(65_000);
    expect(p50).toBeGreaterThan(64_000);
  });

  test('zeros among large values: quantiles on either side of them', () => {
    const histogram = new LogHistogram();
    for (let i = 0; i < 200; i++) histogram.add(i % 4 === 0 ? 0 : 1000);
    expect(histogram.quantile(0.25)).toBe(0);
    expect(Math.abs(histogram.quantile(0.26) / 1000 - 1)).toBeLessThan(0.01);
    expect(histogram.mode()!.share).toBe(0.75);
  });

  test('nothing added, nothing said', () => {
    expect(new LogHistogram().quantiles()).toBeNull();
  });

  test('scaled and shifted', () => {
    const histogram = new LogHistogram();
    histogram.add(3);
    expect(histogram.quantiles(128, 1)).toEqual({ min: 385, p50: 385, p95: 385, p99: 385, max: 385, samples: 1 });
  });
});
