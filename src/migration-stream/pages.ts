// Page history: for every guest page the round it was last sent in, in bounded memory; for regions of memory, how often
// their pages were sent in each round.
//
// Pages are kept in chunks of 4096 that exist once one of their pages was sent, two bytes a page. A page is named by a
// number (chunk × 4096 + place in it) that callers may keep. Beyond PAGE_HISTORY_PAGES further chunks are not made:
// their pages are counted but have no history. A coarser count per region and round feeds the heat map.
import { TableBuilder } from '../columns.js';
import { EVENT_ROWS, PAGE_HISTORY_PAGES } from '../limits.js';
import { PAGE_REGION_UNITS } from './results.js';

const CHUNK_PAGES = 4096;
const CHUNK_BITS = 12;
/** Regions the heat map aims at for the whole guest. */
const REGIONS = 512;
const MIN_REGION_BITS = 6;

/** The number of a page without history. */
export const NO_PAGE = 0xffffffff;

const { migration: _migration, ...REGION_UNITS } = PAGE_REGION_UNITS;

interface Chunk {
  readonly block: number;
  /** First page of the chunk in its block. */
  readonly firstPage: number;
  readonly round: Uint16Array;
}

export class PageHistory {
  pageSize = 4096;
  /** Pages sent at least once. */
  distinct = 0;
  /** Page records without history, see the top of this file. */
  untracked = 0;
  readonly #limit: number;
  readonly #chunks: Chunk[] = [];
  /** Per block: chunk number in the block → index in `#chunks`. */
  readonly #byBlock = new Map<number, Map<number, number>>();
  // The chunk of the latest look-up; scans stay within one for thousands of pages.
  #block = -2;
  #chunkInBlock = -1;
  #chunk = -1;
  /** log2 of pages in a region of the heat map; at most a chunk. */
  #regionBits = MIN_REGION_BITS;
  #heat = new Uint32Array(0);
  readonly #regions = new TableBuilder(REGION_UNITS, EVENT_ROWS);

  /** @param limit  pages with exact history */
  constructor(limit = PAGE_HISTORY_PAGES) {
    this.#limit = limit;
  }

  /** Tells how much memory the guest has, so that the heat map has a useful number of regions. Before the first page. */
  size(totalBytes: number): void {
    const pages = totalBytes / this.pageSize;
    const bits = Math.ceil(Math.log2(Math.max(1, pages / REGIONS)));
    this.#regionBits = Math.min(CHUNK_BITS, Math.max(MIN_REGION_BITS, bits));
  }

  /** The number of the page at byte `address` of `block`, or NO_PAGE when it has no history. */
  number(block: number, address: number): number {
    const page = Math.floor(address / this.pageSize);
    const chunkInBlock = Math.floor(page / CHUNK_PAGES);
    if (block !== this.#block || chunkInBlock !== this.#chunkInBlock) {
      this.#block = block;
      this.#chunkInBlock = chunkInBlock;
      this.#chunk = this.#find(block, chunkInBlock);
    }
    return this.#chunk < 0 ? NO_PAGE : this.#chunk * CHUNK_PAGES + (page % CHUNK_PAGES);
  }

  /** Round in which the page was last sent, modulo 65536; 0 when it never was. */
  lastRound(page: number): number {
    return this.#chunks[page >>> CHUNK_BITS]!.round[page & (CHUNK_PAGES - 1)]!;
  }

  /** Records that the page was sent in a round; `stamp` from `roundStamp`. */
  sent(page: number, stamp: number): void {
    const chunk = this.#chunks[page >>> CHUNK_BITS]!;
    const at = page & (CHUNK_PAGES - 1);
    if (chunk.round[at] === 0) this.distinct++;
    chunk.round[at] = stamp;
    const region = page >>> this.#regionBits;
    this.#heat[region] = this.#heat[region]! + 1;
  }

  /** Moves the heat of the round that ends now into the table. */
  endRound(round: number): void {
    const perChunk = CHUNK_BITS - this.#regionBits;
    for (let region = 0, end = this.#chunks.length << perChunk; region < end; region++) {
      const copies = this.#heat[region]!;
      if (copies === 0) continue;
      this.#heat[region] = 0;
      const chunk = this.#chunks[region >>> perChunk]!;
      const within = (region & ((1 << perChunk) - 1)) << this.#regionBits;
      this.#regions.add(chunk.block, chunk.firstPage + within, 1 << this.#regionBits, round, copies);
    }
  }

  /** Rows of PAGE_REGION_UNITS but for the migration, which this does not know. */
  regions(): TableBuilder<keyof typeof REGION_UNITS> {
    return this.#regions;
  }

  #find(block: number, chunkInBlock: number): number {
    let chunks = this.#byBlock.get(block);
    if (!chunks) {
      chunks = new Map();
      this.#byBlock.set(block, chunks);
    }
    const known = chunks.get(chunkInBlock);
    if (known !== undefined) return known;
    if ((this.#chunks.length + 1) * CHUNK_PAGES > this.#limit) return -1;
    const index = this.#chunks.length;
    this.#chunks.push({
      block,
      firstPage: chunkInBlock * CHUNK_PAGES,
      round: new Uint16Array(CHUNK_PAGES),
    });
    chunks.set(chunkInBlock, index);
    const regions = this.#chunks.length << (CHUNK_BITS - this.#regionBits);
    if (regions > this.#heat.length) {
      const grown = new Uint32Array(2 * regions);
      grown.set(this.#heat);
      this.#heat = grown;
    }
    return index;
  }
}

/** A round's mark in the history: 1 … 65535, never 0. */
export const roundStamp = (round: number): number => ((round - 1) % 65_535) + 1;
