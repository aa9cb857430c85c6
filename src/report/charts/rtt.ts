// Round-trip time: the band between the smallest and largest sample of each bin.
import type { Chart } from './chart.js';
import { binSecondsOf, fitted, frame, largest, roundLines, stepped, timeAxis, timeUnit, valueAxis } from './frame.js';
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
    { label: 'down to the smallest', colour: 'rttFill', mark: 'area', reads: { column: 'rttMin', unit: 's' } },
  ],
  spec(scene) {
    const { data, window } = scene;
    const max = largest(data['timeline']?.['rttMax']);
    if (max === 0) return null;
    const unit = timeUnit(max);
    const y = { type: 'quantitative', axis: valueAxis(unit), stack: null, scale: fitted };
    const x = timeAxis('b');
    return {
      unit: unit.unit,
      fit: ['rttMax'],
      height: 110,
      left: 56,
      vegaLite: {
        ...frame(110, window, { top: max, binSeconds: binSecondsOf(scene) }),
        layer: [
          {
            data: { name: 'timeline' },
            transform: stepped({ max: ['rttMax'], min: ['rttMin'] }),
            layer: [
              {
                mark: { type: 'rect', clip: true, color: colour('rttFill') },
                encoding: { x, x2: { field: 'b2' }, y: { field: 'rttMinBottom', ...y }, y2: { field: 'rttMaxTop' } },
              },
              // One stroke a step and not a line: a lone sample between silent steps stays visible.
              {
                mark: { type: 'rule', clip: true, color: colour('rtt'), strokeWidth: 1.4, strokeCap: 'square' },
                encoding: { x, x2: { field: 'b2' }, y: { field: 'rttMaxTop', ...y } },
              },
            ],
          },
          ...('rounds' in data ? [roundLines()] : []),
        ],
      } as never,
    };
  },
};
