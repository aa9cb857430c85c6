// Multipath TCP: joins the subflows of one connection, so that stream decoders see one stream in each direction.
//
// It stands between reassembly and the stream decoders. Rows tell which connections are subflows of which multipath
// connection (keys and tokens of the handshakes) and which data sequence their bytes have (DSS mappings); reassembly
// delivers each subflow's bytes in order; here they are put in order of the data sequence and passed on under the
// direction id of the first subflow. Everything else passes through untouched.
//
// Bytes sent on two subflows (reinjected) count once. A hole of a subflow whose mapping is known is a hole of the
// stream; one whose mapping is missing too shows when too much waits behind it, or at the end.
//
// Source: RFC 8684 §3 (options), §3.1 (keys, tokens, initial data sequence), §3.3 (mappings); RFC 6824 (version 0).
import { createHash } from 'node:crypto';
import type { PacketBatch } from '../../capture/packet-batch.js';
import {
  MULTIPATH_CONNECTIONS,
  MULTIPATH_MAPPINGS,
  REASSEMBLY_DIRECTION_BYTES,
  REASSEMBLY_TOTAL_BYTES,
} from '../../limits.js';
import { FLAG_SYN, KIND_TCP, NO_DIRECTION, OPTION_MPTCP, type SegmentRows } from '../rows.js';
import type { ClaimStream, HoleCause, StreamConsumer, StreamEnd } from '../stream.js';
import { StreamFeed } from '../stream-feed.js';

const MP_CAPABLE = 0;
const MP_JOIN = 1;
const DSS = 2;

const DSS_DATA_FIN = 0x10;
const DSS_LONG_SEQUENCE = 0x08;
const DSS_MAPPING = 0x04;
const DSS_LONG_ACK = 0x02;
const DSS_ACK = 0x01;

/** One multipath connection. Sides are those of its first subflow. */
export interface MultipathConnection {
  /** Ids of its subflows' connections; the first one names the streams. */
  readonly connections: readonly number[];
  /** Per side that sends. */
  readonly directions: readonly [MultipathDirection, MultipathDirection];
}

export interface MultipathDirection {
  /** Bytes of the data sequence delivered. */
  readonly bytes: number;
  /** Bytes that came on a second subflow again. */
  readonly reinjectedBytes: number;
  /** Bytes without a mapping in the capture: they could not be placed. */
  readonly unmappedBytes: number;
  /** Most bytes that waited for another subflow at once. */
  readonly waitingMaxBytes: number;
  /** Bytes first carried by each subflow, in the order of `connections`. */
  readonly subflowBytes: readonly number[];
}

export class Multipath {
  readonly #claim: ClaimStream;
  /** Handshakes that are not complete: the server's key by connection. */
  readonly #serverKeys = new Map<number, Key>();
  readonly #byToken = new Map<number, { session: Session; side: 0 | 1 }>();
  readonly #subflows = new Map<number, Subflow>();
  readonly #sessions: Session[] = [];
  readonly #budget = { bytes: 0 };

  /** @param claim  asked for the consumer of every joined stream, and of every stream that is not multipath */
  constructor(claim: ClaimStream) {
    this.#claim = claim;
  }

  /** Takes rows that know where they belong, before reassembly delivers their bytes. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { count } = batch;
    const { kind, options, direction } = rows;
    for (let row = 0; row < count; row++) {
      if (kind[row] !== KIND_TCP || (options[row]! & OPTION_MPTCP) === 0) continue;
      if (direction[row] === NO_DIRECTION) continue;
      const at = rows.mptcp[row]!;
      switch (batch.bytes[at + 2]! >>> 4) {
        case MP_CAPABLE:
          this.#capable(batch, rows, row, at);
          break;
        case MP_JOIN:
          this.#join(batch, rows, row, at);
          break;
        case DSS:
          this.#dss(batch, rows, row, at);
          break;
      }
    }
  }

  /** For reassembly: subflows are claimed here, everything else by whom this was made with. */
  readonly claim: ClaimStream = (direction, buffer, start, end, fromStart, tNs, frame) => {
    const subflow = this.#subflows.get(direction >>> 1);
    if (subflow === undefined) return this.#claim(direction, buffer, start, end, fromStart, tNs, frame);
    const side = (direction & 1) as 0 | 1;
    return subflow.consumer(side);
  };

