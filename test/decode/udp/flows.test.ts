import { describe, expect, test } from 'vitest';
import {
  REASSEMBLY_DIRECTION_BYTES,
  UDP_FLOWS,
  UDP_RECOGNITION_DATAGRAMS,
  UDP_STREAMS,
  UDP_TIMELINES,
} from '../../../src/limits.js';
import {
  batchOf,
  type CapturedFrame,
  ethernet,
  frame,
  ipv4,
  ipv6,
  raw,
  tcp,
  u24,
  udp,
  vxlan,
} from '../../support/frames.js';
import { analysedFrames, analysedUdp } from '../../support/udp-analysis.js';
import * as udt from '../../support/udp-transports/udt.js';

const flowsOf = (...frames: (Uint8Array | CapturedFrame)[]) => analysedFrames(...frames).flows;

const there = (payload: string) => frame(ethernet(), ipv4(), udp({ srcPort: 9000, dstPort: 500 }, payload));
const back = (payload: string) =>
  frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), udp({ srcPort: 500, dstPort: 9000 }, payload));

describe('flows', () => {
  test('both directions of a conversation are one flow', () => {
    const [flow, ...others] = flowsOf(there('12345'), back('1'), { bytes: there('123'), tNs: 7000 });
    expect(others).toEqual([]);
    expect(flow).toMatchObject({
      id: 0,
      transport: 'udp',
      client: { address: '10.0.0.1', port: 9000 },
      server: { address: '10.0.0.2', port: 500 },
      firstFrame: 1,
      startNs: 0,
      endNs: 7000,
      directions: [
        { frames: 2, wireBytes: 92, payloadBytes: 8, lostPackets: null },
        { frames: 1, wireBytes: 43, payloadBytes: 1, lostPackets: null },
      ],
    });
  });

  test('who was seen first is the client, also when it has the higher address', () => {
    expect(flowsOf(back('x'), there('x'))).toMatchObject([{ client: { address: '10.0.0.2', port: 500 } }]);
  });

  test('both ends on one host differ by port', () => {
    const self = (srcPort: number, dstPort: number) =>
      frame(ethernet(), ipv6({ src: '::1', dst: '::1' }), udp({ srcPort, dstPort }, 'x'));
    expect(flowsOf(self(2, 1), self(1, 2))).toMatchObject([
      { client: { address: '::1', port: 2 }, directions: [{ frames: 1 }, { frames: 1 }] },
    ]);
  });

  test('the same addresses in two tunnels are two flows', () => {
    const tenant = (vni: number) =>
      frame(ethernet(), ipv4(), udp({ dstPort: 4789 }), vxlan(vni), ethernet(), ipv4(), udp({ dstPort: 53 }, 'q'));
    expect(flowsOf(tenant(1), tenant(2)).map((flow) => flow.encapsulation)).toEqual([['vxlan:1'], ['vxlan:2']]);
  });

  test('the timeline has the bytes of big flows only', () => {
    const big = frame(ethernet(), ipv4(), udp({ dstPort: 2049 }, new Uint8Array(60_000)));
    const frames = [there('x'), ...[0, 1, 2, 3].map((ms) => ({ bytes: big, tNs: ms * 1e6 }))];
    const { timeline } = analysedUdp([batchOf(frames)]);
    expect(timeline.rows).toBe(2); // from the second on: the first alone is not big
    expect([...(timeline.columns['flow']!.values as Float64Array)]).toEqual([1, 1]);
    expect([...(timeline.columns['clientWireBytes']!.values as Float64Array)]).toEqual([60_042, 60_042]);
  });
});

test('what encapsulation costs, and whether it fits', () => {
  const inner = [ethernet(), ipv4(), tcp({}, new Uint8Array(1460))] as const;
  const datagram = frame(udp({ dstPort: 4789 }), vxlan(42), ...inner);
  const { tunnels } = analysedUdp([
    batchOf([
      frame(ethernet(), ipv4(), udp({ dstPort: 4789 }), vxlan(42), ...inner),
      frame(ethernet(), ipv4({ moreFragments: true }), raw(datagram.slice(0, 1480), { ipProtocol: 17 })),
    ]),
  ]);
  expect(tunnels).toEqual([
    {
      encapsulation: ['vxlan:42'],
      frames: 2,
      innerIpBytes: 3000,
      outerIpBytes: 3050,
      innerMaxBytes: 1500,
      outerMaxBytes: 1550,
      fragmentedFrames: 1,
    },
  ]);
});

