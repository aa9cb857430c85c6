// What the lengths of TLS records say about one channel of a migration.
//
// QEMU collects small things (record words, headers) in a buffer and adds pages to its output vector by reference. Up to
// 11.0 each element of the vector becomes a TLS record of its own; from 11.1 on a whole vector is written as one, in
// records of 16 KiB. So, protection taken off, a channel with pages in it reads:
//   apart    4096: one normal page. Anything else: buffered bytes, 9 for each zero page, 8 for the word before a page, 8
//            for the EOS word that ends a section. An EOS is flushed at once, so two buffered records in a row are a
//            section boundary, and the second begins with 10 bytes of footer and header.
//   as one   a vector holds 64 pieces, so 32 words and pages: 131 328 bytes and 9 more for each zero page between them. A
//            shorter one was flushed by the end of a section.
// A multifd channel sends a packet's header, 1344 bytes, and its pages; the header of a SYNC, or of a packet with zero
// pages only, comes without any. The main channel of a multifd migration has only words and headers left: a MULTIFD_FLUSH
// and the EOS after it are flushed one by one, so a record of 8 bytes follows every flush mark.
// Source: QEMU migration/qemu-file.c, qemu_put_buffer_async(), qemu_fflush(), MAX_IOV_SIZE; migration/multifd.c,
// MultiFDPacket_t; migration/ram.c, multifd_ram_flush_and_sync(); io/channel-tls.c.
import { SEALED_SYNCS } from '../limits.js';
import { SendBuffer } from './send-buffer.js';

export const PAGE_BYTES = 4096;
export const WORD_BYTES = 8;
export const ZERO_PAGE_BYTES = 9;
/** Header of a multifd packet for pages of 4096 bytes. */
export const MULTIFD_HEADER_BYTES = 1344;
/** Pages of a multifd packet. */
const PACKET_PAGES = 128;
/** The alert that ends a TLS stream. */
const TLS_BYE_BYTES = 2;
/** First bytes of a multifd channel, before its first packet. */
const MULTIFD_HELLO_BYTES = 64;
/** The end of a TLS handshake is a few records: what a channel says first comes within as many. */
const OPENING_RECORDS = 8;
/** Longest record; more of a longer buffer follows in the next. */
export const WHOLE_RECORD_BYTES = 16_384;
/** Device state and its description are at least this long; a migration that was cut off ends in pages instead. */
export const DEVICE_STATE_BYTES = 16_384;
/** A flush mark and the EOS behind it that were flushed together. */
const MARK_AND_EOS_BYTES = 2 * WORD_BYTES;
/** Footer of a section and header of the next. */
const SECTION_BYTES = 10;
const PAGE_RECORD_BYTES = PAGE_BYTES + WORD_BYTES;
const FULL_VECTOR_BYTES = 32 * PAGE_RECORD_BYTES;
/** A full vector with hardly a zero page in it, of which a few are proof: section framing, block names. */
const PLAIN_VECTOR_EXTRA_BYTES = 64;
/** As many make a migration, and as many headers a multifd channel of one that was joined midway. */
const PROOF_VECTORS = 4;
const PROOF_PACKETS = 4;
/** A command without payload but a 4-byte value: type, number, length, value. PING and PACKAGED have one. */
const COMMAND_BYTES = 9;
/** Footer of a section by itself. */
const FOOTER_BYTES = 5;
/** Fewer pages' worth of words are block names or the block list. */
const ZERO_STRETCH_PAGES = 32;

/** A moment of one channel: what had been sent, and when. */
export interface Mark {
  readonly tNs: number;
  readonly pages: number;
  readonly zero: number;
  readonly bytes: number;
}

/** Where a section began. */
export interface SectionMark extends Mark {
  /** When it was written if the send buffer was as large as any. */
  readonly earliestNs: number;
  /** When the last page before it came; NaN without any. */
  readonly pageNs: number;
}

