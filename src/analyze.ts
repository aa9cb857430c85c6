// Analysis: owns all state, wires the stages, and is the same for files, pipes and live capture.
//
// No timers, no clock, no I/O: time is what the frames say. Call push() for every batch, snapshot() whenever a picture is
// wanted, finish() once.
import { type Anomaly, AnomalyLog } from './anomaly.js';
import type { CaptureInfo, PacketBatch } from './capture/packet-batch.js';
import type { ColumnData } from './columns.js';
import { clockLeaps } from './decode/clock-leaps.js';
import { decodeFrames } from './decode/frame.js';
import { KIND_TCP, NO_DIRECTION, OPTION_TIMESTAMP, type SegmentRows } from './decode/rows.js';
import { Signals } from './decode/signals.js';
import { Silences } from './decode/silences.js';
import { UDP_STREAM_BASE } from './decode/stream.js';
import { Connections } from './decode/tcp/connections.js';
import { FrameLog } from './decode/tcp/frame-log.js';
import { TcpMetricsAside } from './decode/tcp/metrics/aside.js';
import { TcpMetrics } from './decode/tcp/metrics/index.js';
import { Multipath, type MultipathConnection } from './decode/tcp/mptcp.js';
import type { PairedCapture } from './decode/tcp/pairing.js';
import { Reassembler } from './decode/tcp/reassembly.js';
import type { ConnectionSnapshot, TcpResults } from './decode/tcp/results.js';
import { Stretch, type WantedStretch } from './decode/tcp/stretch.js';
import type { Connection } from './decode/tcp/tracker.js';
import { TunnelCopies } from './decode/tunnel-copies.js';
import { UdpFlows } from './decode/udp/flows.js';
import type { UdpResults } from './decode/udp/results.js';
import type { ChannelKind, MigrationResults, MigrationSnapshot } from './migration-stream/results.js';
import type { FrameStamp } from './migration-stream/send-lag.js';
import { MigrationStreams } from './migration-stream/session.js';
import { WIDE_ZERO } from './wide-zero.js';

export interface AnalysisOptions {
  /** Take connections to this server port as the migration, whatever their first bytes say. */
  readonly port?: number;
  /** Take this connection as the migration. */
  readonly connection?: number;
  /** Keep every TCP frame's identity (bounded), so that the capture of the other host can be set beside it. */
  readonly keepFrames?: boolean;
  /** Keep every segment of a stretch (bounded), for the time-sequence graph. */
  readonly stretch?: WantedStretch;
  /**
   * Track and measure TCP on a thread of its own: pays for large captures. snapshot() then knows only what was sent. Not
   * with `keepFrames` or `stretch`.
   */
  readonly aside?: boolean;
}

/** Everything that is known when the capture has ended. */
export interface Results {
  readonly capture: CaptureInfo;
  readonly frames: number;
  readonly wireBytes: number;
  /** From the first frame to the latest one. */
  readonly durationNs: number;
  readonly anomalies: readonly Anomaly[];
  readonly tcp: TcpResults;
  readonly udp: UdpResults;
  /** Multipath TCP connections whose subflows were joined. */
  readonly multipath: readonly MultipathConnection[];
  readonly migration: MigrationResults;
  readonly signals: ColumnData;
  readonly silences: ColumnData;
}

/** A picture of the running analysis: cheap, read-only, counters cumulative. What is not known is null. */
export interface Snapshot {
  /** Time of the newest frame, ns since the first; 0 before the first. */
  readonly nowNs: number;
  readonly frames: number;
  readonly wireBytes: number;
  /** Anomalies noted so far. */
  readonly anomalies: number;
  /** The newest migration with a live connection; null while none is recognised. */
  readonly migration: MigrationSnapshot | null;
  /** The connections of that migration; before one is found the busiest few. */
  readonly channels: readonly ChannelSnapshot[];
}

/** What one connection of a snapshot does; the sending side is the one with more payload. */
export interface ChannelSnapshot extends ConnectionSnapshot {
  readonly kind: ChannelKind;
  readonly index: number | null;
}

const BUSIEST_CONNECTIONS = 8;

export class Analysis {
  readonly log: AnomalyLog;
  readonly #copies = new TunnelCopies();
  readonly #connections: Connections;
  readonly #tcp: TcpMetrics | TcpMetricsAside;
  readonly #signals = new Signals();
  readonly #silences = new Silences();
  readonly #streams: MigrationStreams;
  readonly #multipath: Multipath;
  readonly #reassembler: Reassembler;
  readonly #udp: UdpFlows;
  readonly #frameLog: FrameLog | null;
  readonly #stretch: Stretch | null;
  #frames = 0;
  #wireBytes = WIDE_ZERO;
  #latestNs = WIDE_ZERO;
  /** The batch at hand and its rows: valid while it is being pushed. */
  #batch: PacketBatch | null = null;
  #rows: SegmentRows | null = null;

