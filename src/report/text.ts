// ReportData → terminal summary: what happened, how fast, what stood in the way, what is wrong with the capture.
//
// Pure text of its input. Everything that came from the wire or a file name passes plain(), so a hostile name can neither
// move the cursor nor hide text. Escape sequences appear only when colour is asked for.

import { styleText } from 'node:util';
import type { Anomaly } from '../anomaly.js';
import { bothEndsText } from './both-ends.js';
import { hasReckonedPages } from './extent.js';
import {
  bitRate,
  byteRate,
  bytes,
  count,
  duration,
  endpoint,
  fileName,
  memory,
  moment,
  percent,
  plain,
  plural,
  sentence,
  unbroken,
} from './format.js';
import { downtimeRange, pauseText } from './pause.js';
import type { Connection, Finding, Migration, ReportData } from './report.js';
import {
  carrier,
  carriersOf,
  dirtiedBytes,
  flowsOf,
  migrationTraffic,
  payloadBytesOf,
  roundRate,
  type Traffic,
  trafficOf,
} from './traffic.js';
import {
  captureNotes,
  chainsOf,
  congestionControlOf,
  convergenceOf,
  excludedIn,
  findingsOf,
  isCause,
  LIMIT_WORDS,
  noCause,
  noMigrationText,
  pacedNote,
  proofTime,
  qualityOf,
  requestsText,
  TONES,
  type Tone,
  untoldAnomalies,
  verdictOf,
} from './verdict.js';
import { whatIfText } from './what-if-text.js';

export interface TextOptions {
  readonly color: boolean;
  /** Columns of the terminal. */
  readonly width: number;
}

const NARROWEST = 40;
const WIDEST = 110;
/** Migrations, connections, rounds and findings shown one by one; the rest is counted. */
const MIGRATIONS = 8;
const CONNECTIONS = 6;
const ROUNDS = 16;
const FINDINGS = 5;
const RULED_OUT = 6;
const TUNNELS_TOLD = 3;
/** A tunnel is told when it carried this share of the migration’s bytes. */
const TUNNEL_SHARE = 0.1;
/** IPv4 and TCP without options. */
const MIN_HEADERS_BYTES = 40;
/** Characters of one paragraph; longer ones can only come from a damaged or hostile result. */
const PARAGRAPH = 2000;

type Style = 'bold' | 'dim' | Tone;
const STYLES = { bold: 'bold', dim: 'dim', good: 'green', warn: 'yellow', bad: 'red', neutral: 'cyan' } as const;

/** The terminal summary, ending in a newline. */
export function renderText(report: ReportData, options: TextOptions): string {
  const page = new TextPage(options);
  header(page, report);
  const migrations = report.migrations.slice(0, MIGRATIONS);
  for (const migration of migrations) writeMigration(page, report, migration);
  if (report.migrations.length > migrations.length) {
    page.line(`… and ${plural(report.migrations.length - migrations.length, 'more migration')} (see --json).`);
    page.blank();
  }
  if (report.migrations.length === 0) writeConnections(page, report);
  const rest = findingsOf(report, null).filter((finding) => !captureNotes(report).includes(finding));
  writeFindings(page, report.migrations.length > 0 ? 'Beside the migration' : 'What stood in the way', rest);
  writeBothEnds(page, report);
  writeCounting(page, migrations);
  writeQuality(page, report);
  return page.text();
}

function writeBothEnds(page: TextPage, report: ReportData): void {
  const sentences = bothEndsText(report);
  if (sentences.length === 0) return;
  const tone = report.bothEnds?.connections.length === 0 ? 'warn' : null;
  page.heading('Between the hosts');
  for (const text of sentences) page.line(text, '  ', tone);
  page.blank();
}

/** For a reader who has QEMU's figures beside ours; what several migrations share is said once. */
function writeCounting(page: TextPage, migrations: readonly Migration[]): void {
  const rules = migrations.flatMap(({ countingRules = [] }) => countingRules);
  const texts = new Set(rules.map(({ figure, text }) => `${figure}: ${text}`));
  if (texts.size === 0) return;
  page.heading('What query-migrate and virsh domjobinfo count otherwise');
  for (const text of texts) page.line(text, '  · ', 'dim');
  page.blank();
}

/**
 * Lines of a bounded width. All text passes plain() here, at the last moment, so no caller can forget it; styles are
 * applied around it and dropped when colour is off.
 */
export class TextPage {
  readonly width: number;
  readonly #color: boolean;
  readonly #lines: string[] = [];

