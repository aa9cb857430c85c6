// What a transfer did over time: rates, windows, round trips, limits, losses, and each channel's share of it.
import { LIMIT_COLUMNS, LIMITS, TCP_EPISODE_KINDS, TCP_EVENT_KINDS } from '../../../decode/tcp/results.js';
import type { UdpFlow } from '../../../decode/udp/results.js';
import { bitRate, bytes, duration, moment, percent, plain } from '../../format.js';
import type { JsonTable, ReportData } from '../../report.js';
import { bytesByDirection, flowTimelineOf, timelineOf } from '../../tables.js';
import type { Carrier } from '../../traffic.js';
import { LIMIT_WORDS } from '../../verdict.js';
import { closeUpsData } from '../close-ups.js';
import { column, type Dataset, rounded, seconds, type Value } from './dataset.js';

const TIMELINE_ROWS = 2000;
const LIMIT_BINS = 500;
const CHANNEL_BINS = 200;
const CHANNELS = 64;
const EVENTS = 3000;
const SEGMENTS = 9600;

/** What TCP shows of a transfer. */
export function transferData(
  report: ReportData,
  carriers: readonly Carrier[],
  detail: number,
): Record<string, Dataset | null> {
  return {
    timeline: timelineData(timelineOf(report, carriers, Math.round(TIMELINE_ROWS * detail))),
    limits: limitsData(report, carriers),
    events: eventsData(report, carriers, Math.round(EVENTS * detail)),
    episodes: episodesData(report, carriers, Math.round(EVENTS * detail)),
    channels: channelsData(report, carriers),
    ...closeUpsData(report, carriers, Math.round(SEGMENTS * detail)),
  };
}

/** What the packets show of flows of other transports. */
export const flowsData = (
  report: ReportData,
  flows: readonly UdpFlow[],
  detail: number,
): Record<string, Dataset | null> => ({
  timeline: timelineData(flowTimelineOf(report, flows, Math.round(TIMELINE_ROWS * detail))),
});

/**
 * One row a bin. Bins without traffic are not in the result; a row of zeros after each gap keeps lines from bridging it.
 */
function timelineData(bins: ReturnType<typeof timelineOf>): Dataset | null {
  if (!bins) return null;
  const columns: Record<string, Value[]> = {
    t: [],
    t2: [],
    throughput: [],
    goodput: [],
    lost: [],
    inFlight: [],
    window: [],
    rttMin: [],
    rttMax: [],
    sent: [],
    acked: [],
    edge: [],
  };
  const add = (...row: Value[]): void => Object.values(columns).forEach((column, c) => void column.push(row[c]!));
  let sent = 0;
  let acked = 0;
  let window: number | null = null;
  let end = Number.NaN;
  bins.startNs.forEach((startNs, row) => {
    const start = startNs!;
    const width = bins.durationNs[row]! / 1e9;
    if (start > end + 1) add(seconds(end), seconds(start), 0, 0, 0, null, window, null, null, sent, acked, null);
    const perSecond = (amount: number | null): number => rounded(((amount ?? 0) * 8) / width, 4);
    sent += bins.uniqueBytes[row] ?? 0;
    acked = Math.min(sent, acked + (bins.ackedBytes[row] ?? 0));
    // A window stays advertised until the next segment says otherwise.
    window = bins.windowMaxBytes[row] ?? window;
    add(
      seconds(start),
      seconds(start + bins.durationNs[row]!),
      perSecond(bins.payloadBytes[row] ?? 0),
      perSecond(bins.uniqueBytes[row] ?? 0),
      bins.retransmittedBytes[row] ?? 0,
      bins.inFlightMaxBytes[row] ?? null,
      window,
      inSeconds(bins.rttMinNs[row]),
      inSeconds(bins.rttMaxNs[row]),
      sent,
      acked,
      window === null ? null : acked + window,
    );
    end = start + bins.durationNs[row]!;
  });
  add(seconds(end), seconds(end), 0, 0, 0, null, null, null, null, sent, acked, null);
  return columns;
}

