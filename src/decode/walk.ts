// FrameWalk: where the walk through the headers of one frame stands. One object a batch, no object a frame.
//
// Header functions read at `at`, check lengths once against `end`, move `at` behind the header and return what comes
// next (an EtherType or an IP protocol) or why the walk stops (a negative STOP_… code). Positions are indexes into
// `bytes`; a position between `end` and `wireEnd` existed on the wire but is not in the capture.
import type { AnomalyLog } from '../anomaly.js';
import type { PacketBatch } from '../capture/packet-batch.js';
import { TUNNEL_PATHS } from '../limits.js';
import type { SegmentRows } from './rows.js';

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_RARP = 0x8035;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_MAC_CONTROL = 0x8808;
export const ETHERTYPE_MPLS = 0x8847;
export const ETHERTYPE_MPLS_UPSTREAM = 0x8848;
export const ETHERTYPE_PPPOE_SESSION = 0x8864;
export const ETHERTYPE_QINQ = 0x88a8;
export const ETHERTYPE_ROCE = 0x8915;
export const ETHERTYPE_QINQ_OLD = 0x9100;
/** Transparent Ethernet bridging: an Ethernet frame follows. */
export const ETHERTYPE_ETHERNET = 0x6558;

/** Nothing that is decoded follows. */
export const STOP_NONE = -1;
/** The capture ends before the headers do. */
export const STOP_CUT = -2;
/** Headers contradict their length. */
export const STOP_MALFORMED = -3;
/** A later fragment: what follows is no header. */
export const STOP_FRAGMENT = -4;
/** A link type that is not decoded. */
export const STOP_UNKNOWN_LINK = -5;
/** The middle of a packet that a tunnel split: its headers are in another frame. */
export const STOP_SEGMENT = -6;

/** Kinds of encapsulation, index into TUNNEL_NAMES. */
export const TUNNEL_VXLAN = 0;
export const TUNNEL_VXLAN_GPE = 1;
export const TUNNEL_GENEVE = 2;
export const TUNNEL_GRE = 3;
export const TUNNEL_GRE_KEY = 4;
export const TUNNEL_NVGRE = 5;
export const TUNNEL_ERSPAN = 6;
export const TUNNEL_MPLS = 7;
export const TUNNEL_IPIP = 8;
export const TUNNEL_6IN4 = 9;
export const TUNNEL_4IN6 = 10;
export const TUNNEL_6IN6 = 11;
export const TUNNEL_STT = 12;
const TUNNEL_OTHER = 13;

/** Label of each kind; those with `:` are followed by the identifier. */
const TUNNEL_NAMES = [
  'vxlan:',
  'vxlan-gpe:',
  'geneve:',
  'gre',
  'gre:',
  'nvgre:',
  'erspan:',
  'mpls',
  'ipip',
  '6in4',
  '4in6',
  '6in6',
  'stt:',
  'other',
] as const;

export class FrameWalk {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly log: AnomalyLog | undefined;
  /** Next byte to read. */
  at = 0;
  /** One past the last captured byte of the current layer. */
  end = 0;
  /** One past the last byte on the wire of the current layer. */
  wireEnd = 0;
  /** Encapsulations peeled so far, and their path in `rows.tunnels`. */
  depth = 0;
  tunnel = 0;
  /** Number and first byte of the frame. */
  frame = 0;
  start = 0;

  /** Whether an STT tunnel was met; null until asked. */
  #metStt: boolean | null = null;
  #lastKey = -1;
  #lastTunnel = 0;

  constructor(batch: PacketBatch, log: AnomalyLog | undefined) {
    this.log = log;
    this.bytes = batch.bytes;
    this.view = batch.view;
  }

  begin(frame: number, start: number, captured: number, wire: number, fcsBytes: number): void {
    this.frame = frame;
    this.start = start;
    this.at = start;
    this.wireEnd = start + Math.max(0, Math.max(wire, captured) - fcsBytes);
    this.end = Math.min(start + captured, this.wireEnd);
    this.depth = 0;
    this.tunnel = 0;
  }

  /** Why bytes up to `to` cannot be read: not captured, or never sent. */
  missing(to: number): number {
    return to > this.wireEnd ? STOP_MALFORMED : STOP_CUT;
  }

  /** Notes that one encapsulation was peeled; `key` is its 32-bit identifier (0 for kinds without). */
  enter(rows: SegmentRows, kind: number, key: number): void {
    this.depth++;
    if (kind === TUNNEL_STT) this.#metStt = true;
    // Exact: 12 bits of path, 4 of kind, 32 of identifier.
    const lookup = (this.tunnel * 16 + kind) * 0x1_0000_0000 + (key >>> 0);
    if (lookup !== this.#lastKey) {
      this.#lastKey = lookup;
      this.#lastTunnel = rows.tunnelIds.get(lookup) ?? this.#remember(rows, lookup, kind, key >>> 0);
    }
    this.tunnel = this.#lastTunnel;
  }

  /** Whether the capture held an STT tunnel so far. */
  metStt({ tunnels }: SegmentRows): boolean {
    this.#metStt ??= tunnels.some(({ labels }) => labels.some((text) => text.startsWith(TUNNEL_NAMES[TUNNEL_STT])));
    return this.#metStt;
  }

  #remember(rows: SegmentRows, lookup: number, kind: number, key: number): number {
    const { tunnels, tunnelIds } = rows;
    if (tunnels.length >= TUNNEL_PATHS - 1) this.log?.note('decode/tunnel-paths', { frame: this.frame });
    if (tunnels.length >= TUNNEL_PATHS) return TUNNEL_PATHS - 1;
    // The last path stands for all that come after it.
    const labels =
      tunnels.length === TUNNEL_PATHS - 1
        ? [TUNNEL_NAMES[TUNNEL_OTHER]]
        : [...tunnels[this.tunnel]!.labels, label(kind, key)];
    tunnels.push({ labels });
    tunnelIds.set(lookup, tunnels.length - 1);
    return tunnels.length - 1;
  }
}

function label(kind: number, key: number): string {
  const name = TUNNEL_NAMES[kind]!;
  return name.endsWith(':') ? `${name}${key}` : name;
}
