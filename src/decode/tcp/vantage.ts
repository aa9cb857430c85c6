// Vantage: where on the path the frames were captured, from the times that the two halves of the path take; where these are
// too short, from the marks that the capturing host leaves on frames of its own.
import { type PacketBatch, WAY_IN, WAY_OUT, WAY_UNKNOWN } from '../../capture/packet-batch.js';
import { isUnfinished } from '../path-signs.js';
import { MARK_FINISHED, MARK_IN, MARK_OUT, MARK_UNFINISHED, type SegmentRows } from '../rows.js';
import type { Direction } from './direction.js';
import type { Vantage } from './results.js';
import type { Connection } from './tracker.js';

/**
 * Below this round trip both hosts are as good as one, and which of them recorded cannot be told from times. Without a
 * handshake, which kernels answer at once, the shortest time may be an application's.
 */
const NEAR_NS = 100e3;
const NEAR_UNSURE_NS = 1e6;
/** A half that takes less than this share of the whole is no path at all. */
const END_SHARE = 0.1;
/** A receiver's host answers within this; no path between two machines is as short. */
const OWN_ANSWER_NS = 15e3;
/** Larger payloads than any link carries: offloaded frames. */
const OFFLOADED_BYTES = 9216;
/** Time that a shaper on the sender's own host may hold frames: a few offloaded frames at some Mbit/s. */
const SHAPED_NS = 15e6;
/** Data frames among whose answers one was surely prompt. */
const ANSWERED_FRAMES = 100;
/** Data frames that time a loop by their acknowledgements. */
const TIMED_FRAMES = 10;

export interface HalfLoops {
  /** Least time from the capture point to the side that sends and back, and to the other side. NaN where not seen. */
  readonly toSenderNs: number;
  readonly toReceiverNs: number;
}

/** The two halves of the path as seen from `side`, from the frames of both directions. */
export function halfLoops(connection: Connection, side: 0 | 1): HalfLoops {
  const own = connection.directions[side];
  const other = connection.directions[1 - side]!;
  return {
    toSenderNs: least(own.echoLoopMinNs, other.ackLoopMinNs),
    toReceiverNs: least(own.ackLoopMinNs, other.echoLoopMinNs),
  };
}

const least = (a: number, b: number): number => (Number.isNaN(a) ? b : a < b ? a : Number.isNaN(b) ? a : b);

/** Where the capture point sits, 'source' meaning at side 0. */
export function vantageOf(connection: Connection): Vantage {
  const { toSenderNs, toReceiverNs } = halfLoops(connection, 0);
  const total = isTimed(connection) ? toSenderNs + toReceiverNs : Number.NaN;
  if (total > nearNs(connection) && !mayBeShaped(connection, Math.min(toSenderNs, toReceiverNs), total)) {
    if (toSenderNs < END_SHARE * total) return 'source';
    return toReceiverNs < END_SHARE * total ? 'destination' : 'mid-path';
  }
  const marked = vantageByMarks(connection);
  return marked === 'unknown' && Number.isNaN(total) ? fromAnswers(connection) : marked;
}

/**
 * Whether the longer half may be a shaper between the sender and the capture point on the same host, with the receiver next
 * to it: offloaded frames, answered at once, and no handshake that passed before the shaper had a queue.
 */
function mayBeShaped(connection: Connection, shorterNs: number, totalNs: number): boolean {
  if (hasHandshake(connection) || totalNs > SHAPED_NS || shorterNs > OWN_ANSWER_NS) return false;
  return connection.directions.some(
    ({ payloadMax, ipIds }) => payloadMax > Math.min(OFFLOADED_BYTES, ipIds.segmentBytes || OFFLOADED_BYTES),
  );
}

/** First frames of a connection whose marks are looked at, and marks that make sure. */
export const MARKED_FRAMES = 64;
const MARKS_MIN = 4;
/** Where Linux cooked headers say which way a frame went. Source: LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2 of the tcpdump group. */
const COOKED = 113;
const COOKED_2 = 276;
const COOKED_2_TYPE_AT = 10;
const TYPE_TO_US = 0;
const TYPE_FROM_US = 4;

