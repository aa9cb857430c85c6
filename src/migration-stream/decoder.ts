// The driver: feeds one stream to its decoder, through holes and back to firm ground.
//
// It implements the transport's StreamConsumer on one side and resumes a StreamReader's generators on the other. Bytes
// are handed on as views; a remainder too short for the decoder's next read is copied by the cursor. Where the decoder
// lost its place, the driver runs its `resync` and accounts for the bytes in between.
import type { AnomalyCode, AnomalyLog } from '../anomaly.js';
import type { HoleCause, StreamConsumer, StreamEnd } from '../decode/stream.js';
import { ByteCursor, type Reading } from '../decode/tcp/byte-cursor.js';
import { RESYNC_SEARCH_BYTES } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import { mainChannel, reconnection } from './main-channel.js';
import { multifd } from './multifd.js';
import { nbdClient, nbdServer } from './nbd.js';
import { preempt } from './preempt.js';
import type { MigrationSink, ReadEnd, StreamClock, StreamContext, StreamDecoder, StreamReader } from './records.js';
import { returnPath } from './return-path.js';
import { tls } from './tls.js';

/** All stream protocols, in the order in which they are asked. Those with a magic come before those without. */
export const DECODERS: readonly StreamDecoder[] = [
  mainChannel,
  multifd,
  tls,
  nbdServer,
  nbdClient,
  returnPath,
  reconnection,
  preempt,
];

/** What is missing costs a search less; but of a stream cut to its headers hardly anything else is there. */
const MISSING_WEIGHT = 1 / 16;

/** What the driver knows of a stream's bytes. */
export interface StreamAccount {
  /** Bytes from the first to the last one known of, holes included. */
  length: number;
  /** Of these, how many no decoder could place: lost headers and what follows them until the decoder found its feet. */
  undecodedBytes: number;
  /** Bytes absent from the capture, inside page contents or not. */
  missingBytes: number;
  /** Of these, cut by the snap length. */
  cutBytes: number;
}

/** Runs one StreamDecoder over one stream. */
export class StreamDriver implements StreamConsumer, StreamClock {
  readonly account: StreamAccount = {
    length: WIDE_ZERO,
    undecodedBytes: 0,
    missingBytes: 0,
    cutBytes: 0,
  };
  /** How the stream ended; null while it goes on. */
  ended: StreamEnd | null = null;
  endNs = WIDE_ZERO;
  /** When the capture was over, where that was before the stream ended; else −∞. */
  capturedToNs = Number.NEGATIVE_INFINITY;
  beforeNs = WIDE_ZERO;
  readonly #cursor = new ByteCursor();
  readonly #reader: StreamReader;
  readonly #sink: MigrationSink;
  readonly #direction: number;
  readonly #log: AnomalyLog;
  /** The generator at work, or null when the rest of the stream is not decoded. */
  #reading: Reading<ReadEnd | boolean> | null;
  /** Contiguous bytes the generator waits for. */
  #need = 0;
  /** Offset where the place was lost; NaN while in step. */
  #lostAt = Number.NaN;
  /** False until the stream is known to be what the decoder reads: while a stream joined midway is searched. */
  #proven: boolean;
  readonly #onProven: (() => void) | null;
  #begun = false;
  /** Where the search last found its feet; a decoder that fails right there again must not be sent back to it. */
  #foundAt = Number.NaN;

  /**
   * @param onProven  given when the stream is joined midway: the decoder searches before it reads, and this is called
   *                  once it has found its feet
   */
  constructor(
    decoder: StreamDecoder,
    sink: MigrationSink,
    context: StreamContext,
    log: AnomalyLog,
    onProven: (() => void) | null = null,
  ) {
    const { direction } = context;
    this.#sink = sink;
    this.#direction = direction;
    this.#log = log;
    const note = (code: AnomalyCode, detail: string): void => {
      const { offset, tNs, frame } = this.#cursor;
      log.note(code, { direction, streamOffset: offset, tNs, frame, detail });
    };
    this.#reader = decoder.open(sink, note, context);
    this.#onProven = onProven;
    this.#proven = !onProven;
    this.#reading = onProven ? (this.#reader.resync?.(this.#cursor) ?? null) : this.#reader.decode(this.#cursor);
  }

