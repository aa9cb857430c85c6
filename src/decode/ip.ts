// Network layer: IPv4, IPv6 and their extension headers. Fragments are marked, not joined.
//
// The IP length is authoritative (Ethernet pads short frames) except where segmentation offload left it zero: then the
// frame's length on the wire counts.
import type { SegmentRows } from './rows.js';
import { type FrameWalk, STOP_FRAGMENT, STOP_MALFORMED } from './walk.js';

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IPV4 = 4;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_IPV6 = 41;
export const PROTOCOL_GRE = 47;
export const PROTOCOL_ESP = 50;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_MPLS = 137;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const NO_NEXT_HEADER = 59;
const DESTINATION_OPTIONS = 60;
const MOBILITY = 135;
const HOST_IDENTITY = 139;
const SHIM6 = 140;

/** Extension headers followed in one packet; more than any sender has reason to use. */
const EXTENSION_HEADERS = 16;
/** Hop-by-hop option with a 32-bit payload length (RFC 2675 §2). */
const OPTION_JUMBO = 0xc2;

/** Bits of `rows.fragmented`. */
export const FRAGMENTED_INNERMOST = 1;
export const FRAGMENTED_OUTER = 2;

/**
 * Reads the IPv4 header at `walk.at` into `rows` and narrows the walk to its length.
 *
 * @returns  the protocol of what follows, or a STOP_… code
 * Source: RFC 791 §3.1.
 */
export function ipv4(walk: FrameWalk, rows: SegmentRows, row: number): number {
  const { at, bytes, view } = walk;
  if (at + 20 > walk.end) return walk.missing(at + 20);
  const headerBytes = (bytes[at]! & 15) << 2;
  if (bytes[at]! >>> 4 !== 4 || headerBytes < 20) return STOP_MALFORMED;
  const totalBytes = view.getUint16(at + 2);
  if (totalBytes !== 0) {
    if (totalBytes < headerBytes) return STOP_MALFORMED;
    walk.wireEnd = at + totalBytes;
    if (walk.end > walk.wireEnd) walk.end = walk.wireEnd;
  }
  const next = at + headerBytes;
  if (next > walk.end) return walk.missing(next);
  walk.at = next;

  rows.ipVersion[row] = 4;
  rows.addresses[row] = at + 12;
  rows.ttl[row] = bytes[at + 8]!;
  rows.ecn[row] = bytes[at + 1]! & 3;
  rows.ipId[row] = view.getUint16(at + 4);
  markIpBytes(walk, rows, row, at);
  const protocol = bytes[at + 9]!;
  const fragment = view.getUint16(at + 6) & 0x3fff; // more-fragments bit and offset
  if (fragment !== 0) {
    rows.protocol[row] = protocol;
    if ((fragment & 0x1fff) !== 0) return STOP_FRAGMENT;
    rows.fragmented[row] = rows.fragmented[row]! | FRAGMENTED_INNERMOST;
  }
  // The authentication header is the one extension header that IPv4 uses.
  return protocol === AUTHENTICATION ? extensions(walk, rows, row, protocol) : protocol;
}

/**
 * Reads the IPv6 header and its extension headers at `walk.at` into `rows` and narrows the walk to its length.
 *
 * @returns  the protocol of what follows, or a STOP_… code
 * Source: RFC 8200 §3, §4.
 */
export function ipv6(walk: FrameWalk, rows: SegmentRows, row: number): number {
  const { at, bytes, view } = walk;
  if (at + 40 > walk.end) return walk.missing(at + 40);
  if (bytes[at]! >>> 4 !== 6) return STOP_MALFORMED;
  const payloadBytes = view.getUint16(at + 4);
  const next = bytes[at + 6]!;
  walk.at = at + 40;
  if (payloadBytes !== 0 || next === NO_NEXT_HEADER) {
    walk.wireEnd = at + 40 + payloadBytes;
  } else if (next === HOP_BY_HOP) {
    const jumboBytes = jumboLength(walk);
    if (jumboBytes > 0 && at + 40 + jumboBytes < walk.wireEnd) walk.wireEnd = at + 40 + jumboBytes;
  }
  if (walk.end > walk.wireEnd) walk.end = walk.wireEnd;

  rows.ipVersion[row] = 6;
  rows.addresses[row] = at + 8;
  rows.ttl[row] = bytes[at + 7]!;
  rows.ecn[row] = (bytes[at + 1]! >>> 4) & 3;
  rows.ipId[row] = 0;
  markIpBytes(walk, rows, row, at);
  return next === 6 || next === 17 ? next : extensions(walk, rows, row, next);
}

/** The length of the packet that starts at `at`; the first one of a frame is the outermost. */
function markIpBytes(walk: FrameWalk, rows: SegmentRows, row: number, at: number): void {
  const ipBytes = walk.wireEnd - at;
  rows.ipBytes[row] = ipBytes;
  if (rows.outerIpBytes[row] === 0) rows.outerIpBytes[row] = ipBytes;
}

/** Follows extension headers from the one of type `protocol` on. */
function extensions(walk: FrameWalk, rows: SegmentRows, row: number, protocol: number): number {
  const { bytes, view } = walk;
  for (let count = 0; count < EXTENSION_HEADERS; count++) {
    const at = walk.at;
    let next: number;
    switch (protocol) {
      case HOP_BY_HOP:
      case ROUTING:
      case DESTINATION_OPTIONS:
      case MOBILITY:
      case HOST_IDENTITY:
      case SHIM6:
        if (at + 8 > walk.end) return walk.missing(at + 8);
        next = at + (bytes[at + 1]! + 1) * 8;
        break;
      case AUTHENTICATION:
        if (at + 8 > walk.end) return walk.missing(at + 8);
        next = at + (bytes[at + 1]! + 2) * 4;
        break;
      case FRAGMENT: {
        next = at + 8;
        if (next > walk.end) return walk.missing(next);
        const fragment = view.getUint16(at + 2);
        // Offset 0 without more fragments is an atomic fragment: whole (RFC 6946).
        if ((fragment & 0xfff9) !== 0) {
          rows.protocol[row] = bytes[at]!;
          if ((fragment & 0xfff8) !== 0) {
            walk.at = next;
            return STOP_FRAGMENT;
          }
          rows.fragmented[row] = rows.fragmented[row]! | FRAGMENTED_INNERMOST;
        }
        break;
      }
      default:
        return protocol;
    }
    if (next > walk.end) return walk.missing(next);
    protocol = bytes[at]!;
    walk.at = next;
  }
  return protocol;
}

/** The jumbo payload length in the hop-by-hop header at `walk.at`, 0 where there is none. Source: RFC 2675 §2. */
function jumboLength(walk: FrameWalk): number {
  const { at, bytes } = walk;
  if (at + 8 > walk.end) return 0;
  const end = Math.min(walk.end, at + (bytes[at + 1]! + 1) * 8);
  for (let option = at + 2; option < end; ) {
    if (bytes[option] === 0) {
      option++; // Pad1
    } else {
      if (option + 2 > end) return 0;
      if (bytes[option] === OPTION_JUMBO && option + 6 <= end) return walk.view.getUint32(option + 2);
      option += 2 + bytes[option + 1]!;
    }
  }
  return 0;
}
