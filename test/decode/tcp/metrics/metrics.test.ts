import { describe, expect, test } from 'vitest';
import { TCP_EPISODE_KINDS, TCP_EVENT_KINDS } from '../../../../src/decode/tcp/results.js';
import { EVENT_ROWS, TIMELINE_DIRECTIONS } from '../../../../src/limits.js';
import { framesOf, type Packet, transfer } from '../../../support/conversation.js';
import type { CapturedFrame } from '../../../support/frames.js';
import { mutated, type Random, random } from '../../../support/random.js';
import { Script } from '../../../support/script.js';
import { analyzeFrames, bulk } from '../../../support/tcp-analysis.js';

const MS = 1e6;
const values = (table: { columns: Record<string, { values: unknown }> }, name: string): number[] => [
  ...(table.columns[name]!.values as Float64Array),
];

describe('events and episodes', () => {
  const run = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, lose: (n) => [200, 201, 202, 900].includes(n) });
  const { results } = analyzeFrames(framesOf(run.sender));

  test('every retransmission is an event with its frame', () => {
    const frames = values(results.events, 'frame');
    const sent = run.sender.flatMap(({ truth }, n) => (truth === 'fast' ? [n + 1] : []));
    expect(frames).toEqual(sent);
    expect(new Set(values(results.events, 'kind').map((kind) => TCP_EVENT_KINDS[kind]))).toEqual(
      new Set(['retransmission-fast']),
    );
  });

  test('losses of one flight are one episode, later ones another', () => {
    expect(values(results.episodes, 'kind').map((kind) => TCP_EPISODE_KINDS[kind])).toEqual(['recovery', 'recovery']);
    expect(values(results.episodes, 'retransmittedBytes')).toEqual([3 * 1448, 1448]);
    expect(values(results.episodes, 'lostBytes')).toEqual([3 * 1448, 1448]);
  });

  test('a retransmission that was not needed is called spurious once the receiver says so', () => {
    const late = transfer({ bytes: 1_000_000, oneWayNs: 10 * MS, delay: (n) => (n % 100 === 50 ? 5 * MS : 0) });
    const analysis = analyzeFrames(framesOf(late.sender));
    expect(bulk(analysis).direction.retransmissions.spurious).toBe(late.truth.retransmitted);
    expect(late.truth.retransmitted).toBeGreaterThan(0);
    expect(values(analysis.results.events, 'kind').map((kind) => TCP_EVENT_KINDS[kind])).toContain(
      'retransmission-spurious',
    );
  });

  test('events beyond the limit are counted in the totals all the same', () => {
    const script = new Script().open().client({ length: 100 });
    const frames = script.frames();
    const again: CapturedFrame[] = Array.from({ length: EVENT_ROWS + 10 }, (_, n) => {
      const bytes = frames[3]!.bytes.slice();
      new DataView(bytes.buffer).setUint16(18, (103 + n) & 0xffff);
      new DataView(bytes.buffer).setUint32(58, 100_000 + n);
      return { bytes, wire: frames[3]!.wire!, tNs: 1e9 + n * MS };
    });
    const analysis = analyzeFrames([...frames, ...again]);
    expect(analysis.results.events.rows).toBe(EVENT_ROWS);
    expect(bulk(analysis).direction.retransmittedSegments).toBe(EVENT_ROWS + 10);
  });
});

