import { describe, expect } from 'vitest';
import {
  altered,
  connection,
  MS,
  migration,
  quantiles,
  report,
  S,
  signals,
  silent,
  speaks,
  table,
  timeline,
  withForward,
  withMigration,
} from './situation.js';

/** A switchover from 9 s on: memory, devices and hand-over take so many ms. */
const switchover = (ramMs: number, deviceMs: number, handoverMs: number, more: object = {}) => {
  const start = 9 * S;
  const devices = start + ramMs * MS;
  const handover = devices + deviceMs * MS;
  const end = handover + handoverMs * MS;
  return {
    endNs: end,
    phases: [
      { kind: 'precopy' as const, startNs: 0, endNs: start, bytes: 9e8 },
      { kind: 'stop-and-copy' as const, startNs: start, endNs: devices, bytes: ramMs * 100_000 },
      { kind: 'device-state' as const, startNs: devices, endNs: handover, bytes: 40e6 },
      { kind: 'handover' as const, startNs: handover, endNs: end, bytes: 0 },
    ],
    downtime: { earliestStartNs: start, latestStartNs: start, endNs: end, estimateNs: end - start, method: 'test' },
    devices: [
      { name: '0000:00:04.0/vfio', instance: 0, version: 1, bytes: 39e6, startNs: devices, endNs: handover },
      { name: 'timer', instance: 0, version: 1, bytes: 24, startNs: handover, endNs: handover },
    ],
    ...more,
  };
};

describe('downtime', () => {
  speaks('R-F1', '900 of 1000 ms are memory', withMigration(switchover(900, 50, 50)), {
    severity: 'major',
    cost: { of: 'downtime', ns: 0.9 * S },
  });
  speaks('R-F1', '30 of 40 ms are memory: within the limit', withMigration(switchover(30, 5, 5)), {
    severity: 'info',
    advice: [],
  });
  const atLeast = switchover(30, 5, 5);
  const open = { ...atLeast.downtime, earliestStartNs: atLeast.downtime.endNs - S };
  speaks('R-F1', 'of at least 40 ms: within the limit or not', withMigration({ ...atLeast, downtime: open }), {
    text: expect.stringMatching(/^Of at least 40\.0 ms downtime 30\.0 ms went (?!.*within the limit)/),
  });
  speaks(
    'R-F2',
    'of perhaps 40 ms',
    withMigration({ ...switchover(5, 30, 5), downtime: { ...atLeast.downtime, confidence: 0.2 } }),
    {
      text: expect.stringMatching(/^Of perhaps 40\.0 ms downtime/),
    },
  );
  silent('R-F1', 'devices take most of it', withMigration(switchover(100, 800, 50)));
  /** The guest stopped 600 ms before the mark of it left. */
  const early = switchover(20, 30, 50);
  const waited = { ...early, downtime: { ...early.downtime, estimateNs: 0.7 * S } };
  speaks(
    'R-F1',
    '600 of 700 ms went to pages that waited in the send buffer',
    withMigration(waited, { timeline: timeline(10 * MS, 902, () => ({ bytes: 100_000 })) }),
    { severity: 'major', metrics: { bufferedNs: 0.6 * S, ramNs: 0.62 * S } },
  );
  silent(
    'R-F1',
    'nothing was on the wire for 600 of 700 ms: a pause',
    withMigration(waited, { timeline: timeline(10 * MS, 902, (bin) => ({ bytes: bin < 840 ? 100_000 : 0 })) }),
  );

  speaks('R-F2', 'a passed-through device takes 800 ms', withMigration(switchover(100, 800, 50)), {
    severity: 'major',
    metrics: { largestDevice: '0000:00:04.0/vfio', slowestDevice: '0000:00:04.0/vfio' },
  });
  const device = switchover(0, 60, 0);
  const confirmed = { ...device.downtime, endNs: device.endNs - 2 * MS, estimateNs: 58 * MS };
  speaks(
    'R-F2',
    'the devices’ phase ends after the destination’s last word',
    withMigration({ ...device, downtime: confirmed }),
    {
      text: expect.stringContaining('58.0 ms (100 %)'),
      cost: { of: 'downtime', ns: 58 * MS },
    },
  );
  silent('R-F2', 'memory takes most of it', withMigration(switchover(900, 50, 50)));

  speaks('R-F3', 'silence of 700 ms after the last byte', withMigration(switchover(30, 10, 700)), {
    severity: 'major',
  });
  silent(
    'R-F3',
    'the silence is the round trip',
    withForward(
      { rttNs: quantiles(690 * MS, 700 * MS, 700 * MS) },
      { connection: { handshakeRttNs: 690 * MS }, migration: switchover(30, 10, 700) },
    ),
  );

  // Acknowledgements of the last data come 600 ms late: it stood in a queue behind the source.
  const queued = (vantage: 'source' | 'destination') =>
    withForward(
      { rttNs: quantiles(10 * MS, 500 * MS, 610 * MS) },
      {
        connection: { handshakeRttNs: 10 * MS, vantage },
        migration: switchover(100, 10, 700),
        tables: {
          timeline: timeline(10 * MS, 981, (bin) =>
            bin < 911 ? { bytes: 100_000 } : { row: { rttMaxNs: bin === 970 ? 610 * MS : null } },
          ),
        },
      },
    );
  speaks('R-F1', '600 of 810 ms the last pages stood in a queue', queued('source'), {
    metrics: { queuedNs: 0.6 * S, ramNs: 0.7 * S },
  });
  silent('R-F3', 'the silence is the queue', queued('source'));
  speaks('R-F3', 'at the destination the queue lies before the silence', queued('destination'), {});

  silent(
    'R-F3',
    'data was still under way',
    withMigration(switchover(30, 10, 700), { timeline: timeline(10 * MS, 980, () => ({ bytes: 1000 })) }),
  );

  const far = (rttMs: number) =>
    withForward(
      { rttNs: quantiles(rttMs * MS, rttMs * MS, rttMs * MS) },
      { connection: { handshakeRttNs: rttMs * MS }, migration: switchover(100, 20, 80) },
    );
  speaks('R-F4', '80 of 200 ms are one round trip', far(80), { severity: 'info' });
  silent('R-F4', 'the path is short', far(0.2));
});

