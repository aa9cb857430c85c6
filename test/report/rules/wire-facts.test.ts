// Rules that rest on single frames (hop limits, checksums, probes) or on what the operator said was meant.
import { describe, expect, test } from 'vitest';
import { ruledOut } from '../../../src/report/rules/engine.js';
import {
  connection,
  direction,
  events,
  MIB,
  MS,
  migration,
  quantiles,
  report,
  rounds,
  S,
  signals,
  silent,
  speaks,
  timeline,
  withForward,
} from './situation.js';

/** Bursts of 30 ms every 100 ms, 3.2 MiB each: a limit of 32 MiB/s. */
const capped = {
  timeline: timeline(10 * MS, 990, (_, startNs) =>
    startNs % (100 * MS) < 30 * MS ? { bytes: (3.2 * MIB) / 3 } : { limit: 'RateLimit' },
  ),
};
const meant = (bytesPerSecond: number) => ({ thresholds: { 'R-A2': { intendedRate: bytesPerSecond } } });

describe('a limit in the wrong unit', () => {
  speaks('R-A2', 'an eighth of what was meant', report({ tables: capped }), { severity: 'minor' }, meant(8 * 32 * MIB));
  speaks('R-A2', 'MB instead of MiB', report({ tables: capped }), {}, meant((32 * MIB) / 1.048576));
  speaks('R-A2', 'no limit although one was meant', report(), { metrics: { ratio: 2 } }, meant(50e6));
  silent('R-A2', 'as meant', report({ tables: capped }), meant(32 * MIB));
  silent('R-A2', 'another limit, but no other unit', report({ tables: capped }), meant(48 * MIB));
  silent('R-A2', 'slower than the limit for other reasons', report(), meant(500e6));
  silent('R-A2', 'nobody said what was meant', report({ tables: capped }));
});

const channels = (...parts: Parameters<typeof direction>[0][]) =>
  parts.map((part, at) =>
    connection({
      id: at + 1,
      client: { address: '10.0.0.1', port: 40_001 + at },
      channel: { kind: 'multifd', index: at, migration: 0 },
      directions: [direction({ uniqueBytes: 1e9 / parts.length, ...part }), direction({ uniqueBytes: 100 })],
    }),
  );
const parallel = (flows: ReturnType<typeof channels>, more: object = {}, tables = {}) =>
  report({
    connections: [
      connection({ directions: [direction({ uniqueBytes: 1e5 }), direction({ uniqueBytes: 100 })] }),
      ...flows,
    ],
    migrations: [migration({ connections: [0, ...flows.map(({ id }) => id)], ...more })],
    tables,
  });

describe('channels on one link of a bond', () => {
  const rtt = (ms: number) => ({ rttNs: quantiles(0.2 * MS, ms * MS, 2 * ms * MS) });
  const gigabit = (0.94e9 / 8) * 0.1;
  const steady = (direction: number) => timeline(100 * MS, 99, () => ({ direction, bytes: gigabit }));
  speaks(
    'R-A8',
    'three wait in one queue, the fourth in another',
    parallel(channels(rtt(9), rtt(2), rtt(9.5), rtt(9))),
    {
      confidence: 0.6,
      metrics: { crowded: 3, others: 1 },
    },
  );
  speaks('R-A8', 'together they fill a gigabit line', parallel(channels({}, {}), {}, { timeline: steady(2) }), {
    confidence: 0.4,
  });
  silent('R-A8', 'two in each queue', parallel(channels(rtt(9), rtt(2), rtt(2.1), rtt(9))));
  silent('R-A8', 'all in one queue, at no common line rate', parallel(channels(rtt(9), rtt(8), rtt(9), rtt(8.5))));
  silent('R-A8', 'a single connection fills the line', withForward({}, { tables: { timeline: steady(0) } }));
});

