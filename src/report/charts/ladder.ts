// The round ladder of Clark et al. 2005 (fig. 5 ff.): a box a round, as wide as it lasted and as high as it was fast,
// labelled with the memory sent and the memory dirtied meanwhile.
import type { Chart } from './chart.js';
import { axisUnit, frame, largest, timeAxis, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

const WIDE_ENOUGH = '(datum.end - datum.start) / (t1 - t0) * width > 46';

export const ladder: Chart = {
  id: 'ladder',
  title: 'Round ladder',
  question: 'Did the rounds shrink until the rest fitted into the downtime?',
  needs: ['rounds'],
  axis: 'time',
  absent: 'The rounds could not be told from this capture.',
  legend: [
    { label: 'sent in the round', colour: 'goodput', mark: 'area' },
    { label: 'dirtied meanwhile', colour: 'dirty', mark: 'tick' },
  ],
  spec({ data, window }) {
    const max = largest(data['rounds']?.['rate']);
    const unit = axisUnit(max, 'bit/s');
    const y = {
      field: 'rate',
      type: 'quantitative',
      axis: valueAxis(unit),
      scale: { domain: [0, max * 1.2], nice: false },
    };
    const text = (field: string, baseline: string, dy: number, name: 'ink' | 'dirtyText') => ({
      transform: [{ filter: `${WIDE_ENOUGH} && datum.${field} != ""` }],
      mark: { type: 'text', clip: true, fontSize: 11, baseline, dy, color: colour(name) },
      encoding: { x: timeAxis('mid'), y: { ...y, stack: null }, text: { field } },
    });
    return {
      unit: unit.unit,
      height: 210,
      left: 56,
      vegaLite: {
        ...frame(210, window),
        data: { name: 'rounds' },
        layer: [
          {
            mark: {
              type: 'rect',
              clip: true,
              fill: colour('goodputFill'),
              stroke: colour('goodput'),
              strokeWidth: 1,
            },
            encoding: {
              x: timeAxis('start'),
              x2: { field: 'end' },
              y: { ...y, stack: null },
              y2: { datum: 0 },
              tooltip: tip(),
            },
          },
          text('sentLabel', 'bottom', -14, 'ink'),
          text('dirtiedLabel', 'bottom', -2, 'dirtyText'),
        ],
      } as never,
    };
  },
};
