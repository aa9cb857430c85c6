// Twins: frames that are the same in every header field as a frame of the same connection shortly before.
//
// Either the network delivered a packet twice, or the capture recorded it twice (an "any" interface, a bridge and its
// port, a mirror port that sees both ways). Sender and receiver know nothing of the second kind, so a twin never changes
// the state of a connection. Which kind it was follows from where it was seen, or else from how many there are: networks
// duplicate rarely, a doubled capture does it to nearly every frame.
import { FLAG_RST, MARK_NEWS, OPTION_SACK, OPTION_TIMESTAMP, type SegmentRows } from '../rows.js';
import type { Direction } from './direction.js';

/** Frames of one connection that a twin may lie apart: captures of both hosts put together are a path apart. */
const APART_FRAMES = 4096;
/** The table is shared by all connections: sets of a few slots, the oldest slot of a set gives way. */
const SETS = 1 << 11;
const WAYS = 4;
/** 32-bit words of a slot: two fingerprints, count of the frame, place; and a 64-bit time. */
const WORDS = 6;
const FRAME = 2;
const PLACE = 3;
const TIME = 2;
/** Without IP identification a true repetition can look the same, but not so soon. */
const APART_NS = 1e6;
const REPEAT_SHARE = 0.5;
/** Nor can it carry the same timestamp when it comes more than a tick of that clock later. */
export const SAME_TICK_NS = 2e6;

export const TWIN_NONE = 0;
/** Seen in the same way as the first: the network's doing unless nearly all frames have twins. */
const TWIN_SAME_PLACE = 1;
/** Seen on another interface, another VLAN or after a router: the capture's doing. */
export const TWIN_OTHER_PLACE = 2;

/** See createTwinSearch(). */
export type FindTwin = (row: number, frame: number, sender: Direction) => number;

/**
 * What looks rows up among the latest of their connection, and remembers them; returns TWIN_….
 *
 * `frame` counts the connection's frames from 1.
 */
export function createTwinSearch(rows: SegmentRows): FindTwin {
  const { direction, seq, ack, flags, window, options, tsValue, tsEcho, sackEdges, sackBlocks } = rows;
  const { ipId: ipIds, payloadLen, capturePoint, marks, tNs } = rows;
  const words = new Int32Array(SETS * WAYS * WORDS);
  const doubles = new Float64Array(words.buffer);
  /** The slot of each set that gives way next. */
  const turns = new Uint8Array(SETS);

  return (row, frame, sender) => {
    const option = options[row]!;
    const ipId = ipIds[row]!;
    let a = direction[row]!;
    a = Math.imul(a ^ seq[row]!, 0x9e3779b1);
    a = Math.imul(a ^ (a >>> 15) ^ ack[row]!, 0x85ebca6b);
    a = Math.imul(a ^ (a >>> 13) ^ (flags[row]! | (window[row]! << 16)), 0xc2b2ae35);
    let b = Math.imul(payloadLen[row]! ^ (ipId << 16), 0x27d4eb2f);
    if (option & OPTION_TIMESTAMP) {
      a = Math.imul(a ^ (a >>> 15) ^ tsValue[row]!, 0x9e3779b1);
      b = Math.imul(b ^ (b >>> 15) ^ tsEcho[row]!, 0x165667b1);
    }
    if (option & OPTION_SACK) {
      const end = 8 * row + 2 * sackBlocks[row]!;
      for (let at = 8 * row; at < end; at++) b = Math.imul(b ^ (b >>> 15) ^ sackEdges[at]!, 0x85ebca6b);
    }
    a ^= a >>> 16;
    const set = (a ^ (b >>> 13)) & (SETS - 1);
    const place = capturePoint[row]!;
    let found = TWIN_NONE;
    let at = set * WAYS * WORDS;
    // What says more than any frame before repeats none of them.
    const ways = marks[row]! & MARK_NEWS ? 0 : WAYS;
    // Who has closed answers every segment that was on its way with the same reset.
    const answers = ipId === 0 && (flags[row]! & FLAG_RST) !== 0;
    for (let way = 0; way < ways; way++, at += WORDS) {
      if (words[at] !== a || words[at + 1] !== b) continue;
      const apart = frame - words[at + FRAME]!;
      if (apart <= 0 || apart > APART_FRAMES) continue;
      if (answers && apart > 1 && words[at + PLACE] === place) continue;
      if (ipId === 0) {
        // The least time after which the sender could have sent the same again.
        const repeatNs = REPEAT_SHARE * sender.roundTripMinNs;
        const soonNs = Number.isNaN(repeatNs) ? APART_NS : repeatNs;
        const apartNs = Math.abs(tNs[row]! - doubles[(at >> 1) + TIME]!);
        if (apartNs >= soonNs && !(option & OPTION_TIMESTAMP && apartNs > SAME_TICK_NS)) continue;
      }
      found = words[at + PLACE] === place ? TWIN_SAME_PLACE : TWIN_OTHER_PLACE;
      break;
    }
    if (found === TWIN_NONE) {
      const turn = turns[set]!;
      turns[set] = (turn + 1) & (WAYS - 1);
      at = (set * WAYS + turn) * WORDS;
      words[at] = a;
      words[at + 1] = b;
    }
    words[at + FRAME] = frame;
    words[at + PLACE] = place;
    doubles[(at >> 1) + TIME] = tNs[row]!;
    return found;
  };
}

/** Frames looked at before and while judging whether a capture is doubled. */
const WINDOW_FRAMES = 256;
const DECIDE_FRAMES = 16;
const DOUBLED_SHARE = 0.2;

/** Whether the frames of one kind in one connection are captured twice: twins among the latest 256. */
export class TwinShare {
  doubled = false;
  /** Twins that were taken for the network's and turned out to be the capture's, and their payload. */
  revised = 0;
  revisedBytes = 0;
  #frames = 0;
  #twins = 0;
  /** Twins of late that may yet be revised. */
  #pending = 0;
  #pendingBytes = 0;

  /** @param twin  TWIN_… of the next frame; what was seen at another place is the capture's from the start */
  count(twin: number, bytes: number): void {
    if (this.#frames === WINDOW_FRAMES) {
      // Halving both keeps the share and lets old frames fade.
      this.#frames >>= 1;
      this.#twins /= 2;
      this.#pending = this.#pendingBytes = 0;
    }
    this.#frames++;
    if (twin === TWIN_NONE) return;
    const before = this.doubled;
    this.#twins++;
    this.doubled = this.#frames >= DECIDE_FRAMES && this.#twins > DOUBLED_SHARE * this.#frames;
    if (!this.doubled) {
      if (twin === TWIN_OTHER_PLACE) return;
      this.#pending++;
      this.#pendingBytes += bytes;
    } else if (!before) this.#revise();
  }

  /** Takes a frame that was counted and then found to repeat an earlier one cut differently. */
  countLate(bytes: number): void {
    this.#frames--;
    this.count(TWIN_SAME_PLACE, bytes);
  }

  /** Judges what is left of a connection too short to have been judged while it ran. */
  finish(): void {
    if (this.#frames < DECIDE_FRAMES && this.#twins > 1 && this.#twins > DOUBLED_SHARE * this.#frames) this.#revise();
  }

  #revise(): void {
    this.revised += this.#pending;
    this.revisedBytes += this.#pendingBytes;
    this.#pending = this.#pendingBytes = 0;
  }
}
