// Congestion notification: what one side says about marks on the frames of the other.
//
// Classic (RFC 3168): ECE is repeated until the other side answers with CWR; the flags tell that there were marks, not how many.
// Accurate (RFC 9768): the three flags of every acknowledgement are a counter of marked packets, modulo 8. Which of the two
// holds is told by the SYNs; without them it is taken to be the classic one.
import { FLAG_ACK, FLAG_AE, FLAG_CWR, FLAG_ECE, FLAG_SYN } from '../../rows.js';

export const ECN_FLAGS = FLAG_AE | FLAG_CWR | FLAG_ECE;
/** The three flags as a number: ECE is its lowest bit. */
const numberOf = (flags: number): number => (flags & ECN_FLAGS) >> 6;
const OFFER = 0b111;
/** In a SYN-ACK that agrees they name the mark that the SYN came with. Source: RFC 9768 table 2. */
const AGREED = [0b010, 0b011, 0b100, 0b110];
/** The counter starts here, and goes around after this many. Source: RFC 9768 §3.2.1. */
const COUNTER_START = 5;
const COUNTER_MASK = 0b111;

/** What one side of a connection has said. */
export class EcnFeedback {
  /** Classic: frames with ECE. Accurate: marked packets that this side reports. */
  echoes = 0;
  /** Classic only: frames that say the window was reduced. */
  reductions = 0;
  /** The flags of this side are a counter. */
  accurate = false;
  #offered = false;
  /** The next frame of this side completes the handshake: it names the mark of the SYN-ACK, in the same way. */
  #isAnswer = false;
  #counter = COUNTER_START;
  #acked = Number.NEGATIVE_INFINITY;

  /** Takes the flags of a frame of this side that acknowledges up to `acked`; `peer` is the other side. */
  take(flags: number, acked: number, peer: EcnFeedback): void {
    if (flags & FLAG_SYN) this.#agree(flags, peer);
    else if (this.accurate) this.#count(flags, acked);
    else {
      if (flags & FLAG_ECE) this.echoes++;
      if (flags & FLAG_CWR) this.reductions++;
    }
  }

  #agree(flags: number, peer: EcnFeedback): void {
    if ((flags & FLAG_ACK) === 0) {
      this.#offered = numberOf(flags) === OFFER;
      return;
    }
    if (!peer.#offered || !AGREED.includes(numberOf(flags))) return;
    this.accurate = peer.accurate = true;
    peer.#isAnswer = true;
  }

  #count(flags: number, acked: number): void {
    if (this.#isAnswer) {
      this.#isAnswer = false;
      return;
    }
    // One that is older than what is known would count backwards.
    if (acked < this.#acked) return;
    this.#acked = acked;
    const counter = numberOf(flags);
    this.echoes += (counter - this.#counter) & COUNTER_MASK;
    this.#counter = counter;
  }
}
