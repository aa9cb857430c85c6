// The whole run in a strip: goodput and where losses were. The viewer lays the movable window over it.
import type { Chart } from './chart.js';
import { binSecondsOf, frame, stepped, timeAxis, usual } from './frame.js';
import { colour } from './palette.js';

export const overview: Chart = {
  id: 'overview',
  title: 'Whole run',
  question: 'Which part of the run do the charts below show?',
  needs: ['timeline'],
  axis: 'time',
  absent: '',
  legend: [],
  spec: (scene) => ({
    unit: '',
    height: 34,
    left: 56,
    vegaLite: {
      ...frame(34, scene.window, { binSeconds: binSecondsOf(scene) }),
      layer: [
        {
          data: { name: 'timeline' },
          transform: stepped({ rates: ['goodput'] }),
          mark: { type: 'area', interpolate: 'step-after', color: colour('goodputFill') },
          encoding: {
            x: timeAxis('b'),
            y: {
              field: 'goodput',
              type: 'quantitative',
              stack: null,
              axis: null,
              scale: { domain: [0, usual(scene.data['timeline']?.['goodput']) * 1.5 || 1], clamp: true, nice: false },
            },
          },
        },
        {
          data: { name: 'timeline' },
          transform: [{ filter: 'datum.lost > 0' }],
          mark: { type: 'rule', color: colour('loss'), opacity: 0.5 },
          encoding: { x: timeAxis('t'), y: { value: 34 }, y2: { value: 26 } },
        },
      ],
    } as never,
  }),
};