  /** True while a stream joined midway may yet turn out to be what its decoder reads. */
  get searching(): boolean {
    if (this.#proven || this.ended !== null) return false;
    const { length, missingBytes } = this.account;
    return length - missingBytes + MISSING_WEIGHT * missingBytes <= RESYNC_SEARCH_BYTES;
  }

  /** True where frames are missing from the capture and the place behind them was not found: what came there is not known. */
  get endsUnread(): boolean {
    return !Number.isNaN(this.#lostAt) && this.account.missingBytes > this.account.cutBytes;
  }

  get newestNs(): number {
    return this.#cursor.tNs;
  }

  /** True once the stream is known to be what its decoder reads. */
  get proven(): boolean {
    return this.#proven;
  }

  /** Nothing in the stream counts as earlier than `tNs`, when its migration began: the clock may have stepped back. */
  notBefore(tNs: number): void {
    if (this.#cursor.tNs < tNs) this.#cursor.tNs = tNs;
  }

  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): boolean {
    const cursor = this.#cursor;
    if (tNs > cursor.tNs) {
      this.beforeNs = cursor.tNs;
      cursor.tNs = tNs;
    }
    cursor.frame = frame;
    this.account.length += end - start;
    if (!this.#begun) this.#begin(offset);
    if (!Number.isNaN(this.#lostAt)) this.#reader.glance?.(buffer, start, end);
    let at = start;
    if (cursor.owed > 0) at += cursor.pay(end - at);
    else if (this.#need === 1 && !Number.isNaN(this.#lostAt) && cursor.available === 0) {
      if (this.#reader.isBarren?.(buffer, start, end, offset, cursor.tNs)) {
        cursor.jump(offset + end - start);
        return this.#proven || this.searching;
      }
    }
    // A record that straddles two chunks is completed in the cursor's own memory, byte by byte as far as it is needed.
    while (at < end && cursor.available > 0 && this.#reading) {
      const take = Math.min(end - at, this.#need - cursor.available);
      cursor.append(buffer, at, at + take);
      at += take;
      if (cursor.available < this.#need) return true;
      this.#resume();
      if (cursor.owed > 0) at += cursor.pay(end - at);
    }
    if (at < end && this.#reading) {
      cursor.attach(buffer, at, end, offset + (at - start));
      if (end - at >= this.#need) this.#resume();
      if (this.#reading) cursor.keep();
    }
    return this.#proven || this.searching;
  }

  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    const cursor = this.#cursor;
    // When another hole was noticed says nothing of what lies behind it: that may have waited, up to the end of the capture.
    if (cause === 'cut' && tNs > cursor.tNs) cursor.tNs = tNs;
    cursor.frame = frame;
    const { account } = this;
    account.length += length;
    account.missingBytes += length;
    if (cause === 'cut') account.cutBytes += length;
    if (!this.#begun) this.#begin(offset);
    if (!this.#reading) return;
    const inContents = cursor.owed > 0 ? cursor.pay(length) : 0;
    if (inContents === length) return;
    // The hole covers something that has to be read. A search first sees what is left before the hole, if anything is,
    // and may succeed.
    if (!Number.isNaN(this.#lostAt) && cursor.available > 0) {
      this.#step(false);
      this.#resumeWhileReady();
      if (cursor.owed > 0 && cursor.pay(length) === length) return;
    }
    const searching = !Number.isNaN(this.#lostAt);
    if (!searching) this.#lose(cursor.offset);
    cursor.jump(offset + length);
    if (!searching && this.#reading) this.#step(false);
  }

  end(offset: number, cause: StreamEnd, tNs: number, frame: number): void {
    const cursor = this.#cursor;
    cursor.frame = frame;
    cursor.ended = true;
    this.ended = cause;
    if (cause === 'capture-end') this.capturedToNs = tNs;
    // Without an end of its own the stream ends with its last byte, however long the capture goes on.
    this.endNs = cause === 'fin' || cause === 'rst' ? Math.max(cursor.tNs, tNs) : cursor.tNs;
    // A decoder may look ahead further than the stream goes: it is asked again what it makes of the remainder.
    while (this.#reading) this.#step(false);
    if (this.#lostAt < offset) {
      this.account.undecodedBytes += offset - this.#lostAt;
      if (this.#proven) this.#sink.blind(this.#lostAt, offset, cursor.tNs);
    }
    // What was only searched may be anybody's: it neither hides nor ends anything of a migration.
    if (this.#proven) this.#sink.streamEnd(offset, this.endNs, cause, frame);
  }

  #begin(offset: number): void {
    this.#begun = true;
    this.#cursor.jump(offset);
    if (this.#proven) this.#sink.streamStart(offset);
    else this.#lostAt = offset;
    if (this.#reading) this.#step(true);
  }

  #lose(offset: number): void {
    this.#lostAt = offset;
    const { tNs, frame } = this.#cursor;
    this.#log.note('stream/desync', { direction: this.#direction, streamOffset: offset, tNs, frame });
  }

  #resume(): void {
    this.#step(true);
    this.#resumeWhileReady();
  }

  /** Goes on as long as what the generator asks for is already here. */
  #resumeWhileReady(): void {
    const cursor = this.#cursor;
    while (this.#reading && cursor.owed === 0 && cursor.available >= this.#need) this.#step(true);
  }

  /** Resumes the generator; when it is done, decides who goes on. */
  #step(ready: boolean): void {
    const cursor = this.#cursor;
    for (let answer = ready; this.#reading; answer = true) {
      const { done, value } = this.#reading.next(answer);
      if (!done) {
        this.#need = value as number;
        return;
      }
      if (value === true) {
        this.#found();
        this.#reading = this.#reader.decode(cursor);
      } else if (value === 'desync') {
        if (Number.isNaN(this.#lostAt)) this.#lose(cursor.offset);
        if (cursor.offset === this.#foundAt) cursor.skip(1);
        this.#reading = cursor.ended ? null : (this.#reader.resync?.(cursor) ?? null);
      } else {
        // The last record was read, or the stream ended before it. What follows the last record is nobody's; the
        // beginning of a record that is cut off is not held against the decoder.
        this.#reading = null;
        if (Number.isNaN(this.#lostAt) && !cursor.ended) this.#lostAt = cursor.offset;
      }
    }
  }

  #found(): void {
    const { offset, tNs, frame } = this.#cursor;
    if (!this.#proven) {
      this.#onProven?.();
      this.#sink.streamStart(this.#lostAt);
    }
    this.account.undecodedBytes += offset - this.#lostAt;
    this.#sink.blind(this.#lostAt, offset, tNs);
    this.#log.note(this.#proven ? 'stream/resync' : 'stream/mid-stream', {
      direction: this.#direction,
      streamOffset: offset,
      tNs,
      frame,
      detail: `${offset - this.#lostAt} bytes not decoded`,
    });
    this.#proven = true;
    this.#lostAt = Number.NaN;
    this.#foundAt = offset;
  }
}

/** A stream that one of several decoders may prove to be its own; the others are dropped then. */
export class EitherStream implements StreamConsumer {
  #drivers: readonly StreamDriver[];

  constructor(...drivers: (StreamDriver | null)[]) {
    this.#drivers = drivers.filter((driver) => driver !== null);
  }

  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): boolean {
    let wanted = false;
    for (const driver of this.#drivers) {
      wanted = driver.bytes(buffer, start, end, offset, tNs, frame) || wanted;
      if (this.#settle(driver)) break;
    }
    return wanted;
  }

  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    for (const driver of this.#drivers) driver.hole(offset, length, cause, tNs, frame);
  }

  end(offset: number, cause: StreamEnd, tNs: number, frame: number): void {
    for (const driver of this.#drivers) {
      driver.end(offset, cause, tNs, frame);
      if (this.#settle(driver)) break;
    }
  }

  #settle(driver: StreamDriver): boolean {
    if (driver.proven && this.#drivers.length > 1) this.#drivers = [driver];
    return driver.proven;
  }
}
