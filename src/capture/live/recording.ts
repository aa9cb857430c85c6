// Recording: keeps what a live capture sees as a classic pcap file, plain or packed, in one piece or in rotation.
//
// Whole records only, times to the nanosecond, so that reading the file gives the batches that were written. Memory is
// one buffer; a slow disk makes write() wait, which holds up the source, and the kernel's ring takes the strain. What is
// flushed survives a kill. When the disk is full the recording ends at its last whole record, and says so; the capture
// and its analysis go on.
import { type FileHandle, open } from 'node:fs/promises';
import { constants, createGzip, type Gzip } from 'node:zlib';
import { type InputError, recordingFailed, recordingName } from '../../errors.js';
import { FRAME_BYTES } from '../../limits.js';
import { reasonOf } from '../byte-input.js';
import type { CaptureInfo, PacketBatch } from '../packet-batch.js';

const BUFFER_BYTES = 1 << 20;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const MAGIC_NS = 0xa1b23c4d;
/** What tcpdump and Wireshark write for "unlimited". */
const SNAP_LENGTH_UNLIMITED = 262_144;
const SECOND_NS = 1_000_000_000;

/** When to begin the next file; null never. Sizes before packing. */
export interface Rotation {
  readonly bytes: number | null;
  readonly ns: number | null;
}

/** FILE.pcap[.gz] of file `index` (from 1): itself without rotation, FILE-00001.pcap[.gz] with. Throws UsageError. */
export function recordingPath(path: string, rotation: Rotation, index: number): string {
  const match = /^(.*)(\.pcap(?:\.gz)?)$/.exec(path);
  if (!match) throw recordingName(path);
  const rotates = rotation.bytes !== null || rotation.ns !== null;
  return rotates ? `${match[1]}-${String(index).padStart(5, '0')}${match[2]}` : path;
}

export class Recording {
  /** Bytes of capture written, all files together, before packing. */
  bytes = 0;
  /** Frames accepted. */
  frames = 0;
  /** Files begun. */
  files = 0;
  /** Why it ended early; null while it works. */
  failure: InputError | null = null;
  /** Frames that are in the files for certain. */
  #safeFrames = 0;
  readonly #path: string;
  readonly #rotation: Rotation;
  readonly #info: CaptureInfo;
  /** Filled by write(). */
  #buffer = emptyBuffer();
  #used = 0;
  /** On its way to the file, or free. */
  #spare = emptyBuffer();
  #file: OutputFile | null = null;
  #fileStartNs = 0;
  #fileBytes = 0;
  /** File operations happen one after the other: flush() comes from a timer, between any two steps of write(). */
  #turn: Promise<void> = Promise.resolve();

  /**
   * @param path  FILE.pcap or FILE.pcap.gz; replaced when it exists. Throws UsageError for another name.
   * @param info  of the source whose batches are written; its epoch is read with the first one
   */
  constructor(path: string, rotation: Rotation, info: CaptureInfo) {
    recordingPath(path, rotation, 1);
    this.#path = path;
    this.#rotation = rotation;
    this.#info = info;
  }

  /** Takes a batch; resolves when the buffer has room again. Never throws: see `failure`. */
  async write(batch: PacketBatch): Promise<void> {
    const { count, bytes, start, captured, wire, tNs } = batch;
    const epochNs = this.#info.epochNs;
    if (this.failure || count === 0 || epochNs === null) return;
    const epochSeconds = Number(epochNs / BigInt(SECOND_NS));
    const epochRestNs = Number(epochNs % BigInt(SECOND_NS));
    for (let row = 0; row < count; row++) {
      if (this.#mustRotate(tNs[row]!)) await this.#nextFile(batch, tNs[row]!);
      if (this.failure) return;
      const time = epochRestNs + tNs[row]!;
      const seconds = Math.floor(time / SECOND_NS);
      const from = start[row]!;
      const buffer = this.#buffer;
      let at = this.#used;
      buffer.writeUInt32LE((epochSeconds + seconds) >>> 0, at);
      buffer.writeUInt32LE(Math.floor(time - seconds * SECOND_NS), at + 4);
      buffer.writeUInt32LE(captured[row]!, at + 8);
      buffer.writeUInt32LE(wire[row]!, at + 12);
      at += RECORD_HEADER_BYTES;
      buffer.set(bytes.subarray(from, from + captured[row]!), at);
      this.#used = at + captured[row]!;
      this.#fileBytes += RECORD_HEADER_BYTES + captured[row]!;
      this.frames++;
      if (this.#used >= BUFFER_BYTES) await this.#inTurn(() => this.#drain());
    }
  }

  /** Hands everything accepted so far to the operating system. */
  flush(): Promise<void> {
    return this.#inTurn(async () => {
      const frames = this.frames;
      await this.#drain();
      await this.#file?.flush();
      this.#safeFrames = frames;
    });
  }