describe('path change', () => {
  const hop = (tNs: number, before: number, after: number) => ({
    kind: 'hop-limit-change',
    frame: Math.round(tNs / MS),
    tNs,
    from: '10.0.0.2',
    about: '10.0.0.1',
    sourcePort: 49_152,
    port: 40_000,
    type: before,
    code: after,
  });
  speaks(
    'R-B9',
    'one router more from the third second on',
    withForward({}, { tables: { signals: signals(hop(3 * S, 63, 62)) } }),
    {
      severity: 'info',
      packets: [3000],
      confidence: 0.85,
    },
  );
  const level = (rttMs: (startNs: number) => number, flight: (startNs: number) => number) => ({
    timeline: timeline(100 * MS, 98, (_, startNs) => ({
      bytes: 1e6,
      row: { rttMinNs: rttMs(startNs) * MS, inFlightMaxBytes: flight(startNs) },
    })),
  });
  const later = (before: number, after: number) => (startNs: number) => (startNs < 4 * S ? before : after);
  speaks(
    'R-B9',
    'ten milliseconds become thirty, as much in flight',
    withForward({}, { tables: level(later(10, 30), () => 1e6) }),
    {
      confidence: 0.6,
      metrics: { rttBeforeNs: 10 * MS, rttAfterNs: 30 * MS },
    },
  );
  silent(
    'R-B9',
    'three samples after the step, the rest of the time none',
    withForward(
      {},
      {
        tables: {
          timeline: timeline(100 * MS, 98, (index) => ({
            bytes: 1e6,
            row: { rttMinNs: index < 60 || index > 94 ? (index < 60 ? 10 : 30) * MS : null, inFlightMaxBytes: 1e6 },
          })),
        },
      },
    ),
  );
  silent('R-B9', 'more in flight: a queue', withForward({}, { tables: level(later(10, 30), later(1e6, 3e6)) }));
  silent(
    'R-B9',
    'it grows slowly',
    withForward(
      {},
      {
        tables: level(
          (startNs) => 10 + (4 * startNs) / S,
          () => 1e6,
        ),
      },
    ),
  );
  silent(
    'R-B9',
    'hop limits that alternate: several paths in turn',
    withForward(
      {},
      {
        tables: {
          signals: signals(...Array.from({ length: 20 }, (_, at) => hop(at * 0.4 * S, 62 + (at % 2), 63 - (at % 2)))),
        },
      },
    ),
  );
  silent(
    'R-B9',
    'a single answer from a box on the way',
    withForward({}, { tables: { signals: signals(hop(3 * S, 63, 255), hop(3 * S + MS, 255, 63)) } }),
  );
});

describe('probes', () => {
  const probe = (kind: 'window-probe' | 'keep-alive', tNs: number, offset: number) => ({
    kind,
    frame: Math.round(tNs / MS),
    tNs,
    offset,
  });
  speaks(
    'R-B11',
    'three window probes for three seconds, no data between',
    withForward(
      {},
      {
        tables: {
          tcpEvents: events(
            probe('window-probe', 2 * S, 5e6),
            probe('window-probe', 3 * S, 5e6),
            probe('window-probe', 5 * S, 5e6),
          ),
        },
      },
    ),
    { severity: 'major', packets: [2000, 3000, 5000], metrics: { windowProbes: 3, longestNs: 3 * S } },
  );
  speaks(
    'R-B11',
    'keep-alives of a source without work',
    withForward(
      {},
      { tables: { tcpEvents: events(probe('keep-alive', 2 * S, 5e6), probe('keep-alive', 4 * S, 5e6)) } },
    ),
    { metrics: { keepAlives: 2 } },
  );
  silent(
    'R-B11',
    'one probe at a time, data between them',
    withForward(
      {},
      { tables: { tcpEvents: events(probe('window-probe', 2 * S, 5e6), probe('window-probe', 3 * S, 6e6)) } },
    ),
  );
  silent(
    'R-B11',
    'the destination keeps an idle return path alive',
    withForward(
      {},
      {
        tables: {
          tcpEvents: events(
            { ...probe('keep-alive', 2 * S, 9), direction: 1 },
            { ...probe('keep-alive', 4 * S, 9), direction: 1 },
          ),
        },
      },
    ),
  );
});

describe('unfinished checksums', () => {
  const sign = (from: string, sourcePort: number, about: string, port: number) =>
    withForward(
      {},
      {
        tables: { signals: signals({ kind: 'unfinished-checksum', frame: 4, tNs: 0, from, sourcePort, about, port }) },
      },
    );
  speaks('R-C6', 'on the data that the source sends', sign('10.0.0.1', 40_000, '10.0.0.2', 49_152), {
    severity: 'info',
    packets: [4],
  });
  silent('R-C6', 'on the return path: taken at the destination', sign('10.0.0.2', 49_152, '10.0.0.1', 40_000));
  silent('R-C6', 'on another connection of these hosts', sign('10.0.0.1', 40_000, '10.0.0.2', 22));
});

