// RoCE version 1 and 2: RDMA over Ethernet. Nothing is encrypted: packet sequence, acknowledgements, congestion signals,
// and for every write where it went.
//
// A connection is a pair of queue pairs. Requests of one side (SEND, WRITE, READ) count packet sequence numbers of that
// side; acknowledgements and READ responses repeat the number they answer. Retransmission is go-back-N, so a number seen
// before is a retransmission; a gap is loss before the capture point; a NAK is loss behind it.
//
// Source: InfiniBand Architecture Specification 1, chapters 9 (transport) and 12 (communication management), annex A17.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { KIND_ROCE_V1, KIND_UDP, type SegmentRows } from '../rows.js';
import type { HoleCause } from '../stream.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { type OrderedPackets, PacketOrder } from './packet-order.js';
import { QemuRdma } from './qemu-rdma.js';
import type { StreamSource } from './streams.js';

/** UDP destination port of RoCEv2, both ways. */
export const ROCE_PORT = 4791;

/** Base transport header: opcode, flags, partition, congestion bits, queue pair, acknowledge request, sequence. */
const BTH_BYTES = 12;
const RETH_BYTES = 16;
const AETH_BYTES = 4;
const DETH_BYTES = 8;
const IMMEDIATE_BYTES = 4;
/** Invariant check sum at the end. */
const ICRC_BYTES = 4;

const TRANSPORT_RC = 0;
const TRANSPORT_UC = 1;
const TRANSPORT_UD = 3;
const CNP = 0x81;
const UD_SEND_ONLY = 0x64;

// Operations: the low five bits of the opcode.
const SEND_FIRST = 0x00;
const SEND_ONLY = 0x04;
const SEND_ONLY_IMMEDIATE = 0x05;
const WRITE_FIRST = 0x06;
const WRITE_ONLY = 0x0a;
const WRITE_ONLY_IMMEDIATE = 0x0b;
const READ_REQUEST = 0x0c;
const READ_RESPONSE_FIRST = 0x0d;
const READ_RESPONSE_MIDDLE = 0x0e;
const ATOMIC_ACKNOWLEDGE = 0x12;
const SEND_LAST_INVALIDATE = 0x16;
const SEND_ONLY_INVALIDATE = 0x17;
/** Operations that end a message. */
const LAST = new Set([0x02, 0x03, 0x04, 0x05, 0x08, 0x09, 0x0a, 0x0b, SEND_LAST_INVALIDATE, SEND_ONLY_INVALIDATE]);
const SENDS = new Set([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, SEND_LAST_INVALIDATE, SEND_ONLY_INVALIDATE]);
/** Operations followed by immediate data, or by a key to invalidate. */
const WITH_IMMEDIATE = new Set([0x03, 0x05, 0x09, 0x0b, SEND_LAST_INVALIDATE, SEND_ONLY_INVALIDATE]);

/** Management queue pair; communication management is its class 7. */
const MANAGEMENT_QP = 1;
const MAD_HEADER_BYTES = 24;
const MAD_CLASS_CM = 7;
const CM_REQUEST = 0x0010;
const CM_REPLY = 0x0013;
const CM_DISCONNECT_REQUEST = 0x0015;
/** In the private data of both: what RDMA-CM puts in front of the user's (request only). */
const IP_CM_HEADER_BYTES = 36;

/** Packets whose fate is remembered. */
const WINDOW_PACKETS = 65_536;
const SEEN = 1;
const MISSING = 2;
/** Named in a NAK. */
const REPORTED = 4;

/** Longest message kept to be read. Beyond: its beginning only. */
const MESSAGE_BYTES = 128 << 10;
const CONNECTIONS_PER_FLOW = 64;
/** ECN field of a packet that met congestion. */
const CONGESTION_EXPERIENCED = 3;
const UNKNOWN_QP = -1;

