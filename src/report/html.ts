// ReportData → one self-contained page. The same data gives the same bytes: no clock, no network, no second look at the
// capture. Charts are compiled here, so the page needs only Vega's runtime; this is the only user of vega and vega-lite.
import type { Config } from 'vega-lite';
import type { Chart } from './charts/chart.js';
import { CHARTS } from './charts/index.js';
import { connectionScene, flowScene, migrationScene, type Scene } from './charts/scene.js';
import { THEME } from './charts/theme.js';
import { bitRate, bytes, duration, endpoint, fileName, moment, percent, plain, plural, unbroken } from './format.js';
import { cell, type Html, html, numeric, sortableTable, text } from './markup.js';
import { type PageChart, type PageScene, renderPage } from './page.js';
import { pauseFigure } from './pause.js';
import type { Migration, ReportData } from './report.js';
import { bothEndsSection } from './sections/both-ends.js';
import { captureSection } from './sections/capture.js';
import { connectionsSection } from './sections/connections.js';
import { type Drawn, figureOf, figuresList, shareBar } from './sections/figure.js';
import { findingsSection, whyLine } from './sections/findings.js';
import { memorySection } from './sections/memory.js';
import { methodSection } from './sections/method.js';
import { modelsSection } from './sections/models.js';
import { switchSection } from './sections/switchover.js';
import { timeSection } from './sections/time.js';
import { flowsOf, migrationTraffic, payloadBytesOf, trafficOf } from './traffic.js';
import {
  captureNotes,
  excludedIn,
  extentFigures,
  findingsOf,
  keyFigures,
  noMigrationText,
  verdictOf,
} from './verdict.js';

/** Migrations that get charts; all are listed. */
const SCENES = 5;
const MIGRATION_ROWS = 300;
/** Connections and flows that get charts in a capture without migration. */
const PATH_SCENES = 3;
/** Rows of a table about a migration, over all that are shown. */
const SCENE_ROWS = 500;

/** The page as text. */
export async function renderHtml(report: ReportData): Promise<string> {
  const articles: Html[] = [];
  const scenes: PageScene[] = [];
  const shown = report.migrations.slice(0, SCENES);
  for (const migration of shown) {
    const drawn = await draw(migrationScene(report, migration, 1 / shown.length));
    scenes.push(drawn.page);
    articles.push(migrationArticle(report, migration, drawn, Math.round(SCENE_ROWS / shown.length)));
  }
  if (shown.length === 0) {
    articles.push(noMigrationArticle(report));
    for (const scene of largestScenes(report)) {
      const drawn = await draw(scene);
      if (drawn.figures.size === 0) continue;
      scenes.push(drawn.page);
      articles.push(pathArticle(drawn));
    }
  }
  const names = report.capture.inputs.map((input) => fileName(input.name)).join(', ');
  const [first] = shown;
  const body = html`<a class="skip" href="#main">Skip to the result</a>
<header class="top"><div class="wrap"><span class="brand">migscope</span><span class="source">${names}</span>
<nav aria-label="Sections">${shown.length > 1 ? html`<a href="#migrations">Migrations</a>` : ''}${first ? html`<a href="#m${first.id}-findings">Findings</a><a href="#m${first.id}-time">Charts</a>` : ''}<a href="#connections">Connections</a><a href="#capture">Capture</a><a href="#method">Method</a></nav>
<button type="button" class="quiet" id="theme">Light / dark</button></div></header>
<main class="wrap" id="main">
${report.migrations.length > 1 ? migrationsSection(report) : ''}
${articles}
${bothEndsSection(report)}
${connectionsSection(report)}
${captureSection(report)}
${methodSection(report)}
</main>`;
  return renderPage(`migscope: ${names}`, body, scenes);
}

/** The heaviest connections and flows of a capture without migration. */
function largestScenes(report: ReportData): Scene[] {
  const detail = 1 / PATH_SCENES;
  const paths = [
    ...report.connections.map((connection) => ({
      bytes: payloadBytesOf(connection),
      scene: () => connectionScene(report, connection, detail),
    })),
    ...report.flows.map((flow) => ({
      bytes: flow.directions[0].payloadBytes + flow.directions[1].payloadBytes,
      scene: () => flowScene(report, flow, detail),
    })),
  ];
  return paths
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, PATH_SCENES)
    .map(({ scene }) => scene());
}

/** Compiles the charts a scene has data for. */
export async function draw(scene: Scene, charts: readonly Chart[] = CHARTS): Promise<Drawn> {
  // Loaded here and not above: the compiler takes longer to load than most captures to analyse.
  const { compile } = await import('vega-lite');
  const compiled: PageChart[] = [];
  const figures = new Map<string, Html>();
  const absent: string[] = [];
  const used = new Set<string>();
  for (const chart of charts) {
    const spec = chart.needs.every((name) => name in scene.data) ? chart.spec(scene) : null;
    if (spec === null) {
      if (chart.absent !== '' && scene.migration !== null) absent.push(`${chart.title}: ${chart.absent}`);
      continue;
    }
    const vega = compile(spec.vegaLite, { config: THEME as unknown as Config }).spec;
    for (const name of [...(vega.data ?? []).map((data) => data.name), ...(chart.steering ?? [])]) used.add(name);
    compiled.push({
      id: chart.id,
      axis: chart.axis,
      left: spec.left,
      height: heightOf(vega),
      fit: spec.fit ?? null,
      spec: vega,
    });
    figures.set(chart.id, figureOf(scene, chart, spec));
  }
  const data = Object.fromEntries(Object.entries(scene.data).filter(([name]) => used.has(name)));
  return { scene, page: { id: scene.id, window: scene.window, charts: compiled, data }, figures, absent };
}

