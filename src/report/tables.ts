// Finished results as arquero tables: rollups for the page, and CSV or Arrow files for other programs.
//
// Every column keeps its unit; the files come with a schema that says it. Text cells pass plain(), and none can start
// like a spreadsheet formula.
import { float64, utf8 } from '@uwdata/flechette';
import { escape as byRow, type ColumnTable, desc, table as makeTable, op } from 'arquero';
import {
  LIMIT_COLUMNS,
  TCP_EPISODE_KINDS,
  TCP_EPISODE_UNITS,
  TCP_EVENT_KINDS,
  TCP_EVENT_UNITS,
  TCP_SEGMENT_KINDS,
  TCP_SEGMENT_UNITS,
} from '../decode/tcp/results.js';
import type { UdpFlow } from '../decode/udp/results.js';
import { plain } from './format.js';
import type { JsonTable, ReportData } from './report.js';
import type { Carrier } from './traffic.js';

type Cell = number | string | null;

/** An arquero table and what its columns are measured in. */
export interface UnitTable {
  readonly table: ColumnTable;
  readonly units: Readonly<Record<string, string>>;
  /** Rows of the full result that are not here. */
  readonly omitted: number;
}

export interface TableFile {
  readonly name: string;
  readonly content: string | Uint8Array;
}

/** A JSON table as an arquero table. */
function unitTable(json: JsonTable): UnitTable {
  const names = Object.keys(json.columns);
  return {
    table: makeTable(Object.fromEntries(names.map((name) => [name, json.columns[name]!.values as Cell[]])), names),
    units: Object.fromEntries(names.map((name) => [name, json.columns[name]!.unit])),
    omitted: json.omitted ?? 0,
  };
}

/** A column of a table made from items: its unit, and the cell of an item. */
type ColumnOf<T> = readonly [unit: string, cell: (item: T) => Cell];

/** A row an item; `columns` are named in their order. */
function fromItems<T>(items: readonly T[], columns: Readonly<Record<string, ColumnOf<T>>>): UnitTable {
  const named = Object.entries(columns);
  return {
    table: makeTable(
      Object.fromEntries(named.map(([name, [, cell]]) => [name, items.map(cell)])),
      named.map(([name]) => name),
    ),
    units: Object.fromEntries(named.map(([name, [unit]]) => [name, unit])),
    omitted: 0,
  };
}

/** Timeline columns that add up over channels and neighbouring bins, and those of which the extreme counts. */
const SUMS = ['payloadBytes', 'uniqueBytes', 'ackedBytes', 'retransmittedBytes', 'retransmittedSegments'] as const;
const LIMIT_SUMS = Object.values(LIMIT_COLUMNS);

/** Columns of `timelineOf`; times in ns, amounts per bin. */
export type TimelineColumn =
  | 'startNs'
  | 'durationNs'
  | (typeof SUMS)[number]
  | (typeof LIMIT_SUMS)[number]
  | 'inFlightMaxBytes'
  | 'windowMinBytes'
  | 'windowMaxBytes'
  | 'rttMinNs'
  | 'rttMaxNs';

/**
 * The timeline of several directions together in at most `limit` equally wide bins: amounts add up, round-trip times
 * keep their extremes, in flight is the sum over channels of each one's maximum in the bin, and the window the sum of what each last advertised.
 * Null when none of the directions has a timeline.
 */
