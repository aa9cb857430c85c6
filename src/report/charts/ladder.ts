// The round ladder of Clark et al. 2005 (fig. 5 ff.): a box a round, as wide as it lasted and as high as it was fast,
// labelled with the memory sent and the memory dirtied meanwhile.
import type { Chart } from './chart.js';
import { axisUnit, frame, largest, timeAxis, tip, valueAxis, widerThan } from './frame.js';
import { colour } from './palette.js';

export const ladder: Chart = {
  id: 'ladder',
  title: 'Round ladder',
  question: 'Did the rounds shrink until the rest fitted into the downtime?',
  needs: ['rounds'],
  axis: 'time',
  absent: 'The rounds could not be told from this capture.',
  legend: [],
  spec({ data, window }) {
    const max = largest(data['rounds']?.['rate']);
    const rate = axisUnit(max, 'bit/s');
    const amount = axisUnit(largest(data['rounds']?.['sent']), 'B');
    const y = {
      field: 'rate',
      type: 'quantitative',
      stack: null,
      axis: valueAxis(rate),
      scale: { domain: [0, max * 1.2], nice: false },
    };
    const label = (field: string, dy: number, name: 'ink' | 'dirtyText') => ({
      transform: [
        { filter: `${widerThan(30)} && isValid(datum.${field})` },
        { calculate: `datum.${field} / ${amount.divisor}`, as: 'amount' },
        { calculate: 'format(datum.amount, datum.amount >= 100 ? ",.0f" : ".3r")', as: 'label' },
      ],
      mark: { type: 'text', clip: true, fontSize: 10.5, baseline: 'bottom', dy, color: colour(name) },
      encoding: { x: timeAxis('mid'), y, text: { field: 'label' } },
    });
    return {
      unit: rate.unit,
      legend: [
        { label: `sent in the round, ${amount.unit}`, colour: 'ink', mark: 'label' },
        { label: `dirtied meanwhile, ${amount.unit}`, colour: 'dirtyText', mark: 'label' },
      ],
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
            },
            encoding: {
              x: timeAxis('start'),
              x2: { field: 'end' },
              y,
              y2: { datum: 0 },
              // Outlines of boxes a few pixels wide would be all there is to see.
              strokeWidth: { condition: { test: widerThan(6), value: 1 }, value: 0 },
              tooltip: tip(),
            },
          },
          label('sent', -13, 'ink'),
          label('dirtied', -1, 'dirtyText'),
        ],
      } as never,
    };
  },
};
