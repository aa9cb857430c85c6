import { describe, expect } from 'vitest';
import type { Connection } from '../../../src/report/report.js';
import {
  connection,
  direction,
  limits,
  MIB,
  MS,
  migration,
  quantiles,
  report,
  round,
  S,
  silent,
  speaks,
  timeline,
  unrecognised,
  withForward,
  withMigration,
} from './situation.js';

/** A sender that is often late: uneven, most of the time nothing to send. */
const late = timeline(10 * MS, 990, (index) =>
  (index * index * 37 + index * 11) % 101 < 30
    ? { bytes: ((index * 31) % 7) * 100_000, limit: 'Congestion' }
    : { limit: 'SenderApplication' },
);
const slow = { limitedBy: limits({ 'sender-application': 0.7, congestion: 0.3 }) };

describe('slow sending thread', () => {
  speaks(
    'R-C1',
    'nothing to send for 70 % of the time, no loss, no rhythm',
    withForward(slow, { tables: { timeline: late } }),
    { severity: 'major' },
  );
  silent('R-C1', 'the network sets the pace', withForward({}));
  silent(
    'R-C1',
    'an even rate is set by an interface',
    withForward(slow, {
      tables: { timeline: timeline(10 * MS, 990, () => ({ bytes: 1e6, limit: 'SenderApplication' })) },
    }),
  );
  silent(
    'R-C1',
    'encrypted: R-C2 tells it',
    withForward(slow, { tables: { timeline: late }, migration: { encryption: 'tls' } }),
  );
  silent('R-C1', 'over in half a second', withForward(slow, { migration: { endNs: 0.5 * S, phases: [] } }));
  silent('R-C1', 'with losses', withForward({ ...slow, retransmittedSegments: 100 }, { tables: { timeline: late } }));
});

describe('encryption', () => {
  speaks(
    'R-C2',
    'the same sender with TLS',
    withForward(slow, { tables: { timeline: late }, migration: { encryption: 'tls' } }),
    { severity: 'major' },
  );
  silent('R-C2', 'TLS at line rate', withForward({}, { migration: { encryption: 'tls' } }));
  silent('R-C2', 'without TLS', withForward(slow, { tables: { timeline: late } }));
});

describe('zero pages', () => {
  const first = (zero: number) =>
    withMigration({
      rounds: [{ ...round(1, 0, 9, 10_000), pages: { normal: 10_000, zero, xbzrle: 0, compressed: 0 } }],
    });
  speaks('R-C1b', 'nine of ten pages are empty', first(90_000), { severity: 'info' });
  silent('R-C1b', 'half of them are', first(10_000));
});

describe('tunnelled migration', () => {
  const through = (port: number) =>
    report({ migrations: [], connections: [unrecognised({ server: { address: '10.0.0.2', port } })] });
  speaks('R-C4', 'a gigabyte through SSH and no migration beside it', through(22), {
    severity: 'minor',
    metrics: { port: 22 },
  });
  speaks(
    'R-C4',
    'libvirt carries the stream in its own messages',
    withForward(
      {},
      { connection: { server: { port: 16_509 } }, migration: { stream: { features: ['tunnelled-by-libvirt'] } } },
    ),
    { confidence: 0.95 },
  );
  speaks(
    'R-C4',
    'a proxy was asked for the destination',
    withForward({}, { migration: { proxies: [{ kind: 'socks5', from: null, to: 'kvm2:49152\x1b[2J' }] } }),
    { confidence: 0.95, text: expect.stringContaining('runs through a SOCKS 5 proxy (to kvm2:49152') },
  );
  speaks('R-C4', 'the second leg of a relay', withForward({}, { migration: { relayOf: 3 } }), {
    confidence: 0.95,
    text: expect.stringContaining('the first is migration 3'),
  });
  speaks(
    'R-C4',
    'a gigabyte in a connection that greets as SSH',
    report({
      migrations: [],
      connections: [
        unrecognised({
          server: { address: '10.0.0.2', port: 2222 },
          opaque: { kind: 'ssh', banner: 'SSH-2.0-x', holds: null },
        }),
      ],
    }),
    { metrics: { port: 2222 } },
  );
  silent('R-C4', 'a gigabyte to some other port', through(3260));
  silent(
    'R-C4',
    'SSH beside a migration',
    report({ connections: [connection(), unrecognised({ id: 1, server: { address: '10.0.0.2', port: 22 } })] }),
  );
});