describe('bounds', () => {
  /** As many flows of one datagram each, one a nanosecond. */
  function* manyFlows(total: number) {
    for (let done = 0; done < total; done += 4000) {
      const frames = Array.from({ length: Math.min(4000, total - done) }, (_, i) => ({
        bytes: frame(ethernet(), ipv4({ src: `10.${u24(done + i).join('.')}` }), udp({ checksum: false }, 'x')),
        tNs: done + i,
      }));
      yield batchOf(frames, { firstFrame: done + 1 });
    }
  }

  test('more flows than are kept: those idle longest are forgotten', () => {
    const total = UDP_FLOWS + 5;
    const { flows, log } = analysedUdp(manyFlows(total));
    expect(flows.length).toBe(UDP_FLOWS * 0.75 + 5);
    expect([flows[0]!.firstFrame, flows.at(-1)!.firstFrame]).toEqual([UDP_FLOWS * 0.25 + 1, total]);
    expect(flows.at(-1)!.client.address).toBe(`10.${u24(total - 1).join('.')}`);
    expect(log.count('udp/flows-full')).toBe(UDP_FLOWS / 4);
  });

  test('more flows than are kept: one whose byte streams are followed is none of the forgotten', () => {
    const hello = frame(ethernet(), ipv4(), udp({ srcPort: 9001, dstPort: 9000 }, udt.handshake({ own: 1 })));
    function* batches() {
      yield batchOf([{ bytes: hello, tNs: 0 }], { firstFrame: 1 });
      yield* manyFlows(UDP_FLOWS + 5);
    }
    const { flows } = analysedUdp(batches());
    expect(flows.length).toBe(UDP_FLOWS * 0.75 + 6);
    expect(flows[0]).toMatchObject({ transport: 'udt', firstFrame: 1 });
  });

  test('more big flows than timelines: a bigger one takes over', () => {
    const send = (port: number, count: number) =>
      new Array(count).fill(frame(ethernet(), ipv4(), udp({ dstPort: port, checksum: false }, new Uint8Array(40_000))));
    const small = Array.from({ length: UDP_TIMELINES }, (_, i) => send(1000 + i, 3)).flat();
    const { timeline } = analysedUdp([batchOf([...small, ...send(7000, 13)])]);
    const ids = new Set(timeline.columns['flow']!.values as Float64Array);
    expect([ids.size, ids.has(UDP_TIMELINES), ids.has(0)]).toEqual([UDP_TIMELINES, true, false]);
  });

  test('more reliable flows than are followed: totals only', () => {
    const hello = (port: number) => [
      frame(ethernet(), ipv4(), udp({ srcPort: port, dstPort: 9000 }, udt.handshake({ own: 1 }))),
      frame(ethernet(), ipv4(), udp({ srcPort: port, dstPort: 9000 }, udt.data(1000, 2, 'x'))),
    ];
    const frames = Array.from({ length: UDP_STREAMS + 3 }, (_, i) => hello(1000 + i)).flat();
    const { flows, streams } = analysedFrames(...frames);
    expect(streams.size).toBe(UDP_STREAMS);
    expect(flows.at(-1)).toMatchObject({ transport: 'udt', streams: [], directions: [{ frames: 2 }, {}] });
  });

  test('a transport that shows itself too late is not found', () => {
    const late = (before: number) => {
      const noise = new Array(before).fill(there('noise'));
      const hello = frame(ethernet(), ipv4(), udp({ srcPort: 9000, dstPort: 500 }, udt.handshake({ own: 1 })));
      return flowsOf(...noise, hello)[0]!.transport;
    };
    expect([late(UDP_RECOGNITION_DATAGRAMS - 1), late(UDP_RECOGNITION_DATAGRAMS)]).toEqual(['udt', 'udp']);
  });

  test('a waiting queue beyond its bound gives up what is missing', () => {
    const big = 'x'.repeat(60_000);
    const at = (n: number, payload: string) =>
      frame(ethernet(), ipv4(), udp({ checksum: false }, udt.data(1000 + n, 2, payload)));
    const opening = frame(ethernet(), ipv4(), udp({}, udt.handshake({ own: 1 })));
    const count = Math.ceil(REASSEMBLY_DIRECTION_BYTES / big.length) + 1;
    function* batches() {
      yield batchOf([opening, at(0, 'a')]);
      for (let n = 0; n < count; n++) yield batchOf([at(2 + n, big)], { firstFrame: 3 + n });
    }
    const { streams } = analysedUdp(batches());
    const [pieces] = streams.values();
    expect(pieces!.slice(0, 3).map((piece) => piece.slice(0, 20))).toEqual(['', 'a', '<60000 given-up>']);
    expect(pieces!.join('').length).toBe(1 + '<60000 given-up>'.length + count * big.length + '|capture-end'.length);
  });
});
