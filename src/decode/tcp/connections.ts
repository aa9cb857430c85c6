// Connections: finds the connection of every TCP row, keeps both directions' state and annotates the rows.
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
import {
  FLAG_ACK,
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  KIND_TCP,
  NO_DIRECTION,
  OPTION_MSS,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMP,
  OPTION_WINDOW_SCALE,
  OPTIONS_CUT,
  type SegmentRows,
  TRIGGER_NONE,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_NONE,
} from '../rows.js';
import { acknowledge } from './acknowledge.js';
import { Direction } from './direction.js';
import { grown } from './ranges.js';
import type { Endpoint } from './results.js';
import { seqDistance, WINDOW_MAX_BYTES } from './sequence.js';
import { transmit } from './transmit.js';
import { TWIN_NONE, TWIN_OTHER_PLACE, Twins } from './twins.js';
import { MARKED_FRAMES, noteMarks } from './vantage.js';

/** Who talks to whom, known from the first frame on. */
export interface ConnectionIdentity {
  readonly id: number;
  readonly encapsulation: readonly string[];
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly firstFrame: number;
  readonly startNs: number;
}

/** One connection while the capture is read. Times in ns since the capture's first frame, NaN where not seen. */
export class Connection {
  readonly directions: readonly [Direction, Direction];
  endNs: number;
  /** First SYN, first SYN-ACK, and the first ACK that completes the handshake. */
  synNs = Number.NaN;
  synAckNs = Number.NaN;
  establishedNs = Number.NaN;
  /** SYN or SYN-ACK were sent more than once: times between them prove nothing. */
  handshakeRepeated = false;
  /** Side whose FIN or RST came first, −1 while neither has. */
  closedFirstBy = -1;
  reset = false;
  /** SYN-ACK seen, what follows it not yet. */
  opening = false;
  /** It gave its slot up, and no other has taken it yet. */
  evicted = false;
  frames = 0;

  constructor(
    readonly id: number,
    readonly encapsulation: readonly string[],
    readonly firstFrame: number,
    readonly startNs: number,
  ) {
    this.endNs = startNs;
    this.directions = [new Direction(2 * id), new Direction(2 * id + 1)];
  }

  /** Both sides have sent FIN, or one has sent RST. */
  get closed(): boolean {
    return this.reset || (this.directions[0].finSent && this.directions[1].finSent);
  }
}

