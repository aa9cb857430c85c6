// Rounds: page records → passes over dirty memory.
//
// QEMU marks no round on the wire. It fetches the dirty log ("sync"), then sends every page whose bit is set, in scan
// order (block by block, address ascending, around the end of the list), clearing bits as it goes. Bits are set by a
// sync only, and a sync happens only between RAM sections. Therefore, between two syncs,
//   1. no page is sent twice, and
//   2. the scan passes every place once: after it came around, no page lies beyond where it stood at the sync.
// A section with a page that breaks 1 or 2 belongs to a new round, which began at that section's start at the latest.
// The sync happens while a rest of the old round is still unsent, so the scan does not restart at 0: coming around the
// end by itself is no boundary. The final section (END) follows a sync with the guest stopped and opens a round of its
// own. After the switch to post-copy there are no syncs.
//
// The round of a section's pages is known at its end only, so pages wait in a list until then. A page behind which the scan
// goes on from where it was before it is astray, its address damaged: it breaks no rule.
// Source: QEMU migration/ram.c, ram_save_iterate(), migration_bitmap_sync(), find_dirty_block().
import { ROUNDS, SECTION_PAGES } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import { NO_PAGE, type PageHistory, roundStamp } from './pages.js';
import { PAGE_COMPRESSED, PAGE_NORMAL, PAGE_XBZRLE, type PageKind, type RamBlock } from './records.js';
import type { PageCounts, Round } from './results.js';

/** How a round's beginning was known; see Round.boundary. */
export type Boundary =
  | 'first-pass'
  | 'page-repeat'
  | 'scan-lap'
  | 'section-end'
  | 'flush-mark'
  | 'post-copy'
  | 'joined-midway'
  | 'inferred-headers'
  | 'inferred-rate';

/** How sure each kind of boundary is to be a sync, and to be there. */
const CONFIDENCE: Readonly<Record<Boundary, number>> = {
  'first-pass': 1,
  'page-repeat': 0.95,
  'scan-lap': 0.9,
  'section-end': 1,
  'flush-mark': 0.9,
  'post-copy': 1,
  'joined-midway': 0.5,
  'inferred-headers': 0.6,
  'inferred-rate': 0.3,
};
/** Where more of a round could not be read, how many pages it has is not known. */
const LOST_SHARE = 0.05;
/** Confidence of a round during which part of the stream could not be decoded. */
export const BLIND_CONFIDENCE = 0.5;
/** Finished rounds in a snapshot. */
const SNAPSHOT_ROUNDS = 8;
/** Threads of the old compression reorder records by some pages; a real way around the list is far longer. */
const REORDER_BYTES = 4 << 20;
/** Room for the pages of a section at first: of most that might be migrations none is ever seen. */
const FIRST_LISTED = 16;
/** Scan position: block number above, address below; an address is below 2^44 in practice. */
export const BLOCK_STRIDE = 2 ** 44;

interface OpenRound {
  startNs: number;
  boundary: Boundary;
  /** Repeats had shown it before the final section's header said that it was the last. */
  repeats: boolean;
  pages: PageCounts;
  bytes: number;
  /** Of its pages, those that were sent in no round before. */
  fresh: number;
  blind: boolean;
  /** Bytes of it that could not be read; Infinity where it is not sure which pages are its own. */
  lostBytes: number;
}

/** What else is known of a migration whose rounds are over. */
export interface RoundsEnd {
  /** All of the last round was sent. */
  readonly isLastWhole: boolean;
  /** None of its channels is missing. */
  readonly hasAllChannels: boolean;
}

