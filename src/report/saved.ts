// Saved results are input like any other: before anything reads one, it is held against the shape that readers rely on.
//
// The check names the first part that is not as it should be. Fields beyond the shape are left alone: other versions add
// some. Depth and work are bounded by the shape and by the size of the file, not by what the file claims.
import { ANOMALIES } from '../anomaly.js';
import { TCP_EVENT_UNITS, TCP_SEGMENT_UNITS, TIMELINE_UNITS } from '../decode/tcp/results.js';
import { PAGE_REGION_UNITS, PAGE_REQUEST_UNITS } from '../migration-stream/results.js';
import type { ReportData } from './report.js';

/** What a value must be: a kind, one of some words, a list, a record of one kind, an object with named parts, or null too. */
type Shape =
  | 'number'
  | 'string'
  | 'boolean'
  | { readonly words: readonly string[] }
  | { readonly list: Shape; readonly length?: number }
  | { readonly record: Shape }
  | { readonly parts: Readonly<Record<string, Shape>> }
  | { readonly orNull: Shape }
  | { readonly orAbsent: Shape }
  | { readonly either: readonly Shape[] };

const words = (...options: string[]): Shape => ({ words: options });
const list = (of: Shape, length?: number): Shape => (length === undefined ? { list: of } : { list: of, length });
const record = (of: Shape): Shape => ({ record: of });
const parts = (named: Readonly<Record<string, Shape>>): Shape => ({ parts: named });
const orNull = (shape: Shape): Shape => ({ orNull: shape });
const orAbsent = (shape: Shape): Shape => ({ orAbsent: shape });
const either = (...shapes: Shape[]): Shape => ({ either: shapes });
const numbers = (names: string): Record<string, Shape> =>
  Object.fromEntries(names.split(' ').map((name) => [name, 'number'] as const));
const numbersOrNull = (names: string): Record<string, Shape> =>
  Object.fromEntries(names.split(' ').map((name) => [name, orNull('number')] as const));

const VANTAGE = words('source', 'destination', 'mid-path', 'unknown');
const QUANTILES = orNull(parts(numbers('min p50 p95 p99 max samples')));
const ENDPOINT = parts({ address: 'string', port: 'number' });

const TCP_DIRECTION = parts({
  ...numbers('frames dataFrames payloadBytes uniqueBytes unseenBytes retransmittedSegments retransmittedBytes'),
  ...numbers('outOfOrderSegments networkDuplicates captureDuplicates duplicateAcks windowProbes keepAlives'),
  ...numbers('throughput goodput'),
  wireSegments: orNull('number'),
  retransmissions: parts(numbers('fast timeout tailLossProbe spurious other')),
  zeroWindow: parts(numbers('episodes totalNs')),
  rttNs: QUANTILES,
  window: QUANTILES,
  inFlight: QUANTILES,
  limitedBy: orNull(record('number')),
  congestionControl: orNull(parts({ family: 'string', decrease: orNull('number'), episodes: 'number' })),
});

const CONNECTION = parts({
  ...numbers('id firstFrame startNs endNs'),
  encapsulation: list('string'),
  client: ENDPOINT,
  server: ENDPOINT,
  channel: parts({ kind: 'string', ...numbersOrNull('index migration') }),
  opaque: orAbsent(parts({ kind: 'string', banner: orNull('string'), holds: orNull('string') })),
  handshakeRttNs: orNull('number'),
  endedBy: words('fin', 'rst', 'capture-end', 'idle'),
  vantage: VANTAGE,
  options: parts({
    mss: list(orNull('number'), 2),
    windowScale: list(orNull('number'), 2),
    sack: orNull('boolean'),
    timestamps: orNull('boolean'),
  }),
  directions: list(TCP_DIRECTION, 2),
});

const UDP_DIRECTION = parts({
  ...numbers('frames wireBytes payloadBytes'),
  ...numbersOrNull('lostPackets reorderedPackets retransmittedPackets'),
});

const FLOW = parts({
  ...numbers('id firstFrame startNs endNs'),
  transport: 'string',
  encapsulation: list('string'),
  client: ENDPOINT,
  server: ENDPOINT,
  directions: list(UDP_DIRECTION, 2),
  streams: list('number'),
  facts: record(orNull(either('number', 'string', 'boolean'))),
  transfers: orAbsent(
    list(
      parts({
        ...numbers('side startNs endNs bytes replyBytes receiverMessages openingMessages furtherBursts'),
        ...numbersOrNull('lastReplyNs bytesBeforeMessages'),
        receiverQuiet: 'boolean',
        bursts: list(parts(numbers('startNs endNs bytes'))),
      }),
    ),
  ),
});

