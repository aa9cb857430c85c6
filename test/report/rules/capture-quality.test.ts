import { describe, expect } from 'vitest';
import { altered, connection, direction, migration, report, S, silent, speaks, withForward } from './situation.js';

const anomaly = (code: string, direction: number | null, frame: number) =>
  ({
    code,
    severity: 'warning',
    origin: 'capture',
    text: '',
    direction,
    count: 3,
    first: { frame },
    last: { frame },
    samples: [],
  }) as never;

const base = report();
const input = (parts: object) =>
  report({ capture: altered(base.capture, { inputs: [{ ...base.capture.inputs[0]!, ...parts }] }) });

describe('segmentation offload', () => {
  speaks('R-J2', 'frames stand for several segments', withForward({ dataFrames: 1000, wireSegments: 40_000 }), {
    severity: 'info',
    metrics: { frames: 1000, wireSegments: 40_000 },
  });
  const alone = withForward({ dataFrames: 1000, wireSegments: 40_000 });
  speaks(
    'R-J2',
    'two connections without a migration: one word about both',
    { ...alone, migrations: [], connections: alone.connections.flatMap((one) => [one, { ...one, id: 1 }]) },
    { connections: [0, 1], metrics: { frames: 2000, wireSegments: 80_000 } },
  );
  silent('R-J2', 'one frame a segment', withForward({ dataFrames: 40_000, wireSegments: 40_000 }));
  silent('R-J2', 'it is not known how many segments there were', withForward({ wireSegments: null }));
});

describe('snap length', () => {
  const cut = (decodedBytes: number, undecodedBytes: number) =>
    altered(input({ cutFrames: 900, snapLength: 128 }), {
      migrations: [migration({ stream: { decodedBytes, undecodedBytes } })],
    });
  speaks('R-J3', 'most of the stream is lost with the cut bytes', cut(1e6, 9e8), {
    text: expect.stringContaining('900 of 25,000 frames were cut by the snap length (128 bytes).'),
    metrics: { cutFrames: 900 },
    interval: [[0, 10.5 * S]],
  });
  speaks('R-J3', 'the stream could be followed all the same', cut(9.99e8, 1e6), { advice: [] });
  silent('R-J3', 'frames are whole', input({ cutFrames: 0 }));
});

describe('capture began mid-stream', () => {
  const late = {
    handshakeRttNs: null,
    options: { mss: [null, null], windowScale: [null, null], sack: null, timestamps: null },
  } as const;
  speaks('R-J4', 'no SYN of a connection is in the capture', withForward({}, { connection: late as never }), {
    packets: [1],
  });
  silent('R-J4', 'the handshake is there', withForward({}));
  silent(
    'R-J4',
    'the SYN is there, but a middlebox took its options',
    withForward({}, { connection: { options: { ...late.options } } as never }),
  );
});

describe('one direction only', () => {
  const half = report({
    connections: [connection({ directions: [direction(), direction({ frames: 0, uniqueBytes: 0, payloadBytes: 0 })] })],
  });
  speaks('R-J5', 'nothing of what the destination sent', half, { severity: 'minor' });
  const receiver = report({
    migrations: [],
    connections: [
      connection({
        directions: [
          direction({ frames: 0, uniqueBytes: 0, payloadBytes: 0 }),
          direction({ frames: 90, uniqueBytes: 0, payloadBytes: 0 }),
        ],
      }),
    ],
  });
  speaks(
    'R-J5',
    'nothing but acknowledgements',
    { ...receiver, anomalies: [anomaly('tcp/one-sided', 0, 3)] },
    { packets: [1], migration: null, connections: [0] },
  );
  silent('R-J5', 'SYNs that nobody answered', receiver);
  silent('R-J5', 'the destination only acknowledges', withForward({}));
});

describe('clock', () => {
  speaks('R-J6', 'time stamps step back', report({ anomalies: [anomaly('capture/time-backwards', null, 77)] }), {
    packets: [77],
  });
  speaks('R-J6', 'time stamps are a millisecond apart', input({ timestampResolutionNs: 1e6 }), {
    metrics: { resolutionNs: 1e6 },
  });
  silent('R-J6', 'microseconds in order', report());
});

describe('frames captured twice', () => {
  speaks('R-J7', 'half of the frames are copies', withForward({ captureDuplicates: 20_000 }), {
    metrics: { copies: 20_000 },
  });
  silent('R-J7', 'the network duplicated a few', withForward({ captureDuplicates: 0, networkDuplicates: 40 }));
});
