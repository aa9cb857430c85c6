// Everything on the shared time axis, under the strip that moves it.

import { channelLabel } from '../charts/data/transfer.js';
import type { Scene } from '../charts/scene.js';
import { moment, plural } from '../format.js';
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
<p class="lead">All charts share one time axis: time since the capture’s first frame. <span class="by-hand">Drag over a chart to zoom in, double-click to see the whole run; Ctrl + wheel zooms, Shift + wheel moves. With a chart in focus: arrows move, + and − zoom, 0 resets.</span></p>
${figures.get('overview') ?? ''}${shown}${figures.has('sequence') ? closeUps(scene) : ''}</section>`;
}

/** Links to the stretches of which the time-sequence graph shows single segments. */
function closeUps({ id, data, carriers }: Scene): Html {
  const { stretch = [], from = [], to = [], connection = [], resent = [], why = [] } = data['stretches'] ?? {};
  const shown = from.map((_, i) => i).sort((a, b) => Number(from[a]) - Number(from[b]));
  if (shown.length === 0) return html``;
  const label = (i: number): string => {
    const one = carriers.find((carrier) => carrier.connection.id === connection[i]);
    const channel = carriers.length > 1 && one ? `${channelLabel(one)}, ` : '';
    const what = Number(resent[i]) > 0 ? plural(Number(resent[i]), 'retransmission') : why[i];
    return `${moment(Number(from[i]) * 1e9)}: ${channel}${what}`;
  };
  return html`<div class="close-ups"><p class="note by-hand">Single segments are kept of these stretches; choosing one zooms in on it, and the time-sequence graph then shows them one by one. Those of any other stretch: <span class="whole">analyze --stretch FROM..TO</span>.</p>
<div class="proofs">${shown.map(
    (i) =>
      html`<button type="button" class="proof" data-proof="${id}" data-stay="" data-stretch="${stretch[i]!}" data-from="${from[i]!}" data-to="${to[i]!}">${label(i)}</button>`,
  )}</div></div>`;
}
