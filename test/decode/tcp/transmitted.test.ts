import { describe, expect, test } from 'vitest';
import { Transmitted } from '../../../src/decode/tcp/transmitted.js';
import { TRANSMITTED_SEGMENTS } from '../../../src/limits.js';

describe('what one direction transmitted', () => {
  test('an entry is found by any of its bytes', () => {
    const ring = new Transmitted();
    for (let n = 0; n < 100; n++) ring.append(n * 10, 10, n, 500 + n, n, 1);
    expect([0, 9, 10, 555, 999].map((offset) => ring.find(offset))).toEqual([0, 0, 1, 55, 99]);
    expect(ring.find(1000)).toBe(ring.next);
    expect([ring.tsValue(55), ring.ipId(55), ring.sentNs(55), ring.sends(55)]).toEqual([555, 55, 55, 1]);
  });

  test('sending a range again touches every entry it overlaps and no unseen one', () => {
    const ring = new Transmitted();
    ring.append(0, 10, 1, 1, 1, 1);
    ring.append(10, 10, 1, 0, 0, 0);
    ring.append(20, 10, 1, 1, 2, 1);
    ring.sentAgain(5, 25, 9, 9, 9);
    expect([0, 1, 2].map((entry) => ring.sends(entry))).toEqual([2, 0, 2]);
  });

  test('acknowledged entries stay until they are old', () => {
    const ring = new Transmitted();
    for (let n = 0; n < 50; n++) ring.append(n * 10, 10, n, 0, 0, 1);
    ring.acknowledge(255);
    expect(ring.unacked).toBe(25);
    ring.retire(10);
    expect([ring.first, ring.find(100)]).toEqual([10, 10]);
    ring.retire(1000);
    expect(ring.first).toBe(25);
  });

  test('growing keeps every entry where it was, also when the ring has wrapped', () => {
    const ring = new Transmitted();
    for (let n = 0; n < 1000; n++) {
      ring.append(n * 10, 10, n, n, 0, 1);
      if (n % 3 === 0 && n > 20) {
        ring.acknowledge((n - 20) * 10);
        ring.retire(n - 20);
      }
      if (n === 400)
        for (let extra = 0; extra < 5; extra++)
          expect(ring.start(ring.first + extra)).toBe(ring.first * 10 + extra * 10);
    }
    for (let entry = ring.first; entry < ring.next; entry++) expect(ring.tsValue(entry)).toBe(entry);
  });

  test('beyond the limit the oldest go, and it is counted when they were not acknowledged', () => {
    const ring = new Transmitted();
    for (let n = 0; n < TRANSMITTED_SEGMENTS + 3; n++) ring.append(n, 1, n, 0, 0, 1);
    expect([ring.first, ring.next - ring.first, ring.dropped]).toEqual([3, TRANSMITTED_SEGMENTS, 3]);
  });
});
