// Who held the sender back, as a stacked band over time.
import { LIMITS, type Limit } from '../../decode/tcp/results.js';
import { LIMIT_WORDS } from '../verdict.js';
import type { Chart } from './chart.js';
import { BARE_BOTTOM, frame, timeAxis, tip } from './frame.js';
import { type Colour, colour } from './palette.js';

export const LIMIT_COLOURS: Readonly<Record<Limit, Colour>> = {
  'sender-application': 'senderApplication',
  'rate-limit': 'rateLimit',
  'receiver-window': 'receiverWindow',
  congestion: 'congestion',
  recovery: 'recovery',
  'send-buffer': 'sendBuffer',
  idle: 'idle',
};

const LEGEND = LIMITS.map((limit) => ({
  label: LIMIT_WORDS[limit],
  colour: LIMIT_COLOURS[limit],
  mark: 'area' as const,
}));
const COLOURS = { domain: [...LIMITS], range: LIMITS.map((limit) => colour(LIMIT_COLOURS[limit])) };

export const limitsBand: Chart = {
  id: 'limits-band',
  title: 'What held the sender back',
  question: 'Which limit ruled at each moment?',
  needs: ['limits'],
  axis: 'time',
  absent: 'What held the sender back cannot be told from this capture.',
  legend: LEGEND,
  spec: ({ data, window }) => ({
    unit: '',
    legend: LEGEND.filter((_, i) => data['limits']?.['limit']?.includes(LIMITS[i]!)),
    height: 40,
    left: 56,
    bare: true,
    vegaLite: {
      ...frame(40, window, { bottom: BARE_BOTTOM }),
      data: { name: 'limits' },
      // The stroke closes the seams between neighbouring bins.
      mark: { type: 'rect', clip: true, strokeWidth: 0.6 },
      encoding: {
        x: { ...timeAxis('t'), axis: null },
        x2: { field: 't2' },
        y: { field: 'low', type: 'quantitative', scale: { domain: [0, 1] }, axis: null },
        y2: { field: 'high' },
        color: {
          field: 'limit',
          type: 'nominal',
          legend: null,
          scale: COLOURS,
        },
        stroke: { field: 'limit', type: 'nominal', legend: null, scale: COLOURS },
        tooltip: tip(),
      },
    } as never,
  }),
};
