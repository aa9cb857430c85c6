// OpenVPN over UDP: an opcode in the first byte; data of the AEAD ciphers carries its packet id in the clear.
//
// Source: OpenVPN, src/openvpn/ssl_pkt.h (opcodes) and doc of the network protocol (P_DATA_V2 adds a 24-bit peer id).
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import { SessionCounters } from './counter.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';
import { type OpaqueTransfer, OpaqueTransfers } from './opaque-transfer.js';

const PORT = 1194;
const P_DATA_V1 = 6;
const P_CONTROL_HARD_RESET_CLIENT_V2 = 7;
const P_CONTROL_HARD_RESET_SERVER_V2 = 8;
const P_DATA_V2 = 9;
const P_CONTROL_HARD_RESET_CLIENT_V3 = 10;
const P_CONTROL_WKC_V1 = 11;
const P_CONTROL_SOFT_RESET_V1 = 3;
/** Opcode, session id, no acknowledgements, packet id 0: a reset without an authentication layer around it. */
const BARE_RESET_BYTES = 14;
/** Other ciphers send an initialisation vector in this place: two of them are never this close. */
const NEIGHBOURS = 1000;

export const openvpn: Transport = {
  id: 'openvpn',
  recognise(batch, rows, row) {
    const at = rows.payload[row]!;
    const captured = rows.payloadCap[row]!;
    if (captured < BARE_RESET_BYTES) return false;
    const { bytes, view } = batch;
    const opcode = bytes[at]! >>> 3;
    const isReset = opcode === P_CONTROL_HARD_RESET_CLIENT_V2 || opcode === P_CONTROL_HARD_RESET_SERVER_V2;
    if (isReset && rows.payloadLen[row] === BARE_RESET_BYTES && (bytes[at]! & 7) === 0) {
      return bytes[at + 9] === 0 && view.getUint32(at + 10) === 0;
    }
    const ports = rows.ports[row]!;
    const known = ports >>> 16 === PORT || (ports & 0xffff) === PORT;
    return known && opcode >= P_CONTROL_SOFT_RESET_V1 && opcode <= P_CONTROL_WKC_V1;
  },
  open: (flow) => new OpenvpnFlow(flow),
};

class OpenvpnFlow implements TransportFlow {
  readonly name = 'openvpn';
  readonly #counters: SessionCounters;
  readonly #sizes = new OpaqueSizes();
  readonly #transfers: OpaqueTransfers;
  /** Packet id last seen in data of each side, while it is not yet clear whether these are ids. */
  readonly #candidates: [number, number] = [Number.NaN, Number.NaN];
  readonly #numbered: [boolean, boolean] = [false, false];
  #controlDatagrams = 0;
  #resets = 0;
  #malformed = 0;

  constructor(flow: Flow) {
    this.#counters = new SessionCounters(flow);
    this.#transfers = new OpaqueTransfers(flow);
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const at = rows.payload[row]!;
    if (rows.payloadCap[row]! < 8) {
      this.#malformed++;
      return;
    }
    const first = batch.bytes[at]!;
    switch (first >>> 3) {
      case P_DATA_V1:
        this.#data(side, first & 7, batch.view.getUint32(at + 1), rows.payloadLen[row]!);
        break;
      case P_DATA_V2:
        this.#data(side, first & 7, batch.view.getUint32(at + 4), rows.payloadLen[row]!);
        break;
      case P_CONTROL_HARD_RESET_CLIENT_V2:
      case P_CONTROL_HARD_RESET_SERVER_V2:
      case P_CONTROL_HARD_RESET_CLIENT_V3:
        this.#resets++;
        this.#controlDatagrams++;
        break;
      case 3:
      case 4:
      case 5:
      case P_CONTROL_WKC_V1:
        this.#controlDatagrams++;
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
      resets: this.#resets,
      controlDatagrams: this.#controlDatagrams,
      packetIdsInClear: this.#numbered[0] || this.#numbered[1],
      malformedDatagrams: this.#malformed,
      ...this.#counters.facts(),
      ...this.#sizes.facts(),
    };
  }

  #data(side: 0 | 1, key: number, id: number, length: number): void {
    this.#sizes.take(length);
    this.#transfers.take(side, length);
    const before = this.#candidates[side];
    this.#candidates[side] = id;
    if (!this.#numbered[side] && Math.abs(id - before) < NEIGHBOURS) {
      this.#numbered[side] = true;
      this.#counters.take(side, key, before);
    }
    if (this.#numbered[side]) this.#counters.take(side, key, id);
  }
}