describe('windows', () => {
  const closed = new Script().open().client({ length: 1000 });
  closed.server({ ack: 1000, window: 0 }).client({ seq: 999, afterMs: 200 }).server({ ack: 1000, window: 0 });
  closed.server({ ack: 1000, window: 400, afterMs: 300 }).client({ seq: 1000, length: 1000 });

  test('an episode lasts from the first window 0 to the next that a segment fits in', () => {
    const { direction } = bulk(analyzeFrames(closed.frames()));
    expect(direction.zeroWindow).toEqual({ episodes: 1, totalNs: 501 * MS });
    expect(direction.windowProbes).toBe(1);
  });

  test('one still open at the end counts up to the last frame', () => {
    const { direction } = bulk(analyzeFrames(closed.frames().slice(0, 7)));
    expect(direction.zeroWindow).toEqual({ episodes: 1, totalNs: 201 * MS });
  });

  test('how much of the window was in use, and how often it opened by itself', () => {
    const { direction } = bulk(analyzeFrames(closed.frames()));
    // The window of a SYN-ACK is not scaled; later ones come in units of 128 bytes.
    const unit = 128;
    expect(direction.windowUse).toMatchObject({ min: 1000 / 65_535, max: 1000 / (400 * unit), samples: 2 });
    expect(direction.windowUpdates).toBe(1);
    const full = new Script().open().client().server();
    full.client({ length: 256 * unit }).client({ seq: 256 * unit, length: 256 * unit });
    expect(bulk(analyzeFrames(full.frames())).direction.windowUse).toMatchObject({ min: 0.5, max: 1 });
  });

  test('the time is the receiver’s, not the idle sender’s', () => {
    const { direction } = bulk(analyzeFrames(closed.frames()));
    expect(direction.limitedBy!['receiver-window']).toBeGreaterThan(0.7);
  });
});

describe('congestion notification', () => {
  const ecn = (script: Script) =>
    analyzeFrames(script.frames()).results.connections[0]!.directions.map(
      ({ ecn: { echoes, windowReductions, accurate } }) => [echoes, windowReductions, accurate],
    );
  /** Acknowledgements of four segments with these flags, and the sender's first and third frame with `own`. */
  const transferred = (synFlags: string, answerFlags: string, replies: readonly string[], own: string): Script => {
    const script = new Script().client({ flags: synFlags, seq: -1 }).server({ flags: answerFlags, seq: -1 });
    script.client({ flags: `A${own}` });
    replies.forEach((flags, n) => {
      script.client({ seq: 1000 * n, length: 1000, flags: n === 2 ? `A${own}` : 'A' });
      script.server({ ack: 1000 * (n + 1), flags });
    });
    return script;
  };

  test('classic: frames with ECE and with CWR are counted, those of the SYNs are not', () => {
    expect(ecn(transferred('SEC', 'SAE', ['A', 'AE', 'AE', 'A'], 'C'))).toEqual([
      [0, 2, false],
      [2, 0, false],
    ]);
  });

  test('accurate: the three flags are a counter that starts at 5 and goes around', () => {
    // 5, 6, 0, 1: one mark, then two (7 and 0), then one. The sender's own stays where it is; its first frame is a code.
    expect(ecn(transferred('SECN', 'SAC', ['ANE', 'ANC', 'A', 'AE'], ''))[1]).toEqual([4, 0, true]);
    const old = transferred('SECN', 'SAC', ['ANE', 'ANC'], '').server({ ack: 1000, flags: 'ANE' });
    expect(ecn(old)[1]).toEqual([1, 0, true]);
  });

  test('an offer of accurate feedback that a classic peer answers is classic', () => {
    expect(ecn(transferred('SECN', 'SAE', ['A', 'AE'], ''))[1]).toEqual([1, 0, false]);
  });
});

describe('limits', () => {
  const limited = (options: Parameters<typeof transfer>[0]) =>
    bulk(analyzeFrames(framesOf(transfer({ oneWayNs: 10 * MS, ...options }).sender))).direction;

  test('a congestion window that is always full', () => {
    expect(limited({ bytes: 5_000_000, cwndMax: 40 }).limitedBy!['recovery']).toBe(0);
    const { limitedBy } = limited({ bytes: 3_000_000, lose: (_, source) => source.next() < 0.005 });
    expect(limitedBy!.congestion + limitedBy!.recovery).toBeGreaterThan(0.9);
  });

  test('a receiver that reads slowly', () => {
    expect(
      limited({ bytes: 2_000_000, bufferBytes: 100_000, readRate: 1e6 }).limitedBy!['receiver-window'],
    ).toBeGreaterThan(0.9);
  });

  test('away from the sender, time that the path held frames back is not the sender’s: its own clock stood still', () => {
    const { receiver } = transfer({ bytes: 2_000_000, oneWayNs: 10 * MS, bufferBytes: 100_000, readRate: 1e6 });
    const heldBack = framesOf(receiver).map((item) => ({
      ...item,
      tNs: item.tNs! + 60 * MS * Math.floor(item.tNs! / (100 * MS)),
    }));
    const { limitedBy } = bulk(analyzeFrames(heldBack)).direction;
    expect(limitedBy!['sender-application'] + limitedBy!.idle).toBeLessThan(0.1);
  });

  test('an application that writes every 100 ms is a rate limit, every 137 ms it is not', () => {
    const sliced = (everyNs: number) => limited({ bytes: 4_000_000, slices: { bytes: 150_000, everyNs } });
    const [comb, other] = [sliced(100 * MS), sliced(137 * MS)];
    expect(comb.limitedBy!['rate-limit']).toBeGreaterThan(0.8);
    expect(comb.comb!.bytesPerPeriod).toBeCloseTo(150_000, -3);
    expect(comb.limitSummary).toMatch(/^rate-limit \d+ % \(15\d{4} bytes every 100 ms\)/);
    expect([other.limitedBy!['rate-limit'], other.comb]).toEqual([0, null]);
    expect(other.limitedBy!.idle + other.limitedBy!['sender-application']).toBeGreaterThan(0.6);
  });
});

