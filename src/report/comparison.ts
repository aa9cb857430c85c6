// Two or more runs side by side: what changed, by how much, and whether it matters.
//
// The first run is the yardstick. A run is the largest migration of a report, or its heaviest connection where there is
// none. One run each is a sample of one, so a change must exceed both a share and an amount before it is said to matter.
import type { Limit } from '../decode/tcp/results.js';
import { conclusionsOf } from './conclusions.js';
import { hasUnsureRounds, isJoinedMidway, isLate } from './extent.js';
import { fileName, plain } from './format.js';
import { type Certainty, isPlain, pauseBounds, pauseCertainty } from './pause.js';
import type { Connection, Migration, ReportData, Severity } from './report.js';
import {
  type Carrier,
  carrier,
  carriersOf,
  dirtiedBytes,
  flowsOf,
  migrationTraffic,
  payloadBytesOf,
  type Traffic,
  trafficOf,
} from './traffic.js';
import { congestionControlOf } from './verdict.js';

/** Relative change that is not taken for noise between two single runs. */
const NOISE_SHARE = 0.1;
const TIMELINE_BINS = 700;

export interface NamedReport {
  readonly name: string;
  readonly report: ReportData;
}

export interface Comparison {
  readonly schema: 'migscope.comparison';
  readonly schemaVersion: 1;
  readonly generator: ReportData['generator'];
  readonly runs: readonly ComparedRun[];
  readonly figures: readonly ComparedFigure[];
  readonly findings: readonly ComparedFinding[];
  /** What changed, one sentence each, most important first. */
  readonly conclusions: readonly string[];
}

export interface ComparedRun {
  readonly name: string;
  readonly outcome: Migration['outcome'] | 'no-migration';
  readonly path: string;
  /** 'TCP', or the transports over UDP that carry it. */
  readonly carriedBy: string;
  /** Whether its end, and whether its beginning, is in the capture; what such a run adds up is a lower bound otherwise. */
  readonly finished: boolean;
  readonly begun: boolean;
  readonly spanNs: number;
  readonly limits: Readonly<Partial<Record<Limit, number>>>;
  /** How its heaviest connection answers loss; null where the packets do not tell. */
  readonly congestionControl: string | null;
  /** Times relative to the run's start. */
  readonly rounds: readonly {
    readonly index: number;
    readonly startNs: number;
    readonly endNs: number;
    readonly bytes: number;
    readonly goodput: number;
    readonly dirtiedBytes: number | null;
  }[];
  /** Goodput on a clock that starts with the run, bytes per second per bin; bins are equally wide in all runs. */
  readonly timeline: {
    readonly binNs: number;
    readonly goodput: readonly number[];
    readonly retransmittedBytes: readonly number[];
  };
}

export type FigureUnit = 'ns' | 'bytes' | 'memory' | 'bytes/s' | 'count' | 'share' | 'factor';

export interface ComparedFigure {
  readonly id: string;
  readonly title: string;
  readonly unit: FigureUnit;
  readonly better: 'lower' | 'higher' | null;
  /**
   * What a run was given (guest memory, path, connections) rather than what came out of it; null of the latter. 'as-seen'
   * where the run itself colours it: a page counts as dirtied once a round, so a run with longer rounds shows fewer.
   */
  readonly condition: 'given' | 'as-seen' | null;
  readonly values: readonly (number | null)[];
  /** How each value stands to the truth; null where it is unknown. */
  readonly certainty: readonly (Certainty | null)[];
  /** Between which the truth lies, in the unit; null where it is the value itself or nothing is known, and for an end that is open. */
  readonly ranges: readonly (readonly [least: number | null, most: number | null] | null)[];
  /** Values that are lower bounds: `certainty` is 'at-least'. */
  readonly lowerBound: readonly boolean[];
  /**
   * Relative change against the first run; null for it, where either is unknown or zero, and where their bounds allow more
   * and less alike. Where they allow only one, the smallest change that they do.
   */
  readonly changes: readonly (number | null)[];
  /** 'at-least' and 'at-most' where only a bound of the change is known; null with it. */
  readonly changeCertainty: readonly ('exact' | 'at-least' | 'at-most' | null)[];
  /** Whether the change exceeds what single runs differ by, and what the values may be off by. */
  readonly matters: readonly boolean[];
}