describe('CPU quota', () => {
  const bursts = (size: (burst: number) => number) =>
    timeline(10 * MS, 990, (_, startNs) => {
      const burst = Math.floor(startNs / (100 * MS));
      return startNs - burst * 100 * MS < 30 * MS ? { bytes: size(burst) / 3 } : { limit: 'SenderApplication' };
    });
  speaks(
    'R-C5',
    'bursts every 100 ms of different size',
    withForward({}, { tables: { timeline: bursts((burst) => (4 + ((burst * 7) % 10)) * MIB) } }),
    { severity: 'major' },
  );
  silent(
    'R-C5',
    'losses make bursts differ',
    withForward(
      { retransmittedSegments: 1400, retransmittedBytes: 2e6 },
      { tables: { timeline: bursts((burst) => (4 + ((burst * 7) % 10)) * MIB) } },
    ),
  );
  silent(
    'R-C5',
    'a path of 20 ms, on which TCP shapes the bursts',
    withForward(
      { rttNs: quantiles(20 * MS, 21 * MS, 30 * MS) },
      {
        connection: { handshakeRttNs: 20 * MS },
        tables: { timeline: bursts((burst) => (4 + ((burst * 7) % 10)) * MIB) },
      },
    ),
  );
  silent(
    'R-C5',
    'bursts of equal size are a rate limit',
    withForward({}, { tables: { timeline: bursts(() => 8 * MIB) } }),
  );
});

const channel = (id: number, uniqueBytes: number, parts: object = {}) =>
  connection({
    id,
    channel: { kind: 'multifd', index: id - 1, migration: 0 },
    directions: [direction({ uniqueBytes, ...parts }), direction({ uniqueBytes: 100, limitedBy: null })],
  });
const multifd = (loads: number[], parts: object = {}, tables = {}, more: object = {}) =>
  report({
    connections: [
      connection({ directions: [direction({ uniqueBytes: 1e5 }), direction({ uniqueBytes: 100 })] }),
      ...loads.map((load, at) => channel(at + 1, load, parts)),
    ],
    migrations: [migration({ connections: [0, ...loads.map((_, at) => at + 1)], ...more })],
    tables,
  });

describe('too few channels', () => {
  const both = timeline(10 * MS, 990, (index) =>
    (index * index * 37 + index * 11) % 101 < 30
      ? { direction: 2, bytes: ((index * 31) % 7) * 100_000 }
      : { direction: 2, limit: 'SenderApplication' },
  );
  speaks('R-D1', 'two channels and the network waits for both', multifd([5e8, 5e8], slow, { timeline: both }), {
    severity: 'major',
    metrics: { channels: 2 },
  });
  silent('R-D1', 'one connection', withForward(slow, { tables: { timeline: late } }));
  silent('R-D1', 'sixteen are enough', multifd(new Array(16).fill(6e7), slow, { timeline: both }));
});

