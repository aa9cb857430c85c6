// Lost pages: how many hide in bytes of a stream that could not be read.
import type { RamBlock } from './records.js';
import { bytesBefore } from './rounds.js';

/** Section headers, footers and names that may lie among lost pages. */
const FRAMING_BYTES = 512;
/** The word before every page. */
export const WORD_BYTES = 8;

/** Not fewer and not more than so many. */
export interface PageBounds {
  atLeast: number;
  atMost: number;
}

export class LostPages {
  /** Bytes just lost, and the scan position before them; null once the page behind them is known. */
  #gap: { bytes: number; readonly from: number } | null = null;
  #bounds: PageBounds | null = null;
  /** Lost bytes with no page on one side that would bound the pages in them. */
  #unboundBytes = 0;

  /** The page behind the newest gap is still to come. */
  get isOpen(): boolean {
    return this.#gap !== null;
  }

  /**
   * Bytes were lost.
   *
   * @param position  where the scan stood before them, null where it has no order or that is not known
   * @param isEmpty   no pages are sent there any more
   */
  gap(bytes: number, position: number | null, isEmpty: boolean): void {
    if (position !== null) this.#gap = { bytes, from: position };
    else if (this.#gap) this.#gap.bytes += bytes;
    else if (!isEmpty) this.#unboundBytes += bytes;
  }

  /**
   * How many pages hide in the bytes just lost: not fewer than if all were full ones, and not more than lie between the
   * pages before and behind, for the scan passes every place once. Zero pages take nine bytes, so the bytes alone tell little.
   *
   * @param position   of the page behind them; null where its RAM block is not known
   * @param isOrdered  false where threads do not keep the scan's order
   * @returns null where the pages before and behind bound nothing
   */
  bound(position: number | null, blocks: readonly RamBlock[], pageSize: number, isOrdered: boolean): PageBounds | null {
    const { bytes, from } = this.#gap!;
    this.#gap = null;
    const ramBytes = blocks.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    if (position === null || ramBytes === 0) {
      this.#unboundBytes += bytes;
      return null;
    }
    const walked = bytesBefore(position, blocks) - bytesBefore(from, blocks);
    let between = Math.max(0, (walked > 0 ? walked : walked + ramBytes) / pageSize - 1);
    // More than the pages between can fill: the scan came by more than once.
    const full = (bytes - FRAMING_BYTES) / (WORD_BYTES + pageSize);
    if (full > between) between += Math.ceil(((full - between) * pageSize) / ramBytes) * (ramBytes / pageSize);
    if (!isOrdered) between = Number.POSITIVE_INFINITY;
    const atMost = Math.min(between, Math.floor(bytes / (WORD_BYTES + 1)));
    const atLeast = Math.min(atMost, Math.max(0, Math.ceil(full)));
    this.#bounds ??= { atLeast: 0, atMost: 0 };
    this.#bounds.atLeast += atLeast;
    this.#bounds.atMost += atMost;
    return { atLeast, atMost };
  }

  /** Pages in all lost bytes; null where nothing is lost. */
  get total(): PageBounds | null {
    const hidden = Math.floor((this.#unboundBytes + (this.#gap?.bytes ?? 0)) / (WORD_BYTES + 1));
    if (hidden === 0) return this.#bounds;
    return { atLeast: this.#bounds?.atLeast ?? 0, atMost: (this.#bounds?.atMost ?? 0) + hidden };
  }
}
