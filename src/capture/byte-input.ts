// Byte inputs: files and pipes below the capture readers, all with one way to read.
//
// A regular file is read straight into the caller's memory, synchronously: from the system's cache that is as fast as
// `cat`, 3 to 9 times faster than a stream, and the bytes end up in the cache of the processor that looks at them next
// (measured: reading by another thread makes the whole analysis a tenth slower). Once reading has to wait, for a slow disk
// or the network, another thread does it. Pipes are event-driven, so that a quiet one can be closed at any time.
import { closeSync, createReadStream, fstatSync, openSync, read, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { Readable } from 'node:stream';
import { cannotRead, noSuchFile } from '../errors.js';

export interface ByteInput {
  /**
   * Reads up to `length` bytes into `target` from `at` on.
   *
   * @returns how many bytes were read; 0 means the end. A promise only where waiting may be needed.
   */
  read(target: Uint8Array, at: number, length: number): number | Promise<number>;
  /** Reading takes time: it pays to ask for more while what is there is looked at. */
  readonly waits: boolean;
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
 * @throws InputError when it does not exist or cannot be read
 */
export function openBytes(path: string): ByteInput {
  const fd = path === STANDARD_INPUT ? 0 : openDescriptor(path);
  const stat = fstatSync(fd);
  if (stat.isDirectory()) {
    closeSync(fd);
    throw cannotRead(path, 'it is a directory');
  }
  if (stat.isFile()) return new FileInput(path, fd, stat.size);
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

/** A read slower than this (the system's cache gives 5 GB/s) has waited for something; so many of them are no accident. */
const CACHED_NS_PER_BYTE = 2;
const SLOW_READS = 4;

class FileInput implements ByteInput {
  doneBytes = 0;
  readonly totalBytes: number;
  readonly #path: string;
  #fd: number | null;
  #slowReads = 0;
  #reading = false;
  #closed = false;

  constructor(path: string, fd: number, totalBytes: number) {
    this.#path = path;
    this.#fd = fd;
    this.totalBytes = totalBytes;
  }

  get waits(): boolean {
    return this.#slowReads >= SLOW_READS;
  }

  read(target: Uint8Array, at: number, length: number): number | Promise<number> {
    if (this.#fd === null || this.#closed) return 0;
    return this.waits ? this.#readAside(this.#fd, target, at, length) : this.#readHere(this.#fd, target, at, length);
  }

  #readHere(fd: number, target: Uint8Array, at: number, length: number): number {
    try {
      const begunMs = performance.now();
      const got = readSync(fd, target, at, length, null);
      if ((performance.now() - begunMs) * 1e6 > CACHED_NS_PER_BYTE * length) this.#slowReads++;
      else this.#slowReads = 0;
      this.doneBytes += got;
      return got;
    } catch (error) {
      throw cannotRead(this.#path, reasonOf(error));
    }
  }

  #readAside(fd: number, target: Uint8Array, at: number, length: number): Promise<number> {
    this.#reading = true;
    return new Promise((resolve, reject) => {
      read(fd, target, at, length, null, (error, got) => {
        this.#reading = false;
        if (this.#closed) this.#release();
        this.doneBytes += error ? 0 : got;
        if (error) reject(cannotRead(this.#path, reasonOf(error)));
        else resolve(got);
      });
    });
  }

  close(): void {
    this.#closed = true;
    // The number of a closed descriptor may be given out again while a thread still reads from it.
    if (!this.#reading) this.#release();
  }

  #release(): void {
    if (this.#fd !== null && this.#fd !== 0) closeSync(this.#fd);
    this.#fd = null;
  }
}

/** Any readable stream as a byte input: pipes, unpackers, the output of a child process. */
export class StreamInput implements ByteInput {
  doneBytes = 0;
  readonly totalBytes = null;
  /** Streams read ahead by themselves. */
  readonly waits = false;
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
