// SequenceSpaces: where the frames of every direction stand in its stream.
//
// Raw numbers become stream offsets; what lies too far off to be believed is told apart. That is all that reassembly needs,
// so it is kept apart from what frames were (direction.ts), which may be found out on another thread. A flat record a
// direction: it is read and written with every frame, and there may be many of them.
import {
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  MARK_NEWS,
  type SegmentRows,
  STRAY_KEEP_ALIVE,
  STRAY_NONE,
  STRAY_WINDOW,
} from '../rows.js';
import { grown } from './ranges.js';
import { advance, seqDistance, unwrap, WINDOW_MAX_BYTES } from './sequence.js';

/** A second frame within this distance confirms a jump that was not believed at first. */
const CONFIRM_BYTES = 2 ** 24;
/** A jump over bytes that the capture lost is believed when the stream could have carried them: 100 Gbit/s. */
const BELIEVABLE_BYTES_PER_NS = 12.5;
const SEQUENCE_SPACE_BYTES = 2 ** 32;

/** Doubles of a direction: stream offsets, and times in ns since the capture's first frame; NaN is "not known". */
const DOUBLES = 5;
/** Highest offset sent or acknowledged; FIN does not count. Its raw number is NEXT_SEQ. */
const SENT_MAX = 0;
const ACKED = 1;
/** Where the stream ends, once a FIN said so. */
const FIN_OFFSET = 2;
/** First and latest payload. */
const FIRST_SENT_NS = 3;
const LATEST_SENT_NS = 4;

/** Raw numbers of a direction. */
const WORDS = 3;
const NEXT_SEQ = 0;
/** Of its SYN. */
const INITIAL_SEQ = 1;
/** Of a frame that lay too far ahead to be believed alone. */
const SUSPECT_SEQ = 2;

/** A frame of this side has been seen: offsets mean something. Offset 0 is its first byte. */
const STARTED = 0x01;
/** A raw number is known, be it only from the peer's acknowledgement. */
const REFERENCED = 0x02;
const SYN_SENT = 0x04;
const FIN_SENT = 0x08;
const DATA_SENT = 0x10;
const SUSPECTED = 0x20;

export class SequenceSpaces {
  #doubles = new Float64Array(32 * DOUBLES);
  #words = new Uint32Array(32 * WORDS);
  #known = new Uint8Array(32);

  /** A connection begins: nothing is known of its two directions. */
  begin(connection: number): void {
    for (let direction = 2 * connection; direction <= 2 * connection + 1; direction++) {
      if (direction >= this.#known.length) {
        this.#doubles = grown(this.#doubles, (direction + 1) * DOUBLES);
        this.#words = grown(this.#words, (direction + 1) * WORDS);
        this.#known = grown(this.#known, direction + 1);
      }
      const at = direction * DOUBLES;
      this.#doubles.fill(Number.NaN, at, at + DOUBLES);
      this.#doubles[at + SENT_MAX] = 0;
      this.#doubles[at + FIN_OFFSET] = Number.POSITIVE_INFINITY;
      this.#known[direction] = 0;
    }
  }

  /** Bytes of its stream that a direction has sent, as far as is known. */
  sentBytes(direction: number): number {
    return this.#doubles[direction * DOUBLES + SENT_MAX]!;
  }

