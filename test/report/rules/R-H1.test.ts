import { describe, expect, test } from 'vitest';
import { connection, direction, findings, migration, report, S } from './situation.js';

const silent = {
  payloadBytes: 0,
  uniqueBytes: 0,
  dataFrames: 0,
  rttNs: null,
  window: null,
  inFlight: null,
  limitedBy: null,
};

const attempt = (parts: Parameters<typeof connection>[0], frames: [number, number]) =>
  connection({
    handshakeRttNs: null,
    endNs: 0.001 * S,
    options: { mss: [1460, null], windowScale: [7, null], sack: null, timestamps: null },
    channel: { kind: 'unknown', index: null, migration: null },
    directions: [direction({ ...silent, frames: frames[0] }), direction({ ...silent, frames: frames[1] })],
    ...parts,
  });

const refused = attempt({ endedBy: 'rst', closedFirstBy: 1 }, [1, 1]);
const unanswered = attempt({ endedBy: 'idle', closedFirstBy: null, endNs: 7 * S }, [4, 0]);

describe('destination not reachable', () => {
  test('a SYN answered by a reset: nobody listens', () => {
    const data = report({ connections: [refused], migrations: [] });
    const [finding] = findings('R-H1', data);
    expect(finding).toMatchObject({ severity: 'fatal', packets: [1], metrics: { how: 'refused', port: 49152 } });
    expect(finding!.text).toContain('10.0.0.2 refused the connection to port 49152');
  });

  test('SYNs without any answer: filtered or down', () => {
    const data = report({ connections: [unanswered], migrations: [] });
    expect(findings('R-H1', data)).toMatchObject([{ severity: 'fatal', metrics: { how: 'unanswered', tries: 4 } }]);
  });

  test('a refusal before a migration that then works is only worth a note', () => {
    const data = report({
      connections: [connection(), { ...refused, id: 1 }],
      migrations: [migration({ startNs: 1 * S })],
    });
    expect(findings('R-H1', data)).toMatchObject([{ severity: 'minor' }]);
  });

  test('a refused connection to some other service does not concern a migration that is in the capture', () => {
    const other = { ...refused, id: 1, server: { address: '10.0.0.9', port: 80 } };
    expect(findings('R-H1', report({ connections: [connection(), other] }))).toEqual([]);
  });

  test('nor one beside a bulk transfer that may be the migration', () => {
    const bulk = connection({ channel: { kind: 'unknown', index: null, migration: null } });
    const other = { ...refused, id: 1, server: { address: '10.0.0.9', port: 80 } };
    expect(findings('R-H1', report({ connections: [bulk, other], migrations: [] }))).toEqual([]);
  });

  test('a connection that opens and then stalls was reachable', () => {
    const stalled = connection({ endedBy: 'rst', closedFirstBy: 1 });
    expect(findings('R-H1', report({ connections: [stalled], migrations: [] }))).toEqual([]);
  });
});
