// Everything on the shared time axis, under the strip that moves it.
import { type Html, html } from '../markup.js';
import type { Drawn } from './figure.js';

const TIME_CHARTS = [
  'ladder',
  'rounds-band',
  'rate',
  'limits-band',
  'window',
  'rtt',
  'losses',
  'remaining',
  'requests',
  'channels',
  'sequence',
];

export function timeSection({ figures, scene }: Drawn): Html {
  const shown = TIME_CHARTS.map((id) => figures.get(id)).filter((figure) => figure !== undefined);
  if (shown.length === 0) return html``;
  return html`<section id="${scene.id}-time"><h2>Over time</h2>
<p class="lead">All charts share one time axis, in seconds since the capture’s first frame. Drag over a chart to zoom in, double-click to see the whole run; Ctrl + wheel zooms, Shift + wheel moves. With a chart in focus: arrows move, + and − zoom, 0 resets.</p>
${figures.get('overview') ?? ''}${shown}</section>`;
}
