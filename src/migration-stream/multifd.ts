// Multifd channels: pages in packets on connections of their own.
//
// A channel opens with one hello (magic, version, VM UUID, channel id) and goes on in packets: a header of fixed length
// that names one RAM block and lists page offsets, then the pages, raw or compressed. Contents follow only when there
// are normal pages: up to 8.1, packets that only mark a SYNC carry a stale size. Page counts and addresses never need
// decompression. From 10.0 on a packet may carry device state instead; its header is shorter and told by a flag.
// Source: QEMU migration/multifd.h (MultiFDInit_t, MultiFDPacket_t, MultiFDPacketDeviceState_t), multifd.c.
import { type ByteCursor, type Reading, uint32, want } from '../decode/tcp/byte-cursor.js';
import {
  type MigrationSink,
  type NoteDamage,
  PAGE_NORMAL,
  PAGE_ZERO,
  type ReadEnd,
  type StreamDecoder,
  type StreamReader,
} from './records.js';
import {
  isPageSize,
  LEAST_PAGE_BYTES,
  MULTIFD_COMPRESSION,
  MULTIFD_DEVICE_HEADER_BYTES,
  MULTIFD_FLAG_DEVICE_STATE,
  MULTIFD_FLAG_SYNC,
  MULTIFD_FLAGS_COMPRESSION,
  MULTIFD_HEADER_BYTES,
  MULTIFD_INIT_BYTES,
  MULTIFD_MAGIC,
  MULTIFD_PACKET_BYTES,
  MULTIFD_VERSION,
} from './wire.js';

/** Page size where neither the main channel nor a packet has told it: that of most targets. */
const LIKELY_PAGE_BYTES = 4096;
/** Contents of one packet are at most this many times its pages: qpl and qatzip may grow what does not compress. */
const GROWTH = 2;

export const multifd: StreamDecoder = {
  id: 'multifd',
  channel: 'multifd',
  probe(buffer, start, end, { fromStart, knownBlocks }) {
    const length = end - start;
    for (let i = 0; i < Math.min(4, length); i++) {
      if (buffer[start + i] !== SIGNATURE[i]) return !fromStart && knownBlocks.size > 0 ? 'search' : 'no';
    }
    if (length < 8) return 'more'; // a version that is not known is said when the hello is read
    return fromStart || isHello(buffer, start, end) ? 'yes' : 'search';
  },
  open(sink, note, context) {
    return new MultifdReader(sink, note, context.pageSize);
  },
};

/**
 * A hello proves a beginning that the capture shows in another order, or without the handshake: its last 39 bytes are
 * zero. The header of a SYNC that is number 0 has as many, but where a hello has the UUID it has a flag.
 */
function isHello(buffer: Uint8Array, start: number, end: number): boolean {
  if (end - start < MULTIFD_INIT_BYTES || uint32(buffer, start + 8) === MULTIFD_FLAG_SYNC) return false;
  for (let at = start + 25; at < start + MULTIFD_INIT_BYTES; at++) if (buffer[at] !== 0) return false;
  return true;
}

/** Where a header names its block. */
const BLOCK_NAME_AT = 64;
const MOST_PAGES = MULTIFD_PACKET_BYTES / LEAST_PAGE_BYTES;

const SIGNATURE = [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1];

class MultifdReader implements StreamReader {
  readonly #sink: MigrationSink;
  readonly #note: NoteDamage;
  #pageBytes: number;
  /** False until a packet or the main channel has told the page size. */
  #pageBytesKnown: boolean;
  #greeted = false;
  /** Compression method of the pages so far; -1 before the first. */
  #method = -1;
  /** Block, offsets and number of the newest packet with new pages, and whether a SYNC came with it or behind it. */
  readonly #newest = new Uint8Array(MULTIFD_HEADER_BYTES - BLOCK_NAME_AT + 8 * MOST_PAGES);
  #newestBytes = 0;
  #newestNumber = -1;
  #isMarked = false;
  /** The source sends packets again. */
  #repeats = false;

