// Overlap: where two captures of one interface meet, told by the frames themselves.
//
// One engine takes over from another without a gap when both run for a while. What the first has handed on is
// remembered here; once the second delivers a frame that is among it, all that comes later is in the second, and the
// remembered frames are left out of it. Time stamps cannot draw that line: two sockets stamp one frame up to some
// microseconds apart (measured), `cap` by as much as it is behind. They only bound how far apart copies may lie.
import { OVERLAP_FRAMES } from '../../limits.js';
import type { PacketBatch } from '../packet-batch.js';

/** Bytes that tell frames apart: every header down to TCP's options, whatever encapsulates it. */
const FINGERPRINT_BYTES = 128;
/** Copies of one frame are stamped at most so far apart; what is repeated after it (ARP, once a second) is another frame. */
const COPY_NS = 500e6;
/** Wire bytes from which a frame shows that the second engine sees the migration itself: what else a narrow filter lets
 * through (ARP, ICMP errors of at most 576 bytes, DNS) is smaller than segments of data. */
const DATA_BYTES = 1000;
/** Equal frames in a row that are told apart; with more of them, hostile, some may count twice. */
const EQUAL_FRAMES = 64;

/** Does a batch hold frames that carry data? */
export function hasData({ count, wire }: PacketBatch): boolean {
  for (let row = 0; row < count; row++) if (wire[row]! >= DATA_BYTES) return true;
  return false;
}

export class Overlap {
  /** Fingerprint → stamp, NaN once found again. Equal frames take the next numbers. */
  #handedOn = new Map<number, number>();
  #latestNs = -Infinity;

  /** More was handed on than can be remembered. */
  get full(): boolean {
    return this.#handedOn.size >= OVERLAP_FRAMES;
  }

  /** Takes what the first engine has handed on. */
  remember(batch: PacketBatch): void {
    const { count, tNs } = batch;
    for (let row = 0; row < count && !this.full; row++) {
      let key = fingerprint(batch, row);
      for (let equal = 0; equal < EQUAL_FRAMES && this.#handedOn.has(key); equal++) key++;
      this.#handedOn.set(key, tNs[row]!);
      if (tNs[row]! > this.#latestNs) this.#latestNs = tNs[row]!;
    }
  }

  /** Does `batch`, of the second engine, reach back into what was handed on, with data? */
  meets(batch: PacketBatch): boolean {
    for (let row = 0; row < batch.count; row++) {
      if (batch.wire[row]! >= DATA_BYTES && this.#find(batch, row) !== null) return true;
    }
    return false;
  }

  /**
   * Leaves out of `batch`, of the second engine, what was handed on.
   *
   * @returns true once no later frame can have been
   */
  strip(batch: PacketBatch): boolean {
    const { start, captured, wire, tNs, iface, way } = batch;
    let kept = 0;
    let oldestNs = Infinity;
    for (let row = 0; row < batch.count; row++) {
      oldestNs = Math.min(oldestNs, tNs[row]!);
      const key = this.#find(batch, row);
      if (key !== null) {
        this.#handedOn.set(key, Number.NaN);
        continue;
      }
      start[kept] = start[row]!;
      captured[kept] = captured[row]!;
      wire[kept] = wire[row]!;
      tNs[kept] = tNs[row]!;
      iface[kept] = iface[row]!;
      way[kept] = way[row]!;
      kept++;
    }
    batch.count = kept;
    return oldestNs > this.#latestNs + COPY_NS;
  }

  #find(batch: PacketBatch, row: number): number | null {
    const first = fingerprint(batch, row);
    for (let key = first; key <= first + EQUAL_FRAMES; key++) {
      const ns = this.#handedOn.get(key);
      if (ns === undefined) return null;
      if (Math.abs(ns - batch.tNs[row]!) <= COPY_NS) return key;
    }
    return null;
  }
}

/** 52 bits made of a frame's first bytes and lengths. */
function fingerprint(batch: PacketBatch, row: number): number {
  const { bytes } = batch;
  const start = batch.start[row]!;
  const end = start + Math.min(batch.captured[row]!, FINGERPRINT_BYTES);
  let high = batch.captured[row]!;
  let low = batch.wire[row]!;
  // Multiply and fold, with two odd multipliers: enough to tell some hundred thousand frames apart, and no more is asked.
  for (let at = start; at < end; at++) {
    high = Math.imul(high ^ bytes[at]!, 0x2c1b3c6d);
    high ^= high >>> 15;
    low = Math.imul(low ^ bytes[at]!, 0x297a2d39);
    low ^= low >>> 13;
  }
  return (high >>> 0) * 2 ** 20 + (low >>> 12);
}