const ROUND = parts({
  ...numbers('index startNs endNs bytes goodput confidence'),
  pages: parts(numbers('normal zero xbzrle compressed')),
  dirtyPagesPerSecond: orNull('number'),
  boundary: 'string',
});

const MIGRATION = parts({
  ...numbers('id port startNs endNs'),
  source: 'string',
  destination: 'string',
  connections: list('number'),
  udpStreams: list('number'),
  outcome: words('completed', 'cancelled', 'failed', 'incomplete'),
  encryption: words('none', 'tls', 'tls-decrypted'),
  stream: parts({
    machineType: orNull('string'),
    pageSize: orNull('number'),
    features: list('string'),
    ...numbers('decodedBytes undecodedBytes'),
    lostPages: orAbsent(orNull(parts(numbers('atLeast atMost')))),
  }),
  ramBlocks: list(parts({ name: 'string', lengthBytes: 'number' })),
  pages: parts({ ...numbers('normal xbzrle compressed'), ...numbersOrNull('zero distinct resent') }),
  bytes: parts(numbers('total main multifd preempt ramRecords deviceState returnPath')),
  rounds: list(ROUND),
  phases: list(
    parts({
      kind: words('setup', 'precopy', 'stop-and-copy', 'device-state', 'postcopy', 'handover'),
      ...numbers('startNs endNs bytes'),
    }),
  ),
  downtime: orNull(
    parts({
      ...numbers('earliestStartNs latestStartNs endNs estimateNs'),
      earliestEndNs: orAbsent('number'),
      latestEndNs: orAbsent(orNull('number')),
      method: 'string',
    }),
  ),
  devices: list(parts({ name: 'string', ...numbers('instance version bytes startNs endNs') })),
  postcopy: orNull(parts({ ...numbers('startNs endNs requests pages'), requestLatencyNs: QUANTILES })),
  disks: list(
    parts({
      name: 'string',
      ...numbers('connection writtenBytes zeroedBytes readBytes rewrittenBytes sweptNs requests startNs endNs'),
      encryption: orAbsent('string'),
    }),
  ),
  returnPath: record('number'),
  proxies: orAbsent(list(parts({ kind: 'string', from: orNull('string'), to: orNull('string') }))),
  relayOf: orAbsent('number'),
  resumes: orAbsent('number'),
  countingRules: orAbsent(list(parts({ figure: 'string', text: 'string' }))),
  models: record(either('number', 'string', 'boolean', record(anything()), list(anything()))),
});

const FINDING = parts({
  rule: 'string',
  title: 'string',
  severity: words('fatal', 'major', 'minor', 'info'),
  confidence: 'number',
  interval: list(list('number', 2)),
  metrics: record(orNull(either('number', 'string'))),
  packets: list('number'),
  text: 'string',
  advice: list('string'),
  alternatives: list('string'),
  cost: orNull(parts({ of: words('migration-time', 'downtime'), ns: 'number' })),
  explains: list('string'),
  migration: orNull('number'),
  connections: list('number'),
});

const LOCATION = parts({
  ...Object.fromEntries(
    ['frame', 'tNs', 'direction', 'streamOffset', 'fileOffset', 'input'].map((name) => [name, orAbsent('number')]),
  ),
  detail: orAbsent('string'),
});

const ANOMALY = parts({
  code: words(...Object.keys(ANOMALIES)),
  severity: words('error', 'warning', 'note'),
  origin: 'string',
  text: 'string',
  direction: orNull('number'),
  count: 'number',
  first: LOCATION,
  last: LOCATION,
  samples: list(LOCATION),
});

const INPUT = parts({
  name: 'string',
  format: 'string',
  compression: orNull('string'),
  linkTypes: list('string'),
  snapLength: orNull('number'),
  ...numbers('timestampResolutionNs frames capturedBytes wireBytes cutFrames'),
  droppedByCapture: orNull('number'),
});

/** The tables readers know, with the columns they ask for; others may hold anything. */
const KNOWN_TABLES: Readonly<Record<string, readonly string[]>> = {
  // Nobody reads the queues over time, nor what an episode cost; results saved by the first version have neither.
  timeline: Object.keys(TIMELINE_UNITS).filter((name) => name !== 'queueMaxNs'),
  tcpEvents: Object.keys(TCP_EVENT_UNITS),
  tcpEpisodes: ['kind', 'direction', 'firstFrame', 'startNs', 'durationNs', 'lostBytes', 'retransmittedBytes'],
  tcpSegments: Object.keys(TCP_SEGMENT_UNITS),
  pageRegions: Object.keys(PAGE_REGION_UNITS),
  pageRequests: Object.keys(PAGE_REQUEST_UNITS),
  udpTimeline: [
    'flow',
    'startNs',
    'durationNs',
    'clientWireBytes',
    'serverWireBytes',
    'retransmittedPackets',
    'rttMinNs',
  ],
};

