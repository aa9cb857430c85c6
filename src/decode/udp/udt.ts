// UDT version 4 and SRT, which grew out of it: reliable byte or message transport over UDP.
//
// Everything is in the clear: packet sequence, acknowledgements, loss reports, the receiver's round-trip time, buffer and
// rate estimates. A packet that arrives below the highest sequence is a retransmission when it was seen before, when SRT
// says so, or when its time stamp is younger than that of the packet that revealed the gap (UDT stamps each sending);
// else it is an original that was overtaken. Lost is what a retransmission fills and what a loss report names, each
// packet once; what the peer acknowledged without either is missing from the capture, not lost.
//
// Source: draft-gg-udt-03 §2, §6; draft-sharabayko-srt-01 §3.
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import type { HoleCause } from '../stream.js';
import type { StreamFeed } from '../stream-feed.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { type OrderedPackets, PacketOrder } from './packet-order.js';
import type { StreamSource } from './streams.js';

const HEADER_BYTES = 16;
const CONTROL = 0x8000_0000;
const SEQUENCE_MASK = 0x7fff_ffff;

const TYPE_HANDSHAKE = 0;
const TYPE_ACK = 2;
const TYPE_NAK = 3;
const TYPE_SHUTDOWN = 5;
const TYPE_ACK2 = 6;

/** 16 of the header, 32 of fields, 16 of the peer's address. */
const HANDSHAKE_BYTES = 64;
const UDT_VERSION = 4;
const SRT_VERSION = 5;
/** In the second word of SRT data: retransmitted, and which key encrypts (0 none). */
const SRT_RETRANSMITTED = 0x0400_0000;
const SRT_KEY = 0x1800_0000;

/** Packets whose fate is remembered; a longer silence in between starts a new account. */
const WINDOW_PACKETS = 65_536;
const SEEN = 1;
/** Counted as lost. */
const LOST = 2;
/** Missing at the capture point since a higher number was seen. */
const MISSING = 4;
/** Named in a loss report. */
const REPORTED = 8;
/** Sent again. */
const RESENT = 16;
/** An original that was overtaken: a loss report about it was rash. */
const OVERTAKEN = 32;

/** Sockets told apart in one flow. Beyond: counted with the last. */
const CONNECTIONS_PER_FLOW = 64;
/** Ranges of one loss report that are looked at; a packet has room for fewer. */
const REPORT_WORDS = 512;
/** Acknowledgements waiting for their ACK2. */
const ACK_TIMES = 64;
const NO_FATES = new Uint8Array(0);
/** Round-trip time and its variance that both protocols start with, before there was a sample. */
const RTT_INITIAL_US = 100_000;
const RTT_VARIANCE_INITIAL_US = 50_000;
/** Longer round-trip times are not believed: 60 s. */
const RTT_MAX_US = 60_000_000;

export function udt(streams: StreamSource): Transport {
  return {
    id: 'udt',
    recognise(batch, rows, row) {
      const at = rows.payload[row]!;
      const captured = rows.payloadCap[row]!;
      if (captured < HEADER_BYTES + 4) return false;
      const { view } = batch;
      const first = view.getUint32(at);
      if (first === CONTROL) return isHandshake(view, at, captured);
      // Joined midway: a full acknowledgement, by its length and a round-trip time that can be.
      const length = rows.payloadLen[row]!;
      if (first !== CONTROL + TYPE_ACK * 0x1_0000 || captured < length || length < 32 || length > 48) return false;
      const rttUs = view.getUint32(at + 20);
      return (
        length % 4 === 0 &&
        view.getUint32(at + 12) !== 0 &&
        (view.getUint32(at + 16) & CONTROL) === 0 &&
        rttUs > 0 &&
        rttUs <= RTT_MAX_US
      );
    },
    open: (flow) => new UdtFlow(flow, streams),
  };
}