export function roce(streams: StreamSource): Transport {
  return {
    id: 'roce',
    recognise(batch, rows, row) {
      if (rows.kind[row] === KIND_ROCE_V1) return true;
      if (rows.kind[row] !== KIND_UDP || (rows.ports[row]! & 0xffff) !== ROCE_PORT) return false;
      if (rows.payloadCap[row]! < BTH_BYTES || rows.payloadLen[row]! < BTH_BYTES + ICRC_BYTES) return false;
      const at = rows.payload[row]!;
      const opcode = batch.bytes[at]!;
      return (batch.bytes[at + 1]! & 15) === 0 && (opcode === CNP || opcode >>> 5 <= TRANSPORT_UD);
    },
    open: (flow) => new RoceFlow(flow, streams),
  };
}

class RoceFlow implements TransportFlow {
  readonly #flow: Flow;
  readonly #streams: StreamSource;
  readonly #connections: RoceConnection[] = [];
  #version = 2;
  #congestionMarks = 0;
  #congestionNotifications = 0;
  #connectionsRefusedOrClosed = 0;
  #malformed = 0;

  constructor(flow: Flow, streams: StreamSource) {
    this.#flow = flow;
    this.#streams = streams;
    flow.sequenced(0);
    flow.sequenced(1);
  }

  get name(): string {
    return this.#version === 1 ? 'roce-v1' : 'roce';
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    if (rows.kind[row] === KIND_ROCE_V1) this.#version = 1;
    else if (rows.ecn[row] === CONGESTION_EXPERIENCED) this.#congestionMarks++;
    const at = rows.payload[row]!;
    const captured = rows.payloadCap[row]!;
    const length = rows.payloadLen[row]!;
    const { bytes, view } = batch;
    if (captured < BTH_BYTES || length < BTH_BYTES + ICRC_BYTES) {
      this.#malformed++;
      return;
    }
    const opcode = bytes[at]!;
    if (opcode === CNP) {
      this.#congestionNotifications++;
      return;
    }
    const transport = opcode >>> 5;
    const queuePair = view.getUint32(at + 4) & 0xff_ffff;
    if (transport === TRANSPORT_UD) {
      if (opcode === UD_SEND_ONLY && queuePair === MANAGEMENT_QP) this.#manage(view, at, captured, side);
      return;
    }
    if (transport !== TRANSPORT_RC && transport !== TRANSPORT_UC) return;
    const connection = this.#connection(side, queuePair);
    const operation = opcode & 31;
    if (isResponse(operation)) {
      connection.directions[other(side)].response(view, at, captured, operation);
    } else if (operation <= SEND_ONLY_INVALIDATE) {
      connection.directions[side].request(bytes, view, at, captured, length, operation);
    } else {
      this.#malformed++;
    }
  }

  finish(): Facts {
    for (const connection of this.#connections) connection.end();
    const directions = this.#connections.flatMap((connection) => connection.directions);
    const sum = (of: (direction: RoceDirection) => number): number => directions.reduce((a, d) => a + of(d), 0);
    const migration = this.#connections.map(({ qemu }) => qemu?.facts()).find((facts) => facts?.['qemuMigration']);
    const pinAll = this.#connections.find((connection) => connection.pinAll !== null)?.pinAll ?? null;
    return {
      connections: this.#connections.length,
      connectionsClosed: this.#connectionsRefusedOrClosed,
      malformedDatagrams: this.#malformed,
      writes: sum((d) => d.writes),
      writtenBytes: sum((d) => d.writtenBytes),
      sends: sum((d) => d.sends),
      uniquePayloadBytes: sum((d) => d.uniqueBytes),
      packetPayloadBytes: Math.max(0, ...directions.map((d) => d.fullBytes)) || null,
      unseenPackets: sum((d) => d.unseenPackets),
      sequenceNaks: sum((d) => d.sequenceNaks),
      otherNaks: sum((d) => d.otherNaks),
      receiverNotReadyNaks: sum((d) => d.notReadyNaks),
      congestionMarks: this.#congestionMarks,
      congestionNotifications: this.#congestionNotifications,
      pinAll,
      ...this.#flow.rttFacts(),
      ...(migration ?? { qemuMigration: false }),
    };
  }

  #connection(side: 0 | 1, queuePair: number): RoceConnection {
    const connections = this.#connections;
    for (const connection of connections) if (connection.queuePairs[other(side)] === queuePair) return connection;
    const free = connections.find((connection) => connection.queuePairs[other(side)] === UNKNOWN_QP);
    const connection = free ?? this.#add();
    if (connection.queuePairs[other(side)] === UNKNOWN_QP) connection.queuePairs[other(side)] = queuePair;
    return connection;
  }

