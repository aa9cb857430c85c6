// FlowTable: from the addresses, ports, protocol and tunnel of a row to the number of its flow, whichever way it goes.
//
// Open addressing over plain words; both directions share one key in which the lower endpoint comes first. When the
// table is full the quarter of the flows that was idle longest is forgotten.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { UDP_FLOWS } from '../../limits.js';
import { addressText } from '../address.js';
import type { SegmentRows } from '../rows.js';
import type { UdpEndpoint } from './results.js';

/** Tunnel, version and protocol; both ports; lower address; higher address. */
const KEY_WORDS = 10;
const EMPTY = -1;
/** Slots of the hash table, at most half in use. */
const SLOTS = 2 * UDP_FLOWS;

export class FlowTable {
  readonly #slots = new Int32Array(SLOTS).fill(EMPTY);
  #keys = new Uint32Array(64 * KEY_WORDS);
  /** Entries in use; they are numbered densely from 0. */
  count = 0;
  readonly #key = new Uint32Array(KEY_WORDS);
  /** Whether the sender of the row looked up last is the higher endpoint of the key. */
  fromHigher = false;

  /**
   * The entry of a row; a new one gets the number `count` had before.
   *
   * @param ports     source port × 65536 + destination port, as the key shall have them
   * @param protocol  IP protocol
   */
  find(batch: PacketBatch, rows: SegmentRows, row: number, ports: number, protocol: number): number {
    this.#read(batch, rows, row, ports, protocol);
    const key = this.#key;
    let slot = hash(key) & (SLOTS - 1);
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === EMPTY) break;
      if (this.#equals(entry)) return entry;
      slot = (slot + 1) & (SLOTS - 1);
    }
    const entry = this.count++;
    if (this.#keys.length < this.count * KEY_WORDS) {
      const grown = new Uint32Array(this.#keys.length * 2);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    this.#keys.set(key, entry * KEY_WORDS);
    this.#slots[slot] = entry;
    return entry;
  }

  get full(): boolean {
    return this.count >= UDP_FLOWS;
  }

  /** Keeps only `kept` (entry numbers in rising order); kept entry i becomes number i. */
  retain(kept: readonly number[]): void {
    const old = this.#keys;
    this.#slots.fill(EMPTY);
    kept.forEach((from, to) => {
      old.copyWithin(to * KEY_WORDS, from * KEY_WORDS, (from + 1) * KEY_WORDS);
      let slot = hash(old.subarray(to * KEY_WORDS, (to + 1) * KEY_WORDS)) & (SLOTS - 1);
      while (this.#slots[slot] !== EMPTY) slot = (slot + 1) & (SLOTS - 1);
      this.#slots[slot] = to;
    });
    this.count = kept.length;
  }

  /** Index of the tunnel path of `entry`. */
  tunnel(entry: number): number {
    return this.#keys[entry * KEY_WORDS]! & 0xffff;
  }

  endpoint(entry: number, higher: boolean): UdpEndpoint {
    const at = entry * KEY_WORDS;
    const version = (this.#keys[at]! >>> 16) & 15;
    const address = new DataView(new ArrayBuffer(16));
    for (let i = 0; i < 4; i++) address.setUint32(4 * i, this.#keys[at + (higher ? 6 : 2) + i]!);
    const ports = this.#keys[at + 1]!;
    return {
      address: addressText(new Uint8Array(address.buffer), 0, version),
      port: higher ? ports & 0xffff : ports >>> 16,
    };
  }

  #read(batch: PacketBatch, rows: SegmentRows, row: number, ports: number, protocol: number): void {
    const { view } = batch;
    const key = this.#key;
    const version = rows.ipVersion[row]!;
    const words = version === 4 ? 1 : 4;
    const source = rows.addresses[row]!;
    const destination = source + 4 * words;
    let order = 0;
    for (let i = 0; i < words && order === 0; i++) {
      order = view.getUint32(source + 4 * i) - view.getUint32(destination + 4 * i);
    }
    if (order === 0) order = (ports >>> 16) - (ports & 0xffff);
    const fromHigher = order > 0;
    this.fromHigher = fromHigher;
    key[0] = rows.tunnel[row]! | (version << 16) | (protocol << 24);
    key[1] = fromHigher ? (ports << 16) | (ports >>> 16) : ports;
    const low = fromHigher ? destination : source;
    const high = fromHigher ? source : destination;
    for (let i = 0; i < 4; i++) {
      key[2 + i] = i < words ? view.getUint32(low + 4 * i) : 0;
      key[6 + i] = i < words ? view.getUint32(high + 4 * i) : 0;
    }
  }

  #equals(entry: number): boolean {
    const at = entry * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) if (this.#keys[at + i] !== this.#key[i]) return false;
    return true;
  }
}

/** FNV-1a over words with a final mix. */
function hash(words: Uint32Array): number {
  let mixed = 0x811c9dc5;
  for (let i = 0; i < KEY_WORDS; i++) mixed = Math.imul(mixed ^ words[i]!, 0x01000193);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}
