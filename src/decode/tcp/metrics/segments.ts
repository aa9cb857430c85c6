// Segments: single segments and acknowledgements around what disturbed a stream, for a time-sequence graph after tcptrace.
//
// Nothing announces a disturbance, so the last frames are remembered; some frames after a retransmission, a closed window
// or the first data, what surrounds it is copied out. Of many such stretches those with the longest disturbances stay.
import { CLOSE_UPS, CLOSE_UPS_PER_DIRECTION } from '../../../limits.js';
import { FLAG_RST, NO_DIRECTION, TRIGGER_NONE, VERDICT_CAPTURE_DUPLICATE } from '../../rows.js';
import { TCP_SEGMENT_KINDS } from '../results.js';
import type { MetricContext, TcpMetric } from './metric.js';

const NEW = TCP_SEGMENT_KINDS.indexOf('new');
const RETRANSMISSION = TCP_SEGMENT_KINDS.indexOf('retransmission');
const ACKNOWLEDGEMENT = TCP_SEGMENT_KINDS.indexOf('acknowledgement');

/** Frames remembered; a power of two, and more than FRAMES_BEFORE, FRAMES_AFTER and the rows of one push together. */
const REMEMBERED = 4096;
/** Frames of the whole capture around a disturbance among which its connection's are looked for. */
const FRAMES_BEFORE = 1024;
const FRAMES_AFTER = 2048;
/** Of these the connection's nearest, before and after. */
const ROWS_BEFORE = 80;
const ROWS_AFTER = 320;
/** Disturbances that wait for the frames behind them. Beyond: not looked at. */
const WAITING = 64;

interface Disturbance {
  /** The direction whose data is disturbed. */
  readonly direction: number;
  readonly frame: number;
}

interface CloseUp extends Disturbance {
  /** How long the stream was disturbed, ns: what decides which ones stay. */
  readonly disturbedNs: number;
  readonly frames: readonly number[];
  readonly tNs: readonly number[];
  readonly kinds: readonly number[];
  readonly offsets: readonly number[];
  readonly bytes: readonly number[];
}

