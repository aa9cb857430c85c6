// Page heat map: guest memory from bottom to top, rounds from left to right, the stronger the colour the larger the part sent.
import type { Chart } from './chart.js';
import { binaryTicks, frame, largest, memoryUnit, roundAxis, TITLED_BOTTOM, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

export const heatMap: Chart = {
  id: 'heat-map',
  title: 'Page heat map',
  question: 'Which parts of guest memory keep being dirtied?',
  needs: ['regions'],
  axis: 'own',
  absent: 'Page addresses could not be read, or none were recorded.',
  legend: [{ label: 'stronger colour: more of the pages sent in the round', colour: 'goodput', mark: 'area' }],
  spec({ data }) {
    const top = largest(data['regions']?.['y2']);
    const unit = memoryUnit(top);
    const scale = { domain: [0, 1], range: [colour('grid'), colour('goodput')], interpolate: 'rgb' };
    return {
      unit: `${unit.unit}, RAM blocks end to end`,
      height: 240,
      left: 56,
      vegaLite: {
        ...frame(240, null, { bottom: TITLED_BOTTOM }),
        layer: [
          {
            data: { name: 'regions' },
            // The stroke closes the seams between neighbouring cells.
            mark: { type: 'rect', strokeWidth: 1 },
            encoding: {
              x: roundAxis('x'),
              x2: { field: 'x2' },
              y: {
                field: 'y',
                type: 'quantitative',
                scale: { domain: [0, top], nice: false },
                axis: valueAxis(unit, { grid: false, values: binaryTicks(top, unit.divisor, 6) }),
              },
              y2: { field: 'y2' },
              color: {
                field: 'share',
                type: 'quantitative',
                legend: null,
                scale,
              },
              stroke: { field: 'share', type: 'quantitative', legend: null, scale },
              tooltip: tip(),
            },
          },
          {
            data: { name: 'blocks' },
            transform: [{ filter: `datum.start < ${top * 0.94}` }],
            mark: { type: 'rule', color: colour('muted'), strokeDash: [2, 3], opacity: 0.7 },
            encoding: { y: { field: 'start', type: 'quantitative' } },
          },
          {
            data: { name: 'blocks' },
            transform: [{ filter: `datum.start < ${top * 0.94}` }],
            mark: { type: 'text', align: 'right', baseline: 'bottom', dy: -2, fontSize: 10, color: colour('ink') },
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
