// The screen of a live capture: a picture of LiveView on a terminal, redrawn in place, or one plain line a tick.
//
// What was lost comes first: every other figure is worth as much as it is small.

import type { MigrationSnapshot } from '../migration-stream/results.js';
import { bitRate, bytes, count, duration, memory, percent, plain, plural } from '../report/format.js';
import { LIMIT_WORDS } from '../report/verdict.js';
import type { Range } from './forecast.js';
import { type CliIo, columnsOf, wantsColor } from './io.js';
import type { ChannelView, LiveView } from './live-view.js';

/** Lines of the terminal that the picture may use when its height is not known. */
const ROWS = 24;
const LABEL_CELLS = 11;
/** From this width on the channel table has all its columns. */
const WIDE_CELLS = 110;

type Style = 'bold' | 'alarm' | 'faint';
type Paint = (style: Style, text: string) => string;
const SEQUENCES: Readonly<Record<Style, string>> = { bold: '1', alarm: '1;31', faint: '2' };

/** Shows views until end(); on a terminal as a picture on the alternate screen, elsewhere as lines. */
export class Screen {
  readonly #stream: CliIo['stdout'] & { readonly rows?: number };
  readonly #picture: boolean;
  readonly #paint: Paint;
  #open = false;

  constructor(stream: CliIo['stdout'], env: CliIo['env']) {
    this.#stream = stream;
    this.#picture = stream.isTTY === true && env['TERM'] !== 'dumb';
    const color = wantsColor(stream, env);
    this.#paint = (style, text) => (color && text !== '' ? `\x1b[${SEQUENCES[style]}m${text}\x1b[0m` : text);
  }

