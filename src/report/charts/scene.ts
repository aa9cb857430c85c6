// A scene: one transfer with everything its charts draw, in chart units (seconds, bits per second, bytes).
//
// A scene is a migration, or in a capture without one a bulk connection. Datasets are columns; the page carries each
// once. Row budgets keep every view below 20,000 points and the page small.
import { LIMITS, type Limit, TCP_EPISODE_KINDS, TCP_EVENT_KINDS } from '../../decode/tcp/results.js';
import type { UdpFlow } from '../../decode/udp/results.js';
import type { Round } from '../../migration-stream/results.js';
import { bitRate, bytes, count, duration, endpoint, memory, moment, percent, plain, plural } from '../format.js';
import type { SwitchoverResult } from '../models/switchover.js';
import type { Connection, JsonTable, Migration, ReportData } from '../report.js';
import { bytesByDirection, flowTimelineOf, timelineOf } from '../tables.js';
import { type Carrier, carrier, carriersOf, dirtiedBytes, flowsOf, LIMIT_WORDS } from '../verdict.js';
import { closeUpsData } from './close-ups.js';

const TIMELINE_ROWS = 2000;
const LIMIT_BINS = 500;
const CHANNEL_BINS = 200;
const CHANNELS = 64;
const EVENTS = 3000;
const SEGMENTS = 9600;
const REGIONS = 6000;
/** Merging factor at which every block is one cell. */
const WHOLE_GUEST = 2 ** 40;
const DEVICES = 18;
const REQUESTS = 2000;
/** Bars of the distribution of waits, per power of ten. */
const WAIT_BINS = 8;
const ROUNDS = 400;

type Value = number | string | null;
export type Dataset = Readonly<Record<string, readonly Value[]>>;

export interface Scene {
  readonly id: string;
  readonly title: string;
  /** What it shows, in words: 'migration', 'TCP connection 3', 'quic flow 0'. */
  readonly kind: string;
  readonly migration: Migration | null;
  readonly carriers: readonly Carrier[];
  /** s since the first frame. */
  readonly window: readonly [number, number];
  readonly data: Readonly<Record<string, Dataset>>;
}

export function migrationScene(report: ReportData, migration: Migration, detail = 1): Scene {
  const carriers = carriersOf(report, migration);
  const rounds = grouped(migration.rounds, Math.round(ROUNDS * detail));
  return {
    id: `m${migration.id}`,
    title: `${plain(migration.source, 60)} → ${endpoint({ address: migration.destination, port: migration.port })}`,
    kind: 'migration',
    migration,
    carriers,
    window: windowOf(migration.startNs, migration.endNs),
    data: present({
      ...(carriers.length > 0
        ? transferData(report, carriers, detail)
        : { timeline: timelineData(flowTimelineOf(report, flowsOf(report, migration), TIMELINE_ROWS)) }),
      rounds: roundsData(migration, rounds),
      kinds: kindsData(rounds),
      remaining: remainingData(migration, rounds),
      threshold: thresholdData(migration),
      regions: regionsData(report, migration, detail),
      blocks: blocksData(migration),
      switchover: switchoverData(migration),
      ...requestsData(report, migration, detail),
    }),
  };
}

export function connectionScene(report: ReportData, connection: Connection, detail = 1): Scene {
  const heavier = carrier(connection, null);
  const [from, to] =
    heavier.side === 0 ? [connection.client, connection.server] : [connection.server, connection.client];
  return {
    id: `c${connection.id}`,
    title: `${endpoint(from)} → ${endpoint(to)}`,
    kind: `TCP connection ${connection.id}`,
    migration: null,
    carriers: [heavier],
    window: windowOf(connection.startNs, connection.endNs),
    data: present(transferData(report, [heavier], detail)),
  };
}

export function flowScene(report: ReportData, flow: UdpFlow, detail = 1): Scene {
  const [client, server] = flow.directions;
  const [from, to] = client.wireBytes >= server.wireBytes ? [flow.client, flow.server] : [flow.server, flow.client];
  return {
    id: `f${flow.id}`,
    title: `${endpoint(from)} → ${endpoint(to)}`,
    kind: `${plain(flow.transport, 30)} flow ${flow.id}`,
    migration: null,
    carriers: [],
    window: windowOf(flow.startNs, flow.endNs),
    data: present({ timeline: timelineData(flowTimelineOf(report, [flow], Math.round(TIMELINE_ROWS * detail))) }),
  };
}

