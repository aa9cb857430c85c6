// The shell of every page: one self-contained document that asks the network for nothing.
//
// Scripts and style are named by their hash in the content security policy, so nothing else can run. 'unsafe-eval' stays:
// Vega turns chart expressions into functions (its interpreter needs no eval but takes twice the time a step).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { MARGIN } from './charts/frame.js';
import { PALETTE } from './charts/palette.js';
import { Html, html, jsonForScript, lines } from './markup.js';

/** One chart as the viewer gets it: a compiled Vega specification and where its plot area lies. */
export interface PageChart {
  readonly id: string;
  readonly axis: 'time' | 'own';
  readonly left: number;
  /** px, with margins; reserved before the chart is drawn, so that nothing jumps. */
  readonly height: number;
  /** Columns of the timeline that 'top' is fitted to; null when the axis does not move. */
  readonly fit: readonly string[] | null;
  readonly spec: unknown;
}

export interface PageScene {
  readonly id: string;
  readonly window: readonly [number, number];
  readonly charts: readonly PageChart[];
  readonly data: unknown;
}

const assetText = (name: string): string => readFileSync(new URL(`./assets/${name}`, import.meta.url), 'utf8');

const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The document around `body`. */
export function renderPage(title: string, body: Html, scenes: readonly PageScene[]): string {
  // The package names only its module build; the runtime for browsers lies beside it.
  const vega = readFileSync(new URL('vega.min.js', `file://${createRequire(import.meta.url).resolve('vega')}`), 'utf8');
  const style = `${variables()}\n${assetText('page.css')}`;
  const viewer = assetText('viewer.js');
  const policy = [
    "default-src 'none'",
    `script-src ${hash(vega)} ${hash(viewer)} 'unsafe-eval'`,
    `style-src ${hash(style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  // The backslash keeps bundlers from replacing the template by a helper for pages that would embed this file.
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${new Html(style)}</style>
</head>
<body>
${body}
<footer><div class="wrap">${notices()}</div></footer>
<script type="application/json" id="page-data">${jsonForScript({ palette: PALETTE, margin: MARGIN, scenes })}<\/script>
<script>${new Html(vega)}<\/script>
<script>${new Html(viewer)}<\/script>
</body>
</html>
`.markup;
}

/** The palette as CSS variables for both themes. */
function variables(): string {
  const theme = (index: 0 | 1): string =>
    Object.entries(PALETTE)
      .map(([name, colours]) => `--${name}:${colours[index]}`)
      .join(';');
  return [
    `:root{color-scheme:light;${theme(0)}}`,
    `@media screen and (prefers-color-scheme:dark){:root:not([data-theme="light"]){color-scheme:dark;${theme(1)}}}`,
    `@media screen{:root[data-theme="dark"]{color-scheme:dark;${theme(1)}}}`,
  ].join('\n');
}

// vega.min.js carries no licence banner of its own; its licences and those of what is built into it ask for these texts.
const BUNDLED = [
  'vega',
  'd3-array',
  'd3-color',
  'd3-delaunay',
  'd3-dispatch',
  'd3-dsv',
  'd3-ease',
  'd3-force',
  'd3-format',
  'd3-geo',
  'd3-geo-projection',
  'd3-hierarchy',
  'd3-interpolate',
  'd3-path',
  'd3-quadtree',
  'd3-scale',
  'd3-scale-chromatic',
  'd3-shape',
  'd3-time',
  'd3-time-format',
  'd3-timer',
  'delaunator',
  'internmap',
  'robust-predicates',
  'topojson-client',
];

function notices(): Html {
  const byText = new Map<string, string[]>();
  for (const name of BUNDLED) {
    const text = licence(name);
    if (text !== null) byText.set(text, [...(byText.get(text) ?? []), name]);
  }
  return html`<details><summary>Licences of what this page contains</summary>
<pre>${[...byText].map(([text, names]) => lines(`${names.join(', ')}\n\n${text}\n\n\n`))}</pre></details>`;
}

/** The licence text of a package; null when it is not installed beside Vega, and so not in its bundle either. */
function licence(name: string): string | null {
  const require = createRequire(import.meta.url);
  for (const root of require.resolve.paths(name) ?? []) {
    for (const file of ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'UNLICENSE']) {
      try {
        return readFileSync(`${root}/${name}/${file}`, 'utf8').trim();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'ENOTDIR')
          throw error;
      }
    }
  }
  return null;
}
