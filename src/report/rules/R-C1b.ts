import { count, percent } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-C1b',
  title: 'First pass is zero-page scanning',
  layer: 'L1',
  needs: ['rounds'],
  restsOn: ['stream'],
  explains: ['R-C1'],
  thresholds: {
    minZeroShare: { value: 0.8, unit: 'share of pages', meaning: 'zero pages in the first pass' },
  },
  about: {
    meaning:
      'Most of the guest’s memory was never written. The source reads every page to find that out and sends nine bytes for it: few bytes per second, many pages per second.',
    evidence: 'More than four fifths of the first pass are zero pages.',
    confusedWith: 'A rate limit (R-A1): there bytes per second are constant.',
    advice: [
      'Normal for freshly booted large guests. Faster with multifd (zero pages are found in its threads since QEMU 9.0) or free-page hints of the balloon.',
    ],
  },
  run: ({ migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const first = transfer.migration?.rounds[0];
      if (!first) return [];
      const all = first.pages.normal + first.pages.zero + first.pages.xbzrle + first.pages.compressed;
      const share = all > 0 ? first.pages.zero / all : 0;
      if (share < limits.minZeroShare) return [];
      const seconds = (first.endNs - first.startNs) / 1e9;
      return [
        {
          severity: 'info',
          confidence: 0.9,
          interval: [[first.startNs, first.endNs]],
          metrics: { zeroShare: share, pagesPerSecond: seconds > 0 ? all / seconds : null },
          text: `${percent(share)} of ${first.boundary === 'joined-midway' ? 'the pass that the capture begins with' : 'the first pass'} are empty pages${seconds > 0 ? `, scanned at ${count(all / seconds)} pages a second` : ''}: its low byte rate is no network problem.`,
          advice: ['Nothing to repair. Multifd (QEMU 9.0 or later) scans with several threads.'],
          transfer,
        },
      ];
    }),
});