const inSeconds = (ns: number | null | undefined): number | null =>
  ns === null || ns === undefined ? null : rounded(ns / 1e9, 4);

/** Per bin and limit the share it had, stacked from 0 to 1. */
function limitsData(report: ReportData, carriers: readonly Carrier[]): Dataset | null {
  const bins = timelineOf(report, carriers, LIMIT_BINS);
  if (!bins) return null;
  const t: number[] = [];
  const t2: number[] = [];
  const limit: string[] = [];
  const low: number[] = [];
  const high: number[] = [];
  const tip: string[] = [];
  bins.startNs.forEach((startNs, row) => {
    const amounts = LIMITS.map((name) => bins[LIMIT_COLUMNS[name]][row] ?? 0);
    const total = amounts.reduce((sum, amount) => sum + amount, 0);
    if (total <= 0) return;
    let at = 0;
    LIMITS.forEach((name, i) => {
      const share = amounts[i]! / total;
      if (share < 0.005) return;
      const before = t.length - 1;
      // A limit that ruled the bin before alone and goes on ruling alone is one longer rectangle.
      if (
        share > 0.995 &&
        limit[before] === name &&
        low[before] === 0 &&
        high[before] === 1 &&
        t2[before] === seconds(startNs!)
      ) {
        t2[before] = seconds(startNs! + bins.durationNs[row]!);
        return;
      }
      t.push(seconds(startNs!));
      t2.push(seconds(startNs! + bins.durationNs[row]!));
      limit.push(name);
      low.push(rounded(at, 4));
      high.push(share > 0.995 ? 1 : rounded(at + share, 4));
      tip.push(`${LIMIT_WORDS[name]}: ${percent(share)}`);
      at += share;
    });
  });
  return { t, t2, limit, low, high, tip };
}

/** Rows of a per-direction table that belong to the carriers, thinned evenly to `limit`. */
function rowsOf(table: JsonTable | undefined, carriers: readonly Carrier[], limit: number): number[] {
  if (!table) return [];
  const wanted = new Set<Value>(carriers.map((c) => c.direction));
  const direction = column(table, 'direction');
  const rows: number[] = [];
  for (let row = 0; row < table.rows; row++) if (wanted.has(direction[row]!)) rows.push(row);
  const step = Math.max(1, rows.length / limit);
  return rows.length <= limit ? rows : Array.from({ length: limit }, (_, i) => rows[Math.floor(i * step)]!);
}

const EVENT_WORDS: Readonly<Record<(typeof TCP_EVENT_KINDS)[number], string>> = {
  'retransmission-fast': 'fast retransmission',
  'retransmission-timeout': 'retransmission after timeout',
  'retransmission-tail-loss-probe': 'tail loss probe',
  'retransmission-spurious': 'spurious retransmission',
  'retransmission-other': 'retransmission',
  reordered: 'reordered',
  'late-original': 'late original',
  'network-duplicate': 'duplicated by the network',
  'window-probe': 'window probe',
  'keep-alive': 'keep-alive',
  'zero-window-start': 'zero window begins',
  'zero-window-end': 'zero window ends',
  'window-shrink': 'window shrinks',
  'acked-unseen': 'acknowledged but not captured',
  'out-of-window': 'outside the window',
  'ecn-ce': 'congestion mark (ECN CE)',
};

/** Rows in which an event is drawn. */
const LANES = ['timeout', 'resent', 'lost', 'reorder', 'window', 'capture'] as const;

function laneOf(kind: (typeof TCP_EVENT_KINDS)[number]): (typeof LANES)[number] {
  if (kind === 'retransmission-timeout') return 'timeout';
  if (kind.startsWith('retransmission')) return 'resent';
  if (kind.includes('window') || kind === 'keep-alive' || kind === 'ecn-ce') return 'window';
  return kind === 'acked-unseen' ? 'capture' : 'reorder';
}

