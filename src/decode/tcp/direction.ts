// Direction: what one side has sent and what the other has acknowledged of it.
import { SEQUENCE_HOLES } from '../../limits.js';
import {
  FLAG_FIN,
  FLAG_RST,
  FLAG_SYN,
  type SegmentRows,
  VERDICT_CONTROL,
  VERDICT_NEW,
  VERDICT_NONE,
  VERDICT_OUT_OF_WINDOW,
  VERDICT_REORDERED,
  VERDICT_RETRANSMISSION,
} from '../rows.js';
import { RangeSet } from './ranges.js';
import { advance, unwrap, WINDOW_MAX_BYTES } from './sequence.js';

export class Direction {
  /** A sequence number of this direction has been seen: stream offsets mean something. */
  started = false;
  synSent = false;
  finSent = false;
  /** Raw initial sequence number, valid when `synSent`. */
  initialSeq = 0;
  /** Highest stream offset sent (exclusive) and its raw number. */
  sentMax = 0;
  nextSeq = 0;
  /** Highest stream offset acknowledged by the peer. */
  acked = 0;
  finOffset = Number.POSITIVE_INFINITY;
  dataFrames = 0;
  mss = Number.NaN;
  windowScale = Number.NaN;
  optionsKnown = false;
  sackPermitted = false;
  timestamps = false;
  readonly holes = new RangeSet(SEQUENCE_HOLES);

  constructor(readonly id: number) {}

  /** Takes an acknowledgement from the peer; returns the stream offset it names, NaN before the first segment. */
  acknowledged(ack: number): number {
    if (!this.started) return Number.NaN;
    const offset = Math.min(unwrap(ack, this.nextSeq, this.sentMax), this.finOffset);
    if (offset > this.sentMax + WINDOW_MAX_BYTES) return offset;
    if (offset > this.acked) this.acked = offset;
    return offset;
  }

  /** Takes a segment this direction sent and annotates its row. */
  sent(rows: SegmentRows, row: number, _tNs: number, _peer: Direction): void {
    const flags = rows.flags[row]!;
    const length = rows.payloadLen[row]!;
    const first = (rows.seq[row]! + (flags & FLAG_SYN ? 1 : 0)) >>> 0;
    if (!this.started) {
      this.started = true;
      this.nextSeq = first;
    }
    if (flags & FLAG_SYN && !this.synSent) {
      this.synSent = true;
      this.initialSeq = rows.seq[row]!;
    }
    const start = unwrap(first, this.nextSeq, this.sentMax);
    const end = start + length;
    rows.offset[row] = start;
    rows.newBytes[row] = 0;
    if (Math.abs(start - this.sentMax) > WINDOW_MAX_BYTES) {
      rows.verdict[row] = VERDICT_OUT_OF_WINDOW;
      return;
    }
    if (flags & FLAG_FIN && !this.finSent) {
      this.finSent = true;
      this.finOffset = end;
    }
    if (length === 0) {
      rows.verdict[row] = flags & (FLAG_SYN | FLAG_FIN | FLAG_RST) ? VERDICT_CONTROL : VERDICT_NONE;
      return;
    }
    this.dataFrames++;
    const filled = this.holes.remove(start, end);
    const beyond = Math.max(0, end - Math.max(start, this.sentMax));
    if (start > this.sentMax) this.holes.merge(this.sentMax, start);
    if (end > this.sentMax) {
      this.sentMax = end;
      this.nextSeq = advance(first, length);
    }
    rows.newBytes[row] = filled + beyond;
    rows.verdict[row] = beyond > 0 ? VERDICT_NEW : filled > 0 ? VERDICT_REORDERED : VERDICT_RETRANSMISSION;
  }
}