export function timelineOf(
  report: ReportData,
  carriers: readonly Carrier[],
  limit: number,
): Readonly<Record<TimelineColumn, readonly (number | null)[]>> | null {
  const binned = binnedTimeline(report, carriers, limit);
  if (!binned) return null;
  const { rows, width } = binned;
  const sums = Object.fromEntries([...SUMS, ...LIMIT_SUMS].map((name) => [name, op.sum(name)]));
  const perDirection = rows.groupby('direction', 'bin').rollup({
    ...sums,
    inFlightMaxBytes: op.max('inFlightMaxBytes'),
    windowMinBytes: op.min('windowMinBytes'),
    windowMaxBytes: op.max('windowMaxBytes'),
    rttMinNs: op.min('rttMinNs'),
    rttMaxNs: op.max('rttMaxNs'),
  });
  const together = perDirection
    .groupby('bin')
    .rollup({
      ...sums,
      // A sum over nothing known is unknown, not 0: `valid` counts the known ones.
      inFlightMaxBytes: op.sum('inFlightMaxBytes'),
      inFlightKnown: op.valid('inFlightMaxBytes'),
      rttMinNs: op.min('rttMinNs'),
      rttMaxNs: op.max('rttMaxNs'),
    })
    .orderby('bin');
  const column = (name: string): (number | null)[] =>
    Array.from(together.array(name) as ArrayLike<number | undefined>, (value) =>
      value === undefined || value === null || Number.isNaN(value) ? null : value,
    );
  const inFlightKnown = column('inFlightKnown');
  return {
    startNs: column('bin'),
    durationNs: Array<number>(together.numRows()).fill(width),
    ...(Object.fromEntries([...SUMS, ...LIMIT_SUMS].map((name) => [name, column(name)])) as Record<
      (typeof SUMS)[number] | (typeof LIMIT_SUMS)[number],
      (number | null)[]
    >),
    inFlightMaxBytes: column('inFlightMaxBytes').map((value, row) => (inFlightKnown[row] ? value : null)),
    windowMinBytes: standing(perDirection, 'windowMinBytes'),
    windowMaxBytes: standing(perDirection, 'windowMaxBytes'),
    rttMinNs: column('rttMinNs'),
    rttMaxNs: column('rttMaxNs'),
  };
}

/**
 * The timeline of flows of other transports together, the heavier way, in the columns of `timelineOf`. Bytes are those on
 * the wire: whether they are new is not visible, so new and all are the same here, and windows and limits are unknown.
 */
export function flowTimelineOf(
  report: ReportData,
  flows: readonly UdpFlow[],
  limit: number,
): Readonly<Record<TimelineColumn, readonly (number | null)[]>> | null {
  const json = report.tables['udpTimeline'];
  if (!json || json.rows === 0) return null;
  const heavier = new Map(
    flows.map((flow) => {
      const [client, server] = flow.directions;
      return [flow.id, client.wireBytes >= server.wireBytes ? 'clientWireBytes' : 'serverWireBytes'] as const;
    }),
  );
  const all = unitTable(json).table.filter(byRow((d: { flow: number }) => heavier.has(d.flow)));
  if (all.numRows() === 0) return null;
  const span = all
    .rollup({ width: op.max('durationNs'), first: op.min('startNs'), last: op.max('startNs') })
    .object() as { width: number; first: number; last: number };
  const width = span.width * Math.max(1, Math.ceil((span.last - span.first) / span.width / limit));
  type Row = { flow: number; startNs: number; clientWireBytes: number; serverWireBytes: number };
  const rows = all
    .derive({
      bin: byRow((d: Row) => Math.floor(d.startNs / width) * width),
      wireBytes: byRow((d: Row) => d[heavier.get(d.flow)!]),
    })
    .groupby('bin')
    .rollup({
      wireBytes: op.sum('wireBytes'),
      retransmitted: op.sum('retransmittedPackets'),
      rttMin: op.min('rttMinNs'),
      rttMax: op.max('rttMinNs'),
    })
    .orderby('bin')
    .objects() as { bin: number; wireBytes: number; retransmitted: number; rttMin?: number; rttMax?: number }[];
  const none = rows.map(() => null);
  const zero = rows.map(() => 0);
  return {
    startNs: rows.map((row) => row.bin),
    durationNs: rows.map(() => width),
    payloadBytes: rows.map((row) => row.wireBytes),
    uniqueBytes: rows.map((row) => row.wireBytes),
    ackedBytes: zero,
    retransmittedBytes: zero,
    retransmittedSegments: rows.map((row) => row.retransmitted ?? 0),
    inFlightMaxBytes: none,
    windowMinBytes: none,
    windowMaxBytes: none,
    rttMinNs: rows.map((row) => row.rttMin ?? null),
    rttMaxNs: rows.map((row) => row.rttMax ?? null),
    ...(Object.fromEntries(LIMIT_SUMS.map((name) => [name, zero])) as Record<(typeof LIMIT_SUMS)[number], number[]>),
  };
}