  constructor(options: TextOptions) {
    this.width = Math.min(WIDEST, Math.max(NARROWEST, options.width));
    this.#color = options.color;
  }

  blank(): void {
    if (this.#lines.length > 0 && this.#lines.at(-1) !== '') this.#lines.push('');
  }

  heading(text: string): void {
    this.parts(['bold', text]);
  }

  /** One line of differently styled parts, not wrapped. */
  parts(...parts: readonly (readonly [Style | null, string])[]): void {
    this.#lines.push(parts.map(([style, text]) => this.#style(style, plain(text))).join(''));
  }

  /** A paragraph wrapped at spaces, but for those before a unit; continuation lines are indented like the text after `lead`. */
  line(text: string, lead = '', style: Style | null = null): void {
    const room = this.width - lead.length;
    const lines: string[] = [];
    let current = '';
    for (const word of unbroken(plain(text, PARAGRAPH)).split(' ')) {
      if (current !== '' && current.length + 1 + word.length > room) {
        lines.push(current);
        current = '';
      }
      current = current === '' ? word : `${current} ${word}`;
      for (; current.length > room; current = current.slice(room)) lines.push(current.slice(0, room));
    }
    lines.push(current);
    lines.forEach((line, i) => {
      this.#lines.push(
        `${i === 0 ? lead : ' '.repeat(lead.length)}${this.#style(style, line.replaceAll('\u00a0', ' '))}`,
      );
    });
  }

  /** Columns aligned right except the first; those at the end that do not fit are left out. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = columnWidths(head, rows);
    let columns = head.length;
    while (columns > 2 && tableWidth(widths.slice(0, columns)) > this.width) columns--;
    const layOut = (cells: readonly string[]): string =>
      TABLE_LEAD +
      cells
        .slice(0, columns)
        .map((cell, c) => (c === 0 ? plain(cell, CELL).padEnd(widths[c]!) : plain(cell, CELL).padStart(widths[c]!)))
        .join('  ')
        .trimEnd();
    this.#lines.push(this.#style('dim', layOut(head)));
    for (const row of rows) this.#lines.push(layOut(row));
  }

  /** Whether a table can be shown whole. */
  fits(head: readonly string[], rows: readonly (readonly string[])[]): boolean {
    return tableWidth(columnWidths(head, rows)) <= this.width;
  }

  text(): string {
    while (this.#lines.at(-1) === '') this.#lines.pop();
    return `${this.#lines.join('\n')}\n`;
  }

  #style(style: Style | null, text: string): string {
    return style !== null && this.#color ? styleText(STYLES[style], text, { validateStream: false }) : text;
  }
}

const TABLE_LEAD = '  ';
/** Characters of a cell. */
const CELL = 60;

const columnWidths = (head: readonly string[], rows: readonly (readonly string[])[]): number[] =>
  head.map((_, c) => Math.max(...[head, ...rows].map((row) => plain(row[c]!, CELL).length)));

const tableWidth = (widths: readonly number[]): number =>
  TABLE_LEAD.length + widths.reduce((sum, width) => sum + width + 2, -2);

function header(page: TextPage, report: ReportData): void {
  const { inputs, durationNs, frames } = report.capture;
  const names =
    inputs.length > 3 ? plural(inputs.length, 'file') : inputs.map((input) => fileName(input.name)).join(', ');
  page.line(
    `migscope ${report.generator.version} · ${names} · ${duration(durationNs)}, ${plural(frames, 'frame')}`,
    '',
    'dim',
  );
  page.blank();
}

function writeMigration(page: TextPage, report: ReportData, migration: Migration): void {
  const verdict = verdictOf(report, migration);
  page.parts(
    ['bold', report.migrations.length > 1 ? `Migration ${migration.id}  ` : ''],
    [verdict.tone, verdict.outcome.toUpperCase()],
    [null, `  ${migration.source} → ${endpoint({ address: migration.destination, port: migration.port })}`],
  );
  page.line(verdict.headline, '  ');
  if (migration.downtime) {
    // Of a run that did not complete the headline says nothing of a pause.
    const pause =
      migration.outcome === 'completed'
        ? 'Estimated'
        : `The guest was paused for ${pauseText(migration.downtime)}, estimated`;
    page.line(
      `${pause} from ${migration.downtime.method}; the wire alone allows ${downtimeRange(migration.downtime)}.`,
      '  ',
    );
  } else if (migration.outcome === 'completed') {
    page.line('How long the guest was paused cannot be told from this capture.', '  ');
  }
  const convergence = convergenceOf(migration);
  if (convergence) page.line(sentence(`${convergence.text}.`), '  ');
  if (migration.postcopy) {
    const { postcopy } = migration;
    page.line(`Post-copy: ${plural(postcopy.pages, 'page')}; ${requestsText(postcopy, migration.returnPath)}.`, '  ');
  }
  page.blank();
  writeSpeed(page, report, migration);
  writeRounds(page, migration);
  const answer = whatIfText(migration);
  if (answer) {
    page.heading('What if');
    page.line(answer, '  ');
    page.blank();
  }
  const traffic = migrationTraffic(report, migration);
  // What was ruled out is asked of all transfers together, so it is only said where there is one.
  const excluded = report.migrations.length === 1 ? excludedIn(report) : [];
  writeFindings(page, 'What stood in the way', findingsOf(report, migration.id), excluded, traffic);
}

