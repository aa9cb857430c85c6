// PacketOrder: packets with consecutive numbers, in any order → each once, in order, and gaps where some are missing.
//
// In-order packets are passed on as views; what came early is copied and waits, in bounded memory. A gap is passed on
// once the peer acknowledged past it, when too much waits behind it, or at the end.
import { REASSEMBLY_DIRECTION_BYTES, REASSEMBLY_TOTAL_BYTES } from '../../limits.js';
import type { HoleCause } from '../stream.js';

/** Bytes that wait in all packet orders together. */
export interface WaitingBudget {
  bytes: number;
}

/** Receives the ordered packets. */
export interface OrderedPackets {
  /** Nothing more is wanted. */
  readonly done: boolean;
  /** The next packet: `length` bytes on the wire, of which `buffer[start, end)` are in the capture. */
  packet(buffer: Uint8Array, start: number, end: number, length: number, tNs: number, frame: number): void;
  /** The next `count` packets will never come. */
  missing(count: number, cause: HoleCause, tNs: number, frame: number): void;
}

interface EarlyPacket {
  readonly bytes: Uint8Array;
  /** Bytes on the wire. */
  readonly length: number;
  readonly tNs: number;
  readonly frame: number;
}

/** What one waiting packet costs beside its bytes. */
const PACKET_OVERHEAD_BYTES = 64;
/** How far ahead of the next packet another may be. Beyond: what is missing is given up. */
const WINDOW_PACKETS = 65_536;

export class PacketOrder {
  readonly #sink: OrderedPackets;
  readonly #budget: WaitingBudget;
  /** Number of the next packet to deliver. */
  #next: number;
  readonly #early = new Map<number, EarlyPacket>();
  /** Lowest and highest number that waits; meaningless while none does. */
  #firstEarly = 0;
  #lastEarly = 0;
  #earlyBytes = 0;
  #highestAcknowledged: number;

  /** @param first  number of the first packet there is, or the first one seen */
  constructor(sink: OrderedPackets, first: number, budget: WaitingBudget) {
    this.#sink = sink;
    this.#next = first;
    this.#highestAcknowledged = first;
    this.#budget = budget;
  }

  /** Packet `number` carries `length` bytes on the wire, of which `buffer[start, end)` are in the capture. */
  packet(
    number: number,
    buffer: Uint8Array,
    start: number,
    end: number,
    length: number,
    tNs: number,
    frame: number,
  ): void {
    if (this.#sink.done || number < this.#next) return;
    while (number - this.#next > WINDOW_PACKETS) this.#giveUp(number, 'given-up', tNs, frame);
    if (number === this.#next) {
      this.#next++;
      this.#sink.packet(buffer, start, end, length, tNs, frame);
      this.#drain();
      return;
    }
    if (this.#early.has(number)) return;
    if (this.#early.size === 0 || number < this.#firstEarly) this.#firstEarly = number;
    if (this.#early.size === 0 || number > this.#lastEarly) this.#lastEarly = number;
    const bytes = buffer.slice(start, end);
    this.#early.set(number, { bytes, length, tNs, frame });
    this.#account(bytes.length + PACKET_OVERHEAD_BYTES);
    while (
      this.#early.size > 0 &&
      (this.#earlyBytes > REASSEMBLY_DIRECTION_BYTES || this.#budget.bytes > REASSEMBLY_TOTAL_BYTES)
    ) {
      this.#giveUp(this.#firstEarly, 'given-up', tNs, frame);
    }
  }

  /** The peer has all packets before `number`: those missing here are missing from the capture only. */
  acknowledged(number: number, tNs: number, frame: number): void {
    if (this.#sink.done) return;
    if (number > this.#highestAcknowledged) this.#highestAcknowledged = number;
    // Only holes with packets behind them: otherwise the acknowledged packet may be captured a moment later.
    while (this.#early.size > 0 && this.#firstEarly <= number) this.#giveUp(this.#firstEarly, 'unseen', tNs, frame);
  }

  /** Nothing more comes: passes on all that waits. */
  end(tNs: number, frame: number): void {
    if (this.#sink.done) return;
    while (this.#early.size > 0) this.#giveUp(this.#firstEarly, this.#cause(), tNs, frame);
    const missing = this.#highestAcknowledged - this.#next;
    if (missing > 0 && missing <= WINDOW_PACKETS) this.#sink.missing(missing, 'unseen', tNs, frame);
  }

  #cause(): HoleCause {
    return this.#highestAcknowledged > this.#next ? 'unseen' : 'given-up';
  }

  /** Gives up the first hole: up to the first packet that waits, or to `number` when that comes before it. */
  #giveUp(number: number, cause: HoleCause, tNs: number, frame: number): void {
    const to = this.#early.size > 0 ? Math.min(this.#firstEarly, number) : number;
    if (to > this.#next) this.#sink.missing(to - this.#next, cause, tNs, frame);
    this.#next = to;
    this.#drain();
  }

  /** Delivers what waits and has come in order. */
  #drain(): void {
    if (this.#early.size === 0) return;
    let packet: EarlyPacket | undefined;
    while ((packet = this.#early.get(this.#next)) !== undefined) {
      this.#early.delete(this.#next);
      this.#account(-packet.bytes.length - PACKET_OVERHEAD_BYTES);
      this.#next++;
      this.#sink.packet(packet.bytes, 0, packet.bytes.length, packet.length, packet.tNs, packet.frame);
    }
    if (this.#sink.done) {
      this.#account(-this.#earlyBytes);
      this.#early.clear();
    }
    if (this.#early.size === 0) return;
    // Every number is passed once: what is missing here is never looked at again.
    if (this.#firstEarly < this.#next) this.#firstEarly = this.#next;
    while (!this.#early.has(this.#firstEarly) && this.#firstEarly < this.#lastEarly) this.#firstEarly++;
  }

  #account(bytes: number): void {
    this.#earlyBytes += bytes;
    this.#budget.bytes += bytes;
  }
}
