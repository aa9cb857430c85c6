// StreamSource: gives out ids for the byte streams that reliable transports carry, and feeds for them.
import { UDP_STREAMS } from '../../limits.js';
import { type ClaimStream, UDP_STREAM_BASE } from '../stream.js';
import { StreamFeed } from '../stream-feed.js';
import type { Flow } from './flow.js';
import type { WaitingBudget } from './packet-order.js';
import type { RdmaConsumer } from './rdma.js';

export class StreamSource {
  readonly #claim: ClaimStream;
  /** Who wants what an RDMA migration writes; null when nobody. */
  readonly rdma: RdmaConsumer | null;
  readonly budget: WaitingBudget = { bytes: 0 };
  /** Flow of every pair opened, by number. */
  readonly #flows: Flow[] = [];

  constructor(claim: ClaimStream, rdma: RdmaConsumer | null) {
    this.#claim = claim;
    this.rdma = rdma;
  }

  /** Two more streams, one each way, for `flow`: the direction id of side 0. Null when no more are followed. */
  open(flow: Flow): number | null {
    if (this.#flows.length >= UDP_STREAMS) return null;
    const direction = UDP_STREAM_BASE + 2 * this.#flows.length;
    this.#flows.push(flow);
    flow.streams.push(direction);
    return direction;
  }

  /** The flow that carries the stream with this direction id. */
  flow(direction: number): Flow | undefined {
    return this.#flows[(direction - UDP_STREAM_BASE) >>> 1];
  }

  feed(pair: number, side: 0 | 1, fromStart: boolean): StreamFeed {
    return new StreamFeed(pair + side, this.#claim, fromStart);
  }
}
