// What happened, how fast, what stood in the way, what is wrong with the capture: the facts and sentences that the
// terminal, the page and the comparison share, so that all three say the same.
import type { Anomaly, AnomalyCode } from '../anomaly.js';
import type { Limit, Quantiles, TcpDirection } from '../decode/tcp/results.js';
import { hasReckonedPages, hasUnsureRounds, isClosed, isJoinedMidway } from './extent.js';
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
import { downtimeRange, isDoubtful, pauseFigure, pauseText } from './pause.js';
import type { Finding, Migration, ReportData, Severity } from './report.js';
import { ruledOut } from './rules/engine.js';
import type { RuledOut } from './rules/rule.js';
import { type Carrier, migrationTraffic, type Traffic } from './traffic.js';

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
  const midway = isJoinedMidway(report, migration);
  const took = `${midway ? 'at least ' : ''}${duration(migration.endNs - migration.startNs)}`;
  const inOrAfter = midway ? 'after' : 'in';
  const rounds = migration.rounds.length > 0 ? ` in ${roundsText(migration, midway)}` : '';
  const postcopy = migration.postcopy ? ', finished by post-copy' : '';
  const unseen = midway ? '; its beginning is not in the capture' : '';
  switch (migration.outcome) {
    case 'completed': {
      const paused = migration.downtime ? ` The guest was paused for ${pauseText(migration.downtime)}.` : '';
      return {
        tone: 'good',
        outcome: 'completed',
        headline: `Completed ${inOrAfter} ${took}${rounds}${postcopy}${unseen}.${paused}`,
      };
    }
    case 'cancelled':
      return {
        tone: 'warn',
        outcome: 'cancelled',
        headline: `Cancelled by the source after ${took}${rounds}: it closed the stream in order before the end mark${unseen}.`,
      };
    case 'failed':
      return {
        tone: 'bad',
        outcome: 'failed',
        headline: `Failed after ${took}${rounds}: the stream broke off before the end mark${unseen}.`,
      };
    case 'incomplete': {
      const seen = isClosed(report, migration)
        ? `Closed after ${took}${rounds}; whether it completed cannot be told from this capture${unseen}.`
        : `Not finished when the capture ends, after ${took}${rounds}${unseen}.`;
      const plateau = convergenceOf(migration)?.plateau ? ' It was not converging.' : '';
      return { tone: 'warn', outcome: 'incomplete', headline: seen + plateau };
    }
  }
}

/** "5 rounds", "at least 4 rounds" of one that was joined midway, "what look like 3 rounds" where sizes and times told them apart. */
function roundsText(migration: Migration, midway: boolean): string {
  const rounds = plural(migration.rounds.length, 'round');
  if (hasUnsureRounds(migration)) return `what ${migration.rounds.length === 1 ? 'looks' : 'look'} like ${rounds}`;
  return midway ? `at least ${rounds}` : rounds;
}

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
  // A round that was cut off, at the end of a run that did not complete or at the beginning of the capture, says nothing
  // about its size, nor does a pass that found nothing.
  const precopy = migration.rounds.filter(
    ({ boundary, bytes }) => boundary !== 'post-copy' && boundary !== 'joined-midway' && bytes > 0,
  );
  const whole = migration.outcome === 'completed' ? precopy : precopy.slice(0, -1);
  const [first] = whole;
  const last = whole.at(-1);
  if (!first || !last || whole.length < 3) return null;
  const recent = whole.slice(-4).map((round) => round.bytes);
  const plateau = migration.outcome !== 'completed' && Math.min(...recent) > 0.5 * Math.max(...recent);
  const yardstick =
    migration.rounds[0]!.boundary === 'joined-midway' ? 'the first whole one in the capture' : 'the first';
  const text = `the last whole round sent ${bytes(last.bytes)}, ${percent(last.bytes / first.bytes)} of ${yardstick}`;
  return { text: plateau ? `${text}; the rounds no longer shrink` : text, plateau };
}

/** Waits from which on a middle means something, and from which on the slowest hundredth is more than one of them. */
const MEDIAN_SAMPLES = 10;
const P99_SAMPLES = 100;

/** "1,829 page requests, 1,827 of them for pages on their way already; 2 waited 48.9 ms to 76.9 ms". */
export function requestsText(
  postcopy: NonNullable<Migration['postcopy']>,
  returnPath: Migration['returnPath'],
): string {
  // The destination always has something to say: of one that says nothing the capture does not hold that direction.
  if (postcopy.requests === 0 && Object.keys(returnPath).length === 0) return 'page requests are not in the capture';
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

/** What a migration adds up to, marked where the capture does not hold all of it. */
export function extentFigures(
  report: ReportData,
  migration: Migration,
): { readonly took: string; readonly rounds: string; readonly mark: string; readonly unseen: string } {
  const midway = isJoinedMidway(report, migration);
  const endless = migration.outcome === 'incomplete' && !isClosed(report, migration);
  const mark = midway || endless ? '≥ ' : '';
  const rounds = migration.rounds.length;
  return {
    took: `${mark}${duration(migration.endNs - migration.startNs)}`,
    rounds: rounds === 0 ? '–' : `${hasUnsureRounds(migration) ? '~ ' : mark}${count(rounds)}`,
    mark,
    unseen: midway ? 'its beginning is not in the capture' : endless ? 'its end is not in the capture' : '',
  };
}

/** The headline figures of a migration, most important first. */
export function keyFigures(report: ReportData, migration: Migration): Figure[] {
  const traffic = migrationTraffic(report, migration);
  const { downtime, pages } = migration;
  const extent = extentFigures(report, migration);
  const allPages = pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;
  const figures: Figure[] = [
    {
      label: 'Total time',
      value: extent.took,
      note: extent.unseen || `from ${duration(migration.startNs)} into the capture`,
    },
    downtime
      ? {
          label: 'Downtime',
          value: pauseFigure(downtime),
          note: `${isDoubtful(downtime) ? 'uncertain; ' : ''}the wire alone allows ${downtimeRange(downtime)}`,
        }
      : { label: 'Downtime', value: '–', note: 'the switch-over is not in the capture' },
    {
      label: 'Rounds',
      value: extent.rounds,
      note: convergenceOf(migration)?.text ?? '',
    },
    {
      label: 'Goodput',
      value: bitRate(traffic.goodput),
      note: traffic.goodput === null ? '' : `${byteRate(traffic.goodput)} of new data on average`,
    },
    {
      label: 'Data sent',
      value: `${extent.mark}${bytes(migration.bytes.total)}`,
      note:
        allPages > 0
          ? `${hasReckonedPages(migration) ? 'about ' : ''}${count(pages.normal)} full pages, ${pages.zero === null ? 'zero pages not visible' : `${count(pages.zero)} zero`}`
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
      ? cutIsNoted
        ? 'Nothing is wrong with the capture but that its frames were cut.'
        : 'Nothing is wrong with the capture.'
      : damaged
        ? 'Parts of the capture could not be read; figures that depend on them are doubtful.'
        : 'The capture has gaps or limits that some figures depend on.';
  return { tone: errors.length === 0 ? (cutIsNoted ? 'neutral' : 'good') : damaged ? 'bad' : 'warn', headline, facts };
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
