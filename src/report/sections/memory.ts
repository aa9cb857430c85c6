// Memory and rounds: page kinds, heat map, the table of rounds, RAM blocks and the regions that stay hot.
import { bitRate, bytes, count, duration, memory, moment, percent, plain, plural, sentence } from '../format.js';
import { cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import type { Migration, ReportData } from '../report.js';
import { hotRegions } from '../tables.js';
import { dirtiedBytes, roundRate } from '../traffic.js';
import { convergenceOf } from '../verdict.js';
import type { Drawn } from './figure.js';

const HOT_REGIONS = 12;

const MEMORY_CHARTS = ['page-kinds', 'heat-map'];

export function memorySection(report: ReportData, migration: Migration, { figures, scene }: Drawn, rows: number): Html {
  const shown = MEMORY_CHARTS.map((id) => figures.get(id)).filter((figure) => figure !== undefined);
  if (shown.length === 0 && migration.rounds.length === 0 && migration.ramBlocks.length === 0) return html``;
  const convergence = convergenceOf(migration);
  return html`<section><h2>Memory and rounds</h2>
<p class="lead">${memoryLead(migration)}${convergence ? ` ${sentence(convergence.text)}.` : ''}</p>
<div class="pair">${shown}</div>
${roundsTable(migration, scene.id, rows)}
${(migration.countingRules ?? []).map((rule) => html`<p class="note">${rule.text}</p>`)}
<div class="pair">${ramTable(migration, rows)}${hotTable(report, migration)}</div></section>`;
}

function memoryLead({ pages, ramBlocks, stream }: Migration): string {
  const total = pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;
  if (total === 0) return 'Page records could not be read.';
  const ram = ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  const size = stream.pageSize === null ? '' : ` of ${memory(stream.pageSize)}`;
  const zero = pages.zero === null ? ' (zero pages cannot be seen here)' : '';
  const guest = ram > 0 ? `${memory(ram)} of guest memory` : 'guest memory';
  const copies =
    pages.distinct === null || pages.resent === null
      ? 'which pages were sent again cannot be told'
      : `${plural(pages.distinct, 'distinct page')}, ${count(pages.resent)} sent again`;
  return `${plural(total, 'page record')}${size}${zero} for ${guest}; ${copies}.`;
}

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
      const dirtied = dirtiedBytes(round, stream.pageSize);
      return [
        cell(
          html`<a href="#${scene}-time" data-proof="${scene}" data-from="${round.startNs / 1e9}" data-to="${round.endNs / 1e9}">${round.index}</a>`,
          round.index,
        ),
        cell(moment(round.startNs), round.startNs),
        cell(duration(spanNs), spanNs),
        cell(bytes(round.bytes), round.bytes),
        cell(bitRate(roundRate(round)), roundRate(round)),
        cell(bytes(dirtied), dirtied),
        ...kinds.map((kind) => cell(count(round.pages[kind]), round.pages[kind])),
        cell(html`<span class="whole">${round.boundary} (${percent(round.confidence)})</span>`, round.boundary),
      ];
    }),
    limit,
  );
}

function ramTable(migration: Migration, limit: number): Html {
  if (migration.ramBlocks.length === 0) return html``;
  return sortableTable(
    'RAM blocks',
    [text('Name'), numeric('Size')],
    migration.ramBlocks.map((block) => [
      cell(plain(block.name, 120)),
      cell(memory(block.lengthBytes), block.lengthBytes),
    ]),
    limit,
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
