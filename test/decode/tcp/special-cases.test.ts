// The special cases of a TCP connection that analysers are known to get wrong, one by one, on frames written out by hand.
import { describe, expect, test } from 'vitest';
import {
  VERDICT_KEEP_ALIVE,
  VERDICT_NEW,
  VERDICT_REORDERED,
  VERDICT_RETRANSMISSION,
} from '../../../src/decode/rows.js';
import { shifted } from '../../support/conversation.js';
import type { CapturedFrame } from '../../support/frames.js';
import { Script } from '../../support/script.js';
import { analyzeFrames } from '../../support/tcp-analysis.js';

const MSS = 1448;
const open = (): Script => new Script().open();
const only = (frames: readonly CapturedFrame[]) => {
  const { results, anomalies } = analyzeFrames(frames);
  const [connection] = results.connections;
  return {
    connections: results.connections.length,
    connection: connection!,
    sent: connection!.directions[0],
    anomalies,
  };
};
const verdicts = (frames: readonly CapturedFrame[]): number[] => {
  const all: number[] = [];
  analyzeFrames(frames, { watch: (batch, rows) => all.push(...rows.verdict.slice(0, batch.count)) });
  return all;
};

describe('opening and closing', () => {
  test('a SYN-ACK that is sent again with another initial number: the bytes are counted from the one that was answered', () => {
    const at = 900_000_000;
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1 });
    script.server({ flags: 'SA', seq: at - 1, afterMs: 1000 }).client({ ack: at });
    script
      .server({ seq: at, length: 1000 })
      .client({ ack: at + 1000 })
      .server({ seq: at + 1000, length: 1000 });
    const [, answered] = only(script.client({ ack: at + 2000 }).frames()).connection.directions;
    expect([answered.uniqueBytes, answered.unseenBytes, answered.ackedBytes]).toEqual([2000, 0, 2000]);
  });

  test('both sides open at once: the answers are no repetitions', () => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'S', seq: -1 });
    script.client({ flags: 'SA', seq: -1, ack: 0 }).server({ flags: 'SA', seq: -1, ack: 0 });
    const { sent, connection } = only(script.client({ length: 1000 }).server({ ack: 1000 }).frames());
    expect(connection.directions.map(({ retransmittedSegments }) => retransmittedSegments)).toEqual([0, 0]);
    expect(sent.uniqueBytes).toBe(1000);
  });

  test('a SYN with data (fast open): its bytes are the first of the stream', () => {
    const script = new Script().client({ flags: 'S', seq: -1, length: 500, window: 65_535 });
    script.server({ flags: 'SA', seq: -1, ack: 500, window: 65_535 }).client({ seq: 500, length: 1000 });
    const { sent, connection } = only(script.server({ ack: 1500 }).frames());
    expect([sent.uniqueBytes, sent.ackedBytes, sent.unseenBytes, sent.retransmittedSegments]).toEqual([
      1500, 1500, 0, 0,
    ]);
    expect(connection.handshakeRttNs).not.toBe(null);
  });

  test('data of a SYN that the peer did not take are sent again, and count once', () => {
    const script = new Script().client({ flags: 'S', seq: -1, length: 500 }).server({ flags: 'SA', seq: -1, ack: 0 });
    const { sent } = only(script.client({ length: 500 }).server({ ack: 500 }).frames());
    expect([sent.payloadBytes, sent.uniqueBytes, sent.retransmittedSegments]).toEqual([1000, 500, 1]);
  });

  test('both sides open at once: one connection', () => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'S', seq: -1 });
    script.client({ flags: 'SA', seq: -1 }).server({ flags: 'SA', seq: -1 });
    script.client({ length: 1000 }).server({ ack: 1000, length: 10 }).client({ seq: 1000, ack: 10 });
    const { connections, connection, sent } = only(script.frames());
    expect([connections, sent.uniqueBytes, connection.directions[1].uniqueBytes]).toEqual([1, 1000, 10]);
    expect(sent.unseenBytes).toBe(0);
  });

  test('a FIN that is sent again is no byte and no data', () => {
    const script = open().client({ length: 100 }).client({ flags: 'FA', seq: 100 });
    script.client({ flags: 'FA', seq: 100, afterMs: 300 }).server({ ack: 101 });
    const { sent } = only(script.frames());
    expect([sent.uniqueBytes, sent.payloadBytes, sent.retransmittedBytes, sent.unseenBytes]).toEqual([100, 100, 0, 0]);
  });

  test('data behind the FIN cannot be: nothing breaks, and what came before still counts', () => {
    const script = open().client({ length: 100 }).client({ flags: 'FA', seq: 100 }).server({ ack: 101 });
    const { sent } = only(script.client({ seq: 101, length: 50 }).server({ ack: 101 }).frames());
    expect([sent.uniqueBytes, sent.retransmittedSegments]).toEqual([150, 0]);
    // The number of the FIN itself is all that can be missing.
    expect(sent.unseenBytes).toBeLessThanOrEqual(1);
  });

  test('a RST in the middle of a recovery ends it', () => {
    const script = open();
    for (let n = 0; n < 5; n++) script.client({ seq: n * MSS, length: MSS, afterMs: 0.01 });
    script.server({ ack: 0, blocks: [[MSS, 5 * MSS]] }).client({ length: MSS, truth: 'fast' });
    const { connection, sent } = only(script.server({ flags: 'R', ack: 0 }).frames());
    expect([connection.endedBy, connection.closedFirstBy, sent.retransmittedSegments]).toEqual(['rst', 1, 1]);
  });
});

