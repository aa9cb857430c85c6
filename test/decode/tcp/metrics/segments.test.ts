import { describe, expect, test } from 'vitest';
import { TCP_SEGMENT_KINDS } from '../../../../src/decode/tcp/results.js';
import { CLOSE_UPS_PER_DIRECTION } from '../../../../src/limits.js';
import { framesOf, transfer } from '../../../support/conversation.js';
import { Script } from '../../../support/script.js';
import { analyzeFrames } from '../../../support/tcp-analysis.js';

const MS = 1e6;

interface Row {
  readonly stretch: number;
  readonly kind: (typeof TCP_SEGMENT_KINDS)[number];
  readonly direction: number;
  readonly frame: number;
  readonly tNs: number;
  readonly offset: number;
  readonly bytes: number;
}

function rowsOf(frames: Parameters<typeof analyzeFrames>[0], setting: Parameters<typeof analyzeFrames>[1] = {}): Row[] {
  const { rows, columns } = analyzeFrames(frames, setting).results.segments;
  return Array.from({ length: rows }, (_, row) => {
    const all = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column.values[row]]));
    return { ...all, kind: TCP_SEGMENT_KINDS[Number(all['kind'])] } as unknown as Row;
  });
}

describe('single segments around a disturbance', () => {
  const run = transfer({ bytes: 4_000_000, oneWayNs: 10 * MS, lose: (n) => n === 1500 });
  const frames = framesOf(run.sender);
  const rows = rowsOf(frames);
  const around = rows.filter(({ stretch }) =>
    rows.some((row) => row.stretch === stretch && row.kind === 'retransmission'),
  );

  test('the segment sent again is there with its frame, what came before it and the acknowledgements that asked for it', () => {
    const again = around.filter(({ kind }) => kind === 'retransmission');
    expect(again.map(({ frame }) => frame)).toEqual(
      run.sender.flatMap(({ truth }, n) => (truth === 'fast' ? [n + 1] : [])),
    );
    const { offset, frame, bytes } = again[0]!;
    expect(bytes).toBe(1448);
    const asking = around.filter((row) => row.kind === 'acknowledgement' && row.frame < frame && row.offset === offset);
    expect(asking.length).toBeGreaterThanOrEqual(3);
    expect(asking.every((row) => row.bytes > 0 && row.direction === again[0]!.direction)).toBe(true);
    expect(around.some((row) => row.kind === 'new' && row.frame < frame)).toBe(true);
    expect(around.some((row) => row.kind === 'acknowledgement' && row.offset > offset)).toBe(true);
  });

  test('a loss soon after the first data has a stretch, too', () => {
    const early = transfer({ bytes: 4_000_000, oneWayNs: 10 * MS, lose: (n) => n === 500 });
    const kinds = rowsOf(framesOf(early.sender)).map(({ kind }) => kind);
    expect(early.truth.retransmitted).toBe(1);
    expect(kinds.filter((kind) => kind === 'retransmission').length).toBe(1);
  });

  test('the first data of a stream has a stretch of its own', () => {
    expect(rows.some((row) => row.kind === 'new' && row.offset === 0)).toBe(true);
  });

  test('rows of a stretch are in time order, and no frame is in two', () => {
    rows.forEach((row, i) => {
      const before = rows[i - 1];
      if (before?.stretch === row.stretch) expect(row.frame).toBeGreaterThan(before.frame);
    });
    expect(new Set(rows.map(({ frame }) => frame)).size).toBe(rows.length);
  });

  test('how the capture is cut into batches does not matter', () => {
    expect(rowsOf(frames, { batchFrames: 7 })).toEqual(rows);
  });
});

test('of many disturbances the longest stay', () => {
  const waitsMs = [900, 300, 400, 1000, 500, 600, 350, 700, 800, 450];
  const script = new Script().open();
  let seq = 0;
  for (const wait of waitsMs) {
    // Enough frames between two disturbances that each is on its own.
    for (let n = 0; n < 2100; n++, seq += 100) script.client({ seq, length: 100 });
    script.client({ seq: seq - 100, length: 100, afterMs: wait }).server({ ack: seq });
  }
  const rows = rowsOf(script.frames());
  const silences = rows.flatMap((row, i) =>
    row.kind === 'retransmission' ? [Math.round((row.tNs - rows[i - 1]!.tNs) / MS)] : [],
  );
  expect(silences).toEqual(waitsMs.filter((wait) => wait > 350));
  expect(silences.length).toBe(CLOSE_UPS_PER_DIRECTION);
});

test('a closed window is a disturbance of the data it holds back', () => {
  const script = new Script()
    .open()
    .client({ seq: 0, length: 1000 })
    .client({ seq: 1000, length: 1000 })
    .server({ ack: 2000, window: 0 })
    .server({ ack: 2000, window: 500, afterMs: 500 })
    .client({ seq: 2000, length: 1000 });
  const closed = rowsOf(script.frames()).filter(({ kind, bytes }) => kind === 'acknowledgement' && bytes === 0);
  expect(closed.map(({ offset, direction }) => [offset, direction])).toEqual([[2000, 0]]);
});
