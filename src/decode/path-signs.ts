// What the frames of a TCP connection say about the way they took: the routers passed, and whether a network card has
// been passed at all.
//
// A hop limit that changes within a direction means another route (or another box that answers). A checksum that still
// holds only the pseudo header's sum was never finished: Linux leaves the rest to the network card (CHECKSUM_PARTIAL,
// __tcp_v4_send_check() in net/ipv4/tcp_ipv4.c), so the frame was taken on the host that sent it, or on a virtual link.
import type { PacketBatch } from '../capture/packet-batch.js';
import { FLAG_RST, FLAG_SYN, KIND_TCP, MARK_NEWS, NO_DIRECTION, type SegmentRows } from './rows.js';

export interface PathSign {
  readonly kind: 'hop-limit-change' | 'unfinished-checksum';
  /** Hop limit before and after; NaN for the other kind. */
  readonly before: number;
  readonly after: number;
}

/** Changes told per direction: paths used in turn would flood the table, and two dozen say as much as thousands. */
const CHANGES = 24;
/** Data frames in a row whose checksum is looked at: chance fools one in 65536 of one. */
const CHECKSUMS = 2;
const CHECKED = 255;

/** Bounded by the live directions: two or three bytes each. */
export class PathSigns {
  readonly #tell: (batch: PacketBatch, rows: SegmentRows, row: number, sign: PathSign) => void;
  /** By direction: the last hop limit (0 = none yet), changes told, unfinished checksums met or CHECKED. */
  #hopLimits = new Uint8Array(64);
  #changes = new Uint8Array(64);
  #unfinished = new Uint8Array(64);

  constructor(tell: (batch: PacketBatch, rows: SegmentRows, row: number, sign: PathSign) => void) {
    this.#tell = tell;
  }

  push(batch: PacketBatch, rows: SegmentRows): void {
    const { kind, direction, ttl, payloadLen } = rows;
    let hopLimits = this.#hopLimits;
    let unfinished = this.#unfinished;
    for (let row = 0; row < batch.count; row++) {
      if (kind[row] !== KIND_TCP) continue;
      const id = direction[row]!;
      if (hopLimits[id] !== ttl[row]) {
        if (id === NO_DIRECTION) continue;
        if (id >= hopLimits.length) {
          this.#grow(id);
          hopLimits = this.#hopLimits;
          unfinished = this.#unfinished;
        }
        this.#hopLimit(batch, rows, row, id);
      }
      if (payloadLen[row]! > 0 && unfinished[id]! < CHECKED) this.#checksum(batch, rows, row, id);
    }
  }

  #hopLimit(batch: PacketBatch, rows: SegmentRows, row: number, id: number): void {
    const before = this.#hopLimits[id]!;
    const after = rows.ttl[row]!;
    const flags = rows.flags[row]!;
    // A reset may come from a box on the way, what says nothing new from another point of capture.
    const opens = (flags & FLAG_SYN) !== 0;
    if ((flags & FLAG_RST) !== 0 || (before !== 0 && !opens && (rows.marks[row]! & MARK_NEWS) === 0)) return;
    this.#hopLimits[id] = after;
    if (opens) {
      // A connection begins, perhaps under the id of an earlier one.
      this.#changes[id] = 0;
      this.#unfinished[id] = 0;
    } else if (before !== 0 && this.#changes[id]! < CHANGES) {
      this.#changes[id]!++;
      this.#tell(batch, rows, row, { kind: 'hop-limit-change', before, after });
    }
  }

  #checksum(batch: PacketBatch, rows: SegmentRows, row: number, id: number): void {
    if (!isUnfinished(batch, rows, row)) {
      this.#unfinished[id] = CHECKED;
    } else if (++this.#unfinished[id]! === CHECKSUMS) {
      this.#unfinished[id] = CHECKED;
      this.#tell(batch, rows, row, { kind: 'unfinished-checksum', before: Number.NaN, after: Number.NaN });
    }
  }

  #grow(id: number): void {
    const size = 2 ** Math.ceil(Math.log2(id + 1));
    const grown = (old: Uint8Array): Uint8Array<ArrayBuffer> => {
      const next = new Uint8Array(size);
      next.set(old);
      return next;
    };
    this.#hopLimits = grown(this.#hopLimits);
    this.#changes = grown(this.#changes);
    this.#unfinished = grown(this.#unfinished);
  }
}

/** Whether the checksum is the sum over the pseudo header alone (RFC 9293 §3.1, RFC 8200 §8.1), not yet complemented. */
export function isUnfinished({ view, start, captured }: PacketBatch, rows: SegmentRows, row: number): boolean {
  const addresses = rows.addresses[row]!;
  const words = rows.ipVersion[row] === 4 ? 4 : 16;
  const segment = rows.transport[row]!;
  if (segment + 18 > start[row]! + captured[row]!) return false; // cut off before the checksum
  const bytes = rows.payload[row]! - segment + rows.payloadLen[row]!;
  let sum = 6 + (bytes >>> 16) + (bytes & 0xffff);
  for (let word = 0; word < words; word++) sum += view.getUint16(addresses + 2 * word);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return view.getUint16(segment + 16) === sum;
}
