// Reports as the analysis would make them, invented but plausible: for tests of everything that renders or compares.
//
// A run is described by its rounds, path and channels; bins, events and regions follow from them with a seeded random
// source, so a shape (healthy, lossy, many channels, ten minutes) is a few numbers. Calls no code under test.
import {
  LIMIT_COLUMNS,
  TCP_EPISODE_UNITS,
  TCP_EVENT_UNITS,
  TCP_SEGMENT_UNITS,
  TIMELINE_UNITS,
} from '../../src/decode/tcp/results.js';
import { PAGE_REGION_UNITS } from '../../src/migration-stream/results.js';
import type { Connection, JsonTable, Migration, ReportData } from '../../src/report/report.js';
import { limitShares, tcpDirection } from './tcp-direction.js';

export interface RunShape {
  readonly seed: number;
  readonly name: string;
  /** When the migration starts, s since the first frame. */
  readonly startS: number;
  /** Full pages, zero pages per round; the last is the stop-and-copy when the run completes. */
  readonly rounds: readonly (readonly [number, number])[];
  readonly outcome: Migration['outcome'];
  /** Bytes per second. */
  readonly bandwidth: number;
  readonly rttMs: number;
  /** Retransmitted share. */
  readonly loss: number;
  readonly channels: number;
  readonly limit: keyof NonNullable<Connection['directions'][0]['limitedBy']>;
  readonly windowBytes: number;
  readonly ramMiB: number;
  readonly devices: readonly (readonly [string, number])[];
}

const HEALTHY: RunShape = {
  seed: 1,
  name: 'healthy.pcap.gz',
  startS: 0.012,
  rounds: [
    [7951, 4390],
    [582, 7],
  ],
  outcome: 'completed',
  bandwidth: 61e6,
  rttMs: 0.9,
  loss: 0,
  channels: 0,
  limit: 'congestion',
  windowBytes: 3.1e6,
  ramMiB: 48,
  devices: [
    ['timer', 34],
    ['0000:00:02.0/vga', 1620],
    ['0000:00:03.0/virtio-net', 9211],
    ['cpu', 12_544],
    ['ide', 6120],
    ['i8254', 88],
    ['fw_cfg', 46],
  ],
};

const SHAPES = {
  healthy: HEALTHY,
  /** 200 Mbit/s, 20 ms, random loss: twelve rounds that do not shrink, cut off. */
  lossy: {
    ...HEALTHY,
    seed: 2,
    name: 'wan-cubic-loss.pcap.gz',
    rounds: [
      [7951, 4390],
      [1010, 0],
      [830, 0],
      [905, 2],
      [780, 0],
      [870, 0],
      [930, 0],
      [790, 0],
      [850, 0],
      [910, 0],
      [840, 0],
      [300, 0],
    ],
    outcome: 'incomplete',
    bandwidth: 3.6e6,
    rttMs: 20.4,
    loss: 0.0011,
    limit: 'recovery',
    windowBytes: 6.2e6,
  },
  /** The same path with a sender that shrugs the loss off. */
  recovered: {
    ...HEALTHY,
    seed: 3,
    name: 'wan-bbr-loss.pcap.gz',
    rounds: [
      [7951, 4390],
      [1010, 0],
      [380, 0],
      [142, 0],
    ],
    bandwidth: 21.4e6,
    rttMs: 22.1,
    loss: 0.0012,
    limit: 'congestion',
    windowBytes: 6.2e6,
  },
  /** Ten minutes over four channels. */
  long: {
    ...HEALTHY,
    seed: 4,
    name: 'ten-minutes.pcapng',
    rounds: [
      [14_000_000, 2_400_000],
      ...Array.from({ length: 24 }, (_, i): [number, number] => [Math.round(4_200_000 * 0.86 ** i + 60_000), 900]),
    ],
    bandwidth: 290e6,
    rttMs: 0.4,
    loss: 0.00002,
    channels: 4,
    limit: 'rate-limit',
    windowBytes: 24e6,
    ramMiB: 65_536,
  },
} satisfies Record<string, RunShape>;

export type ShapeName = keyof typeof SHAPES;

const PAGE = 4096;