const s = (ns: number): number => rounded(ns / 1e9, 9);
const windowOf = (startNs: number, endNs: number): [number, number] => [s(startNs), s(Math.max(endNs, startNs + 1000))];

/** Seven digits at most: more cannot be seen, and the page carries them all. */
function rounded(value: number, significant = 6): number {
  return value === 0 || !Number.isFinite(value) ? 0 : Number(value.toPrecision(significant));
}

const present = (data: Record<string, Dataset | null>): Record<string, Dataset> =>
  Object.fromEntries(
    Object.entries(data).filter((entry): entry is [string, Dataset] => {
      const [first] = Object.values(entry[1] ?? {});
      return first !== undefined && first.length > 0;
    }),
  );

/** What TCP shows of a transfer. */
function transferData(
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
    if (start > end + 1) add(s(end), s(start), 0, 0, 0, null, window, null, null, sent, acked, null);
    const perSecond = (amount: number | null): number => rounded(((amount ?? 0) * 8) / width, 4);
    sent += bins.uniqueBytes[row] ?? 0;
    acked = Math.min(sent, acked + (bins.ackedBytes[row] ?? 0));
    // A window stays advertised until the next segment says otherwise.
    window = bins.windowMaxBytes[row] ?? window;
    add(
      s(start),
      s(start + bins.durationNs[row]!),
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
  add(s(end), s(end), 0, 0, 0, null, null, null, null, sent, acked, null);
  return columns;
}

const inSeconds = (ns: number | null | undefined): number | null =>
  ns === null || ns === undefined ? null : rounded(ns / 1e9, 4);

const LIMIT_COLUMNS = {
  'sender-application': 'limitSenderApplicationNs',
  'rate-limit': 'limitRateLimitNs',
  'receiver-window': 'limitReceiverWindowNs',
  congestion: 'limitCongestionNs',
  recovery: 'limitRecoveryNs',
  'send-buffer': 'limitSendBufferNs',
  idle: 'limitIdleNs',
} as const satisfies Record<Limit, string>;

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
        t2[before] === s(startNs!)
      ) {
        t2[before] = s(startNs! + bins.durationNs[row]!);
        return;
      }
      t.push(s(startNs!));
      t2.push(s(startNs! + bins.durationNs[row]!));
      limit.push(name);
      low.push(rounded(at, 4));
      high.push(share > 0.995 ? 1 : rounded(at + share, 4));
      tip.push(`${LIMIT_WORDS[name]}: ${percent(share)}`);
      at += share;
    });
  });
  return { t, t2, limit, low, high, tip };
}

const column = (table: JsonTable, name: string): readonly Value[] => table.columns[name]?.values ?? [];

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
    t: both('tNs').map((ns) => s(Number(ns))),
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
    t: starts.map(s),
    t2: starts.map((start, i) => s(start + spans[i]!)),
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
    data.t.push(s(startNs));
    data.t2.push(s(startNs + durationNs));
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

/** Some consecutive rounds drawn as one, because there are more than boxes could be told apart. */
interface RoundGroup extends Round {
  /** Index of the last round in it. */
  readonly last: number;
}

function grouped(rounds: readonly Round[], limit: number): RoundGroup[] {
  const size = Math.ceil(rounds.length / Math.max(1, limit));
  return Array.from({ length: Math.ceil(rounds.length / Math.max(1, size)) }, (_, group) => {
    const members = rounds.slice(group * size, (group + 1) * size);
    const [first] = members;
    const last = members.at(-1)!;
    const sum = (pick: (round: Round) => number): number => members.reduce((total, round) => total + pick(round), 0);
    const seconds = (last.endNs - first!.startNs) / 1e9;
    const dirtied = members.map((round) =>
      round.dirtyPagesPerSecond === null ? null : round.dirtyPagesPerSecond * ((round.endNs - round.startNs) / 1e9),
    );
    if (members.length === 1) return { ...first!, last: first!.index };
    return {
      ...first!,
      last: last.index,
      endNs: last.endNs,
      bytes: sum((round) => round.bytes),
      goodput: seconds > 0 ? sum((round) => round.bytes) / seconds : 0,
      dirtyPagesPerSecond:
        dirtied.includes(null) || seconds === 0 ? null : dirtied.reduce<number>((n, d) => n + d!, 0) / seconds,
      pages: {
        normal: sum((round) => round.pages.normal),
        zero: sum((round) => round.pages.zero),
        xbzrle: sum((round) => round.pages.xbzrle),
        compressed: sum((round) => round.pages.compressed),
      },
    };
  });
}

