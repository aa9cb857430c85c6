import { describe, expect } from 'vitest';
import type { ReportData } from '../../../src/report/report.js';
import {
  type BinParts,
  connection,
  direction,
  episodes,
  events,
  limits,
  MIB,
  MS,
  migration,
  quantiles,
  report,
  S,
  signals,
  silent,
  speaks,
  timeline,
  unrecognised,
  withForward,
} from './situation.js';

const wan = { rttNs: quantiles(20 * MS, 21 * MS, 30 * MS) };

/** 30 single losses, one every 300 ms, on a 20 ms path. */
const randomLoss = {
  tcpEpisodes: episodes(
    ...Array.from({ length: 30 }, (_, at) => ({
      kind: 'recovery' as const,
      firstFrame: 100 * at + 5,
      startNs: at * 300 * MS,
      durationNs: 22 * MS,
      retransmittedBytes: 1448,
    })),
  ),
  tcpEvents: events(
    ...Array.from({ length: 30 }, (_, at) => ({
      kind: 'retransmission-fast' as const,
      frame: 100 * at + 5,
      tNs: at * 300 * MS,
    })),
  ),
  timeline: timeline(50 * MS, 200, (index) => ({
    bytes: index % 6 < 3 ? 100_000 : 160_000,
    row: { rttMinNs: 20 * MS, rttMaxNs: 20.5 * MS },
  })),
};
const lossy = {
  ...wan,
  uniqueBytes: 26e6,
  wireSegments: 18_000,
  retransmittedSegments: 30,
  retransmittedBytes: 43_440,
  retransmissions: { fast: 30 },
  limitedBy: limits({ recovery: 0.07, congestion: 0.93 }),
};

describe('loss', () => {
  silent(
    'R-B1',
    'such losses would allow 500 times the rate: on a path of 20 µs they do not set it',
    withForward({ ...lossy, rttNs: quantiles(15e3, 20e3, 40e3) }, { tables: randomLoss }),
  );
  speaks('R-B1', 'one packet in 600 lost on a 20 ms path, no queue', withForward(lossy, { tables: randomLoss }), {
    severity: 'minor',
    metrics: { retransmittedSegments: 30, queueFull: 'no' },
  });
  // Five losses in 130 MB: at 20 ms they allow about as much.
  const rare = (tables: ReportData['tables']) =>
    withForward(
      {
        ...lossy,
        ...{ uniqueBytes: 65e6, wireSegments: 45_000, retransmittedSegments: 5, retransmittedBytes: 7240 },
        retransmissions: { fast: 5 },
      },
      { tables },
    );
  const five = {
    tcpEpisodes: episodes(
      ...[1, 2, 4, 6, 8].map((seconds) => ({
        kind: 'recovery' as const,
        firstFrame: 100 * seconds,
        startNs: seconds * S,
        durationNs: 22 * MS,
        retransmittedBytes: 1448,
      })),
    ),
  };
  const level = (rttMs: (startNs: number) => number, everyThird: BinParts['limit'] = 'Congestion') => ({
    ...five,
    timeline: timeline(50 * MS, 200, (index, startNs) => ({
      bytes: index % 20 < 10 ? 280_000 : 370_000,
      limit: index % 3 === 0 ? everyThird! : 'Congestion',
      row: { rttMinNs: rttMs(startNs) * MS, rttMaxNs: 60 * MS },
    })),
  });
  speaks(
    'R-B1',
    'a few losses on a long path without a queue, between which TCP only grew back',
    rare(level(() => 20)),
    {
      confidence: 0.65,
      metrics: { queueFull: 'no' },
    },
  );
  silent('R-B1', 'as few where the sender had other things to wait for', rare(level(() => 20, 'SenderApplication')));
  silent(
    'R-B1',
    'as few, each when the queue had filled: the line is the limit',
    rare(level((startNs) => 20 + (5 * ((startNs - 50 * MS) % S)) / S)),
  );
  const blow = (rttMs: (startNs: number) => number) =>
    withForward(lossy, {
      tables: {
        ...randomLoss,
        tcpEpisodes: episodes({
          kind: 'recovery',
          firstFrame: 5,
          startNs: 5 * S,
          durationNs: 50 * MS,
          retransmittedBytes: 43_440,
        }),
        timeline: timeline(50 * MS, 200, (index, startNs) => ({
          bytes: index % 6 < 3 ? 100_000 : 160_000,
          row: { rttMinNs: rttMs(startNs) * MS, rttMaxNs: 60 * MS },
        })),
      },
    });
  speaks(
    'R-B1',
    'losses in blows while round trips peak: a queue overflows',
    blow((startNs) => (startNs <= 5 * S ? 20 + (4 * startNs) / S : 20)),
    { metrics: { queueFull: 'yes' } },
  );
  speaks(
    'R-B1',
    'losses in blows at any round trip: outages',
    blow((startNs) => 20 + Math.abs(startNs - 5 * S) / S),
    { metrics: { queueFull: 'no' } },
  );
  silent(
    'R-B1',
    'the same losses, but ten times the rate that they allow: the sender ignores them',
    withForward({ ...lossy, uniqueBytes: 400e6 }, { tables: randomLoss }),
  );
  silent(
    'R-B1',
    'retransmissions that all proved needless',
    withForward({ ...lossy, retransmissions: { spurious: 30 } }, { tables: randomLoss }),
  );
  silent('R-B1', 'one loss in a gigabyte', withForward({ retransmittedSegments: 1, retransmittedBytes: 1448 }));
  silent(
    'R-B1',
    'losses, but the sender had little to send',
    withForward({ ...lossy, limitedBy: limits({ 'sender-application': 0.9, congestion: 0.1 }) }, {}),
  );
});

