// What rules look at: one transfer of memory and the directions that carry it, read from the finished tables.
//
// A transfer is a migration, or, in a capture without any, one bulk TCP connection by itself (an unrecognised or encrypted
// migration looks like that). Tables are read once into plain columns per direction; a figure that the result does not
// hold is null here as well.
import {
  LIMIT_COLUMNS,
  LIMITS,
  type Limit,
  TCP_EPISODE_KINDS,
  TCP_EVENT_KINDS,
  type TcpDirection,
} from '../../decode/tcp/results.js';
import { assert } from '../../errors.js';
import type { Connection, JsonTable, Migration, ReportData } from '../report.js';

export type Interval = readonly [number, number];
export type TcpEventKind = (typeof TCP_EVENT_KINDS)[number];
export type EpisodeKind = (typeof TCP_EPISODE_KINDS)[number];

/** A connection without migration counts as bulk from here on, bytes one way. */
const BULK_BYTES = 1_000_000;
/** Bulk connections examined when there is no migration. */
const BULK_TRANSFERS = 16;
/** Migrations examined; a capture of thousands is an attack or a fleet, and rules compare them pairwise. */
const MIGRATIONS = 64;

/** One connection of a transfer, seen in the direction in which memory flows. */
export interface Flow {
  readonly connection: Connection;
  readonly side: 0 | 1;
  readonly directionId: number;
  readonly forward: TcpDirection;
  readonly reverse: TcpDirection;
}

/** The timeline's columns that rules look at. */
interface Timeline {
  readonly direction: readonly Cell[];
  readonly startNs: readonly Cell[];
  readonly durationNs: readonly Cell[];
  readonly payloadBytes: readonly Cell[];
  readonly uniqueBytes: readonly Cell[];
  readonly inFlightMaxBytes: readonly Cell[];
  readonly windowMaxBytes: readonly Cell[];
  readonly rttMinNs: readonly Cell[];
  readonly rttMaxNs: readonly Cell[];
  /** In the order of LIMITS. */
  readonly limitsNs: readonly (readonly Cell[])[];
}

/** A stretch of a direction's timeline: a row, read where it lies. A transfer has thousands, and most rules want two columns. */
export class Bin {
  readonly #timeline: Timeline;
  readonly #row: number;

  constructor(timeline: Timeline, row: number) {
    this.#timeline = timeline;
    this.#row = row;
  }