/** New bytes of each direction in at most `limit` equally wide bins; rows without any are left out. */
export function bytesByDirection(
  report: ReportData,
  carriers: readonly Carrier[],
  limit: number,
): { readonly direction: number; readonly startNs: number; readonly durationNs: number; readonly bytes: number }[] {
  const binned = binnedTimeline(report, carriers, limit);
  if (!binned) return [];
  const rows = binned.rows
    .groupby('direction', 'bin')
    .rollup({ bytes: op.sum('uniqueBytes') })
    .orderby('direction', 'bin')
    .objects() as { direction: number; bin: number; bytes: number }[];
  return rows
    .filter((row) => row.bytes > 0)
    .map(({ direction, bin, bytes }) => ({ direction, startNs: bin, durationNs: binned.width, bytes }));
}

/** Timeline rows of some directions with the start of their common bin in column `bin`; null when there are none. */
function binnedTimeline(
  report: ReportData,
  carriers: readonly Carrier[],
  limit: number,
): { readonly rows: ColumnTable; readonly width: number } | null {
  const json = report.tables['timeline'];
  if (!json || json.rows === 0) return null;
  const wanted = new Set(carriers.map((carrier) => carrier.direction));
  const rows = unitTable(json).table.filter(byRow((d: { direction: number }) => wanted.has(d.direction)));
  if (rows.numRows() === 0) return null;
  const span = rows
    .rollup({ width: op.max('durationNs'), first: op.min('startNs'), last: op.max('startNs') })
    .object() as { width: number; first: number; last: number };
  const base = Math.max(1, span.width);
  const width = base * Math.max(1, Math.ceil((span.last - span.first) / base / limit));
  const bin = byRow((d: { startNs: number }) => Math.floor(d.startNs / width) * width);
  return { rows: rows.derive({ bin }), width };
}

/**
 * Per bin the sum over directions of the value last known of each: a window stays advertised while its channel is silent.
 */
function standing(perDirection: ColumnTable, name: string): (number | null)[] {
  const rows = perDirection.select('bin', 'direction', name).orderby('bin').objects() as Record<string, number>[];
  const last = new Map<number, number>();
  const sums: (number | null)[] = [];
  rows.forEach((row, at) => {
    const value = row[name];
    if (value !== undefined && value !== null && !Number.isNaN(value)) last.set(row['direction']!, value);
    if (rows[at + 1]?.['bin'] === row['bin']) return;
    sums.push(last.size === 0 ? null : [...last.values()].reduce((sum, one) => sum + one, 0));
  });
  return sums;
}

/** One stretch of guest memory over all rounds after the first. */
export interface HotRegion {
  readonly block: number;
  readonly startPage: number;
  readonly pages: number;
  /** Pages sent again, over all rounds but the first. */
  readonly resent: number;
}

/** The stretches of memory that were sent again most often, hottest first. */
export function hotRegions(report: ReportData, migration: number, limit: number): HotRegion[] {
  const json = report.tables['pageRegions'];
  if (!json || json.rows === 0) return [];
  return unitTable(json)
    .table.filter(byRow((d: { migration: number; round: number }) => d.migration === migration && d.round > 1))
    .groupby('block', 'startPage')
    .rollup({ pages: op.max('pages'), resent: op.sum('copies') })
    .orderby(desc('resent'))
    .slice(0, limit)
    .objects() as HotRegion[];
}

/** Names of tables and columns; a saved result could bring others, which would be file names and spreadsheet cells. */
const NAME = /^[A-Za-z][A-Za-z0-9]*$/;

