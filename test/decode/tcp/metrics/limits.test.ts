// Who held the sender back where its receiver's window is the question: hand-built frames of a sender's capture, hosts 20 µs apart.
import { describe, expect, test } from 'vitest';
import { framesOf, transfer } from '../../../support/conversation.js';
import type { CapturedFrame } from '../../../support/frames.js';
import { Script } from '../../../support/script.js';
import { analyzeFrames, bulk } from '../../../support/tcp-analysis.js';

const FRAME = 65_152;
/** The window comes in units of this. */
const UNIT = 128;

/**
 * Opened, and `start` bytes in full frames, each of which the peer acknowledges at once: `window` is what it has room for. By
 * default they make the congestion window larger than any that the receivers here have.
 */
const START = 6 * FRAME;
const opened = (window: number, start = START): Script => {
  const script = new Script().client({ flags: 'S', seq: -1, window: 65_535 });
  script.server({ flags: 'SA', seq: -1, window: 65_535, afterMs: 0.01 });
  for (let seq = 0; seq < start; seq += FRAME) {
    const length = Math.min(FRAME, start - seq);
    script.client({ seq, length, afterMs: 0.01 }).server({ ack: seq + length, window, afterMs: 0.02 });
  }
  return script;
};
const limitedBy = (script: Script) => bulk(analyzeFrames(script.frames())).direction.limitedBy!;

/**
 * Rounds of `sent` bytes in full frames, which leave `roomBytes` of the window. 10 ms later everything is acknowledged, and
 * the sender takes `ownMs` for its answer.
 */
function rounds(sent: number, roomBytes: number, ownMs = 0.01): Script {
  const window = Math.ceil((sent + roomBytes) / UNIT);
  const script = opened(window);
  let seq = START;
  for (let round = 0; round < 20; round++) {
    for (let left = sent; left > 0; left -= FRAME) {
      const length = Math.min(FRAME, left);
      script.client({ seq, length, afterMs: left === sent ? ownMs : 0.02 });
      seq += length;
    }
    script.server({ ack: seq, window, afterMs: 10 });
  }
  return script;
}

describe('a window that has room, but not for what is handed down at once', () => {
  test('less than a third of it free is waited on: the receiver’s time', () => {
    expect(limitedBy(rounds(5 * FRAME, 20_000))['receiver-window']).toBeGreaterThan(0.95);
  });

  test('with half of it free a sender that waits does so for another reason', () => {
    expect(limitedBy(rounds(FRAME, 50_000))['receiver-window']).toBeLessThan(0.1);
    expect(limitedBy(rounds(5 * FRAME, 200_000))['receiver-window']).toBeLessThan(0.1);
  });

  test('nor is it the receiver’s time where nothing answers the acknowledgement', () => {
    const { 'receiver-window': window, 'sender-application': application } = limitedBy(rounds(5 * FRAME, 20_000, 30));
    expect(window).toBeLessThan(0.1);
    expect(application).toBeGreaterThan(0.9);
  });

  test('what a timer sends at last fills the window: that wait was the receiver’s, too', () => {
    const script = opened(3000);
    for (let n = 0; n < 5; n++) script.client({ seq: START + n * FRAME, length: FRAME, afterMs: 0.02 });
    const room = 3000 * UNIT - 5 * FRAME;
    script.client({ seq: START + 5 * FRAME, length: room, afterMs: 40 });
    expect(limitedBy(script)['receiver-window']).toBeGreaterThan(0.95);
  });
});

describe('a window whose scale is not in the capture', () => {
  const joined = (frames: readonly CapturedFrame[]) => bulk(analyzeFrames(frames.slice(2))).direction.limitedBy;
  const sent = (options: Parameters<typeof transfer>[0]) => framesOf(transfer(options).sender);
  const long = { bytes: 6_000_000, oneWayNs: 10e6 };

  test('may be what holds the sender back: nobody is named', () => {
    expect(joined(rounds(5 * FRAME, 20_000).frames())).toBeNull();
    expect(joined(sent({ ...long, bufferBytes: 150_000 }))).toBeNull();
    expect(joined(sent({ ...long, cwndMax: 100 }))).toBeNull();
  });

  test('is not what a pause waits for', () => {
    expect(joined(rounds(FRAME, 20_000, 30).frames())).toMatchObject({
      'sender-application': expect.closeTo(1, 1),
      'receiver-window': 0,
    });
  });

  test('does not matter while a loss leaves less in flight than it had allowed', () => {
    const shares = joined(sent({ ...long, rate: 1e9, lose: (n) => n > 1000 && n % 400 === 0, keep: 0.5 }));
    expect(shares?.congestion).toBeGreaterThan(0.5);
  });
});