function writeSpeed(page: TextPage, report: ReportData, migration: Migration): void {
  const { pages, stream } = migration;
  const traffic = migrationTraffic(report, migration);
  const flows = flowsOf(report, migration);
  page.heading('How fast');
  page.line(
    `${bitRate(traffic.goodput)} of new data on average (${byteRate(traffic.goodput)}); ${bytes(migration.bytes.total)} over ${flows.length > 0 ? flows.map((flow) => flow.transport).join(', ') : plural(carriersOf(report, migration).length, 'connection')}.`,
    '  ',
  );
  const ram = migration.ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  if (pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed > 0) {
    const kinds = [
      `${hasReckonedPages(migration) ? 'about ' : ''}${count(pages.normal)} full`,
      pages.zero === null ? 'zero pages not visible' : `${count(pages.zero)} zero`,
      ...(pages.xbzrle > 0 ? [`${count(pages.xbzrle)} XBZRLE`] : []),
      ...(pages.compressed > 0 ? [`${count(pages.compressed)} compressed`] : []),
    ];
    const size = ram > 0 ? ` of ${memory(ram)}` : '';
    const resent = pages.resent === null ? '' : `; ${count(pages.resent)} sent more than once`;
    page.line(`Pages${size}: ${kinds.join(', ')}${resent}.`, '  ');
  } else {
    page.line(
      migration.encryption === 'tls'
        ? 'The stream is encrypted: pages cannot be seen; rounds and downtime are inferred where they are given.'
        : 'Page records could not be read from this capture; rounds are inferred where they are given.',
      '  ',
    );
  }
  const roundTrip =
    traffic.rttP50Ns === null ? '' : `Round trip ${duration(traffic.rttP50Ns)} (best ${duration(traffic.rttMinNs)}); `;
  const share = traffic.retransmittedShare === null ? '' : `, ${percent(traffic.retransmittedShare)} of the data`;
  const resent =
    traffic.retransmittedSegments === null
      ? 'retransmissions cannot be seen in this transport'
      : `retransmitted ${plural(traffic.retransmittedSegments, 'segment')}${share}`;
  page.line(sentence(`${roundTrip}${resent}.`), '  ');
  for (const line of tunnelLines(report, migration)) page.line(line, '  ');
  const shares = subflowLine(report, migration);
  if (shares) page.line(shares, '  ');
  const control = congestionControlOf(carriersOf(report, migration));
  if (control) page.line(`Congestion control looks ${control}.`, '  ');
  if (stream.features.length > 0 || stream.machineType) {
    const facts = [stream.machineType, ...stream.features]
      .filter((fact) => fact !== null)
      .map((fact) => plain(fact, 60));
    page.line(`Stream: ${facts.join(', ')}.`, '  ', 'dim');
  }
  page.blank();
}

/** Tunnels that carried a fair part of the capture’s memory, and what their headers cost. */
function tunnelLines(report: ReportData, migration: Migration): string[] {
  const table = report.tables['tunnels'];
  if (!table) return [];
  const value = (name: string, row: number): number => Number(table.columns[name]?.values[row] ?? 0);
  const [main] = carriersOf(report, migration);
  const sizes = main?.connection.options.mss.filter((size) => size !== null) ?? [];
  // By the size that both ends agreed on: with offload the frames seen are larger than any packet.
  const fullBytes = sizes.length > 0 ? Math.min(...sizes) + MIN_HEADERS_BYTES : null;
  return Array.from({ length: table.rows }, (_, row) => row)
    .filter((row) => value('innerIpBytes', row) >= TUNNEL_SHARE * migration.bytes.total && value('frames', row) > 0)
    .map((row) => {
      const added = (value('outerIpBytes', row) - value('innerIpBytes', row)) / value('frames', row);
      const share = fullBytes === null ? '' : `, ${percent(added / fullBytes)} of a full one`;
      const cut = value('fragmentedFrames', row);
      const fragments = cut > 0 ? `; ${plural(cut, 'packet')} had to be fragmented for it` : '';
      return `Tunnel ${plain(String(table.columns['encapsulation']?.values[row] ?? ''), 60)} adds ${bytes(Math.round(added))} to every packet${share}${fragments}.`;
    })
    .slice(0, TUNNELS_TOLD);
}

