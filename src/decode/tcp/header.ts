// The TCP header: fixed fields and one pass over the options.
import {
  KIND_CUT,
  KIND_MALFORMED,
  KIND_TCP,
  OPTION_DUPLICATE,
  OPTION_MPTCP,
  OPTION_MSS,
  OPTION_SACK,
  OPTION_SACK_PERMITTED,
  OPTION_TIMESTAMP,
  OPTION_WINDOW_SCALE,
  OPTIONS_CUT,
  type SegmentRows,
} from '../rows.js';
import { type FrameWalk, STOP_CUT } from '../walk.js';

const HEADER_BYTES = 20;
/** Up to the window: what is needed to place a segment when the capture cuts the rest. */
const NEEDED_BYTES = 16;

/** Option list of nearly every data segment: NOP, NOP, timestamp of 10 bytes. */
export const NOP_NOP_TIMESTAMP = 0x0101080a;

const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const MAXIMUM_SEGMENT_SIZE = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMP = 8;
const MULTIPATH = 30;

/**
 * Reads the TCP header at `walk.at` into `rows`. The walk must be narrowed to the IP packet.
 *
 * @returns  KIND_TCP, KIND_CUT or KIND_MALFORMED
 * Source: RFC 9293 §3.1, RFC 7323 §2, §3, RFC 2018 §3, RFC 8684 §3.
 */
export function tcpHeader(walk: FrameWalk, rows: SegmentRows, row: number): number {
  const { at, bytes, view, end, wireEnd } = walk;
  rows.transport[row] = at;
  if (wireEnd - at < HEADER_BYTES && !rows.fragmented[row]) return KIND_MALFORMED;
  if (at + NEEDED_BYTES > end) return walk.missing(at + NEEDED_BYTES) === STOP_CUT ? KIND_CUT : KIND_MALFORMED;
  const word = view.getUint16(at + 12);
  const payload = at + ((word >>> 12) << 2);
  if (payload < at + HEADER_BYTES || payload > wireEnd) return KIND_MALFORMED;

  rows.ports[row] = view.getUint32(at);
  rows.seq[row] = view.getUint32(at + 4);
  rows.ack[row] = view.getUint32(at + 8);
  rows.flags[row] = word & 0x1ff;
  rows.window[row] = view.getUint16(at + 14);
  rows.payloadLen[row] = wireEnd - payload;
  if (payload <= end) {
    rows.payload[row] = payload;
    rows.payloadCap[row] = end - payload;
    if (payload === at + 32 && view.getUint32(at + 20) === NOP_NOP_TIMESTAMP) {
      rows.tsValue[row] = view.getUint32(at + 24);
      rows.tsEcho[row] = view.getUint32(at + 28);
      rows.options[row] = OPTION_TIMESTAMP;
    } else {
      rows.options[row] = payload === at + 20 ? 0 : scanOptions(view, bytes, at + 20, payload, payload, rows, row);
    }
  } else {
    rows.payload[row] = end;
    rows.payloadCap[row] = 0;
    rows.options[row] = scanOptions(view, bytes, at + 20, end, payload, rows, row);
  }
  return KIND_TCP;
}

/**
 * Reads the options in `[at, end)` of an option list that reaches to `listEnd` on the wire.
 *
 * A list that contradicts itself (length below 2, or beyond the list) ends there: what came before still counts.
 * @returns  OPTION_… bits
 */
function scanOptions(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  end: number,
  listEnd: number,
  rows: SegmentRows,
  row: number,
): number {
  let found = 0;
  while (at < end) {
    const kind = bytes[at]!;
    if (kind === END_OF_OPTIONS) return found;
    if (kind === NO_OPERATION) {
      at++;
      continue;
    }
    if (at + 1 >= end) break;
    const length = bytes[at + 1]!;
    if (length < 2 || at + length > listEnd) return found;
    if (at + length > end) break;
    switch (kind) {
      case MAXIMUM_SEGMENT_SIZE:
        if (length === 4) {
          rows.mss[row] = view.getUint16(at + 2);
          found |= OPTION_MSS;
        }
        break;
      case WINDOW_SCALE:
        if (length === 3) {
          rows.windowScale[row] = bytes[at + 2]!;
          found |= OPTION_WINDOW_SCALE;
        }
        break;
      case SACK_PERMITTED:
        found |= OPTION_SACK_PERMITTED;
        break;
      case SACK: {
        const blocks = (length - 2) >>> 3;
        if (blocks > 0) {
          const kept = Math.min(4, blocks);
          for (let edge = 0; edge < 2 * kept; edge++)
            rows.sackEdges[8 * row + edge] = view.getUint32(at + 2 + 4 * edge);
          rows.sackBlocks[row] = kept;
          found |= OPTION_SACK;
          if (reportsDuplicate(view, at + 2, blocks, rows.ack[row]!)) {
            rows.duplicateFrom[row] = view.getUint32(at + 2);
            rows.duplicateTo[row] = view.getUint32(at + 6);
            found |= OPTION_DUPLICATE;
          }
        }
        break;
      }
      case TIMESTAMP:
        if (length === 10) {
          rows.tsValue[row] = view.getUint32(at + 2);
          rows.tsEcho[row] = view.getUint32(at + 6);
          found |= OPTION_TIMESTAMP;
        }
        break;
      case MULTIPATH:
        if (length >= 3 && (found & OPTION_MPTCP) === 0) {
          rows.mptcp[row] = at;
          found |= OPTION_MPTCP;
        }
        break;
    }
    at += length;
  }
  return end < listEnd ? found | OPTIONS_CUT : found;
}

/** A first block below the acknowledgement, or inside the block after it, reports a duplicate. Source: RFC 2883 §4. */
function reportsDuplicate(view: DataView, at: number, blocks: number, ack: number): boolean {
  const left = (view.getUint32(at) - ack) | 0;
  const right = (view.getUint32(at + 4) - ack) | 0;
  if (right <= 0) return true;
  return blocks > 1 && left >= ((view.getUint32(at + 8) - ack) | 0) && right <= ((view.getUint32(at + 12) - ack) | 0);
}
