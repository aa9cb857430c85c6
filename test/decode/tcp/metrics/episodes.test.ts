import { describe, expect, test } from 'vitest';
import { Script } from '../../../support/script.js';
import { analyzeFrames } from '../../../support/tcp-analysis.js';

const MS = 1e6;

/** Ten segments every 10 ms, acknowledged 10 ms later: 1 MB a second. */
function flights(script: Script, from: number, count: number): number {
  let seq = from;
  for (let n = 0; n < count; n++) {
    send(script, seq);
    seq += 10_000;
    script.server({ ack: seq, afterMs: 9.98 });
  }
  return seq;
}

function send(script: Script, seq: number): void {
  for (let n = 0; n < 10; n++) script.client({ seq: seq + 1000 * n, length: 1000, afterMs: n === 0 ? 0.011 : 0.001 });
}

describe('a stream of 1 MB a second that loses a flight’s first segment and waits 300 ms for its timer', () => {
  const script = new Script().open();
  const lost = flights(script, 0, 40);
  send(script, lost);
  script.client({ seq: lost, length: 1000, truth: 'timeout', afterMs: 299.991 });
  script.server({ ack: lost + 10_000, afterMs: 10 });
  flights(script, lost + 10_000, 40);
  const { columns, rows } = analyzeFrames(script.frames()).results.episodes;
  const value = (name: string): number => columns[name]!.values[0] as number;

  test('one episode, and the wait before it', () => {
    expect(rows).toBe(1);
    expect(value('durationNs')).toBe(10 * MS);
    expect(value('waitedNs')).toBeCloseTo(300 * MS, -2);
  });

  test('rates before and after from the timeline, during from what was acknowledged', () => {
    expect(value('goodputBefore') / 1e6).toBeCloseTo(1, 1);
    expect(value('goodputAfter') / 1e6).toBeCloseTo(1, 1);
    expect(value('goodputDuring')).toBeCloseTo(10_000 / 0.31, 0);
  });

  test('it cost 310 ms at 1 MB a second, less the flight that got through', () => {
    expect(value('costBytes')).toBeCloseTo(value('goodputBefore') * 0.31 - 10_000, -1);
    expect(value('costBytes') / 300_000).toBeCloseTo(1, 1);
  });
});

test('a silence before the flight is no part of the wait: nothing was out', () => {
  const script = new Script().open();
  const lost = flights(script, 0, 20);
  script.client({ seq: lost, length: 1000, afterMs: 5000 });
  script.client({ seq: lost, length: 1000, truth: 'timeout', afterMs: 250 });
  script.server({ ack: lost + 1000, afterMs: 10 });
  const { columns } = analyzeFrames(script.frames()).results.episodes;
  const kinds = [...(columns['kind']!.values as Float64Array)];
  expect(columns['waitedNs']!.values[kinds.indexOf(1)]).toBeCloseTo(250 * MS, -2);
  // The silence itself is an episode without rates.
  expect(columns['goodputBefore']!.values[kinds.indexOf(4)]).toBeNaN();
});

test('a loss in the first bin of a stream has no rate before it, and no cost', () => {
  const script = new Script().open().client({ length: 1000 });
  script.client({ length: 1000, truth: 'timeout', afterMs: 300 }).server({ ack: 1000, afterMs: 10 });
  const { columns } = analyzeFrames(script.frames()).results.episodes;
  expect(columns['waitedNs']!.values[0]).toBe(300 * MS);
  for (const name of ['goodputBefore', 'costBytes']) expect(columns[name]!.values[0]).toBeNaN();
});