describe('uneven channels', () => {
  speaks('R-D3', 'one of four carries a tenth of the others', multifd([3e8, 3e8, 3e8, 3e7]), {
    severity: 'info',
    connections: [4],
  });
  const sick = { retransmittedBytes: 2e7, limitedBy: limits({ recovery: 0.9, congestion: 0.1 }) };
  const waits = { limitedBy: limits({ idle: 0.75, congestion: 0.25 }) };
  const fourth = (parts: object, others: object) =>
    report({
      connections: [
        connection(),
        channel(1, 3e8, others),
        channel(2, 3e8, others),
        channel(3, 3e8, others),
        channel(4, 2e8, parts),
      ],
      migrations: [migration({ connections: [0, 1, 2, 3, 4] })],
    });
  speaks('R-D3', 'one of four loses a tenth of its packets, the others wait for it', fourth(sick, waits), {
    severity: 'major',
    connections: [4],
    metrics: { waitShare: 0.75, repeatedShare: 0.1 },
  });
  speaks(
    'R-D3',
    'one of four has a round trip of 30 ms, the others wait for it',
    fourth({ limitedBy: limits({ congestion: 1 }), rttNs: quantiles(30 * MS, 30 * MS, 31 * MS) }, waits),
    { severity: 'major', connections: [4] },
  );
  silent('R-D3', 'one loses packets, but nobody waits for it', fourth(sick, { limitedBy: limits({ congestion: 1 }) }));
  silent('R-D3', 'all lose packets', fourth(sick, { ...waits, retransmittedBytes: 3e7 }));
  silent('R-D3', 'all carry about the same', multifd([3e8, 2.9e8, 3.1e8, 2.8e8]));
  silent('R-D3', 'too little data to even out', multifd([3e6, 1e5]));
});

describe('synchronisation stalls', () => {
  const gaps = (idle: (index: number) => boolean) =>
    timeline(10 * MS, 990, (index) =>
      idle(index) ? { direction: 2, limit: 'Idle' } : { direction: 2, bytes: 1e6, limit: 'SenderApplication' },
    );
  speaks(
    'R-D4',
    'all channels are idle a tenth of the time',
    multifd([5e8, 5e8], {}, { timeline: gaps((index) => index % 37 < 4) }),
    { severity: 'minor' },
  );
  silent(
    'R-D4',
    'the destination does not read',
    multifd(
      [5e8, 5e8],
      {},
      {
        timeline: timeline(10 * MS, 990, (index) =>
          index % 37 < 4 ? { direction: 2, limit: 'ReceiverWindow' } : { direction: 2, bytes: 1e6 },
        ),
      },
    ),
  );
  silent(
    'R-D4',
    'the congestion window is full in the gaps: each waits for acknowledgements',
    multifd(
      [5e8, 5e8],
      {},
      {
        timeline: timeline(10 * MS, 990, (index) =>
          index % 37 < 4 ? { direction: 2, limit: 'Congestion' } : { direction: 2, bytes: 1e6, limit: 'Congestion' },
        ),
      },
    ),
  );
  silent('R-D4', 'they never stop', multifd([5e8, 5e8], {}, { timeline: gaps(() => false) }));
});

describe('channels failed at set-up', () => {
  const broken = (closedFirstBy: 0 | 1, main: Partial<Connection> = { closedFirstBy: null }) =>
    report({
      connections: [
        { ...connection(), ...main },
        { ...channel(1, 1000), closedFirstBy, endedBy: 'rst' },
        { ...channel(2, 1000), closedFirstBy, endedBy: 'rst' },
      ],
      migrations: [
        migration({ connections: [0, 1, 2], outcome: 'failed', rounds: [], endNs: 0.3 * S, downtime: null }),
      ],
    });
  speaks('R-D5', 'the destination closes the channels at once', broken(1), { severity: 'fatal' });
  silent('R-D5', 'the source gave up', broken(0));
  const { endNs } = channel(1, 1000);
  const cancelled = { closedFirstBy: 0 as const, endNs: endNs - 1e5 };
  silent('R-D5', 'the source closed the main connection, then the destination the channels', broken(1, cancelled));
  const noticed = { closedFirstBy: 0 as const, endNs: endNs + 50e6 };
  speaks('R-D5', 'the source notices later that its channels are closed', broken(1, noticed), { severity: 'fatal' });
});
