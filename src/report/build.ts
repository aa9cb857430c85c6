// From finished results to ReportData: connections learn their part in a migration, tables shrink to report size.
//
// Every table has a row budget, so the JSON of any capture stays within a few megabytes. Shrinking keeps what the eye
// looks for: sums stay sums, extremes stay extremes, rare events survive frequent ones.
import type { Anomaly } from '../anomaly.js';
import type { Column, ColumnData, ColumnValues } from '../columns.js';
import { TCP_EVENT_KINDS, type TcpResults } from '../decode/tcp/results.js';
import type { TunnelTotal, UdpResults } from '../decode/udp/results.js';
import type { MigrationResults } from '../migration-stream/results.js';
import type { Connection, JsonTable, ReportData } from './report.js';
import { payloadBytesOf } from './traffic.js';

/** Rows of the report's timeline over all directions, and the most that one direction gets. */
const TIMELINE_ROWS = 12_000;
const TIMELINE_DIRECTION_ROWS = 2_400;
const TIMELINE_DIRECTION_ROWS_MIN = 150;
const EVENT_ROWS = 8_000;
const EPISODE_ROWS = 2_000;
const REGION_ROWS = 16_000;
const REGION_ROUNDS = 200;
/** Pages of a guest larger than any; where merging by address ends. */
const MOST_PAGES = 2 ** 40;
const OTHER_ROWS = 4_000;
/** Connections and flows listed one by one. */
const CONNECTION_ROWS = 2_000;
const FLOW_ROWS = 500;

/** What the stages hand on at the end of a capture. */
export interface ReportInput {
  readonly capture: ReportData['capture'];
  readonly anomalies: readonly Anomaly[];
  readonly tcp: TcpResults;
  readonly udp: UdpResults;
  readonly migration: MigrationResults;
  /** Further tables by name: signals, sections, commands … */
  readonly tables?: Readonly<Record<string, ColumnData>>;
}

/** The result without findings and models, which are computed from it. */
export function buildReport(input: ReportInput, version: string): ReportData {
  const channels = new Map(input.migration.channels.map((channel) => [channel.connection, channel]));
  const opaque = new Map(input.migration.opaque.map(({ connection, ...stream }) => [connection, stream]));
  const connections: Connection[] = input.tcp.connections.map((connection) => {
    const channel = channels.get(connection.id);
    const closed = opaque.get(connection.id);
    return {
      ...connection,
      channel: channel
        ? {
            kind: channel.kind,
            index: channel.index,
            migration: channel.migration,
            ...(channel.confidence === undefined ? {} : { confidence: channel.confidence }),
          }
        : { kind: 'unknown', index: null, migration: null },
      ...(closed ? { opaque: closed } : {}),
    };
  });
  const tables: Record<string, JsonTable> = {
    timeline: shrinkTimeline(input.tcp.timeline, 'direction'),
    tcpEvents: shrinkEvents(input.tcp.events),
    tcpEpisodes: keepLongest(input.tcp.episodes, EPISODE_ROWS),
    tcpSegments: jsonTable(input.tcp.segments),
    pageRegions: shrinkRegions(input.migration.pageRegions),
    pageRequests: shrinkRequests(input.migration.pageRequests),
    udpTimeline: shrinkTimeline(input.udp.timeline, 'flow'),
    ...(input.udp.tunnels.length > 0 ? { tunnels: tunnelTable(input.udp.tunnels.slice(0, OTHER_ROWS)) } : {}),
  };
  for (const [name, table] of Object.entries(input.tables ?? {})) tables[name] = spread(table);
  return {
    schema: 'migscope.report',
    schemaVersion: 1,
    generator: { name: 'migscope', version },
    capture: input.capture,
    anomalies: [...input.anomalies],
    connections: weightiest(connections, CONNECTION_ROWS, connectionWeight),
    flows: weightiest(
      input.udp.flows,
      FLOW_ROWS,
      (flow) => flow.directions[0].wireBytes + flow.directions[1].wireBytes,
    ),
    migrations: input.migration.migrations.map((migration) => ({ ...migration, models: {} })),
    findings: [],
    tables,
  };
}

