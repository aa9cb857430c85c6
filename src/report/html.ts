// ReportData → one self-contained page. The same data gives the same bytes: no clock, no network, no second look at the
// capture. Charts are compiled here, so the page needs only Vega's runtime; this is the only user of vega and vega-lite.
import type { Config } from 'vega-lite';
import { ANOMALIES, type Anomaly } from '../anomaly.js';
import type { Limit } from '../decode/tcp/results.js';
import type { UdpFlow } from '../decode/udp/results.js';
import type { Chart, ChartSpec } from './charts/chart.js';
import { CHARTS } from './charts/index.js';
import { LIMIT_COLOURS } from './charts/limits-band.js';
import { channelLabel, connectionScene, migrationScene, type Scene } from './charts/scene.js';
import { THEME } from './charts/theme.js';
import { bitRate, bytes, count, digits, duration, endpoint, memory, moment, percent, plain, plural } from './format.js';
import { type Cell, type Html, html, sortableTable, type TableColumn } from './markup.js';
import { MODELS } from './models/index.js';
import { type PageChart, type PageScene, renderPage } from './page.js';
import type { Connection, Finding, Migration, ReportData } from './report.js';
import { hotRegions } from './tables.js';
import {
  carriersOf,
  convergenceOf,
  findingsOf,
  keyFigures,
  LIMIT_WORDS,
  qualityOf,
  type Tone,
  type Traffic,
  trafficOf,
  verdictOf,
} from './verdict.js';

/** Migrations (or bulk connections) that get charts; further ones are listed. */
const SCENES = 5;
const HOT_REGIONS = 12;
/** Rows of the rounds tables, over all migrations. */
const ROUND_ROWS = 500;

/** The page as text. */
export async function renderHtml(report: ReportData): Promise<string> {
  const detail = 1 / Math.min(SCENES, Math.max(1, report.migrations.length));
  const articles: Html[] = [];
  const scenes: PageScene[] = [];
  for (const migration of report.migrations.slice(0, SCENES)) {
    const drawn = await draw(migrationScene(report, migration, detail));
    scenes.push(drawn.page);
    articles.push(migrationArticle(report, migration, drawn, Math.max(100, Math.round(ROUND_ROWS * detail))));
  }
  if (report.migrations.length === 0) {
    const largest = [...report.connections].sort((a, b) => weight(b) - weight(a)).slice(0, 3);
    articles.push(noMigrationArticle(report));
    for (const connection of largest) {
      const drawn = await draw(connectionScene(report, connection, 1 / largest.length));
      if (drawn.figures.size === 0) continue;
      scenes.push(drawn.page);
      articles.push(connectionArticle(connection, drawn));
    }
  }
  const names = report.capture.inputs.map((input) => plain(input.name, 80)).join(', ');
  const body = html`<a class="skip" href="#main">Skip to the result</a>
<header class="top"><div class="wrap"><span class="brand">migscope</span><span class="source">${names}</span>
<nav aria-label="Sections"><a href="#connections">Connections</a><a href="#capture">Capture</a><a href="#method">Method</a></nav>
<button type="button" class="quiet" id="theme">Light / dark</button></div></header>
<main class="wrap" id="main">
${articles}
${report.migrations.length > SCENES ? moreMigrations(report) : ''}
${connectionsSection(report)}
${captureSection(report)}
${methodSection(report)}
</main>`;
  return renderPage(`migscope: ${names}`, body, scenes);
}

const weight = (connection: Connection): number =>
  connection.directions[0].payloadBytes + connection.directions[1].payloadBytes;

/** A scene's charts, compiled and as figures, and the reasons why others are absent. */
export interface Drawn {
  readonly scene: Scene;
  readonly page: PageScene;
  readonly figures: ReadonlyMap<string, Html>;
  readonly absent: readonly string[];
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
    for (const { name } of vega.data ?? []) used.add(name);
    compiled.push({ id: chart.id, axis: chart.axis, left: spec.left, spec: vega });
    figures.set(chart.id, figureOf(scene, chart, spec));
  }
  const data = Object.fromEntries(Object.entries(scene.data).filter(([name]) => used.has(name)));
  return { scene, page: { id: scene.id, window: scene.window, charts: compiled, data }, figures, absent };
}