export function segments({ rows, segments: table }: MetricContext): TcpMetric {
  const { direction, flags, offset, payloadLen, windowBytes, ackOffset, trigger, verdict, tNs } = rows;
  const recent = new RecentFrames();
  const { directions, times, offsets, ackOffsets, windows, lengths, triggers, verdicts } = recent;
  let waiting: Disturbance[] = [];
  let kept: CloseUp[] = [];
  let stretches = 0;
  /** By direction, the last frame of its last close-up: what that shows is not shown twice. */
  const shownTo = new Map<number, number>();

  const copy = (from: number, to: number, at: number): void => {
    directions.set(direction.subarray(from, to), at);
    times.set(tNs.subarray(from, to), at);
    offsets.set(offset.subarray(from, to), at);
    ackOffsets.set(ackOffset.subarray(from, to), at);
    windows.set(windowBytes.subarray(from, to), at);
    lengths.set(payloadLen.subarray(from, to), at);
    triggers.set(trigger.subarray(from, to), at);
    verdicts.set(verdict.subarray(from, to), at);
  };
  /** Keeps what surrounds the disturbance, unless there are as many close-ups as may be and none is of a shorter one. */
  const close = (disturbance: Disturbance, end: number): void => {
    waiting = waiting.filter((one) => one !== disturbance);
    const own = kept.filter(({ direction }) => direction === disturbance.direction);
    const rivals = own.length >= CLOSE_UPS_PER_DIRECTION ? own : kept.length >= CLOSE_UPS ? kept : [];
    const leastNs = Math.min(...rivals.map(({ disturbedNs }) => disturbedNs));
    const disturbedNs = recent.disturbedNs(disturbance, end);
    if (rivals.length > 0 && disturbedNs <= leastNs) return;
    const last = recent.pick(disturbance, shownTo.get(disturbance.direction) ?? 0, end);
    const out = rivals.findLast((one) => one.disturbedNs === leastNs);
    kept = kept.filter((one) => one !== out);
    kept.push(recent.closeUp(disturbance, disturbedNs));
    shownTo.set(disturbance.direction, last);
  };
  /** Not within the loop over rows: what a closure there captures, V8 sets aside for every row. */
  const waitingIn = (data: number): Disturbance | undefined => waiting.find(({ direction }) => direction === data);
  const settle = (upToFrame: number): void => {
    while (waiting.length > 0 && waiting[0]!.frame + FRAMES_AFTER <= upToFrame) {
      close(waiting[0]!, waiting[0]!.frame + FRAMES_AFTER);
    }
  };

  return {
    push(from: number, to: number, zeroFrame: number): void {
      // What does not fit before the end goes to the start.
      const at = (zeroFrame + from) & (REMEMBERED - 1);
      const split = Math.min(to, from + REMEMBERED - at);
      copy(from, split, at);
      if (split < to) copy(split, to, 0);
      recent.last = zeroFrame + to - 1;
      for (let row = from; row < to; row++) {
        if (trigger[row] === TRIGGER_NONE && windowBytes[row] !== 0 && offset[row] !== 0) continue;
        const id = direction[row]!;
        if (id === NO_DIRECTION || verdict[row] === VERDICT_CAPTURE_DUPLICATE || flags[row]! & FLAG_RST) continue;
        const hasData = payloadLen[row]! > 0;
        const closed = windowBytes[row] === 0 && ackOffset[row]! > 0;
        if (!hasData && !closed) continue;
        const data = hasData ? id : id ^ 1;
        const frame = zeroFrame + row;
        settle(frame);
        const open = waitingIn(data);
        // Beyond as many frames as a close-up shows rows, the one before may not reach to here.
        if (open && frame <= open.frame + ROWS_AFTER) continue;
        if (open) close(open, frame - 1);
        if (waiting.length < WAITING) waiting.push({ direction: data, frame });
      }
      settle(recent.last);
    },
    forget(connection) {
      const others = ({ direction }: Disturbance): boolean => direction >> 1 !== connection;
      waiting = waiting.filter(others);
      kept = kept.filter(others);
      shownTo.delete(2 * connection);
      shownTo.delete(2 * connection + 1);
    },
    fill({ id }) {
      settle(Number.POSITIVE_INFINITY);
      const own = kept.filter(({ direction }) => direction >> 1 === id).sort((a, b) => a.frame - b.frame);
      for (const { direction, frames, tNs, kinds, offsets, bytes } of own) {
        frames.forEach((frame, i) => {
          table.add(stretches, kinds[i]!, direction, frame, tNs[i]!, offsets[i]!, bytes[i]!);
        });
        stretches++;
      }
    },
  };
}

/** Columns of the last frames, by frame number modulo their count. */
class RecentFrames {
  readonly directions = new Uint32Array(REMEMBERED).fill(NO_DIRECTION);
  readonly times = new Float64Array(REMEMBERED);
  readonly offsets = new Float64Array(REMEMBERED);
  readonly ackOffsets = new Float64Array(REMEMBERED);
  readonly windows = new Float64Array(REMEMBERED);
  readonly lengths = new Uint32Array(REMEMBERED);
  readonly triggers = new Uint8Array(REMEMBERED);
  readonly verdicts = new Uint8Array(REMEMBERED);
  /** Number of the latest frame. */
  last = 0;

  // What was picked last: frames and what they are, from #from to #to.
  readonly #frames = new Float64Array(ROWS_BEFORE + ROWS_AFTER);
  readonly #kinds = new Int8Array(ROWS_BEFORE + ROWS_AFTER);
  #from = ROWS_BEFORE;
  #to = ROWS_BEFORE;

