import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { decodeFrames } from '../../src/decode/frame.js';
import { type PathSign, PathSigns } from '../../src/decode/path-signs.js';
import { createRows } from '../../src/decode/rows.js';
import { Connections } from '../../src/decode/tcp/connections.js';
import { batchOf, ethernet, frame, ipv4, ipv6, tcp } from '../support/frames.js';

/** The signs in these frames, each with its frame number. */
function signs(...frames: Uint8Array[]): (PathSign & { frame: number })[] {
  const found: (PathSign & { frame: number })[] = [];
  const collector = new PathSigns((batch, _rows, row, sign) => found.push({ ...sign, frame: batch.firstFrame + row }));
  const batch = batchOf(frames.map((bytes, at) => ({ bytes, tNs: at * 1e6 })));
  const rows = createRows();
  decodeFrames(batch, rows);
  new Connections(new AnomalyLog()).place(batch, rows);
  collector.push(batch, rows);
  return found;
}

describe('hop limits', () => {
  const packet = (ttl: number, seq: number, flags = 'A') =>
    frame(ethernet(), ipv4({ ttl }), tcp({ seq, flags }, 'data'));

  test('one that changes is told, with both values', () => {
    expect(signs(packet(62, 100), packet(62, 104), packet(61, 108), packet(61, 112))).toEqual([
      { kind: 'hop-limit-change', before: 62, after: 61, frame: 3 },
    ]);
  });

  test('a reset may come from a box on the way', () => {
    expect(signs(packet(62, 100), packet(255, 104, 'R'))).toEqual([]);
  });

  test('both directions have their own', () => {
    const back = frame(
      ethernet(),
      ipv4({ src: '10.0.0.2', dst: '10.0.0.1', ttl: 64 }),
      tcp({ srcPort: 4444, dstPort: 40_000 }),
    );
    expect(signs(packet(62, 100), back, packet(62, 104), back)).toEqual([]);
  });

  test('a new connection between the same ports begins afresh', () => {
    const open = (ttl: number, seq: number) => frame(ethernet(), ipv4({ ttl }), tcp({ seq, flags: 'S' }));
    expect(signs(open(62, 99), packet(62, 100), open(61, 900_099), packet(61, 900_100))).toEqual([]);
  });

  test('paths used in turn are told two dozen times', () => {
    expect(signs(...Array.from({ length: 200 }, (_, at) => packet(60 + (at % 2), 100 + 4 * at)))).toHaveLength(24);
  });
});

describe('unfinished checksums', () => {
  /** What Linux leaves in the checksum field for the network card: the folded sum over the pseudo header. */
  function unfinished(whole: Uint8Array, network: number, addressBytes: number, segment: number): Uint8Array {
    const view = new DataView(whole.buffer, whole.byteOffset);
    let sum = 6 + whole.length - segment;
    for (let at = 0; at < addressBytes; at += 2) sum += view.getUint16(network + at);
    view.setUint16(segment + 16, (sum & 0xffff) + (sum >>> 16));
    return whole;
  }
  const v4 = (seq: number) => frame(ethernet(), ipv4(), tcp({ seq }, 'data'));
  const raw4 = (seq: number) => unfinished(v4(seq), 26, 8, 34);
  const raw6 = (seq: number) =>
    unfinished(frame(ethernet(), ipv6({ src: 'fd00::1', dst: 'fd00::2' }), tcp({ seq }, 'data')), 22, 32, 54);

  test('two data frames in a row, told once', () => {
    expect(signs(raw4(100), raw4(104), raw4(108))).toMatchObject([{ kind: 'unfinished-checksum', frame: 2 }]);
    expect(signs(raw6(100), raw6(104))).toMatchObject([{ kind: 'unfinished-checksum', frame: 2 }]);
  });

  test('complete ones, or one that looks unfinished by chance', () => {
    expect(signs(v4(100), v4(104), v4(108))).toEqual([]);
    expect(signs(raw4(100), v4(104), raw4(108), raw4(112))).toEqual([]);
  });
});
