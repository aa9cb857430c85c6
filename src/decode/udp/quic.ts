// QUIC versions 1 and 2 (and late drafts): what the invariants and the handshake show; after it only sizes and the spin
// bit are left. Packet numbers are protected, so loss is not observable.
//
// The spin bit of a direction flips once per round trip, as long as both ends take part; ends may set it at random, or
// never flip it, to opt out.
//
// Source: RFC 8999 (invariants), RFC 9000 §17 (packets), §17.4 (spin bit), RFC 9369 (version 2).
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';

const LONG_HEADER = 0x80;
const FIXED_BIT = 0x40;
const SPIN_BIT = 0x20;
const VERSION_1 = 0x0000_0001;
const VERSION_2 = 0x6b33_43cf;
/** Drafts that deployments still speak: ff00001d (29) to ff000022 (34). */
const FIRST_DRAFT = 0xff00_001d;
const LAST_DRAFT = 0xff00_0022;
const CONNECTION_ID_MAX_BYTES = 20;
/** Flags, version, two lengths. */
const INVARIANT_BYTES = 7;

const INITIAL = 0;
const ZERO_RTT = 1;
const HANDSHAKE = 2;
const RETRY = 3;

/** Flips remembered to judge the next one by. */
const SPIN_MEDIAN_OF = 15;
/** Samples farther from the median than this factor are artefacts of reordering or of idle ends (RFC 9312 §3.8.2). */
const SPIN_FACTOR = 5;
/** With more flips per packet than this the bit is random: a window of fewer packets is no transfer. */
const SPIN_RANDOM_SHARE = 0.25;
const SPIN_MIN_PACKETS = 16;

export const quic: Transport = {
  id: 'quic',
  recognise(batch, rows, row) {
    const at = rows.payload[row]!;
    const captured = rows.payloadCap[row]!;
    if (captured < INVARIANT_BYTES || (batch.bytes[at]! & (LONG_HEADER | FIXED_BIT)) !== (LONG_HEADER | FIXED_BIT)) {
      return false;
    }
    return versionName(batch.view.getUint32(at + 1)) !== null && longHeader(batch.bytes, at, at + captured) !== null;
  },
  open: (flow) => new QuicFlow(flow),
};

function versionName(version: number): string | null {
  if (version === VERSION_1) return '1';
  if (version === VERSION_2) return '2';
  return version >= FIRST_DRAFT && version <= LAST_DRAFT ? `draft-${version & 0xff}` : null;
}

/** Lengths of the connection ids of a long header; null where they do not fit. */
function longHeader(
  bytes: Uint8Array,
  at: number,
  end: number,
): { destinationBytes: number; sourceBytes: number } | null {
  const destinationBytes = bytes[at + 5]!;
  const sourceAt = at + 6 + destinationBytes;
  if (destinationBytes > CONNECTION_ID_MAX_BYTES || sourceAt >= end) return null;
  const sourceBytes = bytes[sourceAt]!;
  return sourceBytes > CONNECTION_ID_MAX_BYTES || sourceAt + 1 + sourceBytes > end
    ? null
    : { destinationBytes, sourceBytes };
}

class QuicFlow implements TransportFlow {
  readonly name = 'quic';
  readonly #flow: Flow;
  readonly #sizes = new OpaqueSizes();
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

  constructor(flow: Flow) {
    this.#flow = flow;
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
    if ((first & LONG_HEADER) === 0) {
      if ((first & FIXED_BIT) === 0) {
        this.#malformed++;
        return;
      }
      if (Number.isNaN(this.#firstShortNs)) this.#firstShortNs = tNs;
      this.#sizes.take(rows.payloadLen[row]!);
      this.#spins[side].take((first & SPIN_BIT) !== 0, tNs);
      return;
    }
    const header = captured >= INVARIANT_BYTES ? longHeader(bytes, at, at + captured) : null;
    if (header === null) {
      this.#malformed++;
      return;
    }
    const version = view.getUint32(at + 1);
    this.#idBytes[side] = header.sourceBytes;
    if (version === 0) {
      this.#versionNegotiation = true;
      return;
    }
    this.#version = versionName(version) ?? `0x${version.toString(16).padStart(8, '0')}`;
    // Version 2 numbers the types one higher, Retry first (RFC 9369 §3.2).
    const type = (((first >>> 4) & 3) + (version === VERSION_2 ? 3 : 0)) & 3;
    if (type === INITIAL) {
      this.#initials++;
      if (side === 0 && Number.isNaN(this.#firstInitialNs)) this.#firstInitialNs = tNs;
    } else if (type === HANDSHAKE) {
      this.#handshakes++;
    } else if (type === RETRY) {
      this.#retry = true;
    } else if (type === ZERO_RTT) {
      this.#zeroRtt = true;
    }
    if (side === 1 && Number.isNaN(this.#firstAnswerNs)) this.#firstAnswerNs = tNs;
  }

  finish(): Facts {
    return {
      version: this.#version,
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
  /** The last times between flips, in a ring. */
  readonly #recent = new Float64Array(SPIN_MEDIAN_OF);
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
    return count === 0 ? Number.NaN : this.#recent.slice(0, count).sort()[count >>> 1]!;
  }
}