const TUNNEL_UNITS = {
  frames: 'count',
  innerIpBytes: 'bytes',
  outerIpBytes: 'bytes',
  innerMaxBytes: 'bytes',
  outerMaxBytes: 'bytes',
  fragmentedFrames: 'count',
} as const satisfies Partial<Record<keyof TunnelTotal, string>>;

function tunnelTable(tunnels: readonly TunnelTotal[]): JsonTable {
  const names = Object.keys(TUNNEL_UNITS) as (keyof typeof TUNNEL_UNITS)[];
  return {
    rows: tunnels.length,
    columns: {
      encapsulation: { unit: 'name', values: tunnels.map((tunnel) => tunnel.encapsulation.join(' / ')) },
      ...Object.fromEntries(
        names.map((name) => [name, { unit: TUNNEL_UNITS[name], values: tunnels.map((tunnel) => tunnel[name]) }]),
      ),
    },
  };
}

/** A table as JSON, all rows; NaN becomes null and fractions keep seven digits. */
export function jsonTable(table: ColumnData, omitted = 0): JsonTable {
  const columns: Record<string, { unit: string; values: (number | string | null)[] }> = {};
  for (const [name, column] of Object.entries(table.columns)) {
    columns[name] = { unit: column.unit, values: Array.from(column.values as ArrayLike<number | string>, jsonValue) };
  }
  return omitted > 0 ? { rows: table.rows, omitted, columns } : { rows: table.rows, columns };
}

const jsonValue = (value: number | string): number | string | null =>
  typeof value === 'string' || Number.isInteger(value)
    ? value
    : Number.isFinite(value)
      ? Number(value.toPrecision(7))
      : null;

// A connection of a migration is never left out for being small.
const connectionWeight = (connection: Connection): number =>
  connection.channel.migration !== null ? Number.POSITIVE_INFINITY : payloadBytesOf(connection);

/** The `limit` weightiest items in their original order. */
function weightiest<T>(items: readonly T[], limit: number, weight: (item: T) => number): T[] {
  if (items.length <= limit) return [...items];
  const threshold = items.map(weight).sort((a, b) => b - a)[limit - 1]!;
  // Of those as heavy as the last one the first ones; otherwise many equal ones would push heavier ones out.
  let ties = limit - items.filter((item) => weight(item) > threshold).length;
  return items.filter((item) => weight(item) > threshold || (weight(item) === threshold && ties-- > 0));
}

/** Neighbouring bins of one direction or flow merge, by powers of two, until each is within its share of the budget. */
function shrinkTimeline(table: ColumnData, owner: 'direction' | 'flow'): JsonTable {
  const owners = numbers(table, owner);
  const startNs = numbers(table, 'startNs');
  const durationNs = numbers(table, 'durationNs');
  // Rows come direction by direction, or flow by flow, and each in order of time.
  const runs: { from: number; to: number }[] = [];
  for (let row = 0; row < table.rows; row++) {
    if (row > 0 && owners[row] === owners[row - 1]) runs.at(-1)!.to = row + 1;
    else runs.push({ from: row, to: row + 1 });
  }
  const share = Math.floor(TIMELINE_ROWS / Math.max(1, runs.length));
  const budget = Math.min(TIMELINE_DIRECTION_ROWS, Math.max(TIMELINE_DIRECTION_ROWS_MIN, share));
  if (runs.every(({ from, to }) => to - from <= budget)) return jsonTable(table);

  const groups = new Uint32Array(table.rows);
  let count = 0;
  for (const { from, to } of runs) {
    let widthNs = Number.POSITIVE_INFINITY;
    for (let row = from; row < to; row++) widthNs = Math.min(widthNs, durationNs[row]!);
    let bins = numberBins(startNs, from, to, widthNs, count, groups);
    while (bins > budget) {
      widthNs *= 2;
      bins = numberBins(startNs, from, to, widthNs, count, groups);
    }
    count += bins;
  }
  return jsonTable(
    mergeRows(table, groups, count, (name) =>
      name === owner ? 'first' : name === 'startNs' ? 'min' : extremeOf(name),
    ),
  );
}

