// What decoding the migration streams hands on when the capture has ended.
//
// Names and meaning follow the JSON result; fields beyond it are additions. What cannot be known is null.
import type { ColumnData } from '../columns.js';

/** Distribution of a measured quantity; same shape as the TCP results use. */
export interface Quantiles {
  readonly min: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  readonly samples: number;
}

export type ChannelKind = 'main' | 'multifd' | 'preempt' | 'nbd' | 'tls' | 'unknown';

/** How a client asks a proxy, or a balancer announces whose connection it passes on. */
export type ProxyKind = 'http-connect' | 'socks4' | 'socks5' | 'proxy-protocol';

/** A proxy that a migration goes through; `from` and `to` are host:port, untrusted text, null where not said. */
export interface ProxyHop {
  readonly kind: ProxyKind;
  /** Who the client of the connection stands for (PROXY protocol). */
  readonly from: string | null;
  /** Where the proxy was to connect to. */
  readonly to: string | null;
}

/** A connection whose contents stay closed, by what its first bytes announce. */
export interface OpaqueStream {
  readonly connection: number;
  readonly kind: 'ssh' | 'tls' | 'gzip' | 'zstd' | 'lz4' | 'xz' | 'bzip2';
  /** The greeting of SSH, its opener's if both are there; untrusted text. */
  readonly banner: string | null;
  /** What is known to be inside. */
  readonly holds: 'migration' | null;
}

/** The part a connection plays in a migration. */
export interface Channel {
  readonly connection: number;
  readonly kind: ChannelKind;
  /** multifd id or order of appearance; null where there is only one. */
  readonly index: number | null;
  readonly migration: number | null;
  /** 0 … 1 where the part was told by timing and sizes; absent where the channel said it itself. */
  readonly confidence?: number;
}

export interface PageCounts {
  normal: number;
  zero: number;
  xbzrle: number;
  compressed: number;
}

export interface Round {
  /** 1 is the first full pass. */
  index: number;
  startNs: number;
  endNs: number;
  pages: PageCounts;
  bytes: number;
  goodput: number;
  /**
   * Pages of the next round that had been sent before, over this round's duration. null for the last, and where the next one
   * does not hold all that was dirtied meanwhile (cut short by the switch to post-copy, a cancellation or the capture's end), was
   * not read whole, or this one's beginning is not in the capture.
   */
  dirtyPagesPerSecond: number | null;
  /** How the round's start was known: 'first-pass', 'page-repeat', 'section-end', 'flush-mark', 'post-copy', 'inferred-headers', 'inferred-rate' … */
  boundary: string;
  /** 0 … 1. */
  confidence: number;
}

/** A disk copied beside the memory, over NBD. */
export interface DiskCopy {
  readonly connection: number;
  /** Name of the export; untrusted text, '' where the negotiation is not in the capture. */
  readonly name: string;
  readonly writtenBytes: number;
  /** Written as zeros without data. */
  readonly zeroedBytes: number;
  readonly readBytes: number;
  /** Of what was written or zeroed: at places that had been copied before, so the guest had written there again. */
  readonly rewrittenBytes: number;
  /** When the copy last reached a place that had not been copied: the end of its first pass over the disk. */
  readonly sweptNs: number;
  readonly requests: number;
  readonly startNs: number;
  readonly endNs: number;
  /** Inside TLS only writes are counted, from the lengths of records; name, places and other requests are not to be seen. */
  readonly encryption?: 'tls';
}

export type PhaseKind = 'setup' | 'precopy' | 'stop-and-copy' | 'device-state' | 'postcopy' | 'handover';

export interface Phase {
  kind: PhaseKind;
  startNs: number;
  endNs: number;
  bytes: number;
}

export interface Downtime {
  earliestStartNs: number;
  latestStartNs: number;
  endNs: number;
  /** The guest cannot run before: the destination does not have all it needs until then. */
  earliestEndNs?: number;
  /** The guest runs by then: the destination announced it on the network. null where no capture shows that. */
  latestEndNs?: number | null;
  estimateNs: number;
  /** 0 … 1; from 0.6 on the estimate is believed to be within 30 ms or a quarter. Absent from results of earlier versions. */
  confidence?: number;
  method: string;
}

export interface Device {
  name: string;
  instance: number;
  version: number;
  bytes: number;
  startNs: number;
  endNs: number;
}

/** A figure that query-migrate counts otherwise, and how. */
export interface CountingRule {
  readonly figure: 'rounds' | 'pages' | 'downtime';
  readonly text: string;
}