describe('numbers', () => {
  test('the sequence space ends inside a SACK block', () => {
    const script = open();
    for (let n = 0; n < 6; n++) script.client({ seq: n * MSS, length: MSS, afterMs: 0.01 });
    script
      .server({ ack: MSS, blocks: [[2 * MSS, 5 * MSS]], afterMs: 20 })
      .client({ seq: MSS, length: MSS, afterMs: 0.01 });
    script.client({ seq: 6 * MSS, length: MSS, afterMs: 0.01 }).server({ ack: 7 * MSS, afterMs: 20 });
    const frames = script.frames({ initialSeq: 0, initialAck: 0 });
    const plain = only(frames).connection.directions;
    for (const inside of [2 * MSS + 1, 3 * MSS, 5 * MSS]) {
      expect(only(shifted(frames, 2 ** 32 - inside)).connection.directions).toEqual(plain);
    }
    expect([plain[0].selectiveAcks, plain[0].retransmissions.fast, plain[0].pipe!.max]).toEqual([1, 1, 6 * MSS]);
  });

  test('timestamps that wrap are newer, not older', () => {
    const before = 2 ** 32 - 3;
    const fill = (tsValue: number): number =>
      verdicts(
        open()
          .client({ length: 100, tsValue: before })
          .client({ seq: 200, length: 100, tsValue: before + 1 })
          .client({ seq: 100, length: 100, tsValue, ipId: 400, afterMs: 50 })
          .frames(),
      ).at(-1)!;
    expect([fill(50), fill(before)]).toEqual([VERDICT_RETRANSMISSION, VERDICT_REORDERED]);
  });

  test('timestamps of microseconds: retransmissions and originals are told apart by their order alone', () => {
    const fill = (tsValue: number): number =>
      verdicts(
        open()
          .client({ length: 100, tsValue: 5_000_000 })
          .client({ seq: 200, length: 100, tsValue: 5_000_010 })
          .client({ seq: 100, length: 100, tsValue, ipId: 400, afterMs: 50 })
          .frames(),
      ).at(-1)!;
    expect([fill(5_000_004), fill(5_050_000)]).toEqual([VERDICT_REORDERED, VERDICT_RETRANSMISSION]);
  });

  test('every connection has timestamps of its own: a later one on the same ports with older ones is not late', () => {
    const first = open()
      .client({ length: 100, tsValue: 3_000_000_000 })
      .server({ ack: 100 })
      .client({ flags: 'R', seq: 100 });
    const second = open().client({ length: 100, tsValue: 17 }).client({ seq: 100, length: 100, tsValue: 18 });
    const later = second.frames({ initialSeq: 5_000_000 }).map((item) => ({ ...item, tNs: item.tNs! + 1e9 }));
    const { connections } = analyzeFrames([...first.frames(), ...later]).results;
    expect(connections.map(({ directions }) => [directions[0].uniqueBytes, directions[0].lateOriginals])).toEqual([
      [100, 0],
      [200, 0],
    ]);
  });

  test('timestamps that something on the path takes out: identifications go on telling', () => {
    const script = open().client({ length: 100, ipId: 10 }).client({ seq: 200, length: 100, ipId: 12, tsValue: -1 });
    const fill = (ipId: number): number =>
      verdicts([
        ...script.frames(),
        ...open().client({ seq: 100, length: 100, ipId, tsValue: -1, afterMs: 30 }).frames().slice(3),
      ]).at(-1)!;
    expect([fill(11), fill(13)]).toEqual([VERDICT_REORDERED, VERDICT_RETRANSMISSION]);
  });

  test('a segment with an older timestamp than its peer has seen (the peer drops it) adds nothing twice', () => {
    const script = open().client({ length: 100, tsValue: 2000 }).server({ ack: 100, tsEcho: 2000 });
    script.client({ length: 100, tsValue: 1500, ipId: 3, afterMs: 40 }).server({ ack: 100, tsEcho: 2000 });
    const { sent } = only(script.frames());
    expect([sent.uniqueBytes, sent.lateOriginals, sent.retransmittedSegments]).toEqual([100, 1, 0]);
  });
});

