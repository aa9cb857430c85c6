// Charts of a comparison: the runs on a clock that starts with each, and by round.
import type { Chart, LegendItem } from './chart.js';
import { axisUnit, frame, largest, roundAxis, TITLED_BOTTOM, timeAxis, tip, valueAxis } from './frame.js';
import { type Colour, colour } from './palette.js';
import type { Scene } from './scene.js';

const RUNS: readonly Colour[] = ['run0', 'run1', 'run2', 'run3', 'run4', 'run5'];

/** Colour of the nth run; they repeat after six. */
const runColour = (n: number): Colour => RUNS[n % RUNS.length]!;

/** Names of the runs in order, as the datasets carry them. */
const runsOf = ({ data }: Scene): string[] => (data['runs']?.['name'] ?? []).map(String);

const legendOf = (scene: Scene): LegendItem[] =>
  runsOf(scene).map((label, n) => ({ label, colour: runColour(n), mark: 'line' }));

const byRun = (scene: Scene) => ({
  field: 'run',
  type: 'nominal' as const,
  legend: null,
  scale: { domain: runsOf(scene), range: runsOf(scene).map((_, n) => colour(runColour(n))) },
});

const overlay: Chart = {
  id: 'overlay',
  title: 'Goodput on a common clock',
  question: 'Which run moved more, and when?',
  needs: ['goodput'],
  axis: 'time',
  absent: '',
  legend: [],
  spec(scene) {
    const unit = axisUnit(largest(scene.data['goodput']?.['rate']), 'bit/s');
    return {
      unit: `${unit.unit}, since the start of each run`,
      legend: legendOf(scene),
      height: 220,
      left: 56,
      vegaLite: {
        ...frame(220, scene.window),
        data: { name: 'goodput' },
        mark: { type: 'line', interpolate: 'step-after', clip: true, strokeWidth: 1.4 },
        encoding: {
          x: timeAxis('t'),
          y: { field: 'rate', type: 'quantitative', axis: valueAxis(unit), stack: null, scale: { nice: true } },
          color: byRun(scene),
        },
      } as never,
    };
  },
};

const progress: Chart = {
  id: 'progress',
  title: 'Data moved',
  question: 'Which run was ahead, and where did one stand still?',
  needs: ['goodput'],
  axis: 'time',
  absent: '',
  legend: [],
  spec(scene) {
    const unit = axisUnit(largest(scene.data['goodput']?.['sent']), 'B');
    return {
      unit: `${unit.unit}, each byte once`,
      legend: legendOf(scene),
      height: 200,
      left: 56,
      vegaLite: {
        ...frame(200, scene.window),
        data: { name: 'goodput' },
        mark: { type: 'line', clip: true, strokeWidth: 1.6 },
        encoding: {
          x: timeAxis('t'),
          y: { field: 'sent', type: 'quantitative', axis: valueAxis(unit), stack: null, scale: { nice: true } },
          color: byRun(scene),
        },
      } as never,
    };
  },
};

const ladders: Chart = {
  id: 'ladders',
  title: 'Round ladders',
  question: 'Did the rounds of each run shrink?',
  needs: ['rounds'],
  axis: 'time',
  absent: '',
  legend: [],
  spec(scene) {
    const max = largest(scene.data['rounds']?.['rate']);
    const unit = axisUnit(max, 'bit/s');
    return {
      unit: unit.unit,
      legend: legendOf(scene),
      height: 200,
      left: 56,
      vegaLite: {
        ...frame(200, scene.window),
        data: { name: 'rounds' },
        mark: { type: 'rect', clip: true, fillOpacity: 0.16, strokeWidth: 1.3 },
        encoding: {
          x: timeAxis('start'),
          x2: { field: 'end' },
          y: {
            field: 'rate',
            type: 'quantitative',
            axis: valueAxis(unit),
            stack: null,
            scale: { domain: [0, max * 1.1], nice: false },
          },
          y2: { datum: 0 },
          fill: byRun(scene),
          stroke: byRun(scene),
          tooltip: tip(),
        },
      } as never,
    };
  },
};

const perRound: Chart = {
  id: 'per-round',
  title: 'Sent in each round',
  question: 'How fast did what was left shrink?',
  needs: ['rounds'],
  axis: 'own',
  absent: '',
  legend: [],
  spec(scene) {
    const unit = axisUnit(largest(scene.data['rounds']?.['bytes']), 'B');
    return {
      unit: `${unit.unit}, square-root axis`,
      legend: legendOf(scene),
      height: 200,
      left: 56,
      vegaLite: {
        ...frame(200, null, { bottom: TITLED_BOTTOM }),
        data: { name: 'rounds' },
        mark: { type: 'line', point: { size: 26 }, strokeWidth: 1.6 },
        encoding: {
          x: roundAxis('index'),
          y: {
            field: 'bytes',
            type: 'quantitative',
            stack: null,
            scale: { type: 'sqrt', nice: true },
            axis: valueAxis(unit),
          },
          color: byRun(scene),
          tooltip: tip(),
        },
      } as never,
    };
  },
};

export const COMPARE_CHARTS: readonly Chart[] = [overlay, progress, ladders, perRound];