  hasStarted(direction: number): boolean {
    return (this.#known[direction]! & STARTED) !== 0;
  }

  hasData(direction: number): boolean {
    return (this.#known[direction]! & DATA_SENT) !== 0;
  }

  hasEnded(direction: number): boolean {
    return (this.#known[direction]! & FIN_SENT) !== 0;
  }

  /** True when the direction's SYN had raw number `seq`. */
  beganWith(direction: number, seq: number): boolean {
    return (this.#known[direction]! & SYN_SENT) !== 0 && this.#words[direction * WORDS + INITIAL_SEQ] === seq;
  }

  /** True when raw number `seq` lies where the direction cannot have sent. */
  isBeyond(direction: number, seq: number): boolean {
    return Math.abs(seqDistance(this.#words[direction * WORDS + NEXT_SEQ]!, seq)) > WINDOW_MAX_BYTES;
  }

  /**
   * The offset in `direction` that the peer's acknowledgement in `row` names; NaN before the first frame of that direction.
   *
   * Sets MARK_NEWS of the row where it acknowledges more than any before.
   */
  acknowledged(direction: number, rows: SegmentRows, row: number): number {
    const raw = rows.ack[row]!;
    const doubles = this.#doubles;
    const words = this.#words;
    const at = direction * DOUBLES;
    const known = this.#known[direction]!;
    if (!(known & REFERENCED)) {
      this.#known[direction] = known | REFERENCED;
      words[direction * WORDS + NEXT_SEQ] = raw;
    }
    const sentMax = doubles[at + SENT_MAX]!;
    const acked = doubles[at + ACKED]!;
    let offset = unwrap(raw, words[direction * WORDS + NEXT_SEQ]!, sentMax);
    if (offset > doubles[at + FIN_OFFSET]! && doubles[at + FIN_OFFSET]! >= sentMax) offset = doubles[at + FIN_OFFSET]!;
    if (!(offset < acked - WINDOW_MAX_BYTES) && offset <= sentMax + WINDOW_MAX_BYTES) {
      if (offset > sentMax) {
        doubles[at + SENT_MAX] = offset;
        words[direction * WORDS + NEXT_SEQ] = raw;
      }
      if (!(offset <= acked)) {
        doubles[at + ACKED] = offset;
        rows.marks[row] = rows.marks[row]! | MARK_NEWS;
      }
    }
    return known & STARTED ? offset : Number.NaN;
  }

  /**
   * Takes the frame in `row`, sent by `direction`.
   *
   * Fills offset and stray, and sets MARK_NEWS where it sends more than any before.
   */
  sent(direction: number, rows: SegmentRows, row: number): void {
    const doubles = this.#doubles;
    const words = this.#words;
    const at = direction * DOUBLES;
    const flags = rows.flags[row]!;
    const seq = rows.seq[row]!;
    const length = rows.payloadLen[row]!;
    const first = flags & FLAG_SYN ? (seq + 1) >>> 0 : seq;
    if (!(this.#known[direction]! & STARTED)) this.#start(direction, first);
    else if (flags & FLAG_SYN && this.#beginsAnew(direction, seq)) {
      words[direction * WORDS + NEXT_SEQ] = first;
      doubles[at + SENT_MAX] = 0;
    }
    let from = unwrap(first, words[direction * WORDS + NEXT_SEQ]!, doubles[at + SENT_MAX]!);
    const stray = this.#isPlausible(direction, from, first, rows.clockNs[row]!, flags) ? STRAY_NONE : STRAY_WINDOW;
    if (first === words[direction * WORDS + NEXT_SEQ]) from = doubles[at + SENT_MAX]!;
    rows.offset[row] = from;
    rows.stray[row] = stray;
    if (stray !== STRAY_NONE) return;
    if (flags & FLAG_SYN) {
      this.#known[direction] = this.#known[direction]! | SYN_SENT;
      words[direction * WORDS + INITIAL_SEQ] = seq;
    } else if (flags & FLAG_FIN) this.#end(direction, from + length);
    if (length === 0) return;
    const to = from + length;
    const had = (this.#known[direction]! & DATA_SENT) !== 0;
    if (to > doubles[at + SENT_MAX]!) {
      doubles[at + SENT_MAX] = to;
      words[direction * WORDS + NEXT_SEQ] = first + length;
      rows.marks[row] = rows.marks[row]! | MARK_NEWS;
    } else if (length === 1 && to === doubles[at + SENT_MAX] && to === doubles[at + ACKED] && had) {
      rows.stray[row] = STRAY_KEEP_ALIVE;
      return;
    }
    const tNs = rows.clockNs[row]!;
    doubles[at + LATEST_SENT_NS] = tNs;
    if (had) return;
    this.#known[direction] = this.#known[direction]! | DATA_SENT;
    doubles[at + FIRST_SENT_NS] = tNs;
  }

  /** The first frame of a side fixes what offset 0 is. */
  #start(direction: number, first: number): void {
    const doubles = this.#doubles;
    const words = this.#words;
    const at = direction * DOUBLES;
    const referenced = (this.#known[direction]! & REFERENCED) !== 0;
    this.#known[direction] = this.#known[direction]! | STARTED | REFERENCED;
    if (!referenced) {
      words[direction * WORDS + NEXT_SEQ] = first;
      return;
    }
    const nextSeq = words[direction * WORDS + NEXT_SEQ]!;
    const bytes = unwrap(first, nextSeq, doubles[at + SENT_MAX]!);
    doubles[at + SENT_MAX]! -= bytes;
    doubles[at + ACKED]! -= bytes;
    if (doubles[at + SENT_MAX]! >= 0) return;
    // Acknowledged before anything was seen: sent before the capture began.
    words[direction * WORDS + NEXT_SEQ] = advance(nextSeq, -doubles[at + SENT_MAX]!);
    doubles[at + SENT_MAX] = 0;
  }

  /**
   * Whether a SYN with number `seq` takes the place of another one that nobody has answered: a server that forgot a half-open
   * connection, or one that knows none (SYN cookies), answers the same SYN with another number.
   */
  #beginsAnew(direction: number, seq: number): boolean {
    const known = this.#known[direction]! & (SYN_SENT | DATA_SENT);
    if (known !== SYN_SENT || this.#words[direction * WORDS + INITIAL_SEQ] === seq) return false;
    return Number.isNaN(this.#doubles[direction * DOUBLES + ACKED]!);
  }

  /** The FIN takes a number of its own, which was no byte where it was acknowledged before the FIN was seen. */
  #end(direction: number, end: number): void {
    const doubles = this.#doubles;
    const at = direction * DOUBLES;
    this.#known[direction] = this.#known[direction]! | FIN_SENT;
    doubles[at + FIN_OFFSET] = end;
    if (doubles[at + SENT_MAX] !== end + 1) return;
    doubles[at + SENT_MAX] = end;
    this.#words[direction * WORDS + NEXT_SEQ]! -= 1;
    if (doubles[at + ACKED]! > end) doubles[at + ACKED] = end;
  }

  /**
   * False for a frame so far from the others that it must be stale or forged. A jump ahead may also be a loss of the
   * capture: believed when the time passed allows for it, or when a second frame confirms it.
   */
  #isPlausible(direction: number, from: number, first: number, tNs: number, flags: number): boolean {
    const at = direction * DOUBLES;
    const jump = from - this.#doubles[at + SENT_MAX]!;
    if (jump <= WINDOW_MAX_BYTES && !(from < this.#doubles[at + ACKED]! - WINDOW_MAX_BYTES)) return true;
    if (flags & FLAG_RST) return false;
    if (jump <= 0) return this.#isBeyondWrap(direction, from, first, tNs);
    if (jump <= (tNs - this.#doubles[at + LATEST_SENT_NS]!) * BELIEVABLE_BYTES_PER_NS) return true;
    return this.#isConfirmed(direction, first);
  }

  /**
   * Whether a frame that lies far behind is one far ahead: in a silence of the capture that would have held more than half
   * the sequence space, numbers wrap unseen. A second frame must confirm it. How often they wrapped cannot be told; once is
   * taken.
   */
  #isBeyondWrap(direction: number, from: number, first: number, tNs: number): boolean {
    const doubles = this.#doubles;
    const at = direction * DOUBLES;
    const latestNs = doubles[at + LATEST_SENT_NS]!;
    const couldHold = (tNs - latestNs) * (doubles[at + SENT_MAX]! / (latestNs - doubles[at + FIRST_SENT_NS]!));
    if (!(couldHold > SEQUENCE_SPACE_BYTES / 2) || !this.#isConfirmed(direction, first)) return false;
    doubles[at + SENT_MAX] = from + SEQUENCE_SPACE_BYTES;
    this.#words[direction * WORDS + NEXT_SEQ] = first;
    return true;
  }

  /** Stray frames come alone. The same number again confirms nothing: it may be the capture's copy. */
  #isConfirmed(direction: number, first: number): boolean {
    const words = this.#words;
    const known = this.#known[direction]!;
    const apart = Math.abs(seqDistance(words[direction * WORDS + SUSPECT_SEQ]!, first));
    const confirmed = (known & SUSPECTED) !== 0 && apart > 0 && apart < CONFIRM_BYTES;
    words[direction * WORDS + SUSPECT_SEQ] = first;
    this.#known[direction] = confirmed ? known & ~SUSPECTED : known | SUSPECTED;
    return confirmed;
  }
}
