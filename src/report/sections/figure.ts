// Charts as figures, shares as bars, headline numbers: the pieces that several sections are made of.
import type { Chart, ChartSpec } from '../charts/chart.js';
import { LIMIT_COLOURS } from '../charts/limits-band.js';
import type { Scene } from '../charts/scene.js';
import { percent, unbroken } from '../format.js';
import { type Html, html } from '../markup.js';
import type { PageScene } from '../page.js';
import type { Traffic } from '../traffic.js';
import { type Figure, LIMIT_WORDS } from '../verdict.js';

/** A scene's charts, compiled and as figures, and the reasons why others are absent. */
export interface Drawn {
  readonly scene: Scene;
  readonly page: PageScene;
  readonly figures: ReadonlyMap<string, Html>;
  readonly absent: readonly string[];
}

export function figureOf(
  scene: Scene,
  chart: Chart,
  { unit, legend = chart.legend, bare = false, fit }: ChartSpec,
): Html {
  const id = `${scene.id}-${chart.id}`;
  if (chart.id === 'overview') {
    return html`<div class="strip" id="${id}">
<div class="bar"><output></output><span class="at"></span><button type="button" class="quiet reset" hidden>Whole run</button></div>
<div class="plot"><div class="canvas"></div><div class="range"><span class="handle from" role="slider" tabindex="0" aria-label="Start of the stretch shown"></span><span class="handle to" role="slider" tabindex="0" aria-label="End of the stretch shown"></span></div></div></div>`;
  }
  const time = chart.axis === 'time';
  return html`<figure class="chart ${time ? 'time' : 'own'}${bare ? ' bare' : ''}" id="${id}">
<figcaption><h3>${chart.title}</h3>${unit === '' ? '' : html`<span class="unit">${unit}</span>`}${fit ? html`<span class="unit cut" hidden></span>` : ''}<span class="question">${chart.question}</span>
${legend.length === 0 ? '' : html`<span class="legend">${legend.map(legendItem)}</span>`}</figcaption>
<div class="plot"${time ? html` tabindex="0"` : ''} role="img" aria-label="${chart.title}. ${chart.question}"><div class="canvas"></div>${
    time ? html`<div class="mark" hidden></div><div class="brush" hidden></div><div class="cursor" hidden></div>` : ''
  }</div></figure>`;
}

function legendItem(item: Chart['legend'][number]): Html {
  const colour = `var(--${item.colour})`;
  const shapes: Record<typeof item.mark, Html> = {
    area: html`<rect width="12" height="10" fill="${colour}"/>`,
    line: html`<path d="M0 5h12" stroke="${colour}" stroke-width="2.4"/>`,
    dash: html`<path d="M6 0v10" stroke="${colour}" stroke-width="1.4" stroke-dasharray="2 2"/>`,
    label: html`<text x="0" y="9" font-size="10" fill="${colour}">12</text>`,
    tick: html`<path d="M6 0v10" stroke="${colour}" stroke-width="2.4"/>`,
  };
  return html`<span class="item"><svg class="swatch" viewBox="0 0 12 10" aria-hidden="true">${shapes[item.mark]}</svg>${item.label}${
    item.reads ? html` <b data-reads="${item.reads.column}" data-unit="${item.reads.unit}"></b>` : ''
  }</span>`;
}

export const figuresList = (figures: readonly Figure[]): Html =>
  html`<dl class="figures">${figures.map(
    ({ label, value, note }) =>
      html`<div><dt>${label}</dt><dd class="value${/^[a-z]/.test(value) ? ' words' : ''}">${value}</dd><dd class="note">${unbroken(note)}</dd></div>`,
  )}</dl>`;

/** Shares of sending time as one bar with its legend. */
export function shareBar(limits: Traffic['limits'], label = 'Shares of the sending time'): Html {
  let at = 0;
  const parts = limits.map(([limit, share]) => {
    const x = at;
    at += share * 1000;
    return html`<rect x="${x.toFixed(2)}" width="${(share * 1000).toFixed(2)}" height="16" fill="var(--${LIMIT_COLOURS[limit]})"><title>${LIMIT_WORDS[limit]}: ${percent(share)}</title></rect>`;
  });
  const legend = limits
    .filter(([, share]) => share >= 0.005)
    .map(
      ([limit, share]) =>
        html`<span class="item"><svg class="swatch" viewBox="0 0 12 10" aria-hidden="true"><rect width="12" height="10" fill="var(--${LIMIT_COLOURS[limit]})"/></svg>${LIMIT_WORDS[limit]} <b>${percent(share)}</b></span>`,
    );
  return html`<svg class="share" viewBox="0 0 1000 16" preserveAspectRatio="none" role="img" aria-label="${label}">${parts}</svg>
<div class="legend flush">${legend}</div>`;
}