function isHandshake(view: DataView, at: number, captured: number): boolean {
  if (captured < HANDSHAKE_BYTES) return false;
  const version = view.getUint32(at + 16);
  const mssBytes = view.getUint32(at + 28);
  if (mssBytes < 64 || mssBytes > 65_535 || view.getUint32(at + 24) & CONTROL) return false;
  const socketType = view.getUint32(at + 20);
  return version === SRT_VERSION || (version === UDT_VERSION && (socketType === 1 || socketType === 2));
}

class UdtFlow implements TransportFlow {
  readonly #flow: Flow;
  readonly #streams: StreamSource;
  readonly #connections: UdtConnection[] = [];
  #isSrt = false;
  // Of the first handshake that says so.
  #version: number | null = null;
  #socketType: string | null = null;
  #mssBytes: number | null = null;
  #windowPackets: number | null = null;
  #rendezvous = false;
  #malformed = 0;

  constructor(flow: Flow, streams: StreamSource) {
    this.#flow = flow;
    this.#streams = streams;
    flow.sequenced(0);
    flow.sequenced(1);
  }

  get name(): string {
    return this.#isSrt ? 'srt' : 'udt';
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const at = rows.payload[row]!;
    const captured = rows.payloadCap[row]!;
    if (captured < HEADER_BYTES) {
      this.#malformed++;
      return;
    }
    const { view } = batch;
    const first = view.getUint32(at);
    const socket = view.getUint32(at + 12);
    if (first < CONTROL) {
      const connection = this.#connection(side, socket);
      connection.directions[side].data(batch, rows, row, this.#isSrt);
      return;
    }
    switch ((first >>> 16) & 0x7fff) {
      case TYPE_HANDSHAKE:
        if (captured >= HANDSHAKE_BYTES) this.#handshake(view, at, side, socket);
        break;
      case TYPE_ACK:
        if (captured >= HEADER_BYTES + 4) {
          this.#connection(side, socket).directions[other(side)].acknowledged(view, at, captured);
        }
        break;
      case TYPE_NAK:
        this.#connection(side, socket).directions[other(side)].reported(view, at + HEADER_BYTES, at + captured);
        break;
      case TYPE_ACK2:
        this.#connection(side, socket).directions[side].acknowledgementReceived(view.getUint32(at + 4));
        break;
      case TYPE_SHUTDOWN:
        this.#connection(side, socket).end('fin');
        break;
    }
  }

  finish(): Facts {
    for (const connection of this.#connections) connection.end('capture-end');
    // Of the direction that carries the data; the other one's figures are those of an idle sender.
    const bulk = this.#connections
      .flatMap((connection) => connection.directions)
      .reduce<UdtDirection | null>((a, b) => (a && a.payloadBytes >= b.payloadBytes ? a : b), null);
    return {
      version: this.#version,
      socketType: this.#socketType,
      mssBytes: this.#mssBytes,
      windowPackets: this.#windowPackets,
      rendezvous: this.#rendezvous,
      connections: this.#connections.length,
      malformedDatagrams: this.#malformed,
      ...this.#flow.rttFacts(),
      ...(bulk?.facts(this.#mssBytes) ?? {}),
    };
  }

  #handshake(view: DataView, at: number, side: 0 | 1, destination: number): void {
    const version = view.getUint32(at + 16);
    const requestType = view.getInt32(at + 36);
    const own = view.getUint32(at + 40);
    if (version === SRT_VERSION) this.#isSrt = true;
    this.#version = version;
    if (version === UDT_VERSION) this.#socketType = view.getUint32(at + 20) === 1 ? 'stream' : 'datagram';
    this.#mssBytes = view.getUint32(at + 28);
    this.#windowPackets = view.getUint32(at + 32);
    if (!this.#isSrt && requestType === 0) this.#rendezvous = true;
    if (requestType > 1) return; // SRT: a refusal, with its reason
    // Both directions start at the number the opener chose; the answer repeats it.
    const connection = destination === 0 ? this.#opening(side, own) : this.#connection(side, destination);
    connection.sockets[side] = own;
    const initial = view.getUint32(at + 24) & SEQUENCE_MASK;
    connection.directions[0].startsAt(initial);
    connection.directions[1].startsAt(initial);
  }

  /** The connection that socket `own` of `side` opens. */
  #opening(side: 0 | 1, own: number): UdtConnection {
    return this.#connections.find((connection) => connection.sockets[side] === own) ?? this.#add();
  }

  /** The connection whose socket on the other side is `destination`. */
  #connection(side: 0 | 1, destination: number): UdtConnection {
    const connections = this.#connections;
    for (const connection of connections) if (connection.sockets[other(side)] === destination) return connection;
    const free = connections.find((connection) => connection.sockets[other(side)] === UNKNOWN_SOCKET);
    const connection = free ?? this.#add();
    if (connection.sockets[other(side)] === UNKNOWN_SOCKET) connection.sockets[other(side)] = destination;
    return connection;
  }

  #add(): UdtConnection {
    if (this.#connections.length >= CONNECTIONS_PER_FLOW) return this.#connections.at(-1)!;
    const connection = new UdtConnection(this.#flow, this.#streams);
    this.#connections.push(connection);
    return connection;
  }
}

const other = (side: 0 | 1): 0 | 1 => (side === 0 ? 1 : 0);

const UNKNOWN_SOCKET = -1;

/** One pair of sockets. */
class UdtConnection {
  /** Socket id of each side. */
  readonly sockets: [number, number] = [UNKNOWN_SOCKET, UNKNOWN_SOCKET];
  readonly directions: readonly [UdtDirection, UdtDirection];
  readonly #flow: Flow;

  constructor(flow: Flow, streams: StreamSource) {
    this.#flow = flow;
    const pair = streams.open(flow);
    this.directions = [new UdtDirection(flow, 0, streams, pair), new UdtDirection(flow, 1, streams, pair)];
  }

  end(cause: 'fin' | 'capture-end'): void {
    for (const direction of this.directions) direction.end(cause, this.#flow.tNs, this.#flow.frame);
  }
}

/**
 * Ordered packets as a byte stream. How long a missing packet was is not on the wire: as long as the longest so far, as
 * packets in the middle of bulk data are.
 */
class Payloads implements OrderedPackets {
  /** Longest payload so far, of packets that wait too. */
  fullBytes = 0;
  readonly #feed: StreamFeed;

  constructor(feed: StreamFeed) {
    this.#feed = feed;
  }

  get done(): boolean {
    return this.#feed.done;
  }

  packet(buffer: Uint8Array, start: number, end: number, length: number, tNs: number, frame: number): void {
    this.#feed.bytes(buffer, start, end, tNs, frame);
    this.#feed.hole(length - (end - start), 'cut', tNs, frame);
  }

  missing(count: number, cause: HoleCause, tNs: number, frame: number): void {
    this.#feed.hole(count * this.fullBytes, cause, tNs, frame);
  }
}

interface AckTimes {
  readonly numbers: Uint32Array;
  readonly timesNs: Float64Array;
}

/** Data that one side sends, with what the other side says about it. */
class UdtDirection {
  readonly #flow: Flow;
  readonly #side: 0 | 1;
  readonly #streams: StreamSource;
  /** Id of the pair of streams, null when no more are followed. */
  readonly #pair: number | null;
  #stream: StreamFeed | null = null;
  #payloads: Payloads | null = null;
  #order: PacketOrder | null = null;
  /** Initial sequence number of a handshake, −1 while unknown. */
  #initial = -1;
  /** Highest packet number seen, unwrapped; −1 before the first. Its time stamp, µs. */
  #highest = -1;
  #highestStampUs = 0;
  #highestNs = Number.NaN;
  /** SEEN, LOST … of each packet, by number modulo the size; empty until there is data. */
  #fate = NO_FATES;
  payloadBytes = 0;
  #uniqueBytes = 0;
  #fullBytes = 0;
  #encrypted = false;
  // From the peer.
  #acknowledgedTo = -1;
  #lossReports = 0;
  #reportedPackets = 0;
  #repeatedReports = 0;
  #unseenPackets = 0;
  #flightMaxPackets = 0;
  #bufferMinPackets = Number.POSITIVE_INFINITY;
  #receiveRateMax = 0;
  #capacityPackets = 0;
  /** Gaps between consecutive packets: smoothed. */
  #gapNs = Number.NaN;
  /** When acknowledgement number n passed, at n modulo the size; null before the first. */
  #acks: AckTimes | null = null;
  #ack2Samples = 0;
  #ack2MinNs = Number.POSITIVE_INFINITY;

  constructor(flow: Flow, side: 0 | 1, streams: StreamSource, pair: number | null) {
    this.#flow = flow;
    this.#side = side;
    this.#streams = streams;
    this.#pair = pair;
  }

  startsAt(sequence: number): void {
    if (this.#highest < 0) this.#initial = sequence;
  }

  data(batch: PacketBatch, rows: SegmentRows, row: number, isSrt: boolean): void {
    const { view, bytes } = batch;
    const at = rows.payload[row]!;
    const sequence = view.getUint32(at);
    const word = view.getUint32(at + 4);
    const stampUs = view.getUint32(at + 8);
    const length = rows.payloadLen[row]! - HEADER_BYTES;
    this.payloadBytes += length;
    if (length > this.#fullBytes) this.#fullBytes = length;
    if (this.#pair === null) return;
    if (this.#highest < 0) this.#begin(this.#pair, sequence);
    const number = this.#unwrap(sequence);
    if (!this.#judge(number, isSrt ? (word & SRT_RETRANSMITTED) !== 0 : null, stampUs)) return;
    this.#uniqueBytes += length;
    if (isSrt && word & SRT_KEY) {
      this.#encrypted = true;
      return; // nothing a decoder could read
    }
    const flow = this.#flow;
    const end = at + rows.payloadCap[row]!;
    if (this.#payloads && length > this.#payloads.fullBytes) this.#payloads.fullBytes = length;
    this.#order?.packet(number, bytes, at + HEADER_BYTES, end, length, flow.tNs, flow.frame);
  }

  /** Reads an acknowledgement by the receiver. */
  acknowledged(view: DataView, at: number, captured: number): void {
    const flow = this.#flow;
    if (captured >= HEADER_BYTES + 16) {
      const rttUs = view.getUint32(at + 20);
      const isSample = rttUs !== RTT_INITIAL_US || view.getUint32(at + 24) !== RTT_VARIANCE_INITIAL_US;
      if (isSample && rttUs > 0 && rttUs <= RTT_MAX_US) flow.roundTrip(rttUs * 1000);
      const buffer = view.getUint32(at + 28);
      if (buffer < this.#bufferMinPackets) this.#bufferMinPackets = buffer;
      if (this.#pair !== null) {
        const acks = (this.#acks ??= { numbers: new Uint32Array(ACK_TIMES), timesNs: new Float64Array(ACK_TIMES) });
        const ack = view.getUint32(at + 4);
        acks.numbers[ack % ACK_TIMES] = ack;
        acks.timesNs[ack % ACK_TIMES] = flow.tNs;
      }
    }
    if (captured >= HEADER_BYTES + 24) {
      const rate = view.getUint32(at + 32);
      if (rate > this.#receiveRateMax) this.#receiveRateMax = rate;
      const capacity = view.getUint32(at + 36);
      if (capacity > 0) this.#capacityPackets = capacity;
    }
    if (this.#highest < 0) return;
    const to = this.#unwrap(view.getUint32(at + 16) & SEQUENCE_MASK);
    if (to <= this.#acknowledgedTo || to > this.#highest + WINDOW_PACKETS) return;
    // The receiver has them all. Missing here and never reported lost: the capture lost it. Reported lost, seen here, not
    // sent again: it was only late.
    const from = Math.max(this.#acknowledgedTo, to - WINDOW_PACKETS, this.#highest - WINDOW_PACKETS + 1, 0);
    for (let number = from; number < Math.min(to, this.#highest + 1); number++) {
      const slot = number & (WINDOW_PACKETS - 1);
      const fate = this.#fate[slot]!;
      if ((fate & (MISSING | REPORTED)) === MISSING) {
        this.#fate[slot] = SEEN;
        this.#unseenPackets++;
        flow.lost(this.#side, -1);
      } else if ((fate & (SEEN | REPORTED | LOST | RESENT)) === (SEEN | REPORTED | LOST)) {
        this.#fate[slot] = SEEN;
        flow.lost(this.#side, -1);
      }
    }
    this.#acknowledgedTo = to;
    this.#order?.acknowledged(to, flow.tNs, flow.frame);
  }

  /** Reads the loss report in `[at, end)`: words, the top bit opens a range that the next word closes. */
  reported(view: DataView, at: number, end: number): void {
    if (this.#highest < 0) return;
    this.#lossReports++;
    for (let words = 0; at + 4 <= end && words < REPORT_WORDS; at += 4, words++) {
      const word = view.getUint32(at);
      const from = this.#unwrap(word & SEQUENCE_MASK);
      let to = from;
      if (word & CONTROL) {
        if (at + 8 > end) return;
        at += 4;
        to = this.#unwrap(view.getUint32(at) & SEQUENCE_MASK);
      }
      // A report names packets the sender has sent; anything else is damage.
      if (to < from || to > this.#highest || from <= this.#highest - WINDOW_PACKETS) continue;
      for (let number = from; number <= to; number++) this.#reportedLost(number);
    }
  }

  /** The sender has got acknowledgement `ack`. */
  acknowledgementReceived(ack: number): void {
    // The acknowledgement was noted by the direction it is about, which is the one whose sender sends the ACK2.
    const slot = ack % ACK_TIMES;
    const acks = this.#acks;
    if (acks === null || acks.numbers[slot] !== ack || acks.timesNs[slot] === 0) return;
    const ns = this.#flow.tNs - acks.timesNs[slot]!;
    acks.timesNs[slot] = 0;
    if (ns < 0) return;
    this.#ack2Samples++;
    if (ns < this.#ack2MinNs) this.#ack2MinNs = ns;
  }

  end(cause: 'fin' | 'capture-end', tNs: number, frame: number): void {
    this.#order?.end(tNs, frame);
    this.#stream?.end(cause, tNs, frame);
    this.#order = null;
    this.#payloads = null;
    this.#stream = null;
  }

  facts(mssBytes: number | null): Facts {
    const capacityBytes = mssBytes ?? this.#fullBytes;
    return {
      dataSide: this.#side === 0 ? 'client' : 'server',
      uniquePayloadBytes: this.#uniqueBytes,
      packetPayloadBytes: this.#fullBytes,
      encrypted: this.#encrypted,
      lossReports: this.#lossReports,
      reportedPackets: this.#reportedPackets,
      repeatedReports: this.#repeatedReports,
      unseenPackets: this.#unseenPackets,
      flightMaxPackets: this.#acknowledgedTo < 0 ? null : this.#flightMaxPackets,
      receiverBufferMinPackets: Number.isFinite(this.#bufferMinPackets) ? this.#bufferMinPackets : null,
      receiveRateMaxPacketsPerS: this.#receiveRateMax || null,
      capacityBps: this.#capacityPackets === 0 ? null : this.#capacityPackets * capacityBytes * 8,
      pacingRateBps: this.#gapNs > 0 ? (this.#fullBytes * 8e9) / this.#gapNs : null,
      ackToAck2MinNs: this.#ack2Samples > 0 ? this.#ack2MinNs : null,
    };
  }

  #begin(pair: number, sequence: number): void {
    // Numbers are unwrapped far above zero, so that packets before the first one seen have numbers too.
    const known = this.#initial >= 0;
    const ahead = known ? signed31(sequence - this.#initial) : 0;
    const fromStart = known && ahead >= 0 && ahead < WINDOW_PACKETS;
    const base = 2 ** 31 + (fromStart ? this.#initial : sequence);
    this.#highest = base - 1;
    this.#fate = new Uint8Array(WINDOW_PACKETS);
    this.#stream = this.#streams.feed(pair, this.#side, fromStart);
    this.#payloads = new Payloads(this.#stream);
    this.#order = new PacketOrder(this.#payloads, base, this.#streams.budget);
  }

  #unwrap(sequence: number): number {
    return this.#highest + signed31(sequence - (this.#highest & SEQUENCE_MASK));
  }

  /**
   * Enters packet `number` into the account.
   *
   * @param saysAgain  what the packet says about being sent again; null where it cannot say
   * @returns          whether it is seen for the first time
   */
  #judge(number: number, saysAgain: boolean | null, stampUs: number): boolean {
    const flow = this.#flow;
    const slot = number & (WINDOW_PACKETS - 1);
    const ahead = number - this.#highest;
    if (ahead > 0) {
      const missing = ahead - 1;
      if (missing >= WINDOW_PACKETS) {
        // No path loses that many in a row: the capture did, or the number is damage.
        this.#fate.fill(SEEN);
        this.#unseenPackets += missing;
      } else if (missing > 0) {
        for (let i = 1; i < ahead; i++) this.#fate[(this.#highest + i) & (WINDOW_PACKETS - 1)] = MISSING | LOST;
        flow.lost(this.#side, missing);
      }
      // Every 16th packet and its successor leave back to back, to probe capacity: no pacing to be seen there.
      const gapNs = flow.tNs - this.#highestNs;
      if (ahead === 1 && (number & 15) !== 1 && gapNs > 0) {
        this.#gapNs = this.#gapNs > 0 ? this.#gapNs + (gapNs - this.#gapNs) / 64 : gapNs;
      }
      this.#fate[slot] = SEEN;
      this.#highest = number;
      this.#highestStampUs = stampUs;
      this.#highestNs = flow.tNs;
      if (this.#acknowledgedTo >= 0 && number + 1 - this.#acknowledgedTo > this.#flightMaxPackets) {
        this.#flightMaxPackets = number + 1 - this.#acknowledgedTo;
      }
      if (saysAgain) flow.retransmitted(this.#side, 1);
      return true;
    }
    if (ahead <= -WINDOW_PACKETS) return false; // too old to say
    const fate = this.#fate[slot]!;
    if (fate & SEEN) {
      this.#fate[slot] = fate | RESENT;
      flow.retransmitted(this.#side, 1);
      return false;
    }
    this.#fate[slot] = (fate & ~MISSING) | SEEN;
    const younger = (stampUs - this.#highestStampUs) | 0;
    if (saysAgain ?? (younger > 0 || (younger === 0 && (fate & REPORTED) !== 0))) {
      this.#fate[slot] = this.#fate[slot]! | RESENT;
      flow.retransmitted(this.#side, 1);
    } else {
      flow.reordered(this.#side, 1);
      this.#fate[slot] = SEEN | OVERTAKEN;
      if (fate & LOST) flow.lost(this.#side, -1);
    }
    return true;
  }

  #reportedLost(number: number): void {
    const slot = number & (WINDOW_PACKETS - 1);
    const fate = this.#fate[slot]!;
    this.#reportedPackets++;
    if (fate & REPORTED) this.#repeatedReports++;
    this.#fate[slot] = fate | REPORTED;
    if (fate & (LOST | OVERTAKEN)) return;
    this.#fate[slot] = this.#fate[slot]! | LOST;
    this.#flow.lost(this.#side, 1);
  }
}

/** The difference of two 31-bit sequence numbers, −2^30 … 2^30−1. */
const signed31 = (difference: number): number => (difference << 1) >> 1;