/** px from the top margin to the bottom one. */
function heightOf({ height, padding }: { height?: unknown; padding?: unknown }): number {
  const { top, bottom } = padding as { top: number; bottom: number };
  return Number(height) + top + bottom;
}

function migrationArticle(report: ReportData, migration: Migration, drawn: Drawn, rows: number): Html {
  const verdict = verdictOf(report, migration);
  const traffic = migrationTraffic(report, migration);
  const transport = flowsOf(report, migration)[0]?.transport ?? 'plain TCP';
  const facts = [
    migration.stream.machineType,
    migration.encryption === 'none' ? transport : migration.encryption === 'tls' ? 'TLS' : 'TLS, decrypted',
    ...migration.stream.features.filter((feature) => feature !== 'tls'),
    plural(migration.connections.length, 'connection'),
  ].filter((fact) => fact !== null);
  // What was ruled out is asked of all transfers together, so it is only said where there is one.
  const excluded = report.migrations.length === 1 ? excludedIn(report) : [];
  const findings = findingsOf(report, migration.id);
  const findingsId = `${drawn.scene.id}-findings`;
  return html`<article class="scene" id="${drawn.scene.id}">
<p class="path">${report.migrations.length > 1 ? `Migration ${migration.id}: ` : ''}${drawn.scene.title} · ${facts.map((fact) => plain(fact, 60)).join(' · ')}</p>
<div class="verdict"><span class="chip ${verdict.tone}">${verdict.outcome}</span><h1>${unbroken(verdict.headline)}</h1></div>
${whyLine(findings, findingsId)}
${figuresList(keyFigures(report, migration))}
${findingsSection(findings, traffic, excluded, findingsId)}
${timeSection(drawn)}
${memorySection(report, migration, drawn, rows)}
${switchSection(migration, drawn, rows)}
${modelsSection(migration)}
${absentList(drawn)}
</article>`;
}

const absentList = ({ absent }: Drawn): Html =>
  absent.length === 0
    ? html``
    : html`<section><h2>Not shown</h2><ul class="absent">${absent.map((reason) => html`<li>${reason}</li>`)}</ul></section>`;

function noMigrationArticle(report: ReportData): Html {
  const n = report.connections.length;
  const notes = captureNotes(report);
  const findings = findingsOf(report, null).filter((finding) => !notes.includes(finding));
  return html`<article class="scene"><div class="verdict"><span class="chip warn">no migration</span><h1>${unbroken(noMigrationText(report))}</h1></div>
${findings.length > 0 ? findingsSection(findings, null, excludedIn(report), 'findings') : ''}
${n + report.flows.length > 0 ? html`<p class="path">The largest connections and flows, as their packets show them:</p>` : ''}</article>`;
}

function pathArticle(drawn: Drawn): Html {
  const { scene } = drawn;
  const [carrier] = scene.carriers;
  const head = html`<p class="path">${scene.kind}</p><div class="verdict"><h1>${scene.title}</h1></div>`;
  if (!carrier) return html`<article class="scene" id="${scene.id}">${head}${timeSection(drawn)}</article>`;
  const spanNs = carrier.connection.endNs - carrier.connection.startNs;
  const traffic = trafficOf([carrier], spanNs);
  const figures = [
    { label: 'Data', value: bytes(traffic.uniqueBytes), note: `in ${duration(spanNs)}` },
    { label: 'Goodput', value: bitRate(traffic.goodput), note: '' },
    { label: 'Round-trip time', value: duration(traffic.rttP50Ns), note: `best ${duration(traffic.rttMinNs)}` },
    {
      label: 'Retransmitted',
      value: percent(traffic.retransmittedShare),
      note: plural(traffic.retransmittedSegments ?? 0, 'segment'),
    },
  ];
  return html`<article class="scene" id="${scene.id}">${head}${figuresList(figures)}
${traffic.limits.length > 0 ? html`<section><h2>What held the sender back</h2>${shareBar(traffic.limits)}</section>` : ''}
${timeSection(drawn)}</article>`;
}

/** All migrations of a capture with several: what became of each, and where its charts are. */
function migrationsSection(report: ReportData): Html {
  const { migrations } = report;
  return html`<section id="migrations"><h2>${plural(migrations.length, 'migration')}</h2>${sortableTable(
    'Migrations in this capture',
    [
      numeric('Id'),
      text('Path'),
      text('Outcome'),
      numeric('Start'),
      numeric('Took'),
      numeric('Rounds'),
      numeric('Downtime'),
    ],
    migrations.map((migration, i) => {
      const { id, outcome, startNs, endNs, rounds, downtime } = migration;
      const path = pathOf(migration);
      const figures = extentFigures(report, migration);
      return [
        cell(String(id), id),
        cell(i < SCENES ? html`<a href="#m${id}">${path}</a>` : path, path),
        cell(outcome),
        cell(moment(startNs), startNs),
        cell(figures.took, endNs - startNs),
        cell(figures.rounds, rounds.length),
        cell(downtime ? pauseFigure(downtime) : '–', downtime?.estimateNs ?? null),
      ];
    }),
    MIGRATION_ROWS,
  )}</section>`;
}

const pathOf = ({ source, destination, port }: Migration): string =>
  `${plain(source, 60)} → ${endpoint({ address: destination, port })}`;
