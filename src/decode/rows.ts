// SegmentRows: what decoding a batch yields, one row per frame at the same index, column by column.
//
// decodeFrames() writes the first part. For TCP rows connections.ts then writes where they belong, and tracker.ts what they
// are. The latter may happen on another thread: only metrics, and what an analysis without that thread keeps, look at it. Offsets
// such as `transport` and `payload` are indexes into the batch's `bytes`.
import { BATCH_ROWS } from '../limits.js';

/** What a row is. */
export const KIND_NONE = 0; // nothing above the link layer that is decoded
export const KIND_TCP = 1;
export const KIND_UDP = 2;
export const KIND_FRAGMENT = 3; // not the first fragment: no transport header
export const KIND_MALFORMED = 4; // headers contradict their length
export const KIND_OTHER_IP = 5; // another IP protocol, see `protocol`
export const KIND_SIGNAL = 6; // ARP, RARP, ICMP …: collected by signals.ts
export const KIND_ROCE_V1 = 7; // EtherType 0x8915: `transport` is at the GRH, `payload` behind it
export const KIND_CUT = 8; // the capture ends before the headers do

/** TCP flags as on the wire; AE (formerly NS) is bit 8. */
export const FLAG_FIN = 0x01;
export const FLAG_SYN = 0x02;
export const FLAG_RST = 0x04;
export const FLAG_PSH = 0x08;
export const FLAG_ACK = 0x10;
export const FLAG_URG = 0x20;
export const FLAG_ECE = 0x40;
export const FLAG_CWR = 0x80;
export const FLAG_AE = 0x100;

/** Which TCP options a row carries. */
export const OPTION_TIMESTAMP = 0x01; // tsValue, tsEcho are set
export const OPTION_SACK = 0x02; // sackEdges, sackBlocks are set
export const OPTION_MSS = 0x04; // mss is set
export const OPTION_WINDOW_SCALE = 0x08; // windowScale is set
export const OPTION_SACK_PERMITTED = 0x10;
export const OPTION_MPTCP = 0x20; // mptcp is set
export const OPTION_DUPLICATE = 0x40; // the first SACK block reports a duplicate (RFC 2883): duplicateFrom, duplicateTo are set
export const OPTIONS_CUT = 0x80; // the options are not wholly in the capture: absence proves nothing

/** Why a TCP row's payload is not taken for bytes of its stream. */
export const STRAY_NONE = 0; // it is
export const STRAY_WINDOW = 1; // outside any plausible window: stale, forged or damaged
export const STRAY_KEEP_ALIVE = 2; // a byte that all have already, sent to hear from the peer

/** What the capture shows of a TCP row beside its headers. */
export const MARK_OUT = 0x01; // went out of the capturing host
export const MARK_IN = 0x02; // came into it
export const MARK_UNFINISHED = 0x04; // its checksum is left to a network card
export const MARK_FINISHED = 0x08; // its checksum is whole
export const MARK_NEWS = 0x10; // says or acknowledges more than any row before: no copy of one

/** What a TCP row was found to be (tables 1 to 4 of the TCP reference in docs/). */
export const VERDICT_NONE = 0; // no sequence space and not special: a pure acknowledgement
export const VERDICT_NEW = 1; // bytes seen for the first time, in order or opening a hole
export const VERDICT_RETRANSMISSION = 2;
export const VERDICT_REORDERED = 3; // an original that arrived late, first time seen
export const VERDICT_LATE_ORIGINAL = 4; // an original that arrived after its own retransmission
export const VERDICT_NETWORK_DUPLICATE = 5;
export const VERDICT_CAPTURE_DUPLICATE = 6; // a second copy made by the capture, not an event of the connection
export const VERDICT_WINDOW_PROBE = 7;
export const VERDICT_KEEP_ALIVE = 8;
export const VERDICT_OUT_OF_WINDOW = 9; // stale or bogus, left aside
export const VERDICT_CONTROL = 10; // SYN, FIN or RST without payload

/** What made the sender transmit again (table 2 of the TCP reference). Names in brackets are Linux's own counters. */
export const TRIGGER_NONE = 0; // not a retransmission
export const TRIGGER_FAST = 1; // acknowledgements reported a loss (TCPFastRetrans)
export const TRIGGER_TIMEOUT = 2; // the retransmission timer ran out (TCPTimeouts)
export const TRIGGER_PROBE = 3; // tail loss probe (TCPLossProbes)
export const TRIGGER_GO_BACK = 4; // what follows a timeout until the loss is repaired (TCPSlowStartRetrans)
export const TRIGGER_CONTROL = 5; // SYN or FIN sent again
export const TRIGGER_UNKNOWN = 6;

