import { describe, expect, test } from 'vitest';
import {
  bitRate,
  byteRate,
  bytes,
  count,
  duration,
  endpoint,
  fileName,
  memory,
  moment,
  percent,
  plain,
  plainJson,
  plural,
  unbroken,
} from '../../src/report/format.js';

describe('quantities', () => {
  test.each([
    [0, '0 s'],
    [412, '412 ns'],
    [35_200_000, '35.2 ms'],
    [999_600_000, '1.00 s'],
    [18_535_000_000, '18.5 s'],
    [99_960_000_000, '1 min 40 s'],
    [581_000_000_000, '9 min 41 s'],
    [7_380_000_000_000, '2 h 03 min'],
  ])('%d ns is a duration of %s', (ns, text) => expect(duration(ns)).toBe(text));

  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [999_600, '1.00 MB'],
    [35_059_176, '35.1 MB'],
    [1.5e12, '1.50 TB'],
  ])('%d bytes are %s', (value, text) => expect(bytes(value)).toBe(text));

  test('rates are written in bits for links and in bytes for volume', () => {
    expect([bitRate(61.25e6), byteRate(61.25e6)]).toEqual(['490 Mbit/s', '61.3 MB/s']);
  });

  test('guest memory is binary and loses zeros that say nothing', () => {
    expect([memory(48 * 2 ** 20), memory(131_072), memory(67_239_936)]).toEqual(['48 MiB', '128 KiB', '64.1 MiB']);
  });

  test.each([
    [0, '0 %'],
    [0.00001, '< 0.01 %'],
    [0.0011, '0.11 %'],
    [0.0996, '10 %'],
    [1, '100 %'],
  ])('a share of %d reads %s', (share, text) => expect(percent(share)).toBe(text));

  test('what is not known is a dash everywhere', () => {
    expect([
      duration(null),
      bytes(null),
      bitRate(null),
      count(null),
      percent(null),
      moment(null),
      memory(null),
    ]).toEqual(Array(7).fill('–'));
  });

  test('counts group thousands and words follow the number', () => {
    expect([count(1_234_567), plural(1, 'round'), plural(2, 'round')]).toEqual(['1,234,567', '1 round', '2 rounds']);
  });

  test('numbers stay with their unit where a line may break', () => {
    expect(unbroken('after 2 min 02 s in 539 rounds, 5 % of 12')).toBe(
      'after 2\u00a0min\u00a002\u00a0s in 539\u00a0rounds, 5\u00a0% of 12',
    );
  });

  test('an IPv6 endpoint puts its address in brackets', () => {
    expect(endpoint({ address: 'fe80::1', port: 49_152 })).toBe('[fe80::1]:49152');
  });
});

describe('text from the wire', () => {
  test.each([
    ['a terminal escape', '\u001b[2Jx', '\\u{1b}[2Jx'],
    ['a C1 control', '\u009b31mx', '\\u{9b}31mx'],
    ['a line break', 'a\r\nb', 'a\\u{d}\\u{a}b'],
    ['a right-to-left override', 'ok\u202egnp', 'ok\\u{202e}gnp'],
    ['a zero-width space', 'pc\u200b.ram', 'pc\\u{200b}.ram'],
    ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
    ['half a surrogate pair', 'a\ud800', 'a\\u{d800}'],
    ['a tag character', 'a\u{e0041}', 'a\\u{e0041}'],
  ])('%s is shown as an escape', (_, text, shown) => expect(plain(text)).toBe(shown));

  test('a long name is cut and says so', () => expect(plain('x'.repeat(300), 10)).toBe('xxxxxxxxxx…'));

  test('ordinary text, accents and other scripts stay as they are', () => {
    expect(plain('0000:00:03.0/virtio-net größe 内存')).toBe('0000:00:03.0/virtio-net größe 内存');
  });
});

test('JSON shown on a terminal can neither drive it nor turn its text around, and is the same value', () => {
  const value = {
    'name\u202e': ['\u009b31m', '\u001b]0;x\u0007', 'a\u2066b\ufeff', '\u{e0041}', '\ud800', 'µ „q“ 日本 🙂'],
  };
  const text = plainJson(value);
  expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  expect(text).toContain('µ „q“ 日本 🙂');
  expect(JSON.parse(text)).toEqual(value);
});

test('a file is called by its name and its folder; a pipe by what it is', () => {
  expect([fileName('/a/b/c.pcap'), fileName('c.pcap'), fileName('-')]).toEqual([
    'b/c.pcap',
    'c.pcap',
    'standard input',
  ]);
});
