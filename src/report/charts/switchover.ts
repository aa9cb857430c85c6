// Downtime waterfall: phases and devices of the switch-over in the order they crossed the wire.
import type { Chart } from './chart.js';
import { frame, largest, tip } from './frame.js';
import { colour } from './palette.js';

export const switchover: Chart = {
  id: 'switchover',
  title: 'Downtime waterfall',
  question: 'What filled the time in which the guest stood still?',
  needs: ['switchover'],
  axis: 'own',
  absent: 'The switch-over is not in the capture, or its sections could not be read.',
  legend: [
    { label: 'paused', colour: 'loss', mark: 'area' },
    { label: 'phase', colour: 'goodput', mark: 'area' },
    { label: 'device', colour: 'window', mark: 'area' },
  ],
  spec({ data }) {
    const height = Math.max(60, (data['switchover']?.['label']?.length ?? 0) * 20);
    // Room on the right for the longest label.
    const labelPx = 20 + 5.5 * Math.max(0, ...(data['switchover']?.['took'] ?? []).map((text) => String(text).length));
    const smallest = Math.min(0, ...(data['switchover']?.['start'] ?? []).map(Number));
    const y = {
      field: 'order',
      type: 'ordinal',
      scale: { padding: 0.2 },
      axis: {
        title: null,
        ticks: false,
        domain: false,
        grid: false,
        labelExpr: "data('switchover')[datum.value].label",
        labelLimit: 132,
      },
    };
    return {
      unit: 'ms since the guest stopped, as estimated',
      height,
      left: 140,
      vegaLite: {
        ...frame(height, null, { left: 140 }),
        data: { name: 'switchover' },
        layer: [
          {
            mark: { type: 'bar', cornerRadius: 1 },
            encoding: {
              x: {
                field: 'start',
                type: 'quantitative',
                scale: {
                  domain: [smallest, { expr: `${largest(data['switchover']?.['end'])} * (1 + ${labelPx} / width)` }],
                  nice: false,
                },
                axis: {
                  title: null,
                  labelExpr: "format(datum.value, ',~g')",
                  tickCount: { expr: 'max(2, ceil(width / 90))' },
                },
              },
              x2: { field: 'end' },
              y,
              color: {
                field: 'kind',
                type: 'nominal',
                legend: null,
                scale: {
                  domain: ['downtime', 'phase', 'device'],
                  range: [colour('loss'), colour('goodput'), colour('window')],
                },
              },
              tooltip: tip(),
            },
          },
          {
            mark: {
              type: 'text',
              baseline: 'middle',
              fontSize: 10,
              align: 'left',
              dx: 5,
              color: colour('ink'),
            },
            encoding: {
              x: { field: 'end', type: 'quantitative' },
              y,
              text: { field: 'took' },
            },
          },
        ],
      } as never,
    };
  },
};