/** Which path of a multipath connection carried how much of the migration; null where it had but one. */
function subflowLine(report: ReportData, migration: Migration): string | null {
  const table = report.tables['subflows'];
  if (!table) return null;
  const value = (name: string, row: number): number => Number(table.columns[name]?.values[row] ?? 0);
  const all = Array.from({ length: table.rows }, (_, row) => row);
  // The migration knows the first path only: it names the streams.
  const first = carriersOf(report, migration)
    .map(({ connection, side }) =>
      all.find((row) => value('connection', row) === connection.id && value('side', row) === side),
    )
    .find((row) => row !== undefined);
  if (first === undefined) return null;
  const rows = all.filter(
    (row) => value('multipath', row) === value('multipath', first) && value('side', row) === value('side', first),
  );
  if (rows.length < 2) return null;
  const shares = rows.map(
    (row) => `connection ${value('connection', row)} ${percent(value('share', row))} (${bytes(value('bytes', row))})`,
  );
  const again = value('reinjectedBytes', rows[0]!);
  const waited = value('waitingMaxBytes', rows[0]!);
  return `Multipath TCP: ${shares.join(', ')}; ${again > 0 ? `${bytes(again)} were sent on a second path again` : 'nothing was sent on a second path again'}, and up to ${bytes(waited)} waited for another path.`;
}

function writeRounds(page: TextPage, migration: Migration): void {
  const { rounds } = migration;
  if (rounds.length === 0) return;
  const pageSize = migration.stream.pageSize;
  const cells = (index: number): string[] => {
    const round = rounds[index]!;
    return [
      String(round.index),
      moment(round.startNs),
      duration(round.endNs - round.startNs),
      bytes(round.bytes),
      bitRate(roundRate(round)),
      bytes(dirtiedBytes(round, pageSize)),
      count(round.pages.normal + round.pages.xbzrle + round.pages.compressed),
      migration.pages.zero === null ? '–' : count(round.pages.zero),
    ];
  };
  const head = ['round', 'start', 'took', 'sent', 'rate', 'dirtied', 'pages', 'zero'];
  const shown = rounds
    .map((_, i) => i)
    .filter((i) => rounds.length <= ROUNDS || i < ROUNDS - 4 || i >= rounds.length - 3);
  const rows = shown.map(cells);
  const left = rounds.length - shown.length;
  if (left > 0) rows.splice(ROUNDS - 4, 0, ['…', `${left} more`, ...Array<string>(head.length - 2).fill('')]);
  page.table(head, rows);
  page.blank();
}

function writeFindings(
  page: TextPage,
  title: string,
  findings: readonly Finding[],
  excluded: ReturnType<typeof excludedIn> = [],
  traffic?: Traffic,
): void {
  const limits = traffic?.limits.filter(([, share]) => share >= 0.01).slice(0, 4) ?? [];
  const chains = chainsOf(findings);
  const notes = findings.filter((finding) => !isCause(finding));
  if (findings.length === 0 && limits.length === 0) return;
  page.heading(title);
  if (chains.length === 0) page.line(noCause, '  ', 'good');
  chains.slice(0, FINDINGS).forEach(({ cause, symptoms }, i) => {
    writeFinding(page, cause, cause.text, `  ${i + 1}. `);
    for (const symptom of symptoms.slice(0, FINDINGS)) writeFinding(page, symptom, `Hence: ${symptom.text}`, '     ');
  });
  if (chains.length > FINDINGS)
    page.line(`… and ${plural(chains.length - FINDINGS, 'more finding')} (see --json or --html).`, '  ');
  if (limits.length > 0) {
    const shares = limits.map(([limit, share]) => `${LIMIT_WORDS[limit]} ${percent(share)}`);
    page.line(`Sending time went to: ${shares.join(', ')}${traffic ? pacedNote(findings, traffic) : ''}.`, '  ');
  }
  if (excluded.length > 0) {
    const shown = excluded.slice(0, RULED_OUT).map(({ text }) => text);
    const more = excluded.length > shown.length ? `; and ${excluded.length - shown.length} more` : '';
    page.line(`Ruled out: ${shown.join('; ')}${more}.`, '  ', 'dim');
  }
  page.blank();
  if (notes.length === 0) return;
  page.heading('Good to know');
  for (const note of notes.slice(0, FINDINGS)) page.line(`${note.text} [${note.rule}]`, '  · ');
  if (notes.length > FINDINGS) page.line(`… and ${notes.length - FINDINGS} more.`, '  ');
  page.blank();
}

