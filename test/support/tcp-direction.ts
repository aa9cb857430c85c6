// A direction of a finished connection of which nothing is told but what a test says.
import type { TcpDirection } from '../../src/decode/tcp/results.js';

/** Nothing was sent and nothing is known, except for `facts`. */
export const tcpDirection = (facts: Partial<TcpDirection>): TcpDirection => ({
  frames: 0,
  dataFrames: 0,
  wireSegments: 0,
  payloadBytes: 0,
  uniqueBytes: 0,
  unseenBytes: 0,
  retransmittedSegments: 0,
  retransmittedBytes: 0,
  retransmissions: { fast: 0, timeout: 0, tailLossProbe: 0, spurious: 0, other: 0 },
  outOfOrderSegments: 0,
  networkDuplicates: 0,
  captureDuplicates: 0,
  duplicateAcks: 0,
  windowProbes: 0,
  keepAlives: 0,
  zeroWindow: { episodes: 0, totalNs: 0 },
  rttNs: null,
  queueingNs: null,
  window: null,
  inFlight: null,
  inFlightDoubt: null,
  throughput: 0,
  goodput: 0,
  firstDataNs: null,
  lastDataNs: null,
  ackedBytes: null,
  wireBytes: null,
  ecn: { congestionMarks: 0, echoes: 0, windowReductions: 0, accurate: false },
  windowScaleInferred: false,
  windowShrinks: 0,
  windowUpdates: 0,
  windowUse: null,
  pipe: null,
  lateOriginals: 0,
  inferredRetransmissions: 0,
  retransmittedAtLeast: false,
  rhythm: null,
  comb: null,
  pacingRate: null,
  limitSummary: null,
  congestionControl: null,
  limitedBy: null,
  ...facts,
});

type Limits = NonNullable<TcpDirection['limitedBy']>;

/** Shares of time by limit; what is not named is 0. */
export const limitShares = (shares: Partial<Limits>): Limits => ({
  'sender-application': 0,
  'rate-limit': 0,
  'receiver-window': 0,
  congestion: 0,
  recovery: 0,
  'send-buffer': 0,
  idle: 0,
  ...shares,
});