/** Numbers the bins of `widthNs` in which rows [from, to) begin, `first` and on, into `groups`; returns how many. */
function numberBins(
  startNs: NumberColumn,
  from: number,
  to: number,
  widthNs: number,
  first: number,
  groups: Uint32Array,
): number {
  let group = first - 1;
  let last = Number.NaN;
  for (let row = from; row < to; row++) {
    const bin = Math.floor(startNs[row]! / widthNs);
    if (bin !== last) group++;
    last = bin;
    groups[row] = group;
  }
  return group + 1 - first;
}

const extremeOf = (name: string): Merge => (/Max[A-Z]/.test(name) ? 'max' : /Min[A-Z]/.test(name) ? 'min' : 'sum');

/** Kinds share the budget from the rarest on, so a single timeout is kept among thousands of fast retransmissions. */
function shrinkEvents(table: ColumnData): JsonTable {
  if (table.rows <= EVENT_ROWS) return jsonTable(table);
  const kind = numbers(table, 'kind');
  const byKind = TCP_EVENT_KINDS.map((_, k) => indices(table.rows, (row) => kind[row] === k)).sort(
    (a, b) => a.length - b.length,
  );
  const kept: number[] = [];
  byKind.forEach((rows, k) => {
    const share = Math.floor((EVENT_ROWS - kept.length) / (byKind.length - k));
    kept.push(...evenly(rows, share));
  });
  return jsonTable(
    pick(
      table,
      kept.sort((a, b) => a - b),
    ),
    table.rows - kept.length,
  );
}

function keepLongest(table: ColumnData, limit: number): JsonTable {
  if (table.rows <= limit) return jsonTable(table);
  const durationNs = numbers(table, 'durationNs');
  const rows = weightiest(
    indices(table.rows, () => true),
    limit,
    (row) => durationNs[row]!,
  );
  return jsonTable(pick(table, rows), table.rows - rows.length);
}

/**
 * Rounds beyond the ones a picture can tell apart merge first, then regions of the same block and round, by powers of
 * two in size, until the table is within its budget. Copies add up.
 */
function shrinkRegions(full: ColumnData): JsonTable {
  if (full.rows <= REGION_ROWS) return jsonTable(full);
  const rounds = numbers(full, 'round');
  let lastRound = 1;
  for (let row = 0; row < full.rows; row++) lastRound = Math.max(lastRound, rounds[row]!);
  const roundStep = Math.ceil(lastRound / REGION_ROUNDS);
  const table = roundStep === 1 ? full : mergeRounds(full, roundStep);
  const migration = numbers(table, 'migration');
  const block = numbers(table, 'block');
  const startPage = numbers(table, 'startPage');
  const pages = numbers(table, 'pages');
  const round = numbers(table, 'round');
  let step = 1;
  for (let row = 0; row < table.rows; row++) step = Math.max(step, pages[row]!);
  for (; step < MOST_PAGES; step *= 2) {
    const key = (row: number): string =>
      `${migration[row]} ${block[row]} ${round[row]} ${Math.floor(startPage[row]! / step)}`;
    const keys = new Set<string>();
    for (let row = 0; row < table.rows && keys.size <= REGION_ROWS; row++) keys.add(key(row));
    if (keys.size > REGION_ROWS) continue;
    return jsonTable(
      mergeByKey(table, key, (name) =>
        name === 'copies' || name === 'pages' ? 'sum' : name === 'startPage' ? 'min' : 'first',
      ),
    );
  }
  return spread(table, REGION_ROWS);
}

/** The slowest requests, and of the others as many, evenly over time. */
function shrinkRequests(table: ColumnData): JsonTable {
  if (table.rows <= OTHER_ROWS) return jsonTable(table);
  const latencyNs = numbers(table, 'latencyNs');
  const all = indices(table.rows, () => true);
  const slowest = new Set(weightiest(all, OTHER_ROWS / 2, (row) => latencyNs[row]!));
  const others = all.filter((row) => !slowest.has(row));
  const kept = new Set([...slowest, ...evenly(others, OTHER_ROWS / 2)]);
  const rows = all.filter((row) => kept.has(row));
  return jsonTable(pick(table, rows), table.rows - rows.length);
}

