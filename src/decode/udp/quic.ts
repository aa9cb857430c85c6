// QUIC versions 1 and 2 (and late drafts): what the invariants and the handshake show (quic-initial.ts); after it only
// sizes and the spin bit are left. Packet numbers are protected, so loss is not observable.
//
// The spin bit of a direction flips once per round trip, as long as both ends take part; ends may set it at random, or
// never flip it, to opt out.
//
// Source: RFC 8999 (invariants), RFC 9000 §17 (packets), §17.4 (spin bit), RFC 9369 (version 2).
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';
import {
  HANDSHAKE,
  INITIAL,
  isFixed,
  isLong,
  longHeader,
  packetType,
  RETRY,
  versionName,
  ZERO_RTT,
} from './quic-header.js';
import { QuicBudget, QuicHandshake } from './quic-initial.js';

const SPIN_BIT = 0x20;

/** Flips remembered to judge the next one by. */
const SPIN_MEDIAN_OF = 15;
/** Samples farther from the median than this factor are artefacts of reordering or of idle ends (RFC 9312 §3.8.2). */
const SPIN_FACTOR = 5;
/** With more flips per packet than this the bit is random: a window of fewer packets is no transfer. */
const SPIN_RANDOM_SHARE = 0.25;
const SPIN_MIN_PACKETS = 16;

export function quic(): Transport {
  const budget = new QuicBudget();
  return {
    id: 'quic',
    recognise({ bytes, view }, rows, row) {
      const at = rows.payload[row]!;
      const end = at + rows.payloadCap[row]!;
      if (at === end || !isLong(bytes[at]!) || !isFixed(bytes[at]!)) return false;
      const header = longHeader(bytes, view, at, end);
      return header !== null && versionName(header.version) !== null;
    },
    open: (flow) => new QuicFlow(flow, budget),
  };
}

class QuicFlow implements TransportFlow {
  readonly name = 'quic';
  readonly #flow: Flow;
  readonly #sizes = new OpaqueSizes();
  readonly #handshake: QuicHandshake;
  readonly #spins: readonly [SpinBit, SpinBit];
  #version: string | null = null;
  #initials = 0;
  #handshakes = 0;
  #zeroRtt = false;
  #retry = false;
  #versionNegotiation = false;
  /** Length of the connection id that each side chose for itself. */
  readonly #idBytes: [number | null, number | null] = [null, null];
  #firstInitialNs = Number.NaN;
  #firstAnswerNs = Number.NaN;
  #firstShortNs = Number.NaN;
  #malformed = 0;

  constructor(flow: Flow, budget: QuicBudget) {
    this.#flow = flow;
    this.#handshake = new QuicHandshake(budget);
    this.#spins = [new SpinBit(flow), new SpinBit(flow)];
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const at = rows.payload[row]!;
    const captured = rows.payloadCap[row]!;
    if (captured < 1) {
      this.#malformed++;
      return;
    }
    const { bytes, view } = batch;
    const first = bytes[at]!;
    const { tNs } = this.#flow;
    if (!isLong(first)) {
      if (!isFixed(first)) {
        this.#malformed++;
        return;
      }
      if (Number.isNaN(this.#firstShortNs)) this.#firstShortNs = tNs;
      this.#sizes.take(rows.payloadLen[row]!);
      this.#spins[side].take((first & SPIN_BIT) !== 0, tNs);
      return;
    }
    const header = longHeader(bytes, view, at, at + captured);
    if (header === null) {
      this.#malformed++;
      return;
    }
    const { version } = header;
    this.#idBytes[side] = header.sourceBytes;
    if (version === 0) {
      this.#versionNegotiation = true;
      return;
    }
    this.#version = versionName(version) ?? `0x${version.toString(16).padStart(8, '0')}`;
    const type = packetType(first, version);
    if (type === INITIAL) {
      this.#initials++;
      if (side === 0 && Number.isNaN(this.#firstInitialNs)) this.#firstInitialNs = tNs;
      this.#handshake.datagram(bytes, view, at, at + captured, side);
    } else if (type === HANDSHAKE) {
      this.#handshakes++;
    } else if (type === RETRY) {
      this.#retry = true;
      this.#handshake.retried();
    } else if (type === ZERO_RTT) {
      this.#zeroRtt = true;
    }
    if (side === 1 && Number.isNaN(this.#firstAnswerNs)) this.#firstAnswerNs = tNs;
  }

  finish(): Facts {
    return {
      version: this.#version,
      ...this.#handshake.finish(),
      versionNegotiation: this.#versionNegotiation,
      retry: this.#retry,
      zeroRtt: this.#zeroRtt,
      initialDatagrams: this.#initials,
      handshakeDatagrams: this.#handshakes,
      clientIdBytes: this.#idBytes[0],
      serverIdBytes: this.#idBytes[1],
      handshakeFirstAnswerNs: known(this.#firstAnswerNs - this.#firstInitialNs),
      handshakeToDataNs: known(this.#firstShortNs - this.#firstInitialNs),
      clientSpinBit: this.#spins[0].verdict(),
      serverSpinBit: this.#spins[1].verdict(),
      ...(this.#spins.some((spin) => spin.verdict() === 'spinning') ? this.#flow.rttFacts() : NO_ROUND_TRIP),
      lossObservable: false,
      malformedDatagrams: this.#malformed,
      ...this.#sizes.facts(),
    };
  }
}

const NO_ROUND_TRIP: Facts = { rttSamples: 0, rttMinNs: null, rttMeanNs: null, rttMaxNs: null };

const known = (ns: number): number | null => (Number.isNaN(ns) ? null : ns);

/** The spin bit of one direction. */
class SpinBit {
  readonly #flow: Flow;
  #value = false;
  #packets = 0;
  #flips = 0;
  #flipNs = Number.NaN;
  /** The last times between flips, in a ring; null before the first. */
  #recent: Float64Array | null = null;
  #samples = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  take(value: boolean, tNs: number): void {
    if (this.#packets++ === 0) {
      this.#value = value;
      return;
    }
    if (value === this.#value) return;
    this.#value = value;
    this.#flips++;
    const ns = tNs - this.#flipNs;
    this.#flipNs = tNs;
    if (!(ns > 0)) return; // the first flip, or time stepped back
    const median = this.#median();
    this.#recent ??= new Float64Array(SPIN_MEDIAN_OF);
    this.#recent[this.#samples++ % SPIN_MEDIAN_OF] = ns;
    if (Number.isNaN(median) || (ns <= median * SPIN_FACTOR && ns * SPIN_FACTOR >= median)) this.#flow.roundTrip(ns);
  }

  /** 'constant', 'random' or 'spinning'; null with too few packets to say. */
  verdict(): string | null {
    if (this.#packets < SPIN_MIN_PACKETS) return null;
    if (this.#flips === 0) return 'constant';
    return this.#flips > this.#packets * SPIN_RANDOM_SHARE ? 'random' : 'spinning';
  }

  #median(): number {
    const count = Math.min(this.#samples, SPIN_MEDIAN_OF);
    return count === 0 ? Number.NaN : this.#recent!.slice(0, count).sort()[count >>> 1]!;
  }
}
