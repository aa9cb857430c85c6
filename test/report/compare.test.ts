import { describe, expect, test } from 'vitest';
import { type Comparison, compareReports, renderCompareHtml, renderCompareText } from '../../src/report/compare.js';
import { signedPercent } from '../../src/report/verdict.js';
import { HOSTILE, reportData, reportWithoutMigration } from '../support/report-data.js';

const cubicAndBbr = () =>
  compareReports([
    { name: 'runs/wan-cubic-loss/src.pcap.gz', report: reportData('lossy') },
    { name: 'runs/wan-bbr-loss/src.pcap.gz', report: reportData('recovered') },
  ]);
const figure = (comparison: ReturnType<typeof compareReports>, id: string) =>
  comparison.figures.find((one) => one.id === id)!;

describe('comparison', () => {
  test('says first that one run completed and the other did not', () => {
    expect(cubicAndBbr().conclusions[0]).toBe(
      'wan-bbr-loss completed in 1.84 s with about 35.6 ms downtime; wan-cubic-loss was not seen to finish in 19.4 s.',
    );
  });

  test('tells what got better from what got worse, and that both runs were given the same', () => {
    const { conclusions } = compareReports([
      { name: 'quick', report: reportData('healthy') },
      { name: 'wide', report: reportData('healthy', { bandwidth: 122e6, loss: 0.02 }) },
    ]);
    expect(conclusions.slice(0, 3)).toEqual([
      'Better in wide than in quick: total time 591 ms → 304 ms (−49 %); downtime 47.6 ms → 28.0 ms (−41 %); goodput 475 Mbit/s → 925 Mbit/s (+95 %).',
      'Worse in wide: retransmitted 0 % → 2.0 %.',
      'Both were given the same: guest memory (64.1 MiB), best round trip (810 µs), data connections (1); what differs comes from how the data was carried. Unlike only as seen, because a page counts once a round and longer rounds show fewer: dirtied per second 36.0 Mbit/s → 72.1 Mbit/s (+100 %).',
    ]);
  });

  test('runs of guests of different size are not called alike', () => {
    const { conclusions } = compareReports([
      { name: 'a', report: reportData('healthy') },
      { name: 'b', report: reportData('healthy', { ramMiB: 4096, bandwidth: 20e6 }) },
    ]);
    expect(conclusions.join(' ')).toMatch(/They were not given the same, .*: guest memory 64\.1 MiB → 4\.02 GiB/);
  });

  test('bins are equally wide in all runs, however long they are', () => {
    const { runs } = cubicAndBbr();
    expect(runs.map((run) => run.timeline.binNs)).toEqual([runs[0]!.timeline.binNs, runs[0]!.timeline.binNs]);
  });

  test('names what held either back and which findings went away', () => {
    const text = cubicAndBbr().conclusions.join(' ');
    expect(text).toContain(
      'wan-cubic-loss was held back mostly by loss recovery (62 %), wan-bbr-loss by congestion window',
    );
    expect(text).toContain(
      'No longer seen in wan-bbr-loss: packet loss limits the rate, cannot converge at this bandwidth.',
    );
  });

  test('says how either sender answers loss, where the packets tell', () => {
    const bbr = reportData('recovered');
    bbr.connections[0]!.directions[0].congestionControl = {
      ...{ family: 'rate-based', decrease: 0.93, spread: 0.3, episodes: 12, probeDips: 0, restarts: 0, paced: true },
    };
    const { conclusions } = compareReports([
      { name: 'cubic', report: reportData('lossy') },
      { name: 'bbr', report: bbr },
    ]);
    expect(conclusions).toContain(
      'Congestion control of cubic looks loss-based, as CUBIC or Reno: falls to 70 % of what was in flight after a loss; of bbr rate-based, as BBR: 12 loss episodes did not slow it down.',
    );
  });

  test('figures of an unfinished run are lower bounds, and its downtime is unknown', () => {
    const comparison = cubicAndBbr();
    expect(figure(comparison, 'total').lowerBound).toEqual([true, false]);
    expect(figure(comparison, 'downtime').values[0]).toBeNull();
    expect(figure(comparison, 'downtime').changes).toEqual([null, null]);
  });

  describe('a downtime of which only a bound is known', () => {
    // From 20 ms, as estimated, to 200 ms; about 35.6 ms; perhaps 40 ms of 30 ms to 90 ms.
    const paused = (estimateMs: number, [least, most]: readonly [number, number], confidence = 0.9) => {
      const report = reportData('recovered');
      const migration = report.migrations[0]!;
      const endNs = migration.downtime!.endNs;
      migration.downtime = {
        earliestStartNs: endNs - most * 1e6,
        latestStartNs: endNs - least * 1e6,
        endNs,
        estimateNs: estimateMs * 1e6,
        confidence,
        method: '',
      };
      return report;
    };
    const against = (a: ReturnType<typeof paused>, b: ReturnType<typeof paused>) =>
      compareReports([
        { name: 'a', report: a },
        { name: 'b', report: b },
      ]);
    const said = (comparison: Comparison) => {
      const { values, certainty, ranges, lowerBound, changes, changeCertainty, matters } = figure(
        comparison,
        'downtime',
      );
      return { values, certainty, ranges, lowerBound, changes, changeCertainty, matters };
    };

    test('says nothing of a change that both bounds leave open', () => {
      const comparison = against(paused(20, [20, 200]), paused(100, [98, 102]));
      expect(said(comparison)).toEqual({
        values: [20e6, 100e6],
        certainty: ['at-least', 'about'],
        ranges: [
          [20e6, 200e6],
          [98e6, 102e6],
        ],
        lowerBound: [true, false],
        changes: [null, null],
        changeCertainty: [null, null],
        matters: [false, false],
      });
      expect(comparison.conclusions).toEqual([
        'b against a: no figure differs by more than single runs do.',
        'What the captures hold does not tell whether these changed: downtime.',
      ]);
      expect(renderCompareText(comparison, { color: false, width: 80 })).toMatch(/Downtime +≥ 20\.0 ms +100 ms +\?/);
    });

    test('gives the least change where the bounds allow only one way', () => {
      const comparison = against(paused(20, [20, 200]), paused(400, [398, 404]));
      expect(said(comparison)).toMatchObject({
        changes: [null, 0.99],
        changeCertainty: [null, 'at-least'],
        matters: [false, true],
      });
      expect(comparison.conclusions.join(' ')).toContain('downtime ≥ 20.0 ms → 400 ms (+99 % or more)');
    });

    test('takes an uncertain estimate for no more than the wire allows, on the page too', async () => {
      const comparison = against(paused(40, [30, 90], 0.2), paused(80, [78, 82]));
      expect(said(comparison)).toMatchObject({ certainty: ['perhaps', 'about'], changes: [null, null] });
      const page = await renderCompareHtml(comparison);
      expect(page).toMatch(/~ 40\.0.ms/);
      expect(page).toContain('~ an uncertain estimate');
    });

    test('an estimate of nothing is shown as what it cannot exceed', () => {
      const comparison = against(paused(0, [0, 354]), paused(400, [398, 404]));
      expect(renderCompareText(comparison, { color: false, width: 80 })).toMatch(/Downtime +≤ 354 ms +400 ms/);
    });

    test('believed estimates that are closer than they are exact do not differ', () => {
      expect(said(against(paused(20, [5, 200]), paused(45, [10, 200])))).toMatchObject({
        certainty: ['about', 'about'],
        changes: [null, 1.25],
        matters: [false, false],
      });
    });
  });

  test('what a run that was joined midway adds up to is a lower bound', () => {
    const midway = reportData('recovered');
    midway.migrations[0]!.rounds[0]!.boundary = 'joined-midway';
    const comparison = compareReports([
      { name: 'a', report: reportData('recovered') },
      { name: 'b', report: midway },
    ]);
    expect(comparison.runs.map(({ begun }) => begun)).toEqual([true, false]);
    for (const id of ['total', 'rounds', 'bytes'])
      expect(figure(comparison, id)).toMatchObject({ certainty: ['exact', 'at-least'], changes: [null, null] });
  });

  test('the part of a round that was captured gives no dirty rate', () => {
    const midway = reportData('recovered');
    const [first, ...later] = midway.migrations[0]!.rounds;
    first!.boundary = 'joined-midway';
    first!.dirtyPagesPerSecond = 1e9;
    for (const round of later) if (round.dirtyPagesPerSecond !== null) round.dirtyPagesPerSecond = 1000;
    const comparison = compareReports([
      { name: 'a', report: reportData('recovered') },
      { name: 'b', report: midway },
    ]);
    expect(figure(comparison, 'dirtyRate').values[1]).toBeCloseTo(4096 * 1000, 0);
  });

  test('runs that differ only in what they were given are said to', () => {
    const slower = reportData('healthy');
    for (const round of slower.migrations[0]!.rounds)
      if (round.dirtyPagesPerSecond !== null) round.dirtyPagesPerSecond *= 3;
    const { conclusions } = compareReports([
      { name: 'a', report: reportData('healthy') },
      { name: 'b', report: slower },
    ]);
    expect(conclusions[0]).toBe('b against a: no figure differs by more than single runs do.');
    expect(conclusions[1]).toContain('dirtied per second');
  });

  test('a number of rounds that was told by sizes and times is an estimate', () => {
    const inferred = reportData('recovered');
    for (const round of inferred.migrations[0]!.rounds) round.confidence = 0.6;
    const comparison = compareReports([
      { name: 'a', report: reportData('lossy') },
      { name: 'b', report: inferred },
    ]);
    expect(figure(comparison, 'rounds')).toMatchObject({ certainty: ['at-least', 'perhaps'], changes: [null, null] });
  });

  test('a finished run longer than the bound of an unfinished one proves nothing', () => {
    const short = reportData('lossy');
    short.migrations[0]!.endNs = short.migrations[0]!.startNs + 1e9;
    const comparison = compareReports([
      { name: 'a', report: short },
      { name: 'b', report: reportData('recovered') },
    ]);
    expect(figure(comparison, 'total').matters).toEqual([false, false]);
  });

  test('the same run twice differs in nothing', () => {
    const comparison = compareReports([
      { name: 'a.pcap', report: reportData('healthy') },
      { name: 'b.pcap', report: reportData('healthy') },
    ]);
    expect(comparison.figures.flatMap((one) => one.matters)).not.toContain(true);
    expect(comparison.conclusions).toEqual(['b against a: no figure differs by more than single runs do.']);
  });

  test('a change of five per cent is noise, one of thirty matters', () => {
    const against = (bandwidth: number) =>
      figure(
        compareReports([
          { name: 'a', report: reportData('healthy') },
          { name: 'b', report: reportData('healthy', { bandwidth }) },
        ]),
        'goodput',
      ).matters[1];
    expect([against(61e6 * 1.05), against(61e6 * 1.3)]).toEqual([false, true]);
  });

  test('all bytes of a run are in its timeline on the common clock', () => {
    const report = reportData('recovered');
    const [run] = compareReports([
      { name: 'a', report },
      { name: 'b', report },
    ]).runs;
    const sent = report.tables['timeline']!.columns['uniqueBytes']!.values.reduce<number>((n, v) => n + Number(v), 0);
    const shown = run!.timeline.goodput.reduce((n, rate) => n + (rate * run!.timeline.binNs) / 1e9, 0);
    expect(shown / sent).toBeCloseTo(1, 3);
  });

  test('runs with the same file name are told apart by folder', () => {
    expect(cubicAndBbr().runs.map((run) => run.name)).toEqual(['wan-cubic-loss', 'wan-bbr-loss']);
  });

  test('what a name hides is no folder', () => {
    const { runs } = compareReports(
      ['we\nird.pcap', '-', 'C:\\lab\\plain.pcap'].map((name) => ({ name, report: reportData('healthy') })),
    );
    expect(runs.map(({ name }) => name)).toEqual(['we\\u{a}ird', 'standard input', 'plain']);
  });

  test('three runs, one of them without a migration', () => {
    const comparison = compareReports([
      { name: 'a', report: reportData('healthy') },
      { name: 'b', report: reportData('lossy') },
      { name: 'c', report: reportWithoutMigration() },
    ]);
    expect(comparison.runs.map((run) => run.outcome)).toEqual(['completed', 'incomplete', 'no-migration']);
    expect(figure(comparison, 'rounds').values).toEqual([2, 12, null]);
  });

  test('changes read as shares, large ones as factors', () => {
    expect([signedPercent(-0.77), signedPercent(0.3), signedPercent(4.9), signedPercent(-0.00001)]).toEqual([
      '−77 %',
      '+30 %',
      '× 5.9',
      '=',
    ]);
  });
});

