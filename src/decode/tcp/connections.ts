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
import { FLAG_ACK, FLAG_RST, FLAG_SYN, KIND_TCP, NO_DIRECTION, type SegmentRows, type TunnelPath } from '../rows.js';
import { grown } from './ranges.js';
import type { Endpoint } from './results.js';
import { SequenceSpaces } from './sequence-spaces.js';
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

/** Places for slots of recent rows; a power of two. */
const RECENT = 256;
/** Words of one key: tunnel and IP version, ports, address of side 0 (4 words), address of side 1 (4 words). */
const KEY_WORDS = 10;
const SIDE_0 = 2;
const SIDE_1 = 6;
const SYN_ACK = FLAG_SYN | FLAG_ACK;
const EMPTY = -1;
/** Doubles of a slot: times in ns of its first and latest frame, and the first one's number. */
const DOUBLES = 3;
const START_NS = 0;
const END_NS = 1;
const FIRST_FRAME = 2;
/** A later connection on the same addresses has taken the slot out of the table. */
const SUPERSEDED = 0x01;
/** It gave its slot up, and no other has taken it yet. */
const EVICTED = 0x02;
/** One side has sent RST. */
const RESET = 0x04;
/** Wanted connections passed over when one has to give its slot up. */
const WANTED_IN_A_ROW = 64;
/** A SYN on known addresses after this much silence starts a new connection whatever its sequence number. */
const REUSE_IDLE_NS = 60e9;
/** A capture of several queues may hold an answer before the SYN, but not for longer. */
const REORDERED_NS = 1e9;

export interface ConnectionsOptions {
  /** Connections kept at most. */
  readonly limit?: number;
}

export class Connections {
  /** Connections that gave up their slot. Their figures are not in the results. */
  evicted = 0;
  readonly #log: AnomalyLog;
  readonly #limit: number;
  readonly #spaces = new SequenceSpaces();
  readonly #listeners: ((id: number) => void)[] = [];
  #isWanted: (id: number) => boolean = () => false;
  /** Against captures made to collide. */
  readonly #salt = (Math.random() * 0x1_0000_0000) >>> 0;
  /** Slots ever used. */
  #slots = 0;
  #keys = new Uint32Array(KEY_WORDS * 16);
  #doubles = new Float64Array(DOUBLES * 16);
  /** SUPERSEDED, EVICTED, RESET. */
  #states = new Uint8Array(16);
  /** Frames of a slot whose marks were looked at. */
  #marked = new Uint8Array(16);
  /** Tunnel paths by the id in a key, as rows know them. */
  #tunnels: readonly TunnelPath[] = [];
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

  constructor(log: AnomalyLog, options: ConnectionsOptions = {}) {
    this.#log = log;
    this.#limit = options.limit ?? CONNECTIONS;
  }

