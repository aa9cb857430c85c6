// Classic pcap files: a 24-byte file header, then records of a small header and the captured bytes.
//
// Nothing marks the beginning of a record, so one wrong length loses the place. A record is therefore taken only when
// what follows it looks like another one; where it does not, the nearest position from which a chain of plausible
// headers runs is taken to be the next record. The damage is noted with its offset, all around it counts.
//
// Source: draft-ietf-opsawg-pcap; pcap-savefile(5); for the modified formats Wireshark wiretap/libpcap.c.
import { BATCH_ROWS, FRAME_BYTES } from '../limits.js';
import type { ByteWindow } from './byte-window.js';
import { LOOKAHEAD_BYTES } from './byte-window.js';
import type { CaptureInterface, PacketBatch } from './packet-batch.js';
import { WAY_IN, WAY_OUT } from './packet-batch.js';
import type { ReaderContext, RecordReader } from './record-reader.js';
import { addLinkType } from './record-reader.js';

interface Variant {
  readonly fileHeaderBytes: number;
  readonly recordHeaderBytes: number;
  /** Fractions of a second in a record's second field. */
  readonly fractions: number;
}

/** What the first four bytes, read in the file's byte order, say about the rest. */
const VARIANTS: ReadonlyMap<number, Variant> = new Map([
  [0xa1b2c3d4, { fileHeaderBytes: 24, recordHeaderBytes: 16, fractions: 1e6 }],
  [0xa1b23c4d, { fileHeaderBytes: 24, recordHeaderBytes: 16, fractions: 1e9 }],
  // Kuznetzov's patched libpcap: interface index, protocol and packet type follow the usual fields of a record.
  [0xa1b2cd34, { fileHeaderBytes: 24, recordHeaderBytes: 24, fractions: 1e6 }],
  // Ixia's "lcap", stamped by hardware or by software: the size of all records follows the file header.
  [0x1c0001ac, { fileHeaderBytes: 28, recordHeaderBytes: 16, fractions: 1e9 }],
  [0x1c0001ab, { fileHeaderBytes: 28, recordHeaderBytes: 16, fractions: 1e6 }],
]);
const MODIFIED_HEADER_BYTES = 24;
/** Where the modified record header keeps the packet type, and the value for frames this host sent (if_packet.h). */
const PACKET_TYPE_AT = 22;
const PACKET_OUTGOING = 4;

/** Bytes of a chain of records that may be looked at before it is believed. */
const CHAIN_BYTES = LOOKAHEAD_BYTES - FRAME_BYTES - (64 << 10);
/** Records that make a chain believed at once. */
const CHAIN_RECORDS = 8;
/** Positions tried before the window may move on. */
const SCAN_BYTES = 64 << 10;
/** Two frames farther apart than this (12 days) are not neighbours unless more speaks for it. */
const NEIGHBOUR_SECONDS = 1 << 20;

/** Does an input that begins with these four bytes hold classic pcap records? */
export const isPcapMagic = (view: DataView, at: number): boolean =>
  VARIANTS.has(view.getUint32(at, true)) || VARIANTS.has(view.getUint32(at, false));

export class PcapReader implements RecordReader {
  readonly interfaces: readonly CaptureInterface[];
  wantBytes: number;
  readonly #context: ReaderContext;
  readonly #little: boolean;
  readonly #headerBytes: number;
  readonly #fractions: number;
  /** Whole seconds of the last record taken; null before the first. */
  #second: number | null = null;
  #epochSecond = 0;
  #epochFractionNs = 0;
  /** Looking for the next believable record. */
  #lost = false;

