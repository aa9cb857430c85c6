// OpaqueTransfers: bulk transfers inside an encrypted tunnel, by sizes and times alone.
//
// A transfer is one side sending large packets with no pause of seconds. What little more can be seen is kept for whoever
// judges what it may be: where it paused, whether the receiver ever said more than an acknowledgement, and whether a few
// messages of a size in between came before the bulk.
import { OPAQUE_BURSTS, OPAQUE_TRANSFERS } from '../../limits.js';
import type { Flow } from './flow.js';

/** A pause of the large packets this long ends a transfer. */
const IDLE_NS = 2e9;
/** A pause this long ends a burst; QEMU's bitmap synchronisation and its rate limit are silent for longer. */
const PAUSE_NS = 5e6;
/** Less is no bulk transfer. */
const BULK_BYTES = 4e6;
/** More than this share of it the other way is a conversation. */
const REPLY_SHARE = 0.1;
/** Bursts kept while a flow has no timeline: of timelines there are only so many, of flows there may be very many. */
const EARLY_BURSTS = 32;
/** At least this size, and half the largest seen: a packet filled by bulk data. */
const LARGE_BYTES = 512;
/** Bytes of one side until which messages still open the transfer. */
const OPENING_BYTES = 65_536;
/** An acknowledgement grows by as much with selective blocks (RFC 2018 §3: three beside timestamps), a cipher's padding,
    or a message of a few bytes. */
const ACKNOWLEDGEMENT_SPREAD_BYTES = 48;

export interface OpaqueBurst {
  readonly startNs: number;
  readonly endNs: number;
  /** Tunnel payload. */
  readonly bytes: number;
}

/** One bulk transfer; sizes are those of the tunnel's payload. */
export interface OpaqueTransfer {
  /** Side that sent the bulk. */
  readonly side: 0 | 1;
  readonly startNs: number;
  /** Last large packet, and last packet of the receiver. */
  readonly endNs: number;
  readonly lastReplyNs: number | null;
  readonly bytes: number;
  readonly replyBytes: number;
  /** The receiver sent nothing larger than acknowledgements with options, or messages of a few bytes. */
  readonly receiverQuiet: boolean;
  /** Larger packets of the receiver after it had sent acknowledgements, and bulk bytes before the first of them. */
  readonly receiverMessages: number;
  readonly bytesBeforeMessages: number | null;
  /** Messages of the sender before the bulk: larger than an acknowledgement, smaller than a full packet. */
  readonly openingMessages: number;
  /** Large packets with pauses under 5 ms between them; the first OPAQUE_BURSTS. */
  readonly bursts: readonly OpaqueBurst[];
  /** Bursts beyond those. */
  readonly furtherBursts: number;
}

/** What one side of the transfer at hand has sent. */
class Side {
  bytes = 0;
  smallest = Number.POSITIVE_INFINITY;
  largest = 0;
  lastNs = Number.NaN;
  lastLargeNs = Number.NaN;
  openingMessages = 0;
  readonly bursts: { startNs: number; endNs: number; bytes: number }[] = [];
  furtherBursts = 0;
  messages = 0;
  /** What the other side had sent before the first message. */
  bytesBeforeMessages = Number.NaN;

  /** Returns whether the packet is a large one. */
  take(tNs: number, bytes: number, other: Side, mostBursts: number): boolean {
    if (bytes > this.smallest + ACKNOWLEDGEMENT_SPREAD_BYTES && this.messages++ === 0)
      this.bytesBeforeMessages = other.bytes;
    this.bytes += bytes;
    this.lastNs = tNs;
    if (bytes < this.smallest) this.smallest = bytes;
    if (bytes > this.largest) this.largest = bytes;
    const large = bytes >= LARGE_BYTES && bytes >= this.largest / 2;
    if (!large) {
      if (this.bytes < OPENING_BYTES && bytes > this.smallest + ACKNOWLEDGEMENT_SPREAD_BYTES / 2)
        this.openingMessages++;
      return false;
    }
    const burst = this.bursts[this.bursts.length - 1];
    if (burst && this.furtherBursts === 0 && tNs - burst.endNs < PAUSE_NS) {
      burst.endNs = tNs;
      burst.bytes += bytes;
    } else if (this.bursts.length < mostBursts && this.furtherBursts === 0)
      this.bursts.push({ startNs: tNs, endNs: tNs, bytes });
    else if (tNs - this.lastLargeNs >= PAUSE_NS) this.furtherBursts++;
    this.lastLargeNs = tNs;
    return true;
  }
}

export class OpaqueTransfers {
  readonly #flow: Flow;
  readonly #finished: OpaqueTransfer[] = [];
  #sides: readonly [Side, Side] = [new Side(), new Side()];
  #startNs = Number.NaN;
  #lastNs = Number.NaN;
  #lastLargeNs = Number.NaN;

  constructor(flow: Flow) {
    this.#flow = flow;
  }

  /** A data packet of `side`, at the time of the flow's row at hand. */
  take(side: 0 | 1, bytes: number): void {
    const { tNs, timeline } = this.#flow;
    // Before the bulk begins, whatever was said a while ago does not belong to it.
    const since = Number.isNaN(this.#lastLargeNs) ? this.#lastNs : this.#lastLargeNs;
    if (!(tNs - since < IDLE_NS)) {
      this.#end();
      this.#startNs = tNs;
    }
    this.#lastNs = tNs;
    const most = timeline ? OPAQUE_BURSTS : EARLY_BURSTS;
    if (this.#sides[side]!.take(tNs, bytes, this.#sides[1 - side]!, most)) this.#lastLargeNs = tNs;
  }

  /** The transfers so far, the one at hand included; call when nothing more comes. */
  finish(): readonly OpaqueTransfer[] {
    this.#end();
    return this.#finished;
  }

  #end(): void {
    const [client, server] = this.#sides;
    const side = client.bytes >= server.bytes ? 0 : 1;
    const sender = this.#sides[side]!;
    const receiver = this.#sides[1 - side]!;
    const bulk = sender.bytes >= BULK_BYTES && receiver.bytes <= REPLY_SHARE * sender.bytes;
    if (bulk && this.#finished.length < OPAQUE_TRANSFERS) {
      this.#finished.push({
        side,
        startNs: this.#startNs,
        endNs: sender.lastLargeNs,
        lastReplyNs: Number.isNaN(receiver.lastNs) ? null : receiver.lastNs,
        bytes: sender.bytes,
        replyBytes: receiver.bytes,
        receiverQuiet: receiver.largest <= receiver.smallest + ACKNOWLEDGEMENT_SPREAD_BYTES,
        receiverMessages: receiver.messages,
        bytesBeforeMessages: receiver.messages > 0 ? receiver.bytesBeforeMessages : null,
        openingMessages: sender.openingMessages,
        bursts: sender.bursts,
        furtherBursts: sender.furtherBursts,
      });
    }
    if (sender.bytes + receiver.bytes === 0) return;
    this.#sides = [new Side(), new Side()];
    this.#lastLargeNs = Number.NaN;
  }
}
