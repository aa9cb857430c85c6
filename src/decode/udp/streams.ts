// StreamSource: gives out ids for the byte streams that reliable transports carry, and feeds for them.
import { UDP_STREAMS } from '../../limits.js';
import { type ClaimStream, UDP_STREAM_BASE } from '../stream.js';
import type { Flow } from './flow.js';
import type { WaitingBudget } from './packet-stream.js';
import { StreamFeed } from './stream-feed.js';

export class StreamSource {
  readonly #claim: ClaimStream;
  readonly budget: WaitingBudget = { bytes: 0 };
  #pairs = 0;

  constructor(claim: ClaimStream) {
    this.#claim = claim;
  }

  /** Two more streams, one each way, for `flow`: the direction id of side 0. Null when no more are followed. */
  open(flow: Flow): number | null {
    if (this.#pairs >= UDP_STREAMS) return null;
    const direction = UDP_STREAM_BASE + 2 * this.#pairs++;
    flow.streams.push(direction);
    return direction;
  }

  feed(pair: number, side: 0 | 1, fromStart: boolean): StreamFeed {
    return new StreamFeed(pair + side, this.#claim, fromStart);
  }
}
