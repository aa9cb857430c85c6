// Round-trip time: the band between the smallest and largest sample of each bin.
import type { Chart } from './chart.js';
import { fitted, frame, largest, roundLines, timeAxis, timeUnit, valueAxis } from './frame.js';
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
    const y = { type: 'quantitative', axis: valueAxis(unit), stack: null, scale: fitted };
    return {
      unit: unit.unit,
      fit: ['rttMax'],
      height: 110,
      left: 56,
      vegaLite: {
        ...frame(110, window, { top: max }),
        layer: [
          {
            data: { name: 'timeline' },
            mark: { type: 'rect', clip: true, color: colour('rttFill') },
            encoding: { x: timeAxis('t'), x2: { field: 't2' }, y: { field: 'rttMin', ...y }, y2: { field: 'rttMax' } },
          },
          // One stroke a bin and not a line: a lone sample between silent bins stays visible.
          {
            data: { name: 'timeline' },
            mark: { type: 'rule', clip: true, color: colour('rtt'), strokeWidth: 1.4, strokeCap: 'square' },
            encoding: { x: timeAxis('t'), x2: { field: 't2' }, y: { field: 'rttMax', ...y } },
          },
          ...('rounds' in data ? [roundLines()] : []),
        ],
      } as never,
    };
  },
};