/** Regions of `roundStep` consecutive rounds as one, under the number of the first. */
function mergeRounds(table: ColumnData, roundStep: number): ColumnData {
  const [migration, block, startPage, round] = [
    numbers(table, 'migration'),
    numbers(table, 'block'),
    numbers(table, 'startPage'),
    numbers(table, 'round'),
  ];
  return mergeByKey(
    table,
    (row) => `${migration[row]} ${block[row]} ${startPage[row]} ${Math.floor((round[row]! - 1) / roundStep)}`,
    (name) => (name === 'copies' ? 'sum' : name === 'pages' ? 'max' : name === 'round' ? 'min' : 'first'),
  );
}

/** Rows spread evenly over the table, the first and the last among them. */
export function spread(table: ColumnData, limit = OTHER_ROWS): JsonTable {
  if (table.rows <= limit) return jsonTable(table);
  return jsonTable(
    pick(
      table,
      evenly(
        indices(table.rows, () => true),
        limit,
      ),
    ),
    table.rows - limit,
  );
}

function evenly(rows: readonly number[], limit: number): number[] {
  if (rows.length <= limit) return [...rows];
  return Array.from({ length: limit }, (_, i) => rows[Math.round((i * (rows.length - 1)) / Math.max(1, limit - 1))]!);
}

type NumberColumn = Float64Array | Uint32Array | Uint8Array;
type Merge = 'first' | 'sum' | 'min' | 'max';

function numbers(table: ColumnData, name: string): NumberColumn {
  const values = table.columns[name]?.values ?? new Float64Array(table.rows);
  return isNumbers(values) ? values : Float64Array.from(values, Number);
}

const isNumbers = (values: ColumnValues): values is NumberColumn => !Array.isArray(values);

function indices(rows: number, wanted: (row: number) => boolean): number[] {
  const found: number[] = [];
  for (let row = 0; row < rows; row++) if (wanted(row)) found.push(row);
  return found;
}

/** The rows of a table that are wanted. */
export const picked = (table: ColumnData, wanted: (row: number) => boolean): ColumnData =>
  pick(table, indices(table.rows, wanted));

function pick(table: ColumnData, rows: readonly number[]): ColumnData {
  const columns: Record<string, Column> = {};
  for (const [name, column] of Object.entries(table.columns)) {
    const values = column.values;
    columns[name] = {
      unit: column.unit,
      values: isNumbers(values) ? Float64Array.from(rows, (row) => values[row]!) : rows.map((row) => values[row]!),
    };
  }
  return { rows: rows.length, columns };
}

/** Rows with the same key become one, in order of first appearance. */
function mergeByKey(table: ColumnData, key: (row: number) => string, rule: (name: string) => Merge): ColumnData {
  const groupOf = new Map<string, number>();
  const groups = new Uint32Array(table.rows);
  for (let row = 0; row < table.rows; row++) {
    const k = key(row);
    let group = groupOf.get(k);
    if (group === undefined) groupOf.set(k, (group = groupOf.size));
    groups[row] = group;
  }
  return mergeRows(table, groups, groupOf.size, rule);
}

/** Rows of the same group, of `count`, become one; a missing number never hides a known one. */
function mergeRows(table: ColumnData, groups: Uint32Array, count: number, rule: (name: string) => Merge): ColumnData {
  const columns: Record<string, Column> = {};
  for (const name of Object.keys(table.columns)) {
    const to = new Float64Array(count).fill(Number.NaN);
    mergeColumn(numbers(table, name), to, groups, rule(name));
    columns[name] = { unit: table.columns[name]!.unit, values: to };
  }
  return { rows: count, columns };
}

function mergeColumn(from: NumberColumn, to: Float64Array, groups: Uint32Array, how: Merge): void {
  for (let row = 0; row < from.length; row++) {
    const group = groups[row]!;
    const value = from[row]!;
    const known = to[group]!;
    if (Number.isNaN(value)) continue;
    if (Number.isNaN(known)) to[group] = value;
    else if (how === 'sum') to[group] = known + value;
    else if (how === 'min') to[group] = known < value ? known : value;
    else if (how === 'max') to[group] = known > value ? known : value;
  }
}