/** One way to read a channel that carries pages between its sections. */
interface PageReading {
  readonly pages: number;
  /** null where zero pages cannot be told from other bytes. */
  readonly zero: number | null;
  readonly firstPageNs: number;
  readonly lastPageNs: number;
  /** Where the first pass ended: the last zero page that a normal page followed. */
  readonly firstPassEnd: Mark | null;
  /** Where the newest section with a page in it began. */
  readonly finalSection: SectionMark | null;
  /** What follows the last page, and when that began. */
  readonly tail: { readonly bytes: number; readonly tNs: number };
}

/** Pages and buffered bytes in records of their own. */
class ApartReading implements PageReading {
  pages = 0;
  zero = 0;
  firstPageNs = Number.NaN;
  lastPageNs = Number.NaN;
  firstPassEnd: Mark | null = null;
  finalSection: SectionMark | null = null;
  tail = { bytes: 0, tNs: Number.NaN };
  readonly #buffer: SendBuffer;
  #bytes = 0;
  /** Zero pages since the newest normal page: device state looks alike until a page follows. */
  #pendingZero = 0;
  #section: SectionMark | null = null;
  /** The record before was buffered bytes (and not the first part of longer ones). */
  #buffered = false;
  #whole = false;
  /** Commands in a row. */
  #commands = 0;

  constructor(buffer: SendBuffer) {
    this.#buffer = buffer;
  }

  record(tNs: number, contents: number): void {
    this.#bytes += contents;
    if (this.pages === 0 && contents !== PAGE_BYTES) return; // header, configuration and block list
    // After a whole record it is the rest of longer bytes: a page has its word before it.
    if (contents === PAGE_BYTES && !this.#whole) this.#page(tNs);
    else this.#words(tNs, contents);
    this.#whole = contents === WHOLE_RECORD_BYTES;
  }

  #page(tNs: number): void {
    if (Number.isNaN(this.firstPageNs)) this.firstPageNs = tNs;
    if (this.#pendingZero > 0) {
      this.zero += this.#pendingZero;
      this.#pendingZero = 0;
      this.firstPassEnd = this.#mark(tNs);
    }
    this.pages++;
    this.lastPageNs = tNs;
    this.finalSection = this.#section;
    this.tail = { bytes: 0, tNs: Number.NaN };
    this.#buffered = false;
  }

  #words(tNs: number, contents: number): void {
    if (this.#buffered) this.#begin(tNs);
    const packaged = this.#commands === 2; // what follows PING and PACKAGED is device state
    this.#commands = packaged ? 0 : contents === COMMAND_BYTES ? this.#commands + 1 : 0;
    const overhead = WORD_BYTES + (this.#buffered ? SECTION_BYTES : 0);
    if (!packaged) this.#pendingZero += Math.max(0, Math.floor((contents - overhead) / ZERO_PAGE_BYTES));
    this.tail.bytes += contents;
    if (Number.isNaN(this.tail.tNs)) this.tail.tNs = tNs;
    this.#buffered = contents < WHOLE_RECORD_BYTES;
  }

  #begin(tNs: number): void {
    const earliestNs = this.#buffer.earliestNs(this.#bytes, tNs);
    this.#section = { ...this.#mark(tNs), earliestNs, pageNs: this.lastPageNs };
    this.#buffer.section(this.#bytes, tNs, this.pages + this.zero + this.#pendingZero);
  }

  #mark(tNs: number): Mark {
    return { tNs, pages: this.pages, zero: this.zero, bytes: this.#bytes };
  }
}