  #add(): RoceConnection {
    if (this.#connections.length >= CONNECTIONS_PER_FLOW) return this.#connections.at(-1)!;
    const connection = new RoceConnection(this.#flow, this.#streams);
    this.#connections.push(connection);
    return connection;
  }

  /**
   * Communication management: which queue pairs belong together and where their numbers start (chapter 12.6).
   *
   * REQ holds the sender's communication id, queue pair (byte 32) and first sequence number (byte 44), private data from
   * byte 140; REP both ids, queue pair (12) and first number (20), private data from byte 36.
   */
  #manage(view: DataView, at: number, captured: number, side: 0 | 1): void {
    const mad = at + BTH_BYTES + DETH_BYTES;
    const end = at + captured;
    if (mad + MAD_HEADER_BYTES > end || view.getUint8(mad + 1) !== MAD_CLASS_CM) return;
    const message = mad + MAD_HEADER_BYTES;
    const attribute = view.getUint16(mad + 16);
    if (attribute === CM_REQUEST && message + 140 + IP_CM_HEADER_BYTES + 8 <= end) {
      const connection = this.#add();
      connection.communicationId = view.getUint32(message);
      connection.queuePairs[side] = view.getUint32(message + 32) >>> 8;
      connection.directions[side].startsAt(view.getUint32(message + 44) >>> 8);
      connection.privateData(view, message + 140 + IP_CM_HEADER_BYTES);
    } else if (attribute === CM_REPLY && message + 36 + 8 <= end) {
      const id = view.getUint32(message + 4);
      const connection = this.#connections.find((one) => one.communicationId === id);
      if (connection === undefined) return;
      connection.queuePairs[side] = view.getUint32(message + 12) >>> 8;
      connection.directions[side].startsAt(view.getUint32(message + 20) >>> 8);
    } else if (attribute === CM_DISCONNECT_REQUEST) {
      this.#connectionsRefusedOrClosed++;
    }
  }
}

const other = (side: 0 | 1): 0 | 1 => (side === 0 ? 1 : 0);

const isResponse = (operation: number): boolean => operation >= READ_RESPONSE_FIRST && operation <= ATOMIC_ACKNOWLEDGE;

class RoceConnection {
  /** Queue pair number of each side. */
  readonly queuePairs: [number, number] = [UNKNOWN_QP, UNKNOWN_QP];
  readonly directions: readonly [RoceDirection, RoceDirection];
  readonly qemu: QemuRdma | null;
  communicationId = -1;
  /** QEMU registered all memory at once; null where it did not say. */
  pinAll: boolean | null = null;

  constructor(flow: Flow, streams: StreamSource) {
    const pair = streams.open(flow);
    this.qemu = pair === null ? null : new QemuRdma(flow, streams, pair);
    this.directions = [new RoceDirection(flow, 0, streams, this.qemu), new RoceDirection(flow, 1, streams, this.qemu)];
  }

  /** QEMU's capabilities: version 1, flags of which bit 0 is pin-all (RDMACapabilities). */
  privateData(view: DataView, at: number): void {
    if (view.getUint32(at) === 1) this.pinAll = (view.getUint32(at + 4) & 1) === 1;
  }

