// Byte inputs: files and pipes below the capture readers, all with one way to read.
//
// A regular file is read straight into the caller's memory, by the thread that looks at it next: copied by another one, each
// record had to be fetched from that one's cache, which took longer than copying it (docs/performance.md). Only where the system
// has to wait for the storage is another thread, of libuv's, sent ahead. Pipes are event-driven, so that a quiet one can be
// closed at any time.
import { closeSync, createReadStream, fstatSync, openSync, read, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { cannotRead, noSuchFile } from '../errors.js';
import { WIDE_ZERO } from '../wide-zero.js';

export interface ByteInput {
  /**
   * Reads up to `length` bytes into `target` from `at` on.
   *
   * @returns how many bytes were read; 0 means the end. A promise only where waiting may be needed.
   */
  read(target: Uint8Array, at: number, length: number): number | Promise<number>;
  /** read() does not wait: nothing is gained by asking early. */
  readonly immediate: boolean;
  /**
   * Where another thread can read: sends for the next `length` bytes before they are needed. Ask for large pieces.
   *
   * @returns what brings them, as read() does: all that was asked for, except at the end. Call it once, in the order of asking
   */
  ahead?(target: Uint8Array, at: number, length: number): () => number | Promise<number>;
  /** Bytes taken from the file or pipe itself, before any unpacking. */
  readonly doneBytes: number;
  /** null for a pipe. */
  readonly totalBytes: number | null;
  close(): void;
}

/** The name that stands for standard input. */
const STANDARD_INPUT = '-';

/**
 * Opens a path or, for '-', standard input.
 *
 * @param alone  nothing else is read at the time: another thread may be sent ahead, into memory of its own
 * @throws InputError when it does not exist or cannot be read
 */
export function openBytes(path: string, alone = false): ByteInput {
  const fd = path === STANDARD_INPUT ? 0 : openDescriptor(path);
  const stat = fstatSync(fd);
  if (stat.isDirectory()) {
    closeSync(fd);
    throw cannotRead(path, 'it is a directory');
  }
  if (stat.isFile()) {
    const large = alone && fd !== 0 && stat.size >= LARGE_BYTES && availableParallelism() > 1;
    return large ? new LargeFileInput(path, fd, stat.size) : new FileInput(path, fd, stat.size);
  }
  // A socket handle polls a pipe; a thread blocked in read() would keep the process from ending.
  const pipe = stat.isFIFO() || stat.isSocket();
  const stream = pipe ? new Socket({ fd, writable: false }) : createReadStream('', { fd });
  return new StreamInput(path, stream);
}

function openDescriptor(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw noSuchFile(path);
    throw cannotRead(path, reasonOf(error));
  }
}

/** The system's own words for what went wrong. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** A regular file, read in place. */
class FileInput implements ByteInput {
  readonly immediate = true;
  doneBytes = WIDE_ZERO;
  readonly totalBytes: number;
  readonly #path: string;
  #fd: number | null;

  constructor(path: string, fd: number, totalBytes: number) {
    this.#path = path;
    this.#fd = fd;
    this.totalBytes = totalBytes;
  }