function figureOf(scene: Scene, chart: Chart, { unit, legend = chart.legend, bare = false }: ChartSpec): Html {
  const id = `${scene.id}-${chart.id}`;
  if (chart.id === 'overview') {
    return html`<div class="strip" id="${id}">
<div class="bar"><output></output><span class="at"></span><button type="button" class="quiet reset" hidden>Whole run</button></div>
<div class="plot"><div class="canvas"></div><div class="range"><span class="handle from" role="slider" tabindex="0" aria-label="Start of the stretch shown"></span><span class="handle to" role="slider" tabindex="0" aria-label="End of the stretch shown"></span></div></div></div>`;
  }
  const time = chart.axis === 'time';
  return html`<figure class="chart ${time ? 'time' : 'own'}${bare ? ' bare' : ''}" id="${id}">
<figcaption><h3>${chart.title}</h3>${unit === '' ? '' : html`<span class="unit">${unit}</span>`}<span class="question">${chart.question}</span>
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
    tick: html`<path d="M6 0v10" stroke="${colour}" stroke-width="2.4"/>`,
  };
  return html`<span class="item"><svg class="swatch" viewBox="0 0 12 10" aria-hidden="true">${shapes[item.mark]}</svg>${item.label}${
    item.reads ? html` <b data-reads="${item.reads.column}" data-unit="${item.reads.unit}"></b>` : ''
  }</span>`;
}

const TIME_CHARTS = [
  'ladder',
  'rounds-band',
  'rate',
  'limits-band',
  'window',
  'rtt',
  'losses',
  'remaining',
  'channels',
  'sequence',
];
const MEMORY_CHARTS = ['page-kinds', 'heat-map'];

function migrationArticle(report: ReportData, migration: Migration, drawn: Drawn, roundRows: number): Html {
  const verdict = verdictOf(migration);
  const traffic = trafficOf(carriersOf(report, migration), migration.endNs - migration.startNs);
  const facts = [
    migration.stream.machineType,
    migration.encryption === 'none' ? 'plain TCP' : migration.encryption === 'tls' ? 'TLS' : 'TLS, decrypted',
    ...migration.stream.features.filter((feature) => feature !== 'tls'),
    plural(migration.connections.length, 'connection'),
  ].filter((fact) => fact !== null);
  return html`<article class="scene" id="${drawn.scene.id}">
<p class="path">${drawn.scene.title} · ${facts.map((fact) => plain(fact, 60)).join(' · ')}</p>
<div class="verdict"><span class="chip ${verdict.tone}">${verdict.outcome}</span><h1>${verdict.headline}</h1></div>
${figuresList(keyFigures(report, migration))}
${findingsSection(findingsOf(report, migration.id), traffic, drawn.scene.id)}
${timeSection(drawn, 'Over time')}
${memorySection(report, migration, drawn, roundRows)}
${switchSection(migration, drawn)}
${modelsSection(migration)}
${absentList(drawn)}
</article>`;
}

const figuresList = (figures: readonly { label: string; value: string; note: string }[]): Html =>
  html`<dl class="figures">${figures.map(
    ({ label, value, note }) =>
      html`<div><dt>${label}</dt><dd class="value${/^[a-z]/.test(value) ? ' words' : ''}">${value}</dd><dd class="note">${note}</dd></div>`,
  )}</dl>`;

function findingsSection(findings: readonly Finding[], traffic: Traffic | null, scene: string): Html {
  const lead =
    findings.length === 0
      ? 'No rule found a cause for concern.'
      : 'Ordered by what fixing them would save. A proof moves the charts to its moment.';
  return html`<section><h2>What stood in the way</h2><p class="lead">${lead}</p>
${traffic && traffic.limits.length > 0 ? shareBar(traffic) : ''}
${findings.length > 0 ? html`<ol class="findings">${findings.map((finding) => findingItem(finding, scene))}</ol>` : ''}</section>`;
}

/** Shares of sending time as one bar with its legend. */
function shareBar({ limits }: Traffic): Html {
  let at = 0;
  const parts = limits.map(([limit, share]: readonly [Limit, number]) => {
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
  return html`<svg class="share" viewBox="0 0 1000 16" preserveAspectRatio="none" role="img" aria-label="Shares of the sending time">${parts}</svg>
<div class="legend flush">${legend}</div>`;
}

const TONES: Readonly<Record<Finding['severity'], Tone>> = {
  fatal: 'bad',
  major: 'bad',
  minor: 'warn',
  info: 'neutral',
};

function findingItem(finding: Finding, scene: string): Html {
  const proofs = finding.interval
    .slice(0, 6)
    .map(
      ([from, to]) =>
        html`<button type="button" class="proof" data-proof="${scene}" data-from="${from / 1e9}" data-to="${to / 1e9}">${moment(from)} – ${moment(to)}</button>`,
    );
  const frames = finding.packets.slice(0, 20);
  const filter = frames.map((frame) => `frame.number == ${frame}`).join(' || ');
  const save = finding.cost
    ? ` · fixing this saves about ${duration(finding.cost.ns)} of ${finding.cost.of === 'downtime' ? 'downtime' : 'migration time'}`
    : '';
  const metrics = Object.entries(finding.metrics);
  const more = finding.interval.length - proofs.length;
  return html`<li class="finding ${TONES[finding.severity]}"><h3>${finding.text}</h3>
<p class="meta">${finding.severity} · ${finding.title} (${finding.rule}) · confidence ${percent(finding.confidence)}${save}</p>
${finding.advice.length > 0 ? html`<ul>${finding.advice.map((advice) => html`<li>${advice}</li>`)}</ul>` : ''}
<div class="proofs">${proofs}${more > 0 ? html`<span class="note">and ${more} more</span>` : ''}${
    frames.length > 0
      ? html`<button type="button" class="copy-filter" data-copy="${filter}">Copy Wireshark filter (${plural(frames.length, 'frame')})</button>`
      : ''
  }</div>
<details><summary>Measured, and what else it could have been</summary>
${metrics.length > 0 ? html`<dl class="metrics">${metrics.map(([name, value]) => html`<dt>${words(name)}</dt><dd>${quantity(name, value)}</dd>`)}</dl>` : ''}
${frames.length > 0 ? html`<p class="note">Frames ${frames.join(', ')}</p>` : ''}
${finding.alternatives.map((text) => html`<p>${text}</p>`)}
${finding.explains.length > 0 ? html`<p class="note">Explains ${finding.explains.join(', ')}.</p>` : ''}</details></li>`;
}

function timeSection({ figures, scene }: Drawn, title: string): Html {
  const shown = TIME_CHARTS.map((id) => figures.get(id)).filter((figure) => figure !== undefined);
  if (shown.length === 0) return html``;
  return html`<section id="${scene.id}-time"><h2>${title}</h2>
<p class="lead">All charts share one time axis, in seconds since the capture’s first frame. Drag over a chart to zoom in, double-click to see the whole run; Ctrl + wheel zooms, Shift + wheel moves. With a chart in focus: arrows move, + and − zoom, 0 resets.</p>
${figures.get('overview') ?? ''}${shown}</section>`;
}

function memorySection(report: ReportData, migration: Migration, { figures, scene }: Drawn, roundRows: number): Html {
  const shown = MEMORY_CHARTS.map((id) => figures.get(id)).filter((figure) => figure !== undefined);
  if (shown.length === 0 && migration.rounds.length === 0 && migration.ramBlocks.length === 0) return html``;
  const convergence = convergenceOf(migration);
  return html`<section><h2>Memory and rounds</h2>
<p class="lead">${memoryLead(migration)}${convergence ? ` Of the rounds, ${convergence}.` : ''}</p>
<div class="pair">${shown}</div>
${roundsTable(migration, scene.id, roundRows)}
<div class="pair">${ramTable(migration)}${hotTable(report, migration)}</div></section>`;
}

function memoryLead({ pages, ramBlocks, stream }: Migration): string {
  const total = pages.normal + pages.zero + pages.xbzrle + pages.compressed;
  if (total === 0) return 'Page records could not be read.';
  const ram = ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  return (
    `${plural(total, 'page record')}${stream.pageSize === null ? '' : ` of ${memory(stream.pageSize)}`} for ` +
    `${ram > 0 ? `${memory(ram)} of guest memory` : 'guest memory'}; ${
      pages.distinct === null || pages.resent === null
        ? 'page addresses are not visible.'
        : `${plural(pages.distinct, 'distinct page')}, ${count(pages.resent)} sent again.`
    }`
  );
}

const numeric = (label: string): TableColumn => ({ label, numeric: true });
const text = (label: string): TableColumn => ({ label, numeric: false });
const cell = (shown: string | Html, sort: number | string | null = null): Cell => ({ text: shown, sort });

function roundsTable(migration: Migration, scene: string, limit: number): Html {
  const { rounds, stream } = migration;
  if (rounds.length === 0) return html``;
  const kinds = (['normal', 'zero', 'xbzrle', 'compressed'] as const).filter(
    (kind) => kind === 'normal' || kind === 'zero' || migration.pages[kind] > 0,
  );
  const columns = [
    numeric('Round'),
    numeric('Start'),
    numeric('Took'),
    numeric('Sent'),
    numeric('Rate'),
    numeric('Dirtied meanwhile'),
    ...kinds.map((kind) => numeric({ normal: 'Full', zero: 'Zero', xbzrle: 'XBZRLE', compressed: 'Compressed' }[kind])),
    text('Boundary known by'),
  ];
  return sortableTable(
    'Rounds',
    columns,
    rounds.map((round) => {
      const spanNs = round.endNs - round.startNs;
      const dirtied =
        round.dirtyPagesPerSecond === null || stream.pageSize === null
          ? null
          : round.dirtyPagesPerSecond * stream.pageSize * (spanNs / 1e9);
      return [
        cell(
          html`<a href="#${scene}-time" data-proof="${scene}" data-from="${round.startNs / 1e9}" data-to="${round.endNs / 1e9}">${round.index}</a>`,
          round.index,
        ),
        cell(moment(round.startNs), round.startNs),
        cell(duration(spanNs), spanNs),
        cell(bytes(round.bytes), round.bytes),
        cell(bitRate(round.goodput), round.goodput),
        cell(bytes(dirtied), dirtied),
        ...kinds.map((kind) => cell(count(round.pages[kind]), round.pages[kind])),
        cell(`${round.boundary} (${percent(round.confidence)})`),
      ];
    }),
    limit,
  );
}

function ramTable(migration: Migration): Html {
  if (migration.ramBlocks.length === 0) return html``;
  return sortableTable(
    'RAM blocks',
    [text('Name'), numeric('Size')],
    migration.ramBlocks.map((block) => [
      cell(plain(block.name, 120)),
      cell(memory(block.lengthBytes), block.lengthBytes),
    ]),
  );
}

function hotTable(report: ReportData, migration: Migration): Html {
  const pageSize = migration.stream.pageSize;
  const regions = pageSize === null ? [] : hotRegions(report, migration.id, HOT_REGIONS);
  if (pageSize === null || regions.length === 0) return html``;
  return sortableTable(
    'Hottest regions after the first round',
    [text('RAM block'), numeric('From'), numeric('Length'), numeric('Pages sent again')],
    regions.map((region) => [
      cell(plain(migration.ramBlocks[region.block]?.name ?? 'unknown', 60)),
      cell(`0x${(region.startPage * pageSize).toString(16)}`, region.startPage),
      cell(memory(region.pages * pageSize), region.pages),
      cell(count(region.resent), region.resent),
    ]),
  );
}

function switchSection(migration: Migration, { figures }: Drawn): Html {
  const { downtime, devices, phases, postcopy } = migration;
  if (!downtime && devices.length === 0 && phases.length === 0) return html``;
  const lead = downtime
    ? `The guest stood still for about ${duration(downtime.estimateNs)}: at least ${duration(downtime.endNs - downtime.latestStartNs)}, at most ${duration(downtime.endNs - downtime.earliestStartNs)} by what the wire shows (${downtime.method}).`
    : 'The switch-over is not in the capture, so nothing can be said about downtime.';
  const latency = postcopy?.requestLatencyNs;
  return html`<section><h2>Switch-over and devices</h2><p class="lead">${lead}</p>
${postcopy ? html`<p>Post-copy: ${plural(postcopy.requests, 'page request')}, ${plural(postcopy.pages, 'page')} from ${moment(postcopy.startNs)} to ${moment(postcopy.endNs)}${latency ? `; a request was answered in ${duration(latency.p50)} (median), ${duration(latency.p99)} (p99), ${duration(latency.max)} (worst)` : ''}.</p>` : ''}
${figures.get('switchover') ?? ''}
<div class="pair">${deviceTable(migration)}${phaseTable(migration)}</div></section>`;
}

function deviceTable(migration: Migration): Html {
  if (migration.devices.length === 0) return html``;
  return sortableTable(
    'Devices',
    [text('Name'), numeric('Instance'), numeric('Version'), numeric('State'), numeric('On the wire')],
    migration.devices.map((device) => [
      cell(plain(device.name, 120)),
      cell(String(device.instance), device.instance),
      cell(String(device.version), device.version),
      cell(bytes(device.bytes), device.bytes),
      cell(duration(device.endNs - device.startNs), device.endNs - device.startNs),
    ]),
  );
}

function phaseTable(migration: Migration): Html {
  if (migration.phases.length === 0) return html``;
  return sortableTable(
    'Phases',
    [text('Phase'), numeric('Start'), numeric('Took'), numeric('Bytes')],
    migration.phases.map((phase) => [
      cell(phase.kind),
      cell(moment(phase.startNs), phase.startNs),
      cell(duration(phase.endNs - phase.startNs), phase.endNs - phase.startNs),
      cell(bytes(phase.bytes), phase.bytes),
    ]),
  );
}

/** What each model says, with where it holds; unknown results of other versions are shown as they are. */
function modelsSection(migration: Migration): Html {
  const entries = Object.entries(migration.models).filter(([, result]) => isRecord(result));
  if (entries.length === 0) return html``;
  const known = new Map(MODELS.map((model) => [model.id, model]));
  return html`<section><h2>Models</h2>
<p class="lead">Predictions from the observed rounds, beside what was measured. A model that lacks its input is left out.</p>
<div class="pair">${entries.map(([id, result]) => {
    const model = known.get(id);
    return html`<details class="model"><summary>${model?.title ?? words(id)}</summary>
<dl class="metrics">${flattened(result as Record<string, unknown>).map(([name, value]) => html`<dt>${words(name)}</dt><dd>${quantity(name, value)}</dd>`)}</dl>
${model ? html`<p class="note">${model.validity} ${model.source}</p>` : ''}</details>`;
  })}</div></section>`;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Leaves of a nested result as 'outer inner' pairs; lists show their length. */
function flattened(result: Record<string, unknown>, prefix = ''): [string, string | number | null][] {
  return Object.entries(result).flatMap(([key, value]): [string, string | number | null][] => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (isRecord(value)) return flattened(value, name);
    if (Array.isArray(value)) {
      const flat = value.every((item) => typeof item === 'number' || typeof item === 'string');
      return [
        [
          name,
          flat && value.length <= 8
            ? value.map((item) => quantity(name, item)).join(', ')
            : plural(value.length, 'entry', 'entries'),
        ],
      ];
    }
    return [
      [name, typeof value === 'number' || typeof value === 'string' ? value : value === null ? null : String(value)],
    ];
  });
}

/** 'bandwidthFor.downtimeLimitNs' → 'bandwidth for downtime limit'. */
const words = (name: string): string =>
  name
    .replace(/(Ns|Bytes|BytesPerSecond|Seconds|Percent)$/, '')
    .replace(/\./g, ' ')
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase();

/** A number written by what its name says it is. */
function quantity(name: string, value: number | string | null): string {
  if (value === null) return '–';
  if (typeof value === 'string') return value;
  const leaf = name.split('.').at(-1)!;
  if (/Ns$/.test(leaf)) return duration(value);
  if (/Seconds$/.test(leaf)) return duration(value * 1e9);
  if (/PerSecond$/i.test(leaf) && !/Bytes/.test(leaf)) return `${digits(value)} per second`;
  if (/bandwidth|goodput|throughput|BytesPerSecond|rate$/i.test(leaf)) return bitRate(value);
  if (/Bytes$|^bytes/i.test(leaf)) return bytes(value);
  if (/Percent$/.test(leaf)) return `${digits(value)} %`;
  if (/share|ratio$/i.test(leaf) && Math.abs(value) <= 1) return percent(value);
  return Number.isInteger(value) ? count(value) : digits(value);
}

const absentList = ({ absent }: Drawn): Html =>
  absent.length === 0
    ? html``
    : html`<section><h2>Not shown</h2><ul class="absent">${absent.map((reason) => html`<li>${reason}</li>`)}</ul></section>`;

function noMigrationArticle(report: ReportData): Html {
  const n = report.connections.length;
  return html`<article class="scene"><div class="verdict"><span class="chip warn">no migration</span><h1>No QEMU migration stream could be recognised${n > 0 ? ` in ${plural(n, 'TCP connection')}` : ': the capture holds no TCP connection'}.</h1></div>
${n > 0 ? html`<p class="path">The largest connections, as TCP shows them:</p>` : ''}
${findingsOf(report, null).length > 0 ? findingsSection(findingsOf(report, null), null, '') : ''}</article>`;
}

function connectionArticle(connection: Connection, drawn: Drawn): Html {
  const [heavier] = drawn.scene.carriers;
  const spanNs = connection.endNs - connection.startNs;
  const traffic = trafficOf(heavier ? [heavier] : [], spanNs);
  const figures = [
    { label: 'Data', value: bytes(traffic.uniqueBytes), note: `in ${duration(spanNs)}` },
    { label: 'Goodput', value: bitRate(traffic.goodput), note: '' },
    { label: 'Round-trip time', value: duration(traffic.rttP50Ns), note: `best ${duration(traffic.rttMinNs)}` },
    {
      label: 'Retransmitted',
      value: percent(traffic.uniqueBytes > 0 ? traffic.retransmittedBytes / traffic.uniqueBytes : null),
      note: plural(traffic.retransmittedSegments, 'segment'),
    },
  ];
  return html`<article class="scene" id="${drawn.scene.id}"><p class="path">Connection ${connection.id}</p>
<div class="verdict"><h1>${drawn.scene.title}</h1></div>${figuresList(figures)}
${traffic.limits.length > 0 ? html`<section><h2>What held the sender back</h2>${shareBar(traffic)}</section>` : ''}
${timeSection(drawn, 'Over time')}</article>`;
}

function moreMigrations(report: ReportData): Html {
  return html`<section><h2>Further migrations</h2>${sortableTable(
    'Migrations without charts',
    [numeric('Id'), text('Path'), text('Outcome'), numeric('Took'), numeric('Rounds'), numeric('Downtime')],
    report.migrations
      .slice(SCENES)
      .map((migration) => [
        cell(String(migration.id), migration.id),
        cell(`${plain(migration.source, 60)} → ${endpoint({ address: migration.destination, port: migration.port })}`),
        cell(migration.outcome),
        cell(duration(migration.endNs - migration.startNs), migration.endNs - migration.startNs),
        cell(count(migration.rounds.length), migration.rounds.length),
        cell(duration(migration.downtime?.estimateNs ?? null), migration.downtime?.estimateNs ?? null),
      ]),
  )}</section>`;
}

function connectionsSection(report: ReportData): Html {
  const rest = report.migrations.length > 0 ? findingsOf(report, null) : [];
  return html`<section id="connections"><h2>Connections</h2>
<p class="lead">Each row is one direction. ${plural(report.connections.length, 'TCP connection')}, ${plural(report.flows.length, 'other flow')}.</p>
${rest.length > 0 ? html`<ol class="findings">${rest.map((finding) => findingItem(finding, ''))}</ol>` : ''}
${report.connections.length > 0 ? connectionTable(report.connections) : ''}
${report.flows.length > 0 ? flowTable(report.flows) : ''}
${tunnelTable(report)}</section>`;
}

function connectionTable(connections: readonly Connection[]): Html {
  const columns = [
    numeric('Id'),
    text('Role'),
    text('From'),
    text('To'),
    numeric('Data'),
    numeric('Goodput'),
    numeric('RTT p50'),
    numeric('RTT p95'),
    numeric('Retrans.'),
    numeric('Timeouts'),
    numeric('Out of order'),
    numeric('Zero window'),
    numeric('Not captured'),
    text('Ended by'),
  ];
  const rows = connections.flatMap((connection) =>
    connection.directions
      .map((direction, side): readonly Cell[] => {
        const [from, to] = side === 0 ? [connection.client, connection.server] : [connection.server, connection.client];
        const tunnel = connection.encapsulation.length > 0 ? ` in ${connection.encapsulation.join(' / ')}` : '';
        return [
          cell(String(connection.id), connection.id),
          cell(`${side === 0 ? '' : 'back, '}${channelLabel({ connection, side: 0, direction: 0 })}${tunnel}`),
          cell(endpoint(from)),
          cell(endpoint(to)),
          cell(bytes(direction.uniqueBytes), direction.uniqueBytes),
          cell(bitRate(direction.goodput), direction.goodput),
          cell(duration(direction.rttNs?.p50 ?? null), direction.rttNs?.p50 ?? null),
          cell(duration(direction.rttNs?.p95 ?? null), direction.rttNs?.p95 ?? null),
          cell(count(direction.retransmittedSegments), direction.retransmittedSegments),
          cell(count(direction.retransmissions.timeout), direction.retransmissions.timeout),
          cell(count(direction.outOfOrderSegments), direction.outOfOrderSegments),
          cell(
            direction.zeroWindow.episodes > 0 ? duration(direction.zeroWindow.totalNs) : '0',
            direction.zeroWindow.totalNs,
          ),
          cell(bytes(direction.unseenBytes), direction.unseenBytes),
          cell(connection.endedBy),
        ];
      })
      .filter((_, side) => connection.directions[side]!.uniqueBytes > 0),
  );
  return sortableTable('TCP connections', columns, rows, 400);
}

function flowTable(flows: readonly UdpFlow[]): Html {
  const columns = [
    text('Transport'),
    text('From'),
    text('To'),
    numeric('Out'),
    numeric('Back'),
    numeric('Frames'),
    numeric('Lost'),
    numeric('Start'),
    numeric('Took'),
    text('Facts'),
  ];
  return sortableTable(
    'UDP and other flows',
    columns,
    flows.map((flow) => {
      const [out, back] = flow.directions;
      const facts = Object.entries(flow.facts)
        .filter(([, value]) => value !== null)
        .slice(0, 6)
        .map(([name, value]) => `${words(name)} ${typeof value === 'number' ? quantity(name, value) : value}`);
      return [
        cell(plain(flow.transport, 30)),
        cell(endpoint(flow.client)),
        cell(endpoint(flow.server)),
        cell(bytes(out.wireBytes), out.wireBytes),
        cell(bytes(back.wireBytes), back.wireBytes),
        cell(count(out.frames + back.frames), out.frames + back.frames),
        cell(count(out.lostPackets), out.lostPackets),
        cell(moment(flow.startNs), flow.startNs),
        cell(duration(flow.endNs - flow.startNs), flow.endNs - flow.startNs),
        cell(facts.join('; ')),
      ];
    }),
    200,
  );
}

/** What encapsulation carried and what its headers cost. */
function tunnelTable({ tables }: ReportData): Html {
  const table = tables['tunnels'];
  if (!table || table.rows === 0) return html``;
  const value = (name: string, row: number): number => Number(table.columns[name]?.values[row] ?? 0);
  const columns = [
    text('Encapsulation'),
    numeric('Frames'),
    numeric('Inside'),
    numeric('Outside'),
    numeric('Headers cost'),
    numeric('Fragmented'),
  ];
  return sortableTable(
    'Tunnels',
    columns,
    Array.from({ length: table.rows }, (_, row) => {
      const [inside, outside] = [value('innerIpBytes', row), value('outerIpBytes', row)];
      return [
        cell(plain(String(table.columns['encapsulation']?.values[row] ?? ''), 120)),
        cell(count(value('frames', row)), value('frames', row)),
        cell(bytes(inside), inside),
        cell(bytes(outside), outside),
        cell(percent(inside > 0 ? outside / inside - 1 : null), inside > 0 ? outside / inside : null),
        cell(count(value('fragmentedFrames', row)), value('fragmentedFrames', row)),
      ];
    }),
    100,
  );
}

function captureSection(report: ReportData): Html {
  const quality = qualityOf(report);
  return html`<section id="capture"><h2>Capture quality</h2><p class="lead ${quality.tone}">${quality.headline}</p>
<ul class="facts">${quality.facts.map((fact) => html`<li>${fact}</li>`)}</ul>
${report.anomalies.length > 0 ? anomalyTable(report.anomalies) : ''}
${inputTable(report)}</section>`;
}

function anomalyTable(anomalies: readonly Anomaly[]): Html {
  return sortableTable(
    'Anomalies',
    [
      text('Severity'),
      text('Origin'),
      text('What'),
      numeric('Times'),
      numeric('First frame'),
      numeric('First at'),
      text('Detail'),
    ],
    anomalies.map((anomaly) => [
      cell(anomaly.severity),
      cell(anomaly.origin),
      cell(ANOMALIES[anomaly.code]?.text ?? anomaly.text),
      cell(count(anomaly.count), anomaly.count),
      cell(anomaly.first.frame === undefined ? '–' : String(anomaly.first.frame), anomaly.first.frame ?? null),
      cell(moment(anomaly.first.tNs ?? null), anomaly.first.tNs ?? null),
      cell(plain(anomaly.first.detail ?? '', 120)),
    ]),
    200,
  );
}

function inputTable({ capture }: ReportData): Html {
  return sortableTable(
    'Input files',
    [
      text('Name'),
      text('Format'),
      text('Link types'),
      numeric('Frames'),
      numeric('On the wire'),
      numeric('Captured'),
      numeric('Cut frames'),
      numeric('Dropped'),
    ],
    capture.inputs.map((input) => [
      cell(plain(input.name, 120)),
      cell(
        `${input.format}${input.compression === null ? '' : ` in ${input.compression}`}, ${input.timestampResolutionNs <= 1 ? 'ns' : input.timestampResolutionNs <= 1000 ? 'µs' : 'coarse'} time stamps`,
      ),
      cell(input.linkTypes.map((type) => plain(type, 40)).join(', ')),
      cell(count(input.frames), input.frames),
      cell(bytes(input.wireBytes), input.wireBytes),
      cell(bytes(input.capturedBytes), input.capturedBytes),
      cell(count(input.cutFrames), input.cutFrames),
      cell(input.droppedByCapture === null ? 'unknown' : count(input.droppedByCapture), input.droppedByCapture),
    ]),
  );
}

function methodSection(report: ReportData): Html {
  const boundaries = new Set(report.migrations.flatMap((migration) => migration.rounds.map((round) => round.boundary)));
  const timeline = report.tables['timeline'];
  const omitted = Object.entries(report.tables).filter(([, table]) => (table.omitted ?? 0) > 0);
  return html`<section id="method"><h2>How these numbers were made</h2><div class="prose">
<h3>Time</h3><p>Time 0 is the capture’s first frame${report.capture.start === null ? '' : `, ${report.capture.start}`}. All times are those of the capture point; a source-side time precedes the same event at the destination by half a round trip.</p>
<h3>Rates</h3><p>Throughput counts every TCP payload byte, goodput only bytes seen for the first time. Averages run from the first to the last frame of the migration. Bytes are decimal (1 MB = 1,000,000 bytes), guest memory is binary (1 MiB = 1,048,576 bytes).</p>
<h3>Retransmissions and round trips</h3><p>A segment counts as retransmitted when its bytes were sent before; frames captured twice, keep-alives and window probes do not count. Round trips pair data with the acknowledgement that covers it and leave out retransmitted data.</p>
<h3>What held the sender back</h3><p>Every moment of sending belongs to exactly one cause, decided from bytes in flight, the advertised window, losses, and the rhythm of sending; the shares add up to 100 %.</p>
<h3>Rounds</h3><p>${boundaries.size > 0 ? `Boundaries here were known by: ${[...boundaries].join(', ')}. ` : ''}A new round begins when a page is sent that the current round has sent already, or where the stream itself says so. Pages of a round are those dirtied during the round before it, which gives the dirty rate; writes to a page that is dirty already cannot be seen.</p>
<h3>Downtime</h3><p>The wire shows when the last data of a running guest and the end of the hand-over passed, not when the guest’s processors stopped. Downtime is therefore an interval with an estimate inside.</p>
<h3>What the charts leave out</h3><p>${timeline ? `The timeline holds ${plural(timeline.rows, 'bin')}. ` : ''}Long runs are drawn in wider bins: amounts add up, and the smallest and largest round trip, window and flight of a bin are kept.${omitted.length > 0 ? ` Left out to stay small: ${omitted.map(([name, table]) => `${count(table.omitted ?? 0)} rows of ${name}`).join(', ')}.` : ''}</p>
<h3>Privacy</h3><p>The page holds addresses and names from the capture but no guest memory. It loads nothing and sends nothing. Made by migscope ${report.generator.version} from the JSON result alone.</p>
</div></section>`;
}
