// Tracker: follows both directions of every connection and finds out what each row was.
//
// It takes rows whose place in their streams is known, and neither looks at the bytes of frames nor at addresses, so it may
// run on another thread than what finds connections and puts bytes in order.
import type { AnomalyLog } from '../../anomaly.js';
import {
  FLAG_ACK,
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  NO_DIRECTION,
  OPTION_MSS,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMP,
  OPTION_WINDOW_SCALE,
  OPTIONS_CUT,
  type SegmentRows,
  TRIGGER_NONE,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_NONE,
} from '../rows.js';
import { createAcknowledge } from './acknowledge.js';
import { Direction } from './direction.js';
import { createTransmit } from './transmit.js';
import { createTwinSearch, TWIN_NONE, TWIN_OTHER_PLACE } from './twins.js';
import { countMarks } from './vantage.js';

/** Source: RFC 7323 §2.3. */
const WINDOW_SCALE_MAX = 14;

/** What both sides of a connection have done so far. Times in ns since the capture's first frame, NaN where not seen. */
export class Connection {
  readonly directions: readonly [Direction, Direction];
  endNs = Number.NaN;
  /** First SYN, first SYN-ACK, and the first ACK that completes the handshake. */
  synNs = Number.NaN;
  synAckNs = Number.NaN;
  establishedNs = Number.NaN;
  /** SYN or SYN-ACK were sent more than once: times between them prove nothing. */
  handshakeRepeated = false;
  /** Side whose FIN or RST came first, −1 while neither has. */
  closedFirstBy = -1;
  reset = false;
  /** SYN-ACK seen, what follows it not yet. */
  opening = false;
  frames = 0;

  constructor(
    readonly id: number,
    readonly firstFrame: number,
    readonly startNs: number,
  ) {
    this.endNs = startNs;
    this.directions = [new Direction(2 * id), new Direction(2 * id + 1)];
  }

  /** Both sides have sent FIN, or one has sent RST. */
  get closed(): boolean {
    return this.reset || (this.directions[0].finSent && this.directions[1].finSent);
  }
}

export interface Tracker {
  /** The connection that has this id at present; it must have had a row. */
  connection(id: number): Connection;
  /** The id passes on to a new connection. */
  forget(id: number): void;
  /** Fills the last part of rows [from, to), which know their place. `zeroFrame`: number that a frame in row 0 would have. */
  push(from: number, to: number, zeroFrame: number): void;
}

/** @param rows  all that will ever be tracked, see MetricContext */
export function createTracker(rows: SegmentRows, log: AnomalyLog): Tracker {
  const { direction, clockNs, marks, flags, payloadLen, verdict, trigger, newBytes, segments } = rows;
  const { loopNs, flight, pipe, room, windowBytes, reactionNs, unseenBytes } = rows;
  const findTwin = createTwinSearch(rows);
  const acknowledge = createAcknowledge(rows);
  const transmit = createTransmit(rows);
  /** By id. */
  const connections: (Connection | undefined)[] = [];

  const add = (id: number, frame: number, tNs: number): Connection => {
    // Filled without gaps, the array stays a plain one.
    while (connections.length <= id) connections.push(undefined);
    const connection = new Connection(id, frame, tNs);
    connections[id] = connection;
    return connection;
  };

  /** Puts "nothing known" into rows [from, to). */
  const clear = (from: number, to: number): void => {
    verdict.fill(VERDICT_NONE, from, to);
    newBytes.fill(0, from, to);
    trigger.fill(TRIGGER_NONE, from, to);
    segments.fill(0, from, to);
    loopNs.fill(Number.NaN, from, to);
    flight.fill(Number.NaN, from, to);
    pipe.fill(Number.NaN, from, to);
    room.fill(Number.NaN, from, to);
    windowBytes.fill(Number.NaN, from, to);
    reactionNs.fill(Number.NaN, from, to);
    unseenBytes.fill(0, from, to);
  };

  const noteCopy = (frame: number, row: number, sender: Direction): void =>
    log.note('tcp/captured-twice', { frame, tNs: clockNs[row]!, direction: sender.id });

  /** A copy that was cut differently from the first: the capture's, too, where nearly all frames have one. */
  const judgeCopy = (row: number, frame: number, sender: Direction): void => {
    sender.dataTwins.countLate(payloadLen[row]!);
    if (!sender.dataTwins.doubled) return;
    verdict[row] = VERDICT_CAPTURE_DUPLICATE;
    flight[row] = pipe[row] = Number.NaN;
    noteCopy(frame, row, sender);
  };

  return {
    connection: (id) => connections[id]!,
    forget(id) {
      connections[id] = undefined;
    },
    push(from, to, zeroFrame) {
      clear(from, to);
      for (let row = from; row < to; row++) {
        const of = direction[row]!;
        if (of === NO_DIRECTION) continue;
        const connection = connections[of >>> 1] ?? add(of >>> 1, zeroFrame + row, clockNs[row]!);
        const side = (of & 1) as 0 | 1;
        connection.frames++;
        // Whoever needs the time reads it from the row: as an argument it would be put on the heap for every frame.
        connection.endNs = clockNs[row]!;
        const sender = connection.directions[side]!;
        const receiver = connection.directions[1 - side]!;
        const mark = marks[row]!;
        if (mark !== 0) countMarks(mark, sender);
        const flag = flags[row]!;
        const length = payloadLen[row]!;
        const twin = findTwin(row, connection.frames, sender);
        const share = length > 0 ? sender.dataTwins : sender.ackTwins;
        share.count(twin, length);
        if (twin !== TWIN_NONE) {
          const byCapture = twin === TWIN_OTHER_PLACE || share.doubled;
          verdict[row] = byCapture ? VERDICT_CAPTURE_DUPLICATE : VERDICT_NETWORK_DUPLICATE;
          if (byCapture) noteCopy(zeroFrame + row, row, sender);
          continue;
        }
        if (flag & (FLAG_SYN | FLAG_FIN | FLAG_RST)) track(connection, side, rows, row);
        else if (connection.opening) completeHandshake(connection, side, rows, row);
        if (flag & FLAG_ACK) acknowledge(row, receiver, sender);
        transmit(row, sender);
        if (verdict[row] === VERDICT_NETWORK_DUPLICATE) judgeCopy(row, zeroFrame + row, sender);
      }
    },
  };
}