export interface ComparedFinding {
  readonly rule: string;
  readonly title: string;
  /** Severity per run; null where the rule was silent. */
  readonly severities: readonly (Severity | null)[];
}

interface Measured {
  readonly report: ReportData;
  readonly migration: Migration | null;
  readonly carriers: readonly Carrier[];
  readonly startNs: number;
  readonly endNs: number;
  readonly traffic: Traffic;
  readonly finished: boolean;
  readonly begun: boolean;
}

/** A value that is not simply so. */
interface Unsure {
  readonly certainty: Exclude<Certainty, 'exact'>;
  readonly range: ComparedFigure['ranges'][number];
}

interface FigureKind {
  readonly id: string;
  readonly title: string;
  readonly unit: FigureUnit;
  readonly better: ComparedFigure['better'];
  /** Smallest absolute change that can matter, in the unit. */
  readonly floor: number;
  /** Grows while the run goes on, so a run that is not all there gives a lower bound. */
  readonly grows: boolean;
  readonly condition?: 'given' | 'as-seen';
  value(run: Measured): number | null;
  /** null where the value is what it says. */
  unsure?(run: Measured): Unsure | null;
}

const FIGURES: readonly FigureKind[] = [
  {
    id: 'total',
    title: 'Total time',
    unit: 'ns',
    better: 'lower',
    floor: 50e6,
    grows: true,
    value: (run) => run.endNs - run.startNs,
  },
  {
    id: 'downtime',
    title: 'Downtime',
    unit: 'ns',
    better: 'lower',
    floor: 5e6,
    grows: false,
    value: ({ migration }) => migration?.downtime?.estimateNs ?? null,
    unsure: ({ migration }) =>
      migration?.downtime
        ? { certainty: pauseCertainty(migration.downtime), range: pauseBounds(migration.downtime) }
        : null,
  },
  {
    id: 'rounds',
    title: 'Rounds',
    unit: 'count',
    better: 'lower',
    floor: 1,
    grows: true,
    value: ({ migration }) => migration?.rounds.length || null,
    unsure: ({ migration }) => (migration && hasUnsureRounds(migration) ? { certainty: 'perhaps', range: null } : null),
  },
  {
    id: 'goodput',
    title: 'Goodput',
    unit: 'bytes/s',
    better: 'higher',
    floor: 0,
    grows: false,
    value: ({ traffic }) => traffic.goodput,
  },
  {
    id: 'bytes',
    title: 'Data sent',
    unit: 'bytes',
    better: 'lower',
    floor: 1e6,
    grows: true,
    value: ({ migration, traffic }) => migration?.bytes.total ?? traffic.uniqueBytes,
  },
  {
    id: 'amplification',
    title: 'Copies of each page',
    unit: 'factor',
    better: 'lower',
    floor: 0.02,
    grows: true,
    value: ({ migration }) =>
      migration?.pages.distinct && migration.pages.resent !== null
        ? 1 + migration.pages.resent / migration.pages.distinct
        : null,
  },
  {
    id: 'memory',
    title: 'Guest memory',
    unit: 'memory',
    better: null,
    floor: 0,
    grows: false,
    condition: 'given',
    value: ({ migration }) => migration?.ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0) || null,
  },
  {
    id: 'dirtyRate',
    title: 'Dirtied per second',
    unit: 'bytes/s',
    better: null,
    floor: 0,
    grows: false,
    condition: 'as-seen',
    value: ({ migration }) => dirtyRate(migration),
  },
  {
    id: 'retransmitted',
    title: 'Retransmitted',
    unit: 'share',
    better: 'lower',
    floor: 0.0005,
    grows: false,
    value: ({ traffic }) => traffic.retransmittedShare,
  },
  {
    id: 'timeouts',
    title: 'Timeouts',
    unit: 'count',
    better: 'lower',
    floor: 1,
    grows: true,
    value: ({ carriers }) =>
      carriers.length === 0
        ? null
        : carriers.reduce((sum, { connection, side }) => sum + connection.directions[side].retransmissions.timeout, 0),
  },
  {
    id: 'rttMin',
    title: 'Best round trip',
    unit: 'ns',
    better: 'lower',
    floor: 0.2e6,
    grows: false,
    condition: 'given',
    value: ({ traffic }) => traffic.rttMinNs,
  },
  {
    id: 'rttP50',
    title: 'Median round trip',
    unit: 'ns',
    better: 'lower',
    floor: 0.2e6,
    grows: false,
    value: ({ traffic }) => traffic.rttP50Ns,
  },
  {
    id: 'rttP95',
    title: 'Round trip p95',
    unit: 'ns',
    better: 'lower',
    floor: 0.5e6,
    grows: false,
    value: ({ traffic }) => traffic.rttP95Ns,
  },
  {
    id: 'channels',
    title: 'Data connections',
    unit: 'count',
    better: null,
    floor: 0,
    grows: false,
    condition: 'given',
    value: ({ carriers }) => carriers.length || null,
  },
];

