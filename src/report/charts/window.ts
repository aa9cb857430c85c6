// Bytes in flight against the window the receiver advertised.
import type { Chart } from './chart.js';
import { axisUnit, binSecondsOf, frame, largest, median, roundLines, stepped, timeAxis, valueAxis } from './frame.js';
import { colour } from './palette.js';

const POWERS = [1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const POWER_LABEL =
  "datum.value >= 1e9 ? datum.value / 1e9 + ' GB' : datum.value >= 1e6 ? datum.value / 1e6 + ' MB' : datum.value > 0 ? datum.value / 1e3 + ' kB' : '0'";

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
  spec(scene) {
    const { data, window } = scene;
    const inFlight = largest(data['timeline']?.['inFlight']);
    const advertised = largest(data['timeline']?.['window']);
    if (inFlight === 0 && advertised === 0) return null;
    // A window far above what is usually in flight would press the data flat; a logarithmic axis shows both.
    const logarithmic = advertised > 8 * median(data['timeline']?.['inFlight']);
    const top = Math.max(inFlight, advertised);
    const unit = axisUnit(top, 'B');
    const y = {
      type: 'quantitative',
      stack: null,
      axis: logarithmic
        ? { title: null, values: [0, ...POWERS.filter((value) => value <= top)], labelExpr: POWER_LABEL }
        : valueAxis(unit),
      scale: logarithmic ? { type: 'symlog', constant: 3000, domain: [0, top * 1.4], nice: false } : { nice: true },
    };
    const x = timeAxis('b');
    return {
      unit: logarithmic ? 'logarithmic' : unit.unit,
      height: 130,
      left: 56,
      vegaLite: {
        ...frame(130, window, { binSeconds: binSecondsOf(scene) }),
        layer: [
          {
            data: { name: 'timeline' },
            transform: stepped({ max: ['inFlight'] }),
            layer: [
              {
                mark: { type: 'rect', clip: true, color: colour('goodputFill') },
                encoding: { x, x2: { field: 'b2' }, y: { field: 'inFlightTop', ...y }, y2: { datum: 0 } },
              },
              {
                mark: { type: 'rule', clip: true, color: colour('goodput'), strokeWidth: 1.2, strokeCap: 'square' },
                encoding: { x, x2: { field: 'b2' }, y: { field: 'inFlightTop', ...y } },
              },
            ],
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