/** Follows a connection's opening and closing. */
function track(connection: Connection, side: 0 | 1, rows: SegmentRows, row: number): void {
  const tNs = rows.clockNs[row]!;
  const flags = rows.flags[row]!;
  const [client, server] = connection.directions;
  if (flags & FLAG_SYN) {
    const sender = connection.directions[side];
    readSynOptions(sender, rows, row);
    if (flags & FLAG_ACK) {
      if (Number.isNaN(connection.synAckNs)) {
        connection.synAckNs = tNs;
        connection.opening = true;
        if (!connection.handshakeRepeated && connection.synNs <= tNs) {
          client.sampleAckLoop(tNs - connection.synNs);
          server.sampleEchoLoop(tNs - connection.synNs);
        }
      } else connection.handshakeRepeated = true;
      agree(client, server);
    } else if (Number.isNaN(connection.synNs)) connection.synNs = tNs;
    else connection.handshakeRepeated = true;
  }
  if (flags & FLAG_RST) connection.reset = true;
  if (flags & (FLAG_RST | FLAG_FIN) && connection.closedFirstBy < 0) connection.closedFirstBy = side;
}

/** The client's first frame after the SYN-ACK completes the handshake. */
function completeHandshake(connection: Connection, side: 0 | 1, rows: SegmentRows, row: number): void {
  if (side !== 0) return;
  const tNs = rows.clockNs[row]!;
  connection.opening = false;
  connection.establishedNs = tNs;
  if (connection.handshakeRepeated) return;
  const [client, server] = connection.directions;
  server.sampleAckLoop(tNs - connection.synAckNs);
  client.sampleEchoLoop(tNs - connection.synAckNs);
}

function readSynOptions(sender: Direction, rows: SegmentRows, row: number): void {
  const options = rows.options[row]!;
  sender.synOptionsWhole = (options & OPTIONS_CUT) === 0;
  if (options & OPTION_MSS) sender.mss = rows.mss[row]!;
  if (options & OPTION_WINDOW_SCALE) sender.windowScale = Math.min(rows.windowScale[row]!, WINDOW_SCALE_MAX);
  if (options & OPTION_SACK_PERMITTED) sender.sackPermitted = true;
  if (options & OPTION_TIMESTAMP) sender.timestamps = true;
}

/** What the two SYNs agreed on: an option counts only when both carry it. */
function agree(client: Direction, server: Direction): void {
  // A SYN-ACK may answer only what the SYN offered, so its option speaks for both (RFC 7323 §2.2).
  if (!Number.isNaN(server.windowScale)) {
    server.setShift(server.windowScale);
    client.setShift(client.windowScale);
  }
  const noScale = (side: Direction): boolean => side.synOptionsWhole && Number.isNaN(side.windowScale);
  if (noScale(client) || noScale(server)) {
    server.setShift(0);
    client.setShift(0);
  }
  const noSack = (side: Direction): boolean => side.synOptionsWhole && !side.sackPermitted;
  if (noSack(client) || noSack(server)) client.sackUsable = server.sackUsable = false;
  // An offer that was not taken up: frames carry none (RFC 7323 §3.2). A frame that does anyway speaks for itself.
  const noStamp = (side: Direction): boolean => side.synOptionsWhole && !side.timestamps;
  if (noStamp(client) || noStamp(server)) client.timestamps = server.timestamps = false;
  const agreed = Number.isNaN(client.mss)
    ? server.mss
    : Number.isNaN(server.mss)
      ? client.mss
      : Math.min(client.mss, server.mss);
  client.agreedMss = server.agreedMss = agreed;
}
