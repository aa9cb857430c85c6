// Connections: finds the connection of every TCP row, and where in its streams the row belongs.
//
// An open-addressing table maps (addresses, ports, tunnel) to a slot; the slot is the connection's id. A connection that
// starts anew on known addresses gets a slot of its own. Beyond the limit the connections that were idle longest give
// theirs up; whoever keeps state by id learns of it through `onReplaced`. That happens between batches, so that within a
// batch an id means one connection, and so the limit may be passed by one batch.
//
// Side 0 sent the SYN, or received the SYN-ACK, or was seen first. Lookups do not depend on which way a frame goes.

import type { AnomalyLog } from '../../anomaly.js';
import type { PacketBatch } from '../../capture/packet-batch.js';
import { CONNECTIONS } from '../../limits.js';
import { addressText } from '../address.js';
import { FLAG_ACK, FLAG_RST, FLAG_SYN, KIND_TCP, NO_DIRECTION, type SegmentRows } from '../rows.js';
import { grown } from './ranges.js';
import type { Endpoint } from './results.js';
import { SequenceSpace } from './sequence-space.js';
import { MARKED_FRAMES, marksOf } from './vantage.js';

/** Who talks to whom, known from the first frame on. */
export interface ConnectionIdentity {
  readonly id: number;
  readonly encapsulation: readonly string[];
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly firstFrame: number;
  readonly startNs: number;
}

/** A connection as far as it takes to tell it from others on the same addresses, and to place its frames. */
class Entry {
  /** By side. */
  readonly spaces: readonly [SequenceSpace, SequenceSpace] = [new SequenceSpace(), new SequenceSpace()];
  endNs: number;
  reset = false;
  /** It gave its slot up, and no other has taken it yet. */
  evicted = false;
  frames = 0;

  constructor(
    readonly encapsulation: readonly string[],
    readonly firstFrame: number,
    readonly startNs: number,
  ) {
    this.endNs = startNs;
  }

  /** Both sides have sent FIN, or one has sent RST. */
  get closed(): boolean {
    return this.reset || (this.spaces[0].finSent && this.spaces[1].finSent);
  }
}

/** Places for slots of recent rows; a power of two. */
const RECENT = 256;
/** Words of one key: tunnel and IP version, ports, address of side 0 (4 words), address of side 1 (4 words). */
const KEY_WORDS = 10;
const SIDE_0 = 2;
const SIDE_1 = 6;
const SYN_ACK = FLAG_SYN | FLAG_ACK;
const EMPTY = -1;
/** A SYN on known addresses after this much silence starts a new connection whatever its sequence number. */
const REUSE_IDLE_NS = 60e9;

export interface ConnectionsOptions {
  /** Connections kept at most. */
  readonly limit?: number;
}

export class Connections {
  /** Connections that gave up their slot. Their figures are not in the results. */
  evicted = 0;
  readonly #log: AnomalyLog;
  readonly #limit: number;
  readonly #slots: Entry[] = [];
  readonly #listeners: ((id: number) => void)[] = [];
  /** Against captures made to collide. */
  readonly #salt = (Math.random() * 0x1_0000_0000) >>> 0;
  #keys = new Uint32Array(KEY_WORDS * 16);
  /** Slot by hash, linear probing; a power of two, at most half full. */
  #table = new Int32Array(64).fill(EMPTY);
  #used = 0;
  /** Slots given up and not taken again. */
  readonly #free: number[] = [];
  /** Slots from longest idle (`#oldest`) to the latest, as they first appeared in a batch: a doubly linked list. */
  #newer = new Int32Array(16);
  #older = new Int32Array(16);
  #oldest = EMPTY;
  #latest = EMPTY;
  /** Batches seen, and the last of them in which a slot appeared. */
  #batches = 0;
  #touched = new Uint32Array(16);
  /** Slots of recent rows, by their ports: parallel streams take turns, and few look-ups need the table. */
  readonly #recent = new Int32Array(RECENT).fill(EMPTY);
  /** Key words of the row at hand, in the order source, destination. */
  readonly #key = new Uint32Array(KEY_WORDS);
  /** Side of its connection that sent the row at hand. */
  #side: 0 | 1 = 0;
  /** 1 for slots that a later connection on the same addresses has taken out of the table. */
  #superseded = new Uint8Array(16);