/** Whole output vectors; `zero` and the end of the first pass do not show. */
class VectorReading implements PageReading {
  readonly zero = null;
  readonly firstPassEnd = null;
  /** Vectors of 32 pages and hardly anything else. */
  plainVectors = 0;
  firstPageNs = Number.NaN;
  lastPageNs = Number.NaN;
  finalSection: SectionMark | null = null;
  readonly #buffer: SendBuffer;
  #pages = 0;
  #bytes = 0;
  #section: SectionMark | null = null;
  /** The vector that is being read. */
  #run = { bytes: 0, tNs: Number.NaN };
  /** The last vector, which may be device state: it counts once another one follows. */
  #held = { bytes: 0, tNs: Number.NaN, endNs: Number.NaN, begins: false };

  constructor(buffer: SendBuffer) {
    this.#buffer = buffer;
  }

  get pages(): number {
    return this.#pages + (this.#isTail ? 0 : pagesOf(this.#held.bytes));
  }

  get tail(): { bytes: number; tNs: number } {
    return this.#isTail ? this.#held : { bytes: 0, tNs: Number.NaN };
  }

  /** A long vector that begins after a section's end and is no full one. */
  get #isTail(): boolean {
    return this.#held.begins && this.#held.bytes >= DEVICE_STATE_BYTES && !isPlain(this.#held.bytes);
  }

  record(tNs: number, contents: number): void {
    if (this.#run.bytes === 0) this.#run.tNs = tNs;
    this.#run.bytes += contents;
    if (contents === WHOLE_RECORD_BYTES) return;
    this.#count();
    const { bytes, tNs: beganNs } = this.#run;
    this.#bytes += bytes;
    const begins = this.#held.bytes < FULL_VECTOR_BYTES;
    this.#held = { bytes, tNs: beganNs, endNs: tNs, begins };
    this.#run = { bytes: 0, tNs: Number.NaN };
    if (isPlain(bytes)) this.plainVectors++;
    if (begins) {
      const earliestNs = this.#buffer.earliestNs(this.#bytes, beganNs);
      const place = { pages: this.#pages, zero: 0, bytes: this.#bytes - bytes };
      this.#section = { tNs: beganNs, ...place, earliestNs, pageNs: this.lastPageNs };
      if (this.plainVectors >= PROOF_VECTORS) this.#buffer.section(place.bytes, beganNs);
    }
  }

  /** What is held is followed by more, so it was pages. */
  #count(): void {
    const pages = pagesOf(this.#held.bytes);
    if (pages === 0) return;
    if (Number.isNaN(this.firstPageNs)) this.firstPageNs = this.#held.tNs;
    this.lastPageNs = this.#held.endNs;
    this.#pages += pages;
    this.finalSection = this.#section;
  }
}

/** Zero pages between the others are so much smaller that they hardly count. */
const pagesOf = (vectorBytes: number): number => Math.floor(vectorBytes / PAGE_RECORD_BYTES);

const isPlain = (vectorBytes: number): boolean =>
  vectorBytes >= FULL_VECTOR_BYTES && vectorBytes < FULL_VECTOR_BYTES + PLAIN_VECTOR_EXTRA_BYTES;

/** The packets of a multifd channel. */
class PacketReading {
  packets = 0;
  firstPageNs = Number.NaN;
  lastPageNs = Number.NaN;
  /** Some record was neither a header nor whole pages. */
  compressed = false;
  /** Headers without pages so far. */
  bare = 0;
  /** The newest of them. */
  readonly #bareMarks: Mark[] = [];
  #bytes = 0;
  #pages = 0;
  /** Headers that something followed. */
  #filled = 0;
  /** Time and place of a header that no page has followed yet. */
  #header: { readonly tNs: number; readonly bytes: number } | null = null;
  /** Pages of a packet written as one came before its last record. */
  #run = false;

  /** Pages sent. A compressed packet does not show how many it holds: all of them are taken to be full. */
  get pages(): number {
    return this.compressed ? this.#filled * PACKET_PAGES : this.#pages;
  }

  record(tNs: number, contents: number): void {
    const bytes = this.#bytes;
    this.#bytes += contents;
    if (contents % PAGE_BYTES === MULTIFD_HEADER_BYTES) {
      this.packets++;
      if (this.#run || contents > MULTIFD_HEADER_BYTES) {
        if (!this.#run) this.#endHeader();
        this.#add(tNs, Math.floor(contents / PAGE_BYTES));
        this.#run = false;
      } else {
        this.#endHeader();
        this.#header = { tNs, bytes };
      }
    } else if (contents === WHOLE_RECORD_BYTES) {
      if (!this.#run) this.#endHeader();
      this.#run = true;
      this.#add(tNs, WHOLE_RECORD_BYTES / PAGE_BYTES);
    } else if (contents === PAGE_BYTES) {
      this.#fill();
      this.#add(tNs, 1);
    } else if (this.packets > 0 && contents > TLS_BYE_BYTES) {
      this.#fill();
      this.compressed = true;
      this.#add(tNs, 0);
    }
  }

  /** Bare headers, the one that may be the stream's last included. */
  finish(): void {
    this.#endHeader();
  }

  /** The bare header `back` from the newest (0 is the newest itself); only the newest SEALED_SYNCS are kept. */
  bareMark(back: number): Mark {
    return this.#bareMarks[(this.bare - 1 - back) % SEALED_SYNCS]!;
  }

  get end(): Mark {
    return { tNs: this.lastPageNs, pages: this.pages, zero: 0, bytes: this.#bytes };
  }

  #add(tNs: number, pages: number): void {
    if (Number.isNaN(this.firstPageNs)) this.firstPageNs = tNs;
    this.lastPageNs = tNs;
    this.#pages += pages;
  }

  #fill(): void {
    if (this.#header) this.#filled++;
    this.#header = null;
  }

  /** The header before came without pages. */
  #endHeader(): void {
    if (!this.#header) return;
    this.#bareMarks[this.bare++ % SEALED_SYNCS] = { ...this.#header, pages: this.pages, zero: 0 };
    this.#header = null;
  }
}

/** The main channel of a multifd migration: words, headers, and in older dialects zero pages. */
class WordReading {
  /** Flush marks (machine types since 8.1). */
  flushes = 0;
  /** Sections, the block list's included: before 8.1 each of them ends in a SYNC. */
  sections = 0;
  /** Zero pages among the words, those of the last long stretch apart: it may be device state. */
  zero = 0;
  /** The newest section with a stretch of zero pages, of which more than device state followed; 0 without any. */
  zeroSection = 0;
  /** When the guest stopped if the newest section is the last one, and the same of the section before; NaN without any. */
  section = { tNs: Number.NaN, beforeNs: Number.NaN };
  /** The last stretch of records. */
  tail = { bytes: 0, tNs: Number.NaN };
  /** The record before, and when it was sent. */
  #before = { contents: 0, sentNs: Number.NaN };
  #run = { bytes: 0, tNs: Number.NaN };

  /** @param lagNs  by how much it was captured late */
  record(tNs: number, contents: number, lagNs: number): void {
    const sentNs = tNs - lagNs;
    if (this.#run.bytes === 0) this.#run.tNs = tNs;
    this.#run.bytes += contents;
    if (contents !== WHOLE_RECORD_BYTES) {
      const { bytes, tNs: beganNs } = this.#run;
      this.#settle();
      this.tail = { bytes, tNs: beganNs };
      this.#run = { bytes: 0, tNs: Number.NaN };
      if (contents === WORD_BYTES && this.#before.contents < WHOLE_RECORD_BYTES) this.flushes++;
      // 8.1 to 9.0 have the flush mark and the EOS in one at the very end; their first two marks leave with the block list.
      else if (contents === MARK_AND_EOS_BYTES) this.flushes += 3;
      // SWITCHOVER_START is flushed with the footer before it; what follows is the section of the same switch. Without it
      // the END header leaves when the pages behind it were written; the guest stopped right behind the section before.
      else if (bytes < DEVICE_STATE_BYTES && this.#before.contents !== SECTION_BYTES)
        this.section = { tNs: contents === SECTION_BYTES ? sentNs : this.#before.sentNs, beforeNs: this.section.tNs };
      if (bytes > FOOTER_BYTES && bytes < DEVICE_STATE_BYTES) this.sections++;
    }
    this.#before = { contents, sentNs };
  }

  /** More follows the stretch before, so it was not device state. */
  #settle(): void {
    if (this.tail.bytes >= DEVICE_STATE_BYTES) this.sections++;
    const zero = Math.floor((this.tail.bytes - WORD_BYTES - SECTION_BYTES) / ZERO_PAGE_BYTES);
    // Less is block names, commands or the block list.
    if (zero < ZERO_STRETCH_PAGES) return;
    this.zero += zero;
    this.zeroSection = this.sections;
  }
}

/** One forward channel, read in every way it may have to be read. */
export class SealedChannel {
  readonly sendBuffer = new SendBuffer();
  readonly packets = new PacketReading();
  readonly words = new WordReading();
  readonly #apart = new ApartReading(this.sendBuffer);
  readonly #vectors = new VectorReading(this.sendBuffer);
  /** Its end is not in the capture. */
  isOpen = false;
  /** The channel presented itself as one of multifd. */
  multifd = false;
  /** It was joined midway, and may turn out to be one of multifd by its packets alone. */
  readonly #isJoined: boolean;
  #records = 0;
  /** Records of one word. */
  #singleWords = 0;
  bytes = 0;
  /** Where a post-copy package began: two commands in a row, PING and PACKAGED. NaN without. */
  packageNs = Number.NaN;
  /** Messages that came back, by what their length makes them. */
  readonly replies = { short: 0, requests: 0, bytes: 0 };
  #before = 0;
  readonly #lagOf: (frame: number) => number;

  /** @param lagOf  see SendLags */
  constructor(isJoined: boolean, lagOf: (frame: number) => number) {
    this.#isJoined = isJoined;
    this.#lagOf = lagOf;
  }

  record(frame: number, tNs: number, contents: number): void {
    if (contents === MULTIFD_HELLO_BYTES && this.#records < OPENING_RECORDS && this.pages === 0) this.multifd = true;
    this.#records++;
    this.bytes += contents;
    this.sendBuffer.left(this.bytes, tNs);
    if (this.multifd || this.#isJoined) this.packets.record(tNs, contents);
    if (this.multifd) return;
    // Where pages have words before them, packets are but a chance of lengths.
    if (this.#isJoined && this.packets.packets >= PROOF_PACKETS && this.packets.pages > 2 * this.#singleWords)
      this.multifd = true;
    if (contents === WORD_BYTES) this.#singleWords++;
    this.#apart.record(tNs, contents);
    this.#vectors.record(tNs, contents);
    // The package and the pages behind it are no words (multifd stops at the switch to post-copy).
    if (Number.isNaN(this.packageNs)) {
      const hasPages = this.#apart.pages + this.#vectors.plainVectors > 0;
      this.words.record(tNs, contents, hasPages ? 0 : this.#lagOf(frame));
    }
    if (contents === COMMAND_BYTES && this.#before === COMMAND_BYTES && Number.isNaN(this.packageNs))
      this.packageNs = tNs;
    this.#before = contents;
  }

  /** Its records are as QEMU makes them. */
  get proven(): boolean {
    if (!this.multifd) return this.reading === this.#apart || this.#vectors.plainVectors >= PROOF_VECTORS;
    return this.packets.packets >= (this.packets.compressed ? PROOF_PACKETS : 1);
  }

  /** The channel's pages, read in the way that fits. */
  get reading(): PageReading {
    return this.#apart.pages >= this.#vectors.plainVectors ? this.#apart : this.#vectors;
  }

  get pages(): number {
    return this.multifd ? this.packets.pages : this.reading.pages;
  }
}
