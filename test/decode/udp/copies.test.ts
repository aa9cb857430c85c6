import { describe, expect, test } from 'vitest';
import { Analysis } from '../../../src/analyze.js';
import type { PacketBatch } from '../../../src/capture/packet-batch.js';
import {
  batchOf,
  type CapturedFrame,
  ethernet,
  frame,
  geneve,
  ipv4,
  ipv6,
  type Layer,
  raw,
  udp,
  vxlan,
} from '../../support/frames.js';
import { recorded } from '../../support/recorded.js';
import { analysedFrames, analysedUdp } from '../../support/udp-analysis.js';
import * as rdma from '../../support/udp-transports/roce.js';
import * as udt from '../../support/udp-transports/udt.js';

const outside = [ethernet(), ipv4({ src: '172.16.0.1', dst: '172.16.0.2' })] as const;
const bare = (...layers: Layer[]) => frame(ethernet(), ...layers);
const inVxlan = (vni: number, ...layers: Layer[]) =>
  frame(...outside, udp({ dstPort: 4789 }), vxlan(vni), ethernet(), ...layers);
const there = (payload: string | Uint8Array, id = 7) =>
  [ipv4({ id }), udp({ srcPort: 40000, dstPort: 9000 }, payload)] as const;
const back = (payload: string | Uint8Array, id = 9) =>
  [ipv4({ src: '10.0.0.2', dst: '10.0.0.1', id }), udp({ srcPort: 9000, dstPort: 40000 }, payload)] as const;

/** Path and frames each way of every flow, and how many copies were found. */
function flows(...frames: (Uint8Array | CapturedFrame)[]) {
  const { flows, log } = analysedFrames(...frames);
  return {
    flows: flows.map((flow) => [flow.encapsulation.join('/'), ...flow.directions.map((way) => way.frames)]),
    copies: log.count('udp/captured-twice'),
  };
}

describe('a datagram inside and outside its tunnel', () => {
  test('counts once; answers come the other way round', () => {
    expect(
      flows(
        bare(...there('one')),
        inVxlan(42, ...there('one')),
        inVxlan(42, ...back('two')),
        bare(...back('two')),
        inVxlan(42, ...there('three')),
        bare(...there('three')),
      ),
    ).toEqual({ flows: [['', 2, 1]], copies: 3 });
  });

  test('what the tunnel cost counts on its path all the same', () => {
    const { tunnels } = analysedFrames(bare(...there('one')), inVxlan(42, ...there('one')));
    expect(tunnels).toMatchObject([{ encapsulation: ['vxlan:42'], frames: 1 }]);
  });

  test('that shows on one path only still belongs to the flow', () => {
    expect(
      flows(
        inVxlan(42, ...there('one')),
        bare(...there('one')),
        bare(...there('seen inside')),
        inVxlan(42, ...back('seen outside')),
      ),
    ).toEqual({ flows: [['vxlan:42', 2, 1]], copies: 1 });
  });

  test('three paths', () => {
    const nested = frame(
      ...outside,
      udp({ dstPort: 6081 }),
      geneve(3),
      raw(inVxlan(42, ...there('one')), { etherType: 0x6558 }),
    );
    expect(flows(bare(...there('one')), inVxlan(42, ...there('one')), nested)).toEqual({
      flows: [['', 1, 0]],
      copies: 2,
    });
  });

  test('a queue between the capture points: copies lie behind other datagrams', () => {
    const sent = Array.from({ length: 2000 }, (_, i) => there(`datagram ${i}`));
    const frames = [
      ...sent.map((layers, i) => ({ bytes: bare(...layers), tNs: i * 1e5 })),
      ...sent.map((layers, i) => ({ bytes: inVxlan(42, ...layers), tNs: i * 1e5 + 150.05e6 })),
    ];
    expect(flows(...frames.sort((a, b) => a.tNs - b.tNs))).toEqual({ flows: [['', 2000, 0]], copies: 2000 });
  });

  test('IPv6, and the rest cut by the snap length', () => {
    const layers = [ipv6(), udp({ srcPort: 1, dstPort: 2 }, '0123456789abcdef and the rest')] as const;
    const [inside, outer] = [bare(...layers), inVxlan(42, ...layers)];
    const cut = (bytes: Uint8Array) => ({ bytes: bytes.slice(0, -13), wire: bytes.length });
    expect(flows(cut(inside), cut(outer))).toEqual({ flows: [['', 1, 0]], copies: 1 });
  });

  test('RoCEv2, whose answers have another source port', () => {
    const write = [
      ipv4(),
      udp({ srcPort: 50001, dstPort: 4791 }, rdma.packet(rdma.WRITE_ONLY, 5, 1, rdma.reth(0, 4), 'page')),
    ] as const;
    const ack = [
      ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
      udp({ srcPort: 50002, dstPort: 4791 }, rdma.ack(6, 1)),
    ] as const;
    expect(flows(bare(...write), inVxlan(42, ...write), inVxlan(42, ...ack), bare(...ack))).toEqual({
      flows: [['', 1, 1]],
      copies: 2,
    });
  });
});

