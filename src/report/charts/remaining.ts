// Memory left to send and memory dirtied meanwhile: the saw-tooth of pre-copy.
import type { Chart } from './chart.js';
import { frame, largest, memoryUnit, rootTicks, timeAxis, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const remaining: Chart = {
  id: 'remaining',
  title: 'Left to send and dirtied meanwhile',
  question: 'Was memory sent faster than the guest dirtied it?',
  needs: ['remaining'],
  axis: 'time',
  absent: 'Needs at least two rounds with readable page records.',
  legend: [
    { label: 'left to send in the round', colour: 'goodput', mark: 'line' },
    { label: 'dirtied for the next round', colour: 'dirty', mark: 'line' },
    { label: 'would fit into the downtime limit', colour: 'window', mark: 'dash' },
  ],
  spec({ data, window }) {
    const max = largest(data['remaining']?.['bytes']);
    const unit = memoryUnit(max);
    const roundSeconds = (window[1] - window[0]) / (data['rounds']?.['start']?.length ?? 1);
    const y = {
      field: 'bytes',
      type: 'quantitative',
      stack: null,
      axis: valueAxis(unit, { values: rootTicks(max, unit.divisor) }),
      // The first pass dwarfs the rest; the square root keeps the last rounds visible.
      scale: { type: 'sqrt', domain: [0, max], nice: false },
    };
    return {
      unit: `${unit.unit} of guest memory, square-root axis; straight between the ends of a round`,
      height: 150,
      left: 56,
      vegaLite: {
        ...frame(150, window),
        layer: [
          {
            data: { name: 'remaining' },
            // Many teeth side by side are drawn thinner, so that the paper still shows between them.
            mark: {
              type: 'line',
              clip: true,
              strokeWidth: { expr: `width * ${roundSeconds} / (t1 - t0) < 8 ? 0.5 : 1.6` },
            },
            encoding: {
              x: timeAxis('t'),
              y,
              detail: { field: 'line', type: 'nominal' },
              color: {
                field: 'kind',
                type: 'nominal',
                legend: null,
                scale: { domain: ['left', 'dirtied'], range: [colour('goodput'), colour('dirty')] },
              },
            },
          },
          ...(data['threshold']
            ? [
                {
                  data: { name: 'threshold' },
                  mark: { type: 'line', clip: true, strokeWidth: 1.2, strokeDash: [4, 3], color: colour('window') },
                  encoding: { x: timeAxis('t'), y },
                },
              ]
            : []),
        ],
      } as never,
    };
  },
};
