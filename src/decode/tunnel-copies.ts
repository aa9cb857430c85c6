// TunnelCopies: one packet captured both inside and outside its tunnel is one packet.
//
// A capture on "any" interface, or on a bridge and the port below, has the inner frame by itself and again inside the
// encapsulation. Connections are told apart by their tunnel, because tenants reuse addresses, so the copies would be two
// connections. Here a connection whose segments come over a second path, the same in every number within a moment, gets
// the path it was first seen on; that the copies are copies is then found as for any frame captured twice.
//
// Two tenants never look like that: sequence and acknowledgement number, length, flags, window and IP identification
// would all have to agree. Flows without TCP have no such numbers in common; udp/copies.ts compares their contents.
import type { PacketBatch } from '../capture/packet-batch.js';
import { CONNECTIONS } from '../limits.js';
import { FLAG_SYN, KIND_TCP, type SegmentRows } from './rows.js';

/** Copies lie this close together: the time a packet takes through one host. */
const APART_NS = 10e6;
/** Rows of a flow in which a second path is looked for: it shows from the first segment on. */
const LOOK_ROWS = 256;
/** Latest rows of a flow that a copy is compared with. */
const RECENT = 8;
/** Paths of one flow that are told to be the same. */
const PATHS = 4;
/** Numbers kept of a recent row: tunnel, sequence, acknowledgement, length and flags, window and identification, time. */
const FIELDS = 6;

interface FlowPaths {
  /** The path of the flow's first row, then those found to carry copies. */
  readonly tunnels: number[];
  rows: number;
  /** Up to RECENT × FIELDS, a ring; null once all has been looked for. A list: most flows are seen with one or two rows. */
  recent: number[] | null;
}

export class TunnelCopies {
  /** By addresses and ports, whichever way; and those that go when these are as many again. */
  #flows = new Map<number, FlowPaths>();
  #older = new Map<number, FlowPaths>();

  /** Rewrites `tunnel` of rows that decodeFrames() wrote for `batch`, before connections are told apart. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { count } = batch;
    const { kind, flags, tunnels } = rows;
    const tunnelled = tunnels.length > 1;
    for (let row = 0; row < count; row++) {
      // Before any tunnel was seen, only a connection's beginning has to be remembered: its copy may come next.
      if (kind[row] === KIND_TCP && (tunnelled || flags[row]! & FLAG_SYN)) this.#row(batch, rows, row);
    }
  }

  #row(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const key = flowKey(batch, rows, row, rows.ports[row]!);
    const tunnel = rows.tunnel[row]!;
    const flow = this.#flows.get(key) ?? this.#add(key, tunnel);
    if (flow.tunnels.includes(tunnel)) {
      rows.tunnel[row] = flow.tunnels[0]!;
    } else if (flow.recent !== null && flow.tunnels.length < PATHS && isCopy(batch, rows, row, flow.recent)) {
      flow.tunnels.push(tunnel);
      rows.tunnel[row] = flow.tunnels[0]!;
    }
    if (flow.recent === null) return;
    if (flow.rows >= LOOK_ROWS && (rows.flags[row]! & FLAG_SYN) === 0) {
      flow.recent = null;
      return;
    }
    remember(batch, rows, row, flow.recent, (flow.rows++ % RECENT) * FIELDS);
  }

  #add(key: number, tunnel: number): FlowPaths {
    if (this.#flows.size >= CONNECTIONS / 2) {
      // A map whose first entry is deleted again and again becomes slow.
      this.#older = this.#flows;
      this.#flows = new Map();
    }
    const flow = this.#older.get(key) ?? { tunnels: [tunnel], rows: 0, recent: [] };
    this.#flows.set(key, flow);
    return flow;
  }
}

function isCopy(batch: PacketBatch, rows: SegmentRows, row: number, recent: number[]): boolean {
  for (let at = 0; at < recent.length; at += FIELDS) {
    if (
      recent[at + 1] === rows.seq[row] &&
      recent[at + 2] === rows.ack[row] &&
      recent[at + 3] === lengthAndFlags(rows, row) &&
      recent[at + 4] === windowAndId(rows, row) &&
      recent[at] !== rows.tunnel[row] &&
      Math.abs(recent[at + 5]! - batch.tNs[row]!) <= APART_NS
    ) {
      return true;
    }
  }
  return false;
}

function remember(batch: PacketBatch, rows: SegmentRows, row: number, recent: number[], at: number): void {
  recent[at] = rows.tunnel[row]!;
  recent[at + 1] = rows.seq[row]!;
  recent[at + 2] = rows.ack[row]!;
  recent[at + 3] = lengthAndFlags(rows, row);
  recent[at + 4] = windowAndId(rows, row);
  recent[at + 5] = batch.tNs[row]!;
}

const lengthAndFlags = (rows: SegmentRows, row: number): number => rows.payloadLen[row]! * 512 + rows.flags[row]!;
const windowAndId = (rows: SegmentRows, row: number): number => rows.window[row]! * 65_536 + rows.ipId[row]!;

/**
 * 52 bits of addresses and ports, the same in both directions. Two flows that share them would only be looked at twice.
 *
 * @param ports  source port × 65536 + destination port, as the key shall have them
 */
export function flowKey(batch: PacketBatch, rows: SegmentRows, row: number, ports: number): number {
  const { view } = batch;
  const words = rows.ipVersion[row] === 4 ? 1 : 4;
  const source = rows.addresses[row]!;
  const destination = source + 4 * words;
  // Multiplied: else neighbouring addresses and ports would cancel each other out.
  let a = Math.imul(ports >>> 16, 0x85ebca6b);
  let b = Math.imul(ports & 0xffff, 0x85ebca6b);
  for (let i = 0; i < words; i++) {
    a = Math.imul(a ^ (a >>> 15) ^ view.getUint32(source + 4 * i), 0x9e3779b1);
    b = Math.imul(b ^ (b >>> 15) ^ view.getUint32(destination + 4 * i), 0x9e3779b1);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b);
  const sum = (a + b) >>> 0;
  const product = Math.imul(a | 1, b | 1) ^ (a ^ b);
  return sum * 0x10_0000 + ((product ^ (product >>> 12)) & 0xf_ffff);
}