const nameOf = (round: RoundGroup): string =>
  round.last === round.index ? `round ${round.index}` : `rounds ${round.index} to ${round.last}`;

function roundsData(migration: Migration, rounds: readonly RoundGroup[]): Dataset {
  const pageSize = migration.stream.pageSize;
  const dirtied = rounds.map((round) => dirtiedBytes(round, pageSize));
  return {
    index: rounds.map((round) => round.index),
    start: rounds.map((round) => s(round.startNs)),
    end: rounds.map((round) => s(Math.max(round.endNs, round.startNs + 1))),
    mid: rounds.map((round) => s((round.startNs + round.endNs) / 2)),
    rate: rounds.map((round) => rounded(round.goodput * 8, 4)),
    sent: rounds.map((round) => round.bytes),
    dirtied: dirtied.map((amount) => (amount === null ? null : Math.round(amount))),
    parity: rounds.map((_, i) => i % 2),
    tip: rounds.map(
      (round, i) =>
        `${nameOf(round)}: ${bytes(round.bytes)} in ${duration(round.endNs - round.startNs)} (${bitRate(round.goodput)})` +
        `${dirtied[i] === null ? '' : `, ${bytes(dirtied[i]!)} dirtied meanwhile`}`,
    ),
  };
}

const PAGE_KINDS = ['normal', 'compressed', 'xbzrle', 'zero'] as const;

function kindsData(rounds: readonly RoundGroup[]): Dataset {
  const round: number[] = [];
  const kind: string[] = [];
  const low: number[] = [];
  const high: number[] = [];
  const tip: string[] = [];
  for (const one of rounds) {
    let at = 0;
    for (const name of PAGE_KINDS) {
      const pages = one.pages[name];
      if (pages === 0) continue;
      round.push(one.index);
      kind.push(name);
      low.push(at);
      high.push((at += pages));
      tip.push(`${nameOf(one)}: ${plural(pages, `${name} page`)}`);
    }
  }
  return { round, kind, low, high, tip };
}

/**
 * Memory left to send and memory dirtied meanwhile, as lines: each round works its pages off while the next ones gather.
 * Only the ends are known; between them the lines are straight.
 */
function remainingData(migration: Migration, rounds: readonly RoundGroup[]): Dataset | null {
  const pageSize = migration.stream.pageSize;
  if (pageSize === null || rounds.length < 2) return null;
  const data = { t: [] as number[], line: [] as string[], bytes: [] as number[] };
  const add = (ns: number, line: string, amount: number): void => {
    data.t.push(s(ns));
    data.line.push(line);
    data.bytes.push(amount);
  };
  const sizeOf = ({ pages }: (typeof rounds)[number]): number =>
    (pages.normal + pages.zero + pages.xbzrle + pages.compressed) * pageSize;
  rounds.forEach((round, i) => {
    add(round.startNs, `left ${i}`, sizeOf(round));
    add(round.endNs, `left ${i}`, 0);
    const next = rounds[i + 1];
    if (!next) return;
    add(round.startNs, `dirtied ${i}`, 0);
    add(round.endNs, `dirtied ${i}`, sizeOf(next));
  });
  return { ...data, kind: data.line.map((line) => line.split(' ')[0]!) };
}

/** What would have fitted into the downtime limit at each round's end, as the switch-over model reconstructs it. */
function thresholdData(migration: Migration): Dataset | null {
  const model = migration.models['switchover'] as Partial<SwitchoverResult> | undefined;
  const rounds = Array.isArray(model?.rounds) ? model.rounds : [];
  return { t: rounds.map((round) => s(round.tNs)), bytes: rounds.map((round) => Math.round(round.thresholdBytes)) };
}

/** Start of each RAM block when all are laid end to end, largest first; `null` where a block is too small to see. */
function layout(migration: Migration): Map<number, number> {
  const order = migration.ramBlocks
    .map((block, index) => ({ index, lengthBytes: block.lengthBytes }))
    .sort((a, b) => b.lengthBytes - a.lengthBytes || a.index - b.index);
  let at = 0;
  return new Map(
    order.map(({ index, lengthBytes }) => {
      const start = at;
      at += lengthBytes;
      return [index, start];
    }),
  );
}