/** Every table a user can take out, by file name. */
function finishedTables(report: ReportData): Record<string, UnitTable> {
  const tables: Record<string, UnitTable> = {
    rounds: roundTable(report),
    connections: connectionTable(report),
    findings: fromItems(report.findings, {
      rule: ['rule id', (finding) => finding.rule],
      severity: ['name', (finding) => finding.severity],
      confidence: ['share', (finding) => finding.confidence],
      migration: ['migration id', (finding) => finding.migration],
      startNs: ['ns', ({ interval }) => interval[0]?.[0] ?? null],
      endNs: ['ns', ({ interval }) => interval[0]?.[1] ?? null],
      firstFrame: ['frame number', ({ packets }) => packets[0] ?? null],
      costOf: ['name', ({ cost }) => cost?.of ?? null],
      costNs: ['ns', ({ cost }) => cost?.ns ?? null],
      text: ['text', (finding) => finding.text],
    }),
    sections: fromItems(
      report.migrations.flatMap(({ id, devices }) => devices.map((device) => ({ ...device, migration: id }))),
      {
        migration: ['migration id', (device) => device.migration],
        name: ['name', (device) => device.name],
        instance: ['instance id', (device) => device.instance],
        version: ['version id', (device) => device.version],
        bytes: ['bytes', (device) => device.bytes],
        startNs: ['ns', (device) => device.startNs],
        endNs: ['ns', (device) => device.endNs],
      },
    ),
    anomalies: fromItems(report.anomalies, {
      code: ['name', (anomaly) => anomaly.code],
      severity: ['name', (anomaly) => anomaly.severity],
      origin: ['name', (anomaly) => anomaly.origin],
      direction: ['direction id', (anomaly) => anomaly.direction],
      count: ['count', (anomaly) => anomaly.count],
      firstFrame: ['frame number', ({ first }) => first.frame ?? null],
      firstNs: ['ns', ({ first }) => first.tNs ?? null],
      text: ['text', (anomaly) => anomaly.text],
    }),
  };
  for (const [name, json] of Object.entries(report.tables)) {
    if (NAME.test(name)) tables[name] = unitTable(json);
  }
  return tables;
}

function roundTable({ migrations }: ReportData): UnitTable {
  const rounds = migrations.flatMap((migration) => migration.rounds.map((round) => ({ migration, round })));
  return fromItems(rounds, {
    migration: ['migration id', ({ migration }) => migration.id],
    round: ['round index', ({ round }) => round.index],
    startNs: ['ns', ({ round }) => round.startNs],
    endNs: ['ns', ({ round }) => round.endNs],
    bytes: ['bytes', ({ round }) => round.bytes],
    goodput: ['bytes/s', ({ round }) => round.goodput],
    dirtyPagesPerSecond: ['pages/s', ({ round }) => round.dirtyPagesPerSecond],
    normalPages: ['pages', ({ round }) => round.pages.normal],
    zeroPages: ['pages', ({ migration, round }) => (migration.pages.zero === null ? null : round.pages.zero)],
    xbzrlePages: ['pages', ({ round }) => round.pages.xbzrle],
    compressedPages: ['pages', ({ round }) => round.pages.compressed],
    boundary: ['name', ({ round }) => round.boundary],
    confidence: ['share', ({ round }) => round.confidence],
  });
}

function connectionTable({ connections }: ReportData): UnitTable {
  const directions = connections.flatMap((connection) =>
    connection.directions.map((direction, side) => ({
      connection,
      direction,
      id: 2 * connection.id + side,
      from: side === 0 ? connection.client : connection.server,
      to: side === 0 ? connection.server : connection.client,
    })),
  );
  return fromItems(directions, {
    connection: ['connection id', ({ connection }) => connection.id],
    direction: ['direction id', ({ id }) => id],
    from: ['address', ({ from }) => from.address],
    fromPort: ['port', ({ from }) => from.port],
    to: ['address', ({ to }) => to.address],
    toPort: ['port', ({ to }) => to.port],
    channel: ['name', ({ connection }) => connection.channel.kind],
    migration: ['migration id', ({ connection }) => connection.channel.migration],
    startNs: ['ns', ({ connection }) => connection.startNs],
    endNs: ['ns', ({ connection }) => connection.endNs],
    frames: ['count', ({ direction }) => direction.frames],
    payloadBytes: ['bytes', ({ direction }) => direction.payloadBytes],
    uniqueBytes: ['bytes', ({ direction }) => direction.uniqueBytes],
    unseenBytes: ['bytes', ({ direction }) => direction.unseenBytes],
    retransmittedSegments: ['count', ({ direction }) => direction.retransmittedSegments],
    retransmittedBytes: ['bytes', ({ direction }) => direction.retransmittedBytes],
    outOfOrderSegments: ['count', ({ direction }) => direction.outOfOrderSegments],
    rttP50Ns: ['ns', ({ direction }) => direction.rttNs?.p50 ?? null],
    queueingP50Ns: ['ns', ({ direction }) => direction.queueingNs?.p50 ?? null],
    queueingP95Ns: ['ns', ({ direction }) => direction.queueingNs?.p95 ?? null],
    windowMaxBytes: ['bytes', ({ direction }) => direction.window?.max ?? null],
    inFlightMaxBytes: ['bytes', ({ direction }) => direction.inFlight?.max ?? null],
    goodput: ['bytes/s', ({ direction }) => direction.goodput],
  });
}