describe('too many channels', () => {
  const starved = {
    inFlight: quantiles(1460, 5840, 20_000),
    retransmittedSegments: 40,
    retransmittedBytes: 1e6,
    retransmissions: { fast: 20, timeout: 20, tailLossProbe: 0, spurious: 0, other: 0 },
  };
  const eight = (parts: object) => channels(...new Array<object>(8).fill(parts));
  const stalls = { tcpEvents: events({ kind: 'retransmission-timeout', frame: 700, tNs: S, direction: 4 }) };
  speaks('R-D2', 'eight with four segments in flight each, and timeouts', parallel(eight(starved), {}, stalls), {
    packets: [700],
    metrics: { channels: 8, timeouts: 160 },
  });
  silent(
    'R-D2',
    'eight with large windows that lose as much',
    parallel(eight({ ...starved, inFlight: quantiles(1460, 4e5, 1e6) })),
  );
  silent('R-D2', 'small windows without losses: nothing to send', parallel(eight({ inFlight: starved.inFlight })));
  silent('R-D2', 'two channels', parallel(channels(starved, starved)));

  const runs = (laterBytes: number, repeated = 0) => {
    const first = channels({}, {});
    const second = channels(
      ...new Array<object>(8).fill({ uniqueBytes: laterBytes / 8, retransmittedBytes: repeated }),
    ).map((flow) => ({
      ...flow,
      id: flow.id + 10,
      startNs: 20 * S,
      endNs: 30 * S,
      channel: { ...flow.channel, migration: 1 },
    }));
    return report({
      connections: [...first, ...second],
      migrations: [
        migration({ connections: first.map(({ id }) => id) }),
        migration({ id: 1, connections: second.map(({ id }) => id), startNs: 20 * S, endNs: 30 * S, phases: [] }),
      ],
    });
  };
  speaks('R-D2', 'eight are slower than two were', runs(0.8e9), {
    migration: 1,
    confidence: 0.8,
    metrics: { fewerChannels: 2, efficiency: 0.2 },
  });
  silent('R-D2', 'eight carry four times as much', runs(4e9));
  silent('R-D2', 'no gain, but no harm either: the line is full', runs(1e9));
});

describe('parallel channels expected', () => {
  const beside = (count: number) => {
    const flows = channels(...new Array<object>(count).fill({})).map((flow) => ({
      ...flow,
      channel: { ...flow.channel, migration: 1 },
    }));
    return report({
      connections: [connection(), ...flows],
      migrations: [migration(), migration({ id: 1, connections: flows.map(({ id }) => id), port: 49_153 })],
    });
  };
  speaks('R-D6', 'another guest of the host used four', beside(4), {
    severity: 'info',
    migration: 0,
    metrics: { expectedChannels: 4, channels: 1 },
  });
  speaks('R-D6', 'the operator said so', report(), {}, { thresholds: { 'R-D6': { expectedChannels: 4 } } });
  speaks(
    'R-D6',
    'the main channel of an encrypted migration is known, and it is the only one',
    report({ migrations: [migration({ encryption: 'tls' })] }),
    {},
    { thresholds: { 'R-D6': { expectedChannels: 4 } } },
  );
  silent(
    'R-D6',
    'encrypted, and it is not known which connection carries what',
    report({
      connections: [connection({ channel: { kind: 'tls' } })],
      migrations: [migration({ encryption: 'tls' })],
    }),
    { thresholds: { 'R-D6': { expectedChannels: 4 } } },
  );
  silent('R-D6', 'nobody asked for it', beside(1));
  silent('R-D6', 'four expected, four used', parallel(channels({}, {}, {}, {})), {
    thresholds: { 'R-D6': { expectedChannels: 4 } },
  });
});