describe('limits of a sender whose windows go out at once, 20 ms apart', () => {
  /** Each round `segments` are sent and one acknowledgement covers them, which the next round answers. */
  const rounds = (segments: (round: number) => number, cwr = -1, count = 60): Record<string, number> => {
    const script = new Script().open();
    let seq = 0;
    for (let round = 0; round < count; round++) {
      for (let n = 0; n < segments(round); n++, seq += 1000) {
        const flags = round === cwr && n === 0 ? 'AC' : 'A';
        script.client({ seq, length: 1000, flags, afterMs: 0.01, ack: 0, window: 512 });
      }
      script.server({ ack: seq, afterMs: 20, window: 60_000 });
    }
    return bulk(analyzeFrames(script.frames())).direction.limitedBy!;
  };

  test('more than any sender may send unasked: the congestion window', () => {
    expect(rounds((round) => 20 + round).congestion).toBeGreaterThan(0.9);
  });

  test('no more than that: an application of questions and answers', () => {
    expect(rounds((round) => 2 + (round % 5))['sender-application']).toBeGreaterThan(0.9);
  });

  test('less after a mark was answered is still the congestion window, less without reason is not', () => {
    const fewer = (round: number): number => (round < 30 ? 30 : 0) + round;
    expect(rounds(fewer, 30).congestion).toBeGreaterThan(0.9);
    expect(rounds(fewer)['sender-application']).toBeGreaterThan(0.4);
  });
});

describe('what all but new data costs, and what acknowledgements say', () => {
  test('headers, repetitions and acknowledgements as shares of the line', () => {
    const script = new Script()
      .open()
      .client({ length: 1000 })
      .client({ length: 1000, truth: 'timeout', afterMs: 300 });
    const { direction } = bulk(analyzeFrames(script.server({ ack: 1000 }).frames()));
    const { wireBytes, wireRate, overheads, throughput, payloadBytes } = direction;
    expect(wireRate! / throughput).toBeCloseTo(wireBytes! / payloadBytes, 9);
    expect(overheads!.headers).toBeCloseTo(1 - 2000 / wireBytes!, 9);
    expect(overheads!.repeated).toBe(0.5);
    expect(overheads!.acknowledgements).toBeGreaterThan(0.05);
    expect(overheads!.acknowledgements).toBeLessThan(0.1);
  });

  test('blocks beyond a hole, reports of duplicates, and acknowledgements that waited', () => {
    const script = new Script().open().client({ length: 1000 }).server({ ack: 1000, afterMs: 1 });
    script.client({ seq: 2000, length: 1000 }).server({ ack: 1000, blocks: [[2000, 3000]] });
    script.client({ seq: 1000, length: 1000, truth: 'fast' }).server({ ack: 3000 });
    script.client({ seq: 1000, length: 1000, truth: 'timeout' }).server({ ack: 3000, blocks: [[1000, 2000]] });
    script.client({ seq: 3000, length: 500 }).server({ ack: 3500, afterMs: 42 });
    const { connection, direction } = bulk(analyzeFrames(script.frames()));
    const { selectiveAcks, duplicateReports, rhythm } = direction;
    expect([selectiveAcks, duplicateReports, rhythm!.delayedAcks]).toEqual([1, 1, 1]);
    expect(connection.completeness).toBe(15);
    const closed = script.client({ flags: 'FA', seq: 3500 }).server({ flags: 'R', ack: 3501 });
    expect(bulk(analyzeFrames(closed.frames())).connection.completeness).toBe(63);
    expect(bulk(analyzeFrames(script.frames().slice(3, 6))).connection.completeness).toBe(8);
  });
});

