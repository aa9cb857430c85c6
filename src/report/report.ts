// ReportData: the whole result as plain JSON, version 1. A public interface: other programs read it.
//
// The HTML page and the terminal summary are functions of it and of nothing else. Fields may be added; one is renamed or
// changes meaning only with a new schemaVersion. Times ending in Ns are ns since the capture's first frame, rates bytes
// per second, shares 0 … 1. What cannot be known is null.
import type { Anomaly } from '../anomaly.js';
import type { ClockComparison, PairedConnection } from '../decode/tcp/pairing.js';
import type { TcpConnection, Vantage } from '../decode/tcp/results.js';
import type { StreamsSummary } from '../decode/tcp/streams.js';
import type { UdpFlow } from '../decode/udp/results.js';
import type { ChannelKind, OpaqueStream, Migration as StreamMigration } from '../migration-stream/results.js';

export type Severity = 'fatal' | 'major' | 'minor' | 'info';

export interface Finding {
  /** Id in the rule catalogue, e.g. 'R-A1'. */
  readonly rule: string;
  /** The rule's noun for the failing state, e.g. 'Hypervisor rate limit'. */
  readonly title: string;
  readonly severity: Severity;
  readonly confidence: number;
  /** Stretches of time that prove it, [startNs, endNs]. */
  readonly interval: readonly (readonly [number, number])[];
  readonly metrics: Readonly<Record<string, number | string | null>>;
  /** Frame numbers that prove it. */
  readonly packets: readonly number[];
  readonly text: string;
  readonly advice: readonly string[];
  /** What else could look like this, and whether it was ruled out. */
  readonly alternatives: readonly string[];
  /** Estimated cost: ns of migration time or of downtime that fixing this would save; null where no estimate is honest. */
  readonly cost: { readonly of: 'migration-time' | 'downtime'; readonly ns: number } | null;
  /** Rules that this one explains (derived symptoms folded into it). */
  readonly explains: readonly string[];
  /** Which migration and connections it is about. */
  readonly migration: number | null;
  readonly connections: readonly number[];
}

export interface Connection extends TcpConnection {
  /** `confidence` only where the part was told by timing and sizes (inside TLS). */
  channel: { kind: ChannelKind; index: number | null; migration: number | null; confidence?: number };
  /** What its first bytes announce, where its contents stay closed. */
  opaque?: { -readonly [K in keyof Omit<OpaqueStream, 'connection'>]: OpaqueStream[K] };
}

export interface Migration extends StreamMigration {
  /** The forward directions of its TCP connections taken together; absent without any. */
  streams?: StreamsSummary;
  models: Record<string, unknown>;
}

/** A table in JSON: columns of equal length, each with its unit; null = not known. */
export interface JsonTable {
  readonly rows: number;
  /** Rows of the full table that this one leaves out to stay small; absent when it is complete or merged without loss. */
  readonly omitted?: number;
  readonly columns: Readonly<
    Record<string, { readonly unit: string; readonly values: readonly (number | string | null)[] }>
  >;
}

/** What the captures of both hosts of one run say together; see PairedDirection for the fields of a direction. */
export interface BothEnds {
  readonly source: string;
  readonly destination: string;
  /** null where no frames matched both ways. */
  readonly clock: ClockComparison | null;
  readonly connections: readonly PairedConnection[];
}

export interface ReportData {
  schema: 'migscope.report';
  schemaVersion: 1;
  generator: { name: 'migscope'; version: string };
  capture: {
    inputs: {
      name: string;
      format: 'pcap' | 'pcapng';
      compression: null | 'gzip' | 'zstd';
      linkTypes: string[];
      snapLength: number | null;
      timestampResolutionNs: number;
      frames: number;
      capturedBytes: number;
      wireBytes: number;
      cutFrames: number;
      droppedByCapture: number | null;
    }[];
    /** RFC 3339 with ns. */
    start: string | null;
    durationNs: number;
    frames: number;
    wireBytes: number;
    vantage: Vantage;
  };
  anomalies: Anomaly[];
  connections: Connection[];
  flows: UdpFlow[];
  migrations: Migration[];
  findings: Finding[];
  /** What the rules looked for and can exclude, e.g. 'no retransmission in 24123 segments'. */
  ruledOut?: { readonly rule: string; readonly title: string; readonly text: string }[];
  /** Only when both ends were captured; connection ids count in the source's capture first. `losses` is a table. */
  bothEnds?: BothEnds;
  /** Tables at report resolution: timeline, tcpEvents, tcpEpisodes, pageRegions, signals … */
  tables: Record<string, JsonTable>;
}
