// WireGuard: three kinds of handshake messages of fixed size, and data with a counter in the clear.
//
// Source: the WireGuard protocol description §5.4 (message layouts); integers are little-endian.
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import { SessionCounters } from './counter.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';
import { type OpaqueTransfer, OpaqueTransfers } from './opaque-transfer.js';

const INITIATION = 1;
const RESPONSE = 2;
const COOKIE = 3;
const DATA = 4;
const INITIATION_BYTES = 148;
const RESPONSE_BYTES = 92;
const COOKIE_BYTES = 64;
/** Header and authentication tag; exactly this much is a keep-alive. */
const EMPTY_DATA_BYTES = 32;

export const wireguard: Transport = {
  id: 'wireguard',
  recognise(batch, rows, row) {
    const at = rows.payload[row]!;
    if (rows.payloadCap[row]! < 16) return false;
    const length = rows.payloadLen[row]!;
    // One byte of type, three of zero; data is padded to 16 bytes and its 64-bit counter does not reach 2^48.
    switch (batch.view.getUint32(at, true)) {
      case INITIATION:
        return length === INITIATION_BYTES;
      case RESPONSE:
        return length === RESPONSE_BYTES;
      case DATA:
        return length >= EMPTY_DATA_BYTES && length % 16 === 0 && batch.view.getUint16(at + 14, true) === 0;
      default:
        return false;
    }
  },
  open: (flow) => new WireguardFlow(flow),
};

class WireguardFlow implements TransportFlow {
  readonly name = 'wireguard';
  readonly #flow: Flow;
  readonly #counters: SessionCounters;
  readonly #sizes = new OpaqueSizes();
  readonly #transfers: OpaqueTransfers;
  #handshakes = 0;
  #initiationNs = Number.NaN;
  #cookies = 0;
  #keepAlives = 0;
  #malformed = 0;

  constructor(flow: Flow) {
    this.#flow = flow;
    this.#counters = new SessionCounters(flow);
    this.#transfers = new OpaqueTransfers(flow);
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const at = rows.payload[row]!;
    const length = rows.payloadLen[row]!;
    if (rows.payloadCap[row]! < 16) {
      this.#malformed++;
      return;
    }
    const { view } = batch;
    switch (view.getUint32(at, true)) {
      case INITIATION:
        this.#initiationNs = this.#flow.tNs;
        break;
      case RESPONSE:
        if (length !== RESPONSE_BYTES) break;
        this.#handshakes++;
        this.#flow.roundTrip(this.#flow.tNs - this.#initiationNs);
        this.#initiationNs = Number.NaN;
        break;
      case COOKIE:
        if (length === COOKIE_BYTES) this.#cookies++;
        break;
      case DATA:
        if (length === EMPTY_DATA_BYTES) this.#keepAlives++;
        else {
          this.#sizes.take(length);
          this.#transfers.take(side, length);
        }
        // Exact up to 2^53; no session lives that long.
        this.#counters.take(
          side,
          view.getUint32(at + 4, true),
          view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * 0x1_0000_0000,
        );
        break;
      default:
        this.#malformed++;
    }
  }

  transfers(): readonly OpaqueTransfer[] {
    return this.#transfers.finish();
  }

  finish(): Facts {
    return {
      handshakes: this.#handshakes,
      cookieReplies: this.#cookies,
      keepAlives: this.#keepAlives,
      malformedDatagrams: this.#malformed,
      ...this.#counters.facts(),
      ...this.#sizes.facts(),
      ...this.#flow.rttFacts(),
    };
  }
}
