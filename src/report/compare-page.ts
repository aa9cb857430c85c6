// The comparison as a page: conclusions first, then figures side by side, then the overlays.
import { LIMITS } from '../decode/tcp/results.js';
import { COMPARE_CHARTS } from './charts/compare.js';
import { overview } from './charts/overview.js';
import type { Scene } from './charts/scene.js';
import type { ComparedFigure, Comparison } from './comparison.js';
import { boundedText, changeText, MARKS_EXPLAINED } from './conclusions.js';
import { bitRate, bytes, duration, unbroken } from './format.js';
import { draw } from './html.js';
import { type Cell, cell, type Html, html, numeric, sortableTable, text } from './markup.js';
import { renderPage } from './page.js';
import { shareBar } from './sections/figure.js';
import { TONES } from './verdict.js';

/** The page as text; a function of the comparison only. */
export async function renderComparePage(comparison: Comparison): Promise<string> {
  const { runs } = comparison;
  const drawn = await draw(sceneOf(comparison), [overview, ...COMPARE_CHARTS]);
  const figure = (id: string): Html => drawn.figures.get(id) ?? html``;
  const title = `migscope: ${runs.map((run) => run.name).join(' / ')}`;
  const body = html`<a class="skip" href="#main">Skip to the result</a>
<header class="top"><div class="wrap"><span class="brand">migscope</span><span class="source">comparison of ${runs.length} runs</span>
<nav aria-label="Sections"><a href="#figures">Figures</a><a href="#runs-time">Charts</a><a href="#findings">Findings</a></nav>
<button type="button" class="quiet" id="theme">Light / dark</button></div></header>
<main class="wrap" id="main"><article class="scene" id="runs">
<div class="verdict"><h1>${unbroken(comparison.conclusions[0] ?? 'Nothing to compare.')}</h1></div>
<ul class="facts">${comparison.conclusions.slice(1).map((sentence) => html`<li>${unbroken(sentence)}</li>`)}</ul>
<section id="figures"><h2>Side by side</h2><p class="lead">Changes are against the first run. Bold ones exceed what single runs differ by; ${MARKS_EXPLAINED}</p>
${figureTable(comparison)}</section>
<section><h2>What held the senders back</h2>${runs.map((run) => limitBar(run))}</section>
<section id="runs-time"><h2>Over time</h2><p class="lead">Each run starts at 0. <span class="by-hand">Drag over a chart to zoom in, double-click to see everything.</span></p>
${figure('overview')}${figure('overlay')}${figure('progress')}${figure('ladders')}</section>
<section><h2>By round</h2>${figure('per-round')}${roundTable(comparison)}</section>
${comparison.findings.length > 0 ? html`<section id="findings"><h2>Findings</h2>${findingTable(comparison)}</section>` : ''}
</article></main>`;
  return renderPage(title, body, [drawn.page]);
}

function sceneOf({ runs }: Comparison): Scene {
  const s = (ns: number): number => ns / 1e9;
  const longest = Math.max(...runs.map((run) => run.spanNs), 1);
  const goodput = { t: [] as number[], rate: [] as number[], sent: [] as number[], run: [] as string[] };
  const rounds = {
    start: [] as number[],
    end: [] as number[],
    rate: [] as number[],
    bytes: [] as number[],
    index: [] as number[],
    run: [] as string[],
    tip: [] as string[],
  };
  for (const run of runs) {
    const { binNs, goodput: rates } = run.timeline;
    let sent = 0;
    [...rates, 0].forEach((rate, bin) => {
      goodput.t.push(s(bin * binNs));
      goodput.rate.push(rate * 8);
      goodput.sent.push(Math.round(sent));
      sent += rate * s(binNs);
      goodput.run.push(run.name);
    });
    for (const round of run.rounds) {
      rounds.start.push(s(round.startNs));
      rounds.end.push(s(Math.max(round.endNs, round.startNs + 1)));
      rounds.rate.push(Math.round(round.goodput * 8));
      rounds.bytes.push(round.bytes);
      rounds.index.push(round.index);
      rounds.run.push(run.name);
      rounds.tip.push(
        `${run.name}, round ${round.index}: ${bytes(round.bytes)} in ${duration(round.endNs - round.startNs)} (${bitRate(round.goodput)})`,
      );
    }
  }
  return {
    id: 'runs',
    title: 'Runs',
    kind: 'comparison',
    migration: null,
    carriers: [],
    window: [0, s(longest)],
    data: {
      runs: { name: runs.map((run) => run.name) },
      goodput,
      ...(rounds.index.length > 0 ? { rounds } : {}),
      timeline: envelope(runs, longest),
    },
  };
}

