// Losses and other disturbances: one lane a kind, episodes as bars, single segments as ticks.
import type { Chart } from './chart.js';
import { frame, timeAxis, tip } from './frame.js';
import { type Colour, colour } from './palette.js';

const LANES: readonly (readonly [string, Colour])[] = [
  ['recovery', 'lossSoft'],
  ['resent', 'loss'],
  ['timeout', 'recovery'],
  ['lost', 'rtt'],
  ['reorder', 'dirty'],
  ['window', 'window'],
  ['silent', 'senderApplication'],
  ['capture', 'muted'],
];
const LANE_HEIGHT = 18;

const lane = (labels: readonly string[]) => ({
  field: 'lane',
  type: 'nominal',
  scale: { domain: labels, paddingInner: 0.25, paddingOuter: 0.1 },
  axis: { title: null, grid: false, labelLimit: 54, labelFontSize: 10, ticks: false, domain: false },
});

export const losses: Chart = {
  id: 'losses',
  title: 'Losses, timeouts, reordering',
  question: 'When did the network or the capture disturb the flow?',
  needs: ['events'],
  axis: 'time',
  absent: 'No loss, timeout, reordering or closed window was seen.',
  legend: [],
  spec({ data, window }) {
    const used = new Set([...(data['events']?.['lane'] ?? []), ...(data['episodes']?.['lane'] ?? [])]);
    const lanes = LANES.filter(([name]) => used.has(name));
    if (lanes.length === 0) return null;
    const labels = lanes.map(([name]) => name);
    const color = {
      field: 'lane',
      type: 'nominal',
      legend: null,
      scale: { domain: labels, range: lanes.map(([, name]) => colour(name)) },
    };
    const height = lanes.length * LANE_HEIGHT + 4;
    return {
      unit: '',
      height,
      left: 56,
      vegaLite: {
        ...frame(height, window),
        layer: [
          ...(data['episodes']
            ? [
                {
                  data: { name: 'episodes' },
                  mark: { type: 'bar', clip: true, minBandSize: 2 },
                  encoding: { x: timeAxis('t'), x2: { field: 't2' }, y: lane(labels), color, tooltip: tip() },
                },
              ]
            : []),
          {
            data: { name: 'events' },
            mark: { type: 'tick', clip: true, thickness: 1.4, size: 12 },
            encoding: { x: timeAxis('t'), y: lane(labels), color, tooltip: tip() },
          },
        ],
      } as never,
    };
  },
};
