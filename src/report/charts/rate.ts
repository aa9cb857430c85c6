// Throughput and goodput over time, with round boundaries and retransmissions marked.
import type { Chart, LegendItem } from './chart.js';
import {
  axisUnit,
  binSecondsOf,
  fitted,
  frame,
  largest,
  roundLines,
  stepped,
  timeAxis,
  usual,
  valueAxis,
} from './frame.js';
import { colour } from './palette.js';

const WIRE_LEGEND: readonly LegendItem[] = [
  { label: 'on the wire', colour: 'goodput', mark: 'area', reads: { column: 'goodput', unit: 'bit/s' } },
  { label: 'peak of a bin', colour: 'peak', mark: 'area' },
];

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
    { label: 'peak of a bin', colour: 'peak', mark: 'area' },
    { label: 'retransmitted', colour: 'loss', mark: 'tick', reads: { column: 'lost', unit: 'bytes' } },
    { label: 'round begins', colour: 'muted', mark: 'dash' },
  ],
  spec(scene) {
    const { data, window } = scene;
    const throughput = data['timeline']?.['throughput'];
    const unit = axisUnit(usual(throughput), 'bit/s');
    const y = { type: 'quantitative', axis: valueAxis(unit), stack: null, scale: fitted };
    const x = timeAxis('b');
    return {
      unit: unit.unit,
      // Without carriers the scene is a flow of another transport: what is new among its bytes is not visible.
      ...(scene.carriers.length === 0 ? { legend: WIRE_LEGEND } : {}),
      fit: ['throughput'],
      height: 190,
      left: 56,
      vegaLite: {
        ...frame(190, window, { top: largest(throughput), binSeconds: binSecondsOf(scene) }),
        layer: [
          {
            data: { name: 'timeline' },
            transform: stepped({ rates: ['goodput', 'throughput'], max: ['throughput'] }),
            layer: [
              {
                mark: { type: 'rect', clip: true, color: colour('peak') },
                encoding: { x, x2: { field: 'b2' }, y: { field: 'throughputTop', ...y }, y2: { datum: 0 } },
              },
              {
                mark: {
                  type: 'area',
                  interpolate: 'step-after',
                  clip: true,
                  color: colour('goodputFill'),
                  opacity: 1,
                  line: { color: colour('goodput'), strokeWidth: 1.2, interpolate: 'step-after', clip: true },
                },
                encoding: { x, y: { field: 'goodput', ...y } },
              },
              {
                mark: {
                  type: 'line',
                  interpolate: 'step-after',
                  clip: true,
                  color: colour('throughput'),
                  strokeWidth: 1,
                },
                encoding: { x, y: { field: 'throughput', ...y } },
              },
            ],
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