const PAIRED_DIRECTION = parts({
  ...numbers(
    'sentIn receivedIn sentFrames sentBytes arrivedBytes lostBytes uncapturedBytes unjudgedBytes duplicatedBytes',
  ),
  delayVariationNs: QUANTILES,
});

const BOTH_ENDS = parts({
  source: 'string',
  destination: 'string',
  clock: orNull(parts({ ...numbers('offsetNs roundTripMinNs'), driftPpm: orNull('number') })),
  connections: list(parts({ ...numbers('first second'), directions: list(PAIRED_DIRECTION) })),
});

const REPORT = parts({
  schema: words('migscope.report'),
  generator: parts({ name: 'string', version: 'string' }),
  capture: parts({
    inputs: list(INPUT),
    start: orNull('string'),
    ...numbers('durationNs frames wireBytes'),
    vantage: VANTAGE,
  }),
  anomalies: list(ANOMALY),
  connections: list(CONNECTION),
  flows: list(FLOW),
  migrations: list(MIGRATION),
  findings: list(FINDING),
  ruledOut: orAbsent(list(parts({ rule: 'string', title: 'string', text: 'string' }))),
  bothEnds: orAbsent(BOTH_ENDS),
  tables: record(parts({ rows: 'number', columns: record(parts({ unit: 'string', values: list(anything()) })) })),
});

/** Anything JSON can hold. */
function anything(): Shape {
  return { either: [] };
}

/** The result, or a sentence part that says what is wrong with it, e.g. 'migrations[0].port is not a number'. */
export function checkSaved(value: unknown): ReportData | string {
  if (!isObject(value) || value['schema'] !== 'migscope.report') return 'it is not a migscope.report';
  if (value['schemaVersion'] !== 1) return `schemaVersion ${String(value['schemaVersion'])} is not understood`;
  return problem(value, REPORT, '') ?? ragged(value as unknown as ReportData) ?? (value as unknown as ReportData);
}

/** Columns are as long as their table says and hold numbers, words or null; those of known tables are there, in numbers. */
function ragged({ tables }: ReportData): string | null {
  for (const [name, { rows, columns }] of Object.entries(tables)) {
    if (rows !== 0 && Object.keys(columns).length === 0) return `tables.${name} has rows but no columns`;
    const known = Object.hasOwn(KNOWN_TABLES, name) ? KNOWN_TABLES[name]! : [];
    const missing = known.find((column) => !Object.hasOwn(columns, column));
    if (missing !== undefined) return `tables.${name} has no column ${missing}`;
    for (const [column, { values }] of Object.entries(columns)) {
      if (values.length !== rows) return `tables.${name}.${column} has ${values.length} values for ${rows} rows`;
      const text = !known.includes(column);
      const odd = values.findIndex(
        (value) => value !== null && typeof value !== 'number' && !(text && typeof value === 'string'),
      );
      if (odd >= 0) return `tables.${name}.${column}[${odd}] is ${text ? 'neither a number nor text' : 'not a number'}`;
    }
  }
  return null;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is wrong with `value`, or null. */
function problem(value: unknown, shape: Shape, path: string): string | null {
  const at = path === '' ? 'it' : path;
  if (typeof shape === 'string') {
    return typeof value === shape ? null : `${at} is not a ${shape}`;
  }
  if ('orNull' in shape) return value === null ? null : problem(value, shape.orNull, path);
  if ('orAbsent' in shape) return value === undefined ? null : problem(value, shape.orAbsent, path);
  if ('words' in shape) {
    return typeof value === 'string' && shape.words.includes(value) ? null : `${at} is none of the words known there`;
  }
  if ('either' in shape) {
    const fits = shape.either.length === 0 || shape.either.some((option) => problem(value, option, path) === null);
    return fits ? null : `${at} is of a kind not expected there`;
  }
  if ('list' in shape) {
    if (!Array.isArray(value)) return `${at} is not a list`;
    if (shape.length !== undefined && value.length !== shape.length) return `${at} has not ${shape.length} entries`;
    return firstOf(value.keys(), (index) => problem(value[index], shape.list, `${path}[${index}]`));
  }
  if (!isObject(value)) return `${at} is not an object`;
  const inner = path === '' ? '' : `${path}.`;
  if ('record' in shape) {
    return firstOf(Object.keys(value), (key) => problem(value[key], shape.record, `${inner}${key}`));
  }
  return firstOf(Object.entries(shape.parts), ([key, part]) => problem(value[key], part, `${inner}${key}`));
}

function firstOf<T>(items: Iterable<T>, check: (item: T) => string | null): string | null {
  for (const item of items) {
    const found = check(item);
    if (found !== null) return found;
  }
  return null;
}