/** A report of one migration; `changes` override single numbers of the shape. */
export function reportData(shape: ShapeName = 'healthy', changes: Partial<RunShape> = {}): ReportData {
  const run: RunShape = { ...SHAPES[shape], ...changes };
  const random = randomSource(run.seed);
  const migration = migrationOf(run);
  const connections = connectionsOf(run, migration);
  const tables = tablesOf(run, migration, random);
  const wireBytes = Math.round(migration.bytes.total * 1.045);
  const frames = Math.ceil(wireBytes / 4000);
  return {
    schema: 'migscope.report',
    schemaVersion: 1,
    generator: { name: 'migscope', version: '0.1.0' },
    capture: {
      inputs: [
        {
          name: run.name,
          format: run.name.includes('pcapng') ? 'pcapng' : 'pcap',
          compression: run.name.endsWith('.gz') ? 'gzip' : null,
          linkTypes: ['Ethernet'],
          snapLength: 262_144,
          timestampResolutionNs: 1000,
          frames,
          capturedBytes: wireBytes,
          wireBytes,
          cutFrames: 0,
          droppedByCapture: null,
        },
      ],
      start: '2026-11-21T10:00:01.666289000Z',
      durationNs: migration.endNs + 2e6,
      frames,
      wireBytes,
      vantage: 'source',
    },
    anomalies: [],
    connections,
    flows: [],
    migrations: [migration],
    findings: findingsOf(run, migration),
    tables,
  };
}

/** A capture with TCP connections but without any migration. */
export function reportWithoutMigration(): ReportData {
  const report = reportData('recovered', { name: 'bulk.pcap' });
  report.migrations = [];
  report.findings = [];
  for (const connection of report.connections) connection.channel = { kind: 'unknown', index: null, migration: null };
  const { pageRegions, sections, ...tables } = report.tables;
  report.tables = tables;
  return report;
}

/** Names as an attacker on the wire would choose them. */
export const HOSTILE = {
  markup: '</script><img src=x onerror="document.title=\'owned\'">',
  escape: '\u001b[2J\u001b]0;owned\u0007',
  bidi: 'ok\u202egnp.exe\u2066',
  null: 'a\u0000b\r\nc',
};