describe('queueing', () => {
  const { sender } = transfer({ bytes: 3_000_000, oneWayNs: 10 * MS, rate: 12.5e6, cwndMax: 400 });
  const analysis = analyzeFrames(framesOf(sender));
  const { direction } = bulk(analysis);

  test('is what round trips have above the least of them', () => {
    const { queueingNs, rttNs } = direction;
    expect([queueingNs!.min, queueingNs!.samples]).toEqual([0, rttNs!.samples]);
    for (const q of ['p50', 'p95', 'max'] as const) expect(queueingNs![q]).toBeCloseTo(rttNs![q] - rttNs!.min, -1);
    // 400 segments at 100 Mbit/s take 46 ms, 20 of them on the path.
    expect(queueingNs!.max).toBeGreaterThan(20 * MS);
  });

  test('over time: it grows with the window, and no bin has more than the most', () => {
    const queues = values(analysis.results.timeline, 'queueMaxNs').filter((ns) => ns >= 0);
    expect(Math.max(...queues)).toBe(direction.queueingNs!.max);
    expect(queues[0]).toBeLessThan(5 * MS);
    expect(queues.at(-1)).toBeGreaterThan(20 * MS);
  });
});

test('no figure is a zero with a sign', () => {
  const signed: string[] = [];
  const look = (value: unknown, path: string): void => {
    if (Object.is(value, -0)) signed.push(path);
    else if (typeof value !== 'object' || value === null) return;
    else for (const [key, part] of Object.entries(value)) look(part, `${path}.${key}`);
  };
  const { sender } = transfer({ bytes: 100_000 });
  const silent = new Script().open();
  for (const frames of [framesOf(sender), silent.frames()]) look(analyzeFrames(frames).results.connections, '');
  expect(signed).toEqual([]);
});

describe('timelines', () => {
  test('bins add up to the totals', () => {
    const analysis = analyzeFrames(framesOf(transfer({ bytes: 3_000_000, oneWayNs: 10 * MS }).sender));
    const { direction } = bulk(analysis);
    const { timeline } = analysis.results;
    const sum = (name: string): number => values(timeline, name).reduce((total, value) => total + value, 0);
    expect([sum('payloadBytes'), sum('uniqueBytes'), sum('ackedBytes')]).toEqual([
      direction.payloadBytes,
      direction.uniqueBytes,
      direction.ackedBytes,
    ]);
    const limits = Object.keys(timeline.columns).filter((name) => name.startsWith('limit'));
    const charged = limits.reduce((total, name) => total + sum(name), 0);
    expect(Math.abs(charged - (direction.lastDataNs! - direction.firstDataNs!))).toBeLessThan(1000);
  });

  test('beyond the limit the smallest direction gives way to one above 1 MB', () => {
    const small = Array.from({ length: TIMELINE_DIRECTIONS }, (_, n) =>
      port(framesOf(transfer({ bytes: 3000 }).sender), 1000 + n),
    );
    const large = port(framesOf(transfer({ bytes: 3_000_000 }).sender), 5000).map((item) => ({
      ...item,
      tNs: item.tNs! + 1e9,
    }));
    const { timeline, connections } = analyzeFrames([...small.flat(), ...large]).results;
    expect(connections).toHaveLength(TIMELINE_DIRECTIONS + 1);
    expect(new Set(values(timeline, 'direction'))).toEqual(new Set([2 * TIMELINE_DIRECTIONS]));
  });
});

