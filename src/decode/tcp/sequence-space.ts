// SequenceSpace: where the frames of one side stand in its stream.
//
// Raw numbers become stream offsets; what lies too far off to be believed is told apart. That is all that reassembly needs,
// so it is kept apart from what frames were (direction.ts), which may be found out on another thread.
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
import { advance, seqDistance, unwrap, WINDOW_MAX_BYTES } from './sequence.js';

/** A second frame within this distance confirms a jump that was not believed at first. */
const CONFIRM_BYTES = 2 ** 24;
/** A jump over bytes that the capture lost is believed when the stream could have carried them: 100 Gbit/s. */
const BELIEVABLE_BYTES_PER_NS = 12.5;
const SEQUENCE_SPACE_BYTES = 2 ** 32;

/** Offsets are stream offsets, times ns since the capture's first frame, NaN is "not known". */
export class SequenceSpace {
  /** A frame of this side has been seen: offsets mean something. Offset 0 is its first byte. */
  started = false;
  synSent = false;
  finSent = false;
  initialSeq = 0;
  /** It has sent payload. */
  hasData = false;
  /** A raw number is known, be it only from the peer's acknowledgement. */
  #referenced = false;
  /** Highest offset sent or acknowledged, and its raw number. FIN does not count. */
  #sentMax = 0;
  #nextSeq = 0;
  #acked = Number.NaN;
  /** Where the stream ends, once a FIN said so. */
  #finOffset = Number.POSITIVE_INFINITY;
  /** A frame that lay too far ahead to be believed alone; −1 when there is none. */
  #suspectSeq = -1;
  #firstSentNs = Number.NaN;
  #latestSentNs = Number.NaN;

  /** Bytes that it has sent, as far as is known. */
  get sentBytes(): number {
    return this.#sentMax;
  }

  /**
   * The offset that acknowledgement number `raw` of the peer names; NaN before the first frame of this side.
   *
   * Sets MARK_NEWS of the row where it acknowledges more than any before.
   */
  acknowledged(raw: number, rows: SegmentRows, row: number): number {
    if (!this.#referenced) {
      this.#referenced = true;
      this.#nextSeq = raw;
    }
    let offset = unwrap(raw, this.#nextSeq, this.#sentMax);
    if (offset > this.#finOffset && this.#finOffset >= this.#sentMax) offset = this.#finOffset;
    if (!(offset < this.#acked - WINDOW_MAX_BYTES) && offset <= this.#sentMax + WINDOW_MAX_BYTES) {
      if (offset > this.#sentMax) {
        this.#sentMax = offset;
        this.#nextSeq = raw;
      }
      if (!(offset <= this.#acked)) {
        this.#acked = offset;
        rows.marks[row] = rows.marks[row]! | MARK_NEWS;
      }
    }
    return this.started ? offset : Number.NaN;
  }

  /** Takes the frame in `row` as sent by this side. Fills offset and stray, and sets MARK_NEWS where it sends more than any before. */
  sent(rows: SegmentRows, row: number, tNs: number): void {
    const flags = rows.flags[row]!;
    const seq = rows.seq[row]!;
    const length = rows.payloadLen[row]!;
    const first = flags & FLAG_SYN ? (seq + 1) >>> 0 : seq;
    if (!this.started) this.#start(first);
    let from = unwrap(first, this.#nextSeq, this.#sentMax);
    const stray = this.#isPlausible(from, first, tNs, flags) ? STRAY_NONE : STRAY_WINDOW;
    if (first === this.#nextSeq) from = this.#sentMax;
    rows.offset[row] = from;
    rows.stray[row] = stray;
    if (stray !== STRAY_NONE) return;
    if (flags & FLAG_SYN) {
      this.synSent = true;
      this.initialSeq = seq;
    } else if (flags & FLAG_FIN) {
      this.finSent = true;
      this.#endAt(from + length);
    }
    if (length === 0) return;
    const to = from + length;
    if (to > this.#sentMax) {
      this.#sentMax = to;
      this.#nextSeq = (first + length) >>> 0;
      rows.marks[row] = rows.marks[row]! | MARK_NEWS;
    } else if (length === 1 && to === this.#sentMax && to === this.#acked && this.hasData) {
      rows.stray[row] = STRAY_KEEP_ALIVE;
      return;
    }
    this.#latestSentNs = tNs;
    if (!this.hasData) {
      this.hasData = true;
      this.#firstSentNs = tNs;
    }
  }

  /** The FIN takes a number of its own, which was no byte where it was acknowledged before the FIN was seen. */
  #endAt(end: number): void {
    this.#finOffset = end;
    if (this.#sentMax !== end + 1) return;
    this.#sentMax = end;
    this.#nextSeq = advance(this.#nextSeq, -1);
    this.#acked = Math.min(this.#acked, end);
  }

  /** True when raw number `seq` lies where this side cannot have sent. */
  isBeyond(seq: number): boolean {
    return Math.abs(seqDistance(this.#nextSeq, seq)) > WINDOW_MAX_BYTES;
  }

  /** The first frame of a side fixes what offset 0 is. */
  #start(first: number): void {
    this.started = true;
    if (!this.#referenced) {
      this.#referenced = true;
      this.#nextSeq = first;
      return;
    }
    const bytes = unwrap(first, this.#nextSeq, this.#sentMax);
    this.#sentMax -= bytes;
    this.#acked -= bytes;
    if (this.#sentMax >= 0) return;
    // Acknowledged before anything was seen: sent before the capture began.
    this.#nextSeq = advance(this.#nextSeq, -this.#sentMax);
    this.#sentMax = 0;
  }

  /**
   * False for a frame so far from the others that it must be stale or forged. A jump ahead may also be a loss of the
   * capture: believed when the time passed allows for it, or when a second frame confirms it.
   */
  #isPlausible(from: number, first: number, tNs: number, flags: number): boolean {
    const jump = from - this.#sentMax;
    if (jump <= WINDOW_MAX_BYTES && !(from < this.#acked - WINDOW_MAX_BYTES)) return true;
    if (flags & FLAG_RST) return false;
    if (jump <= 0) return this.#isBeyondWrap(from, first, tNs);
    if (jump <= (tNs - this.#latestSentNs) * BELIEVABLE_BYTES_PER_NS) return true;
    return this.#isConfirmed(first);
  }

  /**
   * Whether a frame that lies far behind is one far ahead: in a silence of the capture that would have held more than half
   * the sequence space, numbers wrap unseen. A second frame must confirm it. How often they wrapped cannot be told; once is
   * taken.
   */
  #isBeyondWrap(from: number, first: number, tNs: number): boolean {
    const silentNs = tNs - this.#latestSentNs;
    const couldHold = silentNs * (this.#sentMax / (this.#latestSentNs - this.#firstSentNs));
    if (!(couldHold > SEQUENCE_SPACE_BYTES / 2) || !this.#isConfirmed(first)) return false;
    this.#sentMax = from + SEQUENCE_SPACE_BYTES;
    this.#nextSeq = first;
    return true;
  }

  /** Stray frames come alone. The same number again confirms nothing: it may be the capture's copy. */
  #isConfirmed(first: number): boolean {
    const apart = Math.abs(seqDistance(this.#suspectSeq, first));
    const confirmed = this.#suspectSeq >= 0 && apart > 0 && apart < CONFIRM_BYTES;
    this.#suspectSeq = confirmed ? -1 : first;
    return confirmed;
  }
}
