// The comparison for people: terminal here, the page in a file of its own that is loaded when it is wanted.
import { boundedText, type ComparedFigure, type ComparedRun, type Comparison, topLimit } from './comparison.js';
import { bytes, percent } from './format.js';
import { type TextOptions, TextPage } from './text.js';
import { signedPercent } from './verdict.js';

export { type Comparison, compareReports, type NamedReport } from './comparison.js';

/** The comparison for a terminal. */
export function renderCompareText(comparison: Comparison, options: TextOptions): string {
  const page = new TextPage(options);
  const { runs, figures, findings } = comparison;
  page.heading('What changed');
  for (const sentence of comparison.conclusions) page.line(sentence, '  ');
  page.blank();
  page.heading('Side by side');
  const cells = (figure: ComparedFigure): string[] => [
    figure.title,
    ...runs.flatMap((_, i) => {
      const text = boundedText(figure, i);
      const change = figure.changes[i];
      return i === 0
        ? [text]
        : [
            text,
            change === null || change === undefined ? '' : `${signedPercent(change)}${figure.matters[i] ? ' !' : ''}`,
          ];
    }),
  ];
  const head = ['', ...runs.flatMap((run, i) => (i === 0 ? [shortName(run.name)] : [shortName(run.name), 'change']))];
  const outcome = ['Outcome', ...runs.flatMap((run, i) => (i === 0 ? [run.outcome] : [run.outcome, '']))];
  const carried = ['Carried by', ...runs.flatMap((run, i) => (i === 0 ? [run.carriedBy] : [run.carriedBy, '']))];
  const limit = (run: ComparedRun): string => {
    const top = topLimit(run);
    return top ? `${top[0]} ${percent(top[1])}` : '–';
  };
  const held = ['Held back by', ...runs.flatMap((run, i) => (i === 0 ? [limit(run)] : [limit(run), '']))];
  page.table(head, [outcome, carried, ...figures.map(cells), held]);
  page.line(
    '! marks a change larger than single runs differ by; ≥ marks a lower bound of an unfinished run.',
    '  ',
    'dim',
  );
  page.blank();
  if (findings.length > 0) {
    page.heading('Findings');
    page.table(
      ['', ...runs.map((run) => shortName(run.name))],
      findings.map(({ rule, title, severities }) => [
        `${rule} ${title}`,
        ...severities.map((severity) => severity ?? '–'),
      ]),
    );
    page.blank();
  }
  const most = Math.max(...runs.map((run) => run.rounds.length));
  if (most > 0) {
    page.heading('By round: sent, and dirtied meanwhile');
    page.table(
      ['round', ...runs.map((run) => shortName(run.name))],
      Array.from({ length: Math.min(most, 16) }, (_, row) => [
        String(row + 1),
        ...runs.map(({ rounds }) => {
          const round = rounds[row];
          return round ? `${bytes(round.bytes)} / ${bytes(round.dirtiedBytes)}` : '';
        }),
      ]),
    );
    if (most > 16) page.line(`… and ${most - 16} more rounds.`, '  ');
  }
  return page.text();
}

const shortName = (name: string): string => (name.length > 18 ? `…${name.slice(-17)}` : name);

/** The comparison as a page of its own, like the report's. */
export async function renderCompareHtml(comparison: Comparison): Promise<string> {
  const { renderComparePage } = await import('./compare-page.js');
  return renderComparePage(comparison);
}
