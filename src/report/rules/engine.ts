// The diagnosis engine: rules → observations → findings, in the order an operator should read them.
//
// Theory. The capture is judged first (group J): what it cannot show well caps the confidence of every conclusion that
// rests on it, and takes from rules the right to exclude what would not be seen. Then each rule speaks for itself. A finding that a louder one explains about the same migration is its
// symptom: the cause names it in `explains` and it is listed right after it. Causes are ordered by severity, then by
// what they cost. An observation without a frame or an interval to show for it is not a finding.
import type { Finding, ReportData, Severity } from '../report.js';
import { RULES } from './index.js';
import type { Aspect, Limits, Observation, Rule, RuleContext, RuledOut } from './rule.js';
import { MAJOR_DOWNTIME_FACTOR, MAJOR_TIME_NS, MAJOR_TIME_SHARE, MINOR_TIME_NS, MINOR_TIME_SHARE } from './severity.js';
import { bulkTransfersOf, migrationsOf, type Transfer } from './transfer.js';

export interface DiagnoseOptions {
  /** The downtime the operator accepts, ns. Default: QEMU's downtime-limit of 300 ms (migration/options.c). */
  readonly downtimeLimitNs?: number;
  /** Threshold values by rule id and name, e.g. { 'R-B1': { minRetransmittedShare: 0.01 } }. Unknown names are ignored. */
  readonly thresholds?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Default: all, in the order of the index. */
  readonly rules?: readonly Rule[];
}

const DEFAULT_DOWNTIME_LIMIT_NS = 300e6;
/** Without TCP these are empty, or about something else. */
const TCP_TABLES = new Set(['connections', 'timeline', 'tcpEvents', 'tcpEpisodes']);
/** What the capture shows less surely than this cannot be excluded by it. */
const CAN_EXCLUDE = 0.6;
/** Proof frames and intervals kept per finding. */
const PROOFS = 20;

/** A pure function of the result: same data, same findings. `report.findings` is not read. */
export function diagnose(report: ReportData, options: DiagnoseOptions = {}): Finding[] {
  return findingsIn(contextOf(report, options), options).findings;
}

/** What the rules can positively exclude, in the order of the index; rules that spoke are left out. */
export function ruledOut(report: ReportData, findings: readonly Finding[], options: DiagnoseOptions = {}): RuledOut[] {
  const context = contextOf(report, options);
  return ruledOutIn(context, findings, findingsIn(context, options).caps, options);
}

/** Both at once: what rules ask to speak and to exclude is worked out once. */
export function conclude(
  report: ReportData,
  options: DiagnoseOptions = {},
): { readonly findings: Finding[]; readonly ruledOut: RuledOut[] } {
  const context = contextOf(report, options);
  const { findings, caps } = findingsIn(context, options);
  return { findings, ruledOut: ruledOutIn(context, findings, caps, options) };
}

type Caps = ReadonlyMap<Aspect, number>;

function findingsIn(
  context: RuleContext,
  options: DiagnoseOptions,
): { readonly findings: Finding[]; readonly caps: Caps } {
  const drafts: Draft[] = [];
  const caps = new Map<Aspect, number>();
  for (const rule of options.rules ?? RULES) {
    for (const observation of rule.run(context, limitsOf(rule, options))) {
      for (const [aspect, cap] of Object.entries(observation.caps ?? {}) as [Aspect, number][]) {
        caps.set(aspect, Math.min(cap, caps.get(aspect) ?? 1));
      }
      const finding = findingOf(rule, observation, caps, context);
      if (finding) drafts.push({ finding, rule, weight: weightOf(observation, finding, context) });
    }
  }
  return { findings: inChains(drafts.sort(louderFirst)), caps };
}

function ruledOutIn(
  context: RuleContext,
  findings: readonly Finding[],
  caps: Caps,
  options: DiagnoseOptions,
): RuledOut[] {
  if (context.transfers.length === 0 && context.migrations.length === 0) return [];
  const overTcp = context.transfers.length > 0;
  const spoke = new Set(findings.map((finding) => finding.rule));
  return (options.rules ?? RULES).flatMap((rule) => {
    if (!overTcp && rule.needs.some((table) => TCP_TABLES.has(table))) return []; // nothing to exclude it by
    if (rule.restsOn.some((aspect) => (caps.get(aspect) ?? 1) < CAN_EXCLUDE)) return []; // not seen is not absent
    const text = spoke.has(rule.id) ? null : (rule.ruledOut?.(context, limitsOf(rule, options)) ?? null);
    return text === null ? [] : [{ rule: rule.id, title: rule.title, text }];
  });
}

function contextOf(report: ReportData, options: DiagnoseOptions): RuleContext {
  const migrations = migrationsOf(report);
  return {
    report,
    transfers: migrations.length > 0 ? migrations.filter(({ flows }) => flows.length > 0) : bulkTransfersOf(report),
    migrations,
    downtimeLimitNs: options.downtimeLimitNs ?? DEFAULT_DOWNTIME_LIMIT_NS,
  };
}

