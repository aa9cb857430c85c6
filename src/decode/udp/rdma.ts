// What an RDMA migration moves beside its byte stream: pages written straight into the destination's memory.
//
// The counterpart of StreamConsumer for page data: the transport says what was written where, in the order the packets
// were sent, each write once.

/** One RAM block of the destination, in the order in which the stream's block list names them. */
export interface RdmaBlock {
  /** Address of its first byte in the destination process. */
  readonly hostAddress: number;
  readonly lengthBytes: number;
}

/** Receives the writes of one migration. `direction` is the id of the byte stream they belong to. */
export interface RdmaConsumer {
  /** The destination's blocks; before any write. */
  blocks(direction: number, blocks: readonly RdmaBlock[], tNs: number, frame: number): void;
  /** `length` bytes from byte `offset` of block number `block` were written, beginning at `tNs`. */
  written(direction: number, block: number, offset: number, length: number, tNs: number, frame: number): void;
  /** The same, by a message that says the bytes are zero instead of a write. */
  zero(direction: number, block: number, offset: number, length: number, tNs: number, frame: number): void;
  /** One iteration of the source over its dirty pages is complete. */
  iterationEnd(direction: number, tNs: number, frame: number): void;
}
