// Guest memory by address: which stretches each round sent.
import { count, memory, plain, plural } from '../../format.js';
import type { Migration, ReportData } from '../../report.js';
import { column, type Dataset, rounded, type Value } from './dataset.js';

const REGIONS = 6000;
/** Merging factor at which every block is one cell. */
const WHOLE_GUEST = 2 ** 40;

/** Cells of the heat map, and where the blocks begin that are large enough to be named. */
export const memoryData = (
  report: ReportData,
  migration: Migration,
  detail: number,
): Record<string, Dataset | null> => ({
  regions: regionsData(report, migration, detail),
  blocks: blocksData(migration),
});

/** Start of each RAM block when all are laid end to end, largest first; `null` where a block is too small to see. */
function layout(migration: Migration): Map<number, number> {
  const order = migration.ramBlocks
    .map((block, index) => ({ index, lengthBytes: block.lengthBytes }))
    .sort((a, b) => b.lengthBytes - a.lengthBytes || a.index - b.index);
  let at = 0;
  return new Map(
    order.map(({ index, lengthBytes }) => {
      const start = at;
      at += lengthBytes;
      return [index, start];
    }),
  );
}

function blocksData(migration: Migration): Dataset {
  const starts = layout(migration);
  const total = migration.ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  const shown = migration.ramBlocks
    .map((block, index) => ({ name: plain(block.name, 40), start: starts.get(index)!, lengthBytes: block.lengthBytes }))
    .filter((block) => block.lengthBytes > total * 0.06);
  return { name: shown.map((block) => block.name), start: shown.map((block) => block.start) };
}

/** Cells of the heat map: address × round, with the share of the cell's pages that the round sent. */
function regionsData(report: ReportData, migration: Migration, detail: number): Dataset | null {
  const table = report.tables['pageRegions'];
  const pageSize = migration.stream.pageSize;
  if (!table || pageSize === null) return null;
  const starts = layout(migration);
  const of = (name: string): readonly Value[] => column(table, name);
  const rows: number[] = [];
  for (let row = 0; row < table.rows; row++) if (of('migration')[row] === migration.id) rows.push(row);
  // Rounds and addresses beyond the budget merge; the strongest of the merged cells is what shows.
  const lastRound = rows.reduce((last, row) => Math.max(last, Number(of('round')[row])), 1);
  const roundStep = Math.ceil(lastRound / 150);
  const budget = REGIONS * detail;
  let step = 1;
  let cells = new Map<string, { block: number; page: number; round: number; pages: number; copies: number }>();
  for (;;) {
    cells = new Map();
    for (const row of rows) {
      const block = Number(of('block')[row]);
      const pages = Number(of('pages')[row]);
      const size = pages * step;
      const page = Math.floor(Number(of('startPage')[row]) / size) * size;
      const round = Math.ceil(Number(of('round')[row]) / roundStep) * roundStep;
      const key = `${block} ${page} ${round}`;
      const copies = Number(of('copies')[row]) * step;
      const cell = cells.get(key);
      if (cell) cell.copies = Math.max(cell.copies, copies);
      else cells.set(key, { block, page, round, pages: size, copies });
    }
    if (cells.size <= budget || step >= WHOLE_GUEST) break;
    step *= 2;
  }
  // More blocks than cells: merging by address cannot help, so the first ones are drawn.
  const list = [...cells.values()].slice(0, REGIONS);
  const address = list.map((cell) => (starts.get(cell.block) ?? 0) + cell.page * pageSize);
  return {
    x: list.map((cell) => cell.round - roundStep + 0.5),
    x2: list.map((cell) => cell.round + 0.5),
    y: address,
    y2: list.map((cell, i) => address[i]! + cell.pages * pageSize),
    share: list.map((cell) => rounded(Math.min(1, cell.copies / cell.pages), 3)),
    tip: list.map(
      (cell) =>
        `round ${cell.round}: ${count(Math.round(cell.copies))} of ${plural(cell.pages, 'page')} at ` +
        `${memory(cell.page * pageSize)} in ${plain(migration.ramBlocks[cell.block]?.name ?? 'unknown block', 40)}`,
    ),
  };
}
