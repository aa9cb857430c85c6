// Runs frames through decodeFrames() and shows each row as a plain object, with offsets resolved to what they point at.
import { AnomalyLog } from '../../src/anomaly.js';
import type { PacketBatch } from '../../src/capture/packet-batch.js';
import { decodeFrames } from '../../src/decode/frame.js';
import * as rowKinds from '../../src/decode/rows.js';
import { createRows, type SegmentRows } from '../../src/decode/rows.js';
import { batchOf, type CapturedFrame } from './frames.js';

export interface Decoded {
  kind: string;
  src: string;
  dst: string;
  srcPort: number;
  dstPort: number;
  path: string;
  payload: string;
  payloadLen: number;
  rows: SegmentRows;
  batch: PacketBatch;
  log: AnomalyLog;
}

const KINDS = new Map(
  Object.entries(rowKinds)
    .filter(([name]) => name.startsWith('KIND_'))
    .map(([name, value]) => [value as number, name.slice(5).toLowerCase().replaceAll('_', '-')]),
);

/** What decoding one frame yields; row 0 of `rows` is its row. */
export function decoded(frame: Uint8Array | CapturedFrame, linkType = 1, fcsBytes = 0): Decoded {
  const interfaces = [{ input: 0, linkType, fcsBytes, snapLength: null, name: '' }];
  const batch = batchOf([frame], { interfaces });
  const rows = createRows();
  const log = new AnomalyLog();
  decodeFrames(batch, rows, log);
  return { ...describeRow(batch, rows, 0), rows, batch, log };
}

/** One row in words. */
export function describeRow(
  batch: PacketBatch,
  rows: SegmentRows,
  row: number,
): Omit<Decoded, 'rows' | 'batch' | 'log'> {
  const size = rows.ipVersion[row] === 4 ? 4 : 16;
  const at = rows.addresses[row]!;
  const payload = rows.payload[row]!;
  return {
    kind: KINDS.get(rows.kind[row]!) ?? '?',
    src: rows.ipVersion[row] ? text(batch.bytes.subarray(at, at + size)) : '',
    dst: rows.ipVersion[row] ? text(batch.bytes.subarray(at + size, at + 2 * size)) : '',
    srcPort: rows.ports[row]! >>> 16,
    dstPort: rows.ports[row]! & 0xffff,
    path: rows.tunnels[rows.tunnel[row]!]!.labels.join('/'),
    payload: Buffer.from(batch.bytes.subarray(payload, payload + rows.payloadCap[row]!)).toString('latin1'),
    payloadLen: rows.payloadLen[row]!,
  };
}

function text(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (address[2 * i]! * 256 + address[2 * i + 1]!).toString(16));
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
}
