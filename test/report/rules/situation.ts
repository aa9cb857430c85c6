// Hand-made results for rule tests: a quiet 10 s migration of 1 GB at 100 MB/s, changed where a test says so.

import { expect, test } from 'vitest';
import { TCP_EPISODE_KINDS, TCP_EVENT_KINDS, type TcpDirection } from '../../../src/decode/tcp/results.js';
import type { Connection, Finding, JsonTable, Migration, ReportData } from '../../../src/report/report.js';
import { type DiagnoseOptions, diagnose } from '../../../src/report/rules/engine.js';
import { RULES } from '../../../src/report/rules/index.js';
import { limitShares, tcpDirection } from '../../support/tcp-direction.js';

export { limitShares as limits };

export const S = 1e9;
export const MS = 1e6;
export const MIB = 2 ** 20;

type Partly<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Partly<T[K]> } : T;
type Tree = Readonly<Record<string, unknown>>;

/** `base` with the given parts replaced, at any depth; arrays are replaced whole. */
export function altered<T>(base: T, parts: Partly<NoInfer<T>>): T {
  const merge = (old: unknown, part: unknown): unknown => {
    const branch = (value: unknown): value is Tree =>
      typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!branch(part) || !branch(old)) return part;
    const result: Record<string, unknown> = { ...old };
    for (const [name, value] of Object.entries(part)) result[name] = merge(old[name], value);
    return result;
  };
  return merge(base, parts) as T;
}

export const quantiles = (min: number, p50: number, max: number) => ({
  min,
  p50,
  p95: max,
  p99: max,
  max,
  samples: 1000,
});

const quietDirection = (uniqueBytes: number): TcpDirection =>
  tcpDirection({
    frames: 20_000,
    dataFrames: 20_000,
    wireSegments: 20_000,
    payloadBytes: uniqueBytes,
    uniqueBytes,
    rttNs: quantiles(0.2 * MS, 0.25 * MS, 0.4 * MS),
    window: quantiles(3 * MIB, 3 * MIB, 3 * MIB),
    inFlight: quantiles(10_000, 200_000, 500_000),
    throughput: uniqueBytes / 10,
    goodput: uniqueBytes / 10,
    firstDataNs: 0,
    lastDataNs: 10 * S,
    ackedBytes: uniqueBytes,
    wireBytes: uniqueBytes * 1.06,
    limitedBy: limitShares({ congestion: 1 }),
  });

const quietConnection: Connection = {
  id: 0,
  transport: 'tcp',
  encapsulation: [],
  client: { address: '10.0.0.1', port: 40_000 },
  server: { address: '10.0.0.2', port: 49_152 },
  channel: { kind: 'main', index: null, migration: 0 },
  firstFrame: 1,
  startNs: 0,
  endNs: 10 * S,
  handshakeRttNs: 0.2 * MS,
  endedBy: 'fin',
  completeness: 31,
  closedFirstBy: 0,
  vantage: 'source',
  options: { mss: [1460, 1460], windowScale: [7, 7], sack: true, timestamps: true },
  directions: [quietDirection(1e9), altered(quietDirection(1000), { frames: 5000, dataFrames: 10, limitedBy: null })],
};

export const connection = (parts: Partly<Connection> = {}): Connection => altered(quietConnection, parts);

/** One end of a connection, to be placed in `directions`. */
export const direction = (parts: Partly<TcpDirection> = {}): TcpDirection => altered(quietDirection(1e9), parts);

/** A round by start and end in seconds and pages sent. */
export const round = (index: number, startS: number, endS: number, pages: number): Migration['rounds'][number] => ({
  index,
  startNs: startS * S,
  endNs: endS * S,
  pages: { normal: pages, zero: 0, xbzrle: 0, compressed: 0 },
  bytes: pages * 4104,
  goodput: (pages * 4104) / (endS - startS),
  dirtyPagesPerSecond: null,
  boundary: index === 1 ? 'first-pass' : 'page-repeat',
  confidence: 1,
});

