import { describe } from 'vitest';
import {
  altered,
  connection,
  direction,
  MS,
  report,
  S,
  signals,
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

  const layout = { rounds: [], devices: [], pages: { normal: 0, zero: 0 }, stream: { decodedBytes: 400 } };
  speaks('R-H6', 'the destination closes after the list of RAM blocks', closedBy(1, layout), {
    severity: 'fatal',
    metrics: { blocks: 1 },
  });
  silent('R-H6', 'the source closes there', closedBy(0, layout));
  silent('R-H6', 'pages had been sent', closedBy(1));
});

describe('TLS handshake', () => {
  const tls = (uniqueBytes: number) =>
    report({
      connections: [
        connection({ closedFirstBy: 1, directions: [direction({ uniqueBytes }), direction({ uniqueBytes: 3000 })] }),
      ],
      migrations: [altered(report().migrations[0]!, { ...failed, encryption: 'tls', endNs: 0.05 * S })],
    });
  speaks('R-H3', 'closed after 4 kB', tls(1000), { severity: 'fatal' });
  silent('R-H3', 'closed after 100 MB', tls(1e8));
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
  silent('R-K3', 'private addresses', between('172.16.0.4', 'fd00::2'));
  silent(
    'R-K3',
    'encrypted',
    altered(between('198.51.100.4', '198.51.100.5'), {
      migrations: [altered(report().migrations[0]!, { source: '198.51.100.4', encryption: 'tls' })],
    }),
  );
});
