// StreamFeed: the ordered bytes of a reliable transport on their way to whoever claims them.
//
// The first bytes are offered until somebody wants them or nobody does; from then on bytes are passed as views.
import { WIDE_ZERO } from '../wide-zero.js';
import { type ClaimStream, type HoleCause, PROBE_BYTES, type StreamConsumer, type StreamEnd } from './stream.js';

export class StreamFeed {
  readonly #direction: number;
  readonly #claim: ClaimStream;
  #consumer: StreamConsumer | null = null;
  /** Nothing more is wanted or comes. */
  done = false;
  /** Offset of the next byte. */
  offset = WIDE_ZERO;
  #fromStart: boolean;
  /** First bytes kept while undecided, with when and where the first of them was seen. */
  #first: Uint8Array | null = null;
  #kept = 0;

  /**
   * @param direction  direction id the consumer is asked for
   * @param fromStart  whether the first byte fed will be the first of the stream
   */
  constructor(direction: number, claim: ClaimStream, fromStart: boolean) {
    this.#direction = direction;
    this.#claim = claim;
    this.#fromStart = fromStart;
  }

  /** `buffer[start, end)` come next. */
  bytes(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): void {
    if (this.done || start === end) return;
    if (this.#consumer) this.#pass(buffer, start, end, tNs, frame);
    else this.#offer(buffer, start, end, tNs, frame);
  }

  /** `length` bytes come next and are not in the capture. */
  hole(length: number, cause: HoleCause, tNs: number, frame: number): void {
    if (this.done || length <= 0) return;
    if (!this.#consumer) {
      // What follows is offered as a stream joined midway, and its offsets count from there.
      this.#kept = 0;
      this.#fromStart = false;
      this.offset = 0;
      return;
    }
    this.#consumer.hole(this.offset, length, cause, tNs, frame);
    this.offset += length;
  }

  end(cause: StreamEnd, tNs: number, frame: number): void {
    if (this.done) return;
    this.done = true;
    this.#first = null;
    this.#consumer?.end(this.offset, cause, tNs, frame);
  }

  #offer(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): void {
    let next = start;
    let consumer: StreamConsumer | null | undefined;
    if (this.#kept === 0) {
      consumer = this.#claim(this.#direction, buffer, start, end, this.#fromStart, tNs, frame);
      if (consumer === undefined) next = this.#keep(buffer, start, end);
    } else {
      next = this.#keep(buffer, start, end);
      consumer = this.#claim(this.#direction, this.#first!, 0, this.#kept, this.#fromStart, tNs, frame);
    }
    if (consumer === undefined && this.#kept < PROBE_BYTES) return;
    const first = this.#first;
    const kept = this.#kept;
    this.#first = null;
    this.#kept = 0;
    if (!consumer) {
      this.done = true;
      return;
    }
    this.#consumer = consumer;
    this.offset -= kept;
    if (first && kept > 0) this.#pass(first, 0, kept, tNs, frame);
    if (next < end) this.#pass(buffer, next, end, tNs, frame);
  }

  /** Keeps as many bytes as a probe may see; returns where the rest begins. */
  #keep(buffer: Uint8Array, start: number, end: number): number {
    this.#first ??= new Uint8Array(PROBE_BYTES);
    const take = Math.min(end - start, PROBE_BYTES - this.#kept);
    this.#first.set(buffer.subarray(start, start + take), this.#kept);
    this.#kept += take;
    this.offset += take;
    return start + take;
  }

  #pass(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): void {
    if (this.done) return;
    const offset = this.offset;
    this.offset += end - start;
    if (this.#consumer!.bytes(buffer, start, end, offset, tNs, frame) === false) this.done = true;
  }
}
