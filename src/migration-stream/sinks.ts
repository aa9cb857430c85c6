// Sinks: what the streams beside the main channel feed, each in its own way.
//
// A main channel feeds its MigrationState directly. The others know only part of what a sink can be told.

import type { StreamEnd } from '../decode/stream.js';
import { DISK_RANGES } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import type { MigrationState } from './migration.js';
import {
  type MigrationSink,
  type PageKind,
  type RecordPlace,
  type ReturnPathMessage,
  type StreamClock,
  UNKNOWN_BLOCK,
} from './records.js';
import type { DiskCopy } from './results.js';
import type { SealedMigration } from './sealed.js';
import { MULTIFD_INIT_BYTES } from './wire.js';

/** Hears everything and keeps nothing. */
class SilentSink implements MigrationSink {
  configuration(): void {}
  pageSize(): void {}
  blocks(): void {}
  block(_name: string): number {
    return UNKNOWN_BLOCK;
  }
  page(_offset: number, _tNs: number, _block: number, _address: number, _kind: PageKind, _bytes: number): void {}
  flush(): void {}
  sectionStart(): void {}
  sectionEnd(): void {}
  command(): void {}
  endMark(): void {}
  description(): void {}
  reply(_message: ReturnPathMessage): void {}
  hello(_channel: number, _uuid: string): void {}
  packet(_number: number): void {}
  runState(): void {}
  deviceState(_place: RecordPlace, _name: string, _instance: number, _bytes: number): void {}
  sealed(_offset: number, _tNs: number, _length: number, _frame: number): void {}
  diskExport(_name: string): void {}
  diskRequest(_tNs: number, _kind: 'write' | 'zero' | 'read' | 'other', _offset: number, _length: number): void {}
  feature(_name: string): void {}
  memory(): void {}
  sighting(): void {}
  glimpse(): void {}
  blind(_offset: number, _resumed: number, _tNs: number): void {}
  streamStart(_offset: number): void {}
  streamEnd(_offset: number, _tNs: number, _cause?: StreamEnd): void {}
}

/** RAM records beside the main channel: pages count, but say nothing about where the main stream stands. */
export class SideChannelSink extends SilentSink {
  readonly state: MigrationState;
  /** Where the latest page ends, as its header said. */
  #pageEnd = WIDE_ZERO;

  constructor(state: MigrationState) {
    super();
    this.state = state;
  }

  override page(offset: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    this.#pageEnd = offset + bytes;
    this.state.sidePage(tNs, block, address, kind, bytes);
  }

  override streamEnd(offset: number): void {
    if (this.#pageEnd > offset) this.state.sidePageCut(this.#pageEnd - offset);
  }

  override block(name: string): number {
    return this.state.block(name);
  }

  override feature(name: string): void {
    this.state.feature(name);
  }
}

/** The reverse direction of a main channel: its messages count, its length and its gaps are not those of the stream. */
export class ReplySink extends SilentSink {
  readonly #state: MigrationState;

  constructor(state: MigrationState) {
    super();
    this.#state = state;
  }

  override reply(message: ReturnPathMessage): void {
    this.#state.reply(message);
  }
}

/** One direction of a TLS connection. */
export class SealedSink extends SilentSink {
  readonly #owner: () => SealedMigration;
  readonly #direction: number;
  readonly #isReply: boolean;

  /**
   * @param owner    asked with each record: a channel joined midway learns late whose it is
   * @param isReply  true for the destination's direction
   */
  constructor(owner: () => SealedMigration, direction: number, isReply: boolean) {
    super();
    this.#owner = owner;
    this.#direction = direction;
    this.#isReply = isReply;
  }

