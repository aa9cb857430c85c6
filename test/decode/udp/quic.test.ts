import { describe, expect, test } from 'vitest';
import { QuicBudget, QuicHandshake } from '../../../src/decode/udp/quic-initial.js';
import { QUIC_CRYPTO_BYTES, QUIC_CRYPTO_TOTAL_BYTES, QUIC_INITIALS, QUIC_INITIALS_TOTAL } from '../../../src/limits.js';
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

describe('the handshake is opened', () => {
  // The ClientHello of RFC 9001 appendix A.2 and RFC 9369 appendix A.2 in its CRYPTO frame.
  const offered = hex(`
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c00000
    0010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000
    003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e
    0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff080110
    0104800075300901100f088394c8f03e51570806048000ffff`);
  const answers = {
    1: hex(`
      cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4c
      f73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7a
      af2f58891850abbdca3d20398c276456cbc42158407dd074ee`),
    [quic.VERSION_2]: hex(`
      dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf87263017915358230035
      f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf
      21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140`),
  };
  const published = (version: 1 | typeof quic.VERSION_2) => ({
    request: quic.initial([...offered, ...quic.padding(917)], { version, number: 2 }),
    answer: answers[version],
  });
  const facts = {
    handshakeOpened: true,
    serverName: 'example.com',
    applicationProtocols: 'alpn',
    cipherSuite: 'TLS_AES_128_GCM_SHA256',
    maxIdleTimeoutNs: 30e9,
    initialMaxDataBytes: 2 ** 62,
    initialMaxStreamDataBytes: 65_535,
    ackDelayExponent: 3,
    maxAckDelayNs: 25e6,
    activeMigrationDisabled: false,
  };

  // The tag covers everything, so beginning and end as published mean that all of it is.
  test.each([
    [1, 'c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11', 'e221af44860018ab0856972e194cd934'],
    [
      quic.VERSION_2,
      'd76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485',
      'a18b2faa745b6fe189cf772a9f84cbfc',
    ],
  ] as const)('version %i: the published packets', (version, begins, ends) => {
    const { request, answer } = published(version);
    const text = Buffer.from(request).toString('hex');
    expect([text.slice(0, 64), text.slice(-32), request.length]).toEqual([begins, ends, 1200]);
    expect(run(there(request), back(answer)).facts).toMatchObject(facts);
  });

  test('the hello in pieces, out of order, over two datagrams and a coalesced packet', () => {
    const hello = quic.clientHello({ serverName: 'vm.example', protocols: ['migrate', 'h3'], parameters: [[1, []]] });
    const cut = [0, 40, 90, hello.length];
    const piece = (i: number) => quic.crypto(cut[i]!, hello.slice(cut[i], cut[i + 1]));
    const { facts } = run(
      there(quic.initial([...piece(2), 1, ...quic.padding(30)], { number: 0 })),
      there(
        new Uint8Array([
          ...quic.initial([2, 5, 0, 0, 0, ...piece(0)], { number: 1, numberBytes: 1, token: new Uint8Array(9) }),
          ...quic.initial([3, 5, 0, 0, 0, 1, 1, 1, ...piece(1)], { number: 2, numberBytes: 2 }),
        ]),
      ),
    );
    expect(facts).toMatchObject({
      serverName: 'vm.example',
      applicationProtocols: 'migrate h3',
      maxIdleTimeoutNs: null,
      cipherSuite: null,
    });
  });

  test('again after a Retry, under the new keys', () => {
    const id = new Uint8Array(8).fill(9);
    const hello = quic.clientHello();
    const { facts } = run(
      there(quic.initial(quic.crypto(0, hello.slice(0, 50)))),
      back(quic.long(quic.RETRY, { source: id })),
      there(quic.initial(quic.crypto(0, hello), { original: id })),
    );
    expect(facts).toMatchObject({ retry: true, serverName: 'example.org', applicationProtocols: 'h3' });
  });

  test('a close before anything was agreed', () => {
    expect(run(there(quic.initial([0x1c, 0x41, 0x28, 0, 0, ...quic.padding(20)]))).facts).toMatchObject({
      closeErrorCode: 0x128,
      serverName: null,
    });
  });

  test('names from the wire are printable', () => {
    const hello = quic.clientHello({ serverName: 'a\u0000\u001b[31m<b>' });
    expect(run(there(quic.initial(quic.crypto(0, hello)))).facts).toMatchObject({ serverName: 'a??[31m<b>' });
  });

  test('a packet that was changed, cut, or is no Initial of this connection stays closed', () => {
    const whole = quic.initial(quic.crypto(0, quic.clientHello()));
    const changed = whole.slice();
    changed[100] = changed[100]! ^ 1;
    const closed = { handshakeOpened: false, cipherSuite: null };
    expect(run(there(changed)).facts).toMatchObject(closed);
    expect(run(there(whole.slice(0, 90))).facts).toMatchObject(closed);
    expect(
      run(there(quic.initial(quic.crypto(0, 'x'), { original: new Uint8Array(8), destination: hex('01') }))).facts,
    ).toMatchObject(closed);
  });

  test('a hello that contradicts its lengths gives what was read before', () => {
    const hello = quic.clientHello();
    hello[51] = 0xff; // the first extension is longer than all
    const { facts, transport } = run(there(quic.initial(quic.crypto(0, hello))));
    expect([transport, facts['handshakeOpened'], facts['serverName']]).toEqual(['quic', true, null]);
  });

  describe('bounds', () => {
    test(`after ${QUIC_INITIALS} packets of a connection no more is tried`, () => {
      const hello = there(quic.initial(quic.crypto(0, quic.clientHello())));
      const pings = (count: number) => new Array<Uint8Array>(count).fill(there(quic.initial(quic.padding(30))));
      expect(run(...pings(QUIC_INITIALS - 1), hello).facts).toMatchObject({ serverName: 'example.org' });
      expect(run(...pings(QUIC_INITIALS), hello).facts).toMatchObject({ serverName: null });
    });

    test('QUIC_INITIALS_TOTAL: nor in all connections together', () => {
      const budget = new QuicBudget();
      expect(budget.packets).toBe(QUIC_INITIALS_TOTAL);
      budget.packets = 1;
      const hello = quic.initial(quic.crypto(0, quic.clientHello()));
      const opens = () => {
        const handshake = new QuicHandshake(budget);
        handshake.datagram(hello, new DataView(hello.buffer), 0, hello.length, 0);
        return handshake.finish()['handshakeOpened'];
      };
      expect([opens(), opens()]).toEqual([true, false]);
    });

    test('a message beyond the bound is not kept, and unfinished ones share theirs', () => {
      const budget = new QuicBudget();
      const unfinished = (offset: number) => {
        const packet = quic.initial([...quic.crypto(offset, 'x'), ...quic.padding(20)]);
        const handshake = new QuicHandshake(budget);
        handshake.datagram(packet, new DataView(packet.buffer), 0, packet.length, 0);
        return handshake;
      };
      unfinished(QUIC_CRYPTO_BYTES);
      expect(budget.waitingBytes).toBe(0);
      const waiting = Array.from({ length: 600 }, () => unfinished(QUIC_CRYPTO_BYTES - 1));
      expect(budget.waitingBytes).toBe(QUIC_CRYPTO_TOTAL_BYTES);
      for (const handshake of waiting) handshake.finish();
      expect(budget.waitingBytes).toBe(0);
    });
  });
});

test('datagrams that contradict it are an anomaly', () => {
  const { log } = analysedFrames(there(quic.long(quic.INITIAL)), there(hex('00')), there(hex('c000000001ff')));
  expect(log.count('udp/malformed')).toBe(2);
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
