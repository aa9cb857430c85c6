// Byte inputs: files and pipes below the capture readers, all with one way to read.
//
// A regular file is read straight into the caller's memory, in place as long as that is mere copying from the system's cache:
// what was just copied is in the cache of the processor that looks at it. A large one that makes the caller wait for a disk is
// from then on read by another thread, ahead of what the caller works on. Pipes are event-driven, so that a quiet one can be
// closed at any time.
import { closeSync, createReadStream, fstatSync, openSync, read, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { cannotRead, noSuchFile } from '../errors.js';

export interface ByteInput {
  /**
   * Reads up to `length` bytes into `target` from `at` on.
   *
   * @returns how many bytes were read; 0 means the end. A promise only where waiting may be needed.
   */
  read(target: Uint8Array, at: number, length: number): number | Promise<number>;
  /**
   * Another thread reads by now: ask for large pieces, and for the next ones before they are needed. Each brings all that was
   * asked for, except the last.
   */
  readonly aside: boolean;
  /** Another thread reads now or may later. */
  readonly mayGoAside: boolean;
  /** Bytes taken from the file or pipe itself, before any unpacking. */
  readonly doneBytes: number;
  /** null for a pipe. */
  readonly totalBytes: number | null;
  close(): void;
}

/** The name that stands for standard input. */
export const STANDARD_INPUT = '-';

/**
 * Opens a path or, for '-', standard input.
 *
 * @param alone  nothing else is read at the time: its memory may be large
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
    const mayGoAside = alone && fd !== 0 && stat.size >= LARGE_BYTES && availableParallelism() > 1;
    return new FileInput(path, fd, stat.size, mayGoAside);
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

/** Smaller files are read before another thread is awake. */
const LARGE_BYTES = 16 << 20;
/** Reading is judged by so much at a time: of a file in the cache the system may have dropped a piece. */
const JUDGED_BYTES = 32 << 20;
/** Where more than this share of it came from a disk, or it took longer than any copying, another thread is to wait for it. */
const FETCHED_SHARE = 0.5;
const WAITING_NS_PER_BYTE = 4;
/** Unit of what the system says it has fetched. Source: getrusage(2), ru_inblock as Linux counts it. */
const BLOCK_BYTES = 512;
const readAside = promisify(read);

/** A regular file. What is written to it after it was opened is left out where another thread reads. */
class FileInput implements ByteInput {
  doneBytes = 0;
  aside = false;
  readonly mayGoAside: boolean;
  readonly totalBytes: number;
  readonly #path: string;
  #fd: number | null;
  /** Read in place since the latest judgement, and the time that took. */
  #judgedBytes = 0;
  #judgedNs = 0;
  #fetchedBlocks = 0;
  /** Position that the next read of the other thread begins at. */
  #position = 0;
  /** Reads of that thread that are not finished. */
  #pending = 0;

  constructor(path: string, fd: number, totalBytes: number, mayGoAside: boolean) {
    this.#path = path;
    this.#fd = fd;
    this.totalBytes = totalBytes;
    this.mayGoAside = mayGoAside;
    if (mayGoAside) this.#fetchedBlocks = process.resourceUsage().fsRead;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    if (this.#fd === null) return 0;
    if (this.aside) return this.#readAside(this.#fd, target, at, length);
    try {
      const fromMs = performance.now();
      const got = readSync(this.#fd, target, at, length, null);
      this.doneBytes += got;
      if (this.mayGoAside) this.#judge(got, (performance.now() - fromMs) * 1e6);
      return got;
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    }
  }

  #judge(bytes: number, ns: number): void {
    this.#judgedBytes += bytes;
    this.#judgedNs += ns;
    if (this.#judgedBytes < JUDGED_BYTES) return;
    const { fsRead } = process.resourceUsage();
    const fetchedBytes = (fsRead - this.#fetchedBlocks) * BLOCK_BYTES;
    const waited = this.#judgedNs > WAITING_NS_PER_BYTE * this.#judgedBytes;
    this.aside = waited || fetchedBytes > FETCHED_SHARE * this.#judgedBytes;
    this.#position = this.doneBytes;
    this.#fetchedBlocks = fsRead;
    this.#judgedBytes = this.#judgedNs = 0;
  }

  async #readAside(fd: number, target: Uint8Array, at: number, length: number): Promise<number> {
    const position = this.#position;
    const wanted = Math.max(0, Math.min(length, this.totalBytes - position));
    this.#position += wanted;
    this.#pending++;
    let got = 0;
    try {
      // The next read may be on its way already: this one must not leave a gap before it.
      for (let more = 1; got < wanted && more > 0; got += more) {
        more = (await readAside(fd, target, at + got, wanted - got, position + got)).bytesRead;
      }
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    } finally {
      this.#pending--;
      if (this.#fd === null) this.#release(fd);
    }
    this.doneBytes += got;
    return got;
  }

  close(): void {
    const fd = this.#fd;
    if (fd === null) return;
    this.#fd = null;
    this.#release(fd);
  }

  /** The number of a closed descriptor may be given out again: not while a thread still reads from it. */
  #release(fd: number): void {
    if (fd !== 0 && this.#pending === 0) closeSync(fd);
  }
}

/** Any readable stream as a byte input: pipes, unpackers, the output of a child process. */
export class StreamInput implements ByteInput {
  doneBytes = 0;
  readonly totalBytes = null;
  /** Streams read ahead by themselves. */
  readonly aside = false;
  readonly mayGoAside = false;
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
