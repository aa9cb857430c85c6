// A migration inside TLS, as far as record lengths tell.
//
// QEMU collects small things (record words, headers) in a buffer and adds pages to its output vector by reference; each
// element of the vector becomes a TLS record of its own. So the lengths, protection taken off, read:
//   4096           contents of one normal page
//   anything else  buffered bytes: 9 for each zero page, 8 for the word before a page, 8 for the EOS word that ends a
//                  section. An EOS is flushed at once, so two buffered records in a row are a section boundary, and the
//                  second begins with 10 bytes of footer and header.
// A multifd channel sends packet headers of 1344 bytes, and runs of pages that lie side by side in up to 16 KiB a record:
// there every whole 4096 bytes are a page, and zero pages hide in the headers.
// Normal pages are exact. Zero pages are estimated: block names, a few bytes at each change of block, are not told from
// them. Addresses are not visible, so rounds are known as far as zero pages and the end of the stream show them: the
// first pass ends with the last zero page that a later page follows, the last round begins with the last section before the
// device state. What lies between is one stretch, however many rounds it was.
// Source: QEMU migration/qemu-file.c, qemu_put_buffer_async(), qemu_fflush(); io/channel-tls.c.
import type { AnomalyLog } from '../anomaly.js';
import { type MigrationFigures, MigrationState } from './migration.js';
import type { Downtime, PageCounts, Phase, Round } from './results.js';
import { SendBuffer } from './send-buffer.js';

const PAGE_BYTES = 4096;
/** What protection adds to a record: TLS 1.3, TLS 1.2 with AES-GCM, TLS 1.2 with ChaCha20, TLS 1.3 with short tags. */
const PROTECTION_BYTES = [17, 24, 16, 9] as const;
/** As many records of one page make a migration. */
const PROOF_PAGES = 16;
/** Header of a multifd packet for pages of 4096 bytes. */
const MULTIFD_PACKET_HEADER_BYTES = 1344;
const WORD_BYTES = 8;
const ZERO_PAGE_BYTES = 9;
const SECTION_BYTES = 10;
/** Longest record; more of a longer buffer follows in the next. */
const WHOLE_RECORD_BYTES = 16_384;
/** A return-path message without text: SHUT, PONG. */
const SHORT_REPLY_BYTES = 8;
/** Device state and its description are at least this long; a migration that was cut off ends in pages instead. */
const DEVICE_STATE_BYTES = 16_384;
/** Fewer pages after the last zero page, as a share of those before, are the rest of the first pass. */
const MIDDLE_SHARE = 0.02;
const CONFIDENCE = 0.5;

/** One forward channel. */
interface SealedLane {
  /** The record before was buffered bytes (and not the first part of longer ones). */
  buffered: boolean;
  /** A record was as long as a multifd packet header: the channel is one of multifd. */
  multifd: boolean;
  /** Bytes since the lane's newest page, and when they began. */
  tailBytes: number;
  tailNs: number;
}

/** A moment of the stream: what had been sent, and when. */
interface Mark {
  readonly tNs: number;
  readonly pages: PageCounts;
  readonly bytes: number;
}

/** Where a section began. */
interface SectionMark extends Mark {
  /** When it was written if the send buffer was as large as any. */
  readonly earliestNs: number;
}

export class SealedMigration extends MigrationState {
  readonly #startNs: number;
  #protection = Number.NaN;
  readonly #lanes = new Map<number, SealedLane>();
  #multifd = false;
  #normal = 0;
  #zero = 0;
  /** Zero pages since the newest normal page: device state looks alike until a page follows. */
  #pendingZero = 0;
  #bytes = 0;
  readonly #sendBuffer = new SendBuffer();
  #firstPageNs = Number.NaN;
  #lastPageNs = Number.NaN;
  #latestNs = 0;
  #firstPassEnd: Mark | null = null;
  /** Where the newest section began, and the newest one with a page in it. */
  #section: SectionMark | null = null;
  #finalSection: SectionMark | null = null;
  readonly #replies: Record<string, number> = {};
  #replyNs = Number.NaN;

  constructor(log: AnomalyLog, direction: number, startNs: number) {
    super(log, direction, startNs);
    this.#startNs = startNs;
    this.feature('tls');
  }

