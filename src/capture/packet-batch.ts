// PacketBatch: what every capture source yields, and the few facts about where its frames come from.
//
// A batch is reused memory: it is valid until the next one is asked for. Sources fill it, everybody else only reads.
import { BATCH_ROWS } from '../limits.js';

/** Which way a frame went through the capturing host, where the capture says so (pcapng epb_flags, SLL packet type). */
export const WAY_UNKNOWN = 0;
export const WAY_IN = 1;
export const WAY_OUT = 2;

/** One capture interface of one input. */
export interface CaptureInterface {
  /** Index of the input file it belongs to. */
  readonly input: number;
  /** LINKTYPE_ number (1 Ethernet, 113 SLL, 276 SLL2, 0 NULL, 108 LOOP, 101/12/14 RAW, 228 IPV4, 229 IPV6 …). */
  readonly linkType: number;
  /** Frame check sequence bytes at the end of every frame, 0 where none. */
  readonly fcsBytes: number;
  /** Bytes; null where unlimited or not stated. */
  readonly snapLength: number | null;
  /** Untrusted text, '' where not stated. */
  readonly name: string;
}

export interface PacketBatch {
  /** Rows in use. */
  count: number;
  /** Frame number of row 0; numbers start at 1 and follow capture order. */
  firstFrame: number;
  /** Holds all captured bytes of the batch; `view` covers the same memory. */
  bytes: Uint8Array;
  view: DataView;
  /** First captured byte of the frame in `bytes`. */
  readonly start: Uint32Array;
  /** Bytes present. */
  readonly captured: Uint32Array;
  /** Bytes on the wire. */
  readonly wire: Uint32Array;
  /** ns since `CaptureInfo.epochNs`; may step back. */
  readonly tNs: Float64Array;
  /** Index into `interfaces`. */
  readonly iface: Uint16Array;
  /** WAY_… of the frame. */
  readonly way: Uint8Array;
  /** All interfaces seen so far, in the order of their first appearance. */
  interfaces: readonly CaptureInterface[];
}

/** An empty batch over `bytes`. */
export function createBatch(bytes: Uint8Array): PacketBatch {
  return {
    count: 0,
    firstFrame: 1,
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    start: new Uint32Array(BATCH_ROWS),
    captured: new Uint32Array(BATCH_ROWS),
    wire: new Uint32Array(BATCH_ROWS),
    tNs: new Float64Array(BATCH_ROWS),
    iface: new Uint16Array(BATCH_ROWS),
    way: new Uint8Array(BATCH_ROWS),
    interfaces: [],
  };
}

/** What is known about one input file (or pipe, or interface); counts grow while it is read. */
export interface InputInfo {
  /** As the user named it, '-' for standard input. */
  name: string;
  format: 'pcap' | 'pcapng';
  compression: null | 'gzip' | 'zstd';
  /** Names such as 'ethernet', 'linux-cooked-v2', in order of appearance. */
  linkTypes: string[];
  snapLength: number | null;
  timestampResolutionNs: number;
  frames: number;
  capturedBytes: number;
  wireBytes: number;
  /** Frames with fewer captured than wire bytes. */
  cutFrames: number;
  /** null when the source cannot know. */
  droppedByCapture: number | null;
}

/** Facts about the whole capture; complete once the source is exhausted. */
export interface CaptureInfo {
  readonly inputs: InputInfo[];
  /** Absolute time of the first frame, ns since 1970; null before the first frame. */
  epochNs: bigint | null;
  /** Who stamped the frames: the kernel (or file) or our own process on arrival. */
  clock: 'kernel' | 'arrival';
}

/** Where frames come from: files, a pipe, or an interface. */
export interface CaptureSource {
  readonly info: CaptureInfo;
  /** Bytes consumed and bytes in all (null when unknown, e.g. a pipe), for progress only. */
  progress(): { readonly doneBytes: number; readonly totalBytes: number | null };
  /** Yields the same reused batch object again and again; ends with the input. Throws InputError when it is no capture. */
  batches(): AsyncGenerator<PacketBatch, void, void>;
  /** Releases files and children; safe to call twice. */
  close(): void;
}
