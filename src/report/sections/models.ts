// Models: what would have let it finish, predictions beside measurements, and every model's own figures.
import { bitRate, bytes, count, duration, percent, plural } from '../format.js';
import { cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import { MODELS } from '../models/index.js';
import type { RemediesResult } from '../models/remedies.js';
import { pauseFigure } from '../pause.js';
import type { Migration } from '../report.js';
import { signedPercent } from '../verdict.js';
import { whatIfText } from '../what-if-text.js';
import { quantity, words } from './quantity.js';

type Result = Readonly<Record<string, unknown>>;

/** Nothing when no model had its input. */
export function modelsSection(migration: Migration): Html {
  const results = Object.entries(migration.models).filter((entry): entry is [string, Result] => isRecord(entry[1]));
  if (results.length === 0) return html``;
  const answer = whatIfText(migration);
  return html`<section><h2>Predictions</h2>
<p class="lead">From the observed rounds, beside what was measured. A model that lacks its input is left out; each says where it holds.</p>
${remediesList(migration)}
${answer ? html`<div class="ways"><h3>What if</h3><p>${answer}</p></div>` : ''}
${predictionTable(migration, results)}
<details class="more"><summary>Figures of all ${results.length} models</summary><div class="pair">${results.map(modelDetail)}</div></details></section>`;
}

const titleOf = (id: string): string => MODELS.find((model) => model.id === id)?.title ?? words(id);

/** Ways out of a migration that does not converge, each with its price. */
function remediesList(migration: Migration): Html {
  const found = migration.models['remedies'];
  if (migration.outcome === 'completed' || !isRemedies(found)) return html``;
  const { bandwidthFor, limitBelowNs = null, downtimeFor, postcopy, autoConverge, xbzrleShare } = found;
  return html`<div class="ways"><h3>What would have let it finish</h3><ul class="facts">
${bandwidthFor ? html`<li><b>Bandwidth:</b> ${bitRate(bandwidthFor.bandwidth)}${bandwidthFor.isUpperBound ? ', or less,' : ''} instead of ${bitRate(downtimeFor.bandwidth)}, for a downtime of ${duration(bandwidthFor.downtimeLimitNs)}.</li>` : ''}
<li><b>Downtime:</b> a limit of ${duration(downtimeFor.downtimeNs)} or more at the bandwidth it had${limitBelowNs === null ? '' : html`; the one in force was below ${duration(limitBelowNs)}`}.</li>
<li><b>Post-copy:</b> ${duration(postcopy.migrationNs)} in all, of which the guest waits for missing pages in the last ${duration(postcopy.degradedNs)} (${bytes(postcopy.bytesAfterSwitch)}).</li>
${autoConverge ? html`<li><b>Auto-converge:</b> slowing the guest by ${autoConverge.throttlePercent} %, reached after another ${duration(autoConverge.extraNs)}.</li>` : ''}
${xbzrleShare !== null && xbzrleShare < 1 ? html`<li><b>XBZRLE:</b> if pages that are sent again shrink to ${percent(xbzrleShare)} of their size.</li>` : ''}
</ul></div>`;
}

function isRemedies(value: unknown): value is RemediesResult {
  return isRecord(value) && 'bandwidthFor' in value && isRecord(value['downtimeFor']) && isRecord(value['postcopy']);
}

/** Models that predict total time or downtime, against what happened. */
function predictionTable(migration: Migration, results: readonly (readonly [string, Result])[]): Html {
  const predicting = results.filter(
    ([, result]) =>
      known(result, 'migrationNs') !== null || known(result, 'downtimeNs') !== null || result['converges'] === false,
  );
  if (predicting.length === 0) return html``;
  const measuredNs = migration.endNs - migration.startNs;
  const { downtime } = migration;
  const finished = migration.outcome === 'completed';
  const error = (result: Result, name: string) => {
    const value = finished ? known(result, name) : null;
    return cell(value === null ? '' : signedPercent(value), value);
  };
  const columns = [
    text('Model'),
    numeric('Rounds'),
    numeric('Total'),
    numeric('off by'),
    numeric('Downtime'),
    numeric('off by'),
  ];
  return sortableTable('Predicted and measured', columns, [
    [
      cell(html`<b>${finished ? 'measured' : 'measured until the capture ends'}</b>`, ''),
      cell(count(migration.rounds.length), migration.rounds.length),
      cell(duration(measuredNs), measuredNs),
      cell(''),
      cell(downtime ? pauseFigure(downtime) : '–', downtime?.estimateNs ?? null),
      cell(''),
    ],
    ...predicting.map(([id, result]) => [
      cell(titleOf(id)),
      cell(count(known(result, 'rounds')), known(result, 'rounds')),
      cell(
        result['converges'] === false ? 'does not end' : duration(known(result, 'migrationNs')),
        known(result, 'migrationNs'),
      ),
      error(result, 'migrationError'),
      cell(duration(known(result, 'downtimeNs')), known(result, 'downtimeNs')),
      error(result, 'downtimeError'),
    ]),
  ]);
}

function known(result: Result, name: string): number | null {
  const value = result[name];
  return typeof value === 'number' ? value : null;
}

function modelDetail([id, result]: readonly [string, Result]): Html {
  const model = MODELS.find((one) => one.id === id);
  return html`<div class="model"><h3>${titleOf(id)}</h3>
<dl class="metrics">${flattened(result)
    .slice(0, 100)
    .map(([name, value]) => html`<dt>${words(name)}</dt><dd>${quantity(name, value)}</dd>`)}</dl>
${model ? html`<p class="note">${model.validity} Source: ${model.source}.</p>` : ''}</div>`;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Leaves of a nested result as 'outer.inner' pairs; long lists show only their length. */
function flattened(result: Result, prefix = ''): [string, string | number | null][] {
  return Object.entries(result).flatMap(([key, value]): [string, string | number | null][] => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (isRecord(value)) return flattened(value, name);
    if (Array.isArray(value)) {
      const simple = value.length <= 8 && value.every((item) => typeof item === 'number');
      return [
        [
          name,
          simple ? value.map((item) => quantity(name, item)).join(', ') : plural(value.length, 'entry', 'entries'),
        ],
      ];
    }
    if (typeof value === 'number' || typeof value === 'string' || value === null) return [[name, value]];
    return [[name, value === true ? 'yes' : value === false ? 'no' : String(value)]];
  });
}