  /** Ends all joined streams; call after reassembly has ended the subflows. */
  finish(): MultipathConnection[] {
    for (const session of this.#sessions) for (const stream of session.streams) stream.end();
    return this.#sessions.map((session) => ({
      connections: session.connections,
      directions: [session.streams[0].result(), session.streams[1].result()],
    }));
  }

  /** The handshake of a first subflow: SYN-ACK and third ACK carry the keys (in version 0 the SYN too). */
  #capable(batch: PacketBatch, rows: SegmentRows, row: number, at: number): void {
    const { bytes, view } = batch;
    const length = bytes[at + 1]!;
    const connection = rows.direction[row]! >>> 1;
    const side = rows.direction[row]! & 1;
    if (side === 1) {
      if (length >= 12 && rows.flags[row]! & FLAG_SYN && this.#serverKeys.size < MULTIPATH_CONNECTIONS) {
        this.#serverKeys.set(connection, keyOf(bytes, at + 4, bytes[at + 2]! & 15));
      }
      return;
    }
    if (rows.flags[row]! & FLAG_SYN || length < 20) return;
    const subflow = this.#subflows.get(connection) ?? this.#begin(bytes, at, connection);
    // Version 1: the first data, on the third ACK or after it, is mapped by this option from the first byte on.
    if (subflow && length >= 22 && rows.payloadLen[row]! > 0) subflow.mappings[0].add(0, 0, view.getUint16(at + 20));
  }

  #begin(bytes: Uint8Array, at: number, connection: number): Subflow | undefined {
    const version = bytes[at + 2]! & 15;
    const keys = [
      keyOf(bytes, at + 4, version),
      this.#serverKeys.get(connection) ?? keyOf(bytes, at + 12, version),
    ] as const;
    this.#serverKeys.delete(connection);
    if (this.#sessions.length >= MULTIPATH_CONNECTIONS) return undefined;
    const session = new Session(connection, keys, this.#claim, this.#budget);
    this.#sessions.push(session);
    this.#byToken.set(keys[0].token, { session, side: 0 });
    this.#byToken.set(keys[1].token, { session, side: 1 });
    const subflow = new Subflow(session, 0, false);
    this.#subflows.set(connection, subflow);
    return subflow;
  }

  /** A further subflow: its SYN names the receiver by token. */
  #join(batch: PacketBatch, rows: SegmentRows, row: number, at: number): void {
    const flags = rows.flags[row]!;
    if ((flags & FLAG_SYN) === 0 || batch.bytes[at + 1] !== 12) return;
    const receiver = this.#byToken.get(batch.view.getUint32(at + 4));
    const connection = rows.direction[row]! >>> 1;
    if (receiver === undefined || receiver.session.connections.includes(connection)) return;
    if (receiver.session.connections.length >= MULTIPATH_CONNECTIONS) return;
    // Whoever opened the subflow is its side 0; it may be the other end that opened the first one.
    const swapped = receiver.side === 0;
    receiver.session.connections.push(connection);
    this.#subflows.set(connection, new Subflow(receiver.session, receiver.session.connections.length - 1, swapped));
  }

  /** Where bytes of this subflow belong in the data sequence. */
  #dss(batch: PacketBatch, rows: SegmentRows, row: number, at: number): void {
    const { bytes, view } = batch;
    const subflow = this.#subflows.get(rows.direction[row]! >>> 1);
    const flags = bytes[at + 3]!;
    if (subflow === undefined || (flags & DSS_MAPPING) === 0) return;
    const end = at + bytes[at + 1]!;
    let field = at + 4;
    if (flags & DSS_ACK) field += flags & DSS_LONG_ACK ? 8 : 4;
    const long = (flags & DSS_LONG_SEQUENCE) !== 0;
    if (field + (long ? 8 : 4) + 6 > end) return;
    const side = (rows.direction[row]! & 1) as 0 | 1;
    const stream = subflow.stream(side);
    const low = view.getUint32(long ? field + 4 : field);
    const dataOffset = long ? stream.offsetOf(view.getUint32(field), low) : stream.offsetNear(low);
    field += long ? 8 : 4;
    // Subflow sequence numbers are relative: the first byte is 1.
    const subflowOffset = view.getUint32(field) - 1;
    let length = view.getUint16(field + 4);
    if (flags & DSS_DATA_FIN) {
      if (length > 0) length--; // the end takes a number of its own
      stream.finAt(dataOffset + length);
      if (length === 0) return;
    }
    // Length 0 maps all the rest: the connection fell back to plain TCP (§3.7).
    subflow.mappings[side].add(
      unwrapped(subflowOffset, rows.offset[row]!),
      dataOffset,
      length || Number.POSITIVE_INFINITY,
    );
  }
}

