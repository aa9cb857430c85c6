import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { UDP_STREAM_BASE } from '../../../src/decode/stream.js';
import { type CapturedFrame, ethernet, frame, hex, ipv4, raw, udp } from '../../support/frames.js';
import { recorded } from '../../support/recorded.js';
import { analysedFrames, analysedUdp } from '../../support/udp-analysis.js';
import * as udt from '../../support/udp-transports/udt.js';

const CLIENT = 111;
const SERVER = 222;

const ports = { client: 40000, server: 9000 };
const toServer = (datagram: Uint8Array) =>
  frame(ethernet(), ipv4(), udp({ srcPort: ports.client, dstPort: ports.server }, datagram));
const toClient = (datagram: Uint8Array) =>
  frame(
    ethernet(),
    ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
    udp({ srcPort: ports.server, dstPort: ports.client }, datagram),
  );
const opening = [
  toServer(udt.handshake({ own: CLIENT })),
  toClient(udt.handshake({ own: 5, to: CLIENT, cookie: 77 })),
  toServer(udt.handshake({ own: CLIENT, request: -1, cookie: 77 })),
  toClient(udt.handshake({ own: SERVER, to: CLIENT, request: -1, window: 8192 })),
];
/** Data packet `n` of the client with payload `text`, sent at `stampUs`. */
const send = (n: number, text: string, stampUs = n * 100) => toServer(udt.data(1000 + n, SERVER, text, { stampUs }));
const acked = (n: number) => toClient(udt.ack(CLIENT, { next: 1000 + n }));
const CLIENT_STREAM = UDP_STREAM_BASE;

function run(...frames: (Uint8Array | CapturedFrame)[]) {
  const { flows, streams } = analysedFrames(...frames);
  const { lostPackets, reorderedPackets, retransmittedPackets } = flows[0]!.directions[0];
  return {
    flow: flows[0]!,
    facts: flows[0]!.facts,
    counts: [lostPackets, reorderedPackets, retransmittedPackets],
    stream: streams.get(CLIENT_STREAM)?.join(''),
    streams,
  };
}

describe('a connection', () => {
  test('what the handshake says', () => {
    const { flow, facts } = run(...opening);
    expect(flow).toMatchObject({ transport: 'udt', client: { port: 40000 }, server: { port: 9000 } });
    expect(facts).toMatchObject({
      version: 4,
      socketType: 'stream',
      mssBytes: 1500,
      windowPackets: 8192,
      rendezvous: false,
    });
  });

  test('payload in sequence order is a byte stream from its start', () => {
    const { stream, flow, counts } = run(...opening, send(0, 'QEVM'), send(1, 'page'), toServer(udt.shutdown(SERVER)));
    expect([stream, counts]).toEqual(['QEVMpage|fin', [0, 0, 0]]);
    expect(flow.streams).toEqual([CLIENT_STREAM]);
  });

  test('the server can send too', () => {
    const { streams } = run(...opening, send(0, 'ask'), toClient(udt.data(1000, CLIENT, 'answer')));
    expect([...streams].map(([id, pieces]) => [id, pieces.join('')])).toEqual([
      [CLIENT_STREAM, 'ask|capture-end'],
      [CLIENT_STREAM + 1, 'answer|capture-end'],
    ]);
  });

  test('two connections between the same ports keep apart', () => {
    const second = [
      toServer(udt.handshake({ own: 333, initial: 50 })),
      toClient(udt.handshake({ own: 444, to: 333, request: -1, initial: 50 })),
    ];
    const { streams, facts } = run(
      ...opening,
      ...second,
      send(0, 'one'),
      toServer(udt.data(50, 444, 'two')),
      send(1, '+'),
    );
    expect([...streams.values()].map((pieces) => pieces.join(''))).toEqual(['one+|capture-end', 'two|capture-end']);
    expect(facts['connections']).toBe(2);
  });

  test('sequence numbers wrap at 31 bits', () => {
    const hello = [
      toServer(udt.handshake({ own: CLIENT, initial: 0x7fffffff })),
      toClient(udt.handshake({ own: SERVER, to: CLIENT, request: -1, initial: 0x7fffffff })),
    ];
    const at = (n: number, text: string) => toServer(udt.data(0x7fffffff + n, SERVER, text));
    expect(run(...hello, at(0, 'a'), at(1, 'b'), at(3, 'd'), at(2, 'c'), at(4, 'e')).stream).toBe('abcde|capture-end');
  });
});

