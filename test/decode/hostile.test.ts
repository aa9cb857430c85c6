// Frames nobody would send: whatever the bytes, decoding ends, stays inside the captured bytes and does not throw.
import { expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { decodeFrames } from '../../src/decode/frame.js';
import { createRows, OPTION_MPTCP } from '../../src/decode/rows.js';
import { Signals } from '../../src/decode/signals.js';
import {
  arp,
  batchOf,
  captureInterface,
  cooked,
  cooked2,
  ethernet,
  extension,
  frame,
  geneve,
  gre,
  icmp,
  ipv4,
  ipv6,
  ipv6Fragment,
  loopback,
  mpls,
  mss,
  pppoe,
  sack,
  stt,
  tcp,
  timestamps,
  udp,
  vlan,
  vxlan,
} from '../support/frames.js';
import { mutated, random } from '../support/random.js';

const SEED = 20260607;
const FRAMES = 40_000;
const LINK_TYPES = [1, 113, 276, 0, 108, 101, 228, 229, 147];

const host = { mac: '52:54:00:00:00:01', ip: '10.0.0.1' };
const segment = tcp({ options: [...timestamps(1, 2), ...sack([1, 2], [3, 4])] }, 'payload');
const syn = tcp({ flags: 'S', options: [...mss(1460), ...timestamps(1, 0), 30, 12, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8] });
const seeds: Uint8Array[] = [
  frame(ethernet(), ipv4(), segment),
  frame(ethernet(), vlan(1), vlan(2), pppoe(), ipv6(), syn),
  frame(ethernet(), ipv6(), extension(0, [0xc2, 4, 0, 1, 0, 0]), extension(43), ipv6Fragment({ more: true }), segment),
  frame(ethernet(), ipv4(), udp({ dstPort: 4789 }), vxlan(42), ethernet(), ipv4(), segment),
  frame(ethernet(), ipv4(), udp({ dstPort: 6081 }), geneve(7, [1, 2, 3, 4]), ethernet(), ipv6(), segment),
  frame(ethernet(), ipv4(), gre({ key: 1, sequence: 2, checksum: true }), mpls(1, 2), ipv4(), syn),
  frame(ethernet(), ipv4(), stt(1), ethernet(), ipv4(), segment),
  frame(ethernet(), ipv4(), ipv4(), ipv6(), ipv4(), udp({ dstPort: 53 }, 'abcdefghijklmnopqrstuvwxyz')),
  frame(ethernet(), arp(2, host, host)),
  frame(ethernet(), ipv4(), icmp(3, 4, 1400, frame(ipv4(), segment))),
  frame(cooked(), ipv4(), segment),
  frame(cooked2(), ipv6(), segment),
  frame(loopback(2), ipv4(), syn),
];

test(`${FRAMES} mutated frames, seed ${SEED}`, () => {
  const source = random(SEED);
  const rows = createRows();
  const log = new AnomalyLog();
  const signals = new Signals();
  const interfaces = LINK_TYPES.map((linkType, i) => captureInterface({ linkType, fcsBytes: i % 2 === 0 ? 0 : 4 }));
  for (let done = 0; done < FRAMES; done += 500) {
    const frames = Array.from({ length: 500 }, () => {
      const bytes = mutated(source.pick(seeds), source);
      // An interface that is not described is possible too.
      return { bytes, wire: bytes.length + source.below(3) * 700, iface: source.below(LINK_TYPES.length + 1) };
    });
    const batch = batchOf(frames, { interfaces });
    decodeFrames(batch, rows, log);
    signals.push(batch, rows);
    for (let row = 0; row < batch.count; row++) {
      const [start, end] = [batch.start[row]!, batch.start[row]! + batch.captured[row]!];
      const within = (at: number, length: number): boolean => at >= start && at + length <= end;
      const fine =
        within(rows.transport[row]!, 0) &&
        within(rows.payload[row]!, rows.payloadCap[row]!) &&
        (rows.ipVersion[row] === 0 || within(rows.addresses[row]!, rows.ipVersion[row] === 4 ? 8 : 32)) &&
        (!(rows.options[row]! & OPTION_MPTCP) || within(rows.mptcp[row]!, 3)) &&
        rows.payloadLen[row]! >= rows.payloadCap[row]! &&
        rows.tunnel[row]! < rows.tunnels.length;
      if (!fine)
        expect.fail(`row ${row} leaves its frame: ${Buffer.from(batch.bytes.subarray(start, end)).toString('hex')}`);
    }
  }
  expect(log.count('decode/malformed')).toBeGreaterThan(0);
  expect(signals.finish().rows).toBeGreaterThan(0);
});
