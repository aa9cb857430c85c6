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
  const keep = (closeUp: CloseUp): void => {
    const own = kept.filter(({ direction }) => direction === closeUp.direction);
    kept.push(closeUp);
    const rivals = own.length >= CLOSE_UPS_PER_DIRECTION ? [...own, closeUp] : kept.length > CLOSE_UPS ? kept : [];
    const least = Math.min(...rivals.map(({ disturbedNs }) => disturbedNs));
    const out = rivals.findLast(({ disturbedNs }) => disturbedNs === least);
    kept = kept.filter((one) => one !== out);
  };
  const close = (disturbance: Disturbance, end: number): void => {
    waiting = waiting.filter((one) => one !== disturbance);
    const closeUp = recent.around(disturbance, shownTo.get(disturbance.direction) ?? 0, end);
    shownTo.set(closeUp.direction, closeUp.frames.at(-1) ?? disturbance.frame);
    keep(closeUp);
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

  /** The segments around a disturbance and the acknowledgements for them, after frame `shownTo` and up to `end`. */
  around({ direction, frame }: Disturbance, shownTo: number, end: number): CloseUp {
    const oldest = Math.max(frame - FRAMES_BEFORE - 1, shownTo);
    const newest = Math.min(this.last, end);
    const frames: number[] = [];
    for (let at = frame - 1; at > oldest && frames.length < ROWS_BEFORE; at--) {
      if (this.#kind(at, direction) >= 0) frames.unshift(at);
    }
    const before = frames.length;
    for (let at = frame; at <= newest && frames.length < before + ROWS_AFTER; at++) {
      if (this.#kind(at, direction) >= 0) frames.push(at);
    }
    const kinds = frames.map((at) => this.#kind(at, direction));
    const pick = (data: ArrayLike<number>, acknowledged: ArrayLike<number>): number[] =>
      frames.map((at, i) => (kinds[i] === ACKNOWLEDGEMENT ? acknowledged : data)[at % REMEMBERED]!);
    const tNs = pick(this.times, this.times);
    const bytes = pick(this.lengths, this.windows);
    const offsets = pick(this.offsets, this.ackOffsets);
    const disturbedNs = disturbance({ tNs, kinds, offsets, bytes });
    return { direction, frame, disturbedNs, frames, tNs, kinds, offsets, bytes };
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

/**
 * How long the stream was disturbed, ns: from the first retransmission until what was sent by then is acknowledged, with
 * the silence before it; or the longest silence behind a closed window. 0 without either.
 */
function disturbance({ tNs, kinds, offsets, bytes }: Pick<CloseUp, 'tNs' | 'kinds' | 'offsets' | 'bytes'>): number {
  const first = kinds.indexOf(RETRANSMISSION);
  if (first >= 0) {
    const ends = offsets.map((offset, i) => (i < first && kinds[i] === NEW ? offset + bytes[i]! : 0));
    const sent = Math.max(...ends);
    const end = kinds.findIndex((kind, i) => i > first && kind === ACKNOWLEDGEMENT && offsets[i]! >= sent);
    // −1, not acknowledged yet, is the last row.
    return tNs.at(end)! - tNs[Math.max(0, first - 1)]!;
  }
  const silences = kinds.map((kind, i) =>
    kind === ACKNOWLEDGEMENT && bytes[i] === 0 ? (tNs[i + 1] ?? 0) - tNs[i]! : 0,
  );
  return Math.max(0, ...silences);
}