function blocksData(migration: Migration): Dataset {
  const starts = layout(migration);
  const total = migration.ramBlocks.reduce((sum, block) => sum + block.lengthBytes, 0);
  const shown = migration.ramBlocks
    .map((block, index) => ({ name: plain(block.name, 40), start: starts.get(index)!, lengthBytes: block.lengthBytes }))
    .filter((block) => block.lengthBytes > total * 0.06);
  return { name: shown.map((block) => block.name), start: shown.map((block) => block.start) };
}

/** Cells of the heat map: address × round, with the share of the cell's pages that the round sent. */
function regionsData(report: ReportData, migration: Migration, detail: number): Dataset | null {
  const table = report.tables['pageRegions'];
  const pageSize = migration.stream.pageSize;
  if (!table || pageSize === null) return null;
  const starts = layout(migration);
  const of = (name: string): readonly Value[] => column(table, name);
  const rows: number[] = [];
  for (let row = 0; row < table.rows; row++) if (of('migration')[row] === migration.id) rows.push(row);
  // Rounds and addresses beyond the budget merge; the strongest of the merged cells is what shows.
  const lastRound = rows.reduce((last, row) => Math.max(last, Number(of('round')[row])), 1);
  const roundStep = Math.ceil(lastRound / 150);
  const budget = REGIONS * detail;
  let step = 1;
  let cells = new Map<string, { block: number; page: number; round: number; pages: number; copies: number }>();
  for (;;) {
    cells = new Map();
    for (const row of rows) {
      const block = Number(of('block')[row]);
      const pages = Number(of('pages')[row]);
      const size = pages * step;
      const page = Math.floor(Number(of('startPage')[row]) / size) * size;
      const round = Math.ceil(Number(of('round')[row]) / roundStep) * roundStep;
      const key = `${block} ${page} ${round}`;
      const copies = Number(of('copies')[row]) * step;
      const cell = cells.get(key);
      if (cell) cell.copies = Math.max(cell.copies, copies);
      else cells.set(key, { block, page, round, pages: size, copies });
    }
    if (cells.size <= budget || step >= WHOLE_GUEST) break;
    step *= 2;
  }
  // More blocks than cells: merging by address cannot help, so the first ones are drawn.
  const list = [...cells.values()].slice(0, REGIONS);
  const address = list.map((cell) => (starts.get(cell.block) ?? 0) + cell.page * pageSize);
  return {
    x: list.map((cell) => cell.round - roundStep + 0.5),
    x2: list.map((cell) => cell.round + 0.5),
    y: address,
    y2: list.map((cell, i) => address[i]! + cell.pages * pageSize),
    share: list.map((cell) => rounded(Math.min(1, cell.copies / cell.pages), 3)),
    tip: list.map(
      (cell) =>
        `round ${cell.round}: ${count(Math.round(cell.copies))} of ${plural(cell.pages, 'page')} at ` +
        `${memory(cell.page * pageSize)} in ${plain(migration.ramBlocks[cell.block]?.name ?? 'unknown block', 40)}`,
    ),
  };
}

/** Page requests of post-copy: each one (the slowest among them), how many waited how long, median and 99 %. */
function requestsData(report: ReportData, migration: Migration, detail: number): Record<string, Dataset | null> {
  const table = report.tables['pageRequests'];
  const cells = (name: string): readonly Value[] => table?.columns[name]?.values ?? [];
  const latencyNs = migration.postcopy?.requestLatencyNs;
  const all = cells('migration').flatMap((id, row) => {
    const [tNs, waitNs, size] = [cells('tNs')[row], cells('latencyNs')[row], cells('bytes')[row]].map(Number);
    return id === migration.id && waitNs! >= 0 ? [{ tNs: tNs!, wait: Math.max(1e-6, waitNs! / 1e9), size: size! }] : [];
  });
  if (all.length === 0 || !latencyNs) return {};
  const limit = Math.round(REQUESTS * detail);
  const step = Math.ceil((2 * all.length) / limit);
  const slow = all.map(({ wait }) => wait).sort((a, b) => b - a)[limit >> 1] ?? 0;
  const shown = all.length <= limit ? all : all.filter(({ wait }, at) => wait > slow || at % step === 0);

  const bins = new Map<number, number>();
  for (const { wait } of all) {
    const bin = Math.floor(Math.log10(wait) * WAIT_BINS);
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
  }
  const used = [...bins.keys()].sort((a, b) => a - b);
  const edge = (bin: number): number => rounded(10 ** (bin / WAIT_BINS));
  const quantiles = [
    ['median', latencyNs.p50],
    ['99 %', latencyNs.p99],
  ] as const;
  return {
    requests: {
      t: shown.map(({ tNs }) => s(tNs)),
      wait: shown.map(({ wait }) => rounded(wait)),
      tip: shown.map(({ tNs, wait, size }) => `${moment(tNs)}: ${memory(size)} after ${duration(wait * 1e9)}`),
    },
    waits: {
      from: used.map(edge),
      to: used.map((bin) => edge(bin + 1)),
      count: used.map((bin) => bins.get(bin)!),
      tip: used.map(
        (bin) =>
          `${plural(bins.get(bin)!, 'request')}: ${duration(edge(bin) * 1e9)} to ${duration(edge(bin + 1) * 1e9)}`,
      ),
    },
    quantiles: {
      wait: quantiles.map(([, ns]) => rounded(Math.max(1e-6, ns / 1e9))),
      tip: quantiles.map(([name, ns]) => `${name}: ${duration(ns)}`),
    },
  };
}

