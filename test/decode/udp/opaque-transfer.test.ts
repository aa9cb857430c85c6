import { describe, expect, test } from 'vitest';
import { Flow } from '../../../src/decode/udp/flow.js';
import { type OpaqueTransfer, OpaqueTransfers } from '../../../src/decode/udp/opaque-transfer.js';
import { OPAQUE_BURSTS, OPAQUE_TRANSFERS } from '../../../src/limits.js';
import { ethernet, frame, ipv4, udp } from '../../support/frames.js';
import { analysedFrames } from '../../support/udp-analysis.js';
import { dtlsRecord, esp, openvpn, wireguard } from '../../support/udp-transports/vpn.js';

const MS = 1e6;
const S = 1e9;
const FULL = 1452;
const ACK = 96;
const end = { address: '192.0.2.1', port: 51820 };

/** Packets as [side, bytes, at ms], in order of time. */
function transfers(...packets: readonly (readonly [0 | 1, number, number])[]): readonly OpaqueTransfer[] {
  const flow = new Flow(0, end, end, 1, 0, Number.POSITIVE_INFINITY);
  flow.startTimeline();
  const opaque = new OpaqueTransfers(flow);
  for (const [side, bytes, ms] of packets) {
    flow.tNs = ms * MS;
    opaque.take(side, bytes);
  }
  return opaque.finish();
}

/** `count` full packets of side 0 from `ms` on, ten a millisecond, each tenth acknowledged. */
const bulk = (count: number, ms: number): (readonly [0 | 1, number, number])[] =>
  Array.from({ length: count }, (_, i) => ms + i / 10).flatMap((at, i) =>
    i % 10 === 9 ? [[0, FULL, at] as const, [1, ACK, at] as const] : [[0, FULL, at] as const],
  );

describe('bulk transfers', () => {
  test('a transfer with small messages before it, pauses and a quiet receiver', () => {
    const found = transfers(
      [0, ACK, 0],
      [1, ACK, 1],
      [0, ACK, 2],
      [0, 160, 3], // a message
      [1, ACK + 16, 4], // a few bytes
      ...bulk(2000, 5),
      ...bulk(1000, 300),
    );
    expect(found).toEqual([
      {
        side: 0,
        startNs: 0,
        endNs: 399.9 * MS,
        lastReplyNs: 399.9 * MS,
        bytes: 3000 * FULL + 2 * ACK + 160,
        replyBytes: 302 * ACK + 16,
        receiverQuiet: true,
        receiverMessages: 0,
        bytesBeforeMessages: null,
        openingMessages: 1,
        bursts: [
          { startNs: 5 * MS, endNs: 204.9 * MS, bytes: 2000 * FULL },
          { startNs: 300 * MS, endNs: 399.9 * MS, bytes: 1000 * FULL },
        ],
        furtherBursts: 0,
      },
    ]);
  });

  test('a receiver that speaks is heard, and from when on', () => {
    const [found] = transfers(...bulk(2000, 0), [1, 400, 200], ...bulk(1500, 201), [1, 400, 352]);
    expect(found).toMatchObject({ receiverQuiet: false, receiverMessages: 2, bytesBeforeMessages: 2000 * FULL });
  });

  test('a request in the first packet is heard as well', () => {
    const [found] = transfers([1, 300, 0], ...bulk(3000, 1));
    expect(found).toMatchObject({ side: 0, receiverQuiet: false, receiverMessages: 0 });
  });

  test('seconds without bulk end a transfer; what is said in between opens none', () => {
    const found = transfers(...bulk(3000, 0), [0, ACK, 1500], [0, ACK, 5000], [0, ACK, 9000], ...bulk(3000, 9100));
    expect(found.map(({ startNs, endNs }) => [startNs / S, endNs / S])).toEqual([
      [0, 0.2999],
      [9, 9.3999],
    ]);
  });

  test.each([
    ['too little', bulk(2000, 0)],
    ['both ways', bulk(3000, 0).flatMap(([, , ms]) => [[0, FULL, ms] as const, [1, FULL, ms] as const])],
  ])('%s is no bulk transfer', (_what, packets) => {
    expect(transfers(...packets)).toEqual([]);
  });

  test('OPAQUE_BURSTS: further ones are counted', () => {
    const packets = Array.from({ length: OPAQUE_BURSTS + 88 }, (_, i) => bulk(10, 20 * i)).flat();
    const [found] = transfers(...packets);
    expect(found!.bursts).toHaveLength(OPAQUE_BURSTS);
    expect(found!.furtherBursts).toBe(88);
  });

  test('of a flow without a timeline only the first bursts are kept', () => {
    const flow = new Flow(0, end, end, 1, 0, Number.POSITIVE_INFINITY);
    const opaque = new OpaqueTransfers(flow);
    for (let i = 0; i < 400; i++) {
      flow.tNs = 20 * MS * (i >> 3);
      opaque.take(0, 16_000);
    }
    const [found] = opaque.finish();
    expect([found!.bursts.length, found!.furtherBursts]).toEqual([32, 18]);
  });

  test('OPAQUE_TRANSFERS: further ones are not kept', () => {
    const packets = Array.from({ length: OPAQUE_TRANSFERS + 2 }, (_, i) => bulk(2800, 10_000 * i)).flat();
    expect(transfers(...packets)).toHaveLength(OPAQUE_TRANSFERS);
  });
});

describe('the tunnels in which they are looked for', () => {
  const there = (port: number) => (datagram: Uint8Array, i: number) => ({
    bytes: frame(ethernet(), ipv4(), udp({ srcPort: 40_000, dstPort: port }, datagram)),
    tNs: i * MS,
  });
  const COUNT = 3100;
  const counted = (make: (i: number) => Uint8Array): Uint8Array[] => Array.from({ length: COUNT }, (_, i) => make(i));
  test.each([
    ['wireguard', 51820, counted((i) => wireguard.data(7, i))],
    ['esp', 4500, counted((i) => esp(0x1000, i + 1))],
    ['dtls', 443, counted((i) => dtlsRecord(23, 1, i, 1400))],
    ['openvpn', 1194, counted((i) => openvpn.dataV2(i + 1))],
  ])('%s', (transport, port, datagrams) => {
    const [flow] = analysedFrames(...datagrams.map(there(port))).flows;
    expect(flow).toMatchObject({ transport, transfers: [{ side: 0, receiverQuiet: true }] });
  });

  test('a flow without one says nothing', () => {
    const [flow] = analysedFrames(there(51820)(wireguard.data(7, 0), 0)).flows;
    expect(flow).not.toHaveProperty('transfers');
  });
});