describe('what happened to the packets', () => {
  test('lost before the capture point and sent again', () => {
    const { counts, stream } = run(...opening, send(0, 'a'), send(2, 'c'), send(1, 'b', 999));
    expect([counts, stream]).toEqual([[1, 0, 1], 'abc|capture-end']);
  });

  test('lost behind the capture point: the report and the second copy tell', () => {
    const { counts, facts, stream } = run(
      ...opening,
      ...[send(0, 'a'), send(1, 'b'), send(2, 'c'), send(3, 'd')],
      toClient(udt.nak(CLIENT, [1001, 1002])),
      toClient(udt.nak(CLIENT, 1001)),
      ...[send(1, 'b', 900), send(2, 'c', 901)],
    );
    expect([counts, stream]).toEqual([[2, 0, 2], 'abcd|capture-end']);
    expect(facts).toMatchObject({ lossReports: 2, reportedPackets: 3, repeatedReports: 1 });
  });

  test('overtaken: an original that arrives late is not lost', () => {
    const { counts, stream } = run(...opening, send(0, 'a'), send(2, 'c'), send(1, 'b'), send(3, 'd'));
    expect([counts, stream]).toEqual([[0, 1, 0], 'abcd|capture-end']);
  });

  test('missing from the capture only: the receiver acknowledged it', () => {
    const { counts, facts, stream } = run(...opening, send(0, 'a'), send(2, 'c'), acked(3), send(3, 'd'));
    expect([counts, stream]).toEqual([[0, 0, 0], 'a<1 unseen>cd|capture-end']);
    expect(facts['unseenPackets']).toBe(1);
  });

  test('the first packets are missing from the capture', () => {
    expect(run(...opening, send(2, 'c'), acked(3)).stream).toBe('…c|capture-end');
  });

  test('a datagram cut by the snap length leaves a hole of the right size', () => {
    const cut = { bytes: send(1, 'bbbb').slice(0, -3), wire: send(1, 'bbbb').length };
    expect(run(...opening, send(0, 'aaaa'), cut, send(2, 'cccc')).stream).toBe('aaaab<3 cut>cccc|capture-end');
  });

  test('a datagram in IP fragments leaves a hole where the later ones are', () => {
    const datagram = udt.data(1001, SERVER, 'beginning');
    const whole = frame(ipv4(), udp({ srcPort: ports.client, dstPort: ports.server, length: 8 + 16 + 12 }, datagram));
    const first = frame(ethernet(), ipv4({ moreFragments: true }), raw(whole.slice(20), { ipProtocol: 17 }));
    const { stream } = run(...opening, send(0, 'a'), first, send(2, 'c'));
    expect(stream).toBe('abeginning<3 cut>c|capture-end');
  });

  test('never filled: the end of the capture gives it up', () => {
    const { counts, stream } = run(...opening, send(0, 'a'), send(3, 'd'));
    expect([counts, stream]).toEqual([[2, 0, 0], 'a<2 given-up>d|capture-end']);
  });

  test('reported lost, but only late: the receiver got it without a second copy', () => {
    const before = run(...opening, send(0, 'a'), send(1, 'b'), send(2, 'c'), toClient(udt.nak(CLIENT, 1001)));
    expect(before.counts).toEqual([1, 0, 0]);
    const after = run(...opening, send(0, 'a'), send(1, 'b'), send(2, 'c'), toClient(udt.nak(CLIENT, 1001)), acked(3));
    expect(after.counts).toEqual([0, 0, 0]);
  });

  test('a sequence number from nowhere is not a million losses', () => {
    expect(run(...opening, send(0, 'a'), toServer(udt.data(0x30000000, SERVER, 'x'))).counts).toEqual([0, 0, 0]);
  });
});

test('what the receiver says about the path', () => {
  const at = (ms: number, bytes: Uint8Array) => ({ bytes, tNs: ms * 1e6 });
  const { facts } = run(
    ...opening,
    at(1, send(0, 'x'.repeat(1456))),
    at(1, toClient(udt.ack(CLIENT, { next: 1000, rttUs: 100_000, varianceUs: 50_000 }))),
    at(
      2,
      toClient(udt.ack(CLIENT, { number: 9, next: 1001, rttUs: 20_000, buffer: 8100, rate: 800, capacity: 90_000 })),
    ),
    at(3, toServer(udt.ack2(SERVER, 9))),
    at(4, send(1, 'x')),
    at(5, send(2, 'x')),
    at(6, toClient(udt.ack(CLIENT, { number: 10, next: 1003, rttUs: 30_000, buffer: 7000, rate: 700, capacity: 0 }))),
    at(7, toClient(udt.lightAck(CLIENT, 1003))),
  );
  expect(facts).toMatchObject({
    rttSamples: 2, // the first one is what the protocol starts with, no measurement
    rttMinNs: 20e6,
    rttMeanNs: 25e6,
    rttMaxNs: 30e6,
    receiverBufferMinPackets: 7000,
    receiveRateMaxPacketsPerS: 800,
    capacityBps: 90_000 * 1500 * 8,
    ackToAck2MinNs: 1e6,
    flightMaxPackets: 2,
    packetPayloadBytes: 1456,
    dataSide: 'client',
  });
});

