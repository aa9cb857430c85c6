import { describe } from 'vitest';
import {
  altered,
  connection,
  direction,
  events,
  MS,
  report,
  S,
  signals,
  silences,
  silent,
  speaks,
  timeline,
  withForward,
  withMigration,
} from './situation.js';

const failed = { outcome: 'failed', downtime: null } as const;
const closedBy = (side: 0 | 1, more: object = {}) =>
  withForward({}, { connection: { closedFirstBy: side, endedBy: 'rst' }, migration: { ...failed, ...more } });

describe('broken off', () => {
  speaks(
    'R-H2',
    'the destination resets after a device',
    closedBy(1, { phases: [{ kind: 'device-state', startNs: 9 * S, endNs: 10 * S, bytes: 1 }] }),
    {
      severity: 'fatal',
      metrics: { closedFirstBy: 'destination', during: 'the state of virtio-net' },
    },
  );
  silent('R-H2', 'completed', withForward({}));
  silent('R-H2', 'the capture ended', withMigration({ outcome: 'incomplete', downtime: null }));

  const layout = { rounds: [], devices: [], bytes: { ramRecords: 9000 }, stream: { decodedBytes: 9400 } };
  speaks('R-H6', 'the destination closes after the list of RAM blocks', closedBy(1, layout), {
    severity: 'fatal',
    metrics: { blocks: 1 },
  });
  silent('R-H6', 'the source closes there', closedBy(0, layout));
  silent('R-H6', 'it had loaded memory for long', closedBy(1));
});

describe('TLS handshake', () => {
  const ends = { from: '10.0.0.1', sourcePort: 40_000, about: '10.0.0.2', port: 49_152 };
  const back = { from: ends.about, sourcePort: ends.port, about: ends.from, port: ends.sourcePort };
  const hello = { kind: 'tls-hello', frame: 4, tNs: 0.01 * S, ...ends };
  const tls = (uniqueBytes: number, said: Parameters<typeof signals> = [hello], parts: object = {}) =>
    report({
      connections: [
        connection({
          endNs: 0.05 * S,
          closedFirstBy: 1,
          channel: { kind: 'unknown', index: null, migration: null },
          directions: [direction({ uniqueBytes }), direction({ uniqueBytes: 3000 })],
          ...parts,
        }),
      ],
      migrations: [],
      tables: { signals: signals(...said) },
    });
  speaks('R-H3', 'closed after 4 kB', tls(1000), { severity: 'fatal', metrics: { closedFirstBy: 'destination' } });
  speaks(
    'R-H3',
    'refused in clear',
    tls(1000, [hello, { kind: 'tls-alert', frame: 5, tNs: 0.02 * S, code: 48, ...back }]),
    {
      confidence: 0.95,
      metrics: { alert: 'unknown CA' },
    },
  );
  silent('R-H3', 'closed after 100 MB', tls(1e8));
  silent('R-H3', 'no TLS was asked for', tls(1000, []));
  silent(
    'R-H3',
    'a short exchange on another port',
    tls(1000, [hello], { server: { address: '10.0.0.2', port: 443 } }),
  );
});

describe('name resolution', () => {
  const failing = {
    signals: signals(
      { kind: 'dns-failure', frame: 4, tNs: 1 * S, name: 'dest.example' },
      { kind: 'dns-unanswered', frame: 9, tNs: 6 * S, name: 'dest.example' },
    ),
  };
  speaks(
    'R-H4',
    'a name without address, and no connection',
    report({ connections: [], migrations: [], tables: failing }),
    { metrics: { name: 'dest.example', queries: 2, unanswered: 1 } },
  );
  silent('R-H4', 'the migration took place all the same', report({ tables: failing }));
});