/** One CSV file a table, and schema.json with the units. */
export async function csvFiles(report: ReportData): Promise<TableFile[]> {
  return files(report, 'csv', ({ table }) => `${table.toCSV().trimEnd()}\n`);
}

/** One Arrow IPC file a table, and schema.json with the units. */
export async function arrowFiles(report: ReportData): Promise<TableFile[]> {
  return files(report, 'arrow', (one) => {
    const types = Object.fromEntries(
      one.table.columnNames().map((name) => [name, typeOf(one, name) === 'utf8' ? utf8() : float64()]),
    );
    return one.table.toArrowIPC({ format: 'file', types });
  });
}

/** Words that a number in a column stands for, by the column's unit: the number is the place in the list. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  [TCP_EVENT_UNITS.kind]: TCP_EVENT_KINDS,
  [TCP_EPISODE_UNITS.kind]: TCP_EPISODE_KINDS,
  [TCP_SEGMENT_UNITS.kind]: TCP_SEGMENT_KINDS,
};

/** Units of columns that hold words. */
const WORDS: ReadonlySet<string> = new Set(['name', 'address', 'text', 'rule id']);

/**
 * The type of a column, the same in every file whatever it holds: left to inference, a column would be of 8 bits in one
 * capture, of 64 in the next, and of no type where it is empty, and results could not be put together.
 */
const typeOf = ({ table, units }: UnitTable, name: string): 'utf8' | 'float64' =>
  WORDS.has(units[name]!) || Array.from(table.array(name) as ArrayLike<Cell>).some((cell) => typeof cell === 'string')
    ? 'utf8'
    : 'float64';

function files(report: ReportData, extension: string, content: (table: UnitTable) => string | Uint8Array): TableFile[] {
  const tables = Object.entries(finishedTables(report)).map(([name, table]) => [name, inert(table)] as const);
  const schema = {
    schema: 'migscope.tables',
    schemaVersion: 1,
    generator: report.generator,
    captureStart: report.capture.start,
    tables: tables.map(([name, one]) => ({
      name,
      file: `${name}.${extension}`,
      rows: one.table.numRows(),
      omitted: one.omitted,
      columns: one.table.columnNames().map((column) => ({
        name: column,
        unit: plain(one.units[column]!),
        type: typeOf(one, column),
        ...(CODES[one.units[column]!] ? { values: CODES[one.units[column]!] } : {}),
      })),
    })),
  };
  return [
    ...tables.map(([name, table]) => ({ name: `${name}.${extension}`, content: content(table) })),
    { name: 'schema.json', content: `${JSON.stringify(schema, null, 2)}\n` },
  ];
}

// A cell that starts with one of these, in their wide forms too, is a formula to a spreadsheet; an apostrophe makes it text
// (OWASP, CSV injection).
const FORMULA = /^[=+\-@＝＋－＠]/;

function inert({ table, units, omitted }: UnitTable): UnitTable {
  const names = table.columnNames().filter((name) => NAME.test(name));
  const columns = names.map((name): [string, Cell[]] => [
    name,
    Array.from(table.array(name) as ArrayLike<Cell>, (cell) => {
      if (typeof cell !== 'string') return cell ?? null;
      const text = plain(cell, 2000);
      return FORMULA.test(text) ? `'${text}` : text;
    }),
  ]);
  return { table: makeTable(Object.fromEntries(columns), names), units, omitted };
}
