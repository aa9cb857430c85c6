// Phases follow one another: none begins before the one before it ended, whatever the marks say.
import { expect, test } from 'vitest';
import { Phases } from '../../src/migration-stream/phases.js';

test('a phase whose begin was not seen begins where the one before it ended', () => {
  const phases = new Phases(21_000);
  phases.enter('precopy', 0, 0);
  phases.enter('postcopy', 30_000, 400);
  phases.leave(40_000, 500);
  expect(phases.finished).toEqual([
    { kind: 'setup', startNs: 21_000, endNs: 21_000, bytes: 0 },
    { kind: 'precopy', startNs: 21_000, endNs: 30_000, bytes: 400 },
    { kind: 'postcopy', startNs: 30_000, endNs: 40_000, bytes: 100 },
  ]);
});
