// Bounds crossed by a whole capture while all other bounds are what they are.
import { expect, test } from 'vitest';
import { Analysis, type Results } from '../../src/analyze.js';
import { CLOSE_UPS, SACKED_RANGES, SEQUENCE_HOLES } from '../../src/limits.js';
import { batchOf, ethernet, frame, ipv4, sack, tcp } from '../support/frames.js';
import { range } from '../support/migration-stream.js';

function analysed(frames: readonly Uint8Array[]): Results {
  const analysis = new Analysis();
  for (let at = 0; at < frames.length; at += 4096) {
    const part = frames.slice(at, at + 4096).map((bytes, i) => ({ bytes, tNs: (at + i) * 1000 }));
    analysis.push(batchOf(part, { firstFrame: at + 1 }));
  }
  return analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
}

const codes = (results: Results): string[] => results.anomalies.map(({ code }) => code);
const data = (offset: number): Uint8Array =>
  frame(ethernet(), ipv4(), tcp({ seq: 1 + offset, ack: 1 }, new Uint8Array(10)));
const answer = (...blocks: [number, number][]): Uint8Array =>
  frame(
    ethernet(),
    ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
    tcp({ srcPort: 4444, dstPort: 40_000, seq: 1, ack: 1, options: sack(...blocks) }),
  );

test('SEQUENCE_HOLES: ever new holes merge, and it is said', () => {
  const gappy = (holes: number): Results => analysed([data(0), ...range(1, holes + 1).map((i) => data(i * 20))]);
  expect(codes(gappy(SEQUENCE_HOLES))).not.toContain('tcp/approximate');
  expect(codes(gappy(SEQUENCE_HOLES + 10))).toContain('tcp/approximate');
});

test('SACKED_RANGES: ever new reports merge, and it is said', () => {
  const reported = (ranges: number): Results =>
    analysed([
      ...range(0, 2 * ranges + 1).map((i) => data(i * 10)),
      ...range(0, ranges).map((i) => answer([11 + i * 20, 21 + i * 20])),
    ]);
  expect(codes(reported(SACKED_RANGES))).not.toContain('tcp/approximate');
  expect(codes(reported(SACKED_RANGES + 10))).toContain('tcp/approximate');
});

test('CLOSE_UPS: of more beginnings than that single segments are not kept', () => {
  const stretches = (connections: number): number => {
    const begun = range(0, connections).map((i) =>
      frame(ethernet(), ipv4(), tcp({ srcPort: 1000 + i, seq: 1, ack: 1 }, new Uint8Array(10))),
    );
    // Frames enough that every close-up is over.
    const after = range(0, 2000).map((i) => data(i * 10));
    const { columns } = analysed([...begun, ...after]).tcp.segments;
    return new Set(Array.from(columns['stretch']!.values as Float64Array)).size;
  };
  expect(stretches(CLOSE_UPS - 1)).toBe(CLOSE_UPS);
  expect(stretches(CLOSE_UPS + 20)).toBe(CLOSE_UPS);
});
