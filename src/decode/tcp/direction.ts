// Direction: all that is known about what one side has sent, and what the other acknowledged of it.
//
// State only. acknowledge.ts changes it for what the peer says, transmit.ts for what the side itself sends, and
// classify.ts reads it. Offsets are stream offsets, times ns since the capture's first frame, NaN is "not known".
//
// "Sender's view": a capture taken at the receiver shows acknowledgements long before the sender has them. `known` holds
// back each one until the sender shows that it arrived, so that what was in flight is what the sender thought it was.
import { SACKED_RANGES, SEQUENCE_HOLES } from '../../limits.js';
import { WIDE_ZERO } from '../../wide-zero.js';
import { Acknowledgements } from './acknowledgements.js';
import { IpIds } from './ip-ids.js';
import { grown, RangeSet } from './ranges.js';
import { Transmitted } from './transmitted.js';
import { TwinShare } from './twins.js';

/**
 * Notes of a hole: when it was found; timestamp and IP identification of the frame behind it; when it was acknowledged;
 * when the acknowledgement passes that tells the sender of the loss, and the timestamp of the latest frame that overtook
 * its retransmission (overtaken.ts).
 */
export const HOLE_FOUND_NS = 0;
export const HOLE_TS_VALUE = 1;
export const HOLE_IP_ID = 2;
export const HOLE_ACKED_NS = 3;
export const HOLE_KNOWN_NS = 4;
export const HOLE_OVERTAKEN_TS = 5;
const HOLE_NOTES = 6;

/** The timestamp option as senders pad it. Source: RFC 7323 appendix A. */
const TIMESTAMP_BYTES = 12;
/** Frames that filled a hole, remembered to know a further copy when it comes. */
const FILLS = 256;
const FILL_FIELDS = 5;
const NO_FILLS = new Float64Array(0);

/** Below this round trip both hosts are as good as one: whatever is captured is what the sender sees. */
const NEAR_NS = 100e3;
/** A capture point nearer to the sender than this share of the round trip is at the sender. */
const AT_SENDER_SHARE = 0.1;

export class Direction {
  // Sequence space.
  /** A frame of this side has been seen: stream offsets mean something. */
  started = false;
  /** A raw number is known, be it only from the peer's acknowledgement. */
  referenced = false;
  synSent = false;
  /** Its latest SYN answered the other side's. */
  synAnswers = false;
  finSent = false;
  initialSeq = WIDE_ZERO;
  /** Highest offset sent (exclusive) and its raw number. FIN does not count. */
  sentMax = WIDE_ZERO;
  nextSeq = WIDE_ZERO;
  /** Highest offset acknowledged; NaN before the first acknowledgement of a connection met midway. */
  acked = Number.NaN;
  /** Where the stream ends, once a FIN said so. */
  finOffset = Number.POSITIVE_INFINITY;

  // What was sent.
  readonly transmitted = new Transmitted();
  readonly holes = new RangeSet(SEQUENCE_HOLES, HOLE_NOTES);
  /** Holes that were given up because the peer has the bytes. */
  readonly unseen = new RangeSet(SEQUENCE_HOLES);
  /** Frames that filled holes: start, end, TSval, IP identification, time. Grows to FILLS of them. */
  fills = NO_FILLS;
  fillCount = 0;
  readonly ipIds = new IpIds();
  dataFrames = 0;
  /** Largest payload of a frame. */
  payloadMax = 0;
  latestSentNs = Number.NaN;
  /** Highest timestamp of a frame with payload, NaN before the first. */
  latestTsValue = Number.NaN;