  /** Reads the file header at the window's start, which holds it whole, and steps over it. */
  constructor(window: ByteWindow, context: ReaderContext) {
    const { view, start } = window;
    this.#context = context;
    this.#little = VARIANTS.has(view.getUint32(start, true));
    const variant = VARIANTS.get(view.getUint32(start, this.#little))!;
    this.#headerBytes = variant.recordHeaderBytes;
    this.#fractions = variant.fractions;
    this.wantBytes = this.#headerBytes;
    const snapLength = view.getUint32(start + 16, this.#little) || null;
    const linkField = view.getUint32(start + 20, this.#little);
    const linkType = linkField & 0xffff;
    // Bit 26: the upper four bits give the frame check sequence in 16-bit words.
    const fcsBytes = linkField & 0x0400_0000 ? 2 * (linkField >>> 28) : 0;
    this.interfaces = [{ input: context.input, linkType, fcsBytes, snapLength, name: '' }];
    addLinkType(context.info, linkType);
    context.info.snapLength = snapLength;
    context.info.timestampResolutionNs = 1e9 / this.#fractions;
    window.skip(variant.fileHeaderBytes);
  }

  read(window: ByteWindow, batch: PacketBatch): void {
    for (;;) {
      if (this.#lost && !this.#findRecord(window)) return;
      if (this.#run(window, batch)) {
        if (this.#context.live) this.#takeLast(window, batch);
        return;
      }
      this.wantBytes = LOOKAHEAD_BYTES;
      if (!window.ended && window.end - window.start < LOOKAHEAD_BYTES) return;
      this.#judge(window, batch);
    }
  }

  /**
   * The fast path: takes records while the header behind each of them is plausible too.
   *
   * @returns false when the record at the window's start needs a closer look, true when the batch is full, more bytes
   *   are needed, or nothing is left
   */
  #run(window: ByteWindow, batch: PacketBatch): boolean {
    const { view, end } = window;
    const { start, captured, wire, tNs, way } = batch;
    const little = this.#little;
    const headerBytes = this.#headerBytes;
    const fractions = this.#fractions;
    const fractionNs = 1e9 / fractions;
    const modified = headerBytes === MODIFIED_HEADER_BYTES;
    let at = window.start;
    this.wantBytes = headerBytes;
    if (at + headerBytes > end) return !window.ended || at === end;
    if (!this.#plausible(view, at, this.#second)) return false;
    let row = batch.count;
    let sure = true;
    let lastSecond = this.#second ?? 0;
    // Time counts from the middle of the epoch's second: a product of whole numbers is one to V8, too, until after two seconds it
    // is too large, and everything here is compiled again.
    let middleSecond = this.#epochSecond + 0.5;
    let middleNs = this.#epochFractionNs - 0.5e9;
    // Fields are read again where they are needed: carried over in variables they cost a fifth more (measured).
    while (row < BATCH_ROWS) {
      const bytes = view.getUint32(at + 8, little);
      const next = at + headerBytes + bytes;
      if (next + headerBytes > end) {
        this.wantBytes = next + headerBytes - at;
        sure = !window.ended;
        break;
      }
      const second = view.getUint32(at, little);
      const nextWireBytes = view.getUint32(next + 12, little);
      // #plausible() once more, spelled out because it runs once a frame; the two must not differ.
      if (
        (nextWireBytes - 1) >>> 0 >= FRAME_BYTES ||
        view.getUint32(next + 8, little) > nextWireBytes ||
        view.getUint32(next + 4, little) >= fractions ||
        (view.getUint32(next, little) - second + NEIGHBOUR_SECONDS) >>> 0 > 2 * NEIGHBOUR_SECONDS
      ) {
        sure = false;
        break;
      }
      if (row === 0 && this.#second === null) {
        this.#anchor(second, view.getUint32(at + 4, little));
        middleSecond = this.#epochSecond + 0.5;
        middleNs = this.#epochFractionNs - 0.5e9;
      }
      start[row] = at + headerBytes;
      captured[row] = bytes;
      wire[row] = view.getUint32(at + 12, little);
      tNs[row] = (second - middleSecond) * 1e9 + (view.getUint32(at + 4, little) * fractionNs - middleNs);
      if (modified) way[row] = wayOf(view.getUint8(at + PACKET_TYPE_AT));
      row++;
      lastSecond = second;
      at = next;
    }
    if (row > batch.count) this.#second = lastSecond;
    batch.iface.fill(0, batch.count, row);
    batch.count = row;
    window.start = at;
    return sure;
  }

  /** Takes a plausible record as soon as it is there to its last byte, though what follows it is not. */
  #takeLast(window: ByteWindow, batch: PacketBatch): void {
    const { view, start: at, end } = window;
    if (batch.count === BATCH_ROWS || at + this.#headerBytes > end) return;
    if (!this.#plausible(view, at, this.#second)) return;
    const recordBytes = this.#headerBytes + view.getUint32(at + 8, this.#little);
    if (at + recordBytes > end) {
      this.wantBytes = recordBytes;
      return;
    }
    this.#take(window, batch);
    this.wantBytes = this.#headerBytes;
  }

  /** Decides about the one record at the window's start; the window holds all of LOOKAHEAD_BYTES or all there is. */
  #judge(window: ByteWindow, batch: PacketBatch): void {
    const { view, start: at, end } = window;
    if (at + this.#headerBytes > end) {
      this.#truncated(window);
      return;
    }
    const next = at + this.#headerBytes + view.getUint32(at + 8, this.#little);
    if (!this.#plausible(view, at, this.#second)) {
      // A clock step or an odd field is no damage when the lengths lead on to good records.
      if (this.#chain(window, at, true)) this.#take(window, batch);
      else this.#damaged(window, at + 1);
      return;
    }
    // What follows is not plausible. Either this length is wrong, and then the true next record begins inside what it
    // claims; or the next record is damaged or its clock was set; or the input ends here.
    const inside = next === end ? null : this.#search(window, at + 1, Math.min(next, end));
    if (inside !== null) {
      this.#damaged(window, inside);
      this.#lost = false;
    } else if (next <= end) this.#take(window, batch);
    else this.#truncated(window);
  }

  /** Scans on to the next believable record. Returns false when more bytes are needed. */
  #findRecord(window: ByteWindow): boolean {
    for (;;) {
      this.wantBytes = LOOKAHEAD_BYTES;
      if (!window.ended && window.end - window.start < LOOKAHEAD_BYTES) return false;
      const stop = window.ended ? window.end : window.start + SCAN_BYTES;
      const found = this.#search(window, window.start, stop);
      window.start = found ?? stop;
      if (found !== null || window.ended) {
        this.#lost = false;
        return true;
      }
    }
  }

  /** First position in [from, to) where a chain of records begins; null where there is none. */
  #search(window: ByteWindow, from: number, to: number): number | null {
    const { view } = window;
    const little = this.#little;
    const stop = Math.min(to, window.end - this.#headerBytes + 1);
    for (let at = from; at < stop; at++) {
      const wireBytes = view.getUint32(at + 12, little);
      if (wireBytes === 0 || wireBytes > FRAME_BYTES) continue;
      if (this.#chain(window, at, false)) return at;
    }
    return null;
  }

  /**
   * Do plausible records follow one another from `at` on?
   *
   * Looks at CHAIN_BYTES at most, whatever else the window holds: the answer must not depend on how input is cut.
   * @param oddFirst  a record is expected at `at`: it may lie anywhere in time if its lengths are good
   */
  #chain(window: ByteWindow, at: number, oddFirst: boolean): boolean {
    const { view } = window;
    const limit = Math.min(window.end, at + CHAIN_BYTES);
    let second = this.#second;
    let position = at;
    for (let count = 0; count < CHAIN_RECORDS; count++) {
      if (window.ended && position === window.end)
        return count > 1 || (count === 1 && (oddFirst || this.#second !== null));
      if (position + this.#headerBytes > limit) return count > 1;
      const good =
        count === 0 && oddFirst
          ? this.#goodLengths(view, position)
          : this.#plausible(view, position, second) || this.#plausible(view, position, this.#second);
      if (!good) return false;
      second = view.getUint32(position, this.#little);
      position += this.#headerBytes + view.getUint32(position + 8, this.#little);
    }
    return true;
  }

  #goodLengths(view: DataView, at: number): boolean {
    const wireBytes = view.getUint32(at + 12, this.#little);
    return wireBytes <= FRAME_BYTES && view.getUint32(at + 8, this.#little) <= wireBytes;
  }

  /** Could a record header that follows one of `second` stand at `at`? */
  #plausible(view: DataView, at: number, second: number | null): boolean {
    return (
      this.#goodLengths(view, at) &&
      view.getUint32(at + 12, this.#little) > 0 &&
      view.getUint32(at + 4, this.#little) < this.#fractions &&
      (second === null ||
        (view.getUint32(at, this.#little) - second + NEIGHBOUR_SECONDS) >>> 0 <= 2 * NEIGHBOUR_SECONDS)
    );
  }

  /** Takes the record at the window's start as it is. */
  #take(window: ByteWindow, batch: PacketBatch): void {
    const { view, start: at } = window;
    const second = view.getUint32(at, this.#little);
    const fraction = view.getUint32(at + 4, this.#little);
    const bytes = view.getUint32(at + 8, this.#little);
    if (this.#second === null) this.#anchor(second, fraction);
    const row = batch.count++;
    batch.start[row] = at + this.#headerBytes;
    batch.captured[row] = bytes;
    batch.wire[row] = view.getUint32(at + 12, this.#little);
    batch.tNs[row] = (second - this.#epochSecond) * 1e9 + ((fraction * 1e9) / this.#fractions - this.#epochFractionNs);
    batch.iface[row] = 0;
    if (this.#headerBytes === MODIFIED_HEADER_BYTES) batch.way[row] = wayOf(view.getUint8(at + PACKET_TYPE_AT));
    this.#second = second;
    window.start = at + this.#headerBytes + bytes;
  }

  #anchor(second: number, fraction: number): void {
    const { epoch } = this.#context;
    epoch.epochNs ??= BigInt(second) * 1_000_000_000n + BigInt((fraction * 1e9) / this.#fractions);
    this.#epochSecond = Number(epoch.epochNs / 1_000_000_000n);
    this.#epochFractionNs = Number(epoch.epochNs % 1_000_000_000n);
  }

  #damaged(window: ByteWindow, goOnAt: number): void {
    const { log, input } = this.#context;
    log.note('capture/bad-length', { input, fileOffset: window.offset(window.start) });
    window.start = goOnAt;
    this.#lost = true;
  }

  #truncated(window: ByteWindow): void {
    const { log, input } = this.#context;
    log.note('capture/record-truncated', { input, fileOffset: window.offset(window.start) });
    window.start = window.end;
  }
}

const wayOf = (packetType: number): number => (packetType === PACKET_OUTGOING ? WAY_OUT : WAY_IN);
