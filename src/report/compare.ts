// The comparison for people: terminal here, the page in a file of its own that is loaded when it is wanted.
import type { ComparedFigure, Comparison } from './comparison.js';
import { boundedText, changeText, MARKS_EXPLAINED, topLimit } from './conclusions.js';
import { bytes, percent } from './format.js';
import { type TextOptions, TextPage } from './text.js';
import { LIMIT_WORDS } from './verdict.js';

export { type Comparison, compareReports, type NamedReport } from './comparison.js';

/** Rounds shown one by one; the rest is counted. */
const ROUNDS = 16;

/** The comparison for a terminal. */
export function renderCompareText(comparison: Comparison, options: TextOptions): string {
  const page = new TextPage(options);
  const { runs, figures, findings } = comparison;
  const names = runs.map(({ name }) => shortName(name));
  page.heading('What changed');
  for (const sentence of comparison.conclusions) page.line(sentence, '  ');
  page.blank();
  page.heading('Side by side');
  const lines: readonly (readonly [title: string, value: (i: number) => string, change?: (i: number) => string])[] = [
    ['Outcome', (i) => runs[i]!.outcome],
    ['Carried by', (i) => runs[i]!.carriedBy],
    ...figures.map((figure) => [figure.title, (i: number) => boundedText(figure, i), changeOf(figure)] as const),
  ];
  writeBlocks(page, runs.length, (shown) => ({
    head: ['', ...shown.flatMap((i) => (i === 0 ? [names[i]!] : [names[i]!, 'change']))],
    rows: lines.map(([title, value, change]) => [
      title,
      ...shown.flatMap((i) => (i === 0 ? [value(i)] : [value(i), change?.(i) ?? ''])),
    ]),
  }));
  const held = runs.flatMap((run) => {
    const top = topLimit(run);
    return top ? [`${run.name} by ${LIMIT_WORDS[top[0]]} (${percent(top[1])})`] : [];
  });
  if (held.length > 0) page.line(`Held back mostly: ${held.join('; ')}.`, '  ');
  page.line(`! marks a change larger than single runs differ by; ${MARKS_EXPLAINED}`, '  ', 'dim');
  page.blank();
  if (findings.length > 0) {
    page.heading('Findings');
    writeBlocks(page, runs.length, (shown) => ({
      head: ['', ...shown.map((i) => names[i]!)],
      rows: findings.map(({ rule, title, severities }) => [
        `${rule} ${title}`,
        ...shown.map((i) => severities[i] ?? '–'),
      ]),
    }));
    page.blank();
  }
  const most = Math.max(...runs.map((run) => run.rounds.length));
  if (most > 0) {
    page.heading('By round: sent, and dirtied meanwhile');
    writeBlocks(page, runs.length, (shown) => ({
      head: ['round', ...shown.map((i) => names[i]!)],
      rows: Array.from({ length: Math.min(most, ROUNDS) }, (_, row) => [
        String(row + 1),
        ...shown.map((i) => {
          const round = runs[i]!.rounds[row];
          return round ? `${bytes(round.bytes)} / ${bytes(round.dirtiedBytes)}` : '';
        }),
      ]),
    }));
    if (most > ROUNDS) page.line(`… and ${most - ROUNDS} more rounds.`, '  ');
  }
  return page.text();
}

const changeOf =
  (figure: ComparedFigure) =>
  (i: number): string => {
    const change = changeText(figure, i);
    return figure.matters[i] && change !== '' ? `${change} !` : change;
  };

interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** As many runs as fit side by side, then the next ones below; each time beside the first, the yardstick, where there is room. */
function writeBlocks(page: TextPage, runs: number, tableOf: (shown: readonly number[]) => Table): void {
  const fits = (shown: readonly number[]): boolean => {
    const { head, rows } = tableOf(shown);
    return page.fits(head, rows);
  };
  for (let next = 0; next < runs; ) {
    if (next > 0) page.blank();
    const shown = next > 0 && fits([0, next]) ? [0, next] : [next];
    next++;
    while (next < runs && fits([...shown, next])) shown.push(next++);
    const { head, rows } = tableOf(shown);
    page.table(head, rows);
  }
}

const shortName = (name: string): string => (name.length > 18 ? `…${name.slice(-17)}` : name);

/** The comparison as a page of its own, like the report's. */
export async function renderCompareHtml(comparison: Comparison): Promise<string> {
  const { renderComparePage } = await import('./compare-page.js');
  return renderComparePage(comparison);
}
