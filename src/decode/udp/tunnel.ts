// Encapsulations: says where the inner packet begins and what it is.
//
// Every function looks at the header at `walk.at` first and moves only when it is certain: a datagram on a tunnel port
// that does not look like that tunnel stays what it is. Peeling is bounded in depth and in bytes of headers.
import { TUNNEL_BYTES, TUNNEL_DEPTH } from '../../limits.js';
import { looksLikeEthernet } from '../link.js';
import type { SegmentRows } from '../rows.js';
import {
  ETHERTYPE_ETHERNET,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MPLS,
  ETHERTYPE_MPLS_UPSTREAM,
  type FrameWalk,
  STOP_NONE,
  STOP_SEGMENT,
  TUNNEL_4IN6,
  TUNNEL_6IN4,
  TUNNEL_6IN6,
  TUNNEL_ERSPAN,
  TUNNEL_GENEVE,
  TUNNEL_GRE,
  TUNNEL_GRE_KEY,
  TUNNEL_IPIP,
  TUNNEL_MPLS,
  TUNNEL_NVGRE,
  TUNNEL_STT,
  TUNNEL_VXLAN,
  TUNNEL_VXLAN_GPE,
} from '../walk.js';

const PORT_GRE = 4754;
const PORT_VXLAN = 4789;
const PORT_VXLAN_GPE = 4790;
const PORT_GENEVE = 6081;
const PORT_MPLS = 6635;
const PORT_VXLAN_LINUX = 8472;
/** TCP port of STT. */
export const PORT_STT = 7471;

const ETHERTYPE_ERSPAN_2 = 0x88be;
const ETHERTYPE_ERSPAN_3 = 0x22eb;

const GRE_CHECKSUM = 0x8000;
const GRE_ROUTING = 0x4000;
const GRE_KEY = 0x2000;
const GRE_SEQUENCE = 0x1000;
/** Smaller virtual subnet ids are reserved (RFC 7637 §3.2), so such a key is not NVGRE's. */
const FIRST_VSID = 0x1000;

const BOTTOM_OF_STACK = 0x100;
const TCP_HEADER_BYTES = 20;
const STT_HEADER_BYTES = 18;

/** Whether the bounds allow to peel one more header. Notes when they do not. */
function mayPeel(walk: FrameWalk): boolean {
  if (walk.depth < TUNNEL_DEPTH && walk.at - walk.start < TUNNEL_BYTES) return true;
  walk.log?.note('decode/tunnel-depth', { frame: walk.frame });
  return false;
}

/**
 * Peels a tunnel over UDP; `walk.at` is at the UDP payload.
 *
 * @returns  the EtherType of the inner packet with the walk moved to it, or STOP_NONE with the walk untouched
 */
export function tunnelInUdp(walk: FrameWalk, rows: SegmentRows, destinationPort: number): number {
  switch (destinationPort) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
      return mayPeel(walk) ? vxlan(walk, rows) : STOP_NONE;
    case PORT_VXLAN_GPE:
      return mayPeel(walk) ? vxlanGpe(walk, rows) : STOP_NONE;
    case PORT_GENEVE:
      return mayPeel(walk) ? geneve(walk, rows) : STOP_NONE;
    case PORT_GRE:
      return mayPeel(walk) ? gre(walk, rows) : STOP_NONE;
    case PORT_MPLS:
      return mayPeel(walk) ? mpls(walk, rows) : STOP_NONE;
    default:
      return STOP_NONE;
  }
}

/** Peels GRE (IP protocol 47). Returns as tunnelInUdp(). */
export function tunnelGre(walk: FrameWalk, rows: SegmentRows): number {
  return mayPeel(walk) ? gre(walk, rows) : STOP_NONE;
}

/** Peels an MPLS label stack (EtherType or IP protocol 137). Returns as tunnelInUdp(). */
export function tunnelMpls(walk: FrameWalk, rows: SegmentRows): number {
  return mayPeel(walk) ? mpls(walk, rows) : STOP_NONE;
}

/** Enters IP inside IP (protocols 4 and 41). Returns as tunnelInUdp(). */
export function tunnelIp(walk: FrameWalk, rows: SegmentRows, outerVersion: number, innerVersion: 4 | 6): number {
  if (!ipFollows(walk, walk.at, innerVersion) || !mayPeel(walk)) return STOP_NONE;
  const from4 = outerVersion === 4;
  if (innerVersion === 4) walk.enter(rows, from4 ? TUNNEL_IPIP : TUNNEL_4IN6, 0);
  else walk.enter(rows, from4 ? TUNNEL_6IN4 : TUNNEL_6IN6, 0);
  return innerVersion === 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
}