/** Compares two or more runs; the first is the yardstick. */
export function compareReports(reports: readonly NamedReport[]): Comparison {
  const measured = reports.map(({ report }) => measure(report));
  const names = distinctNames(reports.map(({ name }) => name));
  const longestNs = Math.max(...measured.map((run) => run.endNs - run.startNs));
  const binNs = Math.max(1e6, Math.ceil(longestNs / TIMELINE_BINS));
  const runs = measured.map((run, i) => comparedRun(names[i]!, run, binNs));
  const figures = FIGURES.map((kind) => comparedFigure(kind, measured)).filter((figure) =>
    figure.values.some((value) => value !== null),
  );
  const findings = comparedFindings(measured);
  return {
    schema: 'migscope.comparison',
    schemaVersion: 1,
    generator: reports[0]!.report.generator,
    runs,
    figures,
    findings,
    conclusions: conclusionsOf(runs, figures, findings),
  };
}

function measure(report: ReportData): Measured {
  const migration = report.migrations.reduce<Migration | null>(
    (largest, one) => (largest === null || one.bytes.total > largest.bytes.total ? one : largest),
    null,
  );
  const heaviest = report.connections.reduce<Connection | null>(
    (best, one) => (best === null || payloadBytesOf(one) > payloadBytesOf(best) ? one : best),
    null,
  );
  const carriers = migration ? carriersOf(report, migration) : heaviest ? [carrier(heaviest, null)] : [];
  const { startNs, endNs } = migration ?? heaviest ?? { startNs: 0, endNs: report.capture.durationNs };
  return {
    report,
    migration,
    carriers,
    startNs,
    endNs,
    traffic: migration ? migrationTraffic(report, migration) : trafficOf(carriers, endNs - startNs),
    finished: migration ? migration.outcome === 'completed' : heaviest !== null && heaviest.endedBy !== 'capture-end',
    begun: migration ? !isJoinedMidway(report, migration) : heaviest !== null && !isLate(heaviest),
  };
}

function carriedBy({ report, migration, carriers }: Measured): string {
  if (carriers.length > 0) return 'TCP';
  const names = migration ? flowsOf(report, migration).map((flow) => plain(flow.transport, 30).toUpperCase()) : [];
  return [...new Set(names)].join(', ') || '–';
}

/** Bytes of distinct pages dirtied per second, over all rounds that say so. */
function dirtyRate(migration: Migration | null): number | null {
  if (!migration || migration.stream.pageSize === null) return null;
  let pages = 0;
  let seconds = 0;
  for (const round of migration.rounds) {
    // Of a round that was joined midway all of its pages are known, but not all of its time.
    if (round.dirtyPagesPerSecond === null || round.boundary === 'joined-midway') continue;
    const span = (round.endNs - round.startNs) / 1e9;
    pages += round.dirtyPagesPerSecond * span;
    seconds += span;
  }
  return seconds > 0 ? (pages * migration.stream.pageSize) / seconds : null;
}

