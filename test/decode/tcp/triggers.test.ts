import { describe, expect, test } from 'vitest';
import { Script } from '../../support/script.js';
import { analyzeFrames } from '../../support/tcp-analysis.js';

const MSS = 1448;
const WINDOW = 60_000;

/**
 * A sender's capture, 40 ms from the receiver: eight segments, of which the first is not acknowledged before `silentMs` have
 * passed. What follows is up to the caller.
 */
function sent(): Script {
  const script = new Script()
    .client({ flags: 'S', seq: -1, tsValue: 1000 })
    .server({ flags: 'SA', seq: -1, tsValue: 5000, tsEcho: 1000, afterMs: 40 })
    .client({ tsValue: 1040, tsEcho: 5000, afterMs: 0.02 });
  for (let n = 0; n < 8; n++) data(script, n, 1040, 0.01);
  return script;
}

/** Segment `n`, sent at `tsValue` of the sender's clock. */
const data = (script: Script, n: number, tsValue: number, afterMs: number): Script =>
  script.client({ seq: n * MSS, length: MSS, tsValue, tsEcho: 5000, afterMs });

/** Acknowledges `segments`, answering what was sent at `tsEcho`; `blocks` in segments. */
const answer = (
  script: Script,
  segments: number,
  tsEcho: number,
  afterMs: number,
  blocks: readonly (readonly [number, number])[] = [],
): Script =>
  script.server({
    ack: segments * MSS,
    tsEcho,
    afterMs,
    window: WINDOW,
    blocks: blocks.map(([left, right]) => [left * MSS, right * MSS] as const),
  });

const triggers = (script: Script) =>
  analyzeFrames(script.frames()).results.connections[0]!.directions[0].retransmissions;

describe('what follows a timeout', () => {
  test('repeated in step with acknowledgements of what was repeated, it is the timeout’s', () => {
    const script = data(sent(), 0, 1400, 360);
    answer(script, 1, 1400, 40);
    for (const n of [1, 2, 3]) answer(data(script, n, 1440 + 40 * n, 0.02), n + 1, 1440 + 40 * n, 40);
    expect(triggers(script)).toMatchObject({ timeout: 1, other: 3, fast: 0 });
  });

  test('is ordinary recovery once the peer reports what was sent before it and only once', () => {
    const script = data(sent(), 0, 1400, 360);
    answer(script, 1, 1400, 40, [[3, 8]]);
    data(data(script, 1, 1440, 0.02), 2, 1440, 0.02);
    expect(triggers(answer(script, 8, 1440, 40))).toMatchObject({ timeout: 1, other: 0, fast: 2 });
  });

  test('is ordinary recovery once an answer to the original says that it was needless', () => {
    const script = data(sent(), 0, 1400, 360);
    answer(script, 1, 1040, 1);
    answer(script, 1, 1040, 1, [[3, 8]]);
    data(data(script, 1, 1402, 0.02), 2, 1402, 0.02);
    expect(triggers(answer(script, 8, 1402, 40))).toMatchObject({ timeout: 1, other: 0, fast: 2, spurious: 1 });
  });

  test('stays the timeout’s where that fell into a recovery: then the sender does not doubt it', () => {
    const script = answer(sent(), 0, 1040, 40, [[2, 3]]);
    data(script, 0, 1080, 0.02);
    data(script, 0, 1500, 400);
    answer(script, 1, 1500, 40, [[2, 4]]);
    data(script, 1, 1540, 0.02);
    expect(triggers(answer(script, 8, 1540, 40))).toMatchObject({ timeout: 1, other: 1, fast: 1 });
  });
});

test('a first report that is waited on for a while makes a fast retransmission, however old the segment', () => {
  const script = answer(sent(), 0, 1040, 190, [[1, 2]]);
  data(script, 0, 1240, 11);
  expect(triggers(answer(script, 8, 1240, 40))).toMatchObject({ timeout: 0, fast: 1 });
});

test('a SYN is repeated when its timer runs out', () => {
  const script = new Script().client({ flags: 'S', seq: -1 }).client({ flags: 'S', seq: -1, afterMs: 1000 });
  script
    .server({ flags: 'SA', seq: -1, afterMs: 40 })
    .client()
    .client({ length: MSS })
    .server({ ack: MSS, afterMs: 40 });
  expect(triggers(script)).toMatchObject({ timeout: 1, other: 0 });
});

test('a window that changes without any report of loss repeats nothing', () => {
  const script = sent();
  answer(script, 0, 1040, 40, [[1, 2]]);
  const reported = analyzeFrames(answer(script, 2, 1040, 1).frames()).results.connections[0]!.directions[0];
  script
    .server({ ack: 2 * MSS, window: WINDOW - 10, tsEcho: 1040 })
    .server({ ack: 2 * MSS, window: WINDOW - 20, tsEcho: 1040 });
  const updated = analyzeFrames(script.frames()).results.connections[0]!.directions[0];
  expect([reported.duplicateAcks, updated.duplicateAcks]).toEqual([1, 1]);
});

describe('a path MTU that shrinks', () => {
  // Linux 6.18 behind a router whose next link went from 1500 to 1300 bytes: of 186 segments sent again the kernel counted
  // 186 TCPSlowStartRetrans and no TCPFastRetrans; most originals had passed before, so duplicates are reported.
  const shrunken = (script: Script): Script => {
    for (let n = 0; n < 3; n++) {
      script.client({ seq: n * MSS, length: 1248, tsValue: 1050, tsEcho: 5000, afterMs: n === 0 ? 10 : 0.01 });
      script.client({ seq: n * MSS + 1248, length: MSS - 1248, tsValue: 1050, tsEcho: 5000, afterMs: 0.01 });
    }
    return script;
  };

  test('makes repetitions that neither a report nor a timer asked for', () => {
    const script = answer(shrunken(sent()), 8, 1040, 25);
    expect(triggers(script)).toMatchObject({ fast: 0, timeout: 0, tailLossProbe: 0, other: 6 });
  });

  test('counts every smaller segment, and every byte once', () => {
    const { directions } = analyzeFrames(answer(shrunken(sent()), 8, 1040, 25).frames()).results.connections[0]!;
    expect(directions[0]).toMatchObject({
      retransmittedSegments: 6,
      retransmittedBytes: 3 * MSS,
      uniqueBytes: 8 * MSS,
      outOfOrderSegments: 0,
      networkDuplicates: 0,
    });
  });

  test('is not what makes a report of losses repeat a part of a frame', () => {
    const script = answer(sent(), 0, 1040, 30, [[1, 4]]);
    shrunken(script);
    expect(triggers(answer(script, 8, 1050, 40))).toMatchObject({ fast: 6, other: 0 });
  });
});