  read(target: Uint8Array, at: number, length: number): number {
    if (this.#fd === null) return 0;
    try {
      const got = readSync(this.#fd, target, at, length, null);
      this.doneBytes += got;
      return got;
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    }
  }

  close(): void {
    if (this.#fd === null) return;
    if (this.#fd !== 0) closeSync(this.#fd);
    this.#fd = null;
  }
}

/** Smaller files are read before another thread is awake. */
const LARGE_BYTES = 16 << 20;
/** What a system copies from its cache at the least, into fresh memory too; what comes more slowly was waited for. */
const CACHED_BYTES_PER_MS = 1.5e6;
/** So many reads that waited, beyond those that did not, are no accident (another program that had the processor, say). */
const SLOW_READS = 3;
/** A read of less takes its time for other reasons. */
const SMALL_BYTES = 64 << 10;
const readAside = promisify(read);

/** A large regular file, read by another thread once its storage proves slow; what is written to it after it was opened is left out. */
class LargeFileInput implements ByteInput {
  doneBytes = WIDE_ZERO;
  readonly totalBytes: number;
  readonly #path: string;
  readonly #fd: number;
  /** Position that the next piece begins at. */
  #position = WIDE_ZERO;
  /** Reads that waited less those that did not; counts no further once there are SLOW_READS. */
  #slowReads = 0;
  /** Reads of the other thread that are not finished. */
  #pending = 0;
  #closed = false;

  constructor(path: string, fd: number, totalBytes: number) {
    this.#path = path;
    this.#fd = fd;
    this.totalBytes = totalBytes;
  }

  get immediate(): boolean {
    return this.#slowReads < SLOW_READS;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    return this.immediate ? this.#readInPlace(target, at, length) : this.ahead(target, at, length)();
  }

  ahead(target: Uint8Array, at: number, length: number): () => number | Promise<number> {
    if (this.#closed) return () => 0;
    const position = this.#position;
    const wanted = Math.min(length, this.totalBytes - position);
    this.#position += wanted;
    const got = this.#readAside(target, at, wanted, position);
    // A failure is for whoever waits for these bytes; until then it must not count as nobody's.
    got.catch(() => {});
    return () => got;
  }

  #readInPlace(target: Uint8Array, at: number, length: number): number {
    if (this.#closed) return 0;
    const wanted = Math.min(length, this.totalBytes - this.#position);
    const beganMs = performance.now();
    try {
      const got = readSync(this.#fd, target, at, wanted, this.#position);
      const waited = (performance.now() - beganMs) * CACHED_BYTES_PER_MS > Math.max(got, SMALL_BYTES);
      this.#slowReads = Math.max(0, this.#slowReads + (waited ? 1 : -1));
      this.#position += got;
      this.doneBytes += got;
      return got;
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    }
  }

  async #readAside(target: Uint8Array, at: number, wanted: number, position: number): Promise<number> {
    this.#pending++;
    let got = 0;
    try {
      // The next read may be on its way already: this one must not leave a gap before it.
      for (let more = 1; got < wanted && more > 0; got += more) {
        more = (await readAside(this.#fd, target, at + got, wanted - got, position + got)).bytesRead;
      }
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    } finally {
      this.#pending--;
      if (this.#closed) this.#release();
    }
    this.doneBytes += got;
    return got;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#release();
  }

  /** The number of a closed descriptor may be given out again: not while a thread still reads from it. */
  #release(): void {
    if (this.#pending === 0) closeSync(this.#fd);
  }
}

/** Any readable stream as a byte input: pipes, unpackers, the output of a child process. */
export class StreamInput implements ByteInput {
  readonly immediate = false;
  doneBytes = WIDE_ZERO;
  readonly totalBytes = null;
  readonly #name: string;
  readonly #stream: Readable;
  #rest: Uint8Array | null = null;
  #ended = false;
  #error: unknown = null;
  readonly #broken: 'throws' | 'ends';
  #wake: (() => void) | null = null;

  /** @param broken  'throws' an InputError that begins with `name`, or is an end like any other for who knows better */
  constructor(name: string, stream: Readable, broken: 'throws' | 'ends' = 'throws') {
    this.#name = name;
    this.#stream = stream;
    this.#broken = broken;
    const wake = (): void => this.#wake?.();
    stream.on('readable', wake);
    for (const event of ['end', 'close']) {
      stream.on(event, () => {
        this.#ended = true;
        wake();
      });
    }
    stream.on('error', (error) => {
      this.#error = error;
      this.#ended = true;
      wake();
    });
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    const got = this.#take(target, at, length);
    return got > 0 || this.#ended ? got || this.#atEnd() : this.#wait(target, at, length);
  }

  async #wait(target: Uint8Array, at: number, length: number): Promise<number> {
    for (;;) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const got = this.#take(target, at, length);
      if (got > 0) return got;
      if (this.#ended) return this.#atEnd();
    }
  }

  #take(target: Uint8Array, at: number, length: number): number {
    const chunk = this.#rest ?? (this.#stream.read() as Uint8Array | null);
    if (chunk === null) return 0;
    const got = Math.min(length, chunk.length);
    target.set(got === chunk.length ? chunk : chunk.subarray(0, got), at);
    this.#rest = got === chunk.length ? null : chunk.subarray(got);
    this.doneBytes += got;
    return got;
  }

  #atEnd(): number {
    if (this.#error !== null && this.#broken === 'throws') throw cannotRead(this.#name, reasonOf(this.#error));
    return 0;
  }

  close(): void {
    this.#stream.destroy();
  }
}