/** File names without what all have in common, so that columns stay narrow. */
function distinctNames(names: readonly string[]): string[] {
  // Taken apart before it is made harmless: the escapes begin like a folder of Windows.
  const parts = names.map((name) =>
    (name === '-' ? fileName(name) : name.replace(/\.(pcap|pcapng|json)(\.(gz|zst))?$/i, ''))
      .split(/[\\/]/)
      .map((part) => plain(part, 200)),
  );
  const cleaned = parts.map((path) => path.join('/'));
  for (let depth = 1; depth <= 4; depth++) {
    const short = parts.map((path) => path.slice(-depth).join('/'));
    if (new Set(short).size === short.length) return dropCommonEnd(short);
  }
  return cleaned.map((name, i) => `${name.slice(-24)} (${i + 1})`);
}

/** 'a/src', 'b/src' → 'a', 'b'. */
function dropCommonEnd(names: readonly string[]): string[] {
  const paths = names.map((name) => name.split('/'));
  if (paths.every((path) => path.length > 1 && path.at(-1) === paths[0]!.at(-1))) {
    return paths.map((path) => path.slice(0, -1).join('/'));
  }
  return [...names];
}

function comparedRun(name: string, run: Measured, binNs: number): ComparedRun {
  const { migration, startNs, endNs } = run;
  const pageSize = migration?.stream.pageSize ?? null;
  const [first] = run.carriers;
  const from = migration?.source ?? first?.connection.client.address ?? '–';
  const to = migration?.destination ?? first?.connection.server.address ?? '–';
  return {
    name,
    outcome: migration?.outcome ?? 'no-migration',
    path: `${plain(from, 60)} → ${plain(to, 60)}`,
    carriedBy: carriedBy(run),
    finished: run.finished,
    begun: run.begun,
    spanNs: endNs - startNs,
    congestionControl: congestionControlOf(run.carriers),
    limits: Object.fromEntries(run.traffic.limits.map(([limit, share]) => [limit, share])),
    rounds: (migration?.rounds ?? []).map((round) => ({
      index: round.index,
      startNs: round.startNs - startNs,
      endNs: round.endNs - startNs,
      bytes: round.bytes,
      goodput: round.goodput,
      dirtiedBytes: dirtiedBytes(round, pageSize),
    })),
    timeline: timelineOf(run, binNs),
  };
}

/** Goodput of all carriers together in equal bins; a source bin is spread over the bins it covers. */
function timelineOf(run: Measured, binNs: number): ComparedRun['timeline'] {
  const spanNs = Math.max(1, run.endNs - run.startNs);
  const bins = Math.ceil(spanNs / binNs);
  const unique = new Float64Array(bins);
  const lost = new Float64Array(bins);
  const wanted = new Set(run.carriers.map(({ direction }) => direction));
  const table = run.report.tables['timeline'];
  const column = (name: string): readonly (number | string | null)[] => table?.columns[name]?.values ?? [];
  const [direction, startNs, durationNs, uniqueBytes, retransmittedBytes] = [
    'direction',
    'startNs',
    'durationNs',
    'uniqueBytes',
    'retransmittedBytes',
  ].map(column);
  for (let row = 0; row < (table?.rows ?? 0); row++) {
    if (!wanted.has(Number(direction![row]))) continue;
    const from = Number(startNs![row]) - run.startNs;
    const width = Math.max(1, Number(durationNs![row]));
    const first = Math.max(0, Math.floor(from / binNs));
    const last = Math.min(bins - 1, Math.floor((from + width - 1) / binNs));
    for (let bin = first; bin <= last; bin++) {
      const overlap = Math.min(from + width, (bin + 1) * binNs) - Math.max(from, bin * binNs);
      const share = overlap / width;
      unique[bin]! += Number(uniqueBytes![row]) * share;
      lost[bin]! += Number(retransmittedBytes![row]) * share;
    }
  }
  return {
    binNs,
    goodput: Array.from(unique, (amount) => Math.round((amount * 1e9) / binNs)),
    retransmittedBytes: Array.from(lost, Math.round),
  };
}