test('frames that leave in step with a line below the socket: the summary names it, not the program alone', () => {
  const sent = (gapMs: (n: number) => number): string => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 0.02 });
    script.client({ afterMs: 0.01 });
    for (let n = 0; n < 200; n++) {
      script.client({ seq: n * 14_480, length: 14_480, afterMs: gapMs(n) });
      script.server({ ack: (n + 1) * 14_480, afterMs: 0.02 });
    }
    return bulk(analyzeFrames(script.frames())).direction.limitSummary!;
  };
  // 14 480 bytes in 1.16 ms are 100 Mbit/s.
  expect(sent(() => 1.138)).toMatch(/^sender-application \d+ % \(the sender's own shaper or line .* 100 Mbit\/s\)/);
  expect(sent((n) => 0.5 + (n % 7) / 5)).toMatch(/^sender-application \d+ %$/);
});

describe('congestion control', () => {
  const lossy = {
    bytes: 8_000_000,
    oneWayNs: 10 * MS,
    cwndMax: 100,
    lose: (_: number, source: Random) => source.next() < 0.001,
  };
  const control = (packets: readonly Packet[]) => bulk(analyzeFrames(framesOf(packets))).direction.congestionControl!;

  test.each([0.7, 0.5])(
    'a sender that goes on with %f of its window after every loss is loss-based, from either end',
    (keep) => {
      const { sender, receiver } = transfer({ ...lossy, keep });
      for (const packets of [sender, receiver]) {
        const { family, decrease, episodes } = control(packets);
        expect(family).toBe('loss-based');
        expect(Math.abs(decrease! - keep)).toBeLessThan(0.06);
        expect(episodes).toBeGreaterThan(2);
      }
    },
  );

  test('one that goes on as before is rate-based; not so where it was never limited by the network', () => {
    const { sender, receiver } = transfer({ ...lossy, keep: 1 });
    expect([control(sender).family, control(receiver).family]).toEqual(['rate-based', 'rate-based']);
    const idle = transfer({ ...lossy, keep: 1, cwndMax: 200, slices: { bytes: 100_000, everyNs: 100 * MS } });
    expect(control(idle.sender).family).toBe('unknown');
  });

  test('one that lets the path run empty every ten seconds is rate-based without any loss', () => {
    const inRounds = (everyS: number): string => {
      const script = new Script().open();
      let seq = 0;
      for (let nowMs = 0; nowMs < 25_000; nowMs += 40) {
        const dips = nowMs > 1000 && nowMs % (everyS * 1000) < 200;
        for (let n = 0; n < 4; n++) {
          const length = dips ? 1448 : 14_480;
          script.client({ seq, length, afterMs: n === 0 ? 0.01 : 0.1 });
          seq += length;
        }
        script.server({ ack: seq, afterMs: 39.69 });
      }
      return control(script.packets).family;
    };
    expect([inRounds(10), inRounds(3)]).toEqual(['rate-based', 'unknown']);
  });

  test('without loss nothing is said', () => {
    const { congestionControl } = bulk(analyzeFrames(framesOf(transfer().sender))).direction;
    expect(congestionControl).toEqual({
      ...{ family: 'unknown', decrease: null, spread: null, episodes: 0, probeDips: 0, restarts: 0, paced: false },
    });
  });
});

test.each([1, 2, 3, 4])('damaged frames never stop the analysis, seed %i', (seed) => {
  const source = random(seed);
  const { receiver } = transfer({ bytes: 500_000, lose: (_, other) => other.next() < 0.02 });
  const frames = framesOf(receiver).map((item) =>
    source.below(4) === 0
      ? { ...item, bytes: mutated(item.bytes, source), tNs: item.tNs! - source.below(3) * 50 * MS }
      : item,
  );
  const { results } = analyzeFrames(frames);
  for (const { directions } of results.connections) {
    for (const { limitedBy, uniqueBytes, payloadBytes } of directions) {
      expect(uniqueBytes).toBeLessThanOrEqual(payloadBytes);
      if (limitedBy) expect(Object.values(limitedBy).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 6);
    }
  }
});

/** The same frames from another client port. */
function port(frames: readonly CapturedFrame[], client: number): CapturedFrame[] {
  return frames.map((item) => {
    const bytes = item.bytes.slice();
    const view = new DataView(bytes.buffer);
    view.setUint16(view.getUint16(34) === 40_000 ? 34 : 36, client);
    return { ...item, bytes };
  });
}