describe('SRT', () => {
  const srtOpening = [
    toServer(udt.handshake({ own: CLIENT, socketType: 2 })),
    toClient(udt.handshake({ own: SERVER, to: CLIENT, version: 5, socketType: 0x4a17 })),
    toServer(udt.handshake({ own: CLIENT, version: 5, socketType: 1, request: -1 })),
    toClient(udt.handshake({ own: SERVER, to: CLIENT, version: 5, socketType: 1, request: -1 })),
  ];
  const srt = (n: number, text: string, o = {}) => toServer(udt.srtData(1000 + n, SERVER, text, o));

  test('its retransmission flag decides', () => {
    const { flow, counts, stream } = run(
      ...srtOpening,
      ...[srt(0, 'a'), srt(2, 'c'), srt(1, 'b'), srt(4, 'e'), srt(3, 'd', { again: true })],
    );
    expect([flow.transport, counts, stream]).toEqual(['srt', [1, 1, 1], 'abcde|capture-end']);
  });

  test('encrypted payload is not offered', () => {
    const { facts, streams } = run(...srtOpening, srt(0, 'QEVM', { key: 1 }));
    expect([facts['encrypted'], streams.size]).toEqual([true, 0]);
  });
});

describe('recognition', () => {
  test('joined midway by a full acknowledgement', () => {
    const { flow, stream } = run(send(7, 'x'), acked(8), send(8, 'y'), send(9, 'z'));
    expect([flow.transport, stream]).toEqual(['udt', '…yz|capture-end']);
  });

  test.each([
    ['a handshake of version 3', udt.handshake({ own: 1, version: 3 })],
    ['an impossible packet size', udt.handshake({ own: 1, mss: 7 })],
    ['a light acknowledgement alone', udt.lightAck(1, 2)],
    ['data alone', udt.data(1, 2, 'x')],
  ])('not by %s', (_name, datagram) => {
    expect(analysedFrames(toServer(datagram)).flows[0]!.transport).toBe('udp');
  });
});

// A handshake written out by hand, field by field, from the description in draft-gg-udt-03 §3.1.
test('a handshake, byte by byte', () => {
  const bytes = hex(`
    80000000 00000000 00000000 00000000
    00000004 00000001 2f9a1b3c 000005dc 00006400 00000001 0d2e4f60 00000000
    0100000a 00000000 00000000 00000000`);
  expect(run(toServer(bytes)).facts).toMatchObject({ version: 4, mssBytes: 1500, windowPackets: 25600 });
});

// 120 000 bytes sent by the reference implementations (libudt 4.11 and libsrt 1.5.1 of Debian 12) through a forwarder
// that dropped 2 data packets and swapped 3 pairs; recorded behind the forwarder. `resent` is the sender's own counter
// (pktRetransTotal); the hash is that of the file sent.
describe.each([
  ['udt', 'udt-4.11', 3],
  ['srt', 'srt-1.5.1', 5],
])('a real recording of %s', (transport, name, resent) => {
  const hash = createHash('sha256');
  const { flows } = analysedUdp([recorded(new URL(`recordings/${name}.pcap.gz`, import.meta.url))], (direction) => ({
    bytes(buffer, start, end) {
      if (direction === CLIENT_STREAM) hash.update(buffer.subarray(start, end));
      return true;
    },
    hole: () => expect.fail('nothing is missing'),
    end() {},
  }));

  test('every byte in order', () => {
    expect(flows[0]!.facts['uniquePayloadBytes']).toBe(120_000);
    expect(hash.digest('hex')).toBe('723c99e6d20bee4bacd3a27f193138c2829b27e926ebf007d5f0c400c63fd1ca');
  });

  test('the fate of the packets', () => {
    expect(flows[0]).toMatchObject({
      transport,
      directions: [{ lostPackets: 2, reorderedPackets: 3, retransmittedPackets: resent }, {}],
    });
  });
});