function comparedFigure(kind: FigureKind, runs: readonly Measured[]): ComparedFigure {
  const values = runs.map((run) => kind.value(run));
  const unsure = runs.map((run, i): Unsure | null => {
    const value = values[i] ?? null;
    if (value === null) return null;
    const said = kind.unsure?.(run) ?? null;
    if (said) return said;
    return kind.grows && !(run.finished && run.begun) ? { certainty: 'at-least', range: [value, null] } : null;
  });
  const certainty = values.map((value, i): Certainty | null =>
    value === null ? null : (unsure[i]?.certainty ?? 'exact'),
  );
  const spans = values.map((value, i) => spanOf(value, unsure[i] ?? null));
  const changes = values.map((value, i) => {
    const [base, at] = [certainty[0], certainty[i]];
    if (i === 0 || !value || !values[0] || !base || !at) return { certainty: null, change: null };
    if (isPlain(base) && isPlain(at)) return { certainty: 'exact' as const, change: value / values[0] - 1 };
    return leastChange(spans[0]!, spans[i]!);
  });
  return {
    id: kind.id,
    title: kind.title,
    unit: kind.unit,
    better: kind.better,
    condition: kind.condition ?? null,
    values,
    certainty,
    ranges: unsure.map((one) => one?.range ?? null),
    lowerBound: certainty.map((one) => one === 'at-least'),
    changes: changes.map(({ change }) => change),
    changeCertainty: changes.map((one) => one.certainty),
    matters: values.map((value, i) => {
      const [base] = values;
      if (i === 0 || value === null || base === null || base === undefined) return false;
      if (gap(spans[0]!, spans[i]!) === 0) return false;
      // Of two firm values the values differ, of bounds only what lies between them.
      const firm = isPlain(certainty[0]!) && isPlain(certainty[i]!);
      const amount = firm ? Math.abs(value - base) : gap(spans[0]!, spans[i]!);
      return amount > kind.floor && amount > NOISE_SHARE * Math.max(Math.abs(base), Math.abs(value));
    }),
  };
}

/** From the least to the most that a value can be. */
type Span = readonly [least: number, most: number];

function spanOf(value: number | null, unsure: Unsure | null): Span {
  if (unsure === null) return [value ?? 0, value ?? Number.POSITIVE_INFINITY];
  return [unsure.range?.[0] ?? 0, unsure.range?.[1] ?? Number.POSITIVE_INFINITY];
}

/** What lies between two spans; 0 where they overlap. */
const gap = (a: Span, b: Span): number => Math.max(0, b[0] - a[1], a[0] - b[1]);

/** The smallest relative change from `base` to `to`, where it can only be one way. */
function leastChange(base: Span, to: Span): { certainty: 'at-least' | 'at-most' | null; change: number | null } {
  if (to[0] > base[1]) return { certainty: 'at-least', change: to[0] / base[1] - 1 };
  if (to[1] < base[0]) return { certainty: 'at-most', change: to[1] / base[0] - 1 };
  return { certainty: null, change: null };
}

function comparedFindings(runs: readonly Measured[]): ComparedFinding[] {
  const titles = new Map<string, string>();
  const perRun = runs.map(({ report, migration }) => {
    const found = new Map<string, Severity>();
    for (const finding of report.findings) {
      if (finding.migration !== null && finding.migration !== migration?.id) continue;
      titles.set(finding.rule, finding.title);
      if (!found.has(finding.rule)) found.set(finding.rule, finding.severity);
    }
    return found;
  });
  return [...titles].map(([rule, title]) => ({
    rule,
    title,
    severities: perRun.map((found) => found.get(rule) ?? null),
  }));
}
