// Page kinds per round: how many pages went in full, compressed, as a delta, or as a zero mark.
import type { Chart } from './chart.js';
import { axisUnit, frame, largest, roundAxis, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

const KINDS = ['normal', 'compressed', 'xbzrle', 'zero'] as const;
const COLOURS = [colour('goodput'), colour('compressed'), colour('xbzrle'), colour('zero')];

export const pageKinds: Chart = {
  id: 'page-kinds',
  title: 'Page kinds per round',
  question: 'How much of each round was real data?',
  needs: ['kinds'],
  axis: 'own',
  absent: 'Page records could not be read.',
  legend: [
    { label: 'full', colour: 'goodput', mark: 'area' },
    { label: 'compressed', colour: 'compressed', mark: 'area' },
    { label: 'XBZRLE', colour: 'xbzrle', mark: 'area' },
    { label: 'zero', colour: 'zero', mark: 'area' },
  ],
  spec({ data }) {
    const unit = axisUnit(largest(data['kinds']?.['high']), ' pages');
    return {
      unit: unit.unit.trim(),
      height: 170,
      left: 56,
      vegaLite: {
        ...frame(170, null),
        data: { name: 'kinds' },
        transform: [
          { calculate: 'datum.round - 0.42', as: 'x1' },
          { calculate: 'datum.round + 0.42', as: 'x2' },
        ],
        mark: { type: 'rect', strokeWidth: 0 },
        encoding: {
          x: roundAxis('x1'),
          x2: { field: 'x2' },
          y: { field: 'low', type: 'quantitative', axis: valueAxis(unit), scale: { nice: true } },
          y2: { field: 'high' },
          color: { field: 'kind', type: 'nominal', legend: null, scale: { domain: [...KINDS], range: COLOURS } },
          tooltip: tip(),
        },
      } as never,
    };
  },
};