  end(): void {
    for (const direction of this.directions) direction.end();
    this.qemu?.end('capture-end');
  }
}

/** Requests of one side, with what the other side answers. */
class RoceDirection implements OrderedPackets {
  readonly #flow: Flow;
  readonly #side: 0 | 1;
  readonly #streams: StreamSource;
  readonly #qemu: QemuRdma | null;
  #order: PacketOrder | null = null;
  #initial = -1;
  /** Highest packet number used, unwrapped; −1 before the first. */
  #highest = -1;
  #fate = new Uint8Array(0);
  // The message being received: its beginning, bytes kept, bytes in all.
  #message = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));
  #kept = 0;
  #length = 0;
  /** Bytes are missing in it, so that nothing behind them can be kept; also true before the first message begins. */
  #broken = true;
  /** The request whose acknowledgement is timed: its number and time. */
  #timedNumber = Number.NaN;
  #timedNs = 0;
  #acknowledgedTo = -1;
  writes = 0;
  writtenBytes = 0;
  sends = 0;
  uniqueBytes = 0;
  fullBytes = 0;
  unseenPackets = 0;
  sequenceNaks = 0;
  otherNaks = 0;
  notReadyNaks = 0;

  constructor(flow: Flow, side: 0 | 1, streams: StreamSource, qemu: QemuRdma | null) {
    this.#flow = flow;
    this.#side = side;
    this.#streams = streams;
    this.#qemu = qemu;
  }

