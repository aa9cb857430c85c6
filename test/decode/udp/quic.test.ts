import { describe, expect, test } from 'vitest';
import { type CapturedFrame, ethernet, frame, hex, ipv4, udp } from '../../support/frames.js';
import { random } from '../../support/random.js';
import { analysedFrames } from '../../support/udp-analysis.js';
import * as quic from '../../support/udp-transports/quic.js';

const there = (datagram: Uint8Array) => frame(ethernet(), ipv4(), udp({ srcPort: 40000, dstPort: 443 }, datagram));
const back = (datagram: Uint8Array) =>
  frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), udp({ srcPort: 443, dstPort: 40000 }, datagram));
const at = (ms: number, bytes: Uint8Array): CapturedFrame => ({ bytes, tNs: ms * 1e6 });

function run(...frames: (Uint8Array | CapturedFrame)[]) {
  const [flow] = analysedFrames(...frames).flows;
  return { transport: flow!.transport, facts: flow!.facts, lost: flow!.directions.map((d) => d.lostPackets) };
}

test('a handshake', () => {
  const { transport, facts, lost } = run(
    at(0, there(quic.long(quic.INITIAL))),
    at(1, there(quic.long(quic.ZERO_RTT))),
    at(20, back(quic.long(quic.INITIAL, { source: new Uint8Array(9) }))),
    at(21, back(quic.long(quic.HANDSHAKE, { source: new Uint8Array(9) }))),
    at(40, there(quic.short(false, 1350))),
  );
  expect([transport, lost]).toEqual(['quic', [null, null]]);
  expect(facts).toMatchObject({
    version: '1',
    zeroRtt: true,
    retry: false,
    initialDatagrams: 2,
    handshakeDatagrams: 1,
    clientIdBytes: 5,
    serverIdBytes: 9,
    handshakeFirstAnswerNs: 20e6,
    handshakeToDataNs: 40e6,
    largestPayloadBytes: 1351,
    lossObservable: false,
  });
});

test('version 2 numbers its packet types differently', () => {
  const version = quic.VERSION_2;
  const { facts } = run(
    there(quic.long(quic.INITIAL, { version })),
    back(quic.long(quic.RETRY, { version })),
    there(quic.long(quic.HANDSHAKE, { version })),
  );
  expect(facts).toMatchObject({
    version: '2',
    retry: true,
    initialDatagrams: 1,
    handshakeDatagrams: 1,
    zeroRtt: false,
  });
});

test('version negotiation', () => {
  expect(run(there(quic.long(quic.INITIAL)), back(quic.long(quic.INITIAL, { version: 0 }))).facts).toMatchObject({
    version: '1',
    versionNegotiation: true,
  });
});

describe('the spin bit', () => {
  const opened = at(0, there(quic.long(quic.INITIAL)));
  /** A client packet every millisecond; `spin` says how the bit stands at that time. */
  const transfer = (packets: number, spin: (ms: number) => boolean) =>
    Array.from({ length: packets }, (_, ms) => at(1 + ms, there(quic.short(spin(ms)))));

  test('flips once per round trip', () => {
    const { facts } = run(opened, ...transfer(200, (ms) => Math.floor(ms / 20) % 2 === 1));
    expect(facts).toMatchObject({ clientSpinBit: 'spinning', rttSamples: 8, rttMinNs: 20e6, rttMaxNs: 20e6 });
  });

  test('one packet out of order makes no short round trip', () => {
    const { facts } = run(opened, ...transfer(200, (ms) => (Math.floor(ms / 20) % 2 === 1) !== (ms === 101)));
    expect(facts['rttMinNs']).toBeGreaterThan(15e6);
  });

  test('constant, or random: no round trip is claimed', () => {
    const source = random(5);
    expect(run(opened, ...transfer(100, () => false)).facts).toMatchObject({
      clientSpinBit: 'constant',
      rttMinNs: null,
    });
    expect(run(opened, ...transfer(100, () => source.below(2) === 1)).facts).toMatchObject({
      clientSpinBit: 'random',
      rttMinNs: null,
    });
  });
});

// RFC 9001 appendix A: the client's Initial (its first 38 of 1200 bytes), the server's Initial, a Retry, a short packet.
test('the sample packets of RFC 9001', () => {
  const initial = there(hex('c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b'));
  const answer = hex(`
    cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf7
    3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f
    58891850abbdca3d20398c276456cbc42158407dd074ee`);
  const { facts } = run(
    { bytes: initial, wire: initial.length + 1200 - 38 },
    back(answer),
    back(hex('ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba')),
    there(hex('4cfe4189655e5cd55c41f69080575d7999c25a5bfb')),
  );
  expect(facts).toMatchObject({
    version: '1',
    initialDatagrams: 2,
    retry: true,
    clientIdBytes: 0,
    serverIdBytes: 8,
    dataPackets: 1,
    malformedDatagrams: 0,
  });
});

describe('recognition', () => {
  test.each([
    ['an unknown version', quic.long(quic.INITIAL, { version: 0x12345678 })],
    ['a connection id that does not fit', quic.long(quic.INITIAL).fill(21, 5, 6)],
    ['a short header alone', quic.short(true)],
    ['a long header without the fixed bit', quic.long(quic.INITIAL).fill(0x83, 0, 1)],
  ])('not by %s', (_name, datagram) => {
    expect(run(there(datagram)).transport).toBe('udp');
  });
});
