// Where frames stand in their stream, on frames made by hand. What they were is the tracker's: connections.test.ts.
import { describe, expect, test } from 'vitest';
import {
  createRows,
  FLAG_ACK,
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  MARK_NEWS,
  STRAY_KEEP_ALIVE,
  STRAY_NONE,
  STRAY_WINDOW,
} from '../../../src/decode/rows.js';
import { SequenceSpaces } from '../../../src/decode/tcp/sequence-spaces.js';

const GIB = 2 ** 30;
const SECOND = 1e9;

/** One side, asked frame by frame. */
function side() {
  const spaces = new SequenceSpaces();
  const rows = createRows();
  spaces.begin(40);
  return {
    sentBytes: () => spaces.sentBytes(80),
    hasEnded: () => spaces.hasEnded(80),
    /** [stream offset, STRAY_…, whether it sends more than any before] */
    sent(seq: number, length: number, { flags = FLAG_ACK, tNs = 0 } = {}) {
      rows.marks[0] = 0;
      rows.seq[0] = seq;
      rows.payloadLen[0] = length;
      rows.flags[0] = flags;
      rows.clockNs[0] = tNs;
      spaces.sent(80, rows, 0);
      return [rows.offset[0], rows.stray[0], rows.marks[0] === MARK_NEWS];
    },
    /** [stream offset, whether it acknowledges more than any before] */
    acknowledged(raw: number) {
      rows.marks[0] = 0;
      rows.ack[0] = raw;
      const offset = spaces.acknowledged(80, rows, 0);
      return [offset, rows.marks[0] === MARK_NEWS];
    },
  };
}

describe('offset 0', () => {
  test('is the byte behind the SYN', () => {
    const { sent, acknowledged } = side();
    expect(sent(999, 0, { flags: FLAG_SYN })).toEqual([0, STRAY_NONE, false]);
    expect(sent(1000, 100)).toEqual([0, STRAY_NONE, true]);
    expect(acknowledged(1100)).toEqual([100, true]);
  });

  test('moves with a SYN of another number, until somebody has answered', () => {
    const { sent, acknowledged } = side();
    sent(999, 0, { flags: FLAG_SYN });
    expect(sent(900_000_999, 0, { flags: FLAG_SYN })).toEqual([0, STRAY_NONE, false]);
    expect(acknowledged(900_001_000)).toEqual([0, true]);
    expect(sent(4_999, 0, { flags: FLAG_SYN })[0]).toBe(5_000 - 900_001_000);
    expect(sent(900_001_000, 100)).toEqual([0, STRAY_NONE, true]);
  });

  test('is the first byte seen where the capture begins midway, whatever was acknowledged before', () => {
    const { sent, acknowledged, sentBytes } = side();
    expect(acknowledged(5000)).toEqual([Number.NaN, true]);
    expect(sent(6000, 100)).toEqual([0, STRAY_NONE, true]);
    expect(acknowledged(5500)).toEqual([-500, true]);
    expect(sentBytes()).toBe(100);
  });

  test('stays where it is when numbers wrap', () => {
    const { sent } = side();
    const first = 2 ** 32 - 50;
    expect(sent(first, 100)).toEqual([0, STRAY_NONE, true]);
    expect(sent(50, 100)).toEqual([100, STRAY_NONE, true]);
    expect(sent(first, 100)).toEqual([0, STRAY_NONE, false]);
  });
});

describe('a FIN', () => {
  test.each([
    ['before its acknowledgement', false],
    ['after it: the capture has them in the wrong order', true],
  ])('is no byte, seen %s', (_name, ackFirst) => {
    const { sent, acknowledged, sentBytes, hasEnded } = side();
    sent(1000, 100);
    if (ackFirst) expect(acknowledged(1101)).toEqual([101, true]);
    expect(sent(1100, 0, { flags: FLAG_ACK | FLAG_FIN })).toEqual([100, STRAY_NONE, false]);
    expect(acknowledged(1101)[0]).toBe(100);
    expect([hasEnded(), sentBytes()]).toEqual([true, 100]);
  });
});

describe('stray frames', () => {
  test('a keep-alive carries a byte that all have; the same byte not yet acknowledged is data', () => {
    const { sent, acknowledged } = side();
    sent(1000, 100);
    expect(sent(1099, 1)).toEqual([99, STRAY_NONE, false]);
    acknowledged(1100);
    expect(sent(1099, 1)).toEqual([99, STRAY_KEEP_ALIVE, false]);
  });

  test('one too far ahead is left aside, also when the capture has it twice', () => {
    const { sent, sentBytes } = side();
    sent(1000, 100);
    const far = 1000 + 1.5 * GIB;
    expect(sent(far, 100)[1]).toBe(STRAY_WINDOW);
    expect(sent(far, 100)[1]).toBe(STRAY_WINDOW);
    expect(sent(1100, 100)).toEqual([100, STRAY_NONE, true]);
    expect(sentBytes()).toBe(200);
  });

  test('a second one behind it shows that the capture lost what lies before; or the time passed does', () => {
    const confirmed = side();
    confirmed.sent(1000, 100);
    const far = 1000 + 1.5 * GIB;
    confirmed.sent(far, 100);
    expect(confirmed.sent(far + 100, 100)).toEqual([1.5 * GIB + 100, STRAY_NONE, true]);
    const late = side();
    late.sent(1000, 100);
    expect(late.sent(far, 100, { tNs: SECOND })).toEqual([1.5 * GIB, STRAY_NONE, true]);
  });

  test('a reset is never believed so far away', () => {
    const { sent } = side();
    sent(1000, 100);
    expect(sent(1000 + 1.5 * GIB, 0, { flags: FLAG_RST, tNs: 60 * SECOND })[1]).toBe(STRAY_WINDOW);
  });

  test('after a silence that could have held more than half the numbers, what seems far behind is ahead', () => {
    const { sent, acknowledged } = side();
    for (let second = 0; second < 4; second++) sent(second * GIB, GIB / 2, { tNs: second * SECOND });
    acknowledged(3.5 * GIB);
    const behind = 2 * GIB;
    expect(sent(behind, 100, { tNs: 10 * SECOND })[1]).toBe(STRAY_WINDOW);
    expect(sent(behind + 100, 100, { tNs: 10 * SECOND })).toEqual([behind + 2 ** 32 + 100, STRAY_NONE, true]);
  });

  test('an acknowledgement of what nobody can have sent moves nothing', () => {
    const { sent, acknowledged, sentBytes } = side();
    sent(1000, 100);
    acknowledged(1100);
    expect(acknowledged((1100 + 1.5 * GIB) >>> 0)[1]).toBe(false);
    expect(sentBytes()).toBe(100);
  });
});
