// pcapng files: blocks that begin and end with their length, in sections of either byte order.
//
// Frames come in enhanced, simple and (obsolete) packet blocks; interface descriptions say how to read their time
// stamps; statistics say what the capture lost. Everything else is stepped over. A block whose two lengths disagree is
// damage: the next position where a block, and one behind it, make sense is taken to be the next block.
//
// Source: draft-ietf-opsawg-pcapng; for what writers do in practice, Wireshark wiretap/pcapng.c.
import { BATCH_ROWS, FRAME_BYTES, INTERFACES, NAME_CHARACTERS, PCAPNG_BLOCK_BYTES } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import type { ByteWindow } from './byte-window.js';
import { LOOKAHEAD_BYTES } from './byte-window.js';
import type { CaptureInterface, PacketBatch } from './packet-batch.js';
import { WAY_IN, WAY_OUT, WAY_UNKNOWN } from './packet-batch.js';
import type { ReaderContext, RecordReader } from './record-reader.js';
import { addLinkType } from './record-reader.js';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const PACKET = 2;
const SIMPLE_PACKET = 3;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
/** Name resolution, journal, decryption secrets, process events, custom: nothing about frames, and possibly long. */
const KNOWN_AND_SKIPPED: ReadonlySet<number> = new Set([4, 9, 10, 0x80000001, 0x0bad, 0x40000bad]);
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Type and length in front, length behind. */
const SMALLEST_BLOCK_BYTES = 12;
/** Smallest enhanced packet block: no data, no options. The obsolete packet block is laid out alike. */
const PACKET_BLOCK_BYTES = 32;
/** Largest block that is looked at whole: the largest frame and twice the largest option. */
const WHOLE_BLOCK_BYTES = FRAME_BYTES + (128 << 10);
const CHAIN_BYTES = LOOKAHEAD_BYTES - WHOLE_BLOCK_BYTES - (64 << 10);
/** Positions tried before the window may move on. */
const SCAN_BYTES = 64 << 10;

const OPTION_END = 0;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const IF_FCSLEN = 13;
const IF_TSOFFSET = 14;
const EPB_FLAGS = 2;
const EPB_DROPCOUNT = 4;
const ISB_IFDROP = 5;
const ISB_OSDROP = 7;

/** What the section says about one interface, and where its clock stands. */
interface SectionInterface {
  readonly linkType: number;
  readonly snapLength: number | null;
  readonly name: string;
  readonly fcsBytes: number;
  /** Time stamp units in a second. */
  readonly unitsPerSecond: bigint;
  readonly offsetSeconds: bigint;
  /** ns in a unit where that is whole; 0 where time stamps must be divided. */
  readonly nsPerUnit: number;
  /** A time stamp at a whole second, as two halves, and when it was, ns since the epoch; set by the first frame. */
  anchored: boolean;
  anchorHigh: number;
  anchorLow: number;
  anchorNs: number;
  /** Index into `interfaces` by frame check sequence length; filled when the first such frame comes. */
  readonly index: Map<number, number>;
  /** The index for `fcsBytes`, -1 before its first frame. */
  ownIndex: number;
  /** Frames lost as counted by statistics blocks and by packet blocks; null where never stated. */
  droppedByStatistics: number | null;
  droppedByPackets: number | null;
}

export const isPcapngMagic = (view: DataView, at: number): boolean =>
  view.getUint32(at) === SECTION_HEADER && byteOrderAt(view, at + 8) !== null;

/** Little-endian? null where no byte-order magic stands. */
function byteOrderAt(view: DataView, at: number): boolean | null {
  if (view.getUint32(at, true) === BYTE_ORDER_MAGIC) return true;
  return view.getUint32(at, false) === BYTE_ORDER_MAGIC ? false : null;
}