/** The marks on a frame, MARK_… bits. */
export function marksOf(batch: PacketBatch, rows: SegmentRows, row: number): number {
  const way = wayOf(batch, row);
  const ofHost = way === WAY_OUT ? MARK_OUT : way === WAY_IN ? MARK_IN : 0;
  return ofHost | (isUnfinished(batch, rows, row) ? MARK_UNFINISHED : MARK_FINISHED);
}

/** Takes the marks on a frame that `sender` sent. */
export function countMarks(marks: number, sender: Direction): void {
  if (marks & MARK_OUT) sender.markedOut++;
  else if (marks & MARK_IN) sender.markedIn++;
  if (marks & MARK_UNFINISHED) sender.unfinished++;
  else if (marks & MARK_FINISHED) sender.finished++;
}

function wayOf(batch: PacketBatch, row: number): number {
  if (batch.way[row] !== WAY_UNKNOWN) return batch.way[row]!;
  const at = batch.start[row]!;
  const linkType = batch.interfaces[batch.iface[row]!]?.linkType;
  const type =
    linkType === COOKED
      ? batch.view.getUint16(at)
      : linkType === COOKED_2
        ? batch.bytes[at + COOKED_2_TYPE_AT]
        : undefined;
  return type === TYPE_FROM_US ? WAY_OUT : type === TYPE_TO_US ? WAY_IN : WAY_UNKNOWN;
}

/**
 * The end whose host marked its own frames: as going out, or with checksums that only a network card would finish. A host
 * that forwards marks every frame both ways, and on a virtual link no checksum is ever finished: those tell nothing.
 */
export function vantageByMarks({ directions: [first, second] }: Connection): Vantage {
  if (isOwn(first, second)) return 'source';
  return isOwn(second, first) ? 'destination' : 'unknown';
}

function isOwn(own: Direction, other: Direction): boolean {
  const ways = own.markedIn === 0 && other.markedOut === 0;
  if (ways && own.markedOut >= MARKS_MIN && other.markedIn >= MARKS_MIN) return true;
  const checksums = own.finished === 0 && other.unfinished === 0;
  return checksums && own.unfinished >= MARKS_MIN && other.finished >= MARKS_MIN;
}

/** Both halves are timed by more than the few messages of an application that may have taken its time. */
function isTimed(connection: Connection): boolean {
  if (hasHandshake(connection)) return true;
  return connection.directions.every(
    (own, side) => own.echoLoopMinNs >= 0 || connection.directions[1 - side]!.dataFrames >= TIMED_FRAMES,
  );
}

const hasHandshake = ({ synNs, synAckNs, handshakeRepeated }: Connection): boolean =>
  synAckNs >= synNs && !handshakeRepeated;

/** Round trip up to which the path is none to speak of. */
const nearNs = (connection: Connection): number => (hasHandshake(connection) ? NEAR_NS : NEAR_UNSURE_NS);

/**
 * Whether the whole path was seen to take next to no time. Then a longer time on another connection between the same
 * hosts is a queue on one of them, not the path, and does not tell the place.
 */
export function isNear(connection: Connection): boolean {
  const { toSenderNs, toReceiverNs } = halfLoops(connection, 0);
  return toSenderNs + toReceiverNs <= nearNs(connection);
}

/**
 * Without handshake and timestamps only one half of the path is timed: from the capture point to the receiver of the bulk
 * and back. A half that takes time is a path, so the capture point is at the sender (or on the way); an answer within
 * microseconds is the receiver's own. Unless both hosts are one machine, where offloaded frames pass between them as they are.
 */
function fromAnswers(connection: Connection): Vantage {
  const [first, second] = connection.directions;
  const bulkSide = first.sentMax >= second.sentMax ? 0 : 1;
  const bulk = connection.directions[bulkSide];
  if (bulk.dataFrames < ANSWERED_FRAMES) return 'unknown';
  if (bulk.ackLoopMinNs > NEAR_NS) return bulkSide === 0 ? 'source' : 'destination';
  if (bulk.ackLoopMinNs < OWN_ANSWER_NS && bulk.payloadMax <= OFFLOADED_BYTES) {
    return bulkSide === 0 ? 'destination' : 'source';
  }
  return 'unknown';
}