  /** Enough records look like pages. */
  get proven(): boolean {
    return this.#normal >= PROOF_PAGES;
  }

  /** One protected record from the source, `length` bytes without its header. */
  record(lane: number, tNs: number, length: number): void {
    const state = this.#lane(lane);
    this.#latestNs = Math.max(this.#latestNs, tNs);
    this.#bytes += length;
    this.#sendBuffer.left(this.#bytes, tNs);
    if (Number.isNaN(this.#protection)) {
      this.#protection =
        PROTECTION_BYTES.find(
          (extra) => length === PAGE_BYTES + extra || length === MULTIFD_PACKET_HEADER_BYTES + extra,
        ) ?? Number.NaN;
      if (Number.isNaN(this.#protection)) return;
    }
    const contents = length - this.#protection;
    if (contents % PAGE_BYTES === MULTIFD_PACKET_HEADER_BYTES) state.multifd = this.#multifd = true;
    if (state.multifd) for (let left = contents; left >= PAGE_BYTES; left -= PAGE_BYTES) this.#page(state, tNs);
    else if (contents === PAGE_BYTES) this.#page(state, tNs);
    else this.#buffer(state, tNs, contents);
  }

  /** One protected record from the destination. */
  reverseRecord(tNs: number, length: number): void {
    if (Number.isNaN(this.#protection)) return;
    if (length - this.#protection !== SHORT_REPLY_BYTES) return;
    this.#replyNs = tNs;
    this.#replies['short-message'] = (this.#replies['short-message'] ?? 0) + 1;
  }

  override snapshot(): ReturnType<MigrationState['snapshot']> {
    const snapshot = super.snapshot();
    return { ...snapshot, lastDataNs: this.#latestNs, pageSize: this.proven ? PAGE_BYTES : null, pages: this.#pages() };
  }

  override finish(): MigrationFigures {
    this.complete = this.#isComplete;
    return {
      machineType: null,
      pageSize: this.proven ? PAGE_BYTES : null,
      features: [...super.finish().features, 'pages-from-record-lengths', ...(this.#multifd ? ['multifd'] : [])].sort(),
      ramBlocks: [],
      pages: { ...this.#pages(), zero: this.#multifd ? null : this.#zero, distinct: null, resent: null },
      ramRecordBytes: this.#normal * (PAGE_BYTES + WORD_BYTES) + this.#zero * ZERO_PAGE_BYTES,
      deviceStateBytes: this.complete ? this.#tail.tailBytes : 0,
      rounds: this.#rounds(),
      phases: this.#phases(),
      downtime: this.#downtime(),
      devices: [],
      postcopy: null,
      returnPath: this.#replies,
    };
  }

  #lane(lane: number): SealedLane {
    let state = this.#lanes.get(lane);
    if (!state) {
      state = { buffered: false, multifd: false, tailBytes: 0, tailNs: Number.NaN };
      this.#lanes.set(lane, state);
    }
    return state;
  }

  #page(lane: SealedLane, tNs: number): void {
    if (Number.isNaN(this.#firstPageNs)) this.#firstPageNs = tNs;
    if (this.#pendingZero > 0) {
      this.#zero += this.#pendingZero;
      this.#pendingZero = 0;
      this.#firstPassEnd = this.#mark(tNs);
    }
    this.#normal++;
    this.#finalSection = this.#section;
    this.#lastPageNs = tNs;
    lane.tailBytes = 0;
    lane.tailNs = Number.NaN;
    lane.buffered = false;
  }

  #buffer(lane: SealedLane, tNs: number, contents: number): void {
    if (lane.buffered)
      this.#section = { ...this.#mark(tNs), earliestNs: this.#sendBuffer.earliestNs(this.#bytes, tNs) };
    const overhead = WORD_BYTES + (lane.buffered ? SECTION_BYTES : 0);
    this.#pendingZero += Math.max(0, Math.floor((contents - overhead) / ZERO_PAGE_BYTES));
    lane.tailBytes += contents;
    if (Number.isNaN(lane.tailNs)) lane.tailNs = tNs;
    lane.buffered = contents < WHOLE_RECORD_BYTES;
  }

  #pages(): PageCounts {
    return { normal: this.#normal, zero: this.#zero, xbzrle: 0, compressed: 0 };
  }

  #mark(tNs: number): Mark {
    return { tNs, pages: this.#pages(), bytes: this.#bytes };
  }

  /** The lane that went on longest after its last page: the main channel, when the migration came to device state. */
  get #tail(): { readonly tailBytes: number; readonly tailNs: number } {
    let longest = { tailBytes: 0, tailNs: this.#lastPageNs };
    for (const lane of this.#lanes.values()) if (!lane.multifd && lane.tailBytes > longest.tailBytes) longest = lane;
    return { tailBytes: longest.tailBytes, tailNs: Math.max(longest.tailNs, this.#lastPageNs) };
  }

  get #isComplete(): boolean {
    return this.proven && this.#tail.tailBytes >= DEVICE_STATE_BYTES;
  }

  #rounds(): Round[] {
    if (!this.proven) return [];
    const marks: { mark: Mark; boundary: string }[] = [
      {
        mark: { tNs: this.#firstPageNs, pages: { normal: 0, zero: 0, xbzrle: 0, compressed: 0 }, bytes: 0 },
        boundary: 'first-pass',
      },
    ];
    const final = this.complete ? this.#finalSection : null;
    const passEnd = this.#firstPassEnd;
    const between = (final?.pages.normal ?? this.#normal) - (passEnd?.pages.normal ?? 0);
    if (passEnd && between > MIDDLE_SHARE * passEnd.pages.normal) {
      marks.push({ mark: passEnd, boundary: 'inferred-record-lengths' });
    }
    if (final) marks.push({ mark: final, boundary: 'inferred-record-lengths' });
    const end: Mark = { tNs: this.#lastPageNs, pages: this.#pages(), bytes: this.#bytes - this.#tail.tailBytes };
    return marks.map(({ mark, boundary }, i) => {
      const next = marks[i + 1]?.mark ?? end;
      const seconds = (next.tNs - mark.tNs) / 1e9;
      const bytes = Math.max(0, next.bytes - mark.bytes);
      return {
        index: i + 1,
        startNs: mark.tNs,
        endNs: Math.max(mark.tNs, next.tNs),
        pages: {
          normal: next.pages.normal - mark.pages.normal,
          zero: next.pages.zero - mark.pages.zero,
          xbzrle: 0,
          compressed: 0,
        },
        bytes,
        goodput: seconds > 0 ? bytes / seconds : 0,
        dirtyPagesPerSecond: null,
        boundary,
        confidence: CONFIDENCE,
      };
    });
  }

  #phases(): Phase[] {
    if (!this.proven) return [];
    const phases: Phase[] = [{ kind: 'setup', startNs: this.#startNs, endNs: this.#firstPageNs, bytes: 0 }];
    const final = this.complete ? this.#finalSection : null;
    const stopNs = final?.tNs ?? this.#lastPageNs;
    phases.push({ kind: 'precopy', startNs: this.#firstPageNs, endNs: stopNs, bytes: final?.bytes ?? this.#bytes });
    if (final) {
      const tail = this.#tail.tailBytes;
      phases.push({
        kind: 'stop-and-copy',
        startNs: stopNs,
        endNs: this.#tail.tailNs,
        bytes: this.#bytes - final.bytes - tail,
      });
      phases.push({ kind: 'device-state', startNs: this.#tail.tailNs, endNs: this.#latestNs, bytes: tail });
    }
    return phases;
  }

  #downtime(): Downtime | null {
    if (!this.complete || !this.#finalSection) return null;
    const answered = this.#replyNs > this.#tail.tailNs;
    const endNs = answered ? this.#replyNs : this.#latestNs;
    const startNs = this.#finalSection.tNs;
    return {
      earliestStartNs: Math.min(startNs, this.#finalSection.earliestNs),
      latestStartNs: this.#tail.tailNs,
      endNs,
      estimateNs: endNs - startNs,
      method: `last section with pages to ${answered ? 'last message of the destination' : 'end of the stream'}, inferred from TLS record lengths`,
    };
  }
}