describe('segments', () => {
  test('a keep-alive is no loss, with a byte or without', () => {
    for (const length of [0, 1]) {
      const script = open().client({ length: 100 }).server({ ack: 100 }).client({ seq: 99, length, afterMs: 7000 });
      const frames = script.server({ ack: 100 }).frames();
      const { sent } = only(frames);
      expect([sent.keepAlives, sent.retransmittedSegments, sent.uniqueBytes]).toEqual([1, 0, 100]);
      expect(verdicts(frames)[5]).toBe(VERDICT_KEEP_ALIVE);
    }
  });

  test('urgent data are data', () => {
    const script = open().client({ length: 100 }).client({ seq: 100, length: 1, flags: 'AU' }).server({ ack: 101 });
    const { sent } = only(script.client({ seq: 101, length: 100 }).server({ ack: 201 }).frames());
    expect([sent.uniqueBytes, sent.ackedBytes, sent.windowProbes, sent.keepAlives]).toEqual([201, 201, 0, 0]);
  });

  test('segments that overlap in part: what is new counts once', () => {
    const script = open()
      .client({ length: 1000 })
      .client({ seq: 500, length: 1000, afterMs: 300 })
      .server({ ack: 1500 });
    const { sent } = only(script.frames());
    expect([sent.payloadBytes, sent.uniqueBytes, sent.retransmittedSegments]).toEqual([2000, 1500, 1]);
  });

  test('segments become smaller midway (another path): the largest of the SYNs says nothing about loss', () => {
    const script = open();
    let seq = 0;
    for (const length of [MSS, MSS, 1200, 1200, 1200]) {
      script.client({ seq, length, afterMs: 0.01 });
      seq += length;
    }
    const { sent } = only(script.server({ ack: seq }).frames());
    expect([sent.uniqueBytes, sent.wireSegments, sent.retransmittedSegments]).toEqual([seq, 5, 0]);
  });

  test('a window that is taken back, stays small and is granted again is counted once', () => {
    const script = open().client({ length: 1000 }).server({ ack: 1000, window: 600 });
    script
      .server({ ack: 1000, window: 100, afterMs: 10 })
      .client({ seq: 1000, length: 1000 })
      .server({ ack: 2000, window: 100 })
      .server({ ack: 2000, window: 600 });
    const { sent } = only(script.frames());
    expect([sent.windowShrinks, sent.window!.min]).toEqual([1, 100 * 128]);
  });
});

describe('what the SYNs agree on', () => {
  test('a window scale in one SYN only is in no use', () => {
    const frames = open()
      .client({ length: 1000 })
      .server({ ack: 1000, window: 5000 })
      .client({ seq: 1000, length: 500 })
      .frames();
    const { sent, connection } = only(frames.map((item, n) => (n === 1 ? withoutScale(item) : item)));
    expect(connection.options.windowScale).toEqual([7, null]);
    expect([sent.window!.max, sent.windowScaleInferred]).toEqual([5000, false]);
  });
});