describe('retransmission timeouts', () => {
  const stall = (startNs: number, durationNs: number) => ({
    tcpEpisodes: episodes({ kind: 'timeout', firstFrame: 900, startNs, durationNs }),
  });
  speaks('R-B2', 'two seconds of silence ended by a timer', withForward({}, { tables: stall(4 * S, 2 * S) }), {
    severity: 'major',
    packets: [900],
    interval: [[4 * S, 6 * S]],
    cost: { of: 'migration-time', ns: 2 * S },
  });
  speaks('R-B2', 'a stall in the switchover is downtime', withForward({}, { tables: stall(9.8 * S, 0.3 * S) }), {
    cost: { of: 'downtime', ns: 0.07 * S },
  });
  silent(
    'R-B2',
    'what looks like a timeout, but the sender never paused',
    withForward({}, { tables: { ...stall(4 * S, 2 * S), timeline: timeline(50 * MS, 200, () => ({ bytes: 1e5 })) } }),
  );
  silent('R-B2', 'fast recoveries only', withForward({}, { tables: randomLoss }));
  silent(
    'R-B2',
    'a sender that was silent by itself',
    withForward(
      {},
      { tables: { tcpEpisodes: episodes({ kind: 'silence', firstFrame: 9, startNs: 4 * S, durationNs: 2 * S }) } },
    ),
  );
});

const windowBound = {
  window: quantiles(60_000, 65_536, 65_536),
  rttNs: quantiles(20 * MS, 20 * MS, 21 * MS),
  goodput: 2e6,
  limitedBy: limits({ 'receiver-window': 0.9, congestion: 0.1 }),
};

describe('receive window', () => {
  speaks('R-B3', 'a steady 64 KiB window on a 20 ms path, full most of the time', withForward(windowBound), {
    severity: 'major',
    metrics: { share: 0.9 },
  });
  speaks(
    'R-B3',
    'full for a third of the time, but the rate is window ÷ round trip',
    withForward({ ...windowBound, goodput: 3.2e6, limitedBy: limits({ 'receiver-window': 0.25, congestion: 0.75 }) }),
    { severity: 'major' },
  );
  speaks(
    'R-B3',
    'window scaling was not agreed',
    withForward(windowBound, { connection: { options: { windowScale: [7, null] } } }),
    { confidence: 0.97 },
  );
  silent(
    'R-B3',
    'a destination that closes its window is slow',
    withForward({ ...windowBound, zeroWindow: { episodes: 9, totalNs: 3 * S } }),
  );
  const nowAndThen = withForward({ ...windowBound, zeroWindow: { episodes: 5, totalNs: 0.4 * S } });
  speaks('R-B3', 'full nearly always, closed for a twentieth of that', nowAndThen, { severity: 'major' });
  speaks('R-C3', 'and its reader is to blame for the twentieth', nowAndThen, {
    cost: { of: 'migration-time', ns: 0.4 * S },
  });
  silent('R-B3', 'a large window that is never full', withForward({}));
  silent(
    'R-B3',
    'a window that shrank from 10 MB: a slow reader',
    withForward(windowBound, {
      tables: {
        timeline: timeline(100 * MS, 100, (index) => ({
          bytes: 1e5,
          limit: 'ReceiverWindow',
          row: { windowMaxBytes: index < 5 ? 1e7 : 65_536 },
        })),
      },
    }),
  );
});

