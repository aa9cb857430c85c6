// Rounds as a band on the time axis, so that every chart below can be read against them.
import type { Chart } from './chart.js';
import { BARE_BOTTOM, frame, timeAxis, tip } from './frame.js';
import { colour } from './palette.js';

export const roundsBand: Chart = {
  id: 'rounds-band',
  title: 'Rounds',
  question: 'Which pass over the guest’s memory was running?',
  needs: ['rounds'],
  axis: 'time',
  absent: 'The rounds could not be told from this capture.',
  legend: [],
  spec: ({ window }) => ({
    unit: '',
    height: 22,
    left: 56,
    bare: true,
    vegaLite: {
      ...frame(22, window, { bottom: BARE_BOTTOM }),
      data: { name: 'rounds' },
      layer: [
        {
          mark: { type: 'rect', clip: true },
          encoding: {
            x: { ...timeAxis('start'), axis: null },
            x2: { field: 'end' },
            y: { value: 0 },
            y2: { value: 22 },
            color: {
              field: 'parity',
              type: 'nominal',
              legend: null,
              scale: { domain: [0, 1], range: [colour('roundAlt'), colour('round')] },
            },
            tooltip: tip(),
          },
        },
        {
          transform: [{ filter: '(datum.end - datum.start) / (t1 - t0) * width > 16' }],
          mark: { type: 'text', clip: true, fontSize: 11, color: colour('muted'), baseline: 'middle' },
          encoding: { x: { ...timeAxis('mid'), axis: null }, y: { value: 11 }, text: { field: 'index' } },
        },
      ],
    } as never,
  }),
};