describe('comparison for people', () => {
  test.each([60, 80])('every run has its column on a terminal of %i columns, however many there are', (width) => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const comparison = compareReports(names.map((name) => ({ name, report: reportData('lossy') })));
    const text = renderCompareText(comparison, { color: false, width });
    for (const title of ['Side by side', 'Findings', 'By round: sent, and dirtied meanwhile']) {
      const part = text.slice(text.indexOf(title)).split(/\n(?=[A-Z])/)[0]!;
      const heads = part.split('\n').filter((line) => /^ +(?:round +)?[a-e](?: |$)/.test(line));
      const shown = heads.flatMap((line) => line.match(/\b[a-e]\b/g) ?? []);
      expect(new Set(shown), title).toEqual(new Set(names));
    }
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(width);
  });

  test('the terminal shows figures side by side within 80 columns', () => {
    const text = renderCompareText(cubicAndBbr(), { color: false, width: 80 });
    expect(text).toMatch(/Total time +≥ 19\.4 s +1\.84 s +≤ −91 % !/);
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });

  test('the page has the overlays and keeps hostile names inert', async () => {
    const comparison = compareReports([
      { name: HOSTILE.markup, report: reportData('lossy') },
      { name: 'b', report: reportData('recovered') },
    ]);
    const page = await renderCompareHtml(comparison);
    expect(page).not.toContain('<img');
    for (const id of ['overlay', 'progress', 'ladders', 'per-round']) expect(page).toContain(`id="runs-${id}"`);
  });
});