export class Rounds {
  readonly #history: PageHistory;
  readonly #closed: Round[] = [];
  /** What the closed rounds were made of. */
  readonly #made: OpenRound[] = [];
  #open: OpenRound | null = null;
  #number = 0;
  #firstBoundary: Boundary = 'first-pass';
  /** Rounds ever begun, those that were joined again included. */
  #begun = 0;
  #stamp = 0;
  /** True while only repeats count: several channels, or post-copy, where records do not come in scan order. */
  #unordered = false;
  /** True where the order of sections is not sure. */
  #doubtful = false;
  /** False once no more syncs can happen. */
  #syncs = true;
  // The section at hand.
  #sectionNs = WIDE_ZERO;
  #inSection = false;
  /** The section was already found to open a round. */
  #decided = false;
  /** The latest page had been sent in the open round: unless it was astray, the section opens one. */
  #repeated = false;
  /** More rounds were begun than are kept: the last one holds the rest. */
  #overflowed = false;
  /** Bytes that could not be decoded since the latest section began, and those before the section at hand did. */
  #lost = 0;
  #sectionLost = 0;
  #list = new Uint32Array(FIRST_LISTED);
  #listed = 0;
  #counts = noPages();
  #bytes = 0;
  /** Bytes of pages of earlier sections, or of pages still to come, that never came. */
  #cutBytes = 0;
  #latestNs = WIDE_ZERO;
  // The scan: where the two latest pages lie.
  #position = -1;
  #before = -1;
  /** Where it stood when the section at hand began, whether that has pages, and whether it came around the end of the list since. */
  #sectionPosition = -1;
  #walked = false;
  #sectionCameAround = false;
  /** Where the round began, and whether the scan came around since. */
  #startPosition = 0;
  #cameAround = false;

  constructor(history: PageHistory) {
    this.#history = history;
  }

  /** Number of rounds so far, the open one included. */
  get count(): number {
    return this.#number;
  }