describe('announcements', () => {
  const resumed = 9.97 * S;
  const announced = (...delaysMs: number[]) =>
    altered(
      report({
        tables: {
          signals: signals(
            ...delaysMs.map((delay, at) => ({
              kind: 'rarp-announcement',
              frame: 500 + at,
              tNs: resumed + delay * MS,
              mac: '52:54:00:12:34:56',
            })),
          ),
        },
      }),
      { capture: { durationNs: 20 * S } },
    );
  speaks('R-F5', 'the first announcement after 2 s', announced(2000, 2050, 2200, 2450, 2800), {
    severity: 'major',
    cost: { of: 'downtime', ns: 2 * S },
  });
  speaks('R-F5', 'two of five are missing', announced(0, 50, 800), { severity: 'minor', metrics: { missing: 2 } });
  silent('R-F5', 'all five on time', announced(0, 50, 200, 450, 800));
  speaks(
    'R-F5',
    'the guest’s own announcements do not make up for the host’s',
    altered(announced(450, 800), {
      tables: {
        signals: signals(
          ...[0, 1].map((at) => ({
            kind: 'rarp-announcement',
            frame: 500 + at,
            tNs: resumed + (450 + 350 * at) * MS,
            mac: '52:54:00:12:34:56',
          })),
          ...[0, 1, 2, 3].map((at) => ({
            kind: 'arp-announcement',
            frame: 510 + at,
            tNs: resumed + (400 + 200 * at) * MS,
            mac: '52:54:00:12:34:56',
          })),
        ),
      },
    }),
    { metrics: { missing: 3 } },
  );
  silent('R-F5', 'each seen on two links', announced(0, 1, 50, 51, 200, 201, 450, 451, 800, 801));
  silent('R-F5', 'the guest’s network is not in the capture', announced());

  const searched = (...secondsAfter: number[]) =>
    report({
      tables: {
        signals: signals(
          { kind: 'arp-announcement', frame: 500, tNs: resumed, about: '192.0.2.7' },
          ...secondsAfter.map((second, at) => ({
            kind: 'arp-request',
            frame: 600 + at,
            tNs: resumed + second * S,
            about: '192.0.2.7',
          })),
        ),
      },
    });
  speaks('R-F6', 'asked for during 20 s after its announcement', searched(1, 5, 10, 20), {
    severity: 'major',
    metrics: { requests: 4 },
  });
  silent('R-F6', 'asked for once', searched(0.5));
  const guest = '52:54:00:12:34:56';
  const byRarp = (answeredS: number) =>
    report({
      tables: {
        signals: signals(
          { kind: 'arp-reply', frame: 10, tNs: 0, from: '192.0.2.7', about: '192.0.2.7', mac: guest },
          { kind: 'rarp-announcement', frame: 500, tNs: resumed, mac: guest },
          { kind: 'arp-reply', frame: 501, tNs: resumed + 1 * MS, from: '192.0.2.7', about: '192.0.2.7', mac: guest },
          ...[1, 2, 3].map((second) => ({
            kind: 'arp-request',
            frame: 600 + second,
            tNs: resumed + second * S,
            from: '192.0.2.1',
            about: '192.0.2.7',
          })),
          { kind: 'arp-reply', frame: 700, tNs: resumed + answeredS * S, about: '192.0.2.7', mac: guest },
        ),
      },
    });
  speaks('R-F6', 'announced by hardware address only, its address known from before', byRarp(4), {
    metrics: { address: '192.0.2.7', requests: 3 },
  });
  silent('R-F6', 'it answers the first request', byRarp(1.01));
});

