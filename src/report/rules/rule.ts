// The contract of a diagnosis rule: what it looks at, what it may say, and how it explains itself.
//
// A rule is a pure function of the finished result. It returns observations; the engine turns them into findings
// (identity, confidence caps from the capture's quality, severity from cost, chains of cause and symptom, order).
// Catalogue, ids and first thresholds: the diagnosis catalogue in docs/.
import type { Migration, ReportData, Severity } from '../report.js';
import type { Transfer } from './transfer.js';

/** What a rule needs to see: packets only, the decoded migration stream, or guest-facing frames as well. */
export type Layer = 'L0' | 'L1' | 'L2';

/** A quality of the capture that a conclusion rests on; rules of group J may cap the confidence of all that rest on it. */
export type Aspect = 'loss' | 'window' | 'timing' | 'stream' | 'rates';

/** A named number a rule compares with; every one can be overridden (see DiagnoseOptions.thresholds). */
export interface Threshold {
  readonly value: number;
  readonly unit: string;
  readonly meaning: string;
}
export type Thresholds = Readonly<Record<string, Threshold>>;
/** The values a rule runs with, by the names of its thresholds. */
export type Limits<T extends Thresholds = Thresholds> = { readonly [Name in keyof T]: number };

/** The text behind `migscope explain`. */
export interface Explanation {
  /** What the finding means for the migration. */
  readonly meaning: string;
  /** What in the packets shows it. */
  readonly evidence: string;
  /** What looks alike, and how it is told apart. */
  readonly confusedWith: string;
  readonly advice: readonly string[];
}

/** What a rule saw, before the engine judges it. Absent fields take the neutral value of Finding. */
export interface Observation {
  /** Default: from the cost, see severityOf() in engine.ts. */
  readonly severity?: Severity;
  /** 0 … 1, before caps. */
  readonly confidence: number;
  /** [startNs, endNs]; this or `packets` must hold something, or the observation is dropped. */
  readonly interval?: readonly (readonly [number, number])[];
  readonly packets?: readonly number[];
  readonly metrics: Readonly<Record<string, number | string | null>>;
  readonly text: string;
  readonly advice?: readonly string[];
  readonly alternatives?: readonly string[];
  readonly cost?: { readonly of: 'migration-time' | 'downtime'; readonly ns: number } | null;
  readonly transfer?: Transfer;
  readonly migration?: Migration;
  /** Default: those of `transfer`. */
  readonly connections?: readonly number[];
  /** Group J only: the highest confidence left to conclusions that rest on an aspect. */
  readonly caps?: Partial<Readonly<Record<Aspect, number>>>;
}

export interface RuleContext {
  readonly report: ReportData;
  /** What moved data over TCP: each migration, or without any migration each bulk connection by itself. */
  readonly transfers: readonly Transfer[];
  /** Every migration, over whatever transport; one without TCP has no flows. */
  readonly migrations: readonly Transfer[];
  /** The downtime the operator accepts; decides what counts as too long. */
  readonly downtimeLimitNs: number;
}

export interface RuleDefinition<T extends Thresholds> {
  /** Catalogue id, also the file name: 'R-A1'. */
  readonly id: string;
  /** A noun for the failing state. */
  readonly title: string;
  readonly layer: Layer;
  /** Tables and parts of the result without which the rule stays silent, e.g. 'timeline', 'rounds'. */
  readonly needs: readonly string[];
  readonly restsOn: readonly Aspect[];
  /** Rules whose findings are only symptoms when this one speaks, no less severely, about the same migration. */
  readonly explains: readonly string[];
  readonly thresholds: T;
  readonly about: Explanation;
  run(context: RuleContext, limits: Limits<T>): readonly Observation[];
  /** One clause such as 'no retransmission in 24 123 segments' when the data positively excludes this cause; else null. */
  ruledOut?(context: RuleContext, limits: Limits<T>): string | null;
}

/** A rule as the index holds it: whatever its thresholds are called, and with its explanation as one text. */
export interface Rule extends RuleDefinition<Thresholds> {
  /** Paragraphs for `migscope explain`, separated by empty lines; no line breaks inside a paragraph. */
  readonly explanation: string;
}

/** Keeps the threshold names of one rule typed inside it, and renders its explanation. */
export function defineRule<const T extends Thresholds>(definition: RuleDefinition<T>): Rule {
  return { ...(definition as unknown as RuleDefinition<Thresholds>), explanation: explain(definition) };
}

function explain({ layer, needs, thresholds, about, explains }: RuleDefinition<Thresholds>): string {
  const seen = {
    L0: 'packets only, so it works on encrypted migrations too',
    L1: 'the decoded migration stream',
    L2: 'frames of the guest’s own network as well',
  }[layer];
  const numbers = Object.entries(thresholds).map(
    ([name, { value, unit, meaning }]) => `  ${name} = ${value} ${unit}: ${meaning}`,
  );
  return [
    about.meaning,
    `Evidence. ${about.evidence}`,
    `Needs ${seen} (${layer}); from the result: ${needs.join(', ')}.`,
    `Confused with. ${about.confusedWith}`,
    ['What helps.', ...about.advice.map((line) => `  - ${line}`)].join('\n'),
    ...(numbers.length > 0 ? [['Thresholds.', ...numbers].join('\n')] : []),
    ...(explains.length > 0 ? [`About the same migration it also explains ${explains.join(', ')}.`] : []),
  ].join('\n\n');
}

/** Something a rule looked for and did not find; printed so that nobody looks again. */
export interface RuledOut {
  readonly rule: string;
  readonly title: string;
  readonly text: string;
}
