// Sequence arithmetic: the only place where 32-bit sequence and acknowledgement numbers are compared.
//
// A raw number is unwrapped against a reference: a stream offset (exact to 2^53) whose raw number is known. The nearest
// of all candidates wins, so the result is exact within ±2 GiB of the reference, whichever side of 2^32 they lie on.

/**
 * How far raw number `b` lies after `a`.
 *
 * @returns signed distance in bytes, −2^31 … 2^31−1; positive when `b` is newer.
 * Source: RFC 9293 §3.4.
 */
export const seqDistance = (a: number, b: number): number => (b - a) | 0;

/** The stream offset of raw number `raw`, given that `referenceRaw` stands at `referenceOffset`. */
export const unwrap = (raw: number, referenceRaw: number, referenceOffset: number): number =>
  referenceOffset + ((raw - referenceRaw) | 0);

/** The raw number `bytes` after `raw`. `bytes` may be negative and of any size. */
export const advance = (raw: number, bytes: number): number => (raw + (bytes % 0x1_0000_0000)) >>> 0;

/**
 * Farthest that data can lie from what is acknowledged: the largest window there is.
 *
 * Source: RFC 7323 §2.3 (shift of at most 14).
 */
export const WINDOW_MAX_BYTES = 2 ** 30;