describe('huge pages', () => {
  const requests = (bytes: number, rate: number) =>
    withMigration(
      {
        postcopy,
        phases: [{ kind: 'postcopy', startNs: 4 * S, endNs: 9 * S, bytes: 5 * rate }],
      },
      { pageRequests: table([0, 1, 2].map((at) => ({ migration: 0, tNs: (4 + at) * S, latencyNs: 0.5 * S, bytes }))) },
    );
  speaks('R-G4', '2 MiB at 30 Mbit/s', requests(2 ** 21, 3.75e6), {
    severity: 'minor',
    metrics: { requestBytes: 2 ** 21 },
  });
  speaks('R-G4', '1 GiB at 10 Gbit/s', requests(2 ** 30, 1.2e9), { severity: 'minor' });
  silent('R-G4', '2 MiB at 10 Gbit/s', requests(2 ** 21, 1.2e9));
  silent('R-G4', 'small pages that wait as long', requests(4096, 3.75e6));
});

const postcopy = {
  startNs: 4 * S,
  endNs: 9 * S,
  requests: 300,
  pages: 50_000,
  requestLatencyNs: quantiles(1 * MS, 30 * MS, 120 * MS),
};

describe('post-copy', () => {
  const broken = { outcome: 'failed', downtime: null, postcopy } as const;
  speaks('R-G1', 'the stream stops without its end mark', withMigration(broken), { severity: 'fatal' });
  const resumed = (startNs: number) =>
    report({
      connections: [connection({ endNs: 5 * S, endedBy: 'rst' }), connection({ id: 1, startNs, firstFrame: 700 })],
      migrations: [migration({ postcopy, connections: [0, 1] })],
    });
  speaks('R-G1', 'it went on over a new connection', resumed(6 * S), { severity: 'major', interval: [[5 * S, 6 * S]] });
  silent('R-G1', 'two connections side by side', resumed(1 * S));
  silent('R-G1', 'it completed', withMigration({ postcopy }));
  silent(
    'R-G1',
    'the capture ended while pages were coming',
    altered(withMigration({ ...broken, outcome: 'incomplete' }), { capture: { durationNs: 10 * S } }),
  );

  speaks('R-G2', 'requests wait 30 ms on a short path', withMigration({ postcopy }), { severity: 'minor' });
  silent(
    'R-G2',
    'an answer takes a round trip on a long path',
    withForward(
      { rttNs: quantiles(60 * MS, 61 * MS, 62 * MS) },
      { connection: { handshakeRttNs: 60 * MS }, migration: { postcopy } },
    ),
  );
  silent(
    'R-G2',
    'two requests prove nothing',
    withMigration({ postcopy: { ...postcopy, requestLatencyNs: { ...postcopy.requestLatencyNs, samples: 2 } } }),
  );

  speaks(
    'R-G5',
    'the guest’s memory was sent three times before',
    withMigration({
      postcopy,
      rounds: [1, 2, 3].map((index) => ({
        ...migration().rounds[0]!,
        index,
        pages: { normal: 262_144, zero: 0, xbzrle: 0, compressed: 0 },
        startNs: index * S,
        endNs: (index + 1) * S,
      })),
    }),
  );
  silent(
    'R-G5',
    'switched after the first pass',
    withMigration({
      postcopy,
      rounds: [{ ...migration().rounds[0]!, pages: { normal: 262_144, zero: 0, xbzrle: 0, compressed: 0 } }],
    }),
  );
});
