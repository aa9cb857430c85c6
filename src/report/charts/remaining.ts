// Memory left to send and memory dirtied meanwhile: the saw-tooth of pre-copy.
import type { Chart } from './chart.js';
import { frame, largest, timeAxis, valueAxis } from './frame.js';
import { colour } from './palette.js';

const BINARY: readonly (readonly [string, number])[] = [
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
];

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
  ],
  spec({ data, window }) {
    const max = largest(data['remaining']?.['bytes']);
    const [unit, divisor] = BINARY.findLast(([, size]) => max >= size * 2) ?? BINARY[0]!;
    return {
      unit: `${unit} of guest memory; straight between the ends of a round`,
      height: 150,
      left: 56,
      vegaLite: {
        ...frame(150, window),
        data: { name: 'remaining' },
        mark: { type: 'line', clip: true, strokeWidth: 1.6 },
        encoding: {
          x: timeAxis('t'),
          y: {
            field: 'bytes',
            type: 'quantitative',
            stack: null,
            axis: valueAxis({ unit, divisor }),
            // The first pass dwarfs the rest; the square root keeps the last rounds visible.
            scale: { type: 'sqrt', nice: true },
          },
          detail: { field: 'line', type: 'nominal' },
          color: {
            field: 'kind',
            type: 'nominal',
            legend: null,
            scale: { domain: ['left', 'dirtied'], range: [colour('goodput'), colour('dirty')] },
          },
        },
      } as never,
    };
  },
};
