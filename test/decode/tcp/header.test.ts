import { describe, expect, test } from 'vitest';
import {
  OPTION_MPTCP,
  OPTION_MSS,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMP,
  OPTION_WINDOW_SCALE,
  OPTIONS_CUT,
} from '../../../src/decode/rows.js';
import { decoded } from '../../support/decoded.js';
import { ethernet, frame, ipv4, mss, sack, sackPermitted, tcp, timestamps, windowScale } from '../../support/frames.js';

const withOptions = (...options: number[][]) =>
  decoded(frame(ethernet(), ipv4(), tcp({ options: options.flat() }, 'x')));

describe('TCP options', () => {
  test('of a SYN', () => {
    const { rows } = withOptions(mss(8960), sackPermitted(), timestamps(7, 8), windowScale(11));
    expect(rows.options[0]).toBe(OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMP | OPTION_WINDOW_SCALE);
    expect([rows.mss[0], rows.tsValue[0], rows.tsEcho[0], rows.windowScale[0]]).toEqual([8960, 7, 8, 11]);
  });

  test('timestamps and three SACK blocks', () => {
    const { rows } = withOptions(timestamps(7, 8), sack([100, 200], [0xfffffff0, 16], [5, 6]));
    expect(rows.options[0]).toBe(OPTION_TIMESTAMP | OPTION_SACK);
    expect(rows.sackBlocks[0]).toBe(3);
    expect([...rows.sackEdges.subarray(0, 6)]).toEqual([100, 200, 0xfffffff0, 16, 5, 6]);
  });

  test('MPTCP: the place of the first one', () => {
    const { rows, batch } = withOptions([1, 1], [30, 4, 0x20, 1], [30, 4, 0x30, 1]);
    expect([rows.options[0], batch.bytes[rows.mptcp[0]! + 2]]).toEqual([OPTION_MPTCP, 0x20]);
  });

  test.each([
    ['length 0', [8, 0, 1, 1]],
    ['length 1', [8, 1, 1, 1]],
    ['length beyond the list', [8, 10, 1, 1]],
    ['kind without length', [1, 1, 1, 8]],
    ['timestamp of a wrong length', [8, 4, 1, 1]],
    ['SACK without a whole block', [5, 4, 1, 1]],
    ['unknown kind', [253, 4, 1, 1]],
    ['after the end of the list', [0, 2, 4, 5]],
  ])('a malformed list is safe: %s', (_name, options) => {
    const row = withOptions(mss(1460), options);
    expect([row.kind, row.rows.options[0], row.payload]).toEqual(['tcp', OPTION_MSS, 'x']);
  });

  test('options cut by the snap length prove nothing', () => {
    const whole = frame(ethernet(), ipv4(), tcp({ flags: 'S', options: [...mss(1460), ...timestamps(1, 2)] }));
    const { rows } = decoded({ bytes: whole.slice(0, 62), wire: whole.length });
    expect([rows.options[0], rows.mss[0]]).toEqual([OPTION_MSS | OPTIONS_CUT, 1460]);
    expect(decoded({ bytes: whole.slice(0, 50), wire: whole.length }).rows.options[0]).toBe(OPTIONS_CUT);
  });
});