  // What the peer said.
  readonly sacked = new RangeSet(SACKED_RANGES);
  readonly known = new Acknowledgements();
  /** The most that may have been in flight, from away; NaN before data. */
  flightAtMost = Number.NaN;
  /** Right edge of the peer's window; NaN while its scale is not known. */
  edge = Number.NaN;
  /** Raw window of the latest acknowledgement, −1 before the first. */
  windowRaw = -1;
  /** The peer's window is 0. */
  windowClosed = false;
  latestAckNs = Number.NaN;
  /** Acknowledgements in a row that repeat the highest one, and all of them. */
  repeatedAcks = 0;
  duplicateAcks = 0;
  selectiveAcks = 0;
  unseenBytes = 0;
  /** Reports of bytes received twice (RFC 2883). */
  duplicateReports = 0;
  /** When the peer last reported something out of order. */
  latestReportNs = Number.NEGATIVE_INFINITY;

  // Round trips. `ack`: capture point to the peer and back. `echo`: capture point to this side and back.
  ackLoopMinNs = Number.NaN;
  ackLoopNs = Number.NaN;
  ackLoopVarNs = 0;
  echoLoopMinNs = Number.NaN;
  echoLoopNs = Number.NaN;
  echoLoopVarNs = 0;
  /** The capture point is so near to this side that its view and ours are the same. */
  isAtSender = true;
  /** Entries from this offset on give valid samples: nothing below was missing or sent again after them. */
  cleanFrom = Number.NEGATIVE_INFINITY;

  // Loss recovery, as far as it decides what triggered a retransmission.
  /** Recovery lasts until this offset is acknowledged; −∞ when none is on. */
  recoveryPoint = Number.NEGATIVE_INFINITY;
  /** The recovery began with a timeout. */
  afterTimeout = false;
  /** That timeout may have been needless as far as the sender knows: none of its recoveries was on (Linux tcp_enter_loss()). */
  timeoutDoubtful = false;
  /** It began with data cut smaller than before, unasked: a router had said that the path takes no more. */
  recut = false;
  /** Timestamp of the frame that the timer sent. */
  timeoutTsValue = Number.NaN;
  /** A tail loss probe is out and not answered. */
  probing = false;
  /** Bytes sent again above `acked` in this recovery, and all bytes sent again. */
  repeatedBytes = 0;
  repeatedTotal = 0;
  /** Retransmissions lost before the capture point, segments, and those of them that no timeout triggered. */
  overtaken = 0;
  overtakenFast = 0;
  /** The path has put frames in another order. */
  reordered = false;
  /** Least HOLE_KNOWN_NS of all holes. */
  overtakenDueNs = Number.POSITIVE_INFINITY;

  // Options, from SYN or learned. `mss` as this side announced it.
  mss = Number.NaN;
  windowScale = Number.NaN;
  /** The SYN was seen with all its options: what it does not offer is absent, not unknown. */
  synOptionsWhole = false;
  sackPermitted = false;
  /** Largest payload of one segment as the SYNs agreed on it, timestamps not yet taken off. */
  agreedMss = Number.NaN;
  /** Not ruled out by what the SYNs offered. */
  sackUsable = true;
  timestamps = false;
  /** Shift of the windows this side advertises, and 2^shift; NaN while not known. */
  shift = Number.NaN;
  windowUnit = Number.NaN;
  shiftInferred = false;
  /** Votes per shift, made when there is something to infer. */
  shiftVotes: Uint8Array | undefined;

  // Marks that the capturing host leaves on the first frames of a connection (vantage.ts): frames marked as going out and
  // as coming in, frames whose checksum is left to the network card and those where it is whole.
  markedOut = 0;
  markedIn = 0;
  unfinished = 0;
  finished = 0;

  // Frames captured twice.
  readonly dataTwins = new TwinShare();
  readonly ackTwins = new TwinShare();

  constructor(readonly id: number) {}

  setShift(shift: number): void {
    this.shift = shift;
    this.windowUnit = 2 ** shift;
  }

  /** Payload of a full segment on the wire; NaN where neither identifications nor SYNs tell. */
  get segmentBytes(): number {
    if (this.agreedMss > 0) return this.agreedMss - (this.timestamps ? TIMESTAMP_BYTES : 0);
    return this.ipIds.segmentBytes;
  }