const quietMigration: Migration = {
  id: 0,
  source: '10.0.0.1',
  destination: '10.0.0.2',
  port: 49_152,
  connections: [0],
  outcome: 'completed',
  encryption: 'none',
  stream: {
    machineType: 'pc-q35-9.0',
    pageSize: 4096,
    features: ['return-path'],
    decodedBytes: 1e9,
    undecodedBytes: 0,
  },
  startNs: 0,
  endNs: 10 * S,
  ramBlocks: [{ name: 'pc.ram', lengthBytes: 1024 * MIB }],
  pages: { normal: 240_000, zero: 30_000, xbzrle: 0, compressed: 0, distinct: 262_144, resent: 7856 },
  bytes: { total: 1e9, main: 1e9, multifd: 0, preempt: 0, ramRecords: 0.99e9, deviceState: 100_000, returnPath: 1000 },
  rounds: [round(1, 0, 9.5, 236_000), round(2, 9.5, 9.9, 8000), round(3, 9.9, 9.95, 500)],
  phases: [
    { kind: 'setup', startNs: 0, endNs: 0.01 * S, bytes: 1000 },
    { kind: 'precopy', startNs: 0.01 * S, endNs: 9.9 * S, bytes: 0.99e9 },
    { kind: 'stop-and-copy', startNs: 9.9 * S, endNs: 9.95 * S, bytes: 2e6 },
    { kind: 'device-state', startNs: 9.95 * S, endNs: 9.96 * S, bytes: 100_000 },
    { kind: 'handover', startNs: 9.96 * S, endNs: 9.97 * S, bytes: 0 },
  ],
  downtime: {
    earliestStartNs: 9.9 * S,
    latestStartNs: 9.9 * S,
    endNs: 9.97 * S,
    estimateNs: 0.07 * S,
    method: 'final round to return-path shut',
  },
  devices: [{ name: 'virtio-net', instance: 0, version: 11, bytes: 20_000, startNs: 9.95 * S, endNs: 9.955 * S }],
  disks: [],
  udpStreams: [],
  postcopy: null,
  returnPath: { SHUT: 1 },
  models: {},
};

export const migration = (parts: Partly<Migration> = {}): Migration => altered(quietMigration, parts);

type Row = Readonly<Record<string, number | string | null>>;

/** A table from its rows. */
export function table(rows: readonly Row[]): JsonTable {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return {
    rows: rows.length,
    columns: Object.fromEntries(
      names.map((name) => [name, { unit: '', values: rows.map((row) => row[name] ?? null) }]),
    ),
  };
}

export interface BinParts {
  readonly bytes?: number;
  readonly limit?:
    | 'SenderApplication'
    | 'RateLimit'
    | 'ReceiverWindow'
    | 'Congestion'
    | 'Recovery'
    | 'SendBuffer'
    | 'Idle';
  readonly direction?: number;
  readonly row?: Row;
}

/** A timeline of equal bins: `at(index, startNs)` says what each holds. */
export const timeline = (binNs: number, count: number, at: (index: number, startNs: number) => BinParts): JsonTable =>
  table(
    Array.from({ length: count }, (_, index) => {
      const { bytes = 0, limit = 'Congestion', direction: id = 0, row = {} } = at(index, index * binNs);
      return {
        direction: id,
        startNs: index * binNs,
        durationNs: binNs,
        payloadBytes: bytes,
        uniqueBytes: bytes,
        ackedBytes: bytes,
        retransmittedBytes: 0,
        retransmittedSegments: 0,
        inFlightMaxBytes: null,
        windowMinBytes: null,
        windowMaxBytes: null,
        rttMinNs: null,
        rttMaxNs: null,
        limitSenderApplicationNs: 0,
        limitRateLimitNs: 0,
        limitReceiverWindowNs: 0,
        limitCongestionNs: 0,
        limitRecoveryNs: 0,
        limitSendBufferNs: 0,
        limitIdleNs: 0,
        [`limit${limit}Ns`]: binNs,
        ...row,
      };
    }),
  );

export const events = (
  ...rows: {
    kind: (typeof TCP_EVENT_KINDS)[number];
    frame: number;
    tNs: number;
    bytes?: number;
    direction?: number;
    offset?: number;
  }[]
): JsonTable =>
  table(rows.map((row) => ({ direction: 0, offset: 0, bytes: 1448, ...row, kind: TCP_EVENT_KINDS.indexOf(row.kind) })));

export const episodes = (
  ...rows: {
    kind: (typeof TCP_EPISODE_KINDS)[number];
    firstFrame: number;
    startNs: number;
    durationNs: number;
    lostBytes?: number;
    retransmittedBytes?: number;
    direction?: number;
  }[]
): JsonTable =>
  table(
    rows.map((row) => ({
      direction: 0,
      lostBytes: 0,
      retransmittedBytes: 0,
      ...row,
      kind: TCP_EPISODE_KINDS.indexOf(row.kind),
    })),
  );

