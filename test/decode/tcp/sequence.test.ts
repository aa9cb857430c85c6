import { describe, expect, test } from 'vitest';
import { advance, seqDistance, unwrap } from '../../../src/decode/tcp/sequence.js';
import { random } from '../../support/random.js';

describe('sequence arithmetic', () => {
  test('distance is signed and does not care where the space wraps', () => {
    expect([
      seqDistance(5, 9),
      seqDistance(9, 5),
      seqDistance(0xffff_fff0, 0x10),
      seqDistance(0x10, 0xffff_fff0),
    ]).toEqual([4, -4, 32, -32]);
  });

  test('the farthest number is 2 GiB behind, never ahead', () => {
    expect(seqDistance(0, 0x8000_0000)).toBe(-(2 ** 31));
  });

  test('unwrapping and advancing are inverse, anywhere in a stream of petabytes', () => {
    const source = random(7);
    for (let round = 0; round < 10_000; round++) {
      const reference = source.below(2 ** 31) * source.below(2 ** 20);
      const raw = source.below(2 ** 32);
      const step = source.below(2 ** 32) - 2 ** 31;
      expect(unwrap(advance(raw, step), raw, reference)).toBe(reference + step);
    }
  });
});