/**
 * Peels the first segment of an STT frame; `walk.at` is at its TCP-like header.
 *
 * Later segments have no header but that one: in a capture that holds STT they are told by the place in their frame that
 * they claim, and noted. They are not joined, so inner packets larger than a segment are read as far as their first.
 *
 * @returns  as tunnelInUdp(), and STOP_SEGMENT for a later segment
 * Source: draft-davie-stt-08 §3: the sequence number holds frame length and fragment offset, then 18 bytes follow.
 */
export function tunnelStt(walk: FrameWalk, rows: SegmentRows): number {
  const { at, bytes, view } = walk;
  const stt = at + TCP_HEADER_BYTES;
  if (bytes[at + 12]! >>> 4 !== 5) return STOP_NONE;
  const frameBytes = view.getUint16(at + 4);
  const offset = view.getUint16(at + 6);
  const segmentBytes = walk.wireEnd - stt;
  if (offset !== 0) {
    if (offset + segmentBytes > frameBytes || segmentBytes === 0 || !walk.metStt(rows)) return STOP_NONE;
    walk.log?.note('decode/stt-segment', { frame: walk.frame });
    return STOP_SEGMENT;
  }
  if (stt + STT_HEADER_BYTES > walk.end || frameBytes < segmentBytes) return STOP_NONE;
  // Version 0, reserved byte 0, two bytes of padding before the inner frame.
  if (bytes[stt] !== 0 || bytes[stt + 3] !== 0 || view.getUint16(stt + 16) !== 0) return STOP_NONE;
  if (!looksLikeEthernet(walk, stt + STT_HEADER_BYTES) || !mayPeel(walk)) return STOP_NONE;
  walk.enter(rows, TUNNEL_STT, view.getUint32(stt + 12));
  walk.at = stt + STT_HEADER_BYTES;
  return ETHERTYPE_ETHERNET;
}

// RFC 7348 §5. The group policy extension uses bits beside I, so only I is asked for; byte 7 is reserved in both.
function vxlan(walk: FrameWalk, rows: SegmentRows): number {
  const { at, bytes } = walk;
  if (at + 8 > walk.end || (bytes[at]! & 0x08) === 0 || bytes[at + 7] !== 0) return STOP_NONE;
  if (!looksLikeEthernet(walk, at + 8)) return STOP_NONE;
  walk.enter(rows, TUNNEL_VXLAN, u24(bytes, at + 4));
  walk.at = at + 8;
  return ETHERTYPE_ETHERNET;
}

// draft-ietf-nvo3-vxlan-gpe-12 §3: P says that byte 3 names the next protocol.
function vxlanGpe(walk: FrameWalk, rows: SegmentRows): number {
  const { at, bytes } = walk;
  if (at + 8 > walk.end || (bytes[at]! & 0x08) === 0 || bytes[at + 7] !== 0) return STOP_NONE;
  const protocol = (bytes[at]! & 0x04) !== 0 ? bytes[at + 3]! : 3;
  let type: number;
  if (protocol === 1 && ipFollows(walk, at + 8, 4)) type = ETHERTYPE_IPV4;
  else if (protocol === 2 && ipFollows(walk, at + 8, 6)) type = ETHERTYPE_IPV6;
  else if (protocol === 3 && looksLikeEthernet(walk, at + 8)) type = ETHERTYPE_ETHERNET;
  else return STOP_NONE;
  walk.enter(rows, TUNNEL_VXLAN_GPE, u24(bytes, at + 4));
  walk.at = at + 8;
  return type;
}

// RFC 8926 §3.4: version 0, options of 4-byte words, 6 reserved bits, protocol, VNI, reserved byte.
function geneve(walk: FrameWalk, rows: SegmentRows): number {
  const { at, bytes } = walk;
  if (at + 8 > walk.end || bytes[at]! >>> 6 !== 0 || (bytes[at + 1]! & 0x3f) !== 0 || bytes[at + 7] !== 0) {
    return STOP_NONE;
  }
  const inner = at + 8 + ((bytes[at]! & 0x3f) << 2);
  const type = innerType(walk, inner, walk.view.getUint16(at + 2));
  if (type === STOP_NONE) return STOP_NONE;
  walk.enter(rows, TUNNEL_GENEVE, u24(bytes, at + 4));
  walk.at = inner;
  return type;
}