  get startNs(): number {
    return numberOr(this.#timeline.startNs[this.#row], 0);
  }

  get durationNs(): number {
    return numberOr(this.#timeline.durationNs[this.#row], 0);
  }

  get payloadBytes(): number {
    return numberOr(this.#timeline.payloadBytes[this.#row], 0);
  }

  get uniqueBytes(): number {
    return numberOr(this.#timeline.uniqueBytes[this.#row], 0);
  }

  get inFlightMaxBytes(): number | null {
    return numberOr(this.#timeline.inFlightMaxBytes[this.#row], null);
  }

  get windowMaxBytes(): number | null {
    return numberOr(this.#timeline.windowMaxBytes[this.#row], null);
  }

  get rttMinNs(): number | null {
    return numberOr(this.#timeline.rttMinNs[this.#row], null);
  }

  get rttMaxNs(): number | null {
    return numberOr(this.#timeline.rttMaxNs[this.#row], null);
  }

  /** ns in the state that is `limit` in LIMITS. */
  limitNs(limit: number): number {
    return numberOr(this.#timeline.limitsNs[limit]![this.#row], 0);
  }

  /** Adds the time in each state to `ns`, which is in the order of LIMITS. */
  addLimits(ns: number[]): void {
    const { limitsNs } = this.#timeline;
    for (let limit = 0; limit < ns.length; limit++) ns[limit]! += numberOr(limitsNs[limit]![this.#row], 0);
  }
}

/** Bins with payload of all flows, in order of time; one row each. */
export interface BusyBins {
  readonly rows: number;
  readonly startNs: Float64Array;
  readonly durationNs: Float64Array;
  readonly payloadBytes: Float64Array;
}

export interface TcpEvent {
  readonly kind: TcpEventKind;
  readonly direction: number;
  readonly frame: number;
  readonly tNs: number;
  readonly offset: number;
  readonly bytes: number;
}

export interface Episode {
  readonly kind: EpisodeKind;
  readonly direction: number;
  readonly firstFrame: number;
  readonly startNs: number;
  readonly durationNs: number;
  readonly lostBytes: number;
  readonly retransmittedBytes: number;
}

export class Transfer {
  readonly migration: Migration | null;
  readonly flows: readonly Flow[];
  readonly startNs: number;
  readonly endNs: number;
  readonly #tables: ReportData['tables'];
  readonly #bins = new Map<number, readonly Bin[]>();
  #timeline: Timeline | undefined;
  #busy: BusyBins | undefined;
  readonly #answers = new Map<string, unknown>();
  #events: readonly TcpEvent[] | undefined;
  #episodes: readonly Episode[] | undefined;

  constructor(migration: Migration | null, flows: readonly Flow[], tables: ReportData['tables']) {
    this.migration = migration;
    this.flows = flows;
    this.#tables = tables;
    this.startNs = migration?.startNs ?? Math.min(...flows.map((flow) => flow.connection.startNs));
    this.endNs = migration?.endNs ?? Math.max(...flows.map((flow) => flow.connection.endNs));
  }

  /** What it is in a sentence. */
  get noun(): 'migration' | 'transfer' {
    return this.migration ? 'migration' : 'transfer';
  }

  /** What `find` says, which is asked once for each `question`: many rules ask the same. */
  once<T>(question: string, find: () => T): T {
    if (!this.#answers.has(question)) this.#answers.set(question, find());
    return this.#answers.get(question) as T;
  }

  get durationNs(): number {
    return Math.max(0, this.endNs - this.startNs);
  }

  get connectionIds(): number[] {
    return this.flows.map((flow) => flow.connection.id);
  }

  /** New payload bytes in the direction of memory; over other transports than TCP, those of the stream. */
  get bytes(): number {
    if (this.flows.length === 0) return this.migration?.bytes.total ?? 0;
    return this.sum((flow) => flow.forward.uniqueBytes);
  }

  /** Bytes per second over the whole transfer; null when it has no duration. */
  get goodput(): number | null {
    return this.durationNs > 0 ? (this.bytes / this.durationNs) * 1e9 : null;
  }

  /** Lowest round-trip time seen on any flow, handshakes included. */
  get minRttNs(): number | null {
    const seen = this.flows.flatMap((flow) =>
      [flow.connection.handshakeRttNs, flow.forward.rttNs?.min ?? null].filter(
        (rtt): rtt is number => rtt !== null && rtt > 0,
      ),
    );
    return seen.length > 0 ? Math.min(...seen) : null;
  }

  /** The flow that carries most bytes; only for transfers over TCP. */
  get mainFlow(): Flow {
    assert(this.flows.length > 0, 'a transfer without flows has no main flow', { migration: this.migration?.id });
    return this.flows.reduce((best, flow) => (flow.forward.uniqueBytes > best.forward.uniqueBytes ? flow : best));
  }

  /** Flows that carry a fair part of the data: while one of them waits, the others go on. At least 1. */
  get busyFlows(): number {
    const most = this.mainFlow.forward.uniqueBytes;
    return Math.max(1, this.flows.filter((flow) => flow.forward.uniqueBytes > most / 10).length);
  }

  /** The stretch in which memory moves while the guest still runs; the whole transfer where that is not known. */
  get precopy(): Interval {
    const phase = this.migration?.phases.find((candidate) => candidate.kind === 'precopy');
    return phase && phase.endNs > phase.startNs ? [phase.startNs, phase.endNs] : [this.startNs, this.endNs];
  }

  sum(of: (flow: Flow) => number): number {
    return this.flows.reduce((total, flow) => total + of(flow), 0);
  }

  /** Time bins of one flow in order; empty where the result has no timeline for it. */
  bins(flow: Flow): readonly Bin[] {
    let bins = this.#bins.get(flow.directionId);
    if (!bins) {
      const timeline = this.#columns;
      bins = rowsOf(timeline, [flow.directionId]).map((row) => new Bin(timeline, row));
      this.#bins.set(flow.directionId, bins);
    }
    return bins;
  }

  /** When anything was sent: what many rules look at. As columns: a report is made once, before V8 has compiled its code. */
  get busy(): BusyBins {
    this.#busy ??= busyBins(
      this.#columns,
      this.flows.map((flow) => flow.directionId),
    );
    return this.#busy;
  }

  get #columns(): Timeline {
    this.#timeline ??= readTimeline(this.#tables['timeline']);
    return this.#timeline;
  }

  /**
   * Share of time in each limiting state over `within` (default: the whole transfer), flows weighted by their bytes.
   * Falls back to the connections' totals without a timeline; null when nothing is known. Shares sum to 1.
   */
  limitedBy(within?: Interval): Record<Limit, number> | null {
    return this.once(`limited by, within ${within ?? 'all'}`, () => this.#limitedBy(within));
  }

  #limitedBy(within: Interval | undefined): Record<Limit, number> | null {
    const total = LIMITS.map(() => 0);
    let weights = 0;
    for (const flow of this.flows) {
      const shares = this.#flowShares(flow, within);
      if (!shares) continue;
      const weight = flow.forward.uniqueBytes;
      weights += weight;
      shares.forEach((share, at) => {
        total[at]! += share * weight;
      });
    }
    if (weights === 0) return null;
    return Object.fromEntries(LIMITS.map((limit, at) => [limit, total[at]! / weights])) as Record<Limit, number>;
  }

  #flowShares(flow: Flow, within: Interval | undefined): number[] | null {
    const ns = LIMITS.map(() => 0);
    for (const bin of this.bins(flow)) {
      if (within && (bin.startNs + bin.durationNs <= within[0] || bin.startNs >= within[1])) continue;
      bin.addLimits(ns);
    }
    const all = ns.reduce((total, value) => total + value, 0);
    if (all > 0) return ns.map((value) => value / all);
    const limitedBy = flow.forward.limitedBy;
    return limitedBy ? LIMITS.map((limit) => limitedBy[limit]) : null;
  }

  /** The longest stretches in which any of `limits` held a flow for most of the time; at most `most`, in order of time. */
  stretches(limits: readonly Limit[], most = 3, within?: Interval): Interval[] {
    const at = limits.map((limit) => LIMITS.indexOf(limit));
    const found: [number, number][] = [];
    for (const flow of this.flows) {
      let open: [number, number] | null = null;
      for (const bin of this.bins(flow)) {
        if (within && (bin.startNs + bin.durationNs <= within[0] || bin.startNs >= within[1])) continue;
        const held = at.reduce((total, limit) => total + bin.limitNs(limit), 0);
        const all = LIMITS.reduce((total, _, limit) => total + bin.limitNs(limit), 0);
        if (all > 0 && held >= all / 2) {
          if (open) open[1] = bin.startNs + bin.durationNs;
          else found.push((open = [bin.startNs, bin.startNs + bin.durationNs]));
        } else if (all > 0) open = null;
      }
    }
    return found
      .sort((a, b) => b[1] - b[0] - (a[1] - a[0]))
      .slice(0, most)
      .sort((a, b) => a[0] - b[0]);
  }

  /** Sum over flows of payload bytes in equal steps of `stepNs` across `within`; null without a timeline fine enough. */
  byteSteps(stepNs: number, within: Interval): number[] | null {
    const count = Math.floor((within[1] - within[0]) / stepNs);
    if (!(count >= 1)) return null;
    const steps = new Array<number>(Math.min(count, 100_000)).fill(0);
    let seen = false;
    const { rows, startNs, durationNs, payloadBytes } = this.busy;
    for (let row = 0; row < rows; row++) {
      if (durationNs[row]! > stepNs) return null;
      const step = Math.floor((startNs[row]! - within[0]) / stepNs);
      if (step < 0 || step >= steps.length) continue;
      steps[step]! += payloadBytes[row]!;
      seen = true;
    }
    return seen ? steps : null;
  }

  /** Stretches inside `within` of at least `minNs` in which a direction sent nothing, to the width of a bin; null without a timeline. */
  silences(directionId: number, [from, to]: Interval, minNs: number): Interval[] | null {
    const flow = this.flows.find((candidate) => candidate.directionId === directionId);
    const bins = flow ? this.bins(flow) : [];
    if (bins.length === 0) return null;
    const found: Interval[] = [];
    let quietSinceNs = from;
    for (const bin of bins) {
      if (bin.payloadBytes === 0 || bin.startNs + bin.durationNs <= from) continue;
      if (bin.startNs >= to) break;
      if (bin.startNs - quietSinceNs >= minNs) found.push([quietSinceNs, bin.startNs]);
      quietSinceNs = bin.startNs + bin.durationNs;
    }
    if (to - quietSinceNs >= minNs) found.push([quietSinceNs, to]);
    return found;
  }

  /** Events on the transfer's connections, either way, of the given kinds. */
  events(...kinds: readonly TcpEventKind[]): readonly TcpEvent[] {
    this.#events ??= readEvents(this.#tables['tcpEvents'], new Set(this.connectionIds));
    return this.#events.filter((event) => kinds.includes(event.kind));
  }

  episodes(...kinds: readonly EpisodeKind[]): readonly Episode[] {
    this.#episodes ??= readEpisodes(this.#tables['tcpEpisodes'], new Set(this.connectionIds));
    return this.#episodes.filter((episode) => kinds.includes(episode.kind));
  }
}

/** Every migration as a transfer, the largest MIGRATIONS of them; those over other transports than TCP have no flows. */
export function migrationsOf(report: ReportData): Transfer[] {
  const byId = new Map(report.connections.map((connection) => [connection.id, connection]));
  return largestMigrations(report).map((migration) => {
    const flows = migration.connections
      .map((id) => byId.get(id))
      .filter((connection): connection is Connection => connection !== undefined && connection.channel.kind !== 'nbd')
      .map((connection) => flowOf(connection, migration.source));
    return new Transfer(migration, flows, report.tables);
  });
}

/** Bulk connections, the largest first, each by itself: what there is to judge in a capture without any migration. */
export const bulkTransfersOf = (report: ReportData): Transfer[] =>
  report.connections
    .map((connection) => flowOf(connection, null))
    .filter((flow) => flow.forward.uniqueBytes >= BULK_BYTES)
    .sort((a, b) => b.forward.uniqueBytes - a.forward.uniqueBytes)
    .slice(0, BULK_TRANSFERS)
    .map((flow) => new Transfer(null, [flow], report.tables));

const largestMigrations = ({ migrations }: ReportData): readonly Migration[] =>
  migrations.length <= MIGRATIONS
    ? migrations
    : [...migrations].sort((a, b) => b.bytes.total - a.bytes.total).slice(0, MIGRATIONS);

/** Orients a connection by the migration's source where it is known to be one end only, by payload otherwise. */
function flowOf(connection: Connection, source: string | null): Flow {
  const [up, down] = connection.directions;
  const sides = [connection.client.address, connection.server.address];
  const named = source !== null && sides[0] !== sides[1] ? sides.indexOf(source) : -1;
  const side = named === 0 || named === 1 ? named : down.uniqueBytes > up.uniqueBytes ? 1 : 0;
  return {
    connection,
    side,
    directionId: 2 * connection.id + side,
    forward: connection.directions[side],
    reverse: connection.directions[side === 0 ? 1 : 0],
  };
}

type Cell = number | string | null;

/** One column of a table; a missing table or column reads as empty. */
export function column(table: JsonTable | undefined, name: string): readonly Cell[] {
  return table?.columns[name]?.values ?? [];
}

/** A cell that is a number, else `otherwise`. */
export const numberOr = <T>(cell: Cell | undefined, otherwise: T): number | T =>
  typeof cell === 'number' && Number.isFinite(cell) ? cell : otherwise;

/** The name behind a kind column, stored as index or already as name. */
const kindName = <T extends string>(cell: Cell | undefined, kinds: readonly T[]): T | undefined =>
  typeof cell === 'number' ? kinds[cell] : kinds.find((kind) => kind === cell);

function readTimeline(table: JsonTable | undefined): Timeline {
  return {
    direction: column(table, 'direction'),
    startNs: column(table, 'startNs'),
    durationNs: column(table, 'durationNs'),
    payloadBytes: column(table, 'payloadBytes'),
    uniqueBytes: column(table, 'uniqueBytes'),
    inFlightMaxBytes: column(table, 'inFlightMaxBytes'),
    windowMaxBytes: column(table, 'windowMaxBytes'),
    rttMinNs: column(table, 'rttMinNs'),
    rttMaxNs: column(table, 'rttMaxNs'),
    limitsNs: LIMITS.map((limit) => column(table, LIMIT_COLUMNS[limit])),
  };
}

/** Rows of `directions`, in order of time. */
function rowsOf({ direction, startNs }: Timeline, directions: readonly Cell[]): number[] {
  const rows: number[] = [];
  for (let row = 0; row < direction.length; row++) if (directions.includes(direction[row]!)) rows.push(row);
  return rows.sort((a, b) => numberOr(startNs[a], 0) - numberOr(startNs[b], 0));
}

function busyBins(timeline: Timeline, directions: readonly number[]): BusyBins {
  const rows = rowsOf(timeline, directions).filter((row) => numberOr(timeline.payloadBytes[row], 0) > 0);
  const numbers = (cells: readonly Cell[]): Float64Array => {
    const values = new Float64Array(rows.length);
    for (let at = 0; at < values.length; at++) values[at] = numberOr(cells[rows[at]!], 0);
    return values;
  };
  return {
    rows: rows.length,
    startNs: numbers(timeline.startNs),
    durationNs: numbers(timeline.durationNs),
    payloadBytes: numbers(timeline.payloadBytes),
  };
}

function readEvents(table: JsonTable | undefined, connections: ReadonlySet<number>): TcpEvent[] {
  const kinds = column(table, 'kind');
  const events: TcpEvent[] = [];
  column(table, 'direction').forEach((direction, row) => {
    const kind = kindName(kinds[row], TCP_EVENT_KINDS);
    if (typeof direction !== 'number' || !connections.has(direction >> 1) || !kind) return;
    events.push({
      kind,
      direction,
      frame: numberOr(column(table, 'frame')[row], 0),
      tNs: numberOr(column(table, 'tNs')[row], 0),
      offset: numberOr(column(table, 'offset')[row], 0),
      bytes: numberOr(column(table, 'bytes')[row], 0),
    });
  });
  return events;
}

function readEpisodes(table: JsonTable | undefined, connections: ReadonlySet<number>): Episode[] {
  const kinds = column(table, 'kind');
  const episodes: Episode[] = [];
  column(table, 'direction').forEach((direction, row) => {
    const kind = kindName(kinds[row], TCP_EPISODE_KINDS);
    if (typeof direction !== 'number' || !connections.has(direction >> 1) || !kind) return;
    episodes.push({
      kind,
      direction,
      firstFrame: numberOr(column(table, 'firstFrame')[row], 0),
      startNs: numberOr(column(table, 'startNs')[row], 0),
      durationNs: numberOr(column(table, 'durationNs')[row], 0),
      lostBytes: numberOr(column(table, 'lostBytes')[row], 0),
      retransmittedBytes: numberOr(column(table, 'retransmittedBytes')[row], 0),
    });
  });
  return episodes;
}
