// Datagrams of every transport, mutated and in any order: nothing throws, nothing leaves the captured bytes, counts stay
// sane, and the result repeats.
import { describe, expect, test } from 'vitest';
import { batchOf, ethernet, frame, ipv4, raw, udp } from '../../support/frames.js';
import { mutated, type Random, random } from '../../support/random.js';
import { analysedUdp } from '../../support/udp-analysis.js';
import * as quic from '../../support/udp-transports/quic.js';
import * as rdma from '../../support/udp-transports/roce.js';
import * as udt from '../../support/udp-transports/udt.js';
import { dtlsRecord, esp, ike, openvpn, wireguard } from '../../support/udp-transports/vpn.js';

const SEED = 20260608;
const ROUNDS = 12;
const FRAMES = 400;

/** By transport: a datagram from side 0 or 1 of flow `n`. */
const makers: Record<string, (source: Random, side: number) => Uint8Array> = {
  udt: (source, side) => {
    const n = 1000 + source.below(200);
    return source.pick([
      () => udt.handshake({ own: 1 + side, request: source.pick([1, 0, -1, -2]), to: source.below(3) }),
      () => udt.data(n, 2 - side, 'payload', { stampUs: source.below(1e6) }),
      () => udt.data(n, 2 - side, 'payload', { stampUs: source.below(1e6) }),
      () => udt.ack(2 - side, { next: n, number: source.below(9), rttUs: source.below(1e5) }),
      () => udt.lightAck(2 - side, n),
      () => udt.nak(2 - side, n, [n + 2, n + 5]),
      () => udt.ack2(2 - side, source.below(9)),
      () => udt.shutdown(2 - side),
    ])();
  },
  wireguard: (source, side) =>
    source.pick([
      wireguard.initiation,
      wireguard.response,
      wireguard.cookie,
      () => wireguard.data(side, source.below(99), 64),
    ])(),
  esp: (source, side) => (source.below(9) === 0 ? ike() : esp(300 + side + source.below(2), source.below(2 ** 17), 40)),
  dtls: (source) => dtlsRecord(20 + source.below(5), source.below(3), source.below(99), 9),
  openvpn: (source) =>
    source.pick([
      openvpn.clientReset,
      openvpn.serverReset,
      openvpn.control,
      () => openvpn.dataV1(source.below(99), 40),
      () => openvpn.dataV2(source.below(99), 40),
    ])(),
  quic: (source, side) =>
    source.pick([
      () => quic.long(quic.INITIAL, { version: source.pick([1, 0x6b3343cf, 0, 0xff00001d]), bytes: 20 }),
      () => quic.long(quic.HANDSHAKE, { source: new Uint8Array(source.below(21)), bytes: 20 }),
      () => quic.long(quic.RETRY, { bytes: 20 }),
      () => quic.short(source.below(2) === side, 20),
    ])(),
  roce: (source, side) => {
    const [qp, n] = [5 + side, source.below(200)];
    const sends = [rdma.SEND_FIRST, rdma.SEND_MIDDLE, rdma.SEND_LAST, rdma.SEND_ONLY];
    return source.pick([
      () => rdma.cmRequest({ id: 1, queuePair: 6 - side, sequence: n }),
      () => rdma.cmReply({ id: 2, peerId: 1, queuePair: 6 - side, sequence: n }),
      () => rdma.packet(source.pick(sends), qp, n, [], rdma.qemuFile('QEVM')),
      () => rdma.packet(rdma.SEND_ONLY, qp, n, [], rdma.ramBlocksResult([{ host: 4096, ram: 0, length: 65536 }])),
      () => rdma.packet(rdma.SEND_ONLY, qp, n, [], rdma.compress(0, 0, 4096)),
      () => rdma.packet(rdma.WRITE_ONLY, qp, n, rdma.reth(4096, 4096), 'page', { askAck: true }),
      () => rdma.packet(rdma.READ_REQUEST, qp, n, rdma.reth(4096, source.below(2 ** 31))),
      () => rdma.ack(qp, n),
      () => rdma.nak(qp, n),
      () => rdma.cnp(qp),
    ])();
  },
};

/** Server ports of transports that are told by theirs. */
const ports: Record<string, number> = { esp: 4500, roce: 4791 };

function conversation(name: string, source: Random, make: (source: Random, side: number) => Uint8Array) {
  return batchOf(
    Array.from({ length: FRAMES }, (_, i) => {
      const side = source.below(2);
      const [a, b] = [`10.0.0.${1 + side}`, `10.0.0.${2 - side}`];
      const port = ports[name] ?? 9000;
      const [srcPort, dstPort] = side === 0 || name === 'roce' ? [40000, port] : [port, 40000];
      let datagram = make(source, side);
      if (i > 4 && source.below(3) === 0) datagram = mutated(datagram, source);
      const bytes = frame(
        ethernet(),
        ipv4({ src: a, dst: b }),
        udp({ srcPort, dstPort, checksum: false }, datagram),
        raw([]),
      );
      const wire = bytes.length + (source.below(20) === 0 ? source.below(100) : 0);
      return { bytes, wire, tNs: i * 1e6 - source.below(3e6) };
    }),
  );
}

describe.each(Object.entries(makers))('%s', (name, make) => {
  test(`survives ${ROUNDS} × ${FRAMES} frames, seed ${SEED}`, () => {
    const once = () => {
      const source = random(SEED);
      return Array.from({ length: ROUNDS }, () => {
        const { flows, timeline, streams } = analysedUdp([conversation(name, source, make)]);
        return { flows, rows: timeline.rows, streams: [...streams] };
      });
    };
    const results = once();
    for (const { flows } of results) {
      for (const { frames, lostPackets, retransmittedPackets } of flows.flatMap((flow) => flow.directions)) {
        expect(lostPackets ?? 0).toBeGreaterThanOrEqual(0);
        expect(retransmittedPackets ?? 0).toBeLessThanOrEqual(frames);
      }
    }
    expect(once()).toEqual(results);
  });
});