function writeFinding(page: TextPage, finding: Finding, text: string, lead: string): void {
  const indent = lead.trim() === '' ? `${lead}  ` : ' '.repeat(lead.length);
  page.line(text, lead, TONES[finding.severity]);
  const saving = finding.cost
    ? ` Fixing this saves about ${duration(finding.cost.ns)} of ${finding.cost.of === 'downtime' ? 'downtime' : 'migration time'}.`
    : '';
  page.line(`${proofOf(finding)}${saving} [${finding.rule}, confidence ${percent(finding.confidence)}]`, indent, 'dim');
  const [advice] = finding.advice;
  if (advice) page.line(advice, `${indent}→ `);
}

function proofOf(finding: Finding): string {
  const [first] = finding.interval;
  const parts: string[] = [];
  if (first)
    parts.push(
      `${proofTime(first, ' to ')}${finding.interval.length > 1 ? ` and ${finding.interval.length - 1} more` : ''}`,
    );
  if (finding.packets.length > 0)
    parts.push(`${finding.packets.length > 1 ? 'frames' : 'frame'} ${finding.packets.slice(0, 3).join(', ')}`);
  return parts.length > 0 ? `Proof: ${parts.join('; ')}.` : '';
}

function writeConnections(page: TextPage, report: ReportData): void {
  page.parts(['warn', 'NO MIGRATION FOUND']);
  page.line(noMigrationText(report), '  ');
  page.blank();
  if (report.connections.length > 0) {
    page.heading('What TCP shows');
    const largest = [...report.connections].sort((a, b) => payloadBytesOf(b) - payloadBytesOf(a)).slice(0, CONNECTIONS);
    for (const connection of largest) page.line(pathOf(connection), `  ${connection.id}: `);
    page.blank();
    page.table(['', 'data', 'took', 'goodput', 'RTT', 'retrans.', 'mostly held back by'], largest.map(connectionCells));
  }
  page.blank();
}

function pathOf(connection: Connection): string {
  const { side } = carrier(connection, null);
  const [from, to] = side === 0 ? [connection.client, connection.server] : [connection.server, connection.client];
  return `${endpoint(from)} → ${endpoint(to)}`;
}

function connectionCells(connection: Connection): string[] {
  const spanNs = connection.endNs - connection.startNs;
  const traffic = trafficOf([carrier(connection, null)], spanNs);
  const [top] = traffic.limits;
  return [
    `${connection.id}:`,
    bytes(traffic.uniqueBytes),
    duration(spanNs),
    bitRate(traffic.goodput),
    duration(traffic.rttP50Ns),
    percent(traffic.retransmittedShare),
    top ? `${LIMIT_WORDS[top[0]]} ${percent(top[1])}` : '–',
  ];
}

function writeQuality(page: TextPage, report: ReportData): void {
  const quality = qualityOf(report);
  page.heading('What is wrong with the capture');
  page.line(quality.headline, '  ', quality.tone);
  for (const fact of quality.facts) page.line(fact, '  · ');
  for (const note of captureNotes(report)) page.line(`${note.text} [${note.rule}]`, '  · ');
  for (const { severity, text, count: times, frame } of byCode(untoldAnomalies(report))) {
    const often = times > 1 ? `${count(times)} times` : '';
    const where = frame === null ? '' : `${times > 1 ? 'first at frame' : 'at frame'} ${frame}`;
    const place = [often, where].filter((part) => part !== '').join(', ');
    page.line(
      `${text}${place === '' ? '' : ` (${place})`}`,
      '  · ',
      severity === 'error' ? 'bad' : severity === 'warning' ? 'warn' : 'dim',
    );
  }
}

/** Anomalies of all directions together, one a code. */
function byCode(
  anomalies: readonly Anomaly[],
): { severity: string; text: string; count: number; frame: number | null }[] {
  const codes = new Map<string, { severity: string; text: string; count: number; frame: number | null }>();
  for (const { code, severity, text, count: times, first } of anomalies) {
    const known = codes.get(code) ?? { severity, text, count: 0, frame: null };
    known.count += times;
    if (first.frame !== undefined) known.frame = Math.min(known.frame ?? first.frame, first.frame);
    codes.set(code, known);
  }
  return [...codes.values()];
}