describe('what is no copy counts', () => {
  test('the same datagram sent again, on both paths', () => {
    const again = there(udt.srtData(1000, 2, 'payload', { again: true }), 0);
    expect(flows(bare(...again), bare(...again), inVxlan(42, ...again), inVxlan(42, ...again))).toEqual({
      flows: [['', 2, 0]],
      copies: 2,
    });
  });

  test('an echo', () => {
    const [ping, pong] = [
      there('echo', 0),
      [ipv4({ src: '10.0.0.2', dst: '10.0.0.1', id: 0 }), udp({ srcPort: 9000, dstPort: 40000 }, 'echo')] as const,
    ];
    expect(flows(bare(...ping), inVxlan(42, ...pong)).copies).toBe(0);
  });

  test.each([
    ['another tenant’s datagram', [bare(...there('mine')), inVxlan(2, ...there('hers'))]],
    ['the same in another tunnel, not around the first', [inVxlan(1, ...there('x')), inVxlan(2, ...there('x'))]],
    ['the same much later', [bare(...there('x')), { bytes: inVxlan(42, ...there('x')), tNs: 1e9 }]],
    ['another one by its identification', [bare(...there('x', 1)), inVxlan(42, ...there('x', 2))]],
    ['another one by its length', [bare(...there('x'.repeat(20))), inVxlan(42, ...there('x'.repeat(21)))]],
  ])('%s', (_name, frames) => {
    expect(flows(...frames)).toEqual({
      flows: [
        [expect.stringMatching(/^$|^vxlan/), 1, 0],
        [expect.stringMatching(/^vxlan/), 1, 0],
      ],
      copies: 0,
    });
  });
});

describe('a migration over UDT inside VXLAN, captured inside and outside', () => {
  const plain = recorded(new URL('recordings/qemu-over-udt.pcap.gz', import.meta.url));
  const inner: CapturedFrame[] = Array.from({ length: plain.count }, (_, row) => ({
    bytes: plain.bytes.slice(plain.start[row]!, plain.start[row]! + plain.captured[row]!),
    wire: plain.wire[row]!,
    tNs: plain.tNs[row]!,
  }));
  const isUdp = ({ bytes }: CapturedFrame) => bytes[23] === 17;
  const source = inner.find(isUdp)!.bytes.slice(26, 30).join();
  /** The source sends through a queue between the two capture points that fills to 30 ms, and hears outside first. */
  const both = inner
    .flatMap((captured, i) => {
      const outer = frame(...outside, udp({ dstPort: 4789, checksum: false }), vxlan(42), raw(captured.bytes));
      const sent = captured.bytes.slice(26, 30).join() === source;
      const tNs = captured.tNs! + (sent ? Math.min(30e6, i * 0.2e6 + 0.01e6) : -0.02e6);
      return [captured, { bytes: outer, wire: captured.wire! + 50, tNs }];
    })
    .sort((a, b) => a.tNs! - b.tNs!);

  function analysed(frames: readonly CapturedFrame[], batchFrames: number) {
    const analysis = new Analysis();
    for (let at = 0; at < frames.length; at += batchFrames) {
      const batch: PacketBatch = batchOf(frames.slice(at, at + batchFrames), { firstFrame: at + 1 });
      analysis.push(batch);
    }
    const { migration, udp: carried, anomalies } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
    const { outcome, ramBlocks, rounds } = migration.migrations[0]!;
    return {
      migrations: migration.migrations.length,
      outcome,
      ramBlocks,
      pages: rounds.map((round) => round.pages),
      // Without wire bytes: those of answers are the outer frame's, which comes first.
      flows: carried.flows.map((flow) => [
        flow.transport,
        flow.encapsulation,
        flow.directions.map(({ wireBytes: _, ...way }) => way),
      ]),
      copies: anomalies.find(({ code }) => code === 'udp/captured-twice')?.count ?? 0,
    };
  }

  test.each([2000, 100])('one flow, each packet once (batches of %i)', (batchFrames) => {
    const once = analysed(inner, 2000);
    expect(once).toMatchObject({ migrations: 1, outcome: 'completed', copies: 0 });
    expect(analysed(both, batchFrames)).toEqual({ ...once, copies: inner.filter(isUdp).length });
  });
});

// Linux 6.18, see recordings/README.md.
test('a real VXLAN device, recorded inside and outside: every byte once, every drop between the two a loss', () => {
  const captured = recorded(new URL('recordings/udt-in-vxlan.pcap.gz', import.meta.url));
  const { flows, log, streams } = analysedUdp([captured]);
  expect(flows).toMatchObject([
    {
      transport: 'udt',
      encapsulation: [],
      directions: [{ lostPackets: 41, reorderedPackets: 0, retransmittedPackets: 41 }, {}],
      facts: { uniquePayloadBytes: 150_000, reportedPackets: 41, unseenPackets: 0 },
    },
  ]);
  const { frames } = flows[0]!.directions[0];
  expect(log.count('udp/captured-twice')).toBe(frames + flows[0]!.directions[1].frames - 41);
  const numbers = Array.from({ length: 30_000 }, (_, i) => `${i + 1}\n`).join('');
  expect([...streams.values()][0]!.join('')).toBe(`${numbers.slice(0, 150_000)}|fin`);
});
