// A migration decodes the same over every reliable transport, loss and reordering included.
import { describe, expect, test } from 'vitest';
import { Analysis } from '../../../src/analyze.js';
import { batchOf, ethernet, frame, ipv4, tcp, udp } from '../../support/frames.js';
import { smallMigration } from '../../support/migration-stream.js';
import { recorded } from '../../support/recorded.js';
import * as rdma from '../../support/udp-transports/roce.js';
import * as udt from '../../support/udp-transports/udt.js';

const stream = smallMigration().build();
const PIECE = 1000;
const pieces = Array.from({ length: Math.ceil(stream.length / PIECE) }, (_, i) =>
  stream.slice(i * PIECE, (i + 1) * PIECE),
);

/** What the analysis says about the pages and devices of the one migration in these frames, without times. */
function migration(frames: Uint8Array[]) {
  const analysis = new Analysis();
  analysis.push(batchOf(frames.map((bytes, i) => ({ bytes, tNs: i * 100_000 }))));
  const { migration } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
  expect(migration.migrations.length).toBe(1);
  const { outcome, ramBlocks, rounds } = migration.migrations[0]!;
  return { outcome, ramBlocks, pages: rounds.map((round) => round.pages) };
}

/** Every third packet comes late, every fifth is lost and sent again behind two others. */
function disturbed(packets: Uint8Array[]): Uint8Array[] {
  const order = packets.map((bytes, i) => ({ bytes, at: i % 5 === 4 ? i + 2.5 : i % 3 === 2 ? i + 1.5 : i }));
  return order.sort((a, b) => a.at - b.at).map(({ bytes }) => bytes);
}

const over = (port: number, datagram: Uint8Array) =>
  frame(ethernet(), ipv4(), udp({ srcPort: 40000, dstPort: port }, datagram));
const back = (port: number, datagram: Uint8Array) =>
  frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), udp({ srcPort: port, dstPort: 40000 }, datagram));

const overTcp = [
  frame(ethernet(), ipv4(), tcp({ flags: 'S', seq: 99 })),
  ...pieces.map((piece, i) => frame(ethernet(), ipv4(), tcp({ seq: 100 + i * PIECE }, piece))),
  frame(ethernet(), ipv4(), tcp({ flags: 'FA', seq: 100 + stream.length })),
];

const udtOpening = [over(9000, udt.handshake({ own: 1 })), back(9000, udt.handshake({ own: 2, to: 1, request: -1 }))];
const overUdt = [
  ...udtOpening,
  ...disturbed(pieces.map((piece, i) => over(9000, udt.data(1000 + i, 2, piece)))),
  over(9000, udt.shutdown(2)),
];

const srtOpening = [
  over(9000, udt.handshake({ own: 1, socketType: 2 })),
  back(9000, udt.handshake({ own: 2, to: 1, version: 5 })),
  over(9000, udt.handshake({ own: 1, version: 5, request: -1 })),
];
const overSrt = [
  ...srtOpening,
  ...disturbed(pieces.map((piece, i) => over(9000, udt.srtData(1000 + i, 2, piece)))),
  over(9000, udt.shutdown(2)),
];

describe('the same migration', () => {
  const expected = migration(overTcp);

  test('over TCP, to compare with', () => {
    expect(expected).toMatchObject({ outcome: 'completed' });
  });

  test('over UDT', () => expect(migration(overUdt)).toEqual(expected));
  test('over SRT', () => expect(migration(overSrt)).toEqual(expected));

  test('as stream messages over RDMA', () => {
    const messages = pieces.map((piece, i) => over(4791, rdma.packet(rdma.SEND_ONLY, 7, i, [], rdma.qemuFile(piece))));
    expect(migration([messages[0]!, ...disturbed(messages.slice(1))])).toEqual(expected);
  });
});