  startsAt(sequence: number): void {
    if (this.#highest < 0) this.#initial = sequence;
  }

  request(bytes: Uint8Array, view: DataView, at: number, captured: number, length: number, operation: number): void {
    if (this.#qemu === null) return; // beyond the bound: totals only
    const word = view.getUint32(at + 8);
    const sequence = word & 0xff_ffff;
    if (this.#highest < 0) this.#begin(sequence);
    const number = this.#unwrap(sequence);
    const isFirst = this.#judge(number);
    const payload = payloadBytes(operation, bytes[at + 1]!, length);
    if (payload > this.fullBytes) this.fullBytes = payload;
    if (!isFirst) {
      if (number >= this.#timedNumber) this.#timedNumber = Number.NaN; // its answer may be that of either copy
      return;
    }
    this.uniqueBytes += payload;
    const { tNs, frame } = this.#flow;
    if (word >>> 31 && Number.isNaN(this.#timedNumber)) {
      this.#timedNumber = number;
      this.#timedNs = tNs;
    }
    // Of writes only the headers are wanted.
    const wanted = SENDS.has(operation) ? captured : Math.min(captured, BTH_BYTES + RETH_BYTES);
    this.#order!.packet(number, bytes, at, at + wanted, length, tNs, frame);
    if (operation === READ_REQUEST && captured >= BTH_BYTES + RETH_BYTES) {
      this.#reserve(number, view.getUint32(at + BTH_BYTES + 12));
    }
  }

  /** Acknowledgement or READ response of the other side. */
  response(view: DataView, at: number, captured: number, operation: number): void {
    if (this.#highest < 0 || captured < BTH_BYTES + AETH_BYTES) return;
    const flow = this.#flow;
    const number = this.#unwrap(view.getUint32(at + 8) & 0xff_ffff);
    if (number > this.#highest || number <= this.#highest - WINDOW_PACKETS) return;
    let acknowledged = number + 1;
    if (operation !== READ_RESPONSE_MIDDLE) {
      const syndrome = view.getUint8(at + BTH_BYTES);
      switch (syndrome >>> 5) {
        case 0:
          break;
        case 1:
          this.notReadyNaks++;
          acknowledged = number;
          break;
        case 3:
          acknowledged = number;
          if ((syndrome & 31) === 0) {
            this.sequenceNaks++;
            this.#reportedMissing(number);
          } else {
            this.otherNaks++;
          }
          break;
        default:
          return;
      }
    }
    if (acknowledged > this.#timedNumber) {
      flow.roundTrip(flow.tNs - this.#timedNs);
      this.#timedNumber = Number.NaN;
    }
    if (acknowledged <= this.#acknowledgedTo) return;
    // The receiver has them: what is missing here, and no NAK named, is missing from the capture only.
    const from = Math.max(this.#acknowledgedTo, acknowledged - WINDOW_PACKETS, this.#highest - WINDOW_PACKETS + 1, 0);
    for (let n = from; n < acknowledged; n++) {
      const slot = n & (WINDOW_PACKETS - 1);
      if (this.#fate[slot] === MISSING) {
        this.#fate[slot] = SEEN;
        this.unseenPackets++;
        flow.lost(this.#side, -1);
      }
    }
    this.#acknowledgedTo = acknowledged;
    this.#order?.acknowledged(acknowledged, flow.tNs, flow.frame);
  }

  end(): void {
    this.#order?.end(this.#flow.tNs, this.#flow.frame);
    this.#order = null;
  }

  // OrderedPackets: every request packet once, in order.

  readonly done = false;

  packet(buffer: Uint8Array, start: number, end: number, length: number, tNs: number, frame: number): void {
    if (end - start < BTH_BYTES) return; // the place of a READ response
    const operation = buffer[start]! & 31;
    if (operation === WRITE_FIRST || operation === WRITE_ONLY || operation === WRITE_ONLY_IMMEDIATE) {
      if (end - start < BTH_BYTES + RETH_BYTES) return;
      const view = new DataView(buffer.buffer, buffer.byteOffset + start + BTH_BYTES, RETH_BYTES);
      const bytes = view.getUint32(12);
      this.writes++;
      this.writtenBytes += bytes;
      this.#qemu?.written(this.#side, view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4), bytes, tNs, frame);
      return;
    }
    if (!SENDS.has(operation)) return;
    if (
      operation === SEND_FIRST ||
      operation === SEND_ONLY ||
      operation === SEND_ONLY_IMMEDIATE ||
      operation === SEND_ONLY_INVALIDATE
    ) {
      this.#kept = 0;
      this.#length = 0;
      this.#broken = false;
    }
    const payload = payloadBytes(operation, buffer[start + 1]!, length);
    const from = Math.min(end, start + BTH_BYTES + (WITH_IMMEDIATE.has(operation) ? IMMEDIATE_BYTES : 0));
    this.#append(buffer, from, Math.min(end, from + payload), payload);
    if (!LAST.has(operation)) return;
    this.sends++;
    if (!this.#broken || this.#kept > 0) {
      this.#qemu?.message(this.#side, this.#message, this.#view, 0, this.#kept, this.#length, tNs, frame);
    }
    this.#kept = 0;
    this.#length = 0;
    this.#broken = true; // until the next first packet
  }

  missing(count: number, cause: HoleCause, tNs: number, frame: number): void {
    if (this.#length > 0) {
      // Inside a message: it goes on behind the gap, as far as can be known.
      this.#length += count * this.fullBytes;
      this.#broken = true;
    } else {
      this.#qemu?.missing(this.#side, count * this.fullBytes, cause === 'unseen' ? 'unseen' : 'given-up', tNs, frame);
    }
  }

  #append(buffer: Uint8Array, start: number, end: number, length: number): void {
    if (!this.#broken) {
      const bytes = Math.min(end - start, MESSAGE_BYTES - this.#kept);
      const needed = this.#kept + bytes;
      if (needed > this.#message.length) {
        const grown = new Uint8Array(Math.min(MESSAGE_BYTES, Math.max(4096, 2 * needed)));
        grown.set(this.#message.subarray(0, this.#kept));
        this.#message = grown;
        this.#view = new DataView(grown.buffer);
      }
      this.#message.set(buffer.subarray(start, start + bytes), this.#kept);
      this.#kept = needed;
      if (bytes < length) this.#broken = true;
    }
    this.#length += length;
  }

  #begin(sequence: number): void {
    const known = this.#initial >= 0 && ((sequence - this.#initial) & 0xff_ffff) < WINDOW_PACKETS;
    // Unwrapped far above zero, so that earlier packets have numbers too.
    const base = 2 ** 24 + (known ? this.#initial : sequence);
    this.#highest = base - 1;
    this.#fate = new Uint8Array(WINDOW_PACKETS);
    this.#order = new PacketOrder(this, base, this.#streams.budget);
  }

  #unwrap(sequence: number): number {
    return this.#highest + signed24(sequence - (this.#highest & 0xff_ffff));
  }

  /** Enters request packet `number` into the account. Returns whether it is seen for the first time. */
  #judge(number: number): boolean {
    const flow = this.#flow;
    const slot = number & (WINDOW_PACKETS - 1);
    const missing = number - this.#highest - 1;
    if (missing >= 0) {
      if (missing >= WINDOW_PACKETS) {
        this.#fate.fill(SEEN);
        this.unseenPackets += missing;
      } else if (missing > 0) {
        for (let n = this.#highest + 1; n < number; n++) this.#fate[n & (WINDOW_PACKETS - 1)] = MISSING;
        flow.lost(this.#side, missing);
      }
      this.#fate[slot] = SEEN;
      this.#highest = number;
      return true;
    }
    if (number <= this.#highest - WINDOW_PACKETS) return false;
    const fate = this.#fate[slot]!;
    this.#fate[slot] = SEEN;
    if (fate & SEEN) {
      flow.retransmitted(this.#side, 1);
      return false;
    }
    if (fate & REPORTED) {
      flow.retransmitted(this.#side, 1);
    } else {
      flow.reordered(this.#side, 1);
      if (fate & MISSING) flow.lost(this.#side, -1);
    }
    return true;
  }

  /** A NAK asks for everything from `number` on: that one did not arrive, the rest was thrown away. */
  #reportedMissing(number: number): void {
    const slot = number & (WINDOW_PACKETS - 1);
    if (this.#fate[slot]! === SEEN) this.#flow.lost(this.#side, 1);
    // All gaps from there on will be filled by retransmissions.
    for (let n = number; n <= this.#highest; n++) {
      const at = n & (WINDOW_PACKETS - 1);
      if (this.#fate[at] === MISSING) this.#fate[at] = MISSING | REPORTED;
    }
  }

  /** A READ request takes as many numbers as its response has packets (chapter 9.7.3). */
  #reserve(number: number, bytes: number): void {
    const packets = Math.min(WINDOW_PACKETS / 2, Math.ceil(bytes / Math.max(this.fullBytes, 1024)));
    const { tNs, frame } = this.#flow;
    for (let n = number + 1; n < number + packets; n++) {
      if (n <= this.#highest) continue;
      this.#highest = n;
      this.#fate[n & (WINDOW_PACKETS - 1)] = SEEN;
      this.#order!.packet(n, NO_BYTES, 0, 0, 0, tNs, frame);
    }
  }
}

const NO_BYTES = new Uint8Array(0);

/** Bytes of message in a request packet of `length` bytes from the BTH on; `flags` is the byte with the pad count. */
function payloadBytes(operation: number, flags: number, length: number): number {
  let headers = BTH_BYTES;
  if (operation === WRITE_FIRST || operation === WRITE_ONLY || operation === WRITE_ONLY_IMMEDIATE)
    headers += RETH_BYTES;
  if (operation === READ_REQUEST) headers += RETH_BYTES;
  if (WITH_IMMEDIATE.has(operation)) headers += IMMEDIATE_BYTES;
  return Math.max(0, length - headers - ((flags >>> 4) & 3) - ICRC_BYTES);
}

/** The difference of two 24-bit sequence numbers, −2^23 … 2^23−1. */
const signed24 = (difference: number): number => (difference << 8) >> 8;
