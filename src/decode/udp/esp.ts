// IPsec ESP, as an IP protocol or in UDP port 4500: security association and sequence number are in the clear.
//
// Source: RFC 4303 §2, RFC 3948 §2 (four zero bytes mark IKE, a single 0xff keeps the address translation alive).
import type { PacketBatch } from '../../capture/packet-batch.js';
import { PROTOCOL_ESP } from '../ip.js';
import type { SegmentRows } from '../rows.js';
import { SessionCounters } from './counter.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';
import { type OpaqueTransfer, OpaqueTransfers } from './opaque-transfer.js';

const NAT_TRAVERSAL_PORT = 4500;
/** Security parameters index and sequence number. */
const HEADER_BYTES = 8;
/** Smaller values are reserved (RFC 4303 §2.1). */
const FIRST_SPI = 256;

export const esp: Transport = {
  id: 'esp',
  recognise(batch, rows, row) {
    if (rows.payloadCap[row]! < HEADER_BYTES) return false;
    if (rows.protocol[row] === PROTOCOL_ESP) return true;
    const ports = rows.ports[row]!;
    if (ports >>> 16 !== NAT_TRAVERSAL_PORT && (ports & 0xffff) !== NAT_TRAVERSAL_PORT) return false;
    const first = batch.view.getUint32(rows.payload[row]!);
    return first === 0 || first >= FIRST_SPI;
  },
  open: (flow) => new EspFlow(flow),
};

class EspFlow implements TransportFlow {
  readonly name = 'esp';
  readonly #counters: SessionCounters;
  readonly #sizes = new OpaqueSizes();
  readonly #transfers: OpaqueTransfers;
  #inUdp = false;
  #keyExchanges = 0;
  #keepAlives = 0;
  #malformed = 0;

  constructor(flow: Flow) {
    this.#counters = new SessionCounters(flow);
    this.#transfers = new OpaqueTransfers(flow);
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const at = rows.payload[row]!;
    const length = rows.payloadLen[row]!;
    this.#inUdp = rows.protocol[row] !== PROTOCOL_ESP;
    if (this.#inUdp && length === 1) {
      this.#keepAlives++;
    } else if (rows.payloadCap[row]! < HEADER_BYTES) {
      this.#malformed++;
    } else if (this.#inUdp && batch.view.getUint32(at) === 0) {
      this.#keyExchanges++;
    } else {
      this.#counters.take(side, batch.view.getUint32(at), batch.view.getUint32(at + 4));
      this.#sizes.take(length);
      this.#transfers.take(side, length);
    }
  }

  transfers(): readonly OpaqueTransfer[] {
    return this.#transfers.finish();
  }

  finish(): Facts {
    return {
      inUdp: this.#inUdp,
      keyExchangeDatagrams: this.#keyExchanges,
      keepAlives: this.#keepAlives,
      malformedDatagrams: this.#malformed,
      ...this.#counters.facts(),
      ...this.#sizes.facts(),
    };
  }
}
