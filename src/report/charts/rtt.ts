// Round-trip time: the band between the smallest and largest sample of each bin.
import type { Chart } from './chart.js';
import { frame, largest, roundLines, timeAxis, timeUnit, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const rtt: Chart = {
  id: 'rtt',
  title: 'Round-trip time',
  question: 'Did queues build up on the path?',
  needs: ['timeline'],
  axis: 'time',
  absent: 'No round trip could be measured: it needs data and its acknowledgements in the capture.',
  legend: [
    { label: 'largest', colour: 'rtt', mark: 'line', reads: { column: 'rttMax', unit: 's' } },
    { label: 'smallest', colour: 'rttFill', mark: 'area', reads: { column: 'rttMin', unit: 's' } },
  ],
  spec({ data, window }) {
    const max = largest(data['timeline']?.['rttMax']);
    if (max === 0) return null;
    const unit = timeUnit(max);
    const y = { type: 'quantitative', axis: valueAxis(unit), stack: null, scale: { nice: true, zero: true } };
    return {
      unit: unit.unit,
      height: 110,
      left: 56,
      vegaLite: {
        ...frame(110, window),
        layer: [
          {
            data: { name: 'timeline' },
            mark: { type: 'area', interpolate: 'step-after', clip: true, color: colour('rttFill') },
            encoding: { x: timeAxis('t'), y: { field: 'rttMin', ...y }, y2: { field: 'rttMax' } },
          },
          {
            data: { name: 'timeline' },
            mark: { type: 'line', interpolate: 'step-after', clip: true, color: colour('rtt'), strokeWidth: 1 },
            encoding: { x: timeAxis('t'), y: { field: 'rttMax', ...y } },
          },
          ...('rounds' in data ? [roundLines()] : []),
        ],
      } as never,
    };
  },
};