function eventsData(report: ReportData, carriers: readonly Carrier[], limit: number): Dataset | null {
  const events = rowsOf(report.tables['tcpEvents'], carriers, limit);
  const take = (table: string, rows: readonly number[], name: string): Value[] =>
    rows.map((row) => report.tables[table]?.columns[name]?.values[row] ?? null);
  const kinds = take('tcpEvents', events, 'kind').map(
    (kind) => TCP_EVENT_KINDS[Number(kind)] ?? 'retransmission-other',
  );
  // Only where both hosts were captured is it known which segments the network swallowed.
  const losses = rowsOf(report.tables['losses'], carriers, limit);
  if (events.length + losses.length === 0) return null;
  const both = (name: string): Value[] => [...take('tcpEvents', events, name), ...take('losses', losses, name)];
  const words = [...kinds.map((kind) => EVENT_WORDS[kind]), ...losses.map(() => 'lost between the hosts')];
  const [frames, sizes] = [both('frame'), both('bytes')];
  return {
    t: both('tNs').map((ns) => seconds(Number(ns))),
    lane: [...kinds.map(laneOf), ...losses.map(() => 'lost')],
    offset: both('offset'),
    tip: words.map(
      (word, i) => `${word}, frame ${frames[i]}${Number(sizes[i]) > 0 ? `, ${bytes(Number(sizes[i]))}` : ''}`,
    ),
  };
}

const EPISODE_WORDS: Readonly<Record<(typeof TCP_EPISODE_KINDS)[number], string>> = {
  recovery: 'loss recovery',
  timeout: 'timeout',
  mixed: 'recovery with timeout',
  'zero-window': 'zero window',
  silence: 'sender silent',
};

/** Rows in which other episodes than loss recovery are drawn. */
const EPISODE_LANES: Readonly<Partial<Record<(typeof TCP_EPISODE_KINDS)[number], string>>> = {
  'zero-window': 'window',
  silence: 'silent',
};

function episodesData(report: ReportData, carriers: readonly Carrier[], limit: number): Dataset | null {
  const table = report.tables['tcpEpisodes'];
  const rows = rowsOf(table, carriers, limit);
  if (!table || rows.length === 0) return null;
  const take = (name: string): Value[] => rows.map((row) => column(table, name)[row] ?? null);
  const kinds = take('kind').map((kind) => TCP_EPISODE_KINDS[Number(kind)] ?? 'recovery');
  const starts = take('startNs').map(Number);
  const spans = take('durationNs').map(Number);
  return {
    t: starts.map(seconds),
    t2: starts.map((start, i) => seconds(start + spans[i]!)),
    lane: kinds.map((kind) => EPISODE_LANES[kind] ?? 'recovery'),
    tip: kinds.map((kind, i) => `${EPISODE_WORDS[kind]} for ${duration(spans[i]!)} from ${moment(starts[i]!)}`),
  };
}

/** Rate of each channel over time; only where there is more than one to compare. */
function channelsData(report: ReportData, carriers: readonly Carrier[]): Dataset | null {
  const shown = carriers.filter((c) => c.connection.directions[c.side].uniqueBytes > 0).slice(0, CHANNELS);
  if (shown.length < 2) return null;
  const data = {
    channel: [] as string[],
    t: [] as number[],
    t2: [] as number[],
    rate: [] as number[],
    tip: [] as string[],
  };
  const labels = new Map(shown.map((one) => [one.direction, channelLabel(one)]));
  for (const { direction, startNs, durationNs, bytes: amount } of bytesByDirection(report, shown, CHANNEL_BINS)) {
    const label = labels.get(direction)!;
    const rate = rounded((amount * 8e9) / durationNs, 4);
    data.channel.push(label);
    data.t.push(seconds(startNs));
    data.t2.push(seconds(startNs + durationNs));
    data.rate.push(rate);
    data.tip.push(`${label}: ${bitRate(rate / 8)} at ${moment(startNs)}`);
  }
  return new Set(data.channel).size > 1 ? data : null;
}

export function channelLabel({ connection }: Carrier): string {
  const { kind, index } = connection.channel;
  const name = kind === 'unknown' ? `connection ${connection.id}` : plain(kind, 30);
  return index === null ? name : `${name} ${index}`;
}