test('pages written past the stream count for what an RDMA migration moved', () => {
  const message = (n: number, control: Uint8Array) => over(4791, rdma.packet(rdma.SEND_ONLY, 7, n, [], control));
  const write = (n: number, address: number) =>
    over(4791, rdma.packet(rdma.WRITE_ONLY, 7, n, rdma.reth(address, 4096), new Uint8Array(4096)));
  const blocks = rdma.ramBlocksResult([{ host: 0x10_0000, ram: 0, length: 65_536 }]);
  const analysis = new Analysis();
  const frames = [
    ...pieces.slice(0, 1).map((piece, i) => message(i, rdma.qemuFile(piece))),
    frame(
      ethernet(),
      ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
      udp({ srcPort: 40001, dstPort: 4791 }, rdma.packet(rdma.SEND_ONLY, 8, 0, [], blocks)),
    ),
    write(1, 0x10_0000),
    write(2, 0x10_2000),
    ...pieces.slice(1).map((piece, i) => message(3 + i, rdma.qemuFile(piece))),
  ];
  analysis.push(batchOf(frames));
  const { bytes } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }).migration.migrations[0]!;
  expect([bytes.total, bytes.main]).toEqual([stream.length + 2 * 4096, stream.length + 2 * 4096]);
});

// What QEMU, the link and the sender said about this run is in recordings/README.md.
describe('QEMU 7.2 over UDT on a lossy path', () => {
  const analysis = new Analysis();
  analysis.push(recorded(new URL('recordings/qemu-over-udt.pcap.gz', import.meta.url)));
  const { migration, udp: carried } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });

  test('as many pages as QEMU counted', () => {
    const [only, ...others] = migration.migrations;
    const count = (kind: 'normal' | 'zero') => only!.rounds.reduce((sum, round) => sum + round.pages[kind], 0);
    expect(others).toEqual([]);
    expect([only!.outcome, count('normal'), count('zero')]).toEqual(['completed', 942, 1553]);
  });

  test('as many packets lost as the link dropped, and as many sent again as the sender counted', () => {
    expect(carried.flows).toMatchObject([
      {
        transport: 'udt',
        directions: [{ lostPackets: 95, reorderedPackets: 0, retransmittedPackets: 95 }, {}],
        facts: { unseenPackets: 0, malformedDatagrams: 0 },
      },
    ]);
    // 24 ms of path; the link runs at 25 Mbit/s.
    const { rttMinNs, capacityBps } = carried.flows[0]!.facts as Record<string, number>;
    expect(rttMinNs).toBeGreaterThan(24e6);
    expect(rttMinNs).toBeLessThan(25e6);
    expect(capacityBps).toBeGreaterThan(23e6);
    expect(capacityBps).toBeLessThan(27e6);
  });
});

describe('QEMU 7.2 over SRT on a lossy path', () => {
  const analysis = new Analysis();
  analysis.push(recorded(new URL('recordings/qemu-over-srt.pcap.gz', import.meta.url)));
  const { migration, udp: carried } = analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });

  test('as many pages as QEMU counted', () => {
    const [only, ...others] = migration.migrations;
    const count = (kind: 'normal' | 'zero') => only!.rounds.reduce((sum, round) => sum + round.pages[kind], 0);
    expect(others).toEqual([]);
    expect([only!.outcome, count('normal'), count('zero')]).toEqual(['completed', 728, 1553]);
  });

  test('as many packets lost as the link dropped, and as many sent again as the sender counted', () => {
    expect(carried.flows).toMatchObject([
      {
        transport: 'srt',
        directions: [{ lostPackets: 13, reorderedPackets: 0, retransmittedPackets: 13 }, {}],
        facts: { unseenPackets: 0, malformedDatagrams: 0, encrypted: false },
      },
    ]);
    const { rttMinNs, capacityBps } = carried.flows[0]!.facts as Record<string, number>;
    expect(rttMinNs).toBeGreaterThan(24e6);
    expect(rttMinNs).toBeLessThan(25e6);
    expect(capacityBps).toBeGreaterThan(23e6);
    expect(capacityBps).toBeLessThan(27e6);
  });
});