/** `direction` of a row that belongs to no connection. */
export const NO_DIRECTION = 0xffffffff;

export interface SegmentRows {
  readonly kind: Uint8Array;
  /** 4 or 6, 0 where there is no IP header. Of the innermost header when tunnelled. */
  readonly ipVersion: Uint8Array;
  /** First byte of the source address; the destination address follows it directly (4 + 4 or 16 + 16 bytes). */
  readonly addresses: Uint32Array;
  /** IP protocol or next header of the transport; the low byte of the EtherType of a signal without IP header. */
  readonly protocol: Uint8Array;
  /** Source port × 65536 + destination port. */
  readonly ports: Uint32Array;
  /** Id in `tunnels`, 0 where the frame is not encapsulated (VLAN tags do not count). */
  readonly tunnel: Uint16Array;
  /** Hop limit, 2-bit ECN field, and IPv4 identification (0 for IPv6) of the innermost IP header. */
  readonly ttl: Uint8Array;
  readonly ecn: Uint8Array;
  readonly ipId: Uint16Array;
  /** Where an IP header is that of the first fragment of several: bit 0 the innermost, bit 1 an outer one. Else 0. */
  readonly fragmented: Uint8Array;
  /** IP bytes on the wire from the innermost IP header on (header included). */
  readonly ipBytes: Uint32Array;
  /** The same from the outermost IP header on; their difference is what encapsulation costs. */
  readonly outerIpBytes: Uint32Array;
  /** First byte of the transport header. */
  readonly transport: Uint32Array;

  readonly seq: Uint32Array;
  readonly ack: Uint32Array;
  readonly flags: Uint16Array;
  /** Raw 16-bit window, never scaled here. */
  readonly window: Uint16Array;
  /** OPTION_… bits. */
  readonly options: Uint8Array;
  readonly tsValue: Uint32Array;
  readonly tsEcho: Uint32Array;
  /** Raw left and right edges of the row's SACK blocks from index 8 × row on, and number of whole blocks present (0 … 4). */
  readonly sackEdges: Uint32Array;
  readonly sackBlocks: Uint8Array;
  /** Raw sequence numbers between which something arrived twice. */
  readonly duplicateFrom: Uint32Array;
  readonly duplicateTo: Uint32Array;
  readonly mss: Uint16Array;
  readonly windowScale: Uint8Array;
  /** First byte of the first MPTCP option (its kind byte). */
  readonly mptcp: Uint32Array;

  /** Transport payload: first byte, bytes present, bytes on the wire. */
  readonly payload: Uint32Array;
  readonly payloadCap: Uint32Array;
  readonly payloadLen: Uint32Array;

  // Where it belongs: by connections.ts, TCP rows only.
  /** 2 × connection + side; side 0 opened the connection (or was seen first). NO_DIRECTION where none. */
  readonly direction: Uint32Array;
  /** Stream offset of the first payload byte: bytes since the direction's first data byte. May be negative before it. */
  readonly offset: Float64Array;
  /** Stream offset of the reverse direction that `ack` names. NaN without ACK flag or before any reverse reference. */
  readonly ackOffset: Float64Array;
  /** STRAY_… of the row's payload. */
  readonly stray: Uint8Array;
  /** MARK_… bits; those about the host and the checksum of a connection's first frames only. */
  readonly marks: Uint8Array;
  /** Interface, hop limit and length of what precedes the IP header: copies taken at different places differ in it. */
  readonly capturePoint: Int32Array;

