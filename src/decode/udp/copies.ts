// DatagramCopies: one datagram captured both inside and outside its tunnel is one datagram.
//
// The counterpart of tunnel-copies.ts for flows without TCP. No later stage finds their copies, so each one is found here:
// the same addresses, ports, IP identification, length and first bytes within a moment, where one path is the other with
// tunnels around it. Every transport puts a number that changes into those bytes; where a datagram is really sent again,
// it shows again on each path. So it is new when it comes over some path more often than it was counted, else a copy.
//
// A flow with copies keeps the path it was first seen on.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { UDP_FLOWS } from '../../limits.js';
import { newestHalf } from '../newest-half.js';
import type { SegmentRows } from '../rows.js';
import { flowKey } from '../tunnel-copies.js';

/** Copies lie this close together: what a packet waits in the queue between two capture points of one host. */
const APART_NS = 500e6;
/** Bytes of the payload that are compared, at most: the headers of every transport, within reach of a snap length. */
const COMPARED_BYTES = 16;
/** Datagrams remembered; a copy lies a full queue behind its original, some thousands at most. */
const SLOTS = 1 << 15;
/** Slots where one may be. Behind a queue of 3000, two lose 9905 of 197 000, eight 18. */
const WAYS = 8;
/** Paths of one datagram that are told apart. */
const PATHS = 4;
const UNUSED = 0xffff;

export class DatagramCopies {
  // By slot: fingerprint and latest time; by slot and path: tunnel, and how often the datagram came over it.
  readonly #prints = new Float64Array(SLOTS).fill(-1);
  readonly #tNs = new Float64Array(SLOTS).fill(Number.NEGATIVE_INFINITY);
  readonly #tunnels = new Uint16Array(SLOTS * PATHS);
  readonly #times = new Uint8Array(SLOTS * PATHS);
  /** Paths of flows with copies, the one that stays first; when it is full the older half is forgotten. */
  #flows = new Map<number, number[]>();

  /**
   * Looks at the next row of a flow without TCP, and rewrites its `tunnel` to the path that the flow is known by.
   *
   * @param ports  source port × 65536 + destination port, as for FlowTable.find()
   * @returns      whether the row is a copy of a datagram that already counts
   */
  take(batch: PacketBatch, rows: SegmentRows, row: number, ports: number): boolean {
    const tunnel = rows.tunnel[row]!;
    const key = flowKey(batch, rows, row, ports);
    const known = this.#flows.get(key);
    const copied = this.#remember(batch, rows, row, key, tunnel);
    if (known?.includes(tunnel)) rows.tunnel[row] = known[0]!;
    else if (copied !== null) rows.tunnel[row] = this.#join(key, known, copied, tunnel);
    return copied !== null;
  }

  #join(key: number, known: number[] | undefined, first: number, tunnel: number): number {
    if (known !== undefined) {
      if (known.length < PATHS) known.push(tunnel);
      return known[0]!;
    }
    if (this.#flows.size >= UDP_FLOWS) this.#flows = newestHalf(this.#flows);
    this.#flows.set(key, [first, tunnel]);
    return first;
  }

  /** Enters the row into its slot. Returns the path over which its original came first, null where it is an original. */
  #remember(batch: PacketBatch, rows: SegmentRows, row: number, key: number, tunnel: number): number | null {
    const length = rows.payloadLen[row]!;
    // A datagram that is cut shorter inside its tunnel could not be compared.
    if (rows.payloadCap[row]! < Math.min(length, COMPARED_BYTES)) return null;
    const print = fingerprint(batch, rows, row, key);
    const tNs = batch.tNs[row]!;
    const slot = this.#slotOf(print);
    const paths = slot * PATHS;
    const isKnown =
      this.#prints[slot] === print &&
      Math.abs(tNs - this.#tNs[slot]!) <= APART_NS &&
      nested(rows, this.#tunnels[paths]!, tunnel);
    this.#prints[slot] = print;
    this.#tNs[slot] = tNs;
    if (!isKnown) {
      this.#times.fill(0, paths, paths + PATHS);
      this.#tunnels.fill(UNUSED, paths, paths + PATHS);
    }
    let counted = 0;
    let path = 0;
    while (path < PATHS && this.#tunnels[paths + path] !== tunnel && this.#tunnels[paths + path] !== UNUSED) path++;
    if (path === PATHS) return null; // more paths than are told apart
    this.#tunnels[paths + path] = tunnel;
    for (let other = paths; other < paths + PATHS; other++) counted = Math.max(counted, this.#times[other]!);
    const times = this.#times[paths + path]! + 1;
    if (times > 255) this.#prints[slot] = -1; // forgotten: nothing repeats that often
    this.#times[paths + path] = times;
    return times > counted ? null : this.#tunnels[paths]!;
  }

  /** The slot that has `print`, else the oldest of those where it may be. */
  #slotOf(print: number): number {
    const first = (print % SLOTS) & -WAYS;
    let oldest = first;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#prints[slot] === print) return slot;
      if (this.#tNs[slot]! < this.#tNs[oldest]!) oldest = slot;
    }
    return oldest;
  }
}

/** Whether one of the two paths is the other one, or that with tunnels around it. */
function nested({ tunnels }: SegmentRows, one: number, two: number): boolean {
  if (one === two) return true;
  const [a, b] = [tunnels[one]!.labels, tunnels[two]!.labels];
  const [inner, outer] = a.length < b.length ? [a, b] : [b, a];
  if (inner.length === outer.length) return false;
  for (let i = 1; i <= inner.length; i++) if (inner.at(-i) !== outer.at(-i)) return false;
  return true;
}

/** 52 bits of everything that is the same in a copy, and in nothing else for a while. */
function fingerprint(batch: PacketBatch, rows: SegmentRows, row: number, key: number): number {
  const { view, bytes } = batch;
  // The flow's key is the same both ways: an answer may echo the request.
  let a = (key >>> 0) ^ view.getUint32(rows.addresses[row]!);
  let b =
    Math.imul(rows.ports[row]! ^ rows.payloadLen[row]!, 0x9e3779b1) ^ (rows.ipVersion[row] === 4 ? rows.ipId[row]! : 0);
  const at = rows.payload[row]!;
  const end = at + Math.min(rows.payloadLen[row]!, COMPARED_BYTES);
  for (let i = at; i < end; i++) {
    a = Math.imul(a ^ bytes[i]!, 0x01000193);
    b = Math.imul(b ^ (b >>> 13) ^ bytes[i]!, 0x85ebca6b);
  }
  a ^= a >>> 15;
  return (b >>> 0) * 0x10_0000 + ((Math.imul(a, 0x2c1b3c6d) >>> 12) & 0xf_ffff);
}