// RFC 2784, RFC 2890 (key, sequence), RFC 7637 (NVGRE), RFC 8086 (in UDP), draft-foschiano-erspan-03.
function gre(walk: FrameWalk, rows: SegmentRows): number {
  const { at, view } = walk;
  if (at + 4 > walk.end) return STOP_NONE;
  const flags = view.getUint16(at);
  if ((flags & (GRE_ROUTING | 0x0fff)) !== 0) return STOP_NONE; // source routes, or version 1 (PPTP)
  const protocol = view.getUint16(at + 2);
  let next = at + 4;
  if (flags & GRE_CHECKSUM) next += 4;
  const keyAt = next;
  if (flags & GRE_KEY) next += 4;
  if (flags & GRE_SEQUENCE) next += 4;
  if (next > walk.end) return STOP_NONE;

  if (protocol === ETHERTYPE_ERSPAN_2 || protocol === ETHERTYPE_ERSPAN_3) {
    return erspan(walk, rows, next, protocol, flags);
  }
  const type = innerType(walk, next, protocol);
  if (type === STOP_NONE) return STOP_NONE;
  const key = flags & GRE_KEY ? view.getUint32(keyAt) : 0;
  if ((flags & GRE_KEY) === 0) walk.enter(rows, TUNNEL_GRE, 0);
  else if (protocol === ETHERTYPE_ETHERNET && key >>> 8 >= FIRST_VSID) walk.enter(rows, TUNNEL_NVGRE, key >>> 8);
  else walk.enter(rows, TUNNEL_GRE_KEY, key);
  walk.at = next;
  return type;
}

// A mirror port. Type I has no header of its own, type II 8 bytes, type III 12 and with its O bit 8 more.
function erspan(walk: FrameWalk, rows: SegmentRows, at: number, protocol: number, greFlags: number): number {
  const { view } = walk;
  let inner = at;
  let session = 0;
  if (protocol === ETHERTYPE_ERSPAN_3) {
    if (at + 12 > walk.end) return STOP_NONE;
    session = view.getUint16(at + 2) & 0x3ff;
    inner = at + ((view.getUint16(at + 10) & 1) !== 0 ? 20 : 12);
  } else if (greFlags & GRE_SEQUENCE) {
    if (at + 8 > walk.end) return STOP_NONE;
    session = view.getUint16(at + 2) & 0x3ff;
    inner = at + 8;
  }
  if (!looksLikeEthernet(walk, inner)) return STOP_NONE;
  walk.enter(rows, TUNNEL_ERSPAN, session);
  walk.at = inner;
  return ETHERTYPE_ETHERNET;
}

// RFC 3032 §2.1. Labels are local to one hop and one direction, so they take no part in the path: with them the two
// directions of a connection would not meet. What follows is guessed by its first nibble (RFC 4928 §3), where 0 is the
// control word of a pseudo-wire (RFC 4385 §3).
function mpls(walk: FrameWalk, rows: SegmentRows): number {
  const { bytes, view } = walk;
  let next = walk.at;
  let entry: number;
  do {
    if (next + 4 > walk.end || next - walk.start >= TUNNEL_BYTES) return STOP_NONE;
    entry = view.getUint32(next);
    next += 4;
  } while ((entry & BOTTOM_OF_STACK) === 0);
  let type: number;
  if (ipFollows(walk, next, 4)) {
    type = ETHERTYPE_IPV4;
  } else if (ipFollows(walk, next, 6)) {
    type = ETHERTYPE_IPV6;
  } else {
    if (next < walk.end && bytes[next]! >>> 4 === 0) next += 4;
    if (!looksLikeEthernet(walk, next)) return STOP_NONE;
    type = ETHERTYPE_ETHERNET;
  }
  walk.enter(rows, TUNNEL_MPLS, 0);
  walk.at = next;
  return type;
}

/** `type` if the bytes at `at` bear it out, else STOP_NONE. */
function innerType(walk: FrameWalk, at: number, type: number): number {
  switch (type) {
    case ETHERTYPE_ETHERNET:
      return looksLikeEthernet(walk, at) ? type : STOP_NONE;
    case ETHERTYPE_IPV4:
      return ipFollows(walk, at, 4) ? type : STOP_NONE;
    case ETHERTYPE_IPV6:
      return ipFollows(walk, at, 6) ? type : STOP_NONE;
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_UPSTREAM:
      return at + 4 <= walk.end ? type : STOP_NONE;
    default:
      return STOP_NONE;
  }
}

function ipFollows(walk: FrameWalk, at: number, version: number): boolean {
  return at + 20 <= walk.end && walk.bytes[at]! >>> 4 === version;
}

function u24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}
