import { expect, test } from 'vitest';
import type { ConnectionEnding, ConnectionIdentity } from '../../src/migration-stream/group.js';
import { presumedChannels, unreadDirection } from '../../src/migration-stream/presumed.js';

const SOURCE = { address: '10.0.0.1', port: 40_000 };
const DESTINATION = { address: '10.0.0.2', port: 49_152 };
const MIGRATION: ConnectionIdentity = { client: SOURCE, server: DESTINATION, startNs: 0 };
const quiet = { pipe: null, uniqueBytes: 0, unseenBytes: 0, firstDataNs: null, lastDataNs: null };
const busy = { pipe: null, uniqueBytes: 900, unseenBytes: 100, firstDataNs: 5, lastDataNs: 15 };
const ending = (of: Partial<ConnectionEnding> = {}): ConnectionEnding => ({
  id: 7,
  endNs: 20,
  endedBy: 'fin',
  closedFirstBy: 0,
  completeness: 8,
  directions: [busy, quiet],
  ...of,
});
const found = (one: ConnectionEnding, identity: Partial<ConnectionIdentity> = {}, isKnown = false): unknown[] =>
  presumedChannels(
    MIGRATION,
    0,
    10,
    [one],
    () => ({ ...MIGRATION, ...identity }),
    () => isKnown,
  );

test('what goes to the same port at the same time is a channel', () => {
  const channel = { kind: 'multifd', connection: 7, direction: 14, bytes: 1000, firstNs: 5, lastNs: 15 };
  expect(found(ending())).toEqual([channel]);
  // Midway, the side that was seen first may be the server.
  const turned = { client: DESTINATION, server: SOURCE };
  expect(found(ending({ directions: [quiet, busy] }), turned)).toEqual([{ ...channel, direction: 15 }]);
});

test('another port, another host, another time, an answer or nothing at all is none', () => {
  expect(found(ending(), { server: { ...DESTINATION, port: 49_153 } })).toEqual([]);
  expect(found(ending(), { client: { ...SOURCE, address: '10.0.0.3' } })).toEqual([]);
  expect(found(ending({ directions: [{ ...busy, firstDataNs: 11 }, quiet] }))).toEqual([]);
  expect(found(ending({ directions: [quiet, busy] }))).toEqual([]);
  expect(found(ending({ directions: [quiet, quiet] }))).toEqual([]);
});

test('what was read, or was seen to begin, is what it said it was', () => {
  expect(found(ending(), {}, true)).toEqual([]);
  expect(found(ending({ completeness: 9 }))).toEqual([]);
});

test('a direction that is not known carries nothing', () => {
  expect(unreadDirection(14, undefined)).toBeNull();
  expect(unreadDirection(14, ending({ directions: [{ pipe: null }, quiet] }))).toBeNull();
});