function migrationOf(run: RunShape): Migration {
  const startNs = Math.round(run.startS * 1e9);
  const completed = run.outcome === 'completed';
  let at = startNs + 9e6;
  const rounds: Migration['rounds'] = run.rounds.map(([normal, zero], i) => {
    const bytes = normal * (PAGE + 8) + zero * 9;
    const spanNs = Math.round((bytes / run.bandwidth) * 1e9);
    const roundStart = at;
    at += spanNs + 3e5;
    const next = run.rounds[i + 1];
    return {
      index: i + 1,
      startNs: roundStart,
      endNs: roundStart + spanNs,
      pages: { normal, zero, xbzrle: 0, compressed: 0 },
      bytes,
      goodput: bytes / (spanNs / 1e9),
      dirtyPagesPerSecond: next ? (next[0] + next[1]) / (spanNs / 1e9) : null,
      boundary: i === 0 ? 'first-pass' : 'page-repeat',
      confidence: i === 0 ? 1 : 0.95,
    };
  });
  const last = rounds.at(-1)!;
  const deviceStart = last.endNs + 1e5;
  let deviceAt = deviceStart;
  const devices = completed
    ? run.devices.map(([name, bytes], instance) => {
        const start = deviceAt;
        deviceAt += 20_000 + bytes * 90;
        return {
          name,
          instance: instance === 0 ? 0 : 0,
          version: 1 + (bytes % 4),
          bytes,
          startNs: start,
          endNs: deviceAt,
        };
      })
    : [];
  const endNs = completed ? deviceAt + 4e6 : last.endNs;
  const sum = (pick: (round: (typeof rounds)[number]) => number): number =>
    rounds.reduce((n, round) => n + pick(round), 0);
  const ramRecords = sum((round) => round.bytes);
  const deviceState = devices.reduce((n, device) => n + device.bytes, 0);
  const total = ramRecords + deviceState + 4200;
  const normal = sum((round) => round.pages.normal);
  const zero = sum((round) => round.pages.zero);
  const distinct = run.rounds[0]![0] + run.rounds[0]![1];
  return {
    id: 0,
    source: '10.77.0.1',
    destination: '10.77.0.2',
    port: 49_152,
    connections: Array.from({ length: 1 + run.channels }, (_, i) => i),
    udpStreams: [],
    outcome: run.outcome,
    encryption: 'none',
    stream: {
      machineType: 'pc-i440fx-10.0',
      pageSize: PAGE,
      features: run.channels > 0 ? ['return-path', 'multifd'] : ['return-path'],
      decodedBytes: total,
      undecodedBytes: 0,
    },
    startNs,
    endNs,
    ramBlocks: [
      { name: 'pc.ram', lengthBytes: run.ramMiB * 2 ** 20 },
      { name: '0000:00:02.0/vga.vram', lengthBytes: 16 * 2 ** 20 },
      { name: '/rom@etc/acpi/tables', lengthBytes: 128 * 1024 },
    ],
    pages: { normal, zero, xbzrle: 0, compressed: 0, distinct, resent: normal + zero - distinct },
    bytes: {
      total,
      main: run.channels > 0 ? 5000 + deviceState : total,
      multifd: run.channels > 0 ? ramRecords : 0,
      preempt: 0,
      ramRecords,
      deviceState,
      returnPath: 12,
    },
    rounds,
    phases: [
      { kind: 'setup', startNs, endNs: rounds[0]!.startNs, bytes: 4200 },
      {
        kind: 'precopy',
        startNs: rounds[0]!.startNs,
        endNs: completed ? last.startNs : last.endNs,
        bytes: completed ? ramRecords - last.bytes : ramRecords,
      },
      ...(completed
        ? ([
            { kind: 'stop-and-copy', startNs: last.startNs, endNs: last.endNs, bytes: last.bytes },
            { kind: 'device-state', startNs: deviceStart, endNs: deviceAt, bytes: deviceState },
            { kind: 'handover', startNs: deviceAt, endNs, bytes: 12 },
          ] satisfies Migration['phases'])
        : []),
    ],
    downtime: completed
      ? {
          earliestStartNs: last.startNs - 3e6,
          latestStartNs: last.startNs,
          endNs,
          estimateNs: endNs - last.startNs + 1.5e6,
          method: 'last round start to return-path shut',
        }
      : null,
    devices,
    disks: [],
    postcopy: null,
    returnPath: completed ? { SHUT: 1 } : {},
    models: {},
  };
}

function connectionsOf(run: RunShape, migration: Migration): Connection[] {
  const spanS = (migration.endNs - migration.startNs) / 1e9;
  return migration.connections.map((id) => {
    const share = run.channels === 0 ? 1 : id === 0 ? 0.001 : (1 / run.channels) * (1 + 0.04 * (id - 2));
    const unique = Math.round(migration.bytes.total * share);
    const retransmitted = Math.round(unique * run.loss);
    const segments = Math.round(retransmitted / 1448);
    const forward = {
      ...quietDirection(Math.ceil(unique / 8000)),
      dataFrames: Math.ceil(unique / 8000),
      wireSegments: Math.ceil(unique / 1448),
      payloadBytes: unique + retransmitted,
      uniqueBytes: unique,
      retransmittedSegments: segments,
      retransmittedBytes: retransmitted,
      retransmissions: { fast: segments, timeout: 0, tailLossProbe: 0, spurious: 0, other: 0 },
      rttNs: quantiles(run.rttMs * 1e6),
      window: quantiles(run.windowBytes),
      inFlight: quantiles(run.bandwidth * (run.rttMs / 1e3)),
      throughput: (unique + retransmitted) / spanS,
      goodput: unique / spanS,
      congestionControl: {
        family: run.limit === 'recovery' ? ('loss-based' as const) : ('unknown' as const),
        decrease: run.limit === 'recovery' ? 0.7 : null,
        spread: run.limit === 'recovery' ? 0.02 : null,
        episodes: segments,
        probeDips: 0,
        restarts: 0,
        paced: false,
      },
      limitedBy: limitShares({ [run.limit]: 0.62, 'sender-application': 0.21, idle: 0.17 }),
    };
    return {
      id,
      transport: 'tcp',
      encapsulation: [],
      client: { address: migration.source, port: 41_148 + id },
      server: { address: migration.destination, port: migration.port },
      firstFrame: 1 + id,
      startNs: migration.startNs,
      endNs: migration.endNs,
      handshakeRttNs: run.rttMs * 1e6,
      endedBy: run.outcome === 'completed' ? 'fin' : 'capture-end',
      completeness: 31,
      closedFirstBy: run.outcome === 'completed' ? 0 : null,
      vantage: 'source',
      options: { mss: [1460, 1460], windowScale: [10, 10], sack: true, timestamps: true },
      directions: [forward, { ...quietDirection(Math.ceil(unique / 12_000)), duplicateAcks: segments * 3 }],
      channel: {
        kind: run.channels > 0 && id > 0 ? 'multifd' : 'main',
        index: run.channels > 0 && id > 0 ? id - 1 : null,
        migration: 0,
      },
    };
  });
}

