// What happened, how fast, what stood in the way, what is wrong with the capture: the facts and sentences that the
// terminal, the page and the comparison share, so that all three say the same.
import type { Anomaly, AnomalyCode } from '../anomaly.js';
import type { Limit, Quantiles, TcpDirection } from '../decode/tcp/results.js';
import { BELIEVED } from '../migration-stream/downtime.js';
import type { Downtime } from '../migration-stream/results.js';
import {
  bitRate,
  byteRate,
  bytes,
  count,
  cutBy,
  digits,
  duration,
  fileName,
  moment,
  percent,
  plural,
} from './format.js';
import type { Connection, Finding, Migration, ReportData, Severity } from './report.js';
import { ruledOut } from './rules/engine.js';
import type { RuledOut } from './rules/rule.js';
import { type Carrier, carriersOf, migrationTraffic, type Traffic } from './traffic.js';

/** How a statement should strike the reader. */
export type Tone = 'good' | 'warn' | 'bad' | 'neutral';

/** How a finding should, by its severity. */
export const TONES: Readonly<Record<Severity, Tone>> = { fatal: 'bad', major: 'bad', minor: 'warn', info: 'neutral' };

export interface Verdict {
  readonly tone: Tone;
  /** One or two words: "completed". */
  readonly outcome: string;
  /** One sentence. */
  readonly headline: string;
}

export interface Figure {
  readonly label: string;
  readonly value: string;
  /** What the number includes or how sure it is; may be empty. */
  readonly note: string;
}

/** In words of the reader, in the order of LIMITS. */
export const LIMIT_WORDS: Readonly<Record<Limit, string>> = {
  'sender-application': 'sender without data',
  'rate-limit': 'rate limit at the sender',
  'receiver-window': 'receive window',
  congestion: 'congestion window',
  recovery: 'loss recovery',
  'send-buffer': 'send buffer',
  idle: 'idle',
};

export function verdictOf(report: ReportData, migration: Migration): Verdict {
  const took = duration(migration.endNs - migration.startNs);
  const rounds = migration.rounds.length > 0 ? ` in ${plural(migration.rounds.length, 'round')}` : '';
  const postcopy = migration.postcopy ? ', finished by post-copy' : '';
  switch (migration.outcome) {
    case 'completed': {
      const paused = migration.downtime ? ` The guest was paused for ${pauseText(migration.downtime)}.` : '';
      return { tone: 'good', outcome: 'completed', headline: `Completed in ${took}${rounds}${postcopy}.${paused}` };
    }
    case 'cancelled':
      return {
        tone: 'warn',
        outcome: 'cancelled',
        headline: `Cancelled by the source after ${took}${rounds}: it closed the stream in order before the end mark.`,
      };
    case 'failed':
      return {
        tone: 'bad',
        outcome: 'failed',
        headline: `Failed after ${took}${rounds}: the stream broke off before the end mark.`,
      };
    case 'incomplete': {
      const carriers = carriersOf(report, migration);
      const isOver = carriers.length > 0 && carriers.every(({ connection }) => isClosed(connection));
      const seen = isOver
        ? `Closed after ${took}${rounds}; whether it completed cannot be told from this capture.`
        : `Not finished when the capture ends, after ${took}${rounds}.`;
      const plateau = convergenceOf(migration)?.plateau ? ' It was not converging.' : '';
      return { tone: 'warn', outcome: 'incomplete', headline: seen + plateau };
    }
  }
}

const isClosed = ({ endedBy }: Connection): boolean => endedBy === 'fin' || endedBy === 'rst';

/** What is said instead of a verdict where no migration was recognised. */
export function noMigrationText({ connections, flows, findings }: ReportData): string {
  const searched = [
    ...(connections.length > 0 ? [plural(connections.length, 'TCP connection')] : []),
    ...(flows.length > 0 ? [plural(flows.length, 'UDP or other flow')] : []),
  ];
  if (searched.length === 0) return 'The capture holds neither a TCP connection nor a UDP flow.';
  const closed = findings.some(({ rule }) => rule === 'R-C7') ? ' What stays closed may hold one: see R-C7.' : '';
  return `No QEMU migration stream could be recognised in ${searched.join(' and ')}.${closed}`;
}