describe('storage beside memory', () => {
  const mirror = (uniqueBytes: number, startNs: number) =>
    report({
      connections: [
        connection(),
        connection({
          id: 1,
          startNs,
          channel: { kind: 'nbd', index: null, migration: 0 },
          server: { address: '10.0.0.2', port: 10_809 },
          directions: [direction({ uniqueBytes }), direction({ uniqueBytes: 1000 })],
        }),
      ],
    });
  speaks('R-I1', 'a disk mirror runs beside the rounds', mirror(1e9, 0), { severity: 'major', connections: [0, 1] });
  silent(
    'R-I1',
    'it ends before memory moves',
    altered(mirror(1e9, 0), {
      migrations: [{ ...report().migrations[0]!, startNs: 10 * S, endNs: 20 * S, phases: [] }],
    }),
  );
  silent(
    'R-I1',
    'it is in step and only keeps its connection',
    altered(mirror(1e9, 0), {
      tables: { timeline: timeline(100 * MS, 100, (at) => ({ direction: 2, bytes: at < 2 ? 0 : 100 })) },
    }),
  );
  const copied = (rewrittenBytes: number, endNs: number) =>
    report({
      migrations: [
        altered(report().migrations[0]!, {
          disks: [
            {
              connection: 1,
              name: 'drive-virtio-disk0',
              writtenBytes: 4e8 + rewrittenBytes,
              zeroedBytes: 0,
              readBytes: 0,
              rewrittenBytes,
              sweptNs: 4 * S,
              requests: 1000,
              startNs: 0,
              endNs,
            },
          ],
        }),
      ],
    });
  speaks('R-I2', 'after the first pass it writes again as fast', copied(4e8, 9 * S), {
    metrics: { rewrittenBytes: 4e8, firstRate: 1e8, againRate: 8e7 },
    connections: [1],
  });
  silent('R-I2', 'it is in step and carries what the guest writes', copied(1e7, 9 * S));
  silent('R-I2', 'its last blocks follow the first pass', copied(2e7, 4.2 * S));
  speaks('R-I3', 'ten times as much disk as memory', mirror(1e10, 0), { severity: 'info' });
  silent('R-I3', 'as much disk as memory', mirror(1e9, 0));
});

describe('secrecy', () => {
  speaks('R-K1', 'the stream could be read', withForward({}), { severity: 'info' });
  silent('R-K1', 'it is encrypted', withMigration({ encryption: 'tls' }));
  silent('R-K1', 'it was encrypted and the keys were given', withMigration({ encryption: 'tls-decrypted' }));
});

describe('post-copy background', () => {
  const afterSwitch = (limit: 'Congestion' | 'SenderApplication') => ({
    tables: { timeline: timeline(100 * MS, 100, () => ({ bytes: 1e7, limit })) },
    migration: { postcopy: { startNs: 4 * S, endNs: 9 * S, requests: 0, pages: 1, requestLatencyNs: null } },
  });
  speaks('R-G3', 'the path is full after the switch', withForward({}, afterSwitch('Congestion')), { severity: 'info' });
  silent('R-G3', 'the sender holds back', withForward({}, afterSwitch('SenderApplication')));
});

describe('control connection', () => {
  const control = (parts: Parameters<typeof connection>[0]) =>
    report({
      connections: [
        connection(),
        connection({
          id: 1,
          channel: { kind: 'unknown', index: null, migration: null },
          server: { address: '10.0.0.2', port: 16_509 },
          endedBy: 'rst',
          endNs: 9.5 * S,
          ...parts,
        }),
      ],
      migrations: [altered(report().migrations[0]!, failed)],
    });
  speaks('R-H5', 'libvirt’s connection is reset half a second before', control({}), {
    severity: 'fatal',
    connections: [1, 0],
  });
  silent('R-H5', 'it ended in order', control({ endedBy: 'fin' }));
  silent('R-H5', 'it is about other hosts', control({ server: { address: '10.0.0.9', port: 16_509 } }));
});

