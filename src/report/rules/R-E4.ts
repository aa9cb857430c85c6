import { memory, percent, plain } from '../format.js';
import type { ReportData } from '../report.js';
import { defineRule } from './rule.js';
import { column, numberOr, type Transfer } from './transfer.js';

export default defineRule({
  id: 'R-E4',
  title: 'Hot region dominates resent memory',
  layer: 'L1',
  needs: ['pageRegions'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    minCopiesShare: { value: 0.6, unit: 'share of resent pages', meaning: 'that come from the hottest regions' },
    maxMemoryShare: { value: 0.05, unit: 'share of guest memory', meaning: 'that those regions make up' },
    minResentShare: { value: 0.05, unit: 'share of sent pages', meaning: 'below it nothing much is resent' },
  },
  about: {
    meaning:
      'Nearly all that is sent again comes from a small part of guest memory: a ring buffer, a heap, page tables, a video memory.',
    evidence: 'Regions ranked by copies after the first pass: at most 5 % of memory hold at least 60 % of them.',
    confusedWith: 'Even dirtying (a copy, a scrub), where regions share the copies.',
    advice: [
      'Find the workload by its guest-physical address and pause or slow it. XBZRLE helps when the pages change little; its cache must hold the region.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration) return [];
      const { normal, zero, xbzrle, compressed, resent } = migration.pages;
      if (resent === null || resent < limits.minResentShare * (normal + (zero ?? 0) + xbzrle + compressed)) return [];
      const regions = resentRegions(report, transfer);
      const copies = regions.reduce((total, region) => total + region.copies, 0);
      const memoryBytes = migration.ramBlocks.reduce((total, block) => total + block.lengthBytes, 0);
      const pageBytes = migration.stream.pageSize ?? 4096;
      if (copies === 0 || memoryBytes === 0) return [];
      const hot: typeof regions = [];
      let hotCopies = 0;
      let hotBytes = 0;
      for (const region of regions) {
        if (hotCopies >= limits.minCopiesShare * copies) break;
        hot.push(region);
        hotCopies += region.copies;
        hotBytes += region.pages * pageBytes;
      }
      if (hotBytes > limits.maxMemoryShare * memoryBytes) return [];
      const first = hot[0]!;
      return [
        {
          severity: 'info',
          confidence: 0.9,
          interval: [transfer.precopy],
          metrics: {
            hotBytes,
            hotShare: hotCopies / copies,
            memoryShare: hotBytes / memoryBytes,
            block: first.block,
            startPage: first.startPage,
          },
          text: `${percent(hotCopies / copies)} of the pages sent again come from ${memory(hotBytes)} (${percent(hotBytes / memoryBytes)} of memory), hottest around ${plain(migration.ramBlocks[first.block]?.name ?? 'RAM', 60)} + ${memory(first.startPage * pageBytes)}.`,
          advice: [
            'Find out what the guest keeps there (in the guest: /proc/iomem, page-types) and slow it down during the migration.',
          ],
          transfer,
        },
      ];
    }),
});

interface Region {
  readonly block: number;
  readonly startPage: number;
  readonly pages: number;
  copies: number;
}

/** Regions by copies after the first round, most first. */
function resentRegions(report: ReportData, transfer: Transfer): Region[] {
  const table = report.tables['pageRegions'];
  const regions = new Map<string, Region>();
  const migration = column(table, 'migration');
  const round = column(table, 'round');
  const block = column(table, 'block');
  const startPage = column(table, 'startPage');
  const pages = column(table, 'pages');
  const copies = column(table, 'copies');
  for (let row = 0; row < copies.length; row++) {
    if (migration[row] !== transfer.migration?.id || numberOr(round[row], 0) <= 1) continue;
    const key = `${block[row]} ${startPage[row]}`;
    let region = regions.get(key);
    if (!region) {
      region = {
        block: numberOr(block[row], 0),
        startPage: numberOr(startPage[row], 0),
        pages: numberOr(pages[row], 0),
        copies: 0,
      };
      regions.set(key, region);
    }
    region.copies += numberOr(copies[row], 0);
  }
  return [...regions.values()].sort((a, b) => b.copies / b.pages - a.copies / a.pages);
}
