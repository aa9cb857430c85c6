// Reassembly: placed segments of one direction → each stream byte once, in order, and holes where bytes are missing.
//
// In-order bytes are passed on as views, what came early waits (early-bytes.ts). A hole is declared
//   unseen    once the peer acknowledged past it (the receiver has the bytes, so the capture lost them); a grace covers
//             captures that deliver an acknowledgement before the data it acknowledges,
//   cut       where a frame holds fewer payload bytes than were on the wire (snap length),
//   given-up  when too much waits behind it, or at the end of the capture.
// Which directions to reassemble is decided by `claim` on their first bytes; unwanted ones cost one table look-up a row.
// Connections have already turned sequence numbers into offsets, so wrap and size are no concern here.
import type { AnomalyLog } from '../../anomaly.js';
import type { PacketBatch } from '../../capture/packet-batch.js';
import { REASSEMBLY_DIRECTION_BYTES, REASSEMBLY_SEGMENTS, REASSEMBLY_TOTAL_BYTES } from '../../limits.js';
import { WIDE_ZERO } from '../../wide-zero.js';
import {
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  KIND_TCP,
  NO_DIRECTION,
  type SegmentRows,
  STRAY_KEEP_ALIVE,
  STRAY_WINDOW,
} from '../rows.js';
import { type ClaimStream, type HoleCause, PROBE_BYTES, type StreamConsumer, type StreamEnd } from '../stream.js';
import { EarlyBytes, SpareRings } from './early-bytes.js';

/** How long an acknowledgement of unseen bytes is held to be early, and for how many rows of the connection. */
const GRACE_NS = 1_000_000;
const GRACE_ROWS = 8;
/** Directions that room is made for at first. */
const DIRECTIONS = 256;

/** Status bits of a direction: nobody wants its bytes (any more). */
const UNWANTED = 1;
/** Its SYN is in the capture, so offset 0 is the stream's first byte. */
const SYN_SEEN = 2;

export class Reassembler {
  /** Per direction id: status bits. */
  #status = new Uint8Array(DIRECTIONS);
  /** By direction id, where bytes are followed: the wanted ones, and those not decided yet that already had data. */
  readonly #streams: (DirectionStream | undefined)[] = new Array(DIRECTIONS).fill(undefined);
  /** What all streams share. */
  readonly #services: StreamServices;
  #latestNs = WIDE_ZERO;
  #latestFrame = 0;