describe('where the capture begins and ends', () => {
  test('it begins within a recovery: what is repeated first cannot be known as such, and no byte is called lost', () => {
    const script = new Script()
      .server({ ack: 0, blocks: [[MSS, 4 * MSS]] })
      .client({ seq: 0, length: MSS, afterMs: 0.02 });
    script
      .server({ ack: 4 * MSS, afterMs: 20 })
      .client({ seq: 4 * MSS, length: MSS })
      .server({ ack: 5 * MSS, afterMs: 20 });
    const [, data] = only(script.frames()).connection.directions;
    expect([data.uniqueBytes, data.retransmittedBytes]).toEqual([2 * MSS, 0]);
    expect(data.ackedBytes! - data.unseenBytes).toBeLessThanOrEqual(2 * MSS);
  });

  test('it ends while data are out: they are neither lost nor missing', () => {
    const script = open();
    for (let n = 0; n < 8; n++) script.client({ seq: n * MSS, length: MSS, afterMs: 0.01 });
    const { sent, anomalies } = only(script.server({ ack: 2 * MSS, afterMs: 20 }).frames());
    expect([sent.uniqueBytes, sent.ackedBytes, sent.unseenBytes]).toEqual([8 * MSS, 2 * MSS, 0]);
    expect([sent.retransmittedSegments, anomalies]).toEqual([0, []]);
  });

  test('what was acknowledged unseen and shows up later was late in the capture: not missing, not sent again', () => {
    const script = open().client({ length: 1000 }).server({ ack: 3000 }).server({ ack: 3000, afterMs: 5 });
    script.server({ ack: 3000, afterMs: 5 });
    expect(only(script.frames()).sent.unseenBytes).toBe(2000);
    const frames = script.client({ seq: 1000, length: 1000, tsValue: 1, ipId: 60_000, afterMs: 5 }).frames();
    const { sent } = only(frames);
    expect([sent.unseenBytes, sent.uniqueBytes, sent.retransmittedSegments, sent.outOfOrderSegments]).toEqual([
      1000, 2000, 0, 1,
    ]);
    expect(verdicts(frames).at(-1)).toBe(VERDICT_REORDERED);
  });
});

describe('clocks and paths', () => {
  test('a proxy answers the SYN at once and passes data on: the round trip is that of the data', () => {
    const script = new Script()
      .client({ flags: 'S', seq: -1 })
      .server({ flags: 'SA', seq: -1, afterMs: 0.1 })
      .client({ afterMs: 0.01 });
    for (let n = 0; n < 20; n++) {
      script
        .client({ seq: n * 2 * MSS, length: 2 * MSS, afterMs: 0.02 })
        .server({ ack: (n + 1) * 2 * MSS, afterMs: 30, tsEcho: -1 });
    }
    const { connection, sent } = only(script.frames());
    expect(connection.handshakeRttNs).toBeLessThan(0.2e6);
    expect(sent.rttNs!.p50 / 1e6).toBeCloseTo(30, 0);
    expect(connection.vantage).toBe('source');
  });

  test('a clock that steps back by seconds makes no time negative and no segment new', () => {
    const script = open();
    for (let n = 0; n < 20; n++)
      script.client({ seq: n * MSS, length: MSS }).server({ ack: (n + 1) * MSS, afterMs: 10 });
    const frames = script.frames().map((item, n) => (n > 20 ? { ...item, tNs: item.tNs! - 5e9 } : item));
    const { sent } = only(frames);
    expect([sent.uniqueBytes, sent.retransmittedSegments]).toEqual([20 * MSS, 0]);
    expect(sent.rttNs!.min).toBeGreaterThanOrEqual(0);
    if (sent.limitedBy) for (const share of Object.values(sent.limitedBy)) expect(share).toBeGreaterThanOrEqual(0);
  });

  test('frames over two links of a bond, the clock of one 300 µs behind: nothing is sent again or missing', () => {
    const script = open();
    for (let n = 0; n < 40; n++) {
      script.client({ seq: n * MSS, length: MSS, afterMs: 0.05 });
      if (n % 4 === 3) script.server({ ack: (n + 1) * MSS, afterMs: 20 });
    }
    const frames = script
      .frames()
      .map((item, n) => (n > 3 && n % 2 === 0 ? { ...item, tNs: item.tNs! - 0.3e6 } : item))
      .sort((a, b) => a.tNs! - b.tNs!);
    const { sent } = only(frames);
    expect([sent.uniqueBytes, sent.retransmittedSegments, sent.unseenBytes, sent.networkDuplicates]).toEqual([
      40 * MSS,
      0,
      0,
      0,
    ]);
    expect(verdicts(frames).filter((verdict) => verdict === VERDICT_NEW).length).toBeGreaterThan(0);
  });
});

/** A SYN-ACK whose window scale (kind 3, length 3) became padding. */
function withoutScale(item: CapturedFrame): CapturedFrame {
  const bytes = item.bytes.slice();
  for (let at = 54; at < bytes.length - 2; at++) {
    if (bytes[at] === 3 && bytes[at + 1] === 3 && bytes[at + 2] === 7) {
      bytes.fill(1, at, at + 3);
      break;
    }
  }
  return { ...item, bytes };
}