  show(view: LiveView): void {
    if (!this.#picture) {
      this.#stream.write(`${plainLine(view)}\n`);
      return;
    }
    if (this.#stream.writableLength > 0) return; // a slow terminal gets fewer pictures, not a queue of them
    const lines = picture(view, columnsOf(this.#stream), this.#stream.rows ?? ROWS, this.#paint);
    // One write, every line cleared only behind its text, between the marks of a synchronised update (terminals without
    // it ignore them): nothing on the screen is ever blank in between.
    const start = this.#open ? '' : '\x1b[?1049h\x1b[?25l';
    this.#open = true;
    this.#stream.write(
      `${start}\x1b[?2026h\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J\x1b[?2026l`,
    );
  }

  /** Gives the terminal back as it was. */
  end(): void {
    if (this.#open) this.#stream.write('\x1b[?25h\x1b[?1049l');
    this.#open = false;
  }
}

/** The picture, at most `rows` lines of at most `width` cells. */
export function picture(view: LiveView, width: number, rows: number, paint: Paint = (_, text) => text): string[] {
  const { capture } = view;
  const clip = (text: string): string => (text.length > width ? `${text.slice(0, width - 1)}…` : text);
  const field = (label: string, text: string, style?: Style): string => {
    const line = clip(label.padEnd(LABEL_CELLS) + text);
    const value = line.slice(LABEL_CELLS);
    return paint('bold', line.slice(0, LABEL_CELLS)) + (style ? paint(style, value) : value);
  };
  const clock = elapsed(view.elapsedNs);
  const title = `migscope live · ${plain(capture.interface)} · ${capture.engine}${capture.ending ? ' · ending' : ''}`;
  const lines = [
    paint('bold', clip(title.padEnd(width - clock.length - 1)).slice(0, width - clock.length) + clock),
    field('lost', lostText(view), (capture.lost ?? 0) > 0 ? 'alarm' : undefined),
    ...capture.alerts.map((alert) => field('', alert, 'alarm')),
    field('precision', precisionText(view)),
    ...(capture.recording ? [field('recording', recordingText(capture.recording))] : []),
    '',
    field('migration', migrationText(view)),
    ...(view.migration
      ? [field('pages', hasPages(view) ? pagesText(view, width - LABEL_CELLS) : 'cannot be counted: frames are cut')]
      : []),
    field('rate', rateText(view, width)),
    ...(isRunning(view) && hasPages(view)
      ? [field('dirtying', dirtyText(view)), field('converges', convergesText(view))]
      : []),
    '',
  ];
  const [head, ...channels] = channelTable(view.channels, width);
  const room = rows - lines.length - 2;
  lines.push(paint('faint', head!), ...channels.slice(0, Math.max(0, room)));
  if (channels.length > room) lines.push(paint('faint', `… and ${channels.length - Math.max(0, room)} more`));
  return lines.slice(0, rows);
}

/** The same as one line. */
export function plainLine(view: LiveView): string {
  const { migration, forecast } = view;
  const lost = view.capture.lost === null ? 'unknown' : count(view.capture.lost);
  const parts = [elapsed(view.elapsedNs), `lost ${lost}, seen ${plural(view.frames, 'frame')}`];
  parts.push(...view.capture.alerts);
  if (view.capture.narrowedNs !== null) parts.push(`only the migration since ${elapsed(view.capture.narrowedNs)}`);
  if (migration) {
    parts.push(stageText(view));
    if (hasPages(view)) {
      parts.push(`sent ${plural(pagesSent(migration), 'page')}`, `left ${about(forecast?.pagesLeft ?? null)}`);
    }
  } else {
    parts.push('no migration yet');
  }
  parts.push(`rate ${bitRate(view.rate)}`, `goodput ${bitRate(view.goodput)}`);
  if (isRunning(view) && hasPages(view))
    parts.push(`dirtying ${pressure(view) ?? '–'}`, `converges ${convergesText(view)}`);
  if (migration || view.channels.length === 1) {
    for (const channel of view.channels) {
      const rates = view.channels.length > 1 ? `${bitRate(channel.rate)} goodput ${bitRate(channel.goodput)} ` : '';
      parts.push(
        `${channel.label}: ${rates}retransmitted ${channel.retransmittedSegments} RTT ${duration(channel.rttNs)} held back by ${channel.limit === null ? '–' : LIMIT_WORDS[channel.limit]}`,
      );
    }
  }
  return parts.join(' | ');
}

function lostText({ capture, frames, wireBytes }: LiveView): string {
  const seen = `${plural(frames, 'frame')} seen, ${bytes(wireBytes)}`;
  if (capture.lost === null) return `not known · ${seen}`;
  if (capture.lost === 0) return `0 · ${seen}`;
  const share = percent(capture.lost / (capture.lost + frames));
  const advice = capture.snapLength === null ? '; try --snaplen 128 (rounds become estimates)' : '';
  return `${plural(capture.lost, 'frame')} (${share}) by the kernel${advice} · ${seen}`;
}

function precisionText({ capture }: LiveView): string {
  const { snapLength: cut, narrowedNs } = capture;
  const facts = [
    ...(cut === null ? [] : [`frames cut to ${cut} bytes: rounds are estimates`]),
    ...(narrowedNs === null ? [] : [`only the migration since ${elapsed(narrowedNs)}`]),
    capture.accuracy,
  ];
  return facts.join(' · ');
}

function recordingText(recording: NonNullable<LiveView['capture']['recording']>): string {
  const files = recording.files > 1 ? ` in ${recording.files} files` : '';
  return `${plain(recording.path)} · ${bytes(recording.bytes)}${files}`;
}

function migrationText(view: LiveView): string {
  const { migration } = view;
  if (!migration) return 'none recognised yet';
  const path = `${plain(migration.source)} → ${plain(migration.destination)} port ${migration.port}`;
  return `${stageText(view)} · ${duration(view.migrationNs)} · ${path}`;
}

const PHASES = {
  setup: 'setup',
  precopy: 'pre-copy',
  'stop-and-copy': 'stop-and-copy',
  'device-state': 'device state',
  postcopy: 'post-copy',
  handover: 'handover',
} as const;

function stageText({ migration }: LiveView): string {
  if (!migration) return '';
  if (migration.outcome) return migration.outcome;
  const phase = migration.phase ? PHASES[migration.phase] : migration.encryption === 'none' ? 'running' : 'encrypted';
  if (!migration.round) return phase;
  const { index, swept } = migration.round;
  return `${phase}, round ${index}${swept === null ? '' : ` at ${percent(swept)}`}`; // of the walk through guest memory
}

const pagesSent = ({ pages }: MigrationSnapshot): number => pages.normal + pages.zero + pages.xbzrle + pages.compressed;

/** Page headers sit anywhere in the payload: cut frames hide most of them. */
const hasPages = ({ capture }: LiveView): boolean => capture.cutFrames === 0;

const isRunning = ({ migration }: LiveView): boolean => migration !== null && migration.outcome === null;

/** As many of the facts as fit, the most telling first. */
function pagesText({ migration, forecast }: LiveView, cells: number): string {
  if (!migration) return '';
  const left = forecast?.pagesLeft ? [`${about(forecast.pagesLeft)} left of this round`] : [];
  const kinds = Object.entries(migration.pages)
    .filter(([, pages]) => pages > 0)
    .map(([kind, pages]) => `${count(pages)} ${kind}`);
  const size = migration.ramPages && migration.pageSize ? [memory(migration.ramPages * migration.pageSize)] : [];
  let text = `${count(pagesSent(migration))} sent`;
  for (const fact of [...left, ...(kinds.length > 1 ? [kinds.join(', ')] : []), ...size.map((of) => `guest ${of}`)]) {
    if (text.length + fact.length + 3 <= cells) text += ` · ${fact}`;
  }
  return text;
}

function rateText(view: LiveView, width: number): string {
  const text = `${bitRate(view.rate)} · goodput ${bitRate(view.goodput)}`;
  const cells = Math.min(40, width - LABEL_CELLS - text.length - 3);
  return cells < 8 ? text : `${text}   ${sparkline(view.goodputs, cells)}`;
}

/** Dirtied over sent pages a second, as a share. */
function pressure({ forecast }: LiveView): string | null {
  if (!forecast?.dirtyPages || !forecast.sentPages) return null;
  return percent(forecast.dirtyPages.likely / forecast.sentPages.likely);
}

function dirtyText(view: LiveView): string {
  const { forecast, migration } = view;
  if (!forecast?.dirtyPages || !migration) {
    const soFar = forecast?.dirtyAtLeast;
    return soFar
      ? `at least ${count(soFar)} pages/s; known at the end of this round`
      : 'known once the second round has ended';
  }
  const rate = `${about(forecast.dirtyPages)} pages/s`;
  const volume = migration.pageSize ? ` = ${bitRate(forecast.dirtyPages.likely * migration.pageSize)}` : '';
  const share = pressure(view);
  return share === null ? rate + volume : `${rate}${volume}, ${share} of what is sent`;
}

function convergesText({ forecast, migration }: LiveView): string {
  if (migration?.phase === 'postcopy') return 'in post-copy, with every page sent once';
  if (migration?.phase && migration.phase !== 'precopy' && migration.phase !== 'setup') return 'the guest is stopped';
  if (!forecast?.endNs) {
    const end = forecast?.roundNs ? `this round ends in ${aboutTime(forecast.roundNs)}` : 'not known yet';
    return forecast?.roundNs ? `${end}; the rest is known later` : end;
  }
  const { low, likely, high } = forecast.endNs;
  if (low === Infinity) return 'no: dirtying keeps up with sending';
  if (likely === Infinity) return `doubtful: ${duration(low)} at best, never as it goes now`;
  if (high === Infinity) return `perhaps, in ${duration(likely)} (${duration(low)} … never)`;
  return `yes, in ${aboutTime(forecast.endNs)}`;
}

function channelTable(channels: readonly ChannelView[], width: number): string[] {
  const wide = width >= WIDE_CELLS;
  const label = Math.min(wide ? 45 : 24, Math.max(8, ...channels.map((channel) => channel.label.length)) + 1);
  const row = (name: string, cells: readonly string[]): string =>
    (name.slice(0, label - 1).padEnd(label) + cells.join('')).slice(0, width).trimEnd();
  const cell = (text: string, cells: number): string => text.padStart(cells);
  const columns = (values: readonly string[]): string[] =>
    values.map((value, at) => (at === values.length - 1 ? `  ${value}` : cell(value, CHANNEL_CELLS[at]!)));
  const pick = (values: readonly string[]): string[] =>
    wide ? columns(values) : columns(values).filter((_, at) => at !== 4 && at !== 5);
  return [
    row('channel', pick(['rate', 'goodput', 'retransm.', 'RTT', 'window', 'in flight', 'held back by'])),
    ...channels.map((channel) =>
      row(
        channel.label,
        pick([
          bitRate(channel.rate),
          bitRate(channel.goodput),
          `${count(channel.retransmittedSegments)} (${percent(channel.retransmittedShare)})`,
          duration(channel.rttNs),
          bytes(channel.windowBytes),
          bytes(channel.inFlightBytes),
          channel.limit === null ? '–' : LIMIT_WORDS[channel.limit],
        ]),
      ),
    ),
  ];
}
/** Width of rate, goodput, retransmissions, RTT, window, in flight. */
const CHANNEL_CELLS = [12, 12, 15, 9, 10, 11];

/** "2,345 (2,100 … 2,600)", without the range where there is none. */
const about = (range: Range | null): string => span(range, count);

const aboutTime = (range: Range): string => span(range, duration);

function span(range: Range | null, format: (value: number | null) => string): string {
  if (range === null) return format(null);
  const [low, likely, high] = [range.low, range.likely, range.high].map(format);
  return low === high ? likely! : `${likely} (${low} … ${high})`;
}

function elapsed(ns: number): string {
  const seconds = Math.floor(ns / 1e9);
  const pad = (value: number): string => String(value).padStart(2, '0');
  return `${Math.floor(seconds / 3600)}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
}

// Unicode braille: bit n of U+2800 + n is a dot; each cell holds two columns of up to four dots, filled from below.
const LEFT_DOTS = [0, 0x40, 0x44, 0x46, 0x47];
const RIGHT_DOTS = [0, 0x80, 0xa0, 0xb0, 0xb8];

/** The newest values as braille bars, two a cell, scaled to their maximum. */
export function sparkline(values: readonly number[], cells: number): string {
  const shown = values.slice(-2 * cells);
  const top = Math.max(...shown, 0);
  if (top === 0) return '';
  const level = (value: number | undefined): number =>
    value === undefined ? 0 : Math.min(4, Math.ceil((value / top) * 4));
  let line = '';
  for (let at = 0; at < shown.length; at += 2) {
    line += String.fromCharCode(0x2800 + LEFT_DOTS[level(shown[at])]! + RIGHT_DOTS[level(shown[at + 1])]!);
  }
  return line;
}