  constructor(claim: ClaimStream, log: AnomalyLog) {
    const rings = new SpareRings();
    this.#services = {
      claim,
      log,
      budget: { bytes: 0 },
      rings,
      probe: new Uint8Array(PROBE_BYTES),
      nothing: new EarlyBytes(rings),
      over: (direction) => {
        this.#status[direction] = this.#status[direction]! | UNWANTED;
        this.#streams[direction] = undefined;
      },
    };
  }

  /** Takes the TCP rows of one batch, which know where they belong. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { kind, direction, flags, payloadLen, offset, ackOffset, stray } = rows;
    const { count, tNs, firstFrame } = batch;
    const streams = this.#streams;
    const { budget } = this.#services;
    for (let row = 0; row < count; row++) {
      if (kind[row] !== KIND_TCP) continue;
      const d = direction[row]!;
      if (d === NO_DIRECTION) continue;
      if ((d | 1) >= this.#status.length) this.#grow(d | 1);
      const status = this.#status;
      const own = status[d]!;
      const reverse = status[d ^ 1]!;
      if (own & reverse & UNWANTED) continue;
      const flag = flags[row]!;
      if (flag & FLAG_SYN) status[d] = status[d]! | SYN_SEEN;
      if (stray[row] === STRAY_WINDOW) continue;
      const t = tNs[row]!;
      const frame = firstFrame + row;

      if (!(own & UNWANTED)) {
        const length = payloadLen[row]!;
        let stream = streams[d];
        if (length > 0 && stray[row] !== STRAY_KEEP_ALIVE) {
          stream ??= this.#open(d, offset[row]!);
          const at = rows.payload[row]!;
          stream.segment(batch.bytes, at, rows.payloadCap[row]!, length, offset[row]!, t, frame);
        }
        if (stream) {
          if (flag & FLAG_FIN) stream.fin(offset[row]! + length, t, frame);
          if (stream.ackWaits) stream.mindAck(t, frame);
          if (budget.bytes > REASSEMBLY_TOTAL_BYTES) this.#relieve(t, frame);
        }
      }
      if (!(reverse & UNWANTED)) {
        const acknowledged = ackOffset[row]!;
        const peer = streams[d ^ 1];
        if (peer && acknowledged > peer.next) peer.acknowledged(acknowledged, t, frame);
      }
      if (flag & FLAG_RST) {
        streams[d]?.reset(t, frame);
        streams[d ^ 1]?.reset(t, frame);
      }
    }
    if (count > 0) {
      this.#latestNs = tNs[count - 1]!;
      this.#latestFrame = firstFrame + count - 1;
    }
  }

  /**
   * The connection's id is given to another one: what still waits is delivered, if anybody reads the stream, and nothing of
   * it is remembered.
   */
  forget(connection: number): void {
    for (const direction of [2 * connection, 2 * connection + 1]) {
      const stream = this.#streams[direction];
      if (stream?.isRead) stream.finish(this.#latestNs, this.#latestFrame);
      else stream?.giveUp();
      if (direction < this.#status.length) this.#status[direction] = 0;
    }
  }

  /** Ends all streams: what still waits is delivered, with holes in between. */
  finish(): void {
    for (const stream of this.#streams) stream?.finish(this.#latestNs, this.#latestFrame);
  }

  #open(direction: number, offset: number): DirectionStream {
    // Without the SYN, the first bytes there are begin the stream as far as we know.
    const fromStart = (this.#status[direction]! & SYN_SEEN) !== 0;
    const stream = new DirectionStream(direction, fromStart ? 0 : offset, fromStart, this.#services);
    this.#streams[direction] = stream;
    return stream;
  }

  /** All rings together are too large: gives up the hole that has been open longest, anywhere. */
  #relieve(tNs: number, frame: number): void {
    while (this.#services.budget.bytes > REASSEMBLY_TOTAL_BYTES) {
      let oldest: DirectionStream | undefined;
      for (const stream of this.#streams) {
        if (stream?.waiting && (!oldest || stream.waitingSinceNs < oldest.waitingSinceNs)) oldest = stream;
      }
      if (!oldest) return;
      oldest.giveUpOldest(tNs, frame);
    }
  }

  #grow(direction: number): void {
    const grown = new Uint8Array(Math.max(2 * this.#status.length, 2 * direction + 2));
    grown.set(this.#status);
    this.#status = grown;
    // Without gaps the list stays a plain array.
    while (this.#streams.length < grown.length) this.#streams.push(undefined);
  }
}

/** Ring memory in use by all directions together. */
interface RingBudget {
  bytes: number;
}

interface StreamServices {
  readonly claim: ClaimStream;
  readonly log: AnomalyLog;
  readonly budget: RingBudget;
  readonly rings: SpareRings;
  /** Where the first bytes of a stream are put together. */
  readonly probe: Uint8Array;
  /** What most streams have waiting, always: stays empty. */
  readonly nothing: EarlyBytes;
  /** The stream has ended or nobody wants it. */
  over(direction: number): void;
}

/** One direction: what was delivered, and what waits. */
class DirectionStream {
  readonly #direction: number;
  readonly #services: StreamServices;
  /** Offset of the next byte to deliver. */
  next = Number.NaN;
  #consumer: StreamConsumer | null = null;
  #done = false;
  // While undecided: whether its first bytes are the first of the stream, and those so far. A string, for most are a few bytes
  // that are never decided, and a small typed array takes 200.
  #fromStart: boolean;
  #first = '';
  #early: EarlyBytes;
  /** Time since when something waits behind the oldest hole; meaningless while nothing waits. */
  waitingSinceNs = WIDE_ZERO;
  /** Where the FIN stands; nobody may know yet that the stream ends there, for it came behind a hole. */
  #finOffset = Number.NaN;
  /** A reset came while something waited, and no FIN before it. */
  #isReset = false;
  /** When the FIN or the reset came, for what closes a hole before it, or shows that nothing will, comes when it likes. */
  #endedNs = WIDE_ZERO;
  #endedFrame = 0;
  // Acknowledgements of bytes not delivered yet: the one under grace, and the highest.
  ackWaits = false;
  #graceAck = WIDE_ZERO;
  #graceNs = WIDE_ZERO;
  #graceRows = 0;
  #highestAck = WIDE_ZERO;

  constructor(direction: number, next: number, fromStart: boolean, services: StreamServices) {
    this.#direction = direction;
    this.next = next;
    this.#fromStart = fromStart;
    this.#services = services;
    this.#early = services.nothing;
  }

  /** Somebody wanted it. */
  get isRead(): boolean {
    return this.#consumer !== null;
  }

  get waiting(): boolean {
    return this.#early.rows > 0;
  }

  /** `buffer[at, at + captured)` are the first of `length` payload bytes at `offset`. */
  segment(
    buffer: Uint8Array,
    at: number,
    captured: number,
    length: number,
    offset: number,
    tNs: number,
    frame: number,
  ): void {
    if (this.#done) return;
    const late = this.next - offset;
    if (late >= 0) {
      if (late >= length) return;
      if (late > 0) {
        at += late;
        captured = captured > late ? captured - late : 0;
        length -= late;
        offset += late;
      }
      // A retransmission may span a hole and what waits behind it: only what closes the hole is taken from it, so that
      // bytes cut here but held there are not lost.
      if (this.#early.rows > 0) {
        const room = this.#early.firstOffset() - offset;
        if (length > room) {
          this.#store(buffer, at + room, captured - room, length - room, offset + room, tNs, frame);
          length = room;
          if (captured > room) captured = room;
        }
      }
      if (length > 0) this.#deliver(buffer, at, captured, length, offset, tNs, frame);
      if (this.#early.rows > 0) this.#drain(tNs);
      this.#endIfOver();
    } else {
      this.#store(buffer, at, captured, length, offset, tNs, frame);
    }
  }

  /** The peer acknowledged all before `ack`, which is beyond what was delivered. */
  acknowledged(ack: number, tNs: number, frame: number): void {
    if (this.#done) return;
    if (ack > this.#highestAck) this.#highestAck = ack;
    if (!this.ackWaits) {
      this.ackWaits = true;
      this.#graceAck = ack;
      this.#graceNs = tNs;
      this.#graceRows = 0;
    }
    this.mindAck(tNs, frame);
  }

  /** Called for every row while an acknowledgement is under grace: declares holes once the grace is over. */
  mindAck(tNs: number, frame: number): void {
    if (this.next >= this.#graceAck) {
      this.ackWaits = false;
      return;
    }
    if (++this.#graceRows <= GRACE_ROWS || tNs - this.#graceNs < GRACE_NS) return;
    this.ackWaits = false;
    // Only holes with bytes behind them: before that, the acknowledgement alone does not say how much is missing.
    while (this.#early.rows > 0 && this.#early.firstOffset() <= this.#graceAck) {
      this.#hole(this.#early.firstOffset() - this.next, 'unseen', tNs, frame);
      this.#drain(tNs);
    }
    this.#endIfOver();
  }

  fin(offset: number, tNs: number, frame: number): void {
    if (this.#done) return;
    // A copy of it is no later end.
    if (offset !== this.#finOffset) this.#ends(tNs, frame);
    this.#finOffset = offset;
    this.#isReset = false;
    this.#endIfOver();
  }

  reset(tNs: number, frame: number): void {
    // Data may still come that was captured out of order; with nothing waiting there is nothing to wait for.
    if (this.#early.rows === 0) this.#end('rst', tNs, frame);
    if (this.#isReset || !Number.isNaN(this.#finOffset)) return;
    this.#isReset = true;
    this.#ends(tNs, frame);
  }

  giveUpOldest(tNs: number, frame: number): void {
    this.#hole(this.#early.firstOffset() - this.next, this.#cause(), tNs, frame);
    this.#drain(tNs);
  }

  finish(tNs: number, frame: number): void {
    if (this.#done) return;
    while (this.#early.rows > 0) this.giveUpOldest(tNs, frame);
    // The very last bytes can be missing too: the FIN or the peer's acknowledgement knows of them. An acknowledgement
    // one byte ahead may be that of a FIN that is not in the capture.
    const known = Number.isNaN(this.#finOffset) ? this.#highestAck - 1 : this.#finOffset;
    if (known > this.next && known - this.next <= REASSEMBLY_DIRECTION_BYTES) {
      this.#hole(known - this.next, this.#cause(), tNs, frame);
    }
    if (this.#done) return;
    this.#endIfOver();
    this.#end('capture-end', tNs, frame);
  }

  /** Why the bytes at `next` are missing, as far as is known now. */
  #cause(): HoleCause {
    return this.#highestAck > this.next ? 'unseen' : 'given-up';
  }

  #ends(tNs: number, frame: number): void {
    this.#endedNs = tNs;
    this.#endedFrame = frame;
  }

  #endIfOver(): void {
    if (this.next === this.#finOffset) this.#end('fin', this.#endedNs, this.#endedFrame);
    else if (this.#isReset && this.#early.rows === 0) this.#end('rst', this.#endedNs, this.#endedFrame);
  }

  #end(cause: StreamEnd, tNs: number, frame: number): void {
    if (this.#done) return;
    this.#done = true;
    this.#release();
    this.#consumer?.end(this.next, cause, tNs, frame);
    this.#services.over(this.#direction);
  }

  #release(): void {
    this.#services.budget.bytes -= this.#early.capacity;
    this.#early.release();
  }

  /** Passes on `length` in-order bytes, of which only `captured` are in the capture. */
  #deliver(
    buffer: Uint8Array,
    at: number,
    captured: number,
    length: number,
    offset: number,
    tNs: number,
    frame: number,
  ): void {
    this.next = offset + length;
    const present = captured < length ? captured : length;
    if (present > 0) {
      if (this.#consumer) this.#pass(buffer, at, at + present, offset, tNs, frame);
      else this.#offer(buffer, at, at + present, offset, tNs, frame);
    }
    if (present < length) this.#passHole(offset + present, length - present, 'cut', tNs, frame);
  }

  /** Bytes from `next` on will never come. */
  #hole(length: number, cause: HoleCause, tNs: number, frame: number): void {
    const offset = this.next;
    this.next += length;
    this.#passHole(offset, length, cause, tNs, frame);
  }

  #passHole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    if (this.#done) return;
    if (!this.#consumer) {
      // Nobody could tell from the bytes before the hole: those behind it are offered as a stream joined midway.
      this.#first = '';
      this.#fromStart = false;
      return;
    }
    if (cause !== 'cut') {
      const location = { direction: this.#direction, streamOffset: offset, tNs, frame, detail: `${length} bytes` };
      this.#services.log.note(cause === 'unseen' ? 'stream/hole' : 'stream/hole-given-up', location);
    }
    this.#consumer.hole(offset, length, cause, tNs, frame);
  }

  /** Asks who wants the stream; bytes that nobody could judge yet are kept and offered again with those that follow. */
  #offer(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): void {
    const { claim, probe } = this.#services;
    const before = this.#first.length;
    let taken = Math.min(end - start, PROBE_BYTES - before);
    let consumer: StreamConsumer | null | undefined;
    if (before === 0) {
      consumer = claim(this.#direction, buffer, start, end, this.#fromStart, tNs, frame);
    } else {
      for (let i = 0; i < before; i++) probe[i] = this.#first.charCodeAt(i);
      probe.set(buffer.subarray(start, start + taken), before);
      consumer = claim(this.#direction, probe, 0, before + taken, this.#fromStart, tNs, frame);
    }
    if (consumer === undefined && before + taken < PROBE_BYTES) {
      this.#first += String.fromCharCode(...buffer.subarray(start, start + taken));
      return;
    }
    this.#first = '';
    if (!consumer) {
      this.giveUp();
      return;
    }
    this.#consumer = consumer;
    if (before === 0) taken = 0;
    else this.#pass(probe, 0, before + taken, offset - before, tNs, frame);
    if (start + taken < end) this.#pass(buffer, start + taken, end, offset + taken, tNs, frame);
  }

  #pass(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): void {
    if (this.#consumer!.bytes(buffer, start, end, offset, tNs, frame) === false) this.giveUp();
  }

  /** Nobody wants this direction (any more). */
  giveUp(): void {
    this.#done = true;
    this.#release();
    this.#services.over(this.#direction);
  }

  /** Keeps bytes that came before their turn. */
  #store(
    buffer: Uint8Array,
    at: number,
    captured: number,
    length: number,
    offset: number,
    tNs: number,
    frame: number,
  ): void {
    const { nothing, rings } = this.#services;
    if (this.#early === nothing) this.#early = new EarlyBytes(rings);
    const early = this.#early;
    while (
      early.rows > 0 &&
      (early.rows >= REASSEMBLY_SEGMENTS || early.span(offset, length) > REASSEMBLY_DIRECTION_BYTES)
    ) {
      this.giveUpOldest(tNs, frame);
      if (this.#done) return;
      if (offset <= this.next) {
        this.segment(buffer, at, captured, length, offset, tNs, frame);
        return;
      }
    }
    if (early.rows === 0) this.waitingSinceNs = tNs;
    const capacity = early.capacity;
    early.store(buffer, at, captured, length, offset, tNs, frame);
    this.#services.budget.bytes += early.capacity - capacity;
  }

  /** Delivers what has become in order. */
  #drain(tNs: number): void {
    const early = this.#early;
    while (early.rows > 0 && early.firstOffset() === this.next && !this.#done) {
      const { offset, length, captured, tNs: seenNs, frame: seenFrame } = early.take();
      const at = offset & (early.capacity - 1);
      const room = early.capacity - at;
      if (captured <= room) {
        this.#deliver(early.ring, at, captured, length, offset, seenNs, seenFrame);
      } else {
        this.#deliver(early.ring, at, room, room, offset, seenNs, seenFrame);
        if (!this.#done) this.#deliver(early.ring, 0, captured - room, length - room, offset + room, seenNs, seenFrame);
      }
    }
    if (early.rows === 0) this.#release();
    else this.waitingSinceNs = tNs;
  }
}