/** Phases and devices of the switch-over, in ms, 0 where the guest is estimated to have stopped. */
function switchoverData(migration: Migration): Dataset | null {
  const { downtime, phases, devices } = migration;
  if (!downtime) return null;
  const to = downtime.endNs;
  const pausedNs = to - downtime.estimateNs;
  // The earliest moment the wire allows can be seconds before; a little room before the estimate is enough to see it start.
  const from = Math.min(pausedNs, Math.max(downtime.earliestStartNs, pausedNs - 0.1 * downtime.estimateNs));
  interface Bar {
    readonly label: string;
    readonly startNs: number;
    readonly endNs: number;
    readonly kind: 'downtime' | 'phase' | 'device';
    readonly bytes: number | null;
    /** Where the bar shows only the part inside the pause: how long it went on in all. */
    readonly wholeNs?: number;
  }
  const took = ({ startNs, endNs, wholeNs = 0 }: Bar): string =>
    wholeNs > 1.01 * (endNs - startNs)
      ? `${duration(endNs - startNs)} of ${duration(wholeNs)}`
      : duration(endNs - startNs);
  const inside = <T extends { startNs: number; endNs: number }>(spans: readonly T[]): (T & { wholeNs: number })[] =>
    spans
      .map((span) => ({
        ...span,
        startNs: Math.max(from, span.startNs),
        endNs: Math.min(to, span.endNs),
        wholeNs: span.endNs - span.startNs,
      }))
      .filter((span) => span.endNs >= span.startNs);
  const bars: Bar[] = [
    { label: 'guest paused', startNs: pausedNs, endNs: to, kind: 'downtime', bytes: null },
    ...inside(phases)
      .filter((phase) => phase.kind !== 'setup' && phase.kind !== 'precopy' && phase.endNs > phase.startNs)
      .map((phase): Bar => ({ ...phase, label: phase.kind, kind: 'phase' })),
  ];
  // Most devices cross in one burst: only those that took time get a bar, the others share one.
  const timed = inside(devices);
  const shown = timed
    .filter((device) => device.endNs - device.startNs >= 0.005 * (to - from))
    .sort((a, b) => b.endNs - b.startNs - (a.endNs - a.startNs))
    .slice(0, DEVICES);
  for (const device of timed) {
    if (!shown.includes(device)) continue;
    const instance = device.instance > 0 ? ` #${device.instance}` : '';
    bars.push({ ...device, label: `${plain(device.name, 28)}${instance}`, kind: 'device' });
  }
  const rest = timed.filter((device) => !shown.includes(device));
  if (rest.length > 0) {
    bars.push({
      label: plural(rest.length, shown.length > 0 ? 'other device' : 'device'),
      startNs: rest.reduce((first, device) => Math.min(first, device.startNs), to),
      endNs: rest.reduce((last, device) => Math.max(last, device.endNs), from),
      kind: 'device',
      bytes: rest.reduce((sum, device) => sum + device.bytes, 0),
    });
  }
  return {
    order: bars.map((_, i) => i),
    label: bars.map((bar) => bar.label),
    start: bars.map((bar) => rounded((bar.startNs - pausedNs) / 1e6)),
    end: bars.map((bar) => rounded((bar.endNs - pausedNs) / 1e6)),
    kind: bars.map((bar) => bar.kind),
    took: bars.map(took),
    tip: bars.map((bar) => `${bar.label}: ${took(bar)}${bar.bytes === null ? '' : `, ${bytes(bar.bytes)}`}`),
  };
}
