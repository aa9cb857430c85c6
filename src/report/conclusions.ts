// A comparison in words: what changed, whether like was compared with like, and what held either run back.
import { LIMITS, type Limit } from '../decode/tcp/results.js';
import type { ComparedFigure, ComparedFinding, ComparedRun } from './comparison.js';
import { bitRate, bytes, count, digits, duration, memory, percent } from './format.js';
import { CERTAINTY_MARKS, CERTAINTY_WORDS, isPlain } from './pause.js';
import type { Severity } from './report.js';
import { LIMIT_WORDS, signedPercent } from './verdict.js';

function outcomeOf(run: ComparedRun, downtime: string | null): string {
  const span = `${run.begun ? '' : 'at least '}${duration(run.spanNs)}`;
  switch (run.outcome) {
    case 'completed':
      return `${run.name} completed ${run.begun ? 'in' : 'after'} ${span}${downtime === null ? '' : ` with ${downtime} downtime`}`;
    case 'cancelled':
      return `${run.name} was cancelled after ${span}`;
    case 'failed':
      return `${run.name} failed after ${span}`;
    case 'incomplete':
      return `${run.name} was not seen to finish in ${span}`;
    case 'no-migration':
      return `${run.name} holds no migration`;
  }
}

/** One sentence each, most important first; nothing of the first run, which is the yardstick. */
export function conclusionsOf(
  runs: readonly ComparedRun[],
  figures: readonly ComparedFigure[],
  findings: readonly ComparedFinding[],
): string[] {
  const [base] = runs;
  const downtime = figures.find(({ id }) => id === 'downtime');
  const outcome = (i: number): string => outcomeOf(runs[i]!, downtime ? wordedText(downtime, i) : null);
  return runs
    .flatMap((run, i): (string | null)[] => {
      if (i === 0) return [];
      const changed = figures.filter((figure) => figure.matters[i]);
      const results = changed.filter(({ condition }) => condition === null);
      const worse = results.filter(({ values, better }) => values[i]! > values[0]! === (better === 'lower'));
      const better = results.filter((figure) => !worse.includes(figure));
      const list = (some: readonly ComparedFigure[]): string =>
        some.map((figure) => `${figure.title.toLowerCase()} ${changeWords(figure, i)}`).join('; ');
      const open = figures
        .filter((figure) => figure.condition === null && changeText(figure, i) === '?')
        .map(({ title }) => title.toLowerCase())
        .join(', ');
      const [top, baseTop] = [topLimit(run), topLimit(base!)];
      const cause = (severity: Severity | null | undefined): boolean => !!severity && severity !== 'info';
      const titles = (from: number, to: number): string =>
        findings
          .filter(({ severities }) => cause(severities[from]) && !cause(severities[to]))
          .map(({ title }) => title)
          .join(', ');
      const [gone, fresh] = [titles(0, i), titles(i, 0)];
      return [
        run.outcome !== base!.outcome ? `${outcome(i)}; ${outcome(0)}.` : null,
        run.carriedBy !== base!.carriedBy
          ? `${run.name} went over ${run.carriedBy}, ${base!.name} over ${base!.carriedBy}.`
          : null,
        better.length > 0 ? `Better in ${run.name} than in ${base!.name}: ${list(better)}.` : null,
        worse.length > 0 ? `Worse in ${run.name}: ${list(worse)}.` : null,
        results.length === 0
          ? `${run.name} against ${base!.name}: no figure differs by more than single runs do.`
          : null,
        open === '' ? null : `What the captures hold does not tell whether these changed: ${open}.`,
        changed.length > 0 ? conditionsOf(figures, i) || null : null,
        top && baseTop && top[0] !== baseTop[0]
          ? `${base!.name} was held back mostly by ${LIMIT_WORDS[baseTop[0]]} (${percent(baseTop[1])}), ${run.name} by ${LIMIT_WORDS[top[0]]} (${percent(top[1])}).`
          : null,
        run.congestionControl !== base!.congestionControl && run.congestionControl && base!.congestionControl
          ? `Congestion control of ${base!.name} looks ${base!.congestionControl}; of ${run.name} ${run.congestionControl}.`
          : null,
        gone === '' ? null : `No longer seen in ${run.name}: ${gone}.`,
        fresh === '' ? null : `New in ${run.name}: ${fresh}.`,
      ];
    })
    .filter((sentence) => sentence !== null);
}