describe('send buffer', () => {
  const capped = {
    inFlight: quantiles(1000, 250_000, 262_144),
    limitedBy: limits({ 'send-buffer': 0.8, congestion: 0.2 }),
    ...wan,
  };
  speaks('R-B3b', 'flight stands at 256 KiB below a 3 MiB window', withForward(capped), { severity: 'major' });
  silent('R-B3b', 'the scale of the window is not in the capture', withForward({ ...capped, window: null }));
  silent('R-B3b', 'flight reaches the window', withForward(windowBound));
});

describe('reordering', () => {
  speaks('R-B4', '1 % of the segments are overtaken', withForward({ outOfOrderSegments: 300 }), { severity: 'info' });
  speaks(
    'R-B4',
    'retransmissions that proved needless',
    withForward({ retransmittedSegments: 20, retransmissions: { spurious: 18 } }),
  );
  speaks(
    'R-B4',
    'needless ones that no report and no timer asked for',
    withForward({ retransmittedSegments: 20, retransmissions: { spurious: 18, other: 20, fast: 0, timeout: 0 } }),
    { text: expect.stringContaining('a router announced a smaller path MTU') },
  );
  speaks(
    'R-B4',
    'needless ones behind a timeout',
    withForward({ retransmittedSegments: 20, retransmissions: { spurious: 18, other: 19, fast: 0, timeout: 1 } }),
    { text: expect.stringContaining('only later than the sender waited') },
  );
  silent('R-B4', 'retransmissions that were needed', withForward(lossy));
  silent('R-B4', 'a stray segment', withForward({ outOfOrderSegments: 3 }));
});

const timers = (offset: number, bytes: number, tries: number, from = 1) =>
  Array.from({ length: tries }, (_, at) => ({
    kind: 'retransmission-timeout' as const,
    frame: 10 + at,
    tNs: from * S + 0.2 * S * 2 ** at,
    offset,
    bytes,
  }));
const tiny = { uniqueBytes: 20_000, payloadBytes: 40_000, goodput: 1000, ackedBytes: 206 };

describe('MTU black hole', () => {
  speaks(
    'R-B5',
    'the first full segments are repeated with growing gaps and never acknowledged',
    withForward(tiny, { tables: { tcpEvents: events(...timers(206, 1448, 6)) } }),
    {
      severity: 'fatal',
      metrics: { tries: 6, ackedBytes: 206 },
    },
  );
  speaks(
    'R-B5',
    'a router says so',
    withForward(tiny, {
      tables: {
        tcpEvents: events(...timers(206, 8948, 4)),
        signals: signals({ kind: 'icmp-too-big', frame: 30, tNs: 1 * S, about: '10.0.0.2', mtu: 1400 }),
      },
    }),
    { metrics: { pathMtu: 1400 }, confidence: 0.92 },
  );
  silent(
    'R-B5',
    'a path that broke after megabytes got through',
    withForward({}, { tables: { tcpEvents: events(...timers(5e6, 1448, 6)) } }),
  );
  silent(
    'R-B5',
    'small segments that are lost as well',
    withForward(tiny, { tables: { tcpEvents: events(...timers(206, 100, 6)) } }),
  );
  silent(
    'R-B5',
    'a stall that ended',
    withForward({ ...tiny, ackedBytes: 20_000 }, { tables: { tcpEvents: events(...timers(206, 1448, 4)) } }),
  );
  const beside = connection({ id: 1, channel: { kind: 'multifd', index: 0, migration: 0 } });
  silent(
    'R-B5',
    'one of two channels starves at its first segment, full ones arrive on the other',
    report({
      connections: [connection({ directions: [direction(tiny), direction({ uniqueBytes: 100 })] }), beside],
      migrations: [migration({ connections: [0, 1] })],
      tables: { tcpEvents: events(...timers(206, 1448, 6)) },
    }),
  );
});

describe('MTU differs', () => {
  speaks(
    'R-B5b',
    'jumbo frames on one side only',
    withForward({}, { connection: { options: { mss: [8960, 1460] } } }),
    { severity: 'info' },
  );
  silent('R-B5b', 'the same MSS', withForward({}));
});

