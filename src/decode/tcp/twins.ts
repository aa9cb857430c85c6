// Twins: frames that are the same in every header field as a frame of the same connection shortly before.
//
// Either the network delivered a packet twice, or the capture recorded it twice (an "any" interface, a bridge and its
// port, a mirror port that sees both ways). Sender and receiver know nothing of the second kind, so a twin never changes
// the state of a connection. Which kind it was follows from where it was seen, or else from how many there are: networks
// duplicate rarely, a doubled capture does it to nearly every frame.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { OPTION_SACK, OPTION_TIMESTAMP, type SegmentRows } from '../rows.js';

/** Frames of one connection that a twin may lie apart. */
const APART_FRAMES = 64;
/** Slots of the table, shared by all connections; a power of two. */
const SLOTS = 1 << 16;
/** Without IP identification a true repetition can look the same, but not so soon. */
const APART_NS = 1e6;

export const TWIN_NONE = 0;
/** Seen in the same way as the first: the network's doing unless nearly all frames have twins. */
export const TWIN_SAME_PLACE = 1;
/** Seen on another interface, another VLAN or after a router: the capture's doing. */
export const TWIN_OTHER_PLACE = 2;

export class Twins {
  readonly #first = new Uint32Array(SLOTS);
  readonly #second = new Uint32Array(SLOTS);
  readonly #frame = new Uint32Array(SLOTS);
  readonly #place = new Uint32Array(SLOTS);
  readonly #tNs = new Float64Array(SLOTS);

  /**
   * Looks the row up among the latest of its connection and remembers it.
   *
   * `frame` counts the connection's frames from 1. `repeatNs` is the least time after which the sender could have sent the
   * same again (NaN: not known); it decides where there is no IP identification.
   */
  look(batch: PacketBatch, rows: SegmentRows, row: number, frame: number, repeatNs: number): number {
    const options = rows.options[row]!;
    const ipId = rows.ipId[row]!;
    let a = rows.direction[row]!;
    a = Math.imul(a ^ rows.seq[row]!, 0x9e3779b1);
    a = Math.imul(a ^ (a >>> 15) ^ rows.ack[row]!, 0x85ebca6b);
    a = Math.imul(a ^ (a >>> 13) ^ (rows.flags[row]! | (rows.window[row]! << 16)), 0xc2b2ae35);
    let b = Math.imul(rows.payloadLen[row]! ^ (ipId << 16), 0x27d4eb2f);
    if (options & OPTION_TIMESTAMP) {
      a = Math.imul(a ^ (a >>> 15) ^ rows.tsValue[row]!, 0x9e3779b1);
      b = Math.imul(b ^ (b >>> 15) ^ rows.tsEcho[row]!, 0x165667b1);
    }
    if (options & OPTION_SACK) {
      const { view } = batch;
      const end = rows.sack[row]! + 8 * rows.sackBlocks[row]!;
      for (let at = rows.sack[row]!; at < end; at += 4) b = Math.imul(b ^ (b >>> 15) ^ view.getUint32(at), 0x85ebca6b);
    }
    a ^= a >>> 16;
    const slot = (a ^ (b >>> 13)) & (SLOTS - 1);
    const tNs = batch.tNs[row]!;
    // Interface, hop limit and length of what precedes the IP header (VLAN tags) name the place.
    const before = rows.addresses[row]! - batch.start[row]!;
    const place = batch.iface[row]! | (rows.ttl[row]! << 16) | ((before & 0xff) << 24);
    const apart = frame - this.#frame[slot]!;
    const same =
      this.#frame[slot] !== 0 &&
      this.#first[slot] === a >>> 0 &&
      this.#second[slot] === b >>> 0 &&
      apart > 0 &&
      apart <= APART_FRAMES &&
      (ipId !== 0 || Math.abs(tNs - this.#tNs[slot]!) < (Number.isNaN(repeatNs) ? APART_NS : repeatNs));
    const elsewhere = this.#place[slot] !== place >>> 0;
    this.#first[slot] = a;
    this.#second[slot] = b;
    this.#frame[slot] = frame;
    this.#place[slot] = place;
    this.#tNs[slot] = tNs;
    return same ? (elsewhere ? TWIN_OTHER_PLACE : TWIN_SAME_PLACE) : TWIN_NONE;
  }
}

/** Frames looked at before and while judging whether a capture is doubled. */
const WINDOW_FRAMES = 256;
const DECIDE_FRAMES = 16;
const DOUBLED_SHARE = 0.2;

/** Whether the frames of one kind in one connection are captured twice: twins among the latest 256. */
export class TwinShare {
  doubled = false;
  /** Twins of late that were taken for the network's. */
  pending = 0;
  #frames = 0;
  #twins = 0;

  /** Counts a frame. Returns how many twins judged before turn out to be the capture's with this one. */
  count(twin: boolean): number {
    if (this.#frames === WINDOW_FRAMES) {
      // Halving both keeps the share and lets old frames fade.
      this.#frames >>= 1;
      this.#twins /= 2;
      this.pending = 0;
    }
    this.#frames++;
    if (!twin) return 0;
    this.#twins++;
    const before = this.doubled;
    this.doubled = this.#frames >= DECIDE_FRAMES && this.#twins > DOUBLED_SHARE * this.#frames;
    if (!this.doubled) this.pending++;
    if (before || !this.doubled) return 0;
    const revised = this.pending;
    this.pending = 0;
    return revised;
  }

  /** Twins that turn out to be the capture's now that the connection is over. */
  left(): number {
    const judged = this.#frames >= DECIDE_FRAMES || this.#twins < 2 || this.#twins <= DOUBLED_SHARE * this.#frames;
    return judged ? 0 : this.pending;
  }
}