  constructor(log = new AnomalyLog(), options: AnalysisOptions = {}) {
    this.log = log;
    this.#connections = new Connections(log);
    const here = !options.aside || options.keepFrames || options.stretch;
    this.#tcp = here ? new TcpMetrics(log) : new TcpMetricsAside(log);
    const directory = {
      identity: (connection: number) => this.#identity(connection),
      stamp: (frame: number) => this.#stamp(frame),
    };
    this.#streams = new MigrationStreams(log, directory, options);
    this.#multipath = new Multipath(this.#streams.claim);
    this.#reassembler = new Reassembler(this.#multipath.claim, log);
    this.#udp = new UdpFlows(log, this.#streams.claim, this.#streams);
    this.#connections.prefer((id) => this.#streams.carries(id));
    // Ids of connections are reused: whoever keeps something by id forgets it then.
    this.#connections.onReplaced((id) => {
      this.#tcp.forget(id);
      this.#reassembler.forget(id);
      this.#streams.forget(id);
      this.#silences.forget(id);
      this.#stretch?.forget(id);
    });
    this.#frameLog = options.keepFrames ? new FrameLog() : null;
    this.#stretch = options.stretch ? new Stretch(options.stretch) : null;
  }

  /** Takes one batch; nothing of it is kept. */
  push(batch: PacketBatch): void {
    const rows = this.#tcp.nextRows();
    this.#batch = batch;
    this.#rows = rows;
    decodeFrames(batch, rows, this.log);
    this.#udp.push(batch, rows); // before copies: what tunnels cost counts on every path
    this.#copies.push(batch, rows);
    this.#connections.place(batch, rows);
    this.#tcp.push(batch);
    this.#frameLog?.push(batch, rows);
    this.#stretch?.push(batch, rows);
    this.#signals.push(batch, rows);
    this.#silences.push(batch, rows);
    this.#multipath.push(batch, rows);
    this.#reassembler.push(batch, rows);
    this.#count(batch);
  }

  /** Who talks to whom on a TCP connection or on a reliable-UDP stream; ids of the latter lie above all others. */
  #identity(connection: number): ReturnType<Connections['identity']> | NonNullable<ReturnType<UdpFlows['identity']>> {
    if (connection < UDP_STREAM_BASE >>> 1) return this.#connections.identity(connection);
    return this.#udp.identity(2 * connection)!;
  }

  /** The TCP timestamp of a frame of the batch at hand; null where it has none. */
  #stamp(frame: number): FrameStamp | null {
    const batch = this.#batch!;
    const rows = this.#rows!;
    const row = frame - batch.firstFrame;
    const isStamped =
      row >= 0 && row < batch.count && rows.kind[row] === KIND_TCP && rows.options[row]! & OPTION_TIMESTAMP;
    if (!isStamped || rows.direction[row] === NO_DIRECTION) return null;
    return { direction: rows.direction[row]!, tNs: batch.tNs[row]!, tick: rows.tsValue[row]! };
  }

  #count(batch: PacketBatch): void {
    const { count, wire, tNs } = batch;
    let bytes = 0;
    let latest = this.#latestNs;
    for (let row = 0; row < count; row++) {
      bytes += wire[row]!;
      if (tNs[row]! > latest) latest = tNs[row]!;
    }
    this.#frames += count;
    this.#wireBytes += bytes;
    this.#latestNs = latest;
  }

  /** What is needed to set this capture beside the one of the other host; null without `keepFrames`. */
  pairable(capture: CaptureInfo): PairedCapture | null {
    const tcp = this.#tcp;
    if (!this.#frameLog || !(tcp instanceof TcpMetrics)) return null;
    const connection = (id: number): Connection => tcp.connection(id);
    return { log: this.#frameLog, connections: this.#connections, connection, epochNs: capture.epochNs };
  }

  /** What is known right now; for a live view. */
  snapshot(): Snapshot {
    const migration = this.#streams.snapshot();
    const channels = migration
      ? migration.channels.map((channel) => ({ ...channel, ...this.#snapshotOf(channel.connection) }))
      : this.#connections
          .busiest(BUSIEST_CONNECTIONS)
          .map((connection) => ({ ...this.#snapshotOf(connection), kind: 'unknown' as const, index: null }));
    return {
      nowNs: 0 + this.#latestNs,
      frames: this.#frames,
      wireBytes: 0 + this.#wireBytes,
      anomalies: this.log.total,
      migration,
      channels,
    };
  }

  #snapshotOf(id: number): ConnectionSnapshot {
    return this.#tcp.snapshot(this.#connections.identity(id), this.#connections.sentBytes(id));
  }

  /** Ends the analysis. `capture` is the source's info, complete by now. */
  finish(capture: CaptureInfo): Results {
    this.#reassembler.finish();
    const multipath = this.#multipath.finish();
    const udp = this.#udp.finish();
    this.#connections.trim();
    const identities = this.#connections.ids().map((id) => this.#connections.identity(id));
    const tcp = this.#tcp.finish(identities, this.#frameLog === null);
    const signals = this.#signals.finish();
    const silences = this.#silences.finish();
    const leaps = clockLeaps(silences);
    for (const { startNs, endNs, frame } of leaps)
      this.log.note('capture/time-forwards', {
        tNs: endNs,
        frame,
        detail: `${((endNs - startNs) / 1e9).toFixed(1)} s`,
      });
    const migration = this.#streams.finish(tcp.connections, signals, leaps);
    return {
      capture,
      frames: this.#frames,
      wireBytes: 0 + this.#wireBytes,
      durationNs: 0 + this.#latestNs,
      anomalies: this.log.finish(),
      tcp: this.#stretch ? { ...tcp, segments: this.#stretch.before(tcp.segments) } : tcp,
      udp,
      multipath,
      migration,
      signals,
      silences,
    };
  }
}