describe('bufferbloat', () => {
  speaks('R-B7', 'round trips rise from 1 ms to 60 ms', withForward({ rttNs: quantiles(1 * MS, 50 * MS, 60 * MS) }), {
    severity: 'info',
  });
  speaks('R-B7', 'to 200 ms: others notice', withForward({ rttNs: quantiles(1 * MS, 200 * MS, 300 * MS) }), {
    severity: 'minor',
  });
  const bulk = withForward({ rttNs: quantiles(1 * MS, 50 * MS, 60 * MS) });
  speaks(
    'R-B7',
    'no migration was found',
    { ...bulk, migrations: [] },
    {
      text: expect.stringContaining('While the transfer runs'),
    },
  );
  silent(
    'R-B7',
    'a single late acknowledgement among three',
    withForward({ rttNs: quantiles(0.008 * MS, 0.024 * MS, 43.9 * MS) }),
  );
  silent('R-B7', 'a long path without a queue', withForward({ rttNs: quantiles(60 * MS, 61 * MS, 65 * MS) }));
});

describe('slow start after idle', () => {
  const pauses = episodes(
    ...[2, 4, 6, 8].map((second) => ({
      kind: 'silence' as const,
      firstFrame: second,
      startNs: second * S,
      durationNs: 0.3 * S,
    })),
  );
  const flights = (after: number) =>
    timeline(100 * MS, 100, (_, startNs) => ({
      bytes: 1e5,
      row: {
        inFlightMaxBytes: [2.3, 4.3, 6.3, 8.3].some((second) => Math.abs(startNs - second * S) < 60 * MS) ? after : 3e6,
      },
    }));
  const long = { rttNs: quantiles(50 * MS, 51 * MS, 55 * MS), inFlight: quantiles(1000, 2e6, 3e6) };
  const path = { handshakeRttNs: 50 * MS };
  speaks(
    'R-B8',
    'ten segments in flight after each pause on a 50 ms path',
    withForward(long, { connection: path, tables: { tcpEpisodes: pauses, timeline: flights(14_480) } }),
    { metrics: { restarts: 4 } },
  );
  silent(
    'R-B8',
    'flight goes on where it was',
    withForward(long, { connection: path, tables: { tcpEpisodes: pauses, timeline: flights(2e6) } }),
  );
  silent(
    'R-B8',
    'on a short path regrowth costs nothing',
    withForward({}, { tables: { tcpEpisodes: pauses, timeline: flights(14_480) } }),
  );
});

describe('TCP options', () => {
  speaks('R-B10', 'no window scaling', withForward({}, { connection: { options: { windowScale: [null, null] } } }), {
    severity: 'minor',
  });
  speaks('R-B10', 'no time stamps', withForward({}, { connection: { options: { timestamps: false } } }), {
    severity: 'info',
  });
  silent(
    'R-B10',
    'the SYN is not in the capture',
    withForward(
      {},
      { connection: { options: { mss: [null, null], windowScale: [null, null], sack: null, timestamps: null } } },
    ),
  );
  silent('R-B10', 'all are there', withForward({}));
});

describe('destination slow', () => {
  speaks('R-C3', 'the window closes for three seconds', withForward({ zeroWindow: { episodes: 3, totalNs: 3 * S } }), {
    severity: 'major',
    metrics: { closures: 3 },
  });
  speaks(
    'R-C3',
    'the window shrank to a quarter and stays full',
    withForward(windowBound, {
      tables: {
        timeline: timeline(100 * MS, 100, (index) => ({
          bytes: 1e5,
          limit: 'ReceiverWindow',
          row: { windowMaxBytes: index < 5 ? 250_000 : 65_536 },
        })),
      },
    }),
    { severity: 'major', confidence: 0.8 },
  );
  speaks(
    'R-C3',
    'the window closes often, but all is over within a second',
    withForward({ zeroWindow: { episodes: 90, totalNs: 0.3 * S } }, { migration: { endNs: 1 * S, phases: [] } }),
    { severity: 'info' },
  );
  silent('R-C3', 'a small window that is steady', withForward(windowBound));
});

describe('a transfer that is no migration', () => {
  speaks(
    'R-B3',
    'an unrecognised bulk connection is judged as well',
    report({
      migrations: [],
      connections: [unrecognised({ directions: [direction(windowBound), direction({ uniqueBytes: 0 })] })],
    }),
    { migration: null, connections: [0] },
  );
  silent(
    'R-B3',
    'but not beside a migration',
    report({
      connections: [
        connection(),
        unrecognised({ id: 1, directions: [direction(windowBound), direction({ uniqueBytes: 0 })] }),
      ],
    }),
  );
  silent(
    'R-B3',
    'and not below a megabyte',
    report({
      migrations: [],
      connections: [
        unrecognised({
          directions: [direction({ ...windowBound, uniqueBytes: 0.9 * MIB }), direction({ uniqueBytes: 0 })],
        }),
      ],
    }),
  );
});