export class PcapngReader implements RecordReader {
  readonly interfaces: CaptureInterface[] = [];
  wantBytes = SMALLEST_BLOCK_BYTES;
  readonly #context: ReaderContext;
  #little = true;
  /** Interfaces of the current section. */
  #section: SectionInterface[] = [];
  #coarsestNs = 0;
  /** `interfaces` by what tells them apart, so that sections that describe the same interface share it. */
  readonly #known = new Map<string, number>();
  /** Latest time stamp, for frames that carry none. */
  #latestNs = WIDE_ZERO;
  #lost = false;
  /** Frames lost in finished sections; null where never stated. */
  #droppedBefore: number | null = null;
  #droppedChanged = false;

  constructor(context: ReaderContext) {
    this.#context = context;
  }

  read(window: ByteWindow, batch: PacketBatch): void {
    this.#readBlocks(window, batch);
    if (this.#droppedChanged) this.#context.info.droppedByCapture = this.#dropped();
    this.#droppedChanged = false;
  }

  #readBlocks(window: ByteWindow, batch: PacketBatch): void {
    for (;;) {
      if (this.#lost && !this.#findBlock(window)) return;
      if (batch.count === BATCH_ROWS) return;
      this.#run(window, batch);
      if (batch.count === BATCH_ROWS) return;
      if (!this.#block(window, batch)) return;
    }
  }

  /** The fast path: sound enhanced packet blocks. Stops at anything else. */
  #run(window: ByteWindow, batch: PacketBatch): void {
    const { view, end } = window;
    const { start, captured, wire, tNs, iface, way } = batch;
    const little = this.#little;
    let at = window.start;
    let row = batch.count;
    let latestNs = this.#latestNs;
    // The interface at hand, in locals.
    let currentId = -1;
    let current: SectionInterface | undefined;
    let anchorHigh = 0;
    let anchorLow = 0;
    let anchorNs = 0;
    let nsPerUnit = 0;
    let index = 0;
    while (row < BATCH_ROWS && at + PACKET_BLOCK_BYTES <= end) {
      if (view.getUint32(at, little) !== ENHANCED_PACKET) break;
      const length = view.getUint32(at + 4, little);
      const next = at + length;
      if (next > end || length < PACKET_BLOCK_BYTES || (length & 3) !== 0) break;
      if (view.getUint32(next - 4, little) !== length) break;
      const bytes = view.getUint32(at + 20, little);
      if (bytes > length - PACKET_BLOCK_BYTES || bytes > FRAME_BYTES) break;
      const id = view.getUint32(at + 8, little);
      const high = view.getUint32(at + 12, little);
      const low = view.getUint32(at + 16, little);
      if (id !== currentId) {
        current = this.#section[id];
        if (current === undefined) break;
        if (!current.anchored) this.#anchor(current, high, low);
        if (current.ownIndex < 0) current.ownIndex = this.#indexOf(current, id, current.fcsBytes);
        ({ anchorHigh, anchorLow, anchorNs, nsPerUnit, ownIndex: index } = current);
        currentId = id;
      }
      const units = (high - anchorHigh) * 0x1_0000_0000 + (low - anchorLow);
      latestNs = anchorNs + (nsPerUnit !== 0 ? units * nsPerUnit : unitsToNs(current!, units));
      const wireBytes = view.getUint32(at + 24, little);
      start[row] = at + 28;
      captured[row] = bytes;
      wire[row] = wireBytes < bytes ? bytes : wireBytes; // some writers leave it 0
      tNs[row] = latestNs;
      iface[row] = index;
      way[row] = WAY_UNKNOWN;
      const options = at + 28 + ((bytes + 3) & ~3);
      if (options < next - 4) this.#packetOptions(window, batch, row, id, options, next - 4);
      row++;
      at = next;
    }
    batch.count = row;
    window.start = at;
    this.#latestNs = latestNs;
  }

  /**
   * Any block the fast path does not take, at the window's start.
   *
   * @returns false when more bytes are needed or nothing is left
   */
  #block(window: ByteWindow, batch: PacketBatch): boolean {
    const { view, start: at, end } = window;
    if (at === end) {
      this.wantBytes = SMALLEST_BLOCK_BYTES;
      return false;
    }
    if (end - at < SMALLEST_BLOCK_BYTES) return this.#incomplete(window, SMALLEST_BLOCK_BYTES);
    const little = orderOf(view, at, this.#little);
    if (little === null) return this.#damaged(window);
    const type = view.getUint32(at, little);
    const length = view.getUint32(at + 4, little);
    if (length < SMALLEST_BLOCK_BYTES || (length & 3) !== 0) return this.#damaged(window);
    if (length > WHOLE_BLOCK_BYTES) {
      if (!KNOWN_AND_SKIPPED.has(type) || length > PCAPNG_BLOCK_BYTES) return this.#damaged(window);
      window.skip(length); // unseen: were this length wrong, the next block would show it
      return true;
    }
    if (at + length > end) return this.#incomplete(window, length);
    if (view.getUint32(at + length - 4, little) !== length) return this.#damaged(window);
    this.#little = little;
    if (!this.#sound(window, batch, type, at, at + length - 4)) this.#note('capture/bad-block', window);
    window.start = at + length;
    return true;
  }

  /** A block that is complete in [at, end), without its second length. Returns false when its contents contradict it. */
  #sound(window: ByteWindow, batch: PacketBatch, type: number, at: number, end: number): boolean {
    switch (type) {
      case SECTION_HEADER:
        this.#endSection();
        return true;
      case INTERFACE_DESCRIPTION:
        return this.#describe(window, at, end);
      case INTERFACE_STATISTICS:
        return this.#statistics(window, at, end);
      case ENHANCED_PACKET:
      case PACKET:
        return this.#packet(window, batch, type, at, end);
      case SIMPLE_PACKET:
        return this.#simplePacket(window, batch, at, end);
      default:
        if (!KNOWN_AND_SKIPPED.has(type)) this.#note('capture/unknown-block', window);
        return true;
    }
  }

  #endSection(): void {
    this.#droppedBefore = this.#dropped();
    this.#section = [];
  }