const quietDirection = (frames: number): Connection['directions'][0] =>
  tcpDirection({ frames, payloadBytes: 12, uniqueBytes: 12, throughput: 20, goodput: 20, ackedBytes: 12 });

const quantiles = (middle: number) => ({
  min: middle * 0.9,
  p50: middle,
  p95: middle * 1.6,
  p99: middle * 2.1,
  max: middle * 2.7,
  samples: 4000,
});

function tablesOf(run: RunShape, migration: Migration, random: () => number): Record<string, JsonTable> {
  const timeline = tableOf(TIMELINE_UNITS);
  const events = tableOf(TCP_EVENT_UNITS);
  const episodes = tableOf(TCP_EPISODE_UNITS);
  const regions = tableOf(PAGE_REGION_UNITS);
  const bins = Math.max(1, Math.min(1500, Math.ceil((migration.endNs - migration.startNs) / 1e6)));
  const binNs = (migration.endNs - migration.startNs) / bins;
  const carriers = run.channels > 0 ? migration.connections.slice(1) : [0];
  for (const id of carriers) {
    let sent = 0;
    let pace = 1;
    for (let bin = 0; bin < bins; bin++) {
      const at = migration.startNs + bin * binNs;
      const inRound = migration.rounds.some((round) => at + binNs > round.startNs && at < round.endNs);
      pace = Math.min(1.25, pace * 1.03);
      const lost = inRound && random() < run.loss * 60;
      if (lost) pace = Math.max(0.45, pace * 0.62);
      const unique = inRound ? (run.bandwidth / carriers.length) * (binNs / 1e9) * pace * (0.9 + 0.2 * random()) : 0;
      const retransmitted = lost ? 1448 * Math.ceil(random() * 6) : 0;
      const inFlight = Math.min(run.windowBytes, run.bandwidth * (run.rttMs / 1e3) * pace * (0.8 + 0.5 * random()));
      const limits = limitShares({ [inRound ? (lost ? 'recovery' : run.limit) : 'idle']: binNs });
      timeline.add({
        direction: 2 * id,
        startNs: Math.round(at),
        durationNs: Math.round(binNs),
        payloadBytes: Math.round(unique + retransmitted),
        uniqueBytes: Math.round(unique),
        ackedBytes: Math.round(unique * (0.97 + 0.06 * random())),
        retransmittedBytes: retransmitted,
        retransmittedSegments: retransmitted / 1448,
        inFlightMaxBytes: inRound ? Math.round(inFlight) : null,
        windowMinBytes: Math.round(run.windowBytes * 0.8),
        windowMaxBytes: Math.round(run.windowBytes),
        rttMinNs: inRound ? Math.round(run.rttMs * 1e6 * (1 + 0.3 * pace * random())) : null,
        rttMaxNs: inRound ? Math.round(run.rttMs * 1e6 * (1.3 + 0.9 * pace * random())) : null,
        ...Object.fromEntries(
          Object.entries(LIMIT_COLUMNS).map(([limit, column]) => [column, limits[limit as RunShape['limit']]]),
        ),
      });
      sent += unique;
      if (lost) {
        events.add({
          kind: random() < 0.06 ? 1 : 0,
          direction: 2 * id,
          frame: 100 + bin * 8,
          tNs: Math.round(at + binNs / 2),
          offset: Math.round(sent),
          bytes: retransmitted,
        });
        episodes.add({
          kind: 0,
          direction: 2 * id,
          firstFrame: 100 + bin * 8,
          startNs: Math.round(at),
          durationNs: Math.round(run.rttMs * 1.4e6),
          lostBytes: retransmitted,
          retransmittedBytes: retransmitted,
        });
      }
    }
  }
  const ramPages = run.ramMiB * 256;
  const regionPages = Math.max(16, ramPages / 256);
  migration.rounds.forEach((round, r) => {
    for (let start = 0; start < ramPages; start += regionPages) {
      const hot = start > ramPages * 0.32 && start < ramPages * 0.38;
      const copies =
        r === 0
          ? regionPages
          : hot
            ? Math.round(regionPages * (0.6 + 0.4 * random()))
            : random() < 0.06
              ? Math.round(random() * 9)
              : 0;
      if (copies > 0)
        regions.add({ migration: 0, block: 0, startPage: start, pages: regionPages, round: round.index, copies });
    }
  });
  return {
    timeline: timeline.finish(),
    tcpEvents: events.finish(),
    tcpEpisodes: episodes.finish(),
    pageRegions: regions.finish(),
  };
}

