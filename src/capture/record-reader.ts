// RecordReader: what a file format has to offer, and what it may use. Nothing here knows a format.
import type { AnomalyLog } from '../anomaly.js';
import type { ByteWindow } from './byte-window.js';
import type { CaptureInterface, InputInfo, PacketBatch } from './packet-batch.js';

/** What a reader is given: where to report, and the time all inputs count from. */
export interface ReaderContext {
  readonly log: AnomalyLog;
  /** Index of the input. */
  readonly input: number;
  readonly info: InputInfo;
  /** Shared by all inputs; the first stamped frame sets it. */
  readonly epoch: { epochNs: bigint | null };
  /** The writer is at work and known to write whole records: one counts as soon as it is there, not when the next is. */
  readonly live: boolean;
}

/** Walks the records of one format. */
export interface RecordReader {
  /** Interfaces of the frames so far, in the order of their first frame; `PacketBatch.iface` is an index into them. */
  readonly interfaces: readonly CaptureInterface[];
  /** Unread bytes that the next read() needs to get further, unless the input ends before. */
  readonly wantBytes: number;
  /**
   * Appends frames to `batch` until it is full or the window has no further complete record.
   *
   * Once the window has ended, every call appends rows or leaves the window empty. Damage goes to the log; never throws.
   * The outcome does not depend on how much more than `wantBytes` the window holds.
   */
  read(window: ByteWindow, batch: PacketBatch): void;
}

const LINK_TYPE_NAMES: Readonly<Record<number, string>> = {
  0: 'null',
  1: 'ethernet',
  9: 'ppp',
  12: 'raw-ip',
  14: 'raw-ip',
  101: 'raw-ip',
  105: 'ieee802-11',
  108: 'loop',
  113: 'linux-cooked',
  127: 'ieee802-11-radiotap',
  228: 'ipv4',
  229: 'ipv6',
  276: 'linux-cooked-v2',
};

/** Adds the name of a LINKTYPE_ number (source: the registry at tcpdump.org/linktypes.html) unless it is there. */
export function addLinkType(info: InputInfo, linkType: number): void {
  const name = LINK_TYPE_NAMES[linkType] ?? `link-type-${linkType}`;
  if (!info.linkTypes.includes(name)) info.linkTypes.push(name);
}
