// Records: the contract and the vocabulary of stream decoders.
//
// A decoder turns one direction's bytes into calls on a MigrationSink. It knows its own stream only: which streams make
// one migration is session.ts's business, and how bytes arrive is the driver's (decoder.ts). To add a stream protocol,
// write NAME.ts that exports a StreamDecoder and add it to the list in decoder.ts.
import type { AnomalyCode } from '../anomaly.js';
import type { StreamEnd } from '../decode/stream.js';
import type { ByteCursor, Reading } from '../decode/tcp/byte-cursor.js';
import type { ChannelKind } from './results.js';

/** How a page was sent. */
export const PAGE_NORMAL = 0;
export const PAGE_ZERO = 1;
export const PAGE_XBZRLE = 2;
export const PAGE_COMPRESSED = 3;
export type PageKind = typeof PAGE_NORMAL | typeof PAGE_ZERO | typeof PAGE_XBZRLE | typeof PAGE_COMPRESSED;

/** `block` of a page whose RAM block is not known (the record that named it is missing). */
export const UNKNOWN_BLOCK = -1;

/** Where and when a record begins. */
export interface RecordPlace {
  readonly offset: number;
  readonly tNs: number;
  readonly frame: number;
}

export interface Configuration extends RecordPlace {
  readonly machineType: string;
  /** null where the stream does not say. */
  readonly pageBits: number | null;
  /** Capabilities the source wants checked, e.g. 'x-ignore-shared'. */
  readonly capabilities: readonly string[];
}

export interface RamBlock {
  readonly name: string;
  readonly lengthBytes: number;
}

export type SectionKind = 'start' | 'part' | 'end' | 'full';

export interface Section extends RecordPlace {
  readonly kind: SectionKind;
  readonly id: number;
  /** Untrusted text; '' where the announcing section is not in the capture. */
  readonly name: string;
  readonly instance: number;
  readonly version: number;
  /** True inside a post-copy package: it left the source with the package, not when it was written. */
  readonly packaged: boolean;
}

/** `length` counts type byte to footer. `exact` is false where the end was found by searching for the footer. */
export interface SectionEnd extends RecordPlace {
  readonly length: number;
  /** When the last byte before the footer was seen. RAM is flushed there; the footer waits for what follows. */
  readonly contentsNs: number;
  readonly exact: boolean;
}

export interface Command extends RecordPlace {
  /** Number on the wire; `name` is its QEMU name in lower case, e.g. 'open-return-path', or 'unknown-N'. */
  readonly command: number;
  readonly name: string;
  readonly packaged: boolean;
  /** PING value, PACKAGED length, sum of RAM_DISCARD lengths in bytes, target page size of POSTCOPY_ADVISE; else null. */
  readonly value: number | null;
}

/** Sizes of one device as the description at the end of the stream states them. */
export interface DescribedDevice {
  readonly name: string;
  readonly instance: number;
  readonly bytes: number;
}

export interface Description extends RecordPlace {
  /** null where the text was too long to be kept, or damaged. */
  readonly pageSize: number | null;
  readonly devices: readonly DescribedDevice[] | null;
  readonly length: number;
}

/** A message from destination to source. */
export interface ReturnPathMessage extends RecordPlace {
  /** 'shut', 'pong', 'req-pages-id', 'req-pages', 'recv-bitmap', 'resume-ack', 'switchover-ack' or 'unknown-N'. */
  readonly name: string;
  /** PONG value, SHUT error flag, RESUME_ACK value; else null. */
  readonly value: number | null;
  /** Requested range of a RAM block; null for other messages. `block` is '' where the naming request is missing. */
  readonly request: { readonly block: string; readonly start: number; readonly length: number } | null;
}

/** When the bytes of a stream came, holes and skipped contents included. */
export interface StreamClock {
  readonly newestNs: number;
  /** The newest of those that came earlier than these. */
  readonly beforeNs: number;
}