describe('state lost on the way', () => {
  const lost = (silenceEndNs: number, timeouts: number, parts: object = {}) =>
    report({
      connections: [connection({ closedFirstBy: 1, endedBy: 'rst', endNs: 10 * S, ...parts })],
      migrations: [altered(report().migrations[0]!, failed)],
      tables: {
        silences: silences({ direction: 1, from: '10.0.0.2', to: '10.0.0.1', startNs: 7 * S, endNs: silenceEndNs }),
        tcpEvents: events(
          ...Array.from({ length: timeouts }, (_, at) => ({
            kind: 'retransmission-timeout' as const,
            frame: 900 + at,
            tNs: (7.3 + at * 0.5) * S,
          })),
        ),
      },
    });
  speaks('R-H9', 'three timeouts without an answer, then a reset', lost(10 * S, 3), {
    severity: 'fatal',
    metrics: { silenceNs: 3 * S, timeouts: 3 },
  });
  silent('R-H9', 'the other side had been heard again', lost(8 * S, 2));
  silent('R-H9', 'nothing was sent meanwhile', lost(10 * S, 0));
  silent('R-H9', 'the source gave up', lost(10 * S, 3, { closedFirstBy: 0 }));
});

describe('another program on the port', () => {
  const answer = (sourcePort: number, port: number, type: number) => ({
    kind: 'tcp-answer',
    frame: 2,
    tNs: 0.001 * S,
    from: '10.0.0.2',
    about: '10.0.0.1',
    sourcePort,
    port,
    type,
  });
  const beside = (hopLimit: number, migrationBytes = 5000) =>
    report({
      connections: [
        connection(),
        connection({
          id: 1,
          client: { address: '10.0.0.1', port: 40_001 },
          server: { address: '10.0.0.2', port: 22 },
          channel: { kind: 'unknown', index: null, migration: null },
        }),
      ],
      migrations: [altered(report().migrations[0]!, { ...failed, bytes: { total: migrationBytes } })],
      tables: { signals: signals(answer(49_152, 40_000, hopLimit), answer(22, 40_001, 64)) },
    });
  speaks('R-H8', 'who answers there is one router further', beside(63), {
    severity: 'fatal',
    metrics: { otherPort: 22, differences: 'hop limit 63 instead of 64' },
  });
  silent('R-H8', 'one host answers on both ports', beside(64));
  silent('R-H8', 'half a migration was taken', beside(63, 5e8));
});

describe('public addresses', () => {
  const between = (source: string, destination: string) =>
    report({
      connections: [
        connection({ client: { address: source, port: 40_000 }, server: { address: destination, port: 49_152 } }),
      ],
      migrations: [altered(report().migrations[0]!, { source, destination })],
    });
  speaks('R-K3', 'clear text over IPv4', between('198.51.100.4', '198.51.100.5'), { severity: 'minor' });
  speaks('R-K3', 'clear text over IPv6', between('2001:db8::1', 'fd00::2'), { metrics: { addresses: '2001:db8::1' } });
  const answered = (hopLimit: number, parts: object = {}) =>
    altered(withForward({}, { migration: parts }), {
      tables: {
        signals: signals({
          kind: 'tcp-answer',
          frame: 2,
          tNs: 0.001 * S,
          from: '10.0.0.2',
          sourcePort: 49_152,
          about: '10.0.0.1',
          port: 40_000,
          type: hopLimit,
        }),
      },
    });
  speaks('R-K2', 'two routers on the way', answered(62), { severity: 'minor', metrics: { hops: 2 } });
  silent('R-K2', 'the same network', answered(64));
  silent('R-K2', 'one router between two migration networks', answered(63));
  silent('R-K2', 'encrypted', answered(62, { encryption: 'tls' }));
  silent('R-K3', 'private addresses', between('172.16.0.4', 'fd00::2'));
  silent(
    'R-K3',
    'encrypted',
    altered(between('198.51.100.4', '198.51.100.5'), {
      migrations: [altered(report().migrations[0]!, { source: '198.51.100.4', encryption: 'tls' })],
    }),
  );
});
