// Page kinds per round: how many pages went in full, compressed, as a delta, or as a zero mark.
import type { Chart, LegendItem } from './chart.js';
import { frame, largest, roundAxis, TITLED_BOTTOM, tip, valueAxis } from './frame.js';
import { colour } from './palette.js';

const KINDS = ['normal', 'compressed', 'xbzrle', 'zero'] as const;
const COLOURS = [colour('goodput'), colour('compressed'), colour('xbzrle'), colour('zero')];

const LEGEND: readonly LegendItem[] = [
  { label: 'full', colour: 'goodput', mark: 'area' },
  { label: 'compressed', colour: 'compressed', mark: 'area' },
  { label: 'XBZRLE', colour: 'xbzrle', mark: 'area' },
  { label: 'zero', colour: 'zero', mark: 'area' },
];

export const pageKinds: Chart = {
  id: 'page-kinds',
  title: 'Page kinds per round',
  question: 'How much of each round was real data?',
  needs: ['kinds'],
  axis: 'own',
  absent: 'Page records could not be read.',
  legend: LEGEND,
  spec({ data }) {
    const max = largest(data['kinds']?.['high']);
    const unit =
      max >= 2e6
        ? { unit: 'million pages', divisor: 1e6 }
        : max >= 2e4
          ? { unit: 'thousand pages', divisor: 1e3 }
          : { unit: 'pages', divisor: 1 };
    return {
      unit: unit.unit,
      legend: LEGEND.filter((_, i) => data['kinds']?.['kind']?.includes(KINDS[i]!)),
      height: 240,
      left: 56,
      vegaLite: {
        ...frame(240, null, { bottom: TITLED_BOTTOM }),
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