function findingsOf(run: RunShape, migration: Migration): ReportData['findings'] {
  if (run.loss < 0.0005 || run.outcome === 'completed') return [];
  const second = migration.rounds[1]!;
  return [
    {
      rule: 'R-B1',
      title: 'packet loss limits the rate',
      severity: 'major',
      confidence: 0.9,
      interval: [
        [second.startNs, second.endNs],
        [migration.rounds[5]!.startNs, migration.rounds[6]!.endNs],
      ],
      metrics: { retransmittedShare: run.loss, recoveryShare: 0.62 },
      packets: [1204, 1377, 2210],
      text: 'Random packet loss keeps the congestion window small: 62 % of the sending time went to recovery and regrowth.',
      advice: [
        'Find the lossy link (error counters of ports and optics between the hosts).',
        'Try BBR on the source: it does not slow down for random loss.',
      ],
      alternatives: ['Frames dropped by the capture: ruled out, every gap was retransmitted.'],
      cost: { of: 'migration-time', ns: 12.4e9 },
      explains: ['R-E1'],
      migration: 0,
      connections: [0],
    },
    {
      rule: 'R-E1',
      title: 'cannot converge at this bandwidth',
      severity: 'major',
      confidence: 0.7,
      interval: [[second.startNs, migration.endNs]],
      metrics: { requiredBandwidth: 11.2e6 },
      packets: [],
      text: 'The guest dirties memory as fast as it is sent: the rounds stop shrinking after the second.',
      advice: ['Raise the downtime limit to 900 ms, or switch to post-copy.'],
      alternatives: [],
      cost: null,
      explains: [],
      migration: 0,
      connections: [0],
    },
  ];
}

interface Rows<Name extends string> {
  add(row: Partial<Record<Name, number | null>>): void;
  finish(): JsonTable;
}

function tableOf<Name extends string>(units: Readonly<Record<Name, string>>): Rows<Name> {
  const names = Object.keys(units) as Name[];
  const values = names.map((): (number | null)[] => []);
  return {
    add: (row) => {
      names.forEach((name, c) => {
        values[c]!.push(row[name] ?? null);
      });
    },
    finish: () => ({
      rows: values[0]!.length,
      columns: Object.fromEntries(names.map((name, c) => [name, { unit: units[name], values: values[c]! }])),
    }),
  };
}

/** Numbers in [0, 1) that depend on the seed only (mulberry32). */
function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The same with two stretches of single segments: one lost and sent again, and the first data of another connection. */
export function withSegments(report: ReportData): ReportData {
  const direction = 2 * report.migrations[0]!.connections[0]!;
  const table = tableOf(TCP_SEGMENT_UNITS);
  const add = (stretch: number, kind: number, frame: number, ms: number, offset: number, bytes: number | null): void =>
    table.add({ stretch, kind, direction: direction + 2 * stretch, frame, tNs: ms * 1e6, offset, bytes });
  add(0, 0, 900, 100, 1000, 1448);
  add(0, 2, 901, 120, 1000, 65_536);
  add(0, 1, 902, 121, 1000, 1448);
  add(0, 2, 903, 141, 2448, null);
  add(1, 0, 904, 150, 0, 1448);
  report.tables['tcpSegments'] = table.finish();
  return report;
}