  #describe(window: ByteWindow, at: number, end: number): boolean {
    const { view, bytes } = window;
    const little = this.#little;
    if (end - at < 16) return false;
    if (this.#section.length === INTERFACES) {
      this.#note('capture/unknown-interface', window);
      return true;
    }
    const linkType = view.getUint16(at + 8, little);
    const snapLength = view.getUint32(at + 12, little) || null;
    let name = '';
    let resolution = 6;
    let fcsBytes = 0;
    let offsetSeconds = 0n;
    for (let option = at + 16; option + 4 <= end; ) {
      const code = view.getUint16(option, little);
      const length = view.getUint16(option + 2, little);
      const value = option + 4;
      if (code === OPTION_END || value + length > end) break;
      if (code === IF_NAME) name = text(bytes, value, length);
      else if (code === IF_TSRESOL && length >= 1) resolution = view.getUint8(value);
      else if (code === IF_FCSLEN && length >= 1) fcsBytes = fcsLength(view.getUint8(value));
      else if (code === IF_TSOFFSET && length >= 8) offsetSeconds = view.getBigInt64(value, little);
      option = value + ((length + 3) & ~3);
    }
    // The top bit says power of two, else it is a power of ten.
    const unitsPerSecond = resolution & 0x80 ? 1n << BigInt(resolution & 0x7f) : 10n ** BigInt(resolution);
    const nsPerUnit = 1_000_000_000n % unitsPerSecond === 0n ? Number(1_000_000_000n / unitsPerSecond) : 0;
    const { info } = this.#context;
    addLinkType(info, linkType);
    // One figure for the whole input: the coarsest clock and the smallest snap length bound what can be known.
    this.#coarsestNs = Math.max(this.#coarsestNs, 1e9 / Number(unitsPerSecond));
    info.timestampResolutionNs = this.#coarsestNs;
    if (snapLength !== null) info.snapLength = Math.min(info.snapLength ?? snapLength, snapLength);
    this.#section.push({
      linkType,
      snapLength,
      name,
      fcsBytes,
      unitsPerSecond,
      offsetSeconds,
      nsPerUnit,
      anchored: false,
      anchorHigh: 0,
      anchorLow: 0,
      anchorNs: 0,
      index: new Map(),
      ownIndex: -1,
      droppedByStatistics: null,
      droppedByPackets: null,
    });
    return true;
  }

  /**
   * Counters run from the start of the capture, so the last block of an interface holds.
   *
   * What was delivered to the user (isb_usrdeliv) is no evidence of loss: frames may have waited in a buffer at the end.
   */
  #statistics(window: ByteWindow, at: number, end: number): boolean {
    const { view } = window;
    const little = this.#little;
    if (end - at < 20) return false;
    const described = this.#section[view.getUint32(at + 8, little)];
    if (described === undefined) {
      this.#note('capture/unknown-interface', window);
      return true;
    }
    let dropped: number | null = null;
    for (let option = at + 20; option + 4 <= end; ) {
      const code = view.getUint16(option, little);
      const length = view.getUint16(option + 2, little);
      const value = option + 4;
      if (code === OPTION_END || value + length > end) break;
      if ((code === ISB_IFDROP || code === ISB_OSDROP) && length >= 8) {
        dropped = (dropped ?? 0) + Number(view.getBigUint64(value, little));
      }
      option = value + ((length + 3) & ~3);
    }
    if (dropped !== null) described.droppedByStatistics = dropped;
    this.#droppedChanged = true;
    return true;
  }

  /** A packet block the fast path refused: its interface or its length is wrong, or it is of the obsolete kind. */
  #packet(window: ByteWindow, batch: PacketBatch, type: number, at: number, end: number): boolean {
    const { view } = window;
    const little = this.#little;
    if (end - at < 28) return false;
    const bytes = view.getUint32(at + 20, little);
    if (bytes > end - at - 28 || bytes > FRAME_BYTES) return false;
    // The obsolete block has a 16-bit interface and a 16-bit count of frames lost, 0xffff when that is not known.
    const id = type === PACKET ? view.getUint16(at + 8, little) : view.getUint32(at + 8, little);
    const described = this.#section[id];
    if (described === undefined) {
      this.#note('capture/unknown-interface', window);
      return true;
    }
    const high = view.getUint32(at + 12, little);
    const low = view.getUint32(at + 16, little);
    if (!described.anchored) this.#anchor(described, high, low);
    const units = (high - described.anchorHigh) * 0x1_0000_0000 + (low - described.anchorLow);
    this.#latestNs = described.anchorNs + unitsToNs(described, units);
    this.#add(batch, described, id, at + 28, bytes, view.getUint32(at + 24, little));
    if (type === PACKET) {
      const dropped = view.getUint16(at + 10, little);
      if (dropped !== 0xffff) this.#addDropped(described, dropped);
    }
    const options = at + 28 + ((bytes + 3) & ~3);
    if (options < end) this.#packetOptions(window, batch, batch.count - 1, id, options, end);
    return true;
  }

  /** No time stamp, no captured length: it has the time of the frame before it, and the snap length of interface 0. */
  #simplePacket(window: ByteWindow, batch: PacketBatch, at: number, end: number): boolean {
    const { view } = window;
    if (end - at < 12) return false;
    const described = this.#section[0];
    if (described === undefined) {
      this.#note('capture/unknown-interface', window);
      return true;
    }
    const wireBytes = view.getUint32(at + 8, this.#little);
    const bytes = Math.min(wireBytes, described.snapLength ?? wireBytes);
    if (bytes > end - at - 12 || bytes > FRAME_BYTES) return false;
    this.#add(batch, described, 0, at + 12, bytes, wireBytes);
    return true;
  }

  #add(batch: PacketBatch, of: SectionInterface, id: number, start: number, bytes: number, wireBytes: number): void {
    if (of.ownIndex < 0) of.ownIndex = this.#indexOf(of, id, of.fcsBytes);
    const row = batch.count++;
    batch.start[row] = start;
    batch.captured[row] = bytes;
    batch.wire[row] = Math.max(wireBytes, bytes);
    batch.tNs[row] = this.#latestNs;
    batch.iface[row] = of.ownIndex;
    batch.way[row] = WAY_UNKNOWN;
  }

  /** Direction, check sequence length and losses of one frame. */
  #packetOptions(window: ByteWindow, batch: PacketBatch, row: number, id: number, from: number, end: number): void {
    const { view } = window;
    const little = this.#little;
    const described = this.#section[id]!;
    for (let option = from; option + 4 <= end; ) {
      const code = view.getUint16(option, little);
      const length = view.getUint16(option + 2, little);
      const value = option + 4;
      if (code === OPTION_END || value + length > end) return;
      if (code === EPB_FLAGS && length >= 4) {
        const flags = view.getUint32(value, little);
        const direction = flags & 3;
        batch.way[row] = direction === 1 ? WAY_IN : direction === 2 ? WAY_OUT : WAY_UNKNOWN;
        const fcsBytes = (flags >>> 5) & 15; // 0: not stated, the interface's holds
        if (fcsBytes !== 0) batch.iface[row] = this.#indexOf(described, id, fcsBytes);
      } else if (code === EPB_DROPCOUNT && length >= 8) {
        this.#addDropped(described, Number(view.getBigUint64(value, little)));
      }
      option = value + ((length + 3) & ~3);
    }
  }

  #addDropped(described: SectionInterface, frames: number): void {
    described.droppedByPackets = (described.droppedByPackets ?? 0) + frames;
    this.#droppedChanged = true;
  }

  /** Both counts are of the same losses; the larger one knows more. */
  #dropped(): number | null {
    let total = this.#droppedBefore;
    for (const { droppedByStatistics: a, droppedByPackets: b } of this.#section) {
      if (a !== null || b !== null) total = (total ?? 0) + Math.max(a ?? 0, b ?? 0);
    }
    return total;
  }

  /** Index into `interfaces` for frames of a described interface with `fcsBytes` of check sequence. */
  #indexOf(described: SectionInterface, id: number, fcsBytes: number): number {
    const assigned = described.index.get(fcsBytes);
    if (assigned !== undefined) return assigned;
    const { linkType, snapLength, name } = described;
    const key = JSON.stringify([id, linkType, snapLength, fcsBytes, name]);
    let index = this.#known.get(key);
    if (index === undefined) {
      index = this.interfaces.length;
      if (index === INTERFACES) return INTERFACES - 1;
      this.interfaces.push({ input: this.#context.input, linkType, fcsBytes, snapLength, name });
      this.#known.set(key, index);
    }
    described.index.set(fcsBytes, index);
    return index;
  }

  /** Fixes an interface's clock to a whole second, so that all further arithmetic fits a number. */
  #anchor(described: SectionInterface, high: number, low: number): void {
    const { epoch } = this.#context;
    const units = (BigInt(high) << 32n) | BigInt(low);
    const { unitsPerSecond } = described;
    const rest = units % unitsPerSecond;
    const wholeNs = (units / unitsPerSecond + described.offsetSeconds) * 1_000_000_000n;
    epoch.epochNs ??= wholeNs + (rest * 1_000_000_000n) / unitsPerSecond;
    const anchor = units - rest;
    described.anchorHigh = Number(anchor >> 32n);
    described.anchorLow = Number(anchor & 0xffff_ffffn);
    described.anchorNs = Number(wholeNs - epoch.epochNs);
    described.anchored = true;
  }

  /** Not all of a block is here: wait, or at the end find out whether its length or the input is to blame. */
  #incomplete(window: ByteWindow, wantBytes: number): boolean {
    if (!window.ended) {
      this.wantBytes = wantBytes;
      return false;
    }
    const found = this.#search(window, window.start + 1, window.end);
    if (found !== null) {
      this.#note('capture/bad-length', window);
      window.start = found;
      return true;
    }
    this.#note('capture/record-truncated', window);
    window.start = window.end;
    return false;
  }

  #damaged(window: ByteWindow): boolean {
    this.#note('capture/bad-length', window);
    window.start++;
    this.#lost = true;
    return true;
  }

  /** Scans on to the next believable block. Returns false when more bytes are needed. */
  #findBlock(window: ByteWindow): boolean {
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

  /** First position in [from, to) where a sound block begins with another, or the end of the input, behind it. */
  #search(window: ByteWindow, from: number, to: number): number | null {
    const { view, end } = window;
    for (let at = from; at < to; at++) {
      const limit = Math.min(end, at + WHOLE_BLOCK_BYTES + CHAIN_BYTES);
      if (at + SMALLEST_BLOCK_BYTES > limit) return null;
      const little = orderOf(view, at, this.#little);
      if (little === null) continue;
      const next = soundBlockEnd(view, at, limit, little);
      if (next === null) continue;
      if (next === end) return at;
      if (next + SMALLEST_BLOCK_BYTES > limit) continue;
      const nextLittle = orderOf(view, next, little);
      if (nextLittle !== null && soundBlockEnd(view, next, limit, nextLittle) !== null) return at;
    }
    return null;
  }

  #note(
    code:
      | 'capture/bad-length'
      | 'capture/bad-block'
      | 'capture/record-truncated'
      | 'capture/unknown-block'
      | 'capture/unknown-interface',
    window: ByteWindow,
  ): void {
    const { log, input } = this.#context;
    log.note(code, { input, fileOffset: window.offset(window.start) });
  }
}

