// Bulk transfers inside tunnels that cannot be opened.
import { describe, expect } from 'vitest';
import type { OpaqueTransfer } from '../../../src/decode/udp/opaque-transfer.js';
import type { UdpFlow } from '../../../src/decode/udp/results.js';
import type { Connection } from '../../../src/report/report.js';
import { connection, direction, MS, report, S, silent, speaks, timeline } from './situation.js';

const none = {
  frames: 0,
  wireBytes: 0,
  payloadBytes: 0,
  lostPackets: null,
  reorderedPackets: null,
  retransmittedPackets: null,
};
const transfer = (parts: Partial<OpaqueTransfer> = {}): OpaqueTransfer => ({
  side: 0,
  startNs: 0,
  endNs: S,
  lastReplyNs: S,
  bytes: 30e6,
  replyBytes: 5e5,
  receiverQuiet: true,
  receiverMessages: 0,
  bytesBeforeMessages: null,
  openingMessages: 2,
  bursts: [{ startNs: 0, endNs: S, bytes: 30e6 }],
  furtherBursts: 0,
  ...parts,
});
const tunnel = (...transfers: OpaqueTransfer[]) => {
  const flow: UdpFlow = {
    id: 0,
    transport: 'wireguard',
    encapsulation: [],
    client: { address: '192.0.2.1', port: 51820 },
    server: { address: '192.0.2.2', port: 51820 },
    firstFrame: 1,
    startNs: 0,
    endNs: S,
    directions: [none, none],
    streams: [],
    facts: {},
    transfers,
  };
  return report({ connections: [], migrations: [], flows: [flow] });
};

describe('inside a VPN', () => {
  speaks('R-C7', 'a transfer that looks like a migration', tunnel(transfer()), {
    severity: 'info',
    confidence: 0.4,
    metrics: { verdict: 'suspected-migration', rounds: null, downtimeNs: null },
  });
  speaks('R-C7', 'a bandwidth test', tunnel(transfer({ receiverQuiet: false, receiverMessages: 1 })), {
    confidence: 0.1,
    metrics: { verdict: 'unknown-bulk' },
  });
  silent('R-C7', 'a little', tunnel(transfer({ bytes: 1e6 })));
  silent('R-C7', 'a conversation', tunnel(transfer({ replyBytes: 20e6 })));
});

describe('inside a connection that stays closed', () => {
  const copy = (port: number, bytes = 30e6, binMs = 1, opaque?: Connection['opaque']) =>
    report({
      migrations: [],
      connections: [
        connection({
          server: { address: '192.0.2.2', port },
          directions: [direction({ uniqueBytes: bytes }), direction({ uniqueBytes: 20_000 })],
          ...(opaque ? { opaque } : {}),
        }),
      ],
      tables: { timeline: timeline(binMs * MS, 1000, () => ({ bytes: bytes / 1000 })) },
    });
  speaks('R-C7', 'a copy of a file', copy(22), { confidence: 0.1, metrics: { verdict: 'unknown-bulk', pauses: 0 } });
  speaks('R-C7', 'a copy, bins too wide for pauses', copy(22, 30e6, 10), { metrics: { verdict: 'unknown-bulk' } });
  speaks('R-C7', 'SSH on another port', copy(2222, 30e6, 1, { kind: 'ssh', banner: 'SSH-2.0-x\x1b[2J', holds: null }), {
    text: expect.stringContaining('SSH connection 10.0.0.1:40000 → 192.0.2.2:2222 (SSH-2.0-x'),
  });
  speaks('R-C7', 'a copy packed by zstd', copy(9000, 30e6, 1, { kind: 'zstd', banner: null, holds: null }), {
    confidence: 0.1,
    metrics: { verdict: 'unknown-bulk' },
  });
  speaks(
    'R-C7',
    'a little migration packed by gzip',
    copy(9000, 3e5, 1, { kind: 'gzip', banner: null, holds: 'migration' }),
    {
      severity: 'minor',
      confidence: 0.95,
      metrics: { verdict: 'migration', bytes: 3e5 },
      connections: [0],
    },
  );
  silent('R-C7', 'a bulk connection to another port', copy(443));
  silent('R-C7', 'a session', copy(22, 2e6));
});