  override sealed(_offset: number, tNs: number, length: number, frame: number): void {
    if (this.#isReply) this.#owner().reverseRecord(this.#direction ^ 1, frame, tNs, length);
    else this.#owner().record(this.#direction, frame, tNs, length);
  }

  override feature(name: string): void {
    this.#owner().feature(name);
  }

  override blind(offset: number, resumed: number, tNs: number): void {
    this.#owner().unread(resumed - offset, tNs);
  }

  override streamEnd(_offset: number, _tNs: number, cause?: StreamEnd): void {
    if (!this.#isReply && cause !== 'fin' && cause !== 'rst') this.#owner().breaksOff(this.#direction);
  }
}

/** One multifd channel: its pages and SYNCs go to a lane of their own. */
export class MultifdSink extends SilentSink {
  /** Number the channel gave itself; null until it did. */
  channel: number | null = null;
  readonly #owner: () => MigrationState;
  readonly #clock: (() => StreamClock) | undefined;
  #late: boolean;
  #state: MigrationState | null = null;
  #lane = 0;
  /** Where the last packet with pages begins, and where it ends by its header. */
  #packetStart = -1;
  #packetEnd = WIDE_ZERO;
  /** Takes back what of the last packet of device state lies behind `offset`. */
  #cutDevice = (_offset: number): void => {};

  /**
   * @param owner  asked once, when the channel has something to say
   * @param late   true when the channel is joined midway and has passed some of its marks
   * @param clock  of its stream; absent where its times are not known
   */
  constructor(owner: () => MigrationState, late: boolean, clock?: () => StreamClock) {
    super();
    this.#owner = owner;
    this.#clock = clock;
    this.#late = late;
  }

  #join(): MigrationState {
    if (!this.#state) {
      this.#state = this.#owner();
      this.#lane = this.#state.joinMultifd(this.#late, this.#clock?.());
    }
    return this.#state;
  }

  override block(name: string): number {
    return this.#join().block(name);
  }

  override feature(name: string): void {
    this.#join().feature(name);
  }

  override page(offset: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    if (offset !== this.#packetStart) this.#packetStart = this.#packetEnd = offset;
    this.#packetEnd += bytes;
    this.#join().multifdPage(this.#lane, tNs, block, address, kind, bytes);
  }

  override flush(): void {
    this.#join().multifdSync(this.#lane);
  }

  override hello(channel: number, uuid: string): void {
    this.channel = channel;
    this.#join().multifdHello(channel, uuid);
  }

  override packet(number: number): void {
    this.#join().packet(number);
  }

  override deviceState(place: RecordPlace, name: string, instance: number, bytes: number): void {
    const state = this.#join();
    state.deviceState(place, name, instance, bytes);
    const end = place.offset + bytes;
    this.#cutDevice = (offset) => {
      if (end > offset) state.deviceState(place, name, instance, offset - end);
    };
  }

  override blind(offset: number, resumed: number, tNs: number): void {
    // What lies before the place where a stream was joined is not the migration's yet.
    if (this.#state || !this.#late) this.#join().multifdBlind(resumed - offset, tNs);
    // The first packet stands right behind the hello: only that was lost, and the channel has passed no mark.
    else if (resumed === MULTIFD_INIT_BYTES) this.#late = false;
  }

  override streamEnd(offset: number): void {
    this.#cutDevice(offset);
    this.#state?.multifdEnd(this.#lane, Math.max(0, this.#packetEnd - offset));
  }
}

/** Places on a disk: disjoint ranges in ascending order, of which neighbours become one beyond DISK_RANGES. */
class Places {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Bytes of [start, end) that are among them. */
  overlap(start: number, end: number): number {
    let bytes = 0;
    for (let at = this.#firstEndingAfter(start); at < this.#starts.length && this.#starts[at]! < end; at++) {
      bytes += Math.min(end, this.#ends[at]!) - Math.max(start, this.#starts[at]!);
    }
    return bytes;
  }

  add(start: number, end: number): void {
    const from = this.#firstEndingAfter(start - 1); // touching ones become one
    let to = from;
    while (to < this.#starts.length && this.#starts[to]! <= end) to++;
    if (to > from) {
      start = Math.min(start, this.#starts[from]!);
      end = Math.max(end, this.#ends[to - 1]!);
    }
    this.#starts.splice(from, to - from, start);
    this.#ends.splice(from, to - from, end);
    if (this.#starts.length <= DISK_RANGES) return;
    const into = Math.max(1, from); // with the one before it, or the first two
    this.#starts.splice(into, 1);
    this.#ends.splice(into - 1, 1);
  }

  /** Index of the first range that ends after `offset`. */
  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const SECTOR_BYTES = 512;

/** An NBD client's requests. */
export class DiskSink extends SilentSink {
  readonly #connection: number;
  #name = '';
  #written = 0;
  #zeroed = 0;
  #read = 0;
  #rewritten = 0;
  readonly #copied = new Places();
  #sweptNs: number;
  #requests = 0;
  /** The client asked for TLS; the record before carried data. */
  #sealed = false;
  #inData = false;
  #startNs: number;
  #endNs: number;

  constructor(connection: number, startNs: number) {
    super();
    this.#connection = connection;
    this.#startNs = startNs;
    this.#sweptNs = startNs;
    this.#endNs = startNs;
  }

  override diskExport(name: string): void {
    this.#name = name;
  }

  override diskRequest(tNs: number, kind: 'write' | 'zero' | 'read' | 'other', offset: number, length: number): void {
    this.#requests++;
    this.#endNs = tNs;
    if (kind === 'write' || kind === 'zero') this.#swept(tNs, kind, offset, length);
    if (kind === 'write') this.#written += length;
    else if (kind === 'zero') this.#zeroed += length;
    else if (kind === 'read') this.#read += length;
  }

  /**
   * Inside TLS a request's header is a record of its own (QEMU io/channel-tls.c, qio_channel_tls_writev), and its data are whole
   * sectors; what protection adds is less than one.
   */
  override sealed(_offset: number, tNs: number, length: number): void {
    const data = length - (length % SECTOR_BYTES);
    this.#sealed = true;
    this.#endNs = this.#sweptNs = tNs;
    if (data > 0 && !this.#inData) this.#requests++;
    this.#inData = data > 0;
    this.#written += data;
  }

  /**
   * A mirror copies every place once, several at a time and so not quite in order, then returns to what was written meanwhile
   * (QEMU block/mirror.c, mirror_run). A target that may hold old data is zeroed first (mirror_dirty_init): that is no copy yet.
   */
  #swept(tNs: number, kind: 'write' | 'zero', offset: number, length: number): void {
    const end = offset + length;
    const again = this.#copied.overlap(offset, end);
    this.#rewritten += again;
    if (again === length) return;
    this.#sweptNs = tNs;
    if (kind === 'write') this.#copied.add(offset, end);
  }

  finish(): DiskCopy {
    return {
      connection: this.#connection,
      name: this.#name,
      writtenBytes: this.#written,
      zeroedBytes: this.#zeroed,
      readBytes: this.#read,
      rewrittenBytes: this.#rewritten,
      sweptNs: this.#sweptNs,
      requests: this.#requests,
      startNs: this.#startNs,
      endNs: this.#endNs,
      ...(this.#sealed ? { encryption: 'tls' } : {}),
    };
  }
}