  /** The open round (null before the first) and the newest closed ones; pages of the section at hand not included. */
  snapshot(): { round: { index: number; startNs: number; pages: number; bytes: number } | null; rounds: Round[] } {
    const open = this.#open;
    return {
      round: open && { index: this.#number, startNs: open.startNs, pages: totalPages(open.pages), bytes: open.bytes },
      rounds: this.#closed.slice(-SNAPSHOT_ROUNDS),
    };
  }

  /**
   * Where the pass stands, and where it began; as block × BLOCK_STRIDE + address. null where pages do not come in scan
   * order, or part of the stream could not be read.
   */
  get scan(): { readonly from: number; readonly at: number; readonly cameAround: boolean } | null {
    if (!this.#open || this.#open.blind || this.#unordered || !this.#syncs || this.#position < 0) return null;
    if (this.#startPosition < 0) return null;
    return { from: this.#startPosition, at: this.#position, cameAround: this.#cameAround };
  }

  /** The latest page's place, as block × BLOCK_STRIDE + address; null where the stream has no scan order or was lost. */
  get position(): number | null {
    return this.#unordered || this.#position < 0 ? null : this.#position;
  }

  /** The capture began when the first round was under way. */
  get isJoined(): boolean {
    return this.#firstBoundary === 'joined-midway';
  }

  joined(): void {
    this.#firstBoundary = 'joined-midway';
  }

  /** From here on the order of records says nothing. */
  unordered(): void {
    this.#unordered = true;
  }

  /** From here on, which section a page belongs to is not sure, and so no boundary. */
  doubt(): void {
    this.#doubtful = true;
    this.#lose(Number.POSITIVE_INFINITY);
  }

  /** A RAM section with pages begins: PART, or END, which opens a round in any case. */
  section(tNs: number, kind: 'part' | 'end'): void {
    this.#settle();
    this.#commit();
    this.#sectionNs = tNs;
    this.#inSection = true;
    this.#decided = false;
    this.#sectionLost = this.#lost;
    this.#lost = 0;
    this.#sectionPosition = this.#position;
    this.#walked = false;
    this.#sectionCameAround = false;
    if (!this.#open) this.#begin(tNs, this.#firstBoundary);
    else if (kind === 'end' && this.#syncs) this.#begin(tNs, 'section-end');
    if (kind === 'end') this.#decided = true;
  }

  /** The final section has begun: before the pages of the section at hand, where there are some already. */
  finalSection(tNs: number): void {
    const open = this.#open;
    if (!this.#inSection || this.#listed === 0 || !open || !this.#syncs) {
      this.section(tNs, 'end');
    } else if (this.#decided && open.startNs === this.#sectionNs) {
      open.repeats ||= open.boundary === 'page-repeat';
      open.boundary = 'section-end';
    } else {
      this.#begin(this.#sectionNs, 'section-end');
      this.#decided = true;
    }
  }

  /** The section ends; a section that never ends is ended by the next. */
  endSection(tNs: number): void {
    this.#latestNs = tNs;
    this.#settle();
    this.#commit();
    this.#inSection = false;
  }

  page(tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    if (!this.#inSection) this.section(tNs, 'part');
    if (this.#unordered && tNs < this.#sectionNs) this.#beganEarlier(tNs);
    const page = this.#history.number(block, address);
    if (this.#syncs) {
      if (!this.#unordered && block >= 0) this.#follow(block * BLOCK_STRIDE + address);
      const isRepeat = page !== NO_PAGE && this.#history.lastRound(page) === this.#stamp;
      if (isRepeat && !this.#decided) {
        if (this.#unordered) this.#boundary('page-repeat');
        else this.#repeated = true;
      }
    }
    if (page === NO_PAGE) {
      this.#history.untracked++;
    } else {
      if (this.#listed === this.#list.length) this.#growList();
      this.#list[this.#listed++] = page;
    }
    const counts = this.#counts;
    if (kind === PAGE_NORMAL) counts.normal++;
    else if (kind === PAGE_XBZRLE) counts.xbzrle++;
    else if (kind === PAGE_COMPRESSED) counts.compressed++;
    else counts.zero++;
    this.#bytes += bytes;
    this.#latestNs = tNs;
  }

  /**
   * The latest pages of a channel were cut off: `missingBytes` of them never came. They may have been named before the section at
   * hand, or wait for other channels and come here later.
   */
  pageCut(missingBytes: number): void {
    const ofSection = Math.min(this.#bytes, missingBytes);
    this.#bytes -= ofSection;
    this.#cutBytes += missingBytes - ofSection;
  }

  /** Takes from the latest rounds what never came of their pages. */
  #takeCutOff(): void {
    for (let at = this.#made.length; at >= 0 && this.#cutBytes > 0; at--) {
      const round = this.#made[at] ?? this.#open;
      if (!round) continue;
      const bytes = Math.min(round.bytes, this.#cutBytes);
      round.bytes -= bytes;
      this.#cutBytes -= bytes;
      const closed = this.#closed[at];
      if (!closed) continue;
      closed.bytes = Math.round(round.bytes);
      setEnd(closed, closed.endNs);
    }
  }

  /** A boundary known by other means than pages. */
  mark(tNs: number, boundary: Boundary): void {
    this.#settle();
    this.#commit();
    this.#begin(tNs, boundary);
    if (boundary === 'post-copy') {
      this.#syncs = false;
      this.#unordered = true;
    }
  }

  /** So many bytes could not be decoded: the open round may hide boundaries, and the next may have begun there. */
  blind(bytes: number): void {
    this.#lost += bytes;
    this.#lose(bytes);
    this.#position = -1;
    this.#before = -1;
    this.#cameAround = false;
  }

  /** Whether the page was sent in the latest round; after `finish`. */
  inLatest(block: number, address: number): boolean {
    const page = this.#history.number(block, address);
    return page !== NO_PAGE && this.#history.lastRound(page) === this.#stamp;
  }

  /** Closes the last round. */
  finish({ isLastWhole, hasAllChannels }: RoundsEnd = { isLastWhole: true, hasAllChannels: true }): Round[] {
    this.#settle();
    this.#commit();
    this.#takeCutOff();
    this.#close(this.#latestNs);
    const last = this.#closed.length - 1;
    if (!hasAllChannels) return this.#closed;
    const ends = isLastWhole && !this.#overflowed ? last : last - 1;
    for (let i = 0; i < ends; i++) this.#closed[i]!.dirtyPagesPerSecond = this.#dirtied(i);
    return this.#closed;
  }

  /**
   * Pages a second that the guest dirtied during a round, by those of the next. What was sent for the first time need not have
   * been dirtied: QEMU goes on to the next pass when the rest fits into the downtime limit (migration_iteration_run).
   *
   * @returns null where that is not known: the next round was cut short by the switch to post-copy or is behind it, a capture
   *          that joined has not seen when the round began, or too much of either could not be read
   */
  #dirtied(i: number): number | null {
    const [round, next, after] = this.#closed.slice(i, i + 3);
    if (next!.boundary === 'post-copy' || after?.boundary === 'post-copy') return null;
    if (round!.boundary === 'joined-midway' || !this.#isCounted(i) || !this.#isCounted(i + 1)) return null;
    const seconds = (round!.endNs - round!.startNs) / 1e9;
    // What a joined capture sees for the first time may have been sent before it began.
    const fresh = this.isJoined ? 0 : this.#made[i + 1]!.fresh;
    return seconds > 0 ? (totalPages(next!.pages) - fresh) / seconds : null;
  }

  /** Next to all pages of a closed round were read, and are known to be its own. */
  #isCounted(i: number): boolean {
    const { bytes, lostBytes } = this.#made[i]!;
    return lostBytes <= LOST_SHARE * (bytes + lostBytes);
  }

  /** The open round lacks `bytes`. */
  #lose(bytes: number): void {
    if (!this.#open) return;
    this.#open.blind = true;
    this.#open.lostBytes += bytes;
  }

  /** Of several channels, another one brought pages of the section at hand before. */
  #beganEarlier(tNs: number): void {
    const open = this.#open;
    const previous = this.#closed.at(-1);
    if (open && open.startNs === this.#sectionNs && tNs >= (previous?.startNs ?? Number.NEGATIVE_INFINITY)) {
      open.startNs = tNs;
      if (previous) setEnd(previous, tNs);
    }
    this.#sectionNs = tNs;
  }

  /** Watches the scan pass; see rule 2 above. What the page before meant, the one behind it tells. */
  #follow(position: number): void {
    const before = this.#before;
    const last = this.#position;
    const isAstray = before >= 0 && before <= position && (last < before || last > position);
    if (this.#repeated && isAstray) this.#repeated = false;
    this.#settle();
    if (last < 0) {
      if (this.#startPosition < 0) this.#startPosition = position;
      if (this.#sectionPosition < 0) this.#sectionPosition = position;
    } else if (Math.max(last, position) < before - REORDER_BYTES) {
      // Between these two pages and the one before: in this section, if one of them was.
      if (this.#walked) this.#sectionCameAround = true;
      if (this.#decided) this.#cameAround ||= this.#walked;
      else if (this.#cameAround) this.#boundary('scan-lap');
      else this.#cameAround = true;
    } else if (this.#cameAround && !this.#decided && Math.min(last, position) > this.#startPosition + REORDER_BYTES) {
      this.#boundary('scan-lap');
    }
    if (!isAstray) this.#before = last;
    this.#position = position;
    this.#walked = true;
  }

  /** The latest page was not astray: if it had been sent in the open round, the section at hand opens another. */
  #settle(): void {
    if (!this.#repeated) return;
    this.#repeated = false;
    if (!this.#decided) this.#boundary('page-repeat');
  }

  /** The section at hand belongs to a new round. */
  #boundary(boundary: Boundary): void {
    this.#decided = true;
    const open = this.#open;
    const isLate = open?.boundary === 'section-end';
    if (isLate && open.repeats) open.boundary = 'page-repeat';
    else if (isLate) this.#rejoin();
    this.#begin(this.#sectionNs, isLate ? 'section-end' : boundary);
  }

  /**
   * No sync follows END. What came after its mark, but before the repeat at hand, had waited in the buffers of slower
   * channels and belongs to the round before, or is one by itself if repeats had shown that.
   */
  #rejoin(): void {
    const open = this.#open!;
    const before = this.#closed.pop();
    if (!before) return;
    const made = this.#made.pop()!;
    this.#number--;
    this.#open = {
      startNs: before.startNs,
      boundary: before.boundary as Boundary,
      repeats: false,
      pages: sum(before.pages, open.pages),
      bytes: before.bytes + open.bytes,
      fresh: made.fresh + open.fresh,
      blind: open.blind || made.blind,
      lostBytes: made.lostBytes + open.lostBytes,
    };
  }

  #begin(tNs: number, boundary: Boundary): void {
    if (this.#number === ROUNDS) {
      this.#overflowed = true;
      return;
    }
    // Channels differ by some milliseconds; rounds follow each other all the same.
    const startNs = Math.max(tNs, this.#open?.startNs ?? tNs);
    this.#close(startNs);
    this.#number++;
    this.#stamp = roundStamp(++this.#begun);
    // The end section and the switch say themselves where they are.
    const isMarked = boundary === 'section-end' || boundary === 'post-copy';
    const lostBytes = this.#doubtful ? Number.POSITIVE_INFINITY : isMarked ? 0 : this.#sectionLost;
    const pages = noPages();
    const blind = lostBytes > 0;
    this.#open = { startNs, boundary, repeats: false, pages, bytes: WIDE_ZERO, fresh: 0, blind, lostBytes };
    this.#cameAround = this.#sectionCameAround;
    this.#startPosition = this.#sectionPosition;
    if (boundary === 'first-pass') this.#startPosition = 0;
  }

  #close(endNs: number): void {
    const open = this.#open;
    if (!open) return;
    this.#open = null;
    this.#history.endRound(this.#number);
    const round: Round = {
      index: this.#number,
      startNs: open.startNs,
      endNs: open.startNs,
      pages: open.pages,
      bytes: Math.round(open.bytes),
      goodput: 0,
      dirtyPagesPerSecond: null,
      boundary: open.boundary,
      confidence: open.blind ? Math.min(BLIND_CONFIDENCE, CONFIDENCE[open.boundary]) : CONFIDENCE[open.boundary],
    };
    setEnd(round, endNs);
    this.#closed.push(round);
    this.#made.push(open);
  }

  /** Gives the listed pages to the open round. */
  #commit(): void {
    if (this.#open) {
      this.#open.pages = sum(this.#open.pages, this.#counts);
      this.#open.bytes += this.#bytes;
    }
    const list = this.#list;
    const history = this.#history;
    const known = history.distinct;
    for (let i = 0; i < this.#listed; i++) history.sent(list[i]!, this.#stamp);
    if (this.#open) this.#open.fresh += history.distinct - known;
    this.#listed = 0;
    this.#counts = noPages();
    this.#bytes = 0;
  }

  #growList(): void {
    if (this.#list.length >= SECTION_PAGES) {
      // A section of many gigabytes: what it sent so far is settled.
      this.#commit();
      return;
    }
    const grown = new Uint32Array(2 * this.#list.length);
    grown.set(this.#list);
    this.#list = grown;
  }
}

function setEnd(round: Round, endNs: number): void {
  round.endNs = Math.max(endNs, round.startNs);
  const seconds = (round.endNs - round.startNs) / 1e9;
  round.goodput = seconds > 0 ? round.bytes / seconds : 0;
}

const noPages = (): PageCounts => ({ normal: 0, zero: 0, xbzrle: 0, compressed: 0 });
const sum = (one: PageCounts, other: PageCounts): PageCounts => ({
  normal: one.normal + other.normal,
  zero: one.zero + other.zero,
  xbzrle: one.xbzrle + other.xbzrle,
  compressed: one.compressed + other.compressed,
});
/** Pages of all kinds. */
export const totalPages = (pages: PageCounts): number => pages.normal + pages.zero + pages.xbzrle + pages.compressed;

/** Bytes of memory before a scan position, in the order of the block list, which is that of the scan. */
export function bytesBefore(position: number, blocks: readonly RamBlock[]): number {
  const block = Math.floor(position / BLOCK_STRIDE);
  let bytes = position - block * BLOCK_STRIDE;
  for (let i = 0; i < block; i++) bytes += blocks[i]?.lengthBytes ?? 0;
  return bytes;
}
