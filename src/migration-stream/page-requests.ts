// Page requests of post-copy: what the destination asked for, and when it came.
import { TableBuilder } from '../columns.js';
import { EVENT_ROWS, PAGE_REQUESTS } from '../limits.js';
import { UNKNOWN_BLOCK } from './records.js';
import type { Quantiles } from './results.js';
import { BLOCK_STRIDE, type Rounds } from './rounds.js';

const REQUEST_UNITS = { tNs: 'ns', latencyNs: 'ns', bytes: 'bytes' } as const;

export class PageRequests {
  /** Those whose page came; tNs is when it was asked for. */
  readonly answered = new TableBuilder(REQUEST_UNITS, EVENT_ROWS);
  count = 0;
  /** When each was asked for that waits, by place. */
  readonly #waiting = new Map<number, number>();
  /** Length of the newest request, by block. */
  readonly #bytes: number[] = [];

  get waiting(): number {
    return this.#waiting.size;
  }

  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  ask(tNs: number, block: number, start: number, length: number): void {
    this.count++;
    this.#bytes[block] = length;
    const key = block * BLOCK_STRIDE + start;
    if (this.#waiting.size < PAGE_REQUESTS && !this.#waiting.has(key)) this.#waiting.set(key, tNs);
  }

  /** The page at `address` of `block` came. */
  answer(tNs: number, block: number, address: number): void {
    if (block === UNKNOWN_BLOCK) return;
    const bytes = this.#bytes[block];
    if (!bytes) return;
    const key = block * BLOCK_STRIDE + address - (address % bytes);
    const askedNs = this.#waiting.get(key);
    if (askedNs === undefined) return;
    this.#waiting.delete(key);
    this.answered.add(askedNs, tNs - askedNs, bytes);
  }

  /** Those that wait although their page had been sent since the switch: request and page crossed. After `rounds.finish`. */
  underway(rounds: Rounds): number {
    let count = 0;
    for (const key of this.#waiting.keys()) {
      const block = Math.floor(key / BLOCK_STRIDE);
      if (rounds.inLatest(block, key - block * BLOCK_STRIDE)) count++;
    }
    return count;
  }

  get latencyNs(): Quantiles | null {
    return quantiles(this.answered.finish().columns['latencyNs']!.values as Float64Array);
  }
}

/** Distribution of `values`, null when there are none. */
function quantiles(values: ArrayLike<number>): Quantiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return {
    min: sorted[0]!,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
    max: sorted.at(-1)!,
    samples: sorted.length,
  };
}