  /** Ids in use, in order. Closed connections keep theirs unless others need it. */
  ids(): number[] {
    return Array.from({ length: this.#slots }, (_, id) => id).filter((id) => (this.#states[id]! & EVICTED) === 0);
  }

  /** Bytes of its streams that both sides of a connection have sent, as far as is known. */
  sentBytes(id: number): readonly [number, number] {
    return [this.#spaces.sentBytes(2 * id), this.#spaces.sentBytes(2 * id + 1)];
  }

  /** Ids of the `count` connections that carried most so far, the busiest first. */
  busiest(count: number): number[] {
    const carried = new Map(this.ids().map((id) => [id, this.sentBytes(id)[0] + this.sentBytes(id)[1]]));
    return [...carried.keys()].sort((a, b) => carried.get(b)! - carried.get(a)!).slice(0, count);
  }

  /** Who talks to whom; may be asked while the capture is read. */
  identity(id: number): ConnectionIdentity {
    return {
      id,
      encapsulation: this.#tunnels[this.#keys[id * KEY_WORDS]! >>> 4]?.labels ?? [],
      client: this.#endpoint(id, 0),
      server: this.#endpoint(id, 1),
      firstFrame: this.#doubles[id * DOUBLES + FIRST_FRAME]!,
      startNs: this.#doubles[id * DOUBLES + START_NS]!,
    };
  }

  /** Calls `listener` with the id of every connection that gives its slot up, before a new one takes it. */
  onReplaced(listener: (id: number) => void): void {
    this.#listeners.push(listener);
  }

  /** Connections for which `isWanted` is true give their slots up only when nearly all others are wanted, too. */
  prefer(isWanted: (id: number) => boolean): void {
    this.#isWanted = isWanted;
  }

  /** Makes the connections beyond the limit give their slots up. Not while the rows of a batch are still being read. */
  trim(): void {
    for (let live = this.#slots - this.#free.length; live > this.#limit; live--) {
      for (let looks = 0; looks < WANTED_IN_A_ROW && this.#isWanted(this.#oldest); looks++) this.#touch(this.#oldest);
      this.#evict(this.#oldest);
    }
  }

  /** Places every row: fills what it says of where it belongs. */
  place(batch: PacketBatch, rows: SegmentRows): void {
    this.trim();
    this.#batches = (this.#batches + 1) >>> 0;
    this.#tunnels = rows.tunnels;
    const spaces = this.#spaces;
    const { count, tNs, iface, start } = batch;
    rows.tNs.set(count === tNs.length ? tNs : tNs.subarray(0, count));
    const { kind, direction, flags, marks, capturePoint, ackOffset, clockNs, ttl, addresses } = rows;
    for (let row = 0; row < count; row++) {
      if (kind[row] !== KIND_TCP) {
        direction[row] = NO_DIRECTION;
        continue;
      }
      const id = this.#find(batch, rows, row);
      const of = 2 * id + this.#side;
      direction[row] = of;
      if (this.#touched[id] !== this.#batches) this.#touch(id);
      const endNs = Math.max(tNs[row]!, this.#doubles[id * DOUBLES + END_NS]!);
      this.#doubles[id * DOUBLES + END_NS] = endNs;
      clockNs[row] = endNs;
      marks[row] = 0;
      if (this.#marked[id]! < MARKED_FRAMES) {
        this.#marked[id]!++;
        marks[row] = marksOf(batch, rows, row);
      }
      capturePoint[row] = iface[row]! | (ttl[row]! << 16) | ((addresses[row]! - start[row]!) << 24);
      const flag = flags[row]!;
      if (flag & FLAG_RST) this.#states[id] = this.#states[id]! | RESET;
      ackOffset[row] = flag & FLAG_ACK ? spaces.acknowledged(of ^ 1, rows, row) : Number.NaN;
      spaces.sent(of, rows, row);
    }
  }

  /** The row's connection, made when there is none or a new one starts on known addresses. Sets `#side`. */
  #find(batch: PacketBatch, rows: SegmentRows, row: number): number {
    this.#readKey(batch, rows, row);
    const ports = this.#key[1]!;
    const place = (ports ^ (ports >>> 16)) & (RECENT - 1); // the same both ways round
    const recent = this.#recent[place]!;
    let id =
      recent !== EMPTY && this.#matches(recent) && !(this.#states[recent]! & SUPERSEDED) ? recent : this.#lookUp();
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
   * connection in two (RFC 5961 §4 makes the receiver answer it with a challenge ACK only). One whose answer is there already
   * was captured behind it, on another queue: what answers it acknowledges numbers near to its own.
   */
  #startsAnew(id: number, rows: SegmentRows, row: number, tNs: number): boolean {
    const spaces = this.#spaces;
    const of = 2 * id + this.#side;
    const seq = rows.seq[row]!;
    if (spaces.beganWith(of, seq)) return false;
    const closed = (this.#states[id]! & RESET) !== 0 || (spaces.hasEnded(of) && spaces.hasEnded(of ^ 1));
    if (closed) return true;
    if (!spaces.hasStarted(of)) {
      const sinceStartNs = tNs - this.#doubles[id * DOUBLES + START_NS]!;
      return spaces.hasData(of ^ 1) && (sinceStartNs > REORDERED_NS || spaces.isBeyond(of, seq));
    }
    return tNs - this.#doubles[id * DOUBLES + END_NS]! > REUSE_IDLE_NS || spaces.isBeyond(of, seq);
  }

  /** Makes a connection for the key at hand; `previous` is the one on the same addresses, EMPTY when there is none. */
  #add(batch: PacketBatch, rows: SegmentRows, row: number, previous: number): number {
    if (previous !== EMPTY) {
      this.#states[previous] = this.#states[previous]! | SUPERSEDED;
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
    this.#states[id] = 0;
    this.#marked[id] = 0;
    const doubles = this.#doubles;
    doubles[id * DOUBLES + START_NS] = doubles[id * DOUBLES + END_NS] = batch.tNs[row]!;
    doubles[id * DOUBLES + FIRST_FRAME] = batch.firstFrame + row;
    this.#spaces.begin(id);
    this.#insert(id);
    return id;
  }

  /** A free slot, the latest of all from now on. */
  #takeSlot(): number {
    const id = this.#free.pop() ?? this.#slots;
    if (id === this.#slots) this.#reserve(this.#slots++);
    this.#append(id);
    return id;
  }

  #reserve(id: number): void {
    if (id * KEY_WORDS < this.#keys.length) return;
    this.#keys = grown(this.#keys, 0);
    this.#doubles = grown(this.#doubles, 0);
    this.#states = grown(this.#states, 0);
    this.#marked = grown(this.#marked, 0);
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
    if (!(this.#states[id]! & SUPERSEDED)) this.#forget(id);
    this.#states[id] = SUPERSEDED | EVICTED;
    this.evicted++;
    this.#log.note('tcp/connections-full', {
      frame: this.#doubles[id * DOUBLES + FIRST_FRAME]!,
      tNs: this.#doubles[id * DOUBLES + END_NS]!,
    });
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