  /** Sent and not acknowledged, as at the capture point. */
  get outstanding(): number {
    return this.sentMax - this.acked;
  }

  /** Smallest round trip of the whole loop, NaN while a half is missing. */
  get roundTripMinNs(): number {
    return this.ackLoopMinNs + this.echoLoopMinNs;
  }

  /** Smoothed round trip of the whole loop. */
  get roundTripNs(): number {
    if (this.isAtSender) return this.ackLoopNs + (this.echoLoopMinNs || 0);
    return Math.max(this.echoLoopNs + (this.ackLoopMinNs || 0), this.ackLoopNs + (this.echoLoopMinNs || 0));
  }

  /** Linux: smoothed round trip plus four deviations, these at least 200 ms (tcp_set_rto, TCP_RTO_MIN). */
  get timeoutNs(): number {
    const roundTrip = this.roundTripNs;
    const deviation = this.isAtSender ? this.ackLoopVarNs : this.echoLoopVarNs;
    return (Number.isNaN(roundTrip) ? 0 : roundTrip) + Math.max(200e6, 4 * deviation);
  }

  /** A sample of the loop to the peer. Source of the weights: RFC 6298 §2. */
  sampleAckLoop(sampleNs: number): void {
    if (!(sampleNs >= this.ackLoopMinNs)) {
      this.ackLoopMinNs = sampleNs;
      this.#placeCapture();
    }
    if (Number.isNaN(this.ackLoopNs)) {
      this.ackLoopNs = sampleNs;
      this.ackLoopVarNs = sampleNs / 2;
      return;
    }
    this.ackLoopVarNs += (Math.abs(sampleNs - this.ackLoopNs) - this.ackLoopVarNs) / 4;
    this.ackLoopNs += (sampleNs - this.ackLoopNs) / 8;
  }

  /** A time that the loop to this side takes at most. */
  boundEchoLoop(sampleNs: number): void {
    if (sampleNs >= this.echoLoopMinNs) return;
    this.echoLoopMinNs = sampleNs;
    this.#placeCapture();
  }

  #placeCapture(): void {
    const total = this.roundTripMinNs;
    this.isAtSender = !(total > NEAR_NS) || this.echoLoopMinNs < AT_SENDER_SHARE * total;
  }

  /** A sample of the loop to this side. */
  sampleEchoLoop(sampleNs: number): void {
    this.boundEchoLoop(sampleNs);
    if (Number.isNaN(this.echoLoopNs)) {
      this.echoLoopNs = sampleNs;
      this.echoLoopVarNs = sampleNs / 2;
      return;
    }
    this.echoLoopVarNs += (Math.abs(sampleNs - this.echoLoopNs) - this.echoLoopVarNs) / 4;
    this.echoLoopNs += (sampleNs - this.echoLoopNs) / 8;
  }

  /** Remembers a frame that filled (part of) a hole. */
  rememberFill(start: number, end: number, tsValue: number, ipId: number, tNs: number): void {
    const at = (this.fillCount++ % FILLS) * FILL_FIELDS;
    if (at === this.fills.length) this.fills = grown(this.fills, at + FILL_FIELDS);
    this.fills[at] = start;
    this.fills[at + 1] = end;
    this.fills[at + 2] = tsValue;
    this.fills[at + 3] = ipId;
    this.fills[at + 4] = tNs;
  }

  /** First word of the latest remembered fill that holds `offset`, −1 when there is none. */
  findFill(offset: number): number {
    const { fills } = this;
    for (let age = 1; age <= Math.min(this.fillCount, FILLS); age++) {
      const at = ((this.fillCount - age) % FILLS) * FILL_FIELDS;
      if (fills[at]! <= offset && offset < fills[at + 1]!) return at;
    }
    return -1;
  }
}
