// Page heat map: guest memory from bottom to top, rounds from left to right, the darker the larger the part sent again.
import type { Chart } from './chart.js';
import { frame, largest, roundAxis, tip } from './frame.js';
import { colour } from './palette.js';

export const heatMap: Chart = {
  id: 'heat-map',
  title: 'Page heat map',
  question: 'Which parts of guest memory keep being dirtied?',
  needs: ['regions'],
  axis: 'own',
  absent: 'Page addresses could not be read, or none were recorded.',
  legend: [{ label: 'share of the pages sent in the round, the darker the more', colour: 'goodput', mark: 'area' }],
  spec({ data }) {
    const top = largest(data['regions']?.['y2']);
    const [unit, divisor] = top >= 2 ** 31 ? ['GiB', 2 ** 30] : ['MiB', 2 ** 20];
    return {
      unit: `address in ${unit}, RAM blocks end to end`,
      height: 260,
      left: 56,
      vegaLite: {
        ...frame(260, null),
        layer: [
          {
            data: { name: 'regions' },
            mark: { type: 'rect', strokeWidth: 0 },
            encoding: {
              x: roundAxis('x'),
              x2: { field: 'x2' },
              y: {
                field: 'y',
                type: 'quantitative',
                scale: { domain: [0, top], nice: false },
                axis: { title: null, grid: false, labelExpr: `format(datum.value / ${divisor}, ',~g')` },
              },
              y2: { field: 'y2' },
              color: {
                field: 'share',
                type: 'quantitative',
                legend: null,
                scale: { domain: [0, 1], range: [colour('grid'), colour('goodput')], interpolate: 'rgb' },
              },
              tooltip: tip(),
            },
          },
          {
            data: { name: 'blocks' },
            mark: { type: 'rule', color: colour('muted'), strokeDash: [2, 3], opacity: 0.7 },
            encoding: { y: { field: 'start', type: 'quantitative' } },
          },
          {
            data: { name: 'blocks' },
            mark: { type: 'text', align: 'right', baseline: 'bottom', dy: -2, fontSize: 10, color: colour('muted') },
            encoding: {
              x: { value: { expr: 'width - 4' } },
              y: { field: 'start', type: 'quantitative' },
              text: { field: 'name' },
            },
          },
        ],
      } as never,
    };
  },
};
