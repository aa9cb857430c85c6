import { describe, expect, test } from 'vitest';
import { Analysis } from '../../src/analyze.js';
import { decodeFrames } from '../../src/decode/frame.js';
import { createRows } from '../../src/decode/rows.js';
import { flowKey, TunnelCopies } from '../../src/decode/tunnel-copies.js';
import {
  batchOf,
  type CapturedFrame,
  ethernet,
  frame,
  ipv4,
  ipv6,
  type Layer,
  tcp,
  udp,
  vxlan,
} from '../support/frames.js';

const outside = [ethernet(), ipv4({ src: '172.16.0.1', dst: '172.16.0.2' })] as const;
const bare = (...layers: Layer[]) => frame(ethernet(), ...layers);
const inVxlan = (vni: number, ...layers: Layer[]) =>
  frame(...outside, udp({ dstPort: 4789 }), vxlan(vni), ethernet(), ...layers);

/** The path of every row, after copies were found. */
function paths(...frames: (Uint8Array | CapturedFrame)[]): string[] {
  const rows = createRows();
  const batch = batchOf(frames);
  decodeFrames(batch, rows);
  new TunnelCopies().push(batch, rows);
  return frames.map((_, row) => rows.tunnels[rows.tunnel[row]!]!.labels.join('/'));
}

const there = ipv4({ id: 7 });
const back = ipv4({ src: '10.0.0.2', dst: '10.0.0.1', id: 9 });
const syn = tcp({ flags: 'S', seq: 5000 });
const synAck = tcp({ srcPort: 4444, dstPort: 40000, flags: 'SA', seq: 70, ack: 5001 });
const data = tcp({ seq: 5001, ack: 71 }, 'data');

describe('a packet inside and outside its tunnel', () => {
  test('leaves: first bare, then encapsulated; answers come the other way round', () => {
    expect(
      paths(
        bare(there, syn),
        inVxlan(42, there, syn),
        inVxlan(42, back, synAck),
        bare(back, synAck),
        inVxlan(42, there, data),
      ),
    ).toEqual(['', '', '', '', '']);
  });

  test('the path seen first is the one that stays', () => {
    expect(paths(inVxlan(42, there, syn), bare(there, syn), bare(there, data))).toEqual([
      'vxlan:42',
      'vxlan:42',
      'vxlan:42',
    ]);
  });

  test('three copies', () => {
    const nested = frame(
      ...outside,
      udp({ dstPort: 4789 }),
      vxlan(1),
      ...outside,
      udp({ dstPort: 4789 }),
      vxlan(42),
      ethernet(),
      there,
      syn,
    );
    expect(paths(bare(there, syn), inVxlan(42, there, syn), nested)).toEqual(['', '', '']);
  });

  test('IPv6, from the middle of a connection', () => {
    const segment = [ipv6(), tcp({ seq: 9, ack: 8 }, 'x')] as const;
    expect(paths(inVxlan(42, ...segment), bare(...segment))).toEqual(['vxlan:42', 'vxlan:42']);
  });
});

describe('what is no copy keeps its path', () => {
  test('another tenant with the same addresses and ports', () => {
    const other = tcp({ flags: 'S', seq: 123456 });
    expect(paths(inVxlan(1, there, syn), inVxlan(2, there, other))).toEqual(['vxlan:1', 'vxlan:2']);
  });

  test('the same numbers much later', () => {
    expect(paths(bare(there, syn), { bytes: inVxlan(42, there, syn), tNs: 1e9 })).toEqual(['', 'vxlan:42']);
  });

  test('another packet by its identification', () => {
    expect(paths(bare(there, syn), inVxlan(42, ipv4({ id: 8 }), syn))).toEqual(['', 'vxlan:42']);
  });

  test('other ports', () => {
    expect(paths(bare(there, syn), inVxlan(42, there, tcp({ srcPort: 40001, flags: 'S', seq: 5000 })))).toEqual([
      '',
      'vxlan:42',
    ]);
  });
});

test('copies of a short connection are the capture’s from the first, not the network’s', () => {
  const segments = [
    [there, syn],
    [back, synAck],
    [there, data],
  ] as const;
  const frames = segments.flatMap((layers) => [bare(...layers), inVxlan(42, ...layers)]);
  const analysis = new Analysis();
  analysis.push(batchOf(frames));
  const { tcp: results } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
  expect(results.connections).toMatchObject([
    {
      directions: [
        { frames: 4, captureDuplicates: 2, networkDuplicates: 0 },
        { frames: 2, captureDuplicates: 1, networkDuplicates: 0 },
      ],
    },
  ]);
});

test('a short connection recorded twice at one place costs the wire as much as once', () => {
  const frames = [1, 2, 3, 4].map((i) =>
    bare(ipv4({ id: i }), tcp({ seq: 5000 + i * 1000, ack: 71 }, 'x'.repeat(1000))),
  );
  const wireBytes = (captured: Uint8Array[]) => {
    const analysis = new Analysis();
    analysis.push(batchOf(captured));
    const [connection] = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).tcp.connections;
    return connection!.directions.map((way) => way.wireBytes);
  };
  expect(wireBytes(frames.flatMap((bytes) => [bytes, bytes]))).toEqual(wireBytes(frames));
});

test('neighbouring addresses with neighbouring ports are different flows', () => {
  const flows = Array.from({ length: 256 }, (_, i) =>
    bare(ipv4({ src: `10.0.0.${i >> 4}` }), tcp({ srcPort: 40_000 + (i & 15) })),
  );
  const rows = createRows();
  const batch = batchOf(flows);
  decodeFrames(batch, rows);
  const keys = new Set(flows.map((_, row) => flowKey(batch, rows, row, rows.ports[row]!)));
  expect(keys.size).toBe(flows.length);
});
