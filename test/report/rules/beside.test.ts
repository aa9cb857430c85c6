import { describe } from 'vitest';
import {
  altered,
  connection,
  direction,
  MS,
  report,
  S,
  signals,
  silences,
  silent,
  speaks,
  timeline,
  unrecognised,
} from './situation.js';

// The quiet migration runs from 0 to 10 s; its guest stands still from 9.9 s to 9.97 s.
const guest = '192.0.2.7';
const client = '192.0.2.1';
const mac = '52:54:00:12:34:56';
const announcement = { kind: 'rarp-announcement', frame: 500, tNs: 9.97 * S, mac };
/** The guest silent between two times, in s; the client goes on. */
const quiet = (startS: number, endS: number, more: object = {}) => ({
  from: guest,
  to: client,
  mac,
  startNs: startS * S,
  endNs: endS * S,
  ...more,
});
const heard = (announced: boolean, ...rows: Parameters<typeof silences>) =>
  report({
    tables: { silences: silences(...rows), ...(announced ? { signals: signals(announcement) } : {}) },
  });

describe('a guest out of reach', () => {
  speaks('R-F7', 'silent for 4 s, stopped for 70 ms', heard(true, quiet(9.88, 13.88)), {
    severity: 'major',
    confidence: 0.85,
    metrics: { guest, outageNs: 4 * S, downtimeNs: 0.07 * S },
  });
  speaks(
    'R-F7',
    'of two conversations the one that recovers first counts',
    heard(true, quiet(9.88, 13.88), quiet(9.85, 10.9)),
    {
      metrics: { conversations: 2 },
      cost: { of: 'downtime', ns: 0.95 * S },
    },
  );
  speaks('R-F7', 'not announced, but spoken to', heard(false, quiet(9.88, 13.88)), { confidence: 0.6 });
  silent('R-F7', 'back as soon as it runs', heard(true, quiet(9.88, 10.1)));
  silent(
    'R-F7',
    'one connection found out late, echo did not',
    heard(true, quiet(9.88, 13.88), quiet(9.85, 10.05, { kind: 'echo' })),
  );
  silent('R-F7', 'another machine fell silent', heard(true, quiet(9.88, 13.88, { mac: '52:54:00:99:99:99' })));
  silent('R-F7', 'it speaks once in 2 s anyway', heard(true, quiet(9.88, 13.88, { intervalNs: 2 * S })));
  silent(
    'R-F7',
    'nobody spoke to it',
    heard(false, quiet(9.88, 13.88), { from: client, to: guest, startNs: 9.8 * S, endNs: 13.9 * S }),
  );
  silent('R-F7', 'a host of the migration', heard(false, quiet(9.88, 13.88, { from: '10.0.0.1' })));

  const whole = (startS: number, endS: number) =>
    altered(heard(true, quiet(startS, endS)), {
      migrations: [
        {
          ...report().migrations[0]!,
          startNs: 2 * S,
          phases: [{ kind: 'precopy', startNs: 2 * S, endNs: 9.9 * S, bytes: 1 }],
        },
      ],
    });
  speaks('R-F8', 'silent from the start to the end', whole(1.9, 10.2), {
    metrics: { guest, precopyNs: 7.9 * S },
    severity: 'major',
  });
  silent('R-F8', 'silent at the switchover only', whole(9.8, 12));
  silent('R-F8', 'silent long before', whole(0.5, 10.2));
});

describe('the guest’s clock', () => {
  speaks('R-F9', 'it missed the stop', heard(true, quiet(9.88, 11, { clockNs: 0.1 * S })), {
    severity: 'minor',
    metrics: { stepNs: -1.02 * S },
  });
  speaks('R-F9', 'it jumped ahead', heard(true, quiet(9.88, 11, { clockNs: 61.12 * S })), {
    metrics: { stepNs: 60 * S },
  });
  silent('R-F9', 'it counted the stop', heard(true, quiet(9.88, 11, { clockNs: 1.12 * S })));
  silent('R-F9', 'its timestamps do not tell', heard(true, quiet(9.88, 11)));
  silent(
    'R-F9',
    'its connections do not agree',
    heard(true, quiet(9.88, 11, { clockNs: 0.1 * S }), quiet(9.88, 11, { clockNs: 1.1 * S })),
  );
});

describe('heartbeats', () => {
  const beat = (startS: number, endS: number, more: object = {}) => ({
    kind: 'heartbeat',
    from: '10.0.0.1',
    to: '10.0.0.3',
    startNs: startS * S,
    endNs: endS * S,
    ...more,
  });
  const later = (...rows: Parameters<typeof silences>) =>
    altered(report({ tables: { silences: silences(...rows) } }), {
      migrations: [{ ...report().migrations[0]!, startNs: 2 * S }],
    });
  speaks('R-L1', 'a pause of 1.2 s while memory moves', later(beat(5, 6.2)), {
    severity: 'major',
    metrics: { worstNs: 1.2 * S, missed: 23 },
  });
  speaks('R-L1', 'pauses of a few intervals', later(beat(5, 5.2), beat(7, 7.25)), {
    severity: 'minor',
    metrics: { pauses: 2 },
  });
  silent('R-L1', 'pauses as long before it', later(beat(1, 1.9), beat(5, 6.2)));
  silent('R-L1', 'only one is late', later(beat(5, 5.12)));
  silent('R-L1', 'none had been heard before', later(beat(5, 6.2, { sinceNs: 1.9 * S, framesBefore: 62 })));
  silent('R-L1', 'a guest, not a heartbeat', later(beat(5, 6.2, { kind: 'tcp' })));
});

describe('other traffic', () => {
  /** Another connection, 100 kB a bin outside of the migration. */
  const service = (bytesDuring: number, rttDuringNs: number, rttOutsideNs = 0.3 * MS) =>
    report({
      connections: [
        connection(),
        unrecognised({
          id: 1,
          server: { address: '192.0.2.80', port: 80 },
          directions: [direction({ uniqueBytes: 2e7, lastDataNs: 20 * S }), direction({ uniqueBytes: 1e5 })],
        }),
      ],
      tables: {
        timeline: timeline(100 * MS, 200, (at) => ({
          direction: 2,
          bytes: at < 100 ? bytesDuring : 100_000,
          row: { rttMaxNs: at < 100 ? rttDuringNs : rttOutsideNs },
        })),
      },
    });
  speaks('R-L2', 'half the goodput, and round trips of 20 ms', service(50_000, 20 * MS), {
    severity: 'minor',
    confidence: 0.8,
    metrics: { goodputDuring: 5e5, goodputOutside: 1e6 },
    connections: [1],
  });
  speaks('R-L2', 'half the goodput alone', service(50_000, 0.3 * MS), { confidence: 0.6 });
  speaks('R-L2', 'round trips alone', service(100_000, 20 * MS), { confidence: 0.8 });
  silent('R-L2', 'as always', service(95_000, 0.5 * MS));
  silent('R-L2', 'round trips long in any case', service(95_000, 20 * MS, 18 * MS));
});
