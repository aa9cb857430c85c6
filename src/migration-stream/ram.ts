// RAM: the body of `ram` sections, and the whole of a preempt channel.
//
// A body is a sequence of records, each a 64-bit word: a page address (or the total size) with flags in the bits below
// the page size. Page records carry the RAM block's name unless CONTINUE says "as before"; that state belongs to the
// channel and outlives sections. The record with EOS ends a body. Page contents are skipped, never looked at.
// Source: QEMU migration/ram.c, save_page_header(), ram_save_setup(), ram_load_precopy(); docs/ has the versions.
import { type ByteCursor, type Reading, uint32, want } from '../decode/tcp/byte-cursor.js';
import { RAM_BLOCKS } from '../limits.js';
import {
  type MigrationSink,
  type NoteDamage,
  PAGE_COMPRESSED,
  PAGE_NORMAL,
  PAGE_XBZRLE,
  PAGE_ZERO,
  type RamBlock,
  type ReadEnd,
  type SearchSink,
  UNKNOWN_BLOCK,
} from './records.js';
import {
  ENCODING_FLAG_XBZRLE,
  RAM_FLAGS_MASK,
  RAM_SAVE_FLAG_COMPRESS_PAGE,
  RAM_SAVE_FLAG_CONTINUE,
  RAM_SAVE_FLAG_EOS,
  RAM_SAVE_FLAG_HOOK,
  RAM_SAVE_FLAG_MEM_SIZE,
  RAM_SAVE_FLAG_MULTIFD_FLUSH,
  RAM_SAVE_FLAG_PAGE,
  RAM_SAVE_FLAG_XBZRLE,
  RAM_SAVE_FLAG_ZERO,
} from './wire.js';

const PAGE_FLAGS = RAM_SAVE_FLAG_PAGE | RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_XBZRLE | RAM_SAVE_FLAG_COMPRESS_PAGE;
/** Target page sizes of QEMU's machines, the usual one first. Source: cpu-param.h of each target. */
const PAGE_SIZES = [4096, 8192, 16384, 1024];
const DEFAULT_PAGE_SIZE = 4096;
/** Beyond any guest-physical address (x86 has 52 bits). */
const ADDRESS_LIMIT = 2 ** 52;
const FOUR_GIB = 0x1_0000_0000;

/** Length of the record that ends a body; page records are longer. */
export const EOS_BYTES = 8;
/** What `measure` found at a position. */
export const NOT_A_RECORD = 0;
export const TOO_SHORT_TO_TELL = -1;

export class RamReader {
  /** Target page size; a guess until `pageSizeKnown`. */
  pageSize = DEFAULT_PAGE_SIZE;
  pageSizeKnown = false;
  /** `x-ignore-shared`: every block states its guest-physical address. */
  ignoreShared = false;
  /** Post-copy was advised: blocks may state their own page size. */
  postcopyAdvised = false;
  /** Bytes of the records of the latest whole body, as they were reported. */
  bodyBytes = 0;
  /** Page address of the record that `measure` looked at last. */
  measuredAddress = 0;
  readonly #sink: MigrationSink;
  readonly #seen: SearchSink;
  readonly #note: NoteDamage;
  /** Lengths of the blocks by their number; ADDRESS_LIMIT where the block list is not in the capture. */
  readonly #lengths: number[] = [];
  #listed = false;
  #block = UNKNOWN_BLOCK;
  /** False where a gap, or the capture's beginning, may hide which block was named last. */
  #inStep = true;
  /** Address of the latest page. */
  #address = 0;
  /** Where the record began that a hole covered; NaN before. */
  #lostAt = Number.NaN;
  #blockLength = ADDRESS_LIMIT;

  /** @param seen  see StreamContext; `sink` where absent */
  constructor(sink: MigrationSink, note: NoteDamage, seen: SearchSink = sink) {
    this.#sink = sink;
    this.#seen = seen;
    this.#note = note;
  }

  setPageSize(bytes: number): void {
    this.pageSize = bytes;
    this.pageSizeKnown = true;
    this.#sink.pageSize(bytes);
  }

