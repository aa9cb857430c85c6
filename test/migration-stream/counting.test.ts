import { describe, expect, test } from 'vitest';
import { countingRules } from '../../src/migration-stream/counting.js';
import type { Migration } from '../../src/migration-stream/results.js';

type Counted = Parameters<typeof countingRules>[0];

const round = { startNs: 0 } as Migration['rounds'][number];
const plain: Counted = {
  outcome: 'incomplete',
  features: ['return-path'],
  rounds: [round],
  pages: { normal: 10, zero: 0, xbzrle: 0, compressed: 0, distinct: 10, resent: 0 },
  downtime: { endNs: 5 } as Migration['downtime'],
  postcopy: null,
  returnPath: { shut: 1 },
};
const rules = (more: Partial<Counted>): string[] =>
  countingRules({ ...plain, ...more }).map(({ figure, text }) => `${figure}: ${text}`);

describe('what query-migrate counts otherwise', () => {
  test('plain pre-copy: only readings of the dirty log that left no trace', () => {
    expect(rules({})).toEqual([
      expect.stringMatching(/^rounds: .*dirty-sync-count.*leaves no trace\.$/),
      expect.stringMatching(/^downtime: .*asked to stop/),
    ]);
  });

  test('XBZRLE: passes over pages that did not change', () => {
    expect(rules({ features: ['xbzrle'], downtime: null })).toEqual([
      expect.stringContaining('a whole pass may leave no trace'),
      expect.stringMatching(/^pages: .*XBZRLE/),
    ]);
  });

  test('multifd without flush marks may send a page twice; with them it does not', () => {
    expect(rules({ features: ['multifd'] })).toContainEqual(expect.stringContaining('up to 1 % more'));
    const repeating = rules({ features: ['multifd', 'multifd-repeats'] });
    expect(repeating).toContainEqual(expect.stringContaining('again with each SYNC'));
    expect(repeating).not.toContainEqual(expect.stringContaining('up to 1 % more'));
    expect(rules({ features: ['multifd', 'multifd-flush'], downtime: null })).toHaveLength(1);
  });

  test('an estimate holds the bytes of a disk that travels in the same stream', () => {
    expect(rules({ features: ['rounds-inferred', 'block'] })).toContainEqual(expect.stringMatching(/^pages: .*disk/));
    expect(rules({ features: ['rounds-inferred'] })).not.toContainEqual(expect.stringContaining('disk'));
  });

  test('the old compression, a connection that broke in post-copy', () => {
    expect(rules({ features: ['compress'] })).toContainEqual(expect.stringContaining('stale page'));
    const postcopy = {} as Migration['postcopy'];
    expect(rules({ postcopy, returnPath: { 'resume-ack': 1 } })).toContainEqual(expect.stringContaining('broke'));
    expect(rules({ postcopy })).not.toContainEqual(expect.stringContaining('broke'));
  });

  test('downtime: without SHUT, and in post-copy', () => {
    expect(rules({ returnPath: {} })).toContainEqual(expect.stringContaining('last byte is handed to the socket'));
    expect(rules({ postcopy: {} as Migration['postcopy'] })).toContainEqual(expect.stringContaining('device state'));
    expect(rules({ downtime: null, returnPath: {} })).toHaveLength(1);
    expect(rules({ outcome: 'completed', downtime: null })).toContainEqual(
      expect.stringMatching(/^downtime: Not told/),
    );
  });

  test('nothing is said of figures that are not there', () => {
    expect(rules({ rounds: [], downtime: null })).toEqual([]);
  });
});
