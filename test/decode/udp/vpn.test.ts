import { describe, expect, test } from 'vitest';
import { type CapturedFrame, ethernet, frame, hex, ipv4, ipv6, raw, udp } from '../../support/frames.js';
import { analysedFrames } from '../../support/udp-analysis.js';
import { dtlsRecord, esp, ike, openvpn, wireguard } from '../../support/udp-transports/vpn.js';

const over = (port: number) => ({
  there: (datagram: Uint8Array) => frame(ethernet(), ipv4(), udp({ srcPort: 40000, dstPort: port }, datagram)),
  back: (datagram: Uint8Array) =>
    frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), udp({ srcPort: port, dstPort: 40000 }, datagram)),
});

function run(...frames: (Uint8Array | CapturedFrame)[]) {
  const [flow] = analysedFrames(...frames).flows;
  const counts = flow!.directions.map((d) => [d.lostPackets, d.reorderedPackets]);
  return { transport: flow!.transport, facts: flow!.facts, counts };
}

describe('WireGuard', () => {
  const { there, back } = over(51820);
  const data = (...counters: number[]) => counters.map((counter) => there(wireguard.data(7, counter)));

  test('handshake, data, keep-alive', () => {
    const { transport, facts, counts } = run(
      there(wireguard.initiation()),
      { bytes: back(wireguard.response()), tNs: 30e6 },
      ...data(0, 1, 2),
      back(wireguard.data(9, 0, 0)),
    );
    expect([transport, counts]).toEqual([
      'wireguard',
      [
        [0, 0],
        [0, 0],
      ],
    ]);
    expect(facts).toMatchObject({
      handshakes: 1,
      rttMinNs: 30e6,
      sessions: 2,
      keepAlives: 1,
      dataPackets: 3,
      largestPayloadBytes: 1456,
      fullSizedShare: 1,
      innerLossObservable: false,
    });
  });

  test('loss, reordering, duplicates by the counter', () => {
    const { counts, facts } = run(...data(10, 11, 15, 13, 16, 16));
    expect([counts[0], facts['duplicatePackets']]).toEqual([[2, 1], 1]);
  });

  test('new keys start a new counter', () => {
    const { counts, facts } = run(
      ...data(500, 501),
      there(wireguard.data(8, 0)),
      there(wireguard.data(8, 1)),
      ...data(502),
    );
    expect([counts[0], facts['sessions']]).toEqual([[0, 0], 2]);
  });

  test('recognised by any of its messages, on any port', () => {
    const { there: elsewhere } = over(12345);
    for (const datagram of [wireguard.initiation(), wireguard.response(), wireguard.data(1, 2)]) {
      expect(run(elsewhere(datagram)).transport).toBe('wireguard');
    }
    expect(run(elsewhere(wireguard.data(1, 2).slice(0, -1))).transport).toBe('udp');
    expect(run(elsewhere(wireguard.initiation().slice(1))).transport).toBe('udp');
  });
});

describe('ESP', () => {
  test('as an IP protocol, in both directions', () => {
    const there = (n: number) => frame(ethernet(), ipv4(), raw(esp(0xc0ffee, n), { ipProtocol: 50 }));
    const back = (n: number) =>
      frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), raw(esp(0xbeef, n), { ipProtocol: 50 }));
    const { transport, counts, facts } = run(there(1), back(1), there(2), there(5), back(2));
    expect([transport, counts, facts['sessions'], facts['inUdp']]).toEqual([
      'esp',
      [
        [2, 0],
        [0, 0],
      ],
      2,
      false,
    ]);
  });

  test('over IPv6', () => {
    expect(run(frame(ethernet(), ipv6(), raw(esp(300, 1), { ipProtocol: 50 }))).transport).toBe('esp');
  });

  test('in UDP, with IKE and keep-alives between', () => {
    const { there } = over(4500);
    const { transport, counts, facts } = run(
      ...[there(ike()), there(esp(999, 7)), there(Uint8Array.of(0xff)), there(esp(999, 8)), there(esp(999, 10))],
    );
    expect([transport, counts[0]]).toEqual(['esp', [1, 0]]);
    expect(facts).toMatchObject({ inUdp: true, keyExchangeDatagrams: 1, keepAlives: 1, dataPackets: 3 });
  });
});

describe('DTLS', () => {
  const { there, back } = over(5684);
  test('records are counted per epoch, also several in a datagram', () => {
    const flight = new Uint8Array([...dtlsRecord(22, 0, 1), ...dtlsRecord(22, 0, 2), ...dtlsRecord(22, 1, 0)]);
    const { transport, counts, facts } = run(
      ...[there(dtlsRecord(22, 0, 0, 90, 0xfeff)), back(dtlsRecord(22, 0, 0)), there(flight)],
      ...[there(dtlsRecord(23, 1, 1)), there(dtlsRecord(23, 1, 4)), there(dtlsRecord(21, 1, 5, 2))],
    );
    expect([transport, counts[0]]).toEqual(['dtls', [2, 0]]);
    expect(facts).toMatchObject({ version: '1.2', handshakeRecords: 5, alerts: 1, dataPackets: 2 });
  });

  test('version 1.3 hides its numbers', () => {
    const { facts } = run(there(dtlsRecord(22, 0, 0)), there(hex('2f a5a5 0010 000102030405060708090a0b0c0d0e0f')));
    expect(facts).toMatchObject({ version: '1.3', recordsWithEncryptedNumber: 1 });
  });

  test('a length beyond the datagram is not DTLS', () => {
    expect(run(there(dtlsRecord(22, 0, 0).slice(0, -1))).transport).toBe('udp');
  });
});

describe('OpenVPN', () => {
  const { there, back } = over(1194);
  test('packet ids of AEAD data', () => {
    const { transport, counts, facts } = run(
      ...[there(openvpn.clientReset()), back(openvpn.serverReset()), there(openvpn.control())],
      ...[1, 2, 4, 5].map((id) => there(openvpn.dataV2(id))),
      ...[1, 2].map((id) => back(openvpn.dataV1(id))),
    );
    expect([transport, counts]).toEqual([
      'openvpn',
      [
        [1, 0],
        [0, 0],
      ],
    ]);
    expect(facts).toMatchObject({ resets: 2, controlDatagrams: 3, packetIdsInClear: true, dataPackets: 6 });
  });

  test('without packet ids nothing is said about loss', () => {
    const { counts, facts } = run(
      there(openvpn.clientReset()),
      ...[0x8f31a2b0, 0x0177de31, 0xd0e1f2a3].map((vector) => there(openvpn.dataV1(vector))),
    );
    expect([counts[0], facts['packetIdsInClear']]).toEqual([[null, null], false]);
  });

  test('a reset is recognised on any port', () => {
    expect(run(over(443).there(openvpn.clientReset())).transport).toBe('openvpn');
  });
});
