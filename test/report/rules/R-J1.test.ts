import { describe, expect, test } from 'vitest';
import { altered, connection, direction, findings, report } from './situation.js';

const withUnseen = (unseenBytes: number) =>
  report({ connections: [connection({ directions: [direction({ unseenBytes }), direction({ uniqueBytes: 0 })] })] });

describe('capture lost frames', () => {
  test('acknowledged bytes that are not in the file are the recorder’s loss', () => {
    const [finding] = findings('R-J1', withUnseen(5e6));
    expect(finding).toMatchObject({ severity: 'minor', metrics: { unseenBytes: 5e6, droppedFrames: null } });
    expect(finding!.interval).toEqual([[0, 10.5e9]]);
  });

  test('the recorder’s own drop counter is enough', () => {
    const base = report();
    const data = altered(base, { capture: { inputs: [{ ...base.capture.inputs[0]!, droppedByCapture: 7 }] } });
    expect(findings('R-J1', data)).toMatchObject([{ severity: 'info', metrics: { droppedFrames: 7 } }]);
  });

  test('what later fragments carry was not lost', () => {
    const fragments = {
      code: 'decode/fragment' as const,
      severity: 'note' as const,
      origin: 'network' as const,
      text: '',
      direction: null,
      count: 1000,
      first: { frame: 12 },
      last: { frame: 900 },
      samples: [],
    };
    expect(findings('R-J1', { ...withUnseen(200e3), anomalies: [fragments] })).toEqual([]);
    expect(findings('R-J1', { ...withUnseen(5e6), anomalies: [fragments] })).toMatchObject([
      { metrics: { unseenBytes: 5e6 - 1000 * 1480 } },
    ]);
  });

  test('an unknown drop counter is not a drop', () => {
    expect(findings('R-J1', report())).toEqual([]);
  });
});
