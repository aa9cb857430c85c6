// DTLS 1.0 and 1.2: every record has its epoch and sequence number in the clear. DTLS 1.3 encrypts the number.
//
// Source: RFC 6347 §4.1; RFC 9147 §4 (unified header).
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { SegmentRows } from '../rows.js';
import { SessionCounters } from './counter.js';
import type { Facts, Flow, Transport, TransportFlow } from './flow.js';
import { OpaqueSizes } from './opaque.js';
import { type OpaqueTransfer, OpaqueTransfers } from './opaque-transfer.js';

const HEADER_BYTES = 13;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const VERSION_1_0 = 0xfeff;
const VERSION_1_2 = 0xfefd;
/** 2^14 and what encryption and compression may add. */
const RECORD_MAX_BYTES = 16_384 + 2048;
/** Records of one datagram that are read. */
const RECORDS = 64;

export const dtls: Transport = {
  id: 'dtls',
  recognise(batch, rows, row) {
    const at = rows.payload[row]!;
    const length = rows.payloadLen[row]!;
    return (
      rows.payloadCap[row]! >= HEADER_BYTES &&
      isRecord(batch.view, at) &&
      batch.view.getUint16(at + 11) + HEADER_BYTES <= length
    );
  },
  open: (flow) => new DtlsFlow(flow),
};

function isRecord(view: DataView, at: number): boolean {
  const type = view.getUint8(at);
  const version = view.getUint16(at + 1);
  return (
    type >= 20 &&
    type <= 25 &&
    (version === VERSION_1_0 || version === VERSION_1_2) &&
    view.getUint16(at + 11) <= RECORD_MAX_BYTES
  );
}

class DtlsFlow implements TransportFlow {
  readonly name = 'dtls';
  readonly #counters: SessionCounters;
  readonly #sizes = new OpaqueSizes();
  readonly #transfers: OpaqueTransfers;
  #version: string | null = null;
  #handshakeRecords = 0;
  #alerts = 0;
  #encryptedNumbers = 0;
  #malformed = 0;

  constructor(flow: Flow) {
    this.#counters = new SessionCounters(flow);
    this.#transfers = new OpaqueTransfers(flow);
  }

  feed(batch: PacketBatch, rows: SegmentRows, row: number, side: 0 | 1): void {
    const { view } = batch;
    let at = rows.payload[row]!;
    const end = at + rows.payloadCap[row]!;
    for (let records = 0; records < RECORDS && at + HEADER_BYTES <= end; records++) {
      if (view.getUint8(at) >>> 5 === 1) {
        this.#encryptedNumbers++;
        this.#version = '1.3';
        this.#sizes.take(rows.payloadLen[row]!);
        this.#transfers.take(side, rows.payloadLen[row]!);
        return; // its length may be left out, so nothing behind it can be found
      }
      if (!isRecord(view, at)) {
        this.#malformed++;
        return;
      }
      const type = view.getUint8(at);
      const length = view.getUint16(at + 11);
      // A client's first message says 1.0 whatever it can; the latest record is what was agreed on.
      this.#version = view.getUint16(at + 1) === VERSION_1_0 ? '1.0' : '1.2';
      // Numbers count per epoch.
      this.#counters.take(
        side,
        view.getUint16(at + 3),
        view.getUint16(at + 5) * 0x1_0000_0000 + view.getUint32(at + 7),
      );
      if (type === HANDSHAKE) this.#handshakeRecords++;
      else if (type === ALERT) this.#alerts++;
      else if (type === APPLICATION_DATA) {
        this.#sizes.take(length);
        this.#transfers.take(side, length);
      }
      at += HEADER_BYTES + length;
    }
  }

  transfers(): readonly OpaqueTransfer[] {
    return this.#transfers.finish();
  }

  finish(): Facts {
    return {
      version: this.#version,
      handshakeRecords: this.#handshakeRecords,
      alerts: this.#alerts,
      recordsWithEncryptedNumber: this.#encryptedNumbers,
      malformedDatagrams: this.#malformed,
      ...this.#counters.facts(),
      ...this.#sizes.facts(),
    };
  }
}
