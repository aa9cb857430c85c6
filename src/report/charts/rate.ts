// Throughput and goodput over time, with round boundaries and retransmissions marked.
import type { Chart } from './chart.js';
import { axisUnit, fitted, frame, largest, roundLines, timeAxis, usual, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const rate: Chart = {
  id: 'rate',
  title: 'Throughput and goodput',
  question: 'How fast did new data move, and what was sent twice?',
  needs: ['timeline'],
  axis: 'time',
  absent: 'No timeline: too little data was sent in either direction.',
  legend: [
    { label: 'goodput', colour: 'goodput', mark: 'area', reads: { column: 'goodput', unit: 'bit/s' } },
    { label: 'throughput', colour: 'throughput', mark: 'line', reads: { column: 'throughput', unit: 'bit/s' } },
    { label: 'retransmitted', colour: 'loss', mark: 'tick', reads: { column: 'lost', unit: 'bytes' } },
    { label: 'round begins', colour: 'muted', mark: 'dash' },
  ],
  spec({ data, window }) {
    const max = largest(data['timeline']?.['throughput']);
    const unit = axisUnit(usual(data['timeline']?.['throughput']), 'bit/s');
    const y = { type: 'quantitative', axis: valueAxis(unit), stack: null, scale: fitted };
    return {
      unit: unit.unit,
      fit: ['throughput'],
      height: 190,
      left: 56,
      vegaLite: {
        ...frame(190, window, { top: max }),
        layer: [
          {
            data: { name: 'timeline' },
            mark: {
              type: 'area',
              interpolate: 'step-after',
              clip: true,
              color: colour('goodputFill'),
              line: { color: colour('goodput'), strokeWidth: 1.2, interpolate: 'step-after', clip: true },
            },
            encoding: { x: timeAxis('t'), y: { field: 'goodput', ...y } },
          },
          {
            data: { name: 'timeline' },
            mark: {
              type: 'line',
              interpolate: 'step-after',
              clip: true,
              color: colour('throughput'),
              strokeWidth: 1,
              opacity: 0.8,
            },
            encoding: { x: timeAxis('t'), y: { field: 'throughput', ...y } },
          },
          ...('rounds' in data ? [roundLines()] : []),
          {
            data: { name: 'timeline' },
            transform: [{ filter: 'datum.lost > 0' }],
            mark: { type: 'rule', clip: true, color: colour('loss'), strokeWidth: 1.2 },
            encoding: { x: timeAxis('t'), y: { value: 0 }, y2: { value: 9 } },
          },
        ],
      } as never,
    };
  },
};
