// The contract of a chart: the question it answers, the data it needs, and a Vega-Lite specification from them.
//
// A chart is a pure function of a scene and returns null when the scene lacks what it needs; the page then says why.
// Specifications name datasets; the page holds each dataset once and hands it to all charts that ask for it.
import type { TopLevelSpec } from 'vega-lite';
import type { Colour } from './palette.js';
import type { Scene } from './scene.js';

export interface LegendItem {
  readonly label: string;
  readonly colour: Colour;
  readonly mark: 'area' | 'line' | 'dash' | 'tick' | 'label';
  /** Column of the timeline whose value under the pointer is shown beside the label. */
  readonly reads?: { readonly column: string; readonly unit: 'bit/s' | 'bytes' | 's' | 'count' };
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  /** The question it answers, for readers and screen readers. */
  readonly question: string;
  /** Datasets of the scene it draws; without any of them it stays away. */
  readonly needs: readonly string[];
  /** Datasets that only the viewer reads, to set the chart's parameters. */
  readonly steering?: readonly string[];
  /** On the shared time axis, or on axes of its own. */
  readonly axis: 'time' | 'own';
  /** What the page says when the data is not there. */
  readonly absent: string;
  readonly legend: readonly LegendItem[];
  /** Null when the scene has not enough to draw. */
  spec(scene: Scene): ChartSpec | null;
}

export interface ChartSpec {
  readonly vegaLite: TopLevelSpec;
  /** Unit of the vertical axis, written beside the title. */
  readonly unit: string;
  /** What of the legend applies to this scene; absent = all of it. */
  readonly legend?: readonly LegendItem[];
  /** True where the horizontal axis is left to the neighbours. */
  readonly bare?: boolean;
  /** Columns of the timeline that the vertical axis is fitted to within the window; the specification has a parameter 'top'. */
  readonly fit?: readonly string[];
  /** px, without the axis. */
  readonly height: number;
  /** px for the labels of the vertical axis. */
  readonly left: number;
}