function limitsOf(rule: Rule, options: DiagnoseOptions): Limits {
  const chosen = options.thresholds?.[rule.id];
  return Object.fromEntries(
    Object.entries(rule.thresholds).map(([name, threshold]) => [name, chosen?.[name] ?? threshold.value]),
  );
}

interface Draft {
  readonly finding: Finding;
  readonly rule: Rule;
  /** The cost as a share of its own reference, for ordering. */
  readonly weight: number;
}

function findingOf(rule: Rule, observation: Observation, caps: Caps, context: RuleContext): Finding | null {
  const packets = [...new Set(observation.packets ?? [])].filter((frame) => frame > 0).slice(0, PROOFS);
  const interval = (observation.interval ?? [])
    .filter(([from, to]) => Number.isFinite(to - from) && from <= to)
    .slice(0, PROOFS);
  if (packets.length === 0 && interval.length === 0) return null;
  const cap = Math.min(1, ...rule.restsOn.map((aspect) => caps.get(aspect) ?? 1));
  const cost =
    observation.cost && observation.cost.ns > 0 && Number.isFinite(observation.cost.ns) ? observation.cost : null;
  return {
    rule: rule.id,
    title: rule.title,
    severity: observation.severity ?? severityOf(cost, observation.transfer, context),
    confidence: Math.round(100 * Math.max(0, Math.min(cap, observation.confidence))) / 100,
    interval,
    metrics: finite(observation.metrics),
    packets,
    text: observation.text,
    advice: observation.advice ?? [],
    alternatives: observation.alternatives ?? [],
    cost: cost && { of: cost.of, ns: Math.round(cost.ns) },
    explains: [],
    migration: (observation.migration ?? observation.transfer?.migration)?.id ?? null,
    connections:
      observation.connections ?? observation.transfer?.connectionIds ?? observation.migration?.connections ?? [],
  };
}

/** Major from MAJOR_TIME_SHARE of the transfer (and MAJOR_TIME_NS) or MAJOR_DOWNTIME_FACTOR times the downtime limit; info when it costs nothing. */
export function severityOf(cost: Finding['cost'], transfer: Transfer | undefined, context: RuleContext): Severity {
  if (!cost) return 'info';
  if (cost.of === 'downtime') {
    if (cost.ns >= MAJOR_DOWNTIME_FACTOR * context.downtimeLimitNs) return 'major';
    return cost.ns > context.downtimeLimitNs ? 'minor' : 'info';
  }
  const share = transfer && transfer.durationNs > 0 ? cost.ns / transfer.durationNs : 0;
  if (share >= MAJOR_TIME_SHARE && cost.ns >= MAJOR_TIME_NS) return 'major';
  return share >= MINOR_TIME_SHARE && cost.ns >= MINOR_TIME_NS ? 'minor' : 'info';
}

const finite = (metrics: Observation['metrics']): Finding['metrics'] =>
  Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [
      name,
      typeof value === 'number' && !Number.isFinite(value) ? null : value,
    ]),
  );

function weightOf(observation: Observation, finding: Finding, context: RuleContext): number {
  if (!finding.cost) return 0;
  const reference =
    finding.cost.of === 'downtime'
      ? context.downtimeLimitNs
      : (observation.transfer?.durationNs ?? Number.POSITIVE_INFINITY);
  return reference > 0 ? Math.min(1, finding.cost.ns / reference) : 0;
}

const SEVERITIES: readonly Severity[] = ['fatal', 'major', 'minor', 'info'];

/** Severity, then cost × confidence; the stable sort keeps the order of the index among equals. */
const louderFirst = (a: Draft, b: Draft): number =>
  SEVERITIES.indexOf(a.finding.severity) - SEVERITIES.indexOf(b.finding.severity) ||
  b.weight * b.finding.confidence - a.weight * a.finding.confidence;

/**
 * Groups each finding under the cause that explains it: the loudest about the same migration that is no less severe.
 * A chain stands where its loudest member would; `drafts` come loudest first. The `explains` relation has no cycles.
 */
function inChains(drafts: readonly Draft[]): Finding[] {
  const causeOf = (symptom: Draft): Draft | undefined =>
    drafts.find(
      ({ finding, rule }) =>
        finding.severity !== 'info' &&
        SEVERITIES.indexOf(finding.severity) <= SEVERITIES.indexOf(symptom.finding.severity) &&
        rule.explains.includes(symptom.rule.id) &&
        finding.migration === symptom.finding.migration,
    );
  const rootOf = (draft: Draft): Draft => {
    const cause = causeOf(draft);
    return cause ? rootOf(cause) : draft;
  };
  const chains = new Map<Draft, Draft[]>();
  for (const draft of drafts) {
    const root = rootOf(draft);
    const symptoms = chains.get(root) ?? [];
    if (draft !== root) symptoms.push(draft);
    chains.set(root, symptoms);
  }
  return [...chains].flatMap(([root, symptoms]) => [
    { ...root.finding, explains: [...new Set(symptoms.map((symptom) => symptom.rule.id))] },
    ...symptoms.map((symptom) => symptom.finding),
  ]);
}