/** How the rounds developed: the last whole one against the first, and whether they still shrink. */
export interface Convergence {
  readonly text: string;
  /** The last rounds are about equally large: pre-copy would not end by itself. */
  readonly plateau: boolean;
}

/** Null with fewer than 3 whole rounds. */
export function convergenceOf(migration: Migration): Convergence | null {
  // The last round of a run that did not complete was cut off and says nothing about its size, nor does a pass that found nothing.
  const precopy = migration.rounds.filter((round) => round.boundary !== 'post-copy' && round.bytes > 0);
  const whole = migration.outcome === 'completed' ? precopy : precopy.slice(0, -1);
  const [first] = whole;
  const last = whole.at(-1);
  if (!first || !last || whole.length < 3) return null;
  const recent = whole.slice(-4).map((round) => round.bytes);
  const plateau = migration.outcome !== 'completed' && Math.min(...recent) > 0.5 * Math.max(...recent);
  const text = `the last whole round sent ${bytes(last.bytes)}, ${percent(last.bytes / first.bytes)} of the first`;
  return { text: plateau ? `${text}; the rounds no longer shrink` : text, plateau };
}

/**
 * "about 46.1 ms"; "at least" where the estimate is no more than the shortest that the wire allows, and far below the longest;
 * "perhaps" where it is uncertain otherwise.
 */
export function pauseText(downtime: Downtime): string {
  const { earliestStartNs, latestStartNs, endNs, estimateNs } = downtime;
  const isLowest = estimateNs <= 1.01 * (endNs - latestStartNs) && endNs - earliestStartNs > 1.5 * estimateNs;
  return `${isLowest ? 'at least' : isUncertain(downtime) ? 'perhaps' : 'about'} ${duration(estimateNs)}`;
}

const isUncertain = ({ confidence }: Downtime): boolean => confidence !== undefined && confidence < BELIEVED;

/** "46.1 ms to 49.1 ms", or one figure where both ends agree. */
export function downtimeRange({ earliestStartNs, latestStartNs, endNs }: Downtime): string {
  const [shortest, longest] = [duration(endNs - latestStartNs), duration(endNs - earliestStartNs)];
  return shortest === longest ? shortest : `${shortest} to ${longest}`;
}

/** Waits from which on a middle means something, and from which on the slowest hundredth is more than one of them. */
const MEDIAN_SAMPLES = 10;
const P99_SAMPLES = 100;

/** "1,829 page requests, 1,827 of them for pages on their way already; 2 waited 48.9 ms to 76.9 ms". */
export function requestsText(postcopy: NonNullable<Migration['postcopy']>): string {
  const { requests, pagesUnderway, requestLatencyNs } = postcopy;
  const early = pagesUnderway ? `, ${count(pagesUnderway)} of them for pages on their way already` : '';
  return `${plural(requests, 'page request')}${early}${requestLatencyNs ? `; ${waitsText(requestLatencyNs)}` : ''}`;
}

function waitsText({ samples, min, p50, p99, max }: Quantiles): string {
  if (samples < MEDIAN_SAMPLES) {
    const [least, most] = [duration(min), duration(max)];
    return `${count(samples)} waited ${least === most ? most : `${least} to ${most}`}`;
  }
  const slow = samples < P99_SAMPLES ? '' : `p99 ${duration(p99)}, `;
  return `${count(samples)} were answered in ${duration(p50)} (median; ${slow}worst ${duration(max)})`;
}