/** Receives the records of one stream, in stream order. Page-rate calls carry plain numbers. */
export interface MigrationSink {
  configuration(configuration: Configuration): void;
  /** The page size, once the stream has made it known; before the first page. */
  pageSize(bytes: number): void;
  /** The block list of the RAM section's start; `block` numbers below are indexes into it. */
  blocks(blocks: readonly RamBlock[]): void;
  /** Number of the RAM block called `name` in this migration; a name not in the list gets the next number. */
  block(name: string): number;
  /**
   * One page record.
   *
   * @param block    number from `block()`, or UNKNOWN_BLOCK
   * @param address  byte offset in the block
   * @param bytes    stream bytes of the record, header included
   */
  page(offset: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void;
  /** A flush mark: MULTIFD_FLUSH on the main channel, SYNC on a multifd channel. */
  flush(offset: number, tNs: number): void;
  sectionStart(section: Section): void;
  sectionEnd(section: Section, end: SectionEnd): void;
  command(command: Command): void;
  /** The end mark (EOF): the state is complete. */
  endMark(place: RecordPlace): void;
  description(description: Description): void;
  reply(message: ReturnPathMessage): void;
  /** A multifd channel presents itself: its number, and the UUID of the VM as 32 hex digits (zeros where it has none). */
  hello(channel: number, uuid: string): void;
  /** A multifd packet of pages, by the number its source gave it: one count over all channels. */
  packet(number: number): void;
  /**
   * What the guest did when the source last stopped it: QEMU's RunState in lower case, e.g. 'running' or 'paused'; untrusted
   * text. `isRebootable` where the source is 9.0 or later: it may have been told to stop the guest first (mode cpr-reboot).
   */
  runState(state: string, isRebootable: boolean): void;
  /** Device state in a multifd packet; `bytes` with header. */
  deviceState(place: RecordPlace, name: string, instance: number, bytes: number): void;
  /** A TLS record of application data, `length` bytes without its header; it begins in `frame`. */
  sealed(offset: number, tNs: number, length: number, frame: number): void;
  /** An NBD client asks for a disk; untrusted text. */
  diskExport(name: string): void;
  /** One NBD request over `length` bytes of a disk from `offset` on. */
  diskRequest(tNs: number, kind: 'write' | 'zero' | 'read' | 'other', offset: number, length: number): void;
  /** Something the stream shows about how the migration was set up; see Migration.stream.features. */
  feature(name: string): void;
  /** Guest memory in bytes, all RAM blocks together; before `blocks`, which a cut frame may hide. */
  memory(totalBytes: number): void;
  /**
   * A page header seen by itself where records cannot be chained, because the snap length or a gap hides what lies
   * between. The offset is exact; that it is a header is likely, not certain.
   */
  sighting(offset: number, tNs: number, block: number, address: number, kind: PageKind): void;
  /**
   * Some bytes between two holes while the place is lost; `text` when they look like a piece of the description, null when
   * they are too few to tell.
   */
  glimpse(offset: number, tNs: number, text: boolean | null): void;
  /** The first byte seen of the stream lies at `offset`: 0, unless what was before is not in the capture. */
  streamStart(offset: number): void;
  /** Reading broke off at `offset` and is trusted again from `resumed` on; `resumed` is the stream's end if never. */
  blind(offset: number, resumed: number, tNs: number): void;
  /** The stream is over; `offset` is its length, `tNs` when its last byte was seen; its end came in `frame`. */
  streamEnd(offset: number, tNs: number, cause?: StreamEnd, frame?: number): void;
}

/** What a search shows of a stream before it is known to be a migration's. */
export type SearchSink = Pick<MigrationSink, 'sighting' | 'glimpse'>;

/** Notes damage at the place where the stream stands. */
export type NoteDamage = (code: AnomalyCode, detail: string) => void;

/** What a decoder makes of a stream's first bytes. 'search': not a beginning, but worth resynchronising on. */
export type Probe = 'yes' | 'no' | 'more' | 'search';

/** How a stretch of reading ended: all of it read, or the place lost. */
export type ReadEnd = 'end' | 'desync';

/** What is known of a stream before it is probed. */
export interface StreamContext {
  readonly direction: number;
  /** True when the bytes are the first of the stream, false when the capture or a hole hides what came before. */
  readonly fromStart: boolean;
  /** What is known of the reverse direction: its decoder's id, 'searching' while it is searched, or null. */
  readonly reverse: string | null;
  /** Names of the RAM blocks, and page size where known, of the migration that could own this stream. */
  readonly knownBlocks: ReadonlySet<string>;
  readonly pageSize: number | null;
  /** Asked while the stream is searched: a migration inside TLS that could own it has been found by another channel. */
  readonly isSealed?: () => boolean;
  /** Of a stream joined midway, which is one of many that may be the main channel: what is seen of it by itself. */
  readonly seen?: SearchSink;
}

/** One kind of stream: how to recognise it and how to read it. Stateless; `open` makes the state. */
export interface StreamDecoder {
  readonly id: string;
  readonly channel: ChannelKind;
  /** Looks at the first bytes, `buffer[start, end)`; see Probe. Must say 'no' to anything that is not surely its own. */
  probe(buffer: Uint8Array, start: number, end: number, context: StreamContext): Probe;
  open(sink: MigrationSink, note: NoteDamage, context: StreamContext): StreamReader;
}

/** Reads one stream. */
export interface StreamReader {
  /**
   * Reads on from where the stream stands: its beginning, or where `resync` found its feet. Returns 'end' after the last
   * record or at the stream's end, 'desync' when a hole covers a header or a record cannot be right.
   */
  decode(stream: ByteCursor): Reading<ReadEnd>;
  /**
   * After a desync (or at the first byte of a stream joined midway): moves on until several consistent headers in a row
   * prove the place, and leaves the cursor on a record. Returns false at the stream's end. When `yield` returns false,
   * a hole or the end follows what is at hand: it must be used up before the next `yield`, the cursor then stands behind
   * the hole. Absent: the rest of the stream is not decoded.
   */
  resync?(stream: ByteCursor): Reading<boolean>;
  /**
   * While `resync` waits for the next byte: whether it would only pass over `buffer[start, end)`, which lie at `offset`
   * and are then taken as seen. Of a stream cut by the snap length that is true of most pieces, and waking it costs more.
   */
  isBarren?(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number): boolean;
  /** While the place is lost: `buffer[start, end)` have come, the first of them perhaps the first that the source wrote at once. */
  glance?(buffer: Uint8Array, start: number, end: number): void;
}
