import { describe, expect, test } from 'vitest';
import { suspect, type TunnelledBulk } from '../../../src/report/models/tunnelled.js';

const MS = 1e6;

/** Bursts as [start ms, length ms, MB]. */
const bursts = (...list: readonly (readonly [number, number, number])[]): TunnelledBulk['bursts'] =>
  list.map(([start, length, megabytes]) => ({
    startNs: start * MS,
    endNs: (start + length) * MS,
    bytes: megabytes * 1e6,
  }));

/** 30 MB without a pause, as a path makes it that is slower than the source; nothing else is known. */
const bulk = (parts: Partial<TunnelledBulk> = {}): TunnelledBulk => ({
  startNs: 0,
  endNs: 1000 * MS,
  lastReplyNs: 1002 * MS,
  bytes: 30e6,
  receiverQuiet: null,
  receiverMessages: null,
  bytesBeforeMessages: null,
  openingMessages: null,
  bursts: bursts([0, 1000, 30]),
  wholeBursts: true,
  stepNs: 0,
  ...parts,
});
const QUIET = { receiverQuiet: true, receiverMessages: 0, openingMessages: 2 };
const SLICES = bursts(...Array.from({ length: 20 }, (_, i) => [100 * i + (i % 3), 30, 1.5] as const));
const ROUNDS = bursts([0, 1000, 32], [1020, 500, 16], [1540, 250, 8], [1810, 125, 4]);

describe('what sizes and times say of a bulk transfer', () => {
  test('nothing but bulk is unknown', () => {
    const { verdict, confidence, rounds, noRounds, downtimeNs } = suspect(bulk());
    expect({ verdict, confidence, rounds, noRounds, downtimeNs }).toEqual({
      verdict: 'unknown-bulk',
      confidence: 0.1,
      rounds: null,
      noRounds: 'it is not known to be a migration',
      downtimeNs: null,
    });
  });

  test('a file over a bare connection: the receiver is quiet, but nothing opens it', () => {
    expect(suspect(bulk({ ...QUIET, openingMessages: 0 }))).toMatchObject({ verdict: 'unknown-bulk', confidence: 0.3 });
  });

  test('a quiet receiver and a few small messages before the bulk', () => {
    const suspicion = suspect(bulk(QUIET));
    expect(suspicion).toMatchObject({ verdict: 'suspected-migration', confidence: 0.4, rounds: null });
    expect(suspicion.noRounds).toContain('never paused');
  });

  test('a receiver that answers rules a migration out, whatever the rhythm', () => {
    const talks = { receiverQuiet: false, receiverMessages: 5, bytesBeforeMessages: 0, openingMessages: 2 };
    expect(suspect(bulk({ ...talks, bursts: SLICES }))).toMatchObject({
      verdict: 'unknown-bulk',
      confidence: 0.1,
      signs: [],
    });
  });

  test('requests that begin midway are those of post-copy', () => {
    const asks = { receiverQuiet: false, receiverMessages: 200, bytesBeforeMessages: 20e6, openingMessages: 1 };
    expect(suspect(bulk(asks))).toMatchObject({ verdict: 'suspected-migration', confidence: 0.4 });
    expect(suspect(bulk({ ...asks, receiverMessages: 3 })).verdict).toBe('unknown-bulk');
    expect(suspect(bulk({ ...asks, bytesBeforeMessages: 1e6 })).verdict).toBe('unknown-bulk');
  });

  test('the rhythm of a rate limit, and no rounds from its pauses', () => {
    const suspicion = suspect(bulk({ bursts: SLICES }));
    expect(suspicion).toMatchObject({ verdict: 'suspected-migration', confidence: 0.4, rounds: null });
    expect(suspicion.noRounds).toContain('rate limit');
    expect(suspect(bulk({ ...QUIET, bursts: SLICES })).confidence).toBe(0.7);
  });

  test('pauses without a rhythm are none', () => {
    const irregular = bursts(...[0, 123, 501, 1184, 1654, 1993, 2490, 2987, 3100].map((at) => [at, 50, 3] as const));
    expect(suspect(bulk({ bursts: irregular }))).toMatchObject({ verdict: 'unknown-bulk', confidence: 0.1 });
  });

  test('bursts that shrink by one ratio are rounds', () => {
    const { rounds, confidence, noRounds } = suspect(bulk({ ...QUIET, bytes: 60e6, bursts: ROUNDS }));
    expect(rounds?.ratio).toBe(0.5);
    expect(rounds?.rounds).toHaveLength(4);
    expect({ confidence, noRounds }).toEqual({ confidence: 0.6, noRounds: null });
  });

  test('rounds are not told where bursts are missing, nor of what is not suspected', () => {
    expect(suspect(bulk({ ...QUIET, bursts: ROUNDS, wholeBursts: false })).rounds).toBeNull();
    expect(suspect(bulk({ bursts: ROUNDS }))).toMatchObject({ verdict: 'unknown-bulk', rounds: null });
  });

  test('a long pause before a last short burst is the switch-over, at least', () => {
    const switched = { ...QUIET, bursts: bursts([0, 600, 29], [610, 200, 0.8], [960, 40, 0.2]) };
    expect(suspect(bulk(switched)).downtimeNs).toBe((1002 - 810) * MS);
    const early = { ...QUIET, bursts: bursts([0, 300, 20], [600, 200, 9.8], [900, 100, 0.2]) };
    expect(suspect(bulk(early))).toMatchObject({ downtimeNs: null }); // a longer pause came before
    const long = { ...QUIET, bursts: bursts([0, 600, 20], [800, 200, 10]) };
    expect(suspect(bulk(long)).downtimeNs).toBeNull();
  });
});