/** The headline figures of a migration, most important first. */
export function keyFigures(report: ReportData, migration: Migration): Figure[] {
  const spanNs = migration.endNs - migration.startNs;
  const traffic = migrationTraffic(report, migration);
  const { downtime, pages } = migration;
  const allPages = pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;
  const figures: Figure[] = [
    { label: 'Total time', value: duration(spanNs), note: `from ${duration(migration.startNs)} into the capture` },
    downtime
      ? {
          label: 'Downtime',
          value: duration(downtime.estimateNs),
          note: `${isUncertain(downtime) ? 'uncertain; ' : ''}the wire alone allows ${downtimeRange(downtime)}`,
        }
      : { label: 'Downtime', value: '–', note: 'the switch-over is not in the capture' },
    {
      label: 'Rounds',
      value: migration.rounds.length > 0 ? count(migration.rounds.length) : '–',
      note: convergenceOf(migration)?.text ?? '',
    },
    {
      label: 'Goodput',
      value: bitRate(traffic.goodput),
      note: traffic.goodput === null ? '' : `${byteRate(traffic.goodput)} of new data on average`,
    },
    {
      label: 'Data sent',
      value: bytes(migration.bytes.total),
      note:
        allPages > 0
          ? `${count(pages.normal)} full pages, ${pages.zero === null ? 'zero pages not visible' : `${count(pages.zero)} zero`}`
          : 'pages not readable',
    },
    {
      label: 'Retransmitted',
      value:
        traffic.retransmittedShare === null
          ? count(traffic.retransmittedSegments)
          : percent(traffic.retransmittedShare),
      note: retransmittedNote(traffic),
    },
    {
      label: 'Round-trip time',
      value: duration(traffic.rttP50Ns),
      note:
        traffic.rttMinNs === null
          ? 'not measurable here'
          : `median; ${duration(traffic.rttMinNs)} at best, p95 ${duration(traffic.rttP95Ns)}${queued(traffic)}`,
    },
  ];
  const [top] = traffic.limits;
  figures.push(
    top
      ? {
          label: 'Held back by',
          value: LIMIT_WORDS[top[0]],
          note: `${percent(top[1])} of the sending time${pacedNote(findingsOf(report, migration.id), traffic)}`,
        }
      : { label: 'Held back by', value: '–', note: 'cannot be told from this capture' },
  );
  return figures;
}

/**
 * What holds back a sender that seems to have nothing to send: its own interface or a queue before it, where a rule found
 * that. Empty otherwise.
 */
export function pacedNote(findings: readonly Finding[], traffic: Traffic): string {
  const [top] = traffic.limits;
  const found = findings.find(({ rule }) => rule === 'R-A4' || rule === 'R-A6');
  return top?.[0] === 'sender-application' && found
    ? `; its line or a queue before it sets the pace (${found.rule})`
    : '';
}

/** A median this far above the least round trip, and by this much, is worth a word about queues. */
const QUEUED = 1.25;
const QUEUED_NS = 1e6;

function queued({ rttMinNs, rttP50Ns }: Traffic): string {
  if (rttMinNs === null || rttP50Ns === null) return '';
  if (rttP50Ns < Math.max(QUEUED * rttMinNs, rttMinNs + QUEUED_NS)) return '';
  return `; queues add ${duration(rttP50Ns - rttMinNs)}`;
}

function retransmittedNote({ retransmittedSegments, retransmittedBytes }: Traffic): string {
  if (retransmittedSegments === null) return 'not visible in this transport';
  if (retransmittedSegments === 0) return 'nothing was sent twice';
  if (retransmittedBytes === null) return 'packets';
  return `${plural(retransmittedSegments, 'segment')}, ${bytes(retransmittedBytes)}`;
}

/** True for what cost something; the rest is good to know. */
export const isCause = (finding: Finding): boolean => finding.severity !== 'info';

export const noCause = 'No rule found a cause.';

/** "0.4471 s to 0.5095 s", or one moment where all of it has one time stamp. */
export const proofTime = ([from, to]: Finding['interval'][number], between: string): string =>
  moment(from) === moment(to) ? moment(from) : `${moment(from)}${between}${moment(to)}`;

/** A cause with the findings that only follow from it. */
export interface Chain {
  readonly cause: Finding;
  readonly symptoms: readonly Finding[];
}

/** What cost something, symptoms folded into their cause: the engine lists them right behind it. */
export function chainsOf(findings: readonly Finding[]): Chain[] {
  const chains: { cause: Finding; symptoms: Finding[] }[] = [];
  for (const finding of findings.filter(isCause)) {
    const last = chains.at(-1);
    if (last?.cause.explains.includes(finding.rule) && last.cause.migration === finding.migration)
      last.symptoms.push(finding);
    else chains.push({ cause: finding, symptoms: [] });
  }
  return chains;
}

/** Findings about one migration (or, for null, about none), in the engine's order. */
export const findingsOf = (report: ReportData, migration: number | null): Finding[] =>
  report.findings.filter((finding) => finding.migration === migration);

/** What the rules could rule out; results written before it was part of them are asked again. */
export const excludedIn = (report: ReportData): readonly RuledOut[] =>
  report.ruledOut ?? ruledOut(report, report.findings);