describe('a window without room', () => {
  const END = START + 3 * FRAME;
  /** Three frames fill the window; after 30 ms nothing was answered and the sender probes for a lost tail. */
  const probed = (): Script => {
    const script = opened((3 * FRAME) / UNIT);
    for (let n = 0; n < 3; n++) script.client({ seq: START + n * FRAME, length: FRAME, afterMs: 0.02 });
    return script.client({ seq: END - 1448, length: 1448, afterMs: 30 });
  };

  test('a probe for a lost tail does not make it a loss: the receiver answers late', () => {
    const script = probed().server({ ack: END, blocks: [[END - 1448, END]], afterMs: 30 });
    script.client({ seq: END, length: FRAME, afterMs: 0.02 });
    const { recovery, 'receiver-window': window } = limitedBy(script);
    expect(recovery).toBe(0);
    expect(window).toBeGreaterThan(0.99);
  });

  test('a timeout after the probe does', () => {
    const script = probed().client({ seq: START, length: 1448, afterMs: 300 }).server({ ack: END });
    const { recovery } = limitedBy(script.client({ seq: END, length: FRAME, afterMs: 0.02 }));
    expect(recovery).toBeGreaterThan(0.99);
  });

  test('a probe that nothing follows: its time counts all the same', () => {
    const analysis = analyzeFrames(probed().frames());
    const { limitedBy: shares, firstDataNs, lastDataNs } = bulk(analysis).direction;
    expect(shares!['receiver-window']).toBeGreaterThan(0.99);
    const charged = Object.entries(analysis.results.timeline.columns)
      .filter(([name]) => name.startsWith('limit'))
      .flatMap(([, { values }]) => [...(values as Float64Array)])
      .reduce((sum, ns) => sum + ns, 0);
    expect(charged).toBeCloseTo(lastDataNs! - firstDataNs!, -3);
  });

  test('that is closed altogether before it opens: all of it is the receiver’s', () => {
    const script = opened((3 * FRAME) / UNIT);
    for (let n = 0; n < 3; n++) script.client({ seq: START + n * FRAME, length: FRAME, afterMs: 0.02 });
    script.server({ ack: END, window: 0, afterMs: 40 }).server({ ack: END, window: 3000, afterMs: 5 });
    expect(limitedBy(script.client({ seq: END, length: FRAME, afterMs: 0.02 }))['receiver-window']).toBeGreaterThan(
      0.99,
    );
  });
});

test('what leaves in one go when the window opens was held back by it', () => {
  const window = (5 * FRAME) / UNIT;
  const script = opened(window);
  let seq = START;
  for (let round = 0; round < 30; round++) {
    for (let n = 0; n < 5; n++, seq += FRAME) script.client({ seq, length: FRAME, afterMs: n === 0 ? 0.01 : 0.08 });
    script.server({ ack: seq, window, afterMs: 0.6 });
  }
  expect(limitedBy(script)['receiver-window']).toBeGreaterThan(0.9);
});

test('nor is it the sender’s doing that a line spaces what it handed down at once, for longer than a round trip', () => {
  const window = (5 * FRAME) / UNIT;
  const script = opened(window);
  let seq = START;
  for (let round = 0; round < 30; round++) {
    // In the first round all of the window is out at once; then every frame is acknowledged, but nothing is read.
    for (let left = 4; left >= 0; left--, seq += FRAME) {
      script.client({ seq, length: FRAME, afterMs: left === 4 ? 0.01 : 0.04 });
      if (round > 0) script.server({ ack: seq + FRAME, window: (left * FRAME) / UNIT, afterMs: 0.04 });
    }
    script.server({ ack: seq, window, afterMs: 0.5 });
  }
  expect(limitedBy(script)['receiver-window']).toBeGreaterThan(0.95);
});

