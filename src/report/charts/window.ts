// Bytes in flight against the window the receiver advertised.
import type { Chart } from './chart.js';
import { axisUnit, frame, largest, roundLines, timeAxis, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const windowChart: Chart = {
  id: 'window',
  title: 'In flight and receive window',
  question: 'Did the receive window leave room, or did the sender fill it?',
  needs: ['timeline'],
  axis: 'time',
  absent: 'Windows need both directions of the connection in the capture.',
  legend: [
    { label: 'in flight', colour: 'goodput', mark: 'area', reads: { column: 'inFlight', unit: 'bytes' } },
    { label: 'advertised window', colour: 'window', mark: 'line', reads: { column: 'window', unit: 'bytes' } },
  ],
  spec({ data, window }) {
    const inFlight = largest(data['timeline']?.['inFlight']);
    const advertised = largest(data['timeline']?.['window']);
    if (inFlight === 0 && advertised === 0) return null;
    // A window far above what is in flight would press the data flat; a logarithmic axis shows both.
    const scale = inFlight > 0 && advertised > 8 * inFlight ? { type: 'symlog', constant: 10_000 } : { nice: true };
    const unit = axisUnit(Math.max(inFlight, advertised), 'B');
    const powers = [0, 1e5, 1e6, 1e7, 1e8, 1e9].filter((value) => value <= advertised);
    const axis = scale.type ? { title: null, values: powers, labelExpr: "format(datum.value, '~s')" } : valueAxis(unit);
    const y = { type: 'quantitative', axis, stack: null, scale };
    return {
      unit: scale.type ? 'B, logarithmic' : unit.unit,
      height: 130,
      left: 56,
      vegaLite: {
        ...frame(130, window),
        layer: [
          {
            data: { name: 'timeline' },
            mark: {
              type: 'area',
              interpolate: 'step-after',
              clip: true,
              color: colour('goodputFill'),
              line: { color: colour('goodput'), strokeWidth: 1, interpolate: 'step-after', clip: true },
            },
            encoding: { x: timeAxis('t'), y: { field: 'inFlight', ...y } },
          },
          {
            data: { name: 'timeline' },
            mark: { type: 'line', interpolate: 'step-after', clip: true, color: colour('window'), strokeWidth: 1.6 },
            encoding: { x: timeAxis('t'), y: { field: 'window', ...y } },
          },
          ...('rounds' in data ? [roundLines()] : []),
        ],
      } as never,
    };
  },
};
