import { describe } from 'vitest';
import {
  connection,
  episodes,
  limits,
  MIB,
  MS,
  migration,
  quantiles,
  report,
  S,
  silent,
  speaks,
  timeline,
  withForward,
} from './situation.js';

describe('deliberate slow start', () => {
  const stepped = (slowS: number) =>
    timeline(100 * MS, 100, (_, startNs) => ({ bytes: startNs < slowS * S ? 0.1 * MIB : 10 * MIB }));
  speaks(
    'R-A3',
    '1 MiB/s for four seconds, then a hundred times as much',
    withForward({}, { tables: { timeline: stepped(4) } }),
    {
      severity: 'major',
    },
  );
  silent(
    'R-A3',
    'an idle connection that is put to use later',
    withForward(
      {},
      { tables: { timeline: timeline(100 * MS, 100, (_, startNs) => ({ bytes: startNs < 4 * S ? 2000 : 10 * MIB })) } },
    ),
  );
  silent('R-A3', 'full speed after half a second', withForward({}, { tables: { timeline: stepped(0.5) } }));
  silent(
    'R-A3',
    '1 MiB/s all the time is a limit',
    withForward({}, { tables: { timeline: timeline(100 * MS, 100, () => ({ bytes: 0.1 * MIB })) } }),
  );
});

const steady = (bytesPer100Ms: number, wobble = 0) =>
  timeline(100 * MS, 99, (index) => ({ bytes: bytesPer100Ms * (1 + (index % 2 ? wobble : -wobble)) }));

describe('line saturated', () => {
  const gigabit = (0.94e9 / 8) * 0.1;
  speaks(
    'R-A6',
    '0.94 Gbit/s, flat, the network sets the pace',
    withForward({}, { tables: { timeline: steady(gigabit, 0.01) } }),
    { severity: 'info' },
  );
  silent('R-A6', 'as fast on average, but uneven', withForward({}, { tables: { timeline: steady(gigabit, 0.3) } }));
  silent('R-A6', 'flat at no common line rate', withForward({}, { tables: { timeline: steady(gigabit / 2, 0.01) } }));
});

describe('shaper in the path', () => {
  const queue = { rttNs: quantiles(1 * MS, 9 * MS, 10 * MS), limitedBy: limits({ congestion: 1 }) };
  const flat = { tables: { timeline: steady(3e6, 0.01) } };
  speaks('R-A4', 'flat at 240 Mbit/s with a standing queue', withForward(queue, flat), {
    severity: 'info',
    metrics: { where: 'path' },
  });
  speaks(
    'R-A4',
    'flat without any queue in the capture: the source’s own interface',
    withForward(
      {},
      { tables: { timeline: timeline(100 * MS, 99, () => ({ bytes: 3e6, limit: 'SenderApplication' })) } },
    ),
    { metrics: { where: 'source' } },
  );
  const losses = episodes(
    ...Array.from({ length: 12 }, (_, at) => ({
      kind: 'recovery' as const,
      firstFrame: 100 * at + 5,
      startNs: (0.45 + 0.7 * at) * S,
      durationNs: 22 * MS,
      retransmittedBytes: 3e5,
    })),
  );
  const policed = (bytes: (index: number) => number, rttNs = quantiles(10 * MS, 10 * MS, 11 * MS)) =>
    withForward(
      { rttNs, goodput: 30e6, retransmittedSegments: 2500, retransmittedBytes: 3.6e6 },
      {
        tables: {
          tcpEpisodes: losses,
          timeline: timeline(100 * MS, 99, (index) => ({
            bytes: bytes(index),
            row: { rttMinNs: (10 + (index % 5) / 100) * MS },
          })),
        },
      },
    );
  speaks(
    'R-A4',
    'losses again and again, no queue, and yet a flat rate: a policer',
    policed((index) => 3e6 + (index % 3) * 1e5),
    {
      severity: 'minor',
      metrics: { kind: 'policer' },
    },
  );
  silent(
    'R-A4',
    'losses, no queue, and the rate swings',
    policed((index) => 2e6 + (index % 5) * 1e6),
  );
  speaks(
    'R-A4',
    'even on each of two levels: a shaper that was set anew',
    withForward(
      {},
      {
        tables: {
          timeline: timeline(100 * MS, 99, (index) => ({ bytes: index < 40 ? 3e6 : 6e5, limit: 'SenderApplication' })),
        },
      },
    ),
    { severity: 'info', metrics: { where: 'source' } },
  );
  silent('R-A4', 'a queue, but the rate swings', withForward(queue, { tables: { timeline: steady(3e6, 0.4) } }));
  silent('R-A4', 'a full gigabit line', withForward(queue, { tables: { timeline: steady((0.94e9 / 8) * 0.1, 0.01) } }));
});

describe('parallel migrations', () => {
  const pair = (startNs: number, source: string) =>
    report({
      connections: [
        connection(),
        connection({
          id: 1,
          startNs,
          channel: { kind: 'main', index: null, migration: 1 },
          client: { address: source, port: 40_001 },
        }),
      ],
      migrations: [migration(), migration({ id: 1, source, connections: [1], startNs, endNs: startNs + 10 * S })],
    });
  speaks('R-A7', 'two guests leave one host together', pair(1 * S, '10.0.0.1'), {
    severity: 'major',
    metrics: { migrations: 2 },
    connections: [0, 1],
  });
  silent('R-A7', 'the second starts when the first is done', pair(10 * S, '10.0.0.1'));
  silent('R-A7', 'they leave different hosts', pair(1 * S, '10.0.0.7'));
});

describe('slow network', () => {
  const gigabit = (0.94e9 / 8) * 0.1;
  const minute = { endNs: 12 * S, phases: [] };
  const at = (bytes: number) => ({
    tables: { timeline: timeline(100 * MS, 120, () => ({ bytes })) },
    migration: minute,
  });
  speaks('R-A5', 'a full gigabit line for 12 s', withForward({}, at(gigabit)), { severity: 'info', confidence: 0.4 });
  silent('R-A5', 'a full 10 Gbit/s line', withForward({}, at(10 * gigabit)));
  silent('R-A5', 'no line is full', withForward({}, at(gigabit / 3)));
});

describe('fragments', () => {
  const fragments = (count: number, encapsulation: string[]) =>
    report({
      connections: [connection({ encapsulation })],
      anomalies: [
        {
          code: 'decode/fragment',
          severity: 'note',
          origin: 'network',
          text: '',
          direction: null,
          count,
          first: { frame: 12 },
          last: { frame: 900 },
          samples: [],
        },
      ],
    });
  speaks('R-B6', 'every tenth frame is a fragment, in a tunnel', fragments(2500, ['vxlan:42']), {
    severity: 'minor',
    packets: [12, 900],
    confidence: 0.8,
  });
  silent('R-B6', 'three fragments in 25 000 frames', fragments(3, ['vxlan:42']));
});
