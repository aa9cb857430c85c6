// Balance of the channels: a lane each, the darker the faster.
import type { Chart } from './chart.js';
import { frame, timeAxis, tip } from './frame.js';
import { colour } from './palette.js';

export const channels: Chart = {
  id: 'channels',
  title: 'Channels',
  question: 'Did all channels carry their part, or did one set the pace?',
  needs: ['channels'],
  axis: 'time',
  absent: 'One connection carries the stream; there is nothing to balance.',
  legend: [{ label: 'stronger colour: faster', colour: 'goodput', mark: 'area' }],
  spec({ data, window }) {
    const labels = [...new Set(data['channels']?.['channel'] ?? [])];
    const height = Math.min(320, Math.max(40, labels.length * 18));
    const scale = { zero: true, range: [colour('grid'), colour('goodput')], interpolate: 'rgb' };
    return {
      unit: '',
      height,
      left: 56,
      vegaLite: {
        ...frame(height, window),
        data: { name: 'channels' },
        // The stroke closes the seams between neighbouring bins.
        mark: { type: 'rect', clip: true, strokeWidth: 0.6 },
        encoding: {
          x: timeAxis('t'),
          x2: { field: 't2' },
          y: {
            field: 'channel',
            type: 'nominal',
            scale: { domain: labels, padding: 0.12 },
            axis: { title: null, labelLimit: 54, labelFontSize: 10, ticks: false, domain: false, labelOverlap: true },
          },
          color: {
            field: 'rate',
            type: 'quantitative',
            legend: null,
            scale,
          },
          stroke: { field: 'rate', type: 'quantitative', legend: null, scale },
          tooltip: tip(),
        },
      } as never,
    };
  },
};
