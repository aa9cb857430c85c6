import { describe, expect, test } from 'vitest';
import type { PacketBatch } from '../../../src/capture/packet-batch.js';
import { UDP_STREAM_BASE } from '../../../src/decode/stream.js';
import type { RdmaConsumer } from '../../../src/decode/udp/rdma.js';
import {
  batchOf,
  type CapturedFrame,
  concat,
  ethernet,
  frame,
  hex,
  ipv4,
  type Payload,
  raw,
  u16,
  u32,
  udp,
} from '../../support/frames.js';
import { analysedUdp } from '../../support/udp-analysis.js';
import * as rdma from '../../support/udp-transports/roce.js';

const SOURCE_QP = 0x11;
const DESTINATION_QP = 0x22;
const FIRST = 500;

/** From the source host; its UDP port says nothing. */
const out = (datagram: Uint8Array, tos = 0) =>
  frame(ethernet(), ipv4({ tos }), udp({ srcPort: 50001, dstPort: 4791, checksum: false }, datagram));
const back = (datagram: Uint8Array) =>
  frame(
    ethernet(),
    ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
    udp({ srcPort: 61234, dstPort: 4791, checksum: false }, datagram),
  );
const opening = [
  out(rdma.cmRequest({ id: 1, queuePair: SOURCE_QP, sequence: FIRST, pinAll: true })),
  back(rdma.cmReply({ id: 2, peerId: 1, queuePair: DESTINATION_QP, sequence: 900 })),
];
/** Request `n` of the source. */
const request = (n: number, opcode: number, extension: Payload = [], payload: Payload = []) =>
  out(rdma.packet(opcode, DESTINATION_QP, FIRST + n, extension, payload, { askAck: true }));
const send = (n: number, message: Uint8Array) => request(n, rdma.SEND_ONLY, [], message);
const reply = (n: number, message: Uint8Array) => back(rdma.packet(rdma.SEND_ONLY, SOURCE_QP, 900 + n, [], message));
const write = (n: number, address: number, length: number) =>
  request(n, rdma.WRITE_ONLY, rdma.reth(address, length), new Uint8Array(Math.min(length, 64)));
const acked = (n: number) => back(rdma.ack(SOURCE_QP, FIRST + n));

function run(...frames: (Uint8Array | CapturedFrame)[]) {
  const events: string[] = [];
  const consumer: RdmaConsumer = {
    blocks: (_direction, blocks) => events.push(`blocks ${blocks.map((block) => block.lengthBytes)}`),
    written: (_direction, block, offset, length) => events.push(`write ${block} ${offset} ${length}`),
    zero: (_direction, block, offset, length) => events.push(`zero ${block} ${offset} ${length}`),
    iterationEnd: () => events.push('iteration'),
  };
  const batch: PacketBatch = batchOf(frames);
  const { flows, streams } = analysedUdp([batch], undefined, consumer);
  const { lostPackets, reorderedPackets, retransmittedPackets } = flows[0]!.directions[0];
  return {
    flows,
    facts: flows[0]!.facts,
    counts: [lostPackets, reorderedPackets, retransmittedPackets],
    events,
    stream: streams.get(UDP_STREAM_BASE)?.join(''),
  };
}

const blocks = rdma.ramBlocksResult([
  { host: 0x7f00_0000_0000, ram: 0, length: 0x100000 },
  { host: 0x7f10_0000_0000, ram: 0x100000, length: 0x4000 },
]);

describe('a migration over RDMA', () => {
  const migration = [
    ...opening,
    reply(0, rdma.ready()),
    send(0, rdma.ramBlocksRequest()),
    reply(1, blocks),
    send(1, rdma.qemuFile('QEVM-begin;')),
    send(2, rdma.registerRequest()),
    { bytes: reply(2, rdma.registerResult()), tNs: 4e6 },
    write(3, 0x7f00_0000_0000, 0x2000),
    write(4, 0x7f10_0000_1000, 0x1000),
    send(5, rdma.compress(1, 0x102000, 0x1000)),
    send(6, rdma.registerFinished()),
    send(7, rdma.qemuFile('end')),
  ];

  test('stream bytes in order, writes by block and offset', () => {
    const { stream, events, counts } = run(...migration);
    expect(stream).toBe('QEVM-begin;end|capture-end');
    expect(events).toEqual([
      'blocks 1048576,16384',
      'write 0 0 8192',
      'write 1 4096 4096',
      'zero 1 8192 4096',
      'iteration',
    ]);
    expect(counts).toEqual([0, 0, 0]);
  });

  test('one flow, whatever the source ports', () => {
    const { flows, facts } = run(...migration);
    expect(flows).toMatchObject([
      { transport: 'roce', client: { address: '10.0.0.1', port: 4791 }, streams: [UDP_STREAM_BASE] },
    ]);
    expect(facts).toMatchObject({
      qemuMigration: true,
      pinAll: true,
      ramBlocks: 2,
      ramBytes: 0x104000,
      writes: 2,
      writtenBytes: 0x3000,
      zeroBytes: 0x1000,
      iterations: 1,
      registrations: 1,
    });
  });

  test('packets sent again count once', () => {
    const again = run(...migration.slice(0, 10), ...migration.slice(8, 10), ...migration.slice(10));
    expect(again.events).toEqual(run(...migration).events);
    expect(again.counts).toEqual([0, 0, 2]);
  });

  test('without the answer that names the blocks, writes cannot be attributed', () => {
    const { facts, events } = run(...migration.filter((_, i) => i !== 4));
    expect([facts['unattributedWrites'], events]).toEqual([3, ['iteration']]);
  });

  test('a message over several packets', () => {
    const message = rdma.qemuFile('QEVM and more than one packet can hold');
    const { stream } = run(
      ...opening,
      request(0, rdma.SEND_FIRST, [], message.slice(0, 20)),
      request(1, rdma.SEND_MIDDLE, [], message.slice(20, 40)),
      request(2, rdma.SEND_LAST, [], message.slice(40)),
    );
    expect(stream).toBe('QEVM and more than one packet can hold|capture-end');
  });

  test('joined midway: connections are told by their queue pairs', () => {
    expect(run(...migration.slice(8)).stream).toBe('…end|capture-end');
  });

  test('something else that uses RDMA', () => {
    const { facts, stream } = run(
      ...opening,
      send(0, concat('not a control header of QEMU')),
      send(1, rdma.qemuFile('x')),
    );
    expect([facts['qemuMigration'], facts['sends'], stream]).toEqual([false, 2, undefined]);
  });

  test('cut by the snap length', () => {
    const whole = send(0, rdma.qemuFile('QEVM-0123456789'));
    const { stream } = run(...opening, { bytes: whole.slice(0, whole.length - 4 - 1 - 10), wire: whole.length });
    expect(stream).toBe('QEVM-<10 cut>|capture-end');
  });
});