  /** Flushes and closes. */
  close(): Promise<void> {
    return this.#inTurn(() => this.#closeFile());
  }

  #mustRotate(tNs: number): boolean {
    if (this.files === 0) return true;
    const { bytes, ns } = this.#rotation;
    return (bytes !== null && this.#fileBytes >= bytes) || (ns !== null && tNs - this.#fileStartNs >= ns);
  }

  async #nextFile(batch: PacketBatch, tNs: number): Promise<void> {
    await this.#inTurn(async () => {
      await this.#closeFile();
      this.files++;
      const path = recordingPath(this.#path, this.#rotation, this.files);
      this.#file = await OutputFile.open(path, path.endsWith('.gz'));
    });
    this.#fileStartNs = tNs;
    this.#fileBytes = FILE_HEADER_BYTES;
    const first = batch.interfaces[0]!; // a live capture has one
    const header = this.#buffer;
    header.fill(0, 0, FILE_HEADER_BYTES);
    header.writeUInt32LE(MAGIC_NS, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(first.snapLength ?? SNAP_LENGTH_UNLIMITED, 16);
    header.writeUInt32LE(first.linkType, 20);
    this.#used = FILE_HEADER_BYTES;
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (this.failure) return;
      try {
        await action();
      } catch (error) {
        await this.#fail(error);
      }
    });
    return this.#turn;
  }

  async #drain(): Promise<void> {
    const full = this.#buffer;
    const used = this.#used;
    const frames = this.frames;
    if (used === 0 || this.#file === null) return;
    this.#buffer = this.#spare;
    this.#spare = full;
    this.#used = 0;
    await this.#file.write(full.subarray(0, used));
    this.bytes += used;
    if (!this.#file.packed) this.#safeFrames = frames;
  }

  async #closeFile(): Promise<void> {
    await this.#drain();
    await this.#file?.close();
    this.#file = null;
  }

  async #fail(error: unknown): Promise<void> {
    const path = recordingPath(this.#path, this.#rotation, this.files);
    this.failure = recordingFailed(path, reasonOf(error), this.#safeFrames);
    await this.#file?.abandon();
    this.#file = null;
  }
}

const emptyBuffer = (): Buffer => Buffer.allocUnsafe(BUFFER_BYTES + FRAME_BYTES + RECORD_HEADER_BYTES);

/** A file, or gzip in front of one. What a method promised to write is with the operating system when it resolves. */
class OutputFile {
  readonly #file: FileHandle;
  readonly #gzip: Gzip | null;
  /** What gzip gave and is not written yet. */
  #packed: Buffer[] = [];
  #wholeBytes = 0;

  private constructor(file: FileHandle, gzip: Gzip | null) {
    this.#file = file;
    this.#gzip = gzip;
    gzip?.on('data', (bytes: Buffer) => this.#packed.push(bytes));
  }

  static async open(path: string, packed: boolean): Promise<OutputFile> {
    // Level 1: higher ones cost a core at a few hundred Mbit/s.
    return new OutputFile(await open(path, 'w'), packed ? createGzip({ level: 1, chunkSize: 1 << 18 }) : null);
  }

  get packed(): boolean {
    return this.#gzip !== null;
  }

  /** `bytes` may be reused once this resolves. */
  async write(bytes: Uint8Array): Promise<void> {
    const gzip = this.#gzip;
    if (gzip) await this.#pack((done) => gzip.write(bytes, done));
    else await this.#file.writeFile(bytes);
    this.#wholeBytes += bytes.length;
  }

  async flush(): Promise<void> {
    const gzip = this.#gzip;
    if (gzip) await this.#pack((done) => gzip.flush(constants.Z_SYNC_FLUSH, done));
  }

  async close(): Promise<void> {
    const gzip = this.#gzip;
    if (gzip) await this.#pack((done) => gzip.once('end', done).end());
    await this.#file.close();
  }

  /** Gives up after an error: a plain file is cut back to its last whole record, a packed one keeps what was flushed. */
  async abandon(): Promise<void> {
    this.#gzip?.destroy();
    try {
      if (!this.#gzip) await this.#file.truncate(this.#wholeBytes);
    } catch {
      // Not a regular file, or gone: readers cope with a cut last record.
    }
    await this.#file.close().catch(() => undefined);
  }

  /** Has gzip do something, and writes what it gave by then. */
  async #pack(action: (done: () => void) => void): Promise<void> {
    await new Promise<void>(action);
    for (const bytes of this.#packed.splice(0)) await this.#file.writeFile(bytes);
  }
}
