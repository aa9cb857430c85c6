// Link layer: from the first byte of a frame to the EtherType of what it carries.
//
// VLAN tags of any depth and PPPoE sessions belong to the link layer here: they are skipped and not remembered.
import {
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_PPPOE_SESSION,
  ETHERTYPE_QINQ,
  ETHERTYPE_QINQ_OLD,
  ETHERTYPE_VLAN,
  type FrameWalk,
  STOP_MALFORMED,
  STOP_NONE,
  STOP_UNKNOWN_LINK,
} from './walk.js';

// Numbers from the LINKTYPE_ registry of the pcap file format.
const LINKTYPE_NULL = 0;
export const LINKTYPE_ETHERNET = 1;
const LINKTYPE_RAW_BSD = 12;
const LINKTYPE_RAW_OPENBSD = 14;
const LINKTYPE_RAW = 101;
const LINKTYPE_LOOP = 108;
const LINKTYPE_LINUX_SLL = 113;
const LINKTYPE_IPV4 = 228;
const LINKTYPE_IPV6 = 229;
const LINKTYPE_LINUX_SLL2 = 276;

/** Values below are lengths (802.3), from here on types (Ethernet II). */
const FIRST_ETHERTYPE = 0x0600;
const ARPHRD_NETLINK = 824;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;

/** Moves behind the link headers of `linkType`. Returns the EtherType of what follows, or a STOP_… code. */
export function linkHeader(walk: FrameWalk, linkType: number): number {
  switch (linkType) {
    case LINKTYPE_ETHERNET:
      return ethernet(walk);
    case LINKTYPE_LINUX_SLL:
      return linuxCooked(walk);
    case LINKTYPE_LINUX_SLL2:
      return linuxCooked2(walk);
    case LINKTYPE_NULL:
    case LINKTYPE_LOOP:
      return loopback(walk);
    case LINKTYPE_RAW:
    case LINKTYPE_RAW_BSD:
    case LINKTYPE_RAW_OPENBSD:
      return rawIp(walk);
    case LINKTYPE_IPV4:
      return ETHERTYPE_IPV4;
    case LINKTYPE_IPV6:
      return ETHERTYPE_IPV6;
    default:
      return STOP_UNKNOWN_LINK;
  }
}

/** Ethernet II with its VLAN tags. 802.3 frames with a length carry nothing that is decoded. */
export function ethernet(walk: FrameWalk): number {
  const at = walk.at + 14;
  if (at > walk.end) return walk.missing(at);
  walk.at = at;
  const type = walk.view.getUint16(at - 2);
  return type === ETHERTYPE_IPV4 ? type : tagged(walk, type);
}

/** Whether the bytes at `at` can be an Ethernet frame; guards against ports that only look like a tunnel. */
export function looksLikeEthernet(walk: FrameWalk, at: number): boolean {
  if (at + 14 > walk.end) return false;
  const type = walk.view.getUint16(at + 12);
  if (type === ETHERTYPE_IPV4) return at + 14 === walk.end || walk.bytes[at + 14]! >>> 4 === 4;
  if (type === ETHERTYPE_IPV6) return at + 14 === walk.end || walk.bytes[at + 14]! >>> 4 === 6;
  return type >= FIRST_ETHERTYPE || type <= walk.wireEnd - at - 14;
}

/** The IP version at `walk.at` says what follows. */
function rawIp(walk: FrameWalk): number {
  if (walk.at >= walk.end) return walk.missing(walk.at + 1);
  const version = walk.bytes[walk.at]! >>> 4;
  if (version === 4) return ETHERTYPE_IPV4;
  return version === 6 ? ETHERTYPE_IPV6 : STOP_NONE;
}

/** Skips VLAN tags and a PPPoE session header in front of `type`. */
function tagged(walk: FrameWalk, type: number): number {
  while (type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ || type === ETHERTYPE_QINQ_OLD) {
    const next = walk.at + 4;
    if (next > walk.end) return walk.missing(next);
    type = walk.view.getUint16(next - 2);
    walk.at = next;
  }
  if (type === ETHERTYPE_PPPOE_SESSION) return pppoe(walk);
  return type < FIRST_ETHERTYPE ? STOP_NONE : type;
}

// RFC 2516 §4: version and type, code (0 in a session), session id, length; then the PPP protocol.
function pppoe(walk: FrameWalk): number {
  const next = walk.at + 8;
  if (next > walk.end) return walk.missing(next);
  if (walk.bytes[walk.at] !== 0x11 || walk.bytes[walk.at + 1] !== 0) return STOP_NONE;
  const protocol = walk.view.getUint16(next - 2);
  walk.at = next;
  if (protocol === PPP_IPV4) return ETHERTYPE_IPV4;
  return protocol === PPP_IPV6 ? ETHERTYPE_IPV6 : STOP_NONE;
}

// LINKTYPE_LINUX_SLL: packet type, ARPHRD_ type, address length (u16 each), address (8 bytes), protocol.
function linuxCooked(walk: FrameWalk): number {
  const next = walk.at + 16;
  if (next > walk.end) return walk.missing(next);
  if (walk.view.getUint16(walk.at + 2) === ARPHRD_NETLINK) return STOP_NONE;
  walk.at = next;
  return tagged(walk, walk.view.getUint16(next - 2));
}

// LINKTYPE_LINUX_SLL2: protocol, reserved, interface index (u32), ARPHRD_ type, packet type, address length, address.
function linuxCooked2(walk: FrameWalk): number {
  const next = walk.at + 20;
  if (next > walk.end) return walk.missing(next);
  if (walk.view.getUint16(walk.at + 8) === ARPHRD_NETLINK) return STOP_NONE;
  const type = walk.view.getUint16(walk.at);
  walk.at = next;
  return tagged(walk, type);
}

// LINKTYPE_NULL has the family in the byte order of the capturing host, LINKTYPE_LOOP in network order: families are
// small, so the half that is not zero tells the order. AF_INET6 is 10, 24, 28 or 30 depending on the system.
function loopback(walk: FrameWalk): number {
  const next = walk.at + 4;
  if (next > walk.end) return walk.missing(next);
  const big = walk.view.getUint32(walk.at);
  const family = big <= 0xffff ? big : walk.view.getUint32(walk.at, true);
  walk.at = next;
  if (family === 2) return ETHERTYPE_IPV4;
  if (family === 10 || family === 24 || family === 28 || family === 30) return ETHERTYPE_IPV6;
  return family > 0xffff ? STOP_MALFORMED : STOP_NONE;
}