/** A whole result; by default the quiet migration on its one connection. */
export function report(parts: Partial<ReportData> = {}): ReportData {
  return {
    schema: 'migscope.report',
    schemaVersion: 1,
    generator: { name: 'migscope', version: '0.0.0' },
    capture: {
      inputs: [
        {
          name: 'a.pcap',
          format: 'pcap',
          compression: null,
          linkTypes: ['ethernet'],
          snapLength: 262_144,
          timestampResolutionNs: 1000,
          frames: 25_000,
          capturedBytes: 1.02e9,
          wireBytes: 1.02e9,
          cutFrames: 0,
          droppedByCapture: null,
        },
      ],
      start: '2026-01-01T00:00:00.000000000Z',
      durationNs: 10.5 * S,
      frames: 25_000,
      wireBytes: 1.02e9,
      vantage: 'source',
    },
    anomalies: [],
    connections: [connection()],
    flows: [],
    migrations: [migration()],
    findings: [],
    tables: {},
    ...parts,
  };
}

/** The quiet migration with its forward direction (and connection, tables, migration) changed. */
export const withForward = (
  forward: Partly<TcpDirection>,
  more: { connection?: Partly<Connection>; migration?: Partly<Migration>; tables?: ReportData['tables'] } = {},
): ReportData =>
  report({
    connections: [
      connection({
        ...more.connection,
        directions: [direction(forward), altered(quietDirection(1000), { frames: 5000, limitedBy: null })],
      }),
    ],
    migrations: [migration(more.migration)],
    tables: more.tables ?? {},
  });

export const withMigration = (parts: Partly<Migration>, tables: ReportData['tables'] = {}): ReportData =>
  report({ migrations: [migration(parts)], tables });

/** Rounds one after the other from `startS`: [seconds, pages] each. */
export function rounds(...sizes: readonly (readonly [seconds: number, pages: number])[]): Migration['rounds'] {
  let at = 0;
  return sizes.map(([seconds, pages], index) => {
    const made = round(index + 1, at, at + seconds, pages);
    at += seconds;
    return made;
  });
}

/** A bulk connection that belongs to no migration. */
export const unrecognised = (parts: Partly<Connection> = {}): Connection =>
  connection({ channel: { kind: 'unknown', index: null, migration: null }, ...parts });

/** Signals in order, unspecified fields unknown. */
export const signals = (
  ...rows: {
    kind: string;
    frame: number;
    tNs: number;
    from?: string;
    about?: string;
    mac?: string;
    mtu?: number;
    name?: string;
    port?: number;
    sourcePort?: number;
    type?: number;
    code?: number;
  }[]
): JsonTable => table(rows.map((row) => ({ from: '', about: '', mac: '', mtu: null, name: '', port: null, ...row })));

/** Silences of senders that had been heard every 50 ms from the start on, unless said otherwise. */
export const silences = (
  ...rows: {
    kind?: string;
    direction?: number;
    from: string;
    to: string;
    mac?: string;
    startNs: number;
    endNs: number;
    intervalNs?: number;
    clockNs?: number;
  }[]
): JsonTable =>
  table(
    rows.map(({ intervalNs = 50 * MS, ...row }, at) => ({
      kind: 'tcp',
      direction: null,
      mac: '',
      clockNs: null,
      frameBefore: 100 + 2 * at,
      frameAfter: 101 + 2 * at,
      sinceNs: 0,
      framesBefore: row.startNs / intervalNs + 1,
      ...row,
    })),
  );

/** A situation in which a rule must say exactly one thing. */
export const speaks = (
  id: string,
  situation: string,
  data: ReportData,
  expected: Partly<Finding> = {},
  options: DiagnoseOptions = {},
): void =>
  test(`${id} speaks: ${situation}`, () => {
    const found = findings(id, data, options);
    expect(found).toMatchObject([expected]);
    expect(found[0]!.text).not.toMatch(/NaN|undefined|null|Infinity|–/);
  });

/** A look-alike about which it must say nothing. */
export const silent = (id: string, situation: string, data: ReportData, options: DiagnoseOptions = {}): void =>
  test(`${id} is silent: ${situation}`, () => expect(findings(id, data, options)).toEqual([]));

/** The findings of one rule alone. */
export function findings(id: string, data: ReportData, options: DiagnoseOptions = {}): Finding[] {
  const rule = RULES.find((candidate) => candidate.id === id);
  if (!rule) throw new Error(`no rule ${id}`);
  return diagnose(data, { ...options, rules: [rule] });
}
