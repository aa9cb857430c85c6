// How ordered bytes travel from a transport (TCP reassembly, reliable UDP) to whoever decodes them.
//
// A transport delivers each stream byte once, in order: as views into memory that is valid during the call only, or as
// holes. Transports know nothing of what they carry; decoders know nothing of segments.

/** Why stream bytes are absent: the peer acknowledged them unseen, the snap length cut them, or a limit or the end came. */
export type HoleCause = 'unseen' | 'cut' | 'given-up';

/** Why a stream ended. */
export type StreamEnd = 'fin' | 'rst' | 'capture-end' | 'idle';

/** Receives one direction's bytes. Calls come in stream order; offsets are bytes since the direction's first data byte. */
export interface StreamConsumer {
  /**
   * `buffer[start, end)` are the bytes from `offset` on, first seen at `tNs` in `frame`. Returns false when nothing more
   * is wanted: the transport may forget the stream and need not call `end`.
   */
  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): boolean;
  /** `length` bytes from `offset` on are known to exist and will never come; noticed at `tNs` in `frame`. */
  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void;
  /** Nothing more comes; `offset` is the stream's length as far as known. */
  end(offset: number, cause: StreamEnd, tNs: number, frame: number): void;
}

/**
 * Asks who wants a direction, given its first bytes.
 *
 * @param direction  direction id; reliable-UDP streams count from UDP_STREAM_BASE on
 * @param buffer     `buffer[start, end)` are the first bytes there are, valid during the call only
 * @param fromStart  true when they are the first bytes of the stream, false when the capture began later
 * @returns          the consumer, null when nobody wants it (the transport forgets it), undefined when more bytes are
 *                   needed to say (asked again with more, at most PROBE_BYTES)
 */
export type ClaimStream = (
  direction: number,
  buffer: Uint8Array,
  start: number,
  end: number,
  fromStart: boolean,
  tNs: number,
  frame: number,
) => StreamConsumer | null | undefined;

/** First direction id of streams carried by reliable UDP transports. */
export const UDP_STREAM_BASE = 0x4000_0000;
/** Bytes kept of an undecided stream. */
export const PROBE_BYTES = 4096;