/** A 32-bit subflow offset as the one nearest to `near`. */
function unwrapped(offset: number, near: number): number {
  return near + ((offset - (near % 0x1_0000_0000)) | 0);
}

interface Key {
  readonly token: number;
  /** Initial data sequence number, high and low half. */
  readonly high: number;
  readonly low: number;
}

/** Token and initial data sequence of the 8-byte key at `at`: both ends of its hash. */
function keyOf(bytes: Uint8Array, at: number, version: number): Key {
  const hash = createHash(version === 0 ? 'sha1' : 'sha256')
    .update(bytes.subarray(at, at + 8))
    .digest();
  return {
    token: hash.readUInt32BE(0),
    high: hash.readUInt32BE(hash.length - 8),
    low: hash.readUInt32BE(hash.length - 4),
  };
}

class Session {
  readonly connections: number[];
  readonly streams: readonly [DataStream, DataStream];

  constructor(connection: number, keys: readonly [Key, Key], claim: ClaimStream, budget: { bytes: number }) {
    this.connections = [connection];
    this.streams = [
      new DataStream(2 * connection, keys[0], claim, budget),
      new DataStream(2 * connection + 1, keys[1], claim, budget),
    ];
  }
}

/** One TCP connection of a session. `swapped` when its side 0 is the session's side 1. */
class Subflow {
  readonly mappings: readonly [Mappings, Mappings] = [new Mappings(), new Mappings()];
  readonly #session: Session;
  readonly #index: number;
  readonly #swapped: boolean;

  constructor(session: Session, index: number, swapped: boolean) {
    this.#session = session;
    this.#index = index;
    this.#swapped = swapped;
  }

  stream(side: 0 | 1): DataStream {
    return this.#session.streams[(side ^ (this.#swapped ? 1 : 0)) as 0 | 1];
  }

  /** Receives the bytes that `side` of this subflow sends. */
  consumer(side: 0 | 1): StreamConsumer {
    const stream = this.stream(side);
    const mappings = this.mappings[side];
    const index = this.#index;
    stream.subflowOpened();
    return {
      bytes(buffer, start, end, offset, tNs, frame) {
        mappings.split(offset, end - start, (from, length, dataOffset) => {
          const at = start + from - offset;
          if (Number.isNaN(dataOffset)) stream.unmappedBytes += length;
          else stream.bytes(index, dataOffset, buffer, at, at + length, tNs, frame);
        });
        return !stream.done;
      },
      hole(offset, length, cause, tNs, frame) {
        mappings.split(offset, length, (_from, part, dataOffset) => {
          if (Number.isNaN(dataOffset)) stream.unmappedBytes += part;
          else stream.hole(dataOffset, part, cause, tNs, frame);
        });
      },
      end: (_offset, cause, tNs, frame) => stream.subflowEnded(cause, tNs, frame),
    };
  }
}