/** Byte order of the block at `at`: its own if a section begins there (null if it states none), else the section's. */
const orderOf = (view: DataView, at: number, section: boolean): boolean | null =>
  view.getUint32(at) === SECTION_HEADER ? byteOrderAt(view, at + 8) : section;

/** Where the block at `at` ends if its type is a common one and its lengths agree; null otherwise. */
function soundBlockEnd(view: DataView, at: number, limit: number, little: boolean): number | null {
  const type = view.getUint32(at, little);
  if (type !== SECTION_HEADER && (type === 0 || type > 10) && !KNOWN_AND_SKIPPED.has(type)) return null;
  const length = view.getUint32(at + 4, little);
  const end = at + length;
  if (length < SMALLEST_BLOCK_BYTES || (length & 3) !== 0 || end > limit) return null;
  return view.getUint32(end - 4, little) === length ? end : null;
}

/** if_fcslen is in bits by the specification, and in bytes by what many writers do; no check sequence has 4 bits. */
const fcsLength = (stated: number): number => (stated < 8 ? stated : stated >>> 3);

/** ns in a span of time stamp units, rounded down; exact to a ns for any resolution. */
function unitsToNs(described: SectionInterface, units: number): number {
  if (described.nsPerUnit !== 0) return units * described.nsPerUnit;
  const unitsPerSecond = Number(described.unitsPerSecond);
  const seconds = Math.floor(units / unitsPerSecond);
  const rest = units - seconds * unitsPerSecond;
  const unitsPerNs = unitsPerSecond / 1e9;
  // Powers of ten beyond ns divide evenly; powers of two are multiplied first, which is exact to 2^-23 s and beyond
  // that off by less than 10^-6 ns.
  const ns = Number.isInteger(unitsPerNs) ? rest / unitsPerNs : (rest * 1e9) / unitsPerSecond;
  return seconds * 1e9 + Math.floor(ns);
}

const decoder = new TextDecoder();
/** Untrusted text of the file, cut to a bound. */
const text = (bytes: Uint8Array, at: number, length: number): string =>
  decoder
    .decode(bytes.subarray(at, at + length))
    .replace(/\0.*$/s, '')
    .slice(0, NAME_CHARACTERS);
