// OpaqueSizes: what the sizes alone say about an encrypted tunnel.
import type { Facts } from './flow.js';

/** Ciphers pad to at most this much: sizes that differ less are the same. */
const PADDING_BYTES = 16;

export class OpaqueSizes {
  #datagrams = 0;
  #largest = 0;
  /** Datagrams of about that size. */
  #fullSized = 0;

  take(payloadBytes: number): void {
    this.#datagrams++;
    if (payloadBytes > this.#largest) {
      if (payloadBytes > this.#largest + PADDING_BYTES) this.#fullSized = 0;
      this.#largest = payloadBytes;
    }
    if (payloadBytes + PADDING_BYTES >= this.#largest) this.#fullSized++;
  }

  /**
   * The largest data packet, and the share of data packets within 16 bytes of it: near 1 in bulk transfers. Loss inside
   * is not seen from outside; that of the tunnel is the most it can be.
   */
  facts(): Facts {
    return {
      dataPackets: this.#datagrams,
      largestPayloadBytes: this.#datagrams > 0 ? this.#largest : null,
      fullSizedShare: this.#datagrams > 0 ? this.#fullSized / this.#datagrams : null,
      innerLossObservable: false,
    };
  }
}
