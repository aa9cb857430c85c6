// QUIC long headers: what every version shows (RFC 8999), and the packet types of those that are known.
//
// Source: RFC 8999 §5.1; RFC 9000 §17.2; RFC 9369 §3.2.

const LONG_HEADER = 0x80;
const FIXED_BIT = 0x40;
const VERSION_1 = 0x0000_0001;
const VERSION_2 = 0x6b33_43cf;
/** Drafts with the final header and parameters, ff00001b (27) to ff000022 (34): recordings of them are still around. */
const FIRST_DRAFT = 0xff00_001b;
const LAST_DRAFT = 0xff00_0022;
const CONNECTION_ID_MAX_BYTES = 20;
/** Flags, version, two lengths. */
const INVARIANT_BYTES = 7;

export const INITIAL = 0;
export const ZERO_RTT = 1;
export const HANDSHAKE = 2;
export const RETRY = 3;

/** Where the connection ids of a long header lie. */
export interface LongHeader {
  readonly version: number;
  readonly destinationBytes: number;
  readonly sourceBytes: number;
  /** One past the source connection id; the destination id begins 6 bytes behind the header's first. */
  readonly next: number;
}

/** '1', '2', 'draft-29' …; null for a version that is not known. */
export function versionName(version: number): string | null {
  if (version === VERSION_1) return '1';
  if (version === VERSION_2) return '2';
  return version >= FIRST_DRAFT && version <= LAST_DRAFT ? `draft-${version & 0xff}` : null;
}

/** Number of a draft; 0 for published versions. */
export const draftOf = (version: number): number => (version >= FIRST_DRAFT ? version & 0xff : 0);

export const isVersion2 = (version: number): boolean => version === VERSION_2;

/** The first byte's form bit: long headers are those of the handshake. */
export const isLong = (first: number): boolean => (first & LONG_HEADER) !== 0;

/** Whether the bit is set that tells QUIC from other protocols on the same port. */
export const isFixed = (first: number): boolean => (first & FIXED_BIT) !== 0;

/** The long header in `[at, end)`; null where it does not fit. */
export function longHeader(bytes: Uint8Array, view: DataView, at: number, end: number): LongHeader | null {
  if (at + INVARIANT_BYTES > end) return null;
  const destinationBytes = bytes[at + 5]!;
  const sourceAt = at + 6 + destinationBytes;
  if (destinationBytes > CONNECTION_ID_MAX_BYTES || sourceAt >= end) return null;
  const sourceBytes = bytes[sourceAt]!;
  const next = sourceAt + 1 + sourceBytes;
  if (sourceBytes > CONNECTION_ID_MAX_BYTES || next > end) return null;
  return { version: view.getUint32(at + 1), destinationBytes, sourceBytes, next };
}

/** INITIAL, ZERO_RTT …: version 2 numbers the types one higher, Retry first. */
export const packetType = (first: number, version: number): number =>
  (((first >>> 4) & 3) + (isVersion2(version) ? 3 : 0)) & 3;