describe('what happened to the packets', () => {
  const w = (n: number) => write(n, 0x1000, 64);

  test('lost behind the capture point: a NAK, and everything from there again', () => {
    const { counts, facts } = run(
      ...opening,
      w(0),
      w(1),
      w(2),
      w(3),
      back(rdma.nak(SOURCE_QP, FIRST + 1)),
      w(1),
      w(2),
      w(3),
    );
    expect([counts, facts['sequenceNaks']]).toEqual([[1, 0, 3], 1]);
  });

  test('lost before the capture point', () => {
    expect(run(...opening, w(0), w(2), back(rdma.nak(SOURCE_QP, FIRST + 1)), w(1), w(2)).counts).toEqual([1, 0, 2]);
  });

  test('overtaken', () => {
    expect(run(...opening, w(0), w(2), w(1)).counts).toEqual([0, 1, 0]);
  });

  test('missing from the capture only', () => {
    const { counts, facts } = run(...opening, w(0), w(2), acked(2));
    expect([counts, facts['unseenPackets'], facts['writes']]).toEqual([[0, 0, 0], 1, 2]);
  });

  test('sequence numbers wrap at 24 bits', () => {
    const hello = [
      out(rdma.cmRequest({ id: 1, queuePair: SOURCE_QP, sequence: 0xffffff })),
      back(rdma.cmReply({ id: 2, peerId: 1, queuePair: DESTINATION_QP, sequence: 0 })),
    ];
    const at = (n: number, text: string) =>
      out(rdma.packet(rdma.SEND_ONLY, DESTINATION_QP, (0xffffff + n) & 0xffffff, [], rdma.qemuFile(text)));
    const { stream, counts } = run(...hello, at(0, 'a'), at(2, 'c'), at(1, 'b'));
    expect([stream, counts]).toEqual(['…abc|capture-end', [0, 1, 0]]);
  });

  test('a READ takes the numbers of its response', () => {
    const read = request(1, rdma.READ_REQUEST, rdma.reth(0x1000, 4096));
    expect(run(...opening, w(0), read, w(5)).counts).toEqual([0, 0, 0]);
  });

  test('round trips, receivers that are not ready, congestion', () => {
    const at = (ms: number, bytes: Uint8Array) => ({ bytes, tNs: ms * 1e6 });
    const { facts } = run(
      ...opening,
      at(1, w(0)),
      at(3, acked(0)),
      at(4, w(1)),
      at(5, back(rdma.receiverNotReady(SOURCE_QP, FIRST + 1))),
      at(6, w(1)),
      at(9, acked(1)),
      at(10, out(rdma.packet(rdma.WRITE_ONLY, DESTINATION_QP, FIRST + 2, rdma.reth(0, 4), 'page'), 3)),
      at(11, back(rdma.cnp(SOURCE_QP))),
      at(12, back(rdma.nak(SOURCE_QP, FIRST + 2, 2))),
    );
    expect(facts).toMatchObject({
      rttSamples: 1, // the second one is ambiguous: which of the copies was answered?
      rttMinNs: 2e6,
      receiverNotReadyNaks: 1,
      otherNaks: 1,
      congestionMarks: 1,
      congestionNotifications: 1,
    });
  });
});

test('RoCE version 1: the same behind a global route header', () => {
  const v1 = (datagram: Uint8Array) =>
    frame(
      ethernet({ type: 0x8915 }),
      raw(
        concat(
          u32(0x60000000),
          u16(datagram.length),
          [27, 64],
          new Uint8Array(15),
          [1],
          new Uint8Array(15),
          [2],
          datagram,
        ),
      ),
    );
  const message = rdma.qemuFile('QEVM');
  const { flows, stream } = run(v1(rdma.packet(rdma.SEND_ONLY, 5, 9, [], message)));
  expect(flows).toMatchObject([{ transport: 'roce-v1', client: { address: '::1', port: 0 } }]);
  expect(stream).toBe('QEVM|capture-end');
});

// Captured on a ConnectX-4 Lx; published in scapy, test/contrib/roce.uts ("RoCE CNP captured on ConnectX-4 Lx").
test('a congestion notification of real hardware', () => {
  const captured = hex(`
    e41d2dab2bc2 7cfe90643b32 0800 45c2003c 718c4000 40119161 0a001101 0a001201
    0000 12b7 0028 0000 8100ffff 40000118 00000000 00000000 00000000 00000000 00000000 82fd002a`);
  expect(run(captured)).toMatchObject({
    flows: [{ transport: 'roce', client: { address: '10.0.17.1' } }],
    facts: { congestionNotifications: 1, malformedDatagrams: 0 },
  });
});