  /** Reads records up to and including the one with EOS. Returns 'desync' when lost or when the stream ends first. */
  *records(stream: ByteCursor): Reading<ReadEnd> {
    const sink = this.#sink;
    let bytes = 0;
    for (;;) {
      const offset = stream.offset;
      if (stream.end - stream.position < 8 && !(yield 8)) {
        this.#lostAt = offset;
        return 'desync';
      }
      const tNs = stream.tNs;
      const high = stream.u32();
      const low = stream.u32();
      const flags = low & RAM_FLAGS_MASK;
      const address = high * FOUR_GIB + (low - flags);
      if (flags & PAGE_FLAGS) {
        let named = 0;
        if (!(flags & RAM_SAVE_FLAG_CONTINUE)) {
          if (!(yield* want(stream, 1))) return 'desync';
          const length = stream.u8();
          if (!(yield* want(stream, length))) return 'desync';
          if (!this.#enter(stream.text(length))) return 'desync';
          named = 1 + length;
        } else if (this.#block === UNKNOWN_BLOCK && this.#inStep) {
          this.#inStep = false;
          this.#note('stream/invariant', 'a page of the same RAM block as before, but none was before');
        }
        if (!this.pageSizeKnown && !(yield* this.#learnPageSize(stream, flags))) return 'desync';
        if (address >= this.#blockLength || low & (this.pageSize - 1) & ~RAM_FLAGS_MASK) {
          return this.#bad(`page address ${address}`);
        }
        this.#address = address;
        switch (flags & ~RAM_SAVE_FLAG_CONTINUE) {
          case RAM_SAVE_FLAG_PAGE:
            stream.skip(this.pageSize);
            sink.page(offset, tNs, this.#block, address, PAGE_NORMAL, 8 + named + this.pageSize);
            bytes += 8 + named + this.pageSize;
            break;
          case RAM_SAVE_FLAG_ZERO:
            stream.skip(1);
            sink.page(offset, tNs, this.#block, address, PAGE_ZERO, 9 + named);
            bytes += 9 + named;
            break;
          case RAM_SAVE_FLAG_XBZRLE: {
            if (!(yield* want(stream, 3))) return 'desync';
            const encoding = stream.u8();
            const length = stream.u16();
            if (encoding !== ENCODING_FLAG_XBZRLE || length > this.pageSize) return this.#bad('XBZRLE header');
            stream.skip(length);
            sink.page(offset, tNs, this.#block, address, PAGE_XBZRLE, 11 + named + length);
            bytes += 11 + named + length;
            break;
          }
          case RAM_SAVE_FLAG_COMPRESS_PAGE: {
            if (!(yield* want(stream, 4))) return 'desync';
            const length = stream.u32();
            if (length > compressBound(this.pageSize)) return this.#bad('length of a compressed page');
            stream.skip(length);
            sink.page(offset, tNs, this.#block, address, PAGE_COMPRESSED, 12 + named + length);
            bytes += 12 + named + length;
            break;
          }
          default:
            return this.#bad(`flags 0x${flags.toString(16)}`);
        }
      } else {
        bytes += 8;
        if (flags === RAM_SAVE_FLAG_EOS) {
          this.bodyBytes = bytes;
          return 'end';
        }
        if (flags === RAM_SAVE_FLAG_MULTIFD_FLUSH) {
          sink.flush(offset, tNs);
        } else if (flags === RAM_SAVE_FLAG_MEM_SIZE) {
          if (!(yield* this.#blockList(stream, address))) return 'desync';
          bytes += stream.offset - offset - 8;
        } else if (flags !== RAM_SAVE_FLAG_HOOK) {
          return this.#bad(`flags 0x${flags.toString(16)}`);
        }
      }
    }
  }

  /** Forgets which block CONTINUE refers to; the record that named it may be in a gap. */
  afterGap(): void {
    this.#inStep = false;
    // With the block list at hand, the largest block is by far the likeliest; without it nothing is known.
    if (this.#block !== UNKNOWN_BLOCK || this.#lengths.length === 0) return;
    this.#block = 0;
    this.#blockLength = this.#lengths[0]!;
  }

  /** Whether a record at `offset` fits behind the one that was lost if all between are whole pages, as they mostly are. */
  isExpected(offset: number, address: number): boolean {
    const pages = (offset - this.#lostAt) / (8 + this.pageSize);
    return pages > 0 && Number.isInteger(pages) && address >= this.#address + pages * this.pageSize;
  }

  /** Reports the page record at which the stream stands, if it is one, and moves past its first byte. */
  sight(stream: ByteCursor): void {
    const { buffer, position } = stream;
    const length = this.measure(buffer, position, stream.end);
    if (length === NOT_A_RECORD || length === TOO_SHORT_TO_TELL || length === EOS_BYTES) {
      stream.skip(1);
      return;
    }
    const flags = uint32(buffer, position + 4) & RAM_FLAGS_MASK;
    const address = buffer[position + 3]! * FOUR_GIB + uint32(buffer, position + 4) - flags;
    const kind = flags & RAM_SAVE_FLAG_PAGE ? PAGE_NORMAL : flags & RAM_SAVE_FLAG_ZERO ? PAGE_ZERO : PAGE_XBZRLE;
    let block = this.#block;
    if (!(flags & RAM_SAVE_FLAG_CONTINUE)) {
      const length = buffer[position + 8]!;
      block = this.#sink.block(String.fromCharCode(...buffer.subarray(position + 9, position + 9 + length)));
    }
    this.#seen.sighting(stream.offset, stream.tNs, block, address, kind);
    stream.skip(1);
  }

  /**
   * Length of the record at `buffer[at]`, judged by itself; NOT_A_RECORD or TOO_SHORT_TO_TELL. For the search after a gap.
   * Only page records and EOS (8) count: the others are too rare to anchor on.
   */
  measure(buffer: Uint8Array, at: number, end: number): number {
    if (end - at < 8) return TOO_SHORT_TO_TELL;
    // Cheap rejections first: addresses are below 2^48 in practice, and one kind of record at a time.
    if (buffer[at]! | buffer[at + 1]!) return NOT_A_RECORD;
    const low = ((buffer[at + 6]! & 0x0f) << 8) | buffer[at + 7]!;
    const flags = low & RAM_FLAGS_MASK;
    if (low & (this.pageSize - 1) & 0xfff & ~RAM_FLAGS_MASK) return NOT_A_RECORD;
    const pageFlag = flags & ~RAM_SAVE_FLAG_CONTINUE;
    if (flags === RAM_SAVE_FLAG_EOS) {
      for (let i = 2; i < 7; i++) if (buffer[at + i] !== 0) return NOT_A_RECORD;
      return EOS_BYTES;
    }
    if (
      pageFlag !== RAM_SAVE_FLAG_PAGE &&
      pageFlag !== RAM_SAVE_FLAG_ZERO &&
      pageFlag !== RAM_SAVE_FLAG_XBZRLE &&
      pageFlag !== RAM_SAVE_FLAG_COMPRESS_PAGE
    )
      return NOT_A_RECORD;
    let length = 8;
    if (!(flags & RAM_SAVE_FLAG_CONTINUE)) {
      if (end - at < 9) return TOO_SHORT_TO_TELL;
      const nameLength = buffer[at + 8]!;
      if (nameLength === 0) return NOT_A_RECORD;
      if (end - at < 9 + nameLength) return TOO_SHORT_TO_TELL;
      for (let i = 0; i < nameLength; i++) {
        const byte = buffer[at + 9 + i]!;
        if (byte < 0x20 || byte > 0x7e) return NOT_A_RECORD;
      }
      length += 1 + nameLength;
    }
    const high = buffer[at + 2]! * 256 + buffer[at + 3]!;
    this.measuredAddress = high * FOUR_GIB + uint32(buffer, at + 4) - flags;
    if (this.measuredAddress >= this.#largest) return NOT_A_RECORD;
    if (pageFlag === RAM_SAVE_FLAG_PAGE) return length + this.pageSize;
    if (pageFlag === RAM_SAVE_FLAG_ZERO) {
      // The fill byte is always 0.
      if (end - at <= length) return TOO_SHORT_TO_TELL;
      return buffer[at + length] === 0 ? length + 1 : NOT_A_RECORD;
    }
    if (end - at < length + 4) return TOO_SHORT_TO_TELL;
    const from = at + length;
    if (pageFlag === RAM_SAVE_FLAG_XBZRLE) {
      const encoded = (buffer[from + 1]! << 8) | buffer[from + 2]!;
      return buffer[from] === ENCODING_FLAG_XBZRLE && encoded > 0 && encoded <= this.pageSize
        ? length + 3 + encoded
        : NOT_A_RECORD;
    }
    if (buffer[from]! | buffer[from + 1]!) return NOT_A_RECORD;
    const packed = (buffer[from + 2]! << 8) | buffer[from + 3]!;
    return packed > 0 && packed <= compressBound(this.pageSize) ? length + 4 + packed : NOT_A_RECORD;
  }

  /** Largest block, i.e. what any address must stay below. */
  get #largest(): number {
    let largest = 0;
    for (const length of this.#lengths) if (length > largest) largest = length;
    return largest || 2 ** 48;
  }

  /** Notes a record that cannot be right. */
  #bad(detail: string): 'desync' {
    this.#note('stream/bad-record', detail);
    return 'desync';
  }

  /** Makes `name` the current block; false when it cannot be one. */
  #enter(name: string): boolean {
    const block = name === '' ? UNKNOWN_BLOCK : this.#sink.block(name);
    if (block === UNKNOWN_BLOCK || (this.#listed && this.#lengths[block] === undefined)) {
      this.#bad(`page record for RAM block '${name}'`);
      return false;
    }
    this.#lengths[block] ??= ADDRESS_LIMIT;
    this.#block = block;
    this.#blockLength = this.#lengths[block]!;
    return true;
  }

  /** be64 total | MEM_SIZE, then blocks until their lengths add up to the total. */
  *#blockList(stream: ByteCursor, total: number): Reading<boolean> {
    if (this.#listed) this.#note('stream/invariant', 'a second RAM block list');
    this.#sink.memory(total);
    const blocks: RamBlock[] = [];
    for (let sum = 0; sum < total; ) {
      if (!(yield* want(stream, 1))) return false;
      const nameLength = stream.u8();
      if (!(yield* want(stream, nameLength + 8))) return false;
      const name = stream.text(nameLength);
      const lengthBytes = stream.u64();
      sum += lengthBytes;
      if (nameLength === 0 || lengthBytes === 0 || sum > total || blocks.length === RAM_BLOCKS) {
        this.#bad('RAM block list');
        return false;
      }
      blocks.push({ name, lengthBytes });
      // A name never begins with a zero byte, and the words that may follow the last block (EOS, HOOK, FLUSH) are small.
      if (this.postcopyAdvised) {
        if (!(yield* want(stream, 8))) return false;
        if (stream.peek(0) === 0 && isBlockPageSize(stream)) stream.skip(8);
      }
      if (this.ignoreShared) stream.skip(8);
    }
    this.#listed = true;
    this.#lengths.length = 0;
    this.#sink.blocks(blocks);
    for (const block of blocks) this.#lengths[this.#sink.block(block.name)] = block.lengthBytes;
    if (new Set(blocks.map((block) => block.name)).size < blocks.length) {
      this.#note('stream/invariant', 'two RAM blocks of the same name');
    }
    const uneven = this.pageSizeKnown && blocks.find(({ lengthBytes }) => lengthBytes % this.pageSize !== 0);
    if (uneven)
      this.#note('stream/invariant', `RAM block '${uneven.name}' of ${uneven.lengthBytes} bytes is no number of pages`);
    return true;
  }

  /**
   * Where the stream does not state the page size: the one after which the record behind the first page makes sense.
   * The name of the first page has been read, its contents follow.
   */
  *#learnPageSize(stream: ByteCursor, flags: number): Reading<boolean> {
    if (!(flags & RAM_SAVE_FLAG_PAGE)) return true;
    for (const size of PAGE_SIZES) {
      if (!(yield* want(stream, size + 9))) {
        // A hole within the page that was looked into takes the place with it.
        if (!stream.ended) return false;
        break;
      }
      this.pageSize = size;
      if (this.measure(stream.buffer, stream.position + size, stream.end) !== NOT_A_RECORD) break;
      this.pageSize = DEFAULT_PAGE_SIZE;
    }
    this.setPageSize(this.pageSize);
    return true;
  }
}

/** True when the next eight bytes are a page size a RAM block may state for itself: a power of two from 4 KiB up. */
function isBlockPageSize(stream: ByteCursor): boolean {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + stream.peek(i);
  return value >= 4096 && Number.isInteger(Math.log2(value));
}

/** Source: zlib compressBound(). */
const compressBound = (length: number): number => length + (length >> 12) + (length >> 14) + (length >> 25) + 13;