test('a window that hardly allows more than a congestion window that has just begun: that one is waited for', () => {
  const script = opened(28_032 / UNIT, 1000).client({ seq: 1000, length: 20_000, afterMs: 0.02 });
  script.server({ ack: 21_000, window: 28_032 / UNIT, afterMs: 40 });
  const { congestion } = limitedBy(script.client({ seq: 21_000, length: 20_000, afterMs: 0.01 }));
  expect(congestion).toBeGreaterThan(0.99);
});

describe('a silence of the path with as much out as ever, ended by the sender’s timer', () => {
  const silence = (length: number) => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 20 });
    let seq = 0;
    for (let round = 0; round <= 10; round++) {
      for (let n = 0; n < 20; n++, seq += 1448) script.client({ seq, length: 1448, afterMs: 0.01 });
      if (round < 10) script.server({ ack: seq, afterMs: 20 });
    }
    script.client({ seq, length, afterMs: 45 }).server({ ack: seq + length, afterMs: 5 });
    return limitedBy(script.client({ seq: seq + length, length: 1448, afterMs: 0.01 }));
  };

  test('a new segment: data was waiting for the network', () => {
    expect(silence(1448)['sender-application']).toBeLessThan(0.02);
  });

  test('more than a probe carries: it had not been there before', () => {
    expect(silence(4344)['sender-application']).toBeGreaterThan(0.15);
  });
});

test('the rate of a sender that spaces its frames by a timer, on a path that is long enough to see it', () => {
  const rateOf = (gapMs: (n: number) => number): number | null => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 20 });
    script.client({ afterMs: 0.01 });
    for (let n = 0; n < 200; n++) {
      script.client({ seq: n * 2896, length: 2896, afterMs: gapMs(n) });
      if (n >= 20) script.server({ ack: (n - 19) * 2896, afterMs: 0.5 });
    }
    return bulk(analyzeFrames(script.frames())).direction.pacingRate;
  };
  // 2896 bytes every 1 ms.
  expect(rateOf((n) => (n > 20 ? 0.5 : 1))! / 2.896e6).toBeCloseTo(1, 1);
  expect(rateOf((n) => 0.2 + (n % 7) / 4)).toBe(null);
});

test('streams that take turns on one line below their sockets: each summary names it, where turns are not in step none does', () => {
  /** Four streams; turn `n` of all of them comes `gapMs(n)` after the one before. */
  const summaries = (gapMs: (n: number) => number): string[] => {
    const turns = Array.from({ length: 400 }, (_, n) => gapMs(n));
    const frames = [0, 1, 2, 3].flatMap((stream) => {
      const script = opened(60_000);
      let waitMs = 5;
      for (const [n, gap] of turns.entries()) {
        waitMs += gap;
        if (n % 4 !== stream) continue;
        const seq = START + (n >> 2) * 14_480;
        script.client({ seq, length: 14_480, afterMs: waitMs - 0.02 });
        script.server({ ack: seq + 14_480, window: 60_000, afterMs: 0.02 });
        waitMs = 0;
      }
      return script.frames().map((item) => port(item, 40_001 + stream));
    });
    frames.sort((a, b) => a.tNs! - b.tNs!);
    return analyzeFrames(frames).results.connections.map(({ directions }) => directions[0].limitSummary!);
  };
  // 14 480 bytes in 1.16 ms are 100 Mbit/s.
  const inStep = summaries(() => 1.1584);
  expect(inStep).toHaveLength(4);
  for (const words of inStep) expect(words).toMatch(/^sender-application \d+ % \(.* shaper or line .* 100 Mbit\/s\)/);
  for (const words of summaries((n) => 0.3 + ((n * 7) % 11) / 5)) expect(words).not.toMatch(/line/);
});

/** The same frame from or to another client port. */
function port(item: CapturedFrame, client: number): CapturedFrame {
  const bytes = item.bytes.slice();
  const view = new DataView(bytes.buffer);
  view.setUint16(view.getUint16(34) === 40_000 ? 34 : 36, client);
  return { ...item, bytes };
}
