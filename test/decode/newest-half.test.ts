import { expect, test } from 'vitest';
import { newestHalf } from '../../src/decode/newest-half.js';

test('the entries inserted last stay, in their order', () => {
  const map = new Map([7, 3, 9, 1, 5].map((key) => [key, `v${key}`]));
  map.delete(3);
  map.set(7, 'again'); // keeps its place
  expect(Array.from(newestHalf(map))).toEqual([
    [1, 'v1'],
    [5, 'v5'],
  ]);
});