/** Whether the runs were given the same, so that what differs comes from how the data was carried. */
function conditionsOf(figures: readonly ComparedFigure[], i: number): string {
  const known = figures.filter(
    ({ condition, values }) => condition !== null && values[0] !== null && values[i] !== null,
  );
  const changes = (condition: ComparedFigure['condition']): string =>
    known
      .filter((figure) => figure.matters[i] && figure.condition === condition)
      .map((figure) => `${figure.title.toLowerCase()} ${changeWords(figure, i)}`)
      .join('; ');
  const unlike = changes('given');
  if (unlike !== '') return `They were not given the same, so the comparison is not one of like with like: ${unlike}.`;
  const same = known
    .filter((figure) => !figure.matters[i])
    .map((figure) => `${figure.title.toLowerCase()} (${figureText(figure, i)})`);
  const seen = changes('as-seen');
  return [
    same.length > 0
      ? `Both were given the same: ${same.join(', ')}; what differs comes from how the data was carried.`
      : '',
    seen === '' ? '' : `Unlike only as seen, because a page counts once a round and longer rounds show fewer: ${seen}.`,
  ]
    .filter((sentence) => sentence !== '')
    .join(' ');
}

export function topLimit(run: ComparedRun): [Limit, number] | null {
  let top: [Limit, number] | null = null;
  for (const limit of LIMITS) {
    const share = run.limits[limit] ?? 0;
    if (limit !== 'idle' && share > (top?.[1] ?? 0)) top = [limit, share];
  }
  return top;
}

/** "≥ 18.0 s → 4.10 s (−77 % or more)". */
function changeWords(figure: ComparedFigure, i: number): string {
  const change = figure.changes[i];
  const share =
    change === null || change === undefined
      ? ''
      : ` (${signedPercent(change)}${figure.changeCertainty[i] === 'exact' ? '' : ' or more'})`;
  return `${boundedText(figure, 0)} → ${boundedText(figure, i)}${share}`;
}

const CHANGE_MARKS = { exact: '', 'at-least': '≥ ', 'at-most': '≤ ' } as const;

/** "−77 %"; "≤ −91 %" where it is a bound; "?" where the values are known but their bounds allow more and less; else nothing. */
export function changeText(figure: ComparedFigure, i: number): string {
  const change = figure.changes[i] ?? null;
  if (change !== null) return `${CHANGE_MARKS[figure.changeCertainty[i] ?? 'exact']}${signedPercent(change)}`;
  const [base, at] = [figure.certainty[0], figure.certainty[i]];
  const known = i > 0 && base && at && figure.values[0] && figure.values[i];
  return known && !(isPlain(base) && isPlain(at)) ? '?' : '';
}

/** A value of a figure as the reader sees it. */
function figureText({ unit, values, certainty, ranges }: ComparedFigure, i: number): string {
  const value = (certainty[i] === 'at-most' ? ranges[i]?.[1] : values[i]) ?? null;
  if (value === null) return '–';
  switch (unit) {
    case 'ns':
      return duration(value);
    case 'bytes':
      return bytes(value);
    case 'memory':
      return memory(value);
    case 'bytes/s':
      return bitRate(value);
    case 'share':
      return percent(value);
    case 'factor':
      return `× ${digits(value)}`;
    case 'count':
      return count(value);
  }
}

/** The same, marked where it is a bound or a doubtful estimate. */
export const boundedText = (figure: ComparedFigure, i: number): string =>
  `${CERTAINTY_MARKS[figure.certainty[i] ?? 'exact']}${figureText(figure, i)}`;

/** The same in a sentence; null where the value is unknown. */
const wordedText = (figure: ComparedFigure, i: number): string | null => {
  const certainty = figure.certainty[i] ?? null;
  return certainty === null ? null : `${CERTAINTY_WORDS[certainty]}${figureText(figure, i)}`;
};

/** What the marks of a table mean. */
export const MARKS_EXPLAINED =
  '≥ and ≤ mark bounds (of a run that is not all in its capture, or of what the wire shows), ~ an uncertain estimate; ? a change that the bounds leave open.';