  constructor(log: AnomalyLog, options: ConnectionsOptions = {}) {
    this.#log = log;
    this.#limit = options.limit ?? CONNECTIONS;
  }

  /** Ids in use, in order. Closed connections keep theirs unless others need it. */
  ids(): number[] {
    return Array.from(this.#slots.keys()).filter((id) => !this.#slots[id]!.evicted);
  }

  /** Bytes of its streams that both sides of a connection have sent, as far as is known. */
  sentBytes(id: number): readonly [number, number] {
    const [first, second] = this.#slots[id]!.spaces;
    return [first.sentBytes, second.sentBytes];
  }

  /** Ids of the `count` connections that carried most so far, the busiest first. */
  busiest(count: number): number[] {
    const carried = new Map(this.ids().map((id) => [id, this.sentBytes(id)[0] + this.sentBytes(id)[1]]));
    return [...carried.keys()].sort((a, b) => carried.get(b)! - carried.get(a)!).slice(0, count);
  }

  /** Who talks to whom; may be asked while the capture is read. */
  identity(id: number): ConnectionIdentity {
    const { encapsulation, firstFrame, startNs } = this.#slots[id]!;
    return {
      id,
      encapsulation,
      client: this.#endpoint(id, 0),
      server: this.#endpoint(id, 1),
      firstFrame,
      startNs,
    };
  }

  /** Calls `listener` with the id of every connection that gives its slot up, before a new one takes it. */
  onReplaced(listener: (id: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Makes the connections beyond the limit give their slots up. Not while the rows of a batch are still being read. */
  trim(): void {
    for (let live = this.#slots.length - this.#free.length; live > this.#limit; live--) this.#evict(this.#oldest);
  }

  /** Places every row: fills what it says of where it belongs. */
  place(batch: PacketBatch, rows: SegmentRows): void {
    this.trim();
    this.#batches = (this.#batches + 1) >>> 0;
    const { count, tNs, iface, start } = batch;
    const { kind, direction, flags, marks, capturePoint, ackOffset } = rows;
    for (let row = 0; row < count; row++) {
      if (kind[row] !== KIND_TCP) {
        direction[row] = NO_DIRECTION;
        continue;
      }
      const id = this.#find(batch, rows, row);
      const entry = this.#slots[id]!;
      const side = this.#side;
      direction[row] = 2 * id + side;
      if (this.#touched[id] !== this.#batches) this.#touch(id);
      const now = tNs[row]!;
      if (now > entry.endNs) entry.endNs = now;
      marks[row] = ++entry.frames <= MARKED_FRAMES ? marksOf(batch, rows, row) : 0;
      capturePoint[row] = iface[row]! | (rows.ttl[row]! << 16) | ((rows.addresses[row]! - start[row]!) << 24);
      const flag = flags[row]!;
      if (flag & FLAG_RST) entry.reset = true;
      ackOffset[row] = flag & FLAG_ACK ? entry.spaces[1 - side]!.acknowledged(rows.ack[row]!, rows, row) : Number.NaN;
      entry.spaces[side]!.sent(rows, row, entry.endNs);
    }
  }

  /** The row's connection, made when there is none or a new one starts on known addresses. Sets `#side`. */
  #find(batch: PacketBatch, rows: SegmentRows, row: number): number {
    this.#readKey(batch, rows, row);
    const ports = this.#key[1]!;
    const place = (ports ^ (ports >>> 16)) & (RECENT - 1); // the same both ways round
    const recent = this.#recent[place]!;
    let id = recent !== EMPTY && this.#matches(recent) && this.#superseded[recent] === 0 ? recent : this.#lookUp();
    if (
      id === EMPTY ||
      ((rows.flags[row]! & SYN_ACK) === FLAG_SYN && this.#startsAnew(id, rows, row, batch.tNs[row]!))
    ) {
      id = this.#add(batch, rows, row, id);
    }
    this.#recent[place] = id;
    return id;
  }

  #readKey(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const key = this.#key;
    const { view } = batch;
    const at = rows.addresses[row]!;
    const version = rows.ipVersion[row]!;
    key[0] = rows.tunnel[row]! * 16 + version;
    key[1] = rows.ports[row]!;
    if (version === 4) {
      key[2] = view.getUint32(at);
      key[6] = view.getUint32(at + 4);
      key[3] = key[4] = key[5] = key[7] = key[8] = key[9] = 0;
    } else {
      for (let word = 0; word < 8; word++) key[2 + word] = view.getUint32(at + 4 * word);
    }
  }

  /** True when slot `id` has the key at hand, either way round; then `#side` is the side that sent the row. */
  #matches(id: number): boolean {
    const at = id * KEY_WORDS;
    const keys = this.#keys;
    const key = this.#key;
    if (keys[at] !== key[0]) return false;
    const ports = keys[at + 1]!;
    const words = wordsOf(key[0]!);
    if (ports === key[1] && this.#sameAddresses(at + SIDE_0, at + SIDE_1, words)) {
      this.#side = 0;
      return true;
    }
    if (swapped(ports) !== key[1] || !this.#sameAddresses(at + SIDE_1, at + SIDE_0, words)) return false;
    this.#side = 1;
    return true;
  }

  /** True when the key at hand goes from the address at `from` to the one at `to`. */
  #sameAddresses(from: number, to: number, words: number): boolean {
    const keys = this.#keys;
    const key = this.#key;
    for (let word = 0; word < words; word++) {
      if (keys[from + word] !== key[SIDE_0 + word] || keys[to + word] !== key[SIDE_1 + word]) return false;
    }
    return true;
  }

  #lookUp(): number {
    const table = this.#table;
    const mask = table.length - 1;
    for (let at = this.#hashOf(this.#key, 0) & mask; ; at = (at + 1) & mask) {
      const id = table[at]!;
      if (id === EMPTY || this.#matches(id)) return id;
    }
  }

  /** Same for both ways round: the two endpoints are mixed on their own and added. */
  #hashOf(words: Uint32Array, at: number): number {
    const ports = words[at + 1]!;
    let source = Math.imul((ports >>> 16) ^ this.#salt, 0x9e3779b1);
    let destination = Math.imul((ports & 0xffff) ^ this.#salt, 0x9e3779b1);
    const addressWords = wordsOf(words[at]!);
    for (let word = 0; word < addressWords; word++) {
      source = Math.imul(source ^ (source >>> 15) ^ words[at + 2 + word]!, 0x85ebca6b);
      destination = Math.imul(destination ^ (destination >>> 15) ^ words[at + 6 + word]!, 0x85ebca6b);
    }
    let hash = (source ^ (source >>> 13)) + (destination ^ (destination >>> 13)) + words[at]!;
    hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35);
    return (hash ^ (hash >>> 13)) >>> 0;
  }

  /**
   * True when this row, a SYN, begins a later connection on the same addresses.
   *
   * A SYN with the known initial number is a retransmission. With another it must either follow the end of the old
   * connection (or long silence), or lie where the old one could not have sent; otherwise a stray SYN would cut a live
   * connection in two (RFC 5961 §4 makes the receiver answer it with a challenge ACK only).
   */
  #startsAnew(id: number, rows: SegmentRows, row: number, tNs: number): boolean {
    const entry = this.#slots[id]!;
    const sender = entry.spaces[this.#side];
    const seq = rows.seq[row]!;
    if (sender.synSent && sender.initialSeq === seq) return false;
    if (!sender.started) return entry.closed || entry.spaces[1 - this.#side]!.hasData;
    return entry.closed || tNs - entry.endNs > REUSE_IDLE_NS || sender.isBeyond(seq);
  }

  /** Makes a connection for the key at hand; `previous` is the one on the same addresses, EMPTY when there is none. */
  #add(batch: PacketBatch, rows: SegmentRows, row: number, previous: number): number {
    if (previous !== EMPTY) {
      this.#superseded[previous] = 1;
      this.#forget(previous);
    }
    const id = this.#takeSlot();
    const keys = this.#keys;
    const key = this.#key;
    const at = id * KEY_WORDS;
    keys.set(key, at);
    this.#side = (rows.flags[row]! & SYN_ACK) === SYN_ACK ? 1 : 0;
    if (this.#side === 1) {
      keys[at + 1] = swapped(key[1]!);
      for (let word = 0; word < 4; word++) {
        keys[at + 2 + word] = key[6 + word]!;
        keys[at + 6 + word] = key[2 + word]!;
      }
    }
    const labels = rows.tunnels[rows.tunnel[row]!]?.labels ?? [];
    this.#superseded[id] = 0;
    this.#slots[id] = new Entry(labels, batch.firstFrame + row, batch.tNs[row]!);
    this.#insert(id);
    return id;
  }

  /** A free slot, the latest of all from now on. */
  #takeSlot(): number {
    const id = this.#free.pop() ?? this.#slots.length;
    if (id === this.#slots.length) this.#reserve(id);
    this.#append(id);
    return id;
  }

  #reserve(id: number): void {
    if (id * KEY_WORDS < this.#keys.length) return;
    this.#keys = grown(this.#keys, 0);
    this.#superseded = grown(this.#superseded, 0);
    this.#touched = grown(this.#touched, 0);
    this.#newer = grown(this.#newer, 0);
    this.#older = grown(this.#older, 0);
  }

  #insert(id: number): void {
    if (++this.#used * 2 > this.#table.length) {
      const old = this.#table;
      this.#table = new Int32Array(old.length * 2).fill(EMPTY);
      for (const known of old) if (known !== EMPTY) this.#place(known);
    }
    this.#place(id);
  }

  #place(id: number): void {
    const table = this.#table;
    const mask = table.length - 1;
    let at = this.#hashOf(this.#keys, id * KEY_WORDS) & mask;
    while (table[at] !== EMPTY) at = (at + 1) & mask;
    table[at] = id;
  }

  /** Takes slot `id` out of the table and closes the gap, so that probing never needs tombstones. */
  #forget(id: number): void {
    const table = this.#table;
    const mask = table.length - 1;
    let gap = this.#hashOf(this.#keys, id * KEY_WORDS) & mask;
    while (table[gap] !== id) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; table[at] !== EMPTY; at = (at + 1) & mask) {
      const home = this.#hashOf(this.#keys, table[at]! * KEY_WORDS) & mask;
      // An entry may move into the gap unless its home lies cyclically after the gap.
      if (((at - home) & mask) >= ((at - gap) & mask)) {
        table[gap] = table[at]!;
        gap = at;
      }
    }
    table[gap] = EMPTY;
    this.#used--;
  }

  #evict(id: number): void {
    if (this.#superseded[id] === 0) this.#forget(id);
    this.#superseded[id] = 1;
    this.evicted++;
    const entry = this.#slots[id]!;
    entry.evicted = true;
    this.#log.note('tcp/connections-full', { frame: entry.firstFrame, tNs: entry.endNs });
    for (const listener of this.#listeners) listener(id);
    this.#unlink(id);
    this.#free.push(id);
  }

  #append(id: number): void {
    this.#older[id] = this.#latest;
    this.#newer[id] = EMPTY;
    if (this.#latest === EMPTY) this.#oldest = id;
    else this.#newer[this.#latest] = id;
    this.#latest = id;
  }

  #touch(id: number): void {
    this.#touched[id] = this.#batches;
    if (this.#latest === id) return;
    this.#unlink(id);
    this.#append(id);
  }

  #unlink(id: number): void {
    const older = this.#older[id]!;
    const newer = this.#newer[id]!;
    if (older === EMPTY) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === EMPTY) this.#latest = older;
    else this.#older[newer] = older;
  }

  #endpoint(id: number, side: 0 | 1): Endpoint {
    const at = id * KEY_WORDS;
    const keys = this.#keys;
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let word = 0; word < 4; word++) view.setUint32(4 * word, keys[at + 2 + 4 * side + word]!);
    const ports = keys[at + 1]!;
    return {
      address: addressText(bytes, 0, keys[at]! & 15),
      port: side === 0 ? ports >>> 16 : ports & 0xffff,
    };
  }
}

/** Words of a key's addresses that count: an IPv4 address is one word, and three zeros follow it. */
const wordsOf = (tunnelAndVersion: number): number => ((tunnelAndVersion & 15) === 4 ? 1 : 4);

const swapped = (ports: number): number => ((ports << 16) | (ports >>> 16)) >>> 0;