export interface Migration {
  id: number;
  /** Addresses. */
  source: string;
  destination: string;
  port: number;
  connections: number[];
  /** Streams over reliable UDP; see UdpFlow.streams. */
  udpStreams: number[];
  outcome: 'completed' | 'cancelled' | 'failed' | 'incomplete';
  encryption: 'none' | 'tls' | 'tls-decrypted';
  stream: {
    machineType: string | null;
    pageSize: number | null;
    /** e.g. 'return-path', 'multifd', 'zero-page-multifd', 'xbzrle', 'compress', 'postcopy', 'preempt', 'switchover-start', 'tls'. */
    features: string[];
    decodedBytes: number;
    undecodedBytes: number;
    /** Pages in the undecoded bytes, as far as the pages before and behind bound them; null where nothing is lost or known. */
    lostPages?: { atLeast: number; atMost: number } | null;
  };
  startNs: number;
  endNs: number;
  ramBlocks: { name: string; lengthBytes: number }[];
  /** null: `zero` where zero pages hide in packet headers, `distinct` and `resent` where addresses are not visible. */
  pages: Omit<PageCounts, 'zero'> & { zero: number | null; distinct: number | null; resent: number | null };
  bytes: {
    total: number;
    main: number;
    multifd: number;
    preempt: number;
    ramRecords: number;
    deviceState: number;
    returnPath: number;
  };
  rounds: Round[];
  phases: Phase[];
  downtime: Downtime | null;
  devices: Device[];
  /** Disks mirrored over NBD between the same hosts. */
  disks: DiskCopy[];
  postcopy: {
    startNs: number;
    endNs: number;
    requests: number;
    pages: number;
    /** Requests whose page was on its way already; null where addresses are not visible. */
    pagesUnderway: number | null;
    requestLatencyNs: Quantiles | null;
  } | null;
  /** Message name → count. */
  returnPath: Record<string, number>;
  /** The proxies it goes through, the first one first; absent without any. `destination` is the first proxy then. */
  proxies?: readonly ProxyHop[];
  /** The migration that this one is another leg of: a relay passed it on. Absent where it is not. */
  relayOf?: number;
  /** The migration, interrupted in post-copy, that this one goes on with inside TLS. Absent where it does not. */
  resumes?: number;
  /** Where query-migrate counts otherwise; absent from results saved by earlier versions. */
  countingRules?: readonly CountingRule[];
}

/** Columns of `pageRegions`: how often each stretch of guest memory was sent, per round. */
export const PAGE_REGION_UNITS = {
  migration: 'migration id',
  block: 'index into ramBlocks',
  startPage: 'pages',
  pages: 'pages',
  round: 'round index',
  copies: 'count',
} as const;

/** Columns of `pageRequests`: page requests of post-copy that were answered. `tNs` is when the request was seen. */
export const PAGE_REQUEST_UNITS = {
  migration: 'migration id',
  tNs: 'ns',
  latencyNs: 'ns',
  bytes: 'bytes',
} as const;

export interface MigrationResults {
  readonly migrations: readonly Migration[];
  readonly channels: readonly Channel[];
  /** Other connections that say what they carry but not its contents. */
  readonly opaque: readonly OpaqueStream[];
  readonly pageRegions: ColumnData;
  readonly pageRequests: ColumnData;
}

/** A migration while it goes on. Counters are cumulative; null = not known. */
export interface MigrationSnapshot {
  readonly id: number;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly encryption: Migration['encryption'];
  /** null while it goes on. */
  readonly outcome: 'completed' | 'cancelled' | 'failed' | null;
  readonly phase: PhaseKind | null;
  readonly startNs: number;
  /** Newest data byte on any of its connections. */
  readonly lastDataNs: number;
  readonly pageSize: number | null;
  /** Guest memory in pages. */
  readonly ramPages: number | null;
  /** Sent so far, all rounds. */
  readonly pages: Readonly<PageCounts>;
  /** Stream bytes so far, each counted once. */
  readonly bytes: number;
  /** The round in progress; null before the first and where only packets are known. */
  readonly round: {
    readonly index: number;
    readonly startNs: number;
    readonly pages: number;
    readonly bytes: number;
    /** Share of guest memory the pass has walked over; null if unknown. */
    readonly swept: number | null;
  } | null;
  /** The newest few finished rounds, oldest first. */
  readonly rounds: readonly Round[];
  readonly channels: readonly {
    readonly connection: number;
    readonly kind: ChannelKind;
    readonly index: number | null;
  }[];
}
