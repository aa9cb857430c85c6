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
export const FLAG_ACK = 0x10;
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

  // Where it belongs: by connections.ts, TCP rows only but for the time.
  /** When the frame was captured, ns since the capture's first one. */
  readonly tNs: Float64Array;
  /** The same on the connection's clock, which never steps back: merged queues may hold frames slightly out of order. */
  readonly clockNs: Float64Array;
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

/** Rows for several batches: the whole, and the part of it that each batch fills. */
export interface RowRing {
  readonly whole: SegmentRows;
  /** BATCH_ROWS each, one behind the other, in the memory of `whole`. */
  readonly parts: readonly SegmentRows[];
}

/** Empty rows for one batch. */
export const createRows = (): SegmentRows => createRowRing(1).whole;

/**
 * Empty rows for `batches` batches.
 *
 * @param shared  in memory that threads may share
 */
export function createRowRing(batches: number, shared = false): RowRing {
  const columns: (ArrayBuffer | SharedArrayBuffer)[] = [];
  const tunnels: TunnelPath[] = [{ labels: [] }];
  const tunnelIds = new Map<number, number>();
  /** The rows [from, from + count); their memory is made with the first that are asked for. */
  const rowsFrom = (from: number, count: number): SegmentRows => {
    let column = 0;
    const place = (bytes: number): [ArrayBuffer | SharedArrayBuffer, number] => {
      const all = bytes * batches * BATCH_ROWS;
      columns[column] ??= shared ? new SharedArrayBuffer(all) : new ArrayBuffer(all);
      return [columns[column++]!, bytes * from];
    };
    const u8 = (): Uint8Array => new Uint8Array(...place(1), count);
    const u16 = (): Uint16Array => new Uint16Array(...place(2), count);
    const u32 = (each = 1): Uint32Array => new Uint32Array(...place(4 * each), each * count);
    const i32 = (): Int32Array => new Int32Array(...place(4), count);
    const f64 = (): Float64Array => new Float64Array(...place(8), count);
    return {
      kind: u8(),
      ipVersion: u8(),
      addresses: u32(),
      protocol: u8(),
      ports: u32(),
      tunnel: u16(),
      ttl: u8(),
      ecn: u8(),
      ipId: u16(),
      fragmented: u8(),
      ipBytes: u32(),
      outerIpBytes: u32(),
      transport: u32(),
      seq: u32(),
      ack: u32(),
      flags: u16(),
      window: u16(),
      options: u8(),
      tsValue: u32(),
      tsEcho: u32(),
      sackEdges: u32(8),
      sackBlocks: u8(),
      duplicateFrom: u32(),
      duplicateTo: u32(),
      mss: u16(),
      windowScale: u8(),
      mptcp: u32(),
      payload: u32(),
      payloadCap: u32(),
      payloadLen: u32(),
      tNs: f64(),
      clockNs: f64(),
      direction: u32(),
      offset: f64(),
      ackOffset: f64(),
      stray: u8(),
      marks: u8(),
      capturePoint: i32(),
      verdict: u8(),
      newBytes: u32(),
      trigger: u8(),
      segments: u16(),
      loopNs: f64(),
      flight: f64(),
      pipe: f64(),
      room: f64(),
      windowBytes: f64(),
      reactionNs: f64(),
      unseenBytes: u32(),
      tunnels,
      tunnelIds,
    };
  };
  return {
    whole: rowsFrom(0, batches * BATCH_ROWS),
    parts: Array.from({ length: batches }, (_, batch) => rowsFrom(batch * BATCH_ROWS, BATCH_ROWS)),
  };
}
