// What TCP analysis hands on when the capture has ended: the public figures of each connection, and tables over time.
//
// Names and meaning follow the JSON result; fields beyond it are additions. What cannot be known is null.
import type { ColumnData } from '../../columns.js';

/** Distribution of a measured quantity; the unit is that of the field it stands in. */
export interface Quantiles {
  readonly min: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  readonly samples: number;
}

/** What leaves the sender's flight open where it was captured away from the sender. */
export interface FlightDoubt {
  /**
   * `one-tick`: several acknowledgements carry one timestamp, and which of them the sender had is not known; `inFlight.max` is
   * the middle of the bounds. `no-timestamps`: nothing but the shortest round trip tells what the sender had.
   */
  readonly reason: 'one-tick' | 'no-timestamps';
  /** Between these the largest flight lies, bytes; null where no bound is known. */
  readonly maxAtLeast: number | null;
  readonly maxAtMost: number | null;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Who held a sending direction back; every moment belongs to exactly one. */
export const LIMITS = [
  'sender-application',
  'rate-limit',
  'receiver-window',
  'congestion',
  'recovery',
  'send-buffer',
  'idle',
] as const;
export type Limit = (typeof LIMITS)[number];

export type Vantage = 'source' | 'destination' | 'mid-path' | 'unknown';

/** One sending direction. Rates in bytes per second over [first data, last data]. */
export interface TcpDirection {
  frames: number;
  dataFrames: number;
  /** Segments on the wire behind offloaded super-packets; null where neither IP-ID nor MSS tells. */
  wireSegments: number | null;
  payloadBytes: number;
  uniqueBytes: number;
  /** Acknowledged by the peer but not in the capture. */
  unseenBytes: number;
  retransmittedSegments: number;
  retransmittedBytes: number;
  retransmissions: { fast: number; timeout: number; tailLossProbe: number; spurious: number; other: number };
  outOfOrderSegments: number;
  networkDuplicates: number;
  captureDuplicates: number;
  duplicateAcks: number;
  /** Acknowledgements of this side's data that report something beyond a hole, and those that report something twice. */
  selectiveAcks: number;
  duplicateReports: number;
  windowProbes: number;
  keepAlives: number;
  zeroWindow: { episodes: number; totalNs: number };
  rttNs: Quantiles | null;
  /** Round trips less the least of them: what queues on the path added. */
  queueingNs: Quantiles | null;
  /** Round trip smoothed as a sender does it (RFC 6298 §2), when the last sample was in. */
  rttSmoothedNs: number | null;
  /** Scaled window this direction's receiver advertised, i.e. what limits this direction. Bytes. */
  window: Quantiles | null;
  /** Bytes in flight on the sender's timeline. */
  inFlight: Quantiles | null;
  /** Why `inFlight` is not sure; null where it is. */
  inFlightDoubt: FlightDoubt | null;
  throughput: number;
  goodput: number;
  /**
   * Time in [first data, last data] with something in flight, ns, and goodput over it; null where the flight is not known.
   * Away from the sender what frames waited in queues may be missing from it.
   */
  busyNs: number | null;
  goodputBusy: number | null;
  /** Goodput over ever longer bins, idle ones included; null where the course in time was not kept. */
  goodputPeaks: readonly GoodputPeak[] | null;
  /** First and last payload, ns; null without payload. */
  firstDataNs: number | null;
  lastDataNs: number | null;
  /** Highest offset the peer acknowledged, null when it acknowledged nothing. */
  ackedBytes: number | null;
  /** Bytes on an Ethernet line, preamble and gap included, behind offloads; null where the segments are not known. */
  wireBytes: number | null;
  /** The same per second. */
  wireRate: number | null;
  /** What all but new payload costs; null where `wireBytes` is. */
  overheads: Overheads | null;
  /**
   * Marked frames of this side seen here; and what this side says of marks on the other's: frames with ECE and with CWR, or,
   * where the SYNs agreed on accurate feedback (RFC 9768), `echoes` marked packets.
   */
  ecn: { congestionMarks: number; echoes: number; windowReductions: number; accurate: boolean };
  /** The window's scale was inferred, not read from the SYNs. */
  windowScaleInferred: boolean;
  windowShrinks: number;
  /** Acknowledgements without news but more window. */
  windowUpdates: number;
  /** Share of the window in use after each frame, as the sender knew it; null where the window's scale is not known. */
  windowUse: Quantiles | null;
  /** Time with more than 0.95 of the window in use, ns; away from the sender it may be more. null as above. */
  windowHighUseNs: number | null;
  /**
   * Times of 10 ms and more in which data was acknowledged but the window's right edge hardly moved, until a quarter of the
   * window or more was gone: nobody read. Begins sooner than `zeroWindow` and holds it. null where the scale is not known.
   */
  frozenEdge: { episodes: number; totalNs: number; longestNs: number } | null;
  /** Bytes in flight less what was reported received or lost: a lower bound of the congestion window. */
  pipe: Quantiles | null;
  /** Originals that came after their own retransmission; not part of outOfOrderSegments. */
  lateOriginals: number;
  /**
   * Retransmissions that a capture away from the sender missed, known from the IP identification or from frames that overtook
   * them; part of retransmittedSegments.
   */
  inferredRetransmissions: number;
  /**
   * There may have been more retransmissions: some were lost before a capture away from the sender, and no identification
   * counts them.
   */
  retransmittedAtLeast: boolean;
  rhythm: Rhythm | null;
  comb: Comb | null;
  /** Rate at which the sender spaces its frames by a timer, bytes per second; null where it does not or cannot be seen. */
  pacingRate: number | null;
  /**
   * Rate of the narrowest line between sender and capture point, from how far apart full segments in a row arrive; as
   * `wireRate`. null at the sender, behind offloads, and where the network did not set the pace.
   */
  bottleneckRate: number | null;
  /** The largest shares of `limitedBy` in words, with their evidence. */
  limitSummary: string | null;
  congestionControl: CongestionControl | null;
  limitedBy: Record<Limit, number> | null;
}

/** Goodput in bins of `binNs`: near 10 ms, 100 ms or 1 s, as far as the timeline has them. */
export interface GoodputPeak {
  readonly binNs: number;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
}

/** Shares, 0 … 1. */
export interface Overheads {
  /** Headers and gaps, of the bytes on the line. */
  readonly headers: number;
  /** Bytes that the capture shows again, of the payload. */
  readonly repeated: number;
  /** Bytes on the line the other way, of those this way; null where they are not known. */
  readonly acknowledgements: number | null;
}

/** How a sender's data comes, in bursts and with pauses, and how its receiver acknowledges. */
export interface Rhythm {
  /** Frames with gaps below 50 µs (or an eighth of the round trip) form a burst. */
  bursts: number;
  burstBytes: Quantiles | null;
  burstRate: Quantiles | null;
  /** Pauses longer than 100 ms and four round trips with nothing outstanding. */
  idleGaps: number;
  idleNs: number;
  /** Data bytes that one acknowledgement covers on average; null without acknowledgements. */
  bytesPerAck: number | null;
  /** Acknowledgements that cover more than two segments, share of those that advance. */
  stretchAckShare: number | null;
  /** Acknowledgements that the receiver held back, waiting for more. */
  delayedAcks: number;
  /** Those that came four times as close to the one before as their data had left; null where captured at the receiver. */
  compressedAcks: number | null;
}

/** Sending in step with a 100 ms clock, as QEMU's rate limiter makes it. */
export interface Comb {
  periodNs: number;
  periods: number;
  bytesPerPeriod: number;
  /** Standard deviation over mean. */
  bytesVariation: number;
}

/** What kind of congestion control the sender shows, with the features that say so. */
export interface CongestionControl {
  family: 'loss-based' | 'rate-based' | 'unknown';
  /** Most in flight after a loss episode over most before it, median; null without episodes. */
  decrease: number | null;
  /** How far these answers lie apart: the middle half of them, all where they are few. */
  spread: number | null;
  episodes: number;
  /** Times that the sender let the path run empty, where it did so every ten seconds (BBR measures the round trip so). */
  probeDips: number;
  /**
   * Pauses after which the sender began anew with at most half of what it had in flight before (RFC 5681 §4.1); null on
   * paths too short to see it.
   */
  restarts: number | null;
  /** Frames are spaced by a timer. */
  paced: boolean;
}

export interface TcpConnection {
  id: number;
  transport: 'tcp';
  encapsulation: readonly string[];
  client: Endpoint;
  server: Endpoint;
  firstFrame: number;
  startNs: number;
  endNs: number;
  handshakeRttNs: number | null;
  endedBy: 'fin' | 'rst' | 'capture-end' | 'idle';
  /** What of it was seen, as Wireshark's tcp.completeness: SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32. */
  completeness: number;
  /** Which side's FIN or RST came first: 0 client, 1 server; null when neither. */
  closedFirstBy: 0 | 1 | null;
  /** Where the capture point sits as seen from side 0 ('source' = at the client). */
  vantage: Vantage;
  options: {
    mss: [number | null, number | null];
    windowScale: [number | null, number | null];
    sack: boolean | null;
    timestamps: boolean | null;
  };
  directions: [TcpDirection, TcpDirection];
}

/** Columns of `timeline`, one row per (direction, bin); directions above 1 MB only, the largest TIMELINE_DIRECTIONS. NaN = not known. */
export const TIMELINE_UNITS = {
  direction: 'direction id',
  startNs: 'ns',
  durationNs: 'ns',
  payloadBytes: 'bytes',
  uniqueBytes: 'bytes',
  ackedBytes: 'bytes',
  retransmittedBytes: 'bytes',
  retransmittedSegments: 'count',
  inFlightMaxBytes: 'bytes',
  windowMinBytes: 'bytes',
  windowMaxBytes: 'bytes',
  rttMinNs: 'ns',
  rttMaxNs: 'ns',
  queueMaxNs: 'ns',
  limitSenderApplicationNs: 'ns',
  limitRateLimitNs: 'ns',
  limitReceiverWindowNs: 'ns',
  limitCongestionNs: 'ns',
  limitRecoveryNs: 'ns',
  limitSendBufferNs: 'ns',
  limitIdleNs: 'ns',
} as const;

/** The timeline's column of each limit, in the order of LIMITS. */
export const LIMIT_COLUMNS = {
  'sender-application': 'limitSenderApplicationNs',
  'rate-limit': 'limitRateLimitNs',
  'receiver-window': 'limitReceiverWindowNs',
  congestion: 'limitCongestionNs',
  recovery: 'limitRecoveryNs',
  'send-buffer': 'limitSendBufferNs',
  idle: 'limitIdleNs',
} as const satisfies Record<Limit, keyof typeof TIMELINE_UNITS>;

/** Kinds in column `kind` of `events`; the number is the index. */
export const TCP_EVENT_KINDS = [
  'retransmission-fast',
  'retransmission-timeout',
  'retransmission-tail-loss-probe',
  'retransmission-spurious',
  'retransmission-other',
  'reordered',
  'late-original',
  'network-duplicate',
  'window-probe',
  'keep-alive',
  'zero-window-start',
  'zero-window-end',
  'window-shrink',
  'acked-unseen',
  'out-of-window',
  'ecn-ce',
] as const;
export const TCP_EVENT_UNITS = {
  kind: 'index of TCP_EVENT_KINDS',
  direction: 'direction id',
  frame: 'frame number',
  tNs: 'ns',
  offset: 'bytes',
  bytes: 'bytes',
} as const;

/**
 * Loss and stall episodes, one row each. `kind` 0 fast recovery, 1 timeout, 2 mixed, 3 zero window, 4 sender silence.
 *
 * The last five columns are NaN but for losses. Rates are bytes acknowledged per second.
 */
export const TCP_EPISODE_UNITS = {
  kind: 'index of TCP_EPISODE_KINDS',
  direction: 'direction id',
  firstFrame: 'frame number',
  startNs: 'ns',
  durationNs: 'ns',
  lostBytes: 'bytes',
  retransmittedBytes: 'bytes',
  /** How long nothing had been acknowledged of what was out when the episode began; what follows counts it in. */
  waitedNs: 'ns',
  /** Over eight round trips, and no less than 100 ms, before and after. */
  goodputBefore: 'bytes/s',
  goodputDuring: 'bytes/s',
  goodputAfter: 'bytes/s',
  /** What would have been acknowledged at the rate before, less what was. */
  costBytes: 'bytes',
} as const;
export const TCP_EPISODE_KINDS = ['recovery', 'timeout', 'mixed', 'zero-window', 'silence'] as const;

/** Single segments where a stream was disturbed, and the acknowledgements for them; `direction` is that of the data. */
export const TCP_SEGMENT_UNITS = {
  /** Rows of one stretch follow each other. */
  stretch: 'stretch id',
  kind: 'index of TCP_SEGMENT_KINDS',
  direction: 'direction id',
  frame: 'frame number',
  tNs: 'ns',
  /** Of data its first byte, of an acknowledgement the next byte it asks for. */
  offset: 'bytes',
  /** Of data its payload, of an acknowledgement the window it grants. */
  bytes: 'bytes',
} as const;
export const TCP_SEGMENT_KINDS = ['new', 'retransmission', 'acknowledgement'] as const;

export interface TcpResults {
  readonly connections: readonly TcpConnection[];
  readonly timeline: ColumnData;
  readonly events: ColumnData;
  readonly episodes: ColumnData;
  readonly segments: ColumnData;
}

/** One connection of a running analysis, seen from its busier side. Counters are cumulative; null = not known. */
export interface ConnectionSnapshot {
  readonly connection: number;
  readonly sender: Endpoint;
  readonly receiver: Endpoint;
  /** Retransmitted bytes included. */
  readonly payloadBytes: number;
  readonly uniqueBytes: number;
  readonly retransmittedSegments: number;
  readonly retransmittedBytes: number;
  /** Newest sample. */
  readonly rttNs: number | null;
  readonly windowBytes: number | null;
  readonly inFlightBytes: number | null;
  /** What held it back most in the newest second or so. */
  readonly limit: Limit | null;
}