/** What the rules about capture quality (group J) noticed without calling it a cause. */
export const captureNotes = (report: ReportData): Finding[] =>
  findingsOf(report, null).filter((finding) => finding.rule.startsWith('R-J') && !isCause(finding));

/** Anomalies that a note about the capture says better, by its rule. */
const SAID_BETTER: Readonly<Record<string, readonly AnomalyCode[]>> = {
  'R-J1': ['tcp/acked-unseen', 'capture/dropped'],
  'R-J3': ['capture/frames-cut'],
  'R-J6': ['capture/time-backwards'],
};

/** The anomalies that no note about the capture stands for. */
export function untoldAnomalies(report: ReportData): readonly Anomaly[] {
  const told = new Set(captureNotes(report).flatMap(({ rule }) => SAID_BETTER[rule] ?? []));
  return report.anomalies.filter(({ code }) => !told.has(code));
}

export interface Quality {
  readonly tone: Tone;
  readonly headline: string;
  /** Facts that are not anomalies, one sentence each. */
  readonly facts: readonly string[];
}

/** How far the capture itself can be trusted. */
export function qualityOf(report: ReportData): Quality {
  const { capture, anomalies } = report;
  const cutIsNoted = captureNotes(report).some(({ rule }) => rule === 'R-J3');
  const facts: string[] = [];
  for (const input of capture.inputs) {
    const name = capture.inputs.length > 1 ? `${fileName(input.name)}: ` : '';
    if (input.cutFrames > 0 && !cutIsNoted) {
      facts.push(
        `${name}${count(input.cutFrames)} of ${plural(input.frames, 'frame')} are ${cutBy(input.snapLength)}.`,
      );
    }
    if (input.droppedByCapture === null) facts.push(`${name}The file does not say whether the capture dropped frames.`);
    else if (input.droppedByCapture > 0)
      facts.push(`${name}The capture dropped ${plural(input.droppedByCapture, 'frame')} by its own count.`);
  }
  facts.push(VANTAGE_WORDS[capture.vantage]);
  const errors = anomalies.filter(
    (a) => a.severity === 'error' || (a.severity === 'warning' && a.origin !== 'network'),
  );
  const damaged = anomalies.some((a) => a.severity === 'error');
  const headline =
    errors.length === 0
      ? 'Nothing is wrong with the capture.'
      : damaged
        ? 'Parts of the capture could not be read; figures that depend on them are doubtful.'
        : 'The capture has gaps or limits that some figures depend on.';
  return { tone: errors.length === 0 ? 'good' : damaged ? 'bad' : 'warn', headline, facts };
}

const VANTAGE_WORDS: Readonly<Record<ReportData['capture']['vantage'], string>> = {
  source: 'Taken at or near the source host.',
  destination: 'Taken at or near the destination host: what was lost on the way is not in the file.',
  'mid-path': 'Taken between the hosts.',
  unknown: 'Its times do not tell where on the path it was taken.',
};

/** −0.77 → "−77 %"; from a tripling on, "× 5.9"; no change is "=". */
export function signedPercent(change: number): string {
  if (Math.abs(change) < 5e-5) return '=';
  return change >= 2 ? `× ${digits(change + 1, 2)}` : `${change < 0 ? '−' : '+'}${percent(Math.abs(change))}`;
}

/** How the heaviest carrier answers loss, in words; null where the packets do not tell. */
export function congestionControlOf(carriers: readonly Carrier[]): string | null {
  const heaviest = carriers.reduce<TcpDirection | null>((best, { connection, side }) => {
    const one = connection.directions[side];
    return one.congestionControl && (!best || one.uniqueBytes > best.uniqueBytes) ? one : best;
  }, null);
  const found = heaviest?.congestionControl;
  if (!found || found.family === 'unknown') return null;
  if (found.probeDips > 0) return 'rate-based, as BBR: it lets the path run empty every ten seconds';
  if (found.family === 'rate-based')
    return `rate-based, as BBR: ${plural(found.episodes, 'loss episode')} did not slow it down`;
  const to = found.decrease === null ? '' : ` to ${percent(found.decrease)} of what was in flight`;
  return `loss-based, as CUBIC or Reno: falls${to} after a loss`;
}