  /**
   * How long the stream was disturbed, ns, up to frame `end`: from the last frame before a retransmission until all that had been
   * sent is acknowledged; or the longest silence behind a closed window.
   */
  disturbedNs(disturbance: Disturbance, end: number): number {
    const { direction, frame } = disturbance;
    const newest = Math.min(this.last, end);
    if (this.#kind(frame, direction) !== RETRANSMISSION) return this.#closedNs(disturbance, newest);
    const oldest = Math.max(frame - FRAMES_BEFORE - 1, 0);
    let before = -1;
    let sent = 0;
    for (let at = frame - 1; at > oldest && sent === 0; at--) {
      const kind = this.#kind(at, direction);
      if (kind >= 0 && before < 0) before = at;
      if (kind === NEW) sent = this.offsets[at % REMEMBERED]! + this.lengths[at % REMEMBERED]!;
    }
    let latest = frame;
    for (let at = frame + 1, rows = 0; at <= newest && rows < ROWS_AFTER; at++) {
      const kind = this.#kind(at, direction);
      if (kind < 0) continue;
      latest = at;
      rows++;
      if (kind === ACKNOWLEDGEMENT && this.ackOffsets[at % REMEMBERED]! >= sent) break;
    }
    return this.times[latest % REMEMBERED]! - this.times[(before < 0 ? frame : before) % REMEMBERED]!;
  }

  /** The longest time from an acknowledgement that closes the window to the connection's next frame. */
  #closedNs({ direction, frame }: Disturbance, newest: number): number {
    let longest = 0;
    let closedNs = Number.NaN;
    for (let at = frame, rows = 0; at <= newest && rows < ROWS_AFTER; at++) {
      const kind = this.#kind(at, direction);
      if (kind < 0) continue;
      rows++;
      const tNs = this.times[at % REMEMBERED]!;
      if (tNs - closedNs > longest) longest = tNs - closedNs;
      closedNs = kind === ACKNOWLEDGEMENT && this.windows[at % REMEMBERED] === 0 ? tNs : Number.NaN;
    }
    return longest;
  }

  /**
   * Picks the segments around a disturbance and the acknowledgements for them, after frame `shownTo` and up to `end`.
   *
   * @returns the last of them; the disturbance itself is one of them
   */
  pick({ direction, frame }: Disturbance, shownTo: number, end: number): number {
    const frames = this.#frames;
    const kinds = this.#kinds;
    const oldest = Math.max(frame - FRAMES_BEFORE - 1, shownTo);
    const newest = Math.min(this.last, end);
    let from = ROWS_BEFORE;
    for (let at = frame - 1; at > oldest && from > 0; at--) {
      const kind = this.#kind(at, direction);
      if (kind < 0) continue;
      frames[--from] = at;
      kinds[from] = kind;
    }
    let to = ROWS_BEFORE;
    for (let at = frame; at <= newest && to < ROWS_BEFORE + ROWS_AFTER; at++) {
      const kind = this.#kind(at, direction);
      if (kind < 0) continue;
      frames[to] = at;
      kinds[to++] = kind;
    }
    this.#from = from;
    this.#to = to;
    return frames[to - 1]!;
  }

  /** What was picked, to keep. */
  closeUp({ direction, frame }: Disturbance, disturbedNs: number): CloseUp {
    const picked = Array.from({ length: this.#to - this.#from }, (_, i) => this.#from + i);
    return {
      direction,
      frame,
      disturbedNs,
      frames: picked.map((at) => this.#frames[at]!),
      tNs: picked.map((at) => this.#timeOf(at)),
      kinds: picked.map((at) => this.#kinds[at]!),
      offsets: picked.map((at) => this.#offsetOf(at)),
      bytes: picked.map((at) => this.#bytesOf(at)),
    };
  }

  #timeOf(picked: number): number {
    return this.times[this.#frames[picked]! % REMEMBERED]!;
  }

  #offsetOf(picked: number): number {
    const offsets = this.#kinds[picked] === ACKNOWLEDGEMENT ? this.ackOffsets : this.offsets;
    return offsets[this.#frames[picked]! % REMEMBERED]!;
  }

  /** Of an acknowledgement the window. */
  #bytesOf(picked: number): number {
    const bytes = this.#kinds[picked] === ACKNOWLEDGEMENT ? this.windows : this.lengths;
    return bytes[this.#frames[picked]! % REMEMBERED]!;
  }

  /** What a frame is to the data of `direction`; −1 where nothing. */
  #kind(frame: number, direction: number): number {
    const at = frame % REMEMBERED;
    const id = this.directions[at]!;
    if (id >> 1 !== direction >> 1 || this.verdicts[at] === VERDICT_CAPTURE_DUPLICATE) return -1;
    const hasData = this.lengths[at]! > 0;
    if (id !== direction) return !hasData && this.ackOffsets[at]! >= 0 ? ACKNOWLEDGEMENT : -1;
    if (!hasData) return -1;
    return this.triggers[at] === TRIGGER_NONE ? NEW : RETRANSMISSION;
  }
}
