import { expect, test } from 'vitest';
import { rfc3339 } from '../../src/report/from-results.js';

test('the start of a capture to the nanosecond', () => {
  expect(rfc3339(1_700_000_000_123_456_789n)).toBe('2023-11-14T22:13:20.123456789Z');
});

test('a year that RFC 3339 cannot write, or before there were captures, is not known', () => {
  expect(rfc3339(-1n)).toBeNull();
  expect(rfc3339(253_402_300_799_999_999_999n)).toBe('9999-12-31T23:59:59.999999999Z');
  expect(rfc3339(253_402_300_800_000_000_000n)).toBeNull();
  expect(rfc3339(10n ** 30n)).toBeNull();
});