/** The fastest run at each moment: the strip shows where anything happened at all. */
function envelope(runs: Comparison['runs'], longestNs: number): Scene['data'][string] {
  const bins = 400;
  const at = (bin: number): number => (bin * longestNs) / bins;
  const best = (bin: number, pick: (run: Comparison['runs'][number]) => readonly number[]): number =>
    Math.max(0, ...runs.map((run) => pick(run)[Math.floor(at(bin) / run.timeline.binNs)] ?? 0));
  const all = Array.from({ length: bins }, (_, bin) => bin);
  return {
    t: all.map((bin) => at(bin) / 1e9),
    t2: all.map((bin) => at(bin + 1) / 1e9),
    goodput: all.map((bin) => best(bin, (run) => run.timeline.goodput) * 8),
    lost: all.map((bin) => best(bin, (run) => run.timeline.retransmittedBytes)),
  };
}

function figureTable({ runs, figures }: Comparison): Html {
  const columns = [
    text('Figure'),
    ...runs.flatMap(({ name }, i) => (i === 0 ? [numeric(name)] : [numeric(name), numeric('change')])),
  ];
  const outcome = [
    cell('Outcome'),
    ...runs.flatMap((run, i) => (i === 0 ? [cell(run.outcome)] : [cell(run.outcome), cell('')])),
  ];
  const carried = [
    cell('Carried by'),
    ...runs.flatMap((run, i) => (i === 0 ? [cell(run.carriedBy)] : [cell(run.carriedBy), cell('')])),
  ];
  const row = (figure: ComparedFigure): Cell[] => [
    cell(figure.title),
    ...runs.flatMap((_, i) => {
      const value = cell(boundedText(figure, i), figure.values[i] ?? null);
      return i === 0 ? [value] : [value, changeCell(figure, i)];
    }),
  ];
  return sortableTable('Figures', columns, [outcome, carried, ...figures.map(row)]);
}

function changeCell(figure: ComparedFigure, i: number): Cell {
  const change = figure.changes[i] ?? null;
  if (change === null) return cell(changeText(figure, i));
  if (!figure.matters[i]) return cell(html`<span class="neutral">${changeText(figure, i)}</span>`, change);
  const improved = figure.better !== null && change < 0 === (figure.better === 'lower');
  const tone = figure.better === null ? 'neutral' : improved ? 'good' : 'bad';
  return cell(html`<b class="${tone}">${changeText(figure, i)}</b>`, change);
}

function limitBar(run: Comparison['runs'][number]): Html {
  const shares = LIMITS.map((limit) => [limit, run.limits[limit] ?? 0] as const).filter(([, share]) => share > 0);
  return html`<h3 class="run">${run.name}</h3>${
    shares.length > 0
      ? shareBar(shares, `Shares of the sending time of ${run.name}`)
      : html`<p class="note">cannot be told</p>`
  }`;
}

function roundTable({ runs }: Comparison): Html {
  const most = Math.max(...runs.map((run) => run.rounds.length));
  if (most === 0) return html`<p class="absent">No run shows rounds.</p>`;
  const columns = [
    numeric('Round'),
    ...runs.flatMap(({ name }) => [numeric(`${name}: took`), numeric('sent'), numeric('dirtied')]),
  ];
  return sortableTable(
    'Rounds',
    columns,
    Array.from({ length: most }, (_, row) => [
      cell(String(row + 1), row + 1),
      ...runs.flatMap(({ rounds }) => {
        const round = rounds[row];
        if (!round) return [cell(''), cell(''), cell('')];
        const tookNs = round.endNs - round.startNs;
        return [
          cell(duration(tookNs), tookNs),
          cell(bytes(round.bytes), round.bytes),
          cell(bytes(round.dirtiedBytes), round.dirtiedBytes),
        ];
      }),
    ]),
  );
}

function findingTable({ runs, findings }: Comparison): Html {
  return sortableTable(
    'Findings by run',
    [text('Rule'), text('Finding'), ...runs.map(({ name }) => text(name))],
    findings.map(({ rule, title, severities }) => [
      cell(rule),
      cell(title),
      ...severities.map((severity) =>
        cell(severity === null ? '–' : html`<b class="${TONES[severity]}">${severity}</b>`),
      ),
    ]),
  );
}