/** Rows cleared and then filled: so few that they stay in the processor's nearest cache. */
const ROWS_AT_ONCE = 256;
/** Places for slots of recent rows; a power of two. */
const RECENT = 256;
/** Words of one key: tunnel and IP version, ports, address of side 0 (4 words), address of side 1 (4 words). */
const KEY_WORDS = 10;
const SIDE_0 = 2;
const SIDE_1 = 6;
const SYN_ACK = FLAG_SYN | FLAG_ACK;
const EMPTY = -1;
/** Source: RFC 7323 §2.3. */
const WINDOW_SCALE_MAX = 14;
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
  readonly #slots: Connection[] = [];
  readonly #listeners: ((id: number) => void)[] = [];
  /** Salt against captures made to collide. */
  readonly #twins = new Twins();
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

  /** One more than the highest id. Closed connections keep theirs; see `Connection.evicted` for those that gave it up. */
  get count(): number {
    return this.#slots.length;
  }

  connection(id: number): Connection {
    return this.#slots[id]!;
  }

  /** The transmit state of a direction id. */
  direction(id: number): Direction {
    return this.#slots[id >>> 1]!.directions[id & 1]!;
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

  /** Fills the annotated part of every row. */
  annotate(batch: PacketBatch, rows: SegmentRows): void {
    this.trim();
    this.#batches = (this.#batches + 1) >>> 0;
    for (let from = 0; from < batch.count; from += ROWS_AT_ONCE) {
      const to = Math.min(batch.count, from + ROWS_AT_ONCE);
      clear(rows, from, to);
      this.#annotate(batch, rows, from, to);
    }
  }

  #annotate(batch: PacketBatch, rows: SegmentRows, from: number, to: number): void {
    const { kind, direction } = rows;
    for (let row = from; row < to; row++) {
      if (kind[row] !== KIND_TCP) {
        direction[row] = NO_DIRECTION;
        continue;
      }
      const id = this.#find(batch, rows, row);
      const connection = this.#slots[id]!;
      const side = this.#side;
      direction[row] = 2 * id + side;
      if (this.#touched[id] !== this.#batches) this.#touch(id);
      connection.frames++;
      // Merged queues may hold frames slightly out of order; intervals are measured on a clock that never steps back.
      const tNs = Math.max(batch.tNs[row]!, connection.endNs);
      connection.endNs = tNs;
      const sender = connection.directions[side]!;
      const receiver = connection.directions[1 - side]!;
      if (connection.frames <= MARKED_FRAMES) noteMarks(batch, rows, row, sender);
      const twin = this.#twins.look(batch, rows, row, connection.frames, 0.5 * sender.roundTripMinNs);
      const share = rows.payloadLen[row]! > 0 ? sender.dataTwins : sender.ackTwins;
      share.count(twin, rows.payloadLen[row]!);
      if (twin !== TWIN_NONE) {
        const byCapture = twin === TWIN_OTHER_PLACE || share.doubled;
        rows.verdict[row] = byCapture ? VERDICT_CAPTURE_DUPLICATE : VERDICT_NETWORK_DUPLICATE;
        if (byCapture)
          this.#log.note('tcp/captured-twice', { frame: batch.firstFrame + row, tNs, direction: sender.id });
        rows.offset[row] = sender.offsetOf(rows.seq[row]!, rows.flags[row]!);
        if (rows.flags[row]! & FLAG_ACK) rows.ackOffset[row] = receiver.ackOffsetOf(rows.ack[row]!);
        continue;
      }
      if (rows.flags[row]! & (FLAG_SYN | FLAG_FIN | FLAG_RST)) track(connection, side, rows, row, tNs);
      else if (connection.opening) completeHandshake(connection, side, tNs);
      if (rows.flags[row]! & FLAG_ACK) acknowledge(batch, rows, row, tNs, receiver, sender);
      transmit(rows, row, tNs, sender);
      if (rows.verdict[row] === VERDICT_NETWORK_DUPLICATE) this.#judgeCopy(batch, rows, row, tNs, sender);
    }
  }

  /** A copy that was cut differently from the first: the capture's, too, where nearly all frames have one. */
  #judgeCopy(batch: PacketBatch, rows: SegmentRows, row: number, tNs: number, sender: Direction): void {
    sender.dataTwins.countLate(rows.payloadLen[row]!);
    if (!sender.dataTwins.doubled) return;
    rows.verdict[row] = VERDICT_CAPTURE_DUPLICATE;
    rows.flight[row] = rows.pipe[row] = Number.NaN;
    this.#log.note('tcp/captured-twice', { frame: batch.firstFrame + row, tNs, direction: sender.id });
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
    const connection = this.#slots[id]!;
    const sender = connection.directions[this.#side];
    if (sender.started && sender.synSent && seqDistance(sender.initialSeq, rows.seq[row]!) === 0) return false;
    if (!sender.started) return connection.closed || connection.directions[1 - this.#side]!.dataFrames > 0;
    if (connection.closed || tNs - connection.endNs > REUSE_IDLE_NS) return true;
    return Math.abs(seqDistance(sender.nextSeq, rows.seq[row]!)) > WINDOW_MAX_BYTES;
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
    this.#slots[id] = new Connection(id, labels, batch.firstFrame + row, batch.tNs[row]!);
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
    const connection = this.#slots[id]!;
    connection.evicted = true;
    this.#log.note('tcp/connections-full', { frame: connection.firstFrame, tNs: connection.endNs });
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

/** Puts "nothing known" into the annotated part of rows [from, to). */
function clear(rows: SegmentRows, from: number, to: number): void {
  rows.offset.fill(Number.NaN, from, to);
  rows.ackOffset.fill(Number.NaN, from, to);
  rows.verdict.fill(VERDICT_NONE, from, to);
  rows.newBytes.fill(0, from, to);
  rows.trigger.fill(TRIGGER_NONE, from, to);
  rows.segments.fill(0, from, to);
  rows.loopNs.fill(Number.NaN, from, to);
  rows.flight.fill(Number.NaN, from, to);
  rows.pipe.fill(Number.NaN, from, to);
  rows.room.fill(Number.NaN, from, to);
  rows.windowBytes.fill(Number.NaN, from, to);
  rows.reactionNs.fill(Number.NaN, from, to);
  rows.unseenBytes.fill(0, from, to);
}

/** Follows a connection's opening and closing. */
function track(connection: Connection, side: 0 | 1, rows: SegmentRows, row: number, tNs: number): void {
  const flags = rows.flags[row]!;
  const [client, server] = connection.directions;
  if (flags & FLAG_SYN) {
    const sender = connection.directions[side];
    readSynOptions(sender, rows, row);
    if (flags & FLAG_ACK) {
      if (Number.isNaN(connection.synAckNs)) {
        connection.synAckNs = tNs;
        connection.opening = true;
        if (!connection.handshakeRepeated && connection.synNs <= tNs) {
          client.sampleAckLoop(tNs - connection.synNs);
          server.sampleEchoLoop(tNs - connection.synNs);
        }
      } else connection.handshakeRepeated = true;
      agree(client, server);
    } else if (Number.isNaN(connection.synNs)) connection.synNs = tNs;
    else connection.handshakeRepeated = true;
  }
  if (flags & FLAG_RST) connection.reset = true;
  if (flags & (FLAG_RST | FLAG_FIN) && connection.closedFirstBy < 0) connection.closedFirstBy = side;
}

/** The client's first frame after the SYN-ACK completes the handshake. */
function completeHandshake(connection: Connection, side: 0 | 1, tNs: number): void {
  if (side !== 0) return;
  connection.opening = false;
  connection.establishedNs = tNs;
  if (connection.handshakeRepeated) return;
  const [client, server] = connection.directions;
  server.sampleAckLoop(tNs - connection.synAckNs);
  client.sampleEchoLoop(tNs - connection.synAckNs);
}

function readSynOptions(sender: Direction, rows: SegmentRows, row: number): void {
  const options = rows.options[row]!;
  sender.synOptionsWhole = (options & OPTIONS_CUT) === 0;
  if (options & OPTION_MSS) sender.mss = rows.mss[row]!;
  if (options & OPTION_WINDOW_SCALE) sender.windowScale = Math.min(rows.windowScale[row]!, WINDOW_SCALE_MAX);
  if (options & OPTION_SACK_PERMITTED) sender.sackPermitted = true;
  if (options & OPTION_TIMESTAMP) sender.timestamps = true;
}

/** What the two SYNs agreed on: an option counts only when both carry it. */
function agree(client: Direction, server: Direction): void {
  // A SYN-ACK may answer only what the SYN offered, so its option speaks for both (RFC 7323 §2.2).
  if (!Number.isNaN(server.windowScale)) {
    server.setShift(server.windowScale);
    client.setShift(client.windowScale);
  }
  const noScale = (side: Direction): boolean => side.synOptionsWhole && Number.isNaN(side.windowScale);
  if (noScale(client) || noScale(server)) {
    server.setShift(0);
    client.setShift(0);
  }
  const noSack = (side: Direction): boolean => side.synOptionsWhole && !side.sackPermitted;
  if (noSack(client) || noSack(server)) client.sackUsable = server.sackUsable = false;
  // An offer that was not taken up: frames carry none (RFC 7323 §3.2). A frame that does anyway speaks for itself.
  const noStamp = (side: Direction): boolean => side.synOptionsWhole && !side.timestamps;
  if (noStamp(client) || noStamp(server)) client.timestamps = server.timestamps = false;
  const agreed = Number.isNaN(client.mss)
    ? server.mss
    : Number.isNaN(server.mss)
      ? client.mss
      : Math.min(client.mss, server.mss);
  client.agreedMss = server.agreedMss = agreed;
}
