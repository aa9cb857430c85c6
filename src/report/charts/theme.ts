// How all charts look: type, axes, grid. Colours are palette names that the viewer resolves.
import { colour } from './palette.js';

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** Vega-Lite configuration for every chart of the page. */
export const THEME = {
  background: 'transparent',
  font: FONT,
  view: { stroke: null },
  axis: {
    labelColor: colour('muted'),
    labelFontSize: 11,
    labelPadding: 4,
    titleColor: colour('muted'),
    tickColor: colour('line'),
    tickSize: 4,
    domainColor: colour('line'),
    gridColor: colour('grid'),
  },
  axisY: { domain: false, ticks: false },
  text: { color: colour('ink') },
} as const;