  // What it is: by tracker.ts, TCP rows only.
  readonly verdict: Uint8Array;
  /** Payload bytes seen for the first time with this row. */
  readonly newBytes: Uint32Array;
  /** TRIGGER_… of a retransmission, TRIGGER_NONE of all else. */
  readonly trigger: Uint8Array;
  /** Segments on the wire behind this row's payload (1 unless an offload merged several); 0 without payload. */
  readonly segments: Uint16Array;
  /** Time from the capture point to this row's sender and back, where the row answers a known frame; NaN else. ns. */
  readonly loopNs: Float64Array;
  /** Rows with payload: sent and not acknowledged as far as the sender knew, this row included; NaN else. Bytes. */
  readonly flight: Float64Array;
  /** Rows with payload: flight less what was reported received or lost (RFC 6675 pipe); NaN else. Bytes. */
  readonly pipe: Float64Array;
  /** Rows with payload: what the row leaves of the window its sender knew; NaN where not known. Bytes. */
  readonly room: Float64Array;
  /** Window this row advertises, scaled; NaN where its scale is not known or there is no ACK flag. Bytes. */
  readonly windowBytes: Float64Array;
  /** Rows with payload: time since the sender got the newest acknowledgement; NaN where not known. ns. */
  readonly reactionNs: Float64Array;
  /** Bytes of the other direction that are missing in the capture, as this row's acknowledgement shows. */
  readonly unseenBytes: Uint32Array;

  /** Tunnel paths met so far; index 0 is the empty path. */
  readonly tunnels: TunnelPath[];
  /** Finds a path's id by that of its prefix and its last label; kept by walk.ts. */
  readonly tunnelIds: Map<number, number>;
}

/** One way in which frames are encapsulated. */
export interface TunnelPath {
  /** Outermost first, e.g. ['vxlan:42']. */
  readonly labels: readonly string[];
}

/**
 * Empty rows for batches of up to BATCH_ROWS.
 *
 * @param shared  in memory that threads may share
 * @param paths   rows that know the tunnel paths met so far; these go on with theirs
 */
export function createRows(shared = false, paths?: SegmentRows): SegmentRows {
  const n = BATCH_ROWS;
  const room = (bytes: number): ArrayBuffer | SharedArrayBuffer =>
    shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  return {
    kind: new Uint8Array(room(n)),
    ipVersion: new Uint8Array(room(n)),
    addresses: new Uint32Array(room(4 * n)),
    protocol: new Uint8Array(room(n)),
    ports: new Uint32Array(room(4 * n)),
    tunnel: new Uint16Array(room(2 * n)),
    ttl: new Uint8Array(room(n)),
    ecn: new Uint8Array(room(n)),
    ipId: new Uint16Array(room(2 * n)),
    fragmented: new Uint8Array(room(n)),
    ipBytes: new Uint32Array(room(4 * n)),
    outerIpBytes: new Uint32Array(room(4 * n)),
    transport: new Uint32Array(room(4 * n)),
    seq: new Uint32Array(room(4 * n)),
    ack: new Uint32Array(room(4 * n)),
    flags: new Uint16Array(room(2 * n)),
    window: new Uint16Array(room(2 * n)),
    options: new Uint8Array(room(n)),
    tsValue: new Uint32Array(room(4 * n)),
    tsEcho: new Uint32Array(room(4 * n)),
    sackEdges: new Uint32Array(room(4 * 8 * n)),
    sackBlocks: new Uint8Array(room(n)),
    duplicateFrom: new Uint32Array(room(4 * n)),
    duplicateTo: new Uint32Array(room(4 * n)),
    mss: new Uint16Array(room(2 * n)),
    windowScale: new Uint8Array(room(n)),
    mptcp: new Uint32Array(room(4 * n)),
    payload: new Uint32Array(room(4 * n)),
    payloadCap: new Uint32Array(room(4 * n)),
    payloadLen: new Uint32Array(room(4 * n)),
    direction: new Uint32Array(room(4 * n)),
    offset: new Float64Array(room(8 * n)),
    ackOffset: new Float64Array(room(8 * n)),
    stray: new Uint8Array(room(n)),
    marks: new Uint8Array(room(n)),
    capturePoint: new Int32Array(room(4 * n)),
    verdict: new Uint8Array(room(n)),
    newBytes: new Uint32Array(room(4 * n)),
    trigger: new Uint8Array(room(n)),
    segments: new Uint16Array(room(2 * n)),
    loopNs: new Float64Array(room(8 * n)),
    flight: new Float64Array(room(8 * n)),
    pipe: new Float64Array(room(8 * n)),
    room: new Float64Array(room(8 * n)),
    windowBytes: new Float64Array(room(8 * n)),
    reactionNs: new Float64Array(room(8 * n)),
    unseenBytes: new Uint32Array(room(4 * n)),
    tunnels: paths?.tunnels ?? [{ labels: [] }],
    tunnelIds: paths?.tunnelIds ?? new Map(),
  };
}