interface Mapping {
  readonly from: number;
  end: number;
  readonly dataOffset: number;
}

/** Mappings of one direction of a subflow, by subflow offset. */
class Mappings {
  /** Sorted by `from`; those behind the last split are dropped. */
  #list: Mapping[] = [];

  add(from: number, dataOffset: number, length: number): void {
    const list = this.#list;
    let at = list.length;
    while (at > 0 && list[at - 1]!.from > from) at--;
    const before = list[at - 1];
    // Repeated on every segment it covers.
    if (before && before.from === from && before.dataOffset === dataOffset) {
      if (from + length > before.end) before.end = from + length;
      return;
    }
    if (list.length < MULTIPATH_MAPPINGS) list.splice(at, 0, { from, end: from + length, dataOffset });
  }

  /** Cuts `[offset, offset + length)` where mappings meet; `dataOffset` is NaN where there is none. */
  split(offset: number, length: number, part: (from: number, length: number, dataOffset: number) => void): void {
    const end = offset + length;
    let drop = 0;
    for (const mapping of this.#list) {
      if (mapping.end <= offset) {
        drop++;
        continue;
      }
      if (mapping.from >= end) break;
      if (mapping.from > offset) {
        part(offset, mapping.from - offset, Number.NaN);
        offset = mapping.from;
      }
      const to = Math.min(end, mapping.end);
      part(offset, to - offset, mapping.dataOffset + offset - mapping.from);
      offset = to;
      if (offset === end) break;
    }
    if (drop > 0) this.#list.splice(0, drop);
    if (offset < end) part(offset, end - offset, Number.NaN);
  }
}

/** A piece that came before its turn: bytes, or a hole known to stay one. */
interface Waiting {
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | null;
  readonly cause: HoleCause;
  readonly tNs: number;
  readonly frame: number;
}

/** One direction of the data sequence. */
class DataStream {
  readonly #feed: StreamFeed;
  readonly #initial: Key;
  readonly #budget: { bytes: number };
  #next = 0;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #waitingMax = 0;
  #finOffset = Number.NaN;
  #openSubflows = 0;
  #lastEnd: { cause: StreamEnd; tNs: number; frame: number } | null = null;
  #reinjected = 0;
  readonly #subflowBytes: number[] = [];
  unmappedBytes = 0;

  constructor(direction: number, initial: Key, claim: ClaimStream, budget: { bytes: number }) {
    this.#feed = new StreamFeed(direction, claim, true);
    this.#initial = initial;
    this.#budget = budget;
  }

  get done(): boolean {
    return this.#feed.done;
  }

