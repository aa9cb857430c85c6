// Compressed inputs: gzip (also several members in a row) and zstd, recognised by their first bytes and unpacked below
// the capture readers. Unpacking runs in another thread or process while what came before is analysed; at most one
// piece waits, so memory does not depend on how far the input expands.
//
// Source: RFC 1952 §2.3.1, RFC 8878 §3.1.
import { spawn } from 'node:child_process';
import type { Duplex, Readable, Writable } from 'node:stream';
import * as zlib from 'node:zlib';
import { InputError, noZstd } from '../errors.js';
import { WIDE_ZERO } from '../wide-zero.js';
import type { ByteInput } from './byte-input.js';
import { StreamInput } from './byte-input.js';
import type { ByteWindow } from './byte-window.js';

export type Compression = 'gzip' | 'zstd';

/** Compressed bytes handed over at once. Small, because what a damaged piece holds is lost as a whole. */
const PIECE_BYTES = 16 << 10;
/** With the default of 16 KiB unpacking takes four times as long; beyond this it gains little, and each input has some. */
const UNPACKED_CHUNK_BYTES = 256 << 10;

/** What the first four bytes say; null for an input that is not compressed. */
export function compressionOf({ view, start, end }: ByteWindow): Compression | null {
  if (end - start < 4) return null;
  if (view.getUint16(start) === 0x1f8b) return 'gzip';
  const magic = view.getUint32(start, true);
  // A skippable frame may come first.
  return magic === 0xfd2fb528 || magic >>> 4 === 0x184d2a5 ? 'zstd' : null;
}

/**
 * Unpacks `raw`, of which `head` was already read.
 *
 * @param onDamage  called once when the input is damaged or ends early; all that could be unpacked is delivered
 * @throws InputError from read() when there is nothing to unpack zstd with
 */
export function unpack(compression: Compression, raw: ByteInput, head: Uint8Array, onDamage: () => void): ByteInput {
  return new UnpackedInput(raw, head, compression === 'gzip' ? gunzip() : unzstd(), onDamage);
}

interface Unpacker {
  readonly into: Writable;
  readonly from: Readable;
  /** Rejects when the input was damaged, or with a fatal error. */
  readonly outcome: Promise<void>;
  close(): void;
}

/** The smallest buffer makes the stream wait until a piece was taken, so that an error cannot discard an earlier one. */
const STREAM_OPTIONS = { chunkSize: UNPACKED_CHUNK_BYTES, readableHighWaterMark: 1 };

const gunzip = (): Unpacker => inThread(zlib.createGunzip(STREAM_OPTIONS));

/** In this process where Node can (22.15 and later), else by the zstd program. */
function unzstd(): Unpacker {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: typeof STREAM_OPTIONS) => Duplex };
  if (createZstdDecompress) return inThread(createZstdDecompress(STREAM_OPTIONS));
  const child = spawn('zstd', ['-dcq'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const outcome = new Promise<void>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => reject(error.code === 'ENOENT' ? noZstd() : error));
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`zstd ended with code ${code}`))));
  });
  return { into: child.stdin, from: child.stdout, outcome, close: () => child.kill() };
}

function inThread(stream: Duplex): Unpacker {
  const outcome = new Promise<void>((resolve, reject) => {
    stream.on('end', resolve);
    stream.on('error', reject);
    stream.on('close', () => reject(new Error('closed')));
  });
  return { into: stream, from: stream, outcome, close: () => stream.destroy() };
}

class UnpackedInput implements ByteInput {
  readonly immediate = false;
  /** What was handed to the unpacker: a part of a small file may be in memory long before. */
  doneBytes = WIDE_ZERO;
  readonly #raw: ByteInput;
  readonly #unpacker: Unpacker;
  readonly #output: StreamInput;
  readonly #onDamage: () => void;
  /** An error of the file below, which is not the compression's fault. */
  #rawFailure: unknown = null;
  /** At its end, or closed: nothing more is to be told. */
  #ended = false;

  constructor(raw: ByteInput, head: Uint8Array, unpacker: Unpacker, onDamage: () => void) {
    this.#raw = raw;
    this.#unpacker = unpacker;
    this.#onDamage = onDamage;
    // Errors arrive through `outcome` as well, which tells damage from everything else.
    unpacker.into.on('error', () => this.#unpacker.close());
    unpacker.outcome.catch(() => {});
    this.#output = new StreamInput('', unpacker.from, 'ends');
    void this.#feed(head);
  }

  get totalBytes(): number | null {
    return this.#raw.totalBytes;
  }

  async read(target: Uint8Array, at: number, length: number): Promise<number> {
    const got = await this.#output.read(target, at, length);
    if (got === 0 && !this.#ended) {
      this.#ended = true;
      await this.#conclude();
    }
    return got;
  }

  close(): void {
    this.#ended = true;
    this.#unpacker.close();
    this.#raw.close();
  }

  /** Hands over piece after piece. The end is announced only when all before it was taken: announcing may fail. */
  async #feed(head: Uint8Array): Promise<void> {
    const { into } = this.#unpacker;
    const write = async (bytes: Uint8Array): Promise<void> => {
      await new Promise<void>((resolve, reject) => into.write(bytes, (error) => (error ? reject(error) : resolve())));
      this.doneBytes += bytes.length;
    };
    try {
      for (let at = 0; at < head.length; at += PIECE_BYTES) await write(head.subarray(at, at + PIECE_BYTES));
      const piece = new Uint8Array(PIECE_BYTES);
      for (let got: number; (got = await this.#readRaw(piece)) > 0; ) await write(piece.subarray(0, got));
      into.end();
    } catch {
      this.#unpacker.close(); // why is told by `outcome`
    }
  }

  async #readRaw(piece: Uint8Array): Promise<number> {
    try {
      return await this.#raw.read(piece, 0, piece.length);
    } catch (error) {
      this.#rawFailure = error;
      throw error;
    }
  }

  async #conclude(): Promise<void> {
    try {
      await this.#unpacker.outcome;
    } catch (error) {
      if (this.#rawFailure !== null) throw this.#rawFailure;
      if (error instanceof InputError) throw error;
      this.#onDamage();
    }
  }
}
