// Vantage: where on the path the frames were captured, from the times that the two halves of the path take.
import type { Connection } from './connections.js';
import type { Vantage } from './results.js';

/** Below this round trip both hosts are as good as one, and which of them recorded cannot be told from times. */
const NEAR_NS = 100e3;
/** A half that takes less than this share of the whole is no path at all. */
const END_SHARE = 0.1;
/** A receiver's host answers within this; no path between two machines is as short. */
const OWN_ANSWER_NS = 15e3;
/** Larger payloads than any link carries: offloaded frames. */
const OFFLOADED_BYTES = 9216;

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
  const total = toSenderNs + toReceiverNs;
  if (total > NEAR_NS) {
    if (toSenderNs < END_SHARE * total) return 'source';
    return toReceiverNs < END_SHARE * total ? 'destination' : 'mid-path';
  }
  return Number.isNaN(total) ? fromAnswers(connection) : 'unknown';
}

/**
 * Whether the whole path was seen to take next to no time. Then a longer time on another connection between the same
 * hosts is a queue on one of them, not the path, and does not tell the place.
 */
export function isNear(connection: Connection): boolean {
  const { toSenderNs, toReceiverNs } = halfLoops(connection, 0);
  return toSenderNs + toReceiverNs <= NEAR_NS;
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
  if (bulk.ackLoopMinNs > NEAR_NS) return bulkSide === 0 ? 'source' : 'destination';
  if (bulk.ackLoopMinNs < OWN_ANSWER_NS && bulk.payloadMax <= OFFLOADED_BYTES) {
    return bulkSide === 0 ? 'destination' : 'source';
  }
  return 'unknown';
}