  /** Stream offset of a 64-bit data sequence number; the first byte is the one behind the initial number. */
  offsetOf(high: number, low: number): number {
    return ((high - this.#initial.high) | 0) * 0x1_0000_0000 + (low - this.#initial.low) - 1;
  }

  /** Stream offset of the low 32 bits of a data sequence number, near to what is expected next. */
  offsetNear(low: number): number {
    const near = this.#next;
    return near + ((low - this.#initial.low - 1 - (near % 0x1_0000_0000)) | 0);
  }

  finAt(offset: number): void {
    this.#finOffset = offset;
  }

  subflowOpened(): void {
    this.#openSubflows++;
  }

  /** The stream ends with its last subflow; unless data is still to come, over another one that opens later. */
  subflowEnded(cause: StreamEnd, tNs: number, frame: number): void {
    this.#lastEnd = { cause, tNs, frame };
    if (--this.#openSubflows === 0 && this.#next === this.#finOffset) this.end();
  }

  /** Nothing more comes: passes on what waits. */
  end(): void {
    if (this.#lastEnd === null) return;
    const { cause, tNs, frame } = this.#lastEnd;
    while (this.#waiting.length > 0 && !this.done) this.#giveUp(tNs, frame);
    this.#feed.end(this.#next === this.#finOffset ? 'fin' : cause, tNs, frame);
  }

  bytes(
    subflow: number,
    offset: number,
    buffer: Uint8Array,
    start: number,
    end: number,
    tNs: number,
    frame: number,
  ): void {
    const length = end - start;
    const known = Math.min(length, Math.max(0, this.#next - offset));
    this.#reinjected += known;
    this.#subflowBytes[subflow] = (this.#subflowBytes[subflow] ?? 0) + length - known;
    if (known === length || this.done) return;
    if (offset > this.#next) {
      this.#wait({ offset, length, bytes: buffer.slice(start, end), cause: 'given-up', tNs, frame });
    } else {
      this.#pass(buffer, start + known, end, tNs, frame);
      this.#drain();
    }
  }

  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    const known = Math.min(length, Math.max(0, this.#next - offset));
    if (known === length || this.done) return;
    if (offset > this.#next) {
      this.#wait({ offset, length, bytes: null, cause, tNs, frame });
    } else {
      this.#passHole(length - known, cause, tNs, frame);
      this.#drain();
    }
  }

  result(): MultipathDirection {
    return {
      bytes: this.#next,
      reinjectedBytes: this.#reinjected,
      unmappedBytes: this.unmappedBytes,
      waitingMaxBytes: this.#waitingMax,
      subflowBytes: Array.from(this.#subflowBytes, (bytes) => bytes ?? 0),
    };
  }

  #pass(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): void {
    this.#next += end - start;
    this.#feed.bytes(buffer, start, end, tNs, frame);
  }

  #passHole(length: number, cause: HoleCause, tNs: number, frame: number): void {
    this.#next += length;
    this.#feed.hole(length, cause, tNs, frame);
  }

  #wait(piece: Waiting): void {
    const waiting = this.#waiting;
    let at = waiting.length;
    while (at > 0 && waiting[at - 1]!.offset > piece.offset) at--;
    waiting.splice(at, 0, piece);
    this.#account(piece, 1);
    while (
      this.#waiting.length > 0 &&
      (this.#waitingBytes > REASSEMBLY_DIRECTION_BYTES || this.#budget.bytes > REASSEMBLY_TOTAL_BYTES)
    ) {
      this.#giveUp(piece.tNs, piece.frame);
    }
  }

  /** Gives up what is missing before the first piece that waits. */
  #giveUp(tNs: number, frame: number): void {
    const missing = this.#waiting[0]!.offset - this.#next;
    if (missing > 0) this.#passHole(missing, 'given-up', tNs, frame);
    this.#drain();
  }

  #drain(): void {
    const waiting = this.#waiting;
    let taken = 0;
    while (taken < waiting.length && waiting[taken]!.offset <= this.#next) {
      const piece = waiting[taken++]!;
      this.#account(piece, -1);
      const known = Math.min(piece.length, this.#next - piece.offset);
      if (piece.bytes === null) {
        if (known < piece.length) this.#passHole(piece.length - known, piece.cause, piece.tNs, piece.frame);
      } else {
        this.#reinjected += known;
        if (known < piece.length) this.#pass(piece.bytes, known, piece.length, piece.tNs, piece.frame);
      }
    }
    if (taken > 0) waiting.splice(0, taken);
  }

  #account(piece: Waiting, sign: 1 | -1): void {
    const bytes = sign * ((piece.bytes?.length ?? 0) + PIECE_OVERHEAD_BYTES);
    this.#waitingBytes += bytes;
    this.#budget.bytes += bytes;
    if (this.#waitingBytes > this.#waitingMax) this.#waitingMax = this.#waitingBytes;
  }
}

/** What one waiting piece costs beside its bytes. */
const PIECE_OVERHEAD_BYTES = 64;
