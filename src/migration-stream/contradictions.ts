// Contradictions: what the records of a migration say against each other, and which channels they show to be missing.
//
// Both judge what is finished: no record changes it any more.
import type { PageCounts } from './results.js';
import { totalPages } from './rounds.js';

/** A finished migration, as far as it is judged. */
export interface Finished {
  /** The end mark was read. */
  readonly isComplete: boolean;
  /** Error flag of the destination's SHUT; null without. */
  readonly shut: number | null;
  /** Nothing of the main channel, or of any, could not be read. */
  readonly isMainRead: boolean;
  readonly isRead: boolean;
  /** There is a main channel, with the beginning of its RAM section, and there are multifd channels. */
  readonly hasMain: boolean;
  readonly hasRamStart: boolean;
  readonly hasMultifd: boolean;
  /** SYNC marks passed, by the main channel and then by each multifd channel; null where they cannot be compared. */
  readonly marks: readonly number[] | null;
  /** The main channel marks where multifd channels are flushed. */
  readonly marksFlushes: boolean;
  readonly packets: PacketNumbers;
  readonly pages: PageCounts;
  /** Pages that the destination asked for and that were not sent since the switch. */
  readonly unansweredRequests: number;
  /** Pings less pongs, by value. */
  readonly pings: ReadonlyMap<number, number>;
  /** The destination speaks as in post-copy, and no switch was read. */
  readonly isRunUnseen: boolean;
}

/** The numbers of multifd packets that carry pages. */
export class PacketNumbers {
  #count = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = Number.NEGATIVE_INFINITY;

  add(number: number): void {
    this.#count++;
    if (number < this.#least) this.#least = number;
    if (number > this.#most) this.#most = number;
  }

  /**
   * How many packets lack of those that were numbered. Up to 8.2 channels may take a number twice and leave the next one out;
   * the range is as long as the count either way.
   */
  get unseen(): number {
    return this.#count > 0 ? this.#most - this.#least + 1 - this.#count : 0;
  }
}

/** What cannot all be true, in words; empty where nothing contradicts itself. */
export function contradictions(of: Finished): string[] {
  const found: string[] = [];
  if (of.isComplete && of.isRead) {
    if (of.marks) found.push(...marksApart(of.marks));
    if (of.marks && of.packets.unseen < 0)
      found.push(`${-of.packets.unseen} multifd packets more than there are numbers`);
    // Whatever the destination asked for is sent, be it before the request arrived.
    if (of.unansweredRequests > 0) found.push(`${of.unansweredRequests} pages were requested and not sent`);
  }
  // A PONG answers a PING, and requests follow the switch, whichever of the two the capture shows first. Pings come before
  // START: without it they may have been sent before the capture began.
  if (of.hasRamStart && of.isMainRead) {
    for (const [value, left] of of.pings) if (left < 0) found.push(`PONG ${value} without PING`);
    if (of.isRunUnseen) found.push('post-copy on the return path, but not on the stream');
    if (of.shut === 0 && !of.isComplete) found.push('the destination has all of it, but no end mark was found');
  }
  return found;
}

/** Every SYNC goes to all multifd channels; the main channel has a mark for each, but for the last of 9.1 and 9.2. */
function marksApart([main = 0, ...syncs]: readonly number[]): string[] {
  const most = Math.max(...syncs);
  if (Math.min(...syncs) < most) return [`multifd channels passed ${syncs.join(', ')} SYNCs`];
  return main === most || main + 1 === most ? [] : [`${main} marks on the main channel, ${most} SYNCs`];
}

/** Which channels, multifd's or the main one beside them, went another way than past the capture; null for none. */
export function missingChannels(of: Finished): string | null {
  const isWhole = of.isComplete && of.isRead;
  if (!of.hasMultifd) {
    // Machine types before 8.1 do not mark flushes; but firmware and devices leave no guest without a page that is not zero.
    const isEmpty = isWhole && of.pages.zero > 0 && totalPages(of.pages) === of.pages.zero;
    return of.marksFlushes || isEmpty ? 'all multifd channels' : null;
  }
  if (!of.hasMain) return 'the main channel: how it ended is not known';
  return isWhole && of.packets.unseen > 0 ? `those of ${of.packets.unseen} multifd packets` : null;
}