describe('a cadence of seconds', () => {
  const paused = (pauses: (startNs: number) => boolean) => ({
    timeline: timeline(10 * MS, 980, (_, startNs) => (pauses(startNs) ? { limit: 'Idle' } : { bytes: 1e6 })),
  });
  const every = (periodMs: number, pauseMs: number) =>
    paused((startNs) => startNs % (periodMs * MS) >= (periodMs - pauseMs) * MS);
  speaks('R-E9', 'sixty milliseconds, every one and a half seconds', withForward({}, { tables: every(1500, 60) }), {
    severity: 'minor',
    metrics: { pauses: 6, periodNs: 1.5 * S },
  });
  silent('R-E9', 'the 100 ms of a rate limit', withForward({}, { tables: every(100, 60) }));
  silent(
    'R-E9',
    'each pause is the repair of a loss',
    withForward(
      {},
      {
        tables: {
          timeline: timeline(10 * MS, 980, (_, startNs) =>
            startNs % (1500 * MS) >= 1400 * MS ? { limit: 'Recovery' } : { bytes: 1e6 },
          ),
        },
      },
    ),
  );
  silent(
    'R-E9',
    'pauses at odd times',
    withForward({}, { tables: paused((startNs) => (startNs / (10 * MS)) % 229 < 4 || (startNs / (10 * MS)) % 97 < 4) }),
  );
  silent(
    'R-E9',
    'each pause begins a round: bitmap synchronisation',
    withForward(
      {},
      {
        tables: every(1500, 60),
        migration: { rounds: rounds(...new Array<readonly [number, number]>(7).fill([1.5, 36_000])) },
      },
    ),
  );
});

describe('reliable transports over UDP', () => {
  const overUdt = (retransmittedPackets: number | null) => {
    const way = (frames: number, payloadBytes: number) => ({
      frames,
      wireBytes: payloadBytes,
      payloadBytes,
      lostPackets: retransmittedPackets,
      reorderedPackets: 0,
      retransmittedPackets,
    });
    return report({
      migrations: [migration({ connections: [], udpStreams: [0x4000_0000] })],
      connections: [],
      flows: [
        {
          id: 0,
          transport: 'udt',
          encapsulation: [],
          client: { address: '10.0.0.1', port: 40_000 },
          server: { address: '10.0.0.2', port: 49_152 },
          firstFrame: 1,
          startNs: 0,
          endNs: 10 * S,
          directions: [way(1000, 1e6), way(10, 400)],
          streams: [0x4000_0000],
          facts: { rttMinNs: 24 * MS, capacityBps: 25e6 },
        },
      ],
    });
  };
  speaks('R-B12', 'one packet in ten sent again over UDT', overUdt(100), {
    metrics: { transport: 'udt', retransmittedPackets: 100, repeatedShare: 0.1 },
  });
  silent('R-B12', 'nothing sent again', overUdt(0));
  silent('R-B12', 'a transport that does not tell', overUdt(null));

  test('nothing about TCP is ruled out where there was none', () => {
    expect(ruledOut(overUdt(100), []).map(({ rule }) => rule)).not.toContain('R-B1');
  });
});

describe('other traffic over UDP', () => {
  const way = (wireBytes: number) => ({
    frames: 1000,
    wireBytes,
    payloadBytes: wireBytes,
    lostPackets: null,
    reorderedPackets: null,
    retransmittedPackets: null,
  });
  const beside = (wireBytes: number, transport = 'quic', streams: number[] = []) =>
    report({
      migrations: [migration({ udpStreams: streams })],
      flows: [
        {
          id: 3,
          transport,
          encapsulation: [],
          client: { address: '10.0.0.9', port: 40_000 },
          server: { address: '10.0.0.8', port: 443 },
          firstFrame: 17,
          startNs: -10 * S,
          endNs: 10 * S,
          directions: [way(wireBytes), way(0)],
          streams,
          facts: {},
        },
      ],
    });
  speaks('R-L3', 'a flow of half the migration’s rate all the time', beside(1e9), {
    packets: [17],
    metrics: { transport: 'quic', rate: 5e7, migrationRate: 1e8 },
  });
  silent('R-L3', 'a trickle', beside(1e7));
  silent('R-L3', 'the tunnel that may carry the migration', beside(1e9, 'wireguard'));
  silent('R-L3', 'the flow that carries it', beside(1e9, 'udt', [0x4000_0000]));
});