  constructor(sink: MigrationSink, note: NoteDamage, pageBytes: number | null) {
    this.#sink = sink;
    this.#note = note;
    this.#pageBytes = pageBytes ?? LIKELY_PAGE_BYTES;
    this.#pageBytesKnown = pageBytes !== null;
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    if (!this.#greeted && stream.offset === 0) {
      if (!(yield* want(stream, MULTIFD_INIT_BYTES))) return 'desync';
      this.#hello(stream);
    }
    this.#greeted = true;
    while (yield* want(stream, 12)) {
      const deviceState = (uint32(stream.buffer, stream.position + 8) & MULTIFD_FLAG_DEVICE_STATE) !== 0;
      if (!this.#pageBytesKnown && !deviceState) {
        if (!(yield* want(stream, 16))) return 'desync';
        this.#learn(uint32(stream.buffer, stream.position + 12));
      }
      if (!(yield* want(stream, deviceState ? MULTIFD_DEVICE_HEADER_BYTES : this.#headerBytes))) return 'desync';
      if (!(deviceState ? this.#devicePacket(stream) : this.#packet(stream))) return 'desync';
    }
    return stream.ended && stream.available === 0 ? 'end' : 'desync';
  }

  /** A header is believed when all of it is consistent: signature, flags, counts, block name, and every page offset. */
  *resync(stream: ByteCursor): Reading<boolean> {
    this.#greeted = true;
    this.#newestBytes = 0;
    while (!stream.ended) {
      if (!(yield* want(stream, this.#headerBytes))) {
        if (stream.ended) return false;
        continue;
      }
      const { buffer, end } = stream;
      const last = end - this.#headerBytes;
      let at = stream.position;
      while (at <= last && !(buffer[at] === SIGNATURE[0] && this.#isHeader(buffer, at))) at++;
      stream.skip(at - stream.position);
      if (at <= last) return true;
    }
    return false;
  }

  get #headerBytes(): number {
    return MULTIFD_HEADER_BYTES + 8 * (MULTIFD_PACKET_BYTES / this.#pageBytes);
  }

  #hello(stream: ByteCursor): void {
    const version = uint32(stream.buffer, stream.position + 4);
    if (version !== MULTIFD_VERSION) this.#note('stream/bad-record', `multifd version ${version}`);
    stream.skip(8);
    let uuid = '';
    for (let i = 0; i < 16; i++) uuid += stream.u8().toString(16).padStart(2, '0');
    const id = stream.u8();
    stream.skip(MULTIFD_INIT_BYTES - 25);
    this.#sink.hello(id, uuid);
  }

  /** The header has room for 512 KiB of pages, whatever their size. SYNC packets from 9.2 on state no room (0). */
  #learn(pagesAllocated: number): void {
    const bytes = MULTIFD_PACKET_BYTES / pagesAllocated;
    if (!isPageSize(bytes)) return;
    this.#pageBytes = bytes;
    this.#pageBytesKnown = true;
  }

  /** Reads one packet whose header is at hand; false when it cannot be right. */
  #packet(stream: ByteCursor): boolean {
    const { offset, tNs, buffer, position } = stream;
    const normal = uint32(buffer, position + 16);
    const zero = uint32(buffer, position + 32);
    if (!this.#isPlausible(buffer, position, normal, zero)) {
      this.#note('stream/bad-record', `multifd packet of ${normal} normal and ${zero} zero pages`);
      return false;
    }
    const flags = uint32(buffer, position + 8);
    const number = uint32(buffer, position + 24) * 0x1_0000_0000 + uint32(buffer, position + 28);
    this.#sink.packet(number);
    const contents = normal > 0 ? uint32(buffer, position + 20) : 0;
    const headerBytes = this.#headerBytes;
    if (normal > 0) this.#check(flags & MULTIFD_FLAGS_COMPRESSION, normal, contents);
    const compression = MULTIFD_COMPRESSION[flags & MULTIFD_FLAGS_COMPRESSION];
    if (normal > 0 && compression) this.#sink.feature(`multifd-${compression}`);
    if (zero > 0) this.#sink.feature('zero-page-multifd');
    const pages = normal + zero;
    const isSync = (flags & MULTIFD_FLAG_SYNC) !== 0;
    if (pages > 0 && !this.#isRepeated(buffer, position, pages, number, isSync)) {
      const block = this.#sink.block(blockName(buffer, position + BLOCK_NAME_AT));
      const each = normal > 0 ? contents / normal : 0;
      // The header belongs to no page in particular; it is charged to the first.
      let header = headerBytes;
      let highest = -1;
      for (let i = 0, at = position + MULTIFD_HEADER_BYTES; i < pages; i++, at += 8) {
        const address = uint32(buffer, at) * 0x1_0000_0000 + uint32(buffer, at + 4);
        const isNormal = i < normal;
        this.#sink.page(
          offset,
          tNs,
          block,
          address,
          isNormal ? PAGE_NORMAL : PAGE_ZERO,
          header + (isNormal ? each : 0),
        );
        header = 0;
        // Nearly always ascending; only what is not has to be looked at twice.
        if (address > highest) highest = address;
        else if (isListed(buffer, address, position + MULTIFD_HEADER_BYTES, at)) this.#listedTwice(address);
      }
    }
    stream.skip(headerBytes + contents);
    if (isSync) {
      this.#isMarked = true;
      this.#sink.flush(offset, tNs);
    }
    return true;
  }

  /**
   * Before 5.0 a channel that has nothing new sends its last packet again with each SYNC, which QEMU does not count ("clean
   * pages after filling packet", 5.0). The same number shows that, and a whole packet again before the next SYNC: behind one
   * its pages may have changed, but where a channel was seen to repeat itself that is not believed.
   */
  #isRepeated(buffer: Uint8Array, position: number, pages: number, number: number, isSync: boolean): boolean {
    const from = position + BLOCK_NAME_AT;
    const length = MULTIFD_HEADER_BYTES - BLOCK_NAME_AT + 8 * pages;
    // Offsets come last, and differ first.
    let left = length;
    if (length === this.#newestBytes) while (left > 0 && buffer[from + left - 1] === this.#newest[left - 1]) left--;
    if (left === 0) {
      if (number === this.#newestNumber || (isSync && pages > 1 && !this.#isMarked)) this.#repeats = true;
      if (this.#repeats) {
        this.#sink.feature('multifd-repeats');
        return true;
      }
    }
    this.#newest.set(buffer.subarray(from, from + length));
    this.#newestBytes = length;
    this.#newestNumber = number;
    this.#isMarked = false;
    return false;
  }

  #listedTwice(address: number): void {
    this.#note('stream/invariant', `multifd packet that names the page at ${address} twice`);
  }

  /** The method is the same for all pages of a migration; without one, contents are whole pages. */
  #check(method: number, normal: number, contents: number): void {
    if (this.#method >= 0 && method !== this.#method) {
      this.#note('stream/invariant', `multifd compression method ${method} after ${this.#method}`);
    } else if (method === 0 && contents !== normal * this.#pageBytes) {
      this.#note('stream/invariant', `multifd packet of ${normal} pages in ${contents} bytes`);
    }
    this.#method = method;
  }

  #devicePacket(stream: ByteCursor): boolean {
    const { offset, tNs, frame, buffer, position } = stream;
    const length = uint32(buffer, position + 272);
    if (uint32(buffer, position) !== MULTIFD_MAGIC || length === 0) {
      this.#note('stream/bad-record', `multifd device packet of ${length} bytes`);
      return false;
    }
    const name = blockName(buffer, position + 12);
    const instance = uint32(buffer, position + 268);
    stream.skip(MULTIFD_DEVICE_HEADER_BYTES + length);
    this.#sink.deviceState({ offset, tNs, frame }, name, instance, MULTIFD_DEVICE_HEADER_BYTES + length);
    return true;
  }

  #isPlausible(buffer: Uint8Array, at: number, normal: number, zero: number): boolean {
    const room = MULTIFD_PACKET_BYTES / this.#pageBytes;
    if (uint32(buffer, at) !== MULTIFD_MAGIC || uint32(buffer, at + 4) !== MULTIFD_VERSION) return false;
    if (normal + zero > room || uint32(buffer, at + 12) > room) return false;
    return normal === 0 || uint32(buffer, at + 20) <= GROWTH * MULTIFD_PACKET_BYTES;
  }

  /** As #isPlausible, and every offset a page boundary: for a place that nothing else vouches for. */
  #isHeader(buffer: Uint8Array, at: number): boolean {
    const flags = uint32(buffer, at + 8);
    const normal = uint32(buffer, at + 16);
    const zero = uint32(buffer, at + 32);
    if (flags > 0x7f || flags & MULTIFD_FLAG_DEVICE_STATE || !this.#isPlausible(buffer, at, normal, zero)) return false;
    const pages = normal + zero;
    if (pages === 0) return (flags & MULTIFD_FLAG_SYNC) !== 0;
    if (blockName(buffer, at + BLOCK_NAME_AT) === '') return false;
    for (let i = 0, entry = at + MULTIFD_HEADER_BYTES; i < pages; i++, entry += 8) {
      if (uint32(buffer, entry) > 0xffff || uint32(buffer, entry + 4) % this.#pageBytes !== 0) return false;
    }
    return true;
  }
}

/** Is `address` among the entries of [from, to)? */
function isListed(buffer: Uint8Array, address: number, from: number, to: number): boolean {
  for (let at = from; at < to; at += 8) {
    if (uint32(buffer, at + 4) === address >>> 0 && uint32(buffer, at) === Math.floor(address / 0x1_0000_0000))
      return true;
  }
  return false;
}

/** A NUL-terminated name in a field of 256 bytes; '' when it is not printable. */
function blockName(buffer: Uint8Array, at: number): string {
  let name = '';
  for (let i = at; i < at + 255; i++) {
    const byte = buffer[i]!;
    if (byte === 0) return name;
    if (byte < 0x20 || byte > 0x7e) return '';
    name += String.fromCharCode(byte);
  }
  return '';
}
