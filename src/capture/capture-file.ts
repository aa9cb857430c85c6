// CaptureFile: one input, unpacked, recognised, and read batch by batch.
import type { AnomalyLog } from '../anomaly.js';
import { cannotRead, emptyInput, notACapture, tooShort } from '../errors.js';
import { WIDE_ZERO } from '../wide-zero.js';
import type { ByteInput } from './byte-input.js';
import { ByteWindow } from './byte-window.js';
import { type Compression, compressionOf, unpack } from './compressed.js';
import type { CaptureInterface, InputInfo, PacketBatch } from './packet-batch.js';
import { createBatch } from './packet-batch.js';
import { isPcapMagic, PcapReader } from './pcap.js';
import { isPcapngMagic, PcapngReader } from './pcapng.js';
import type { ReaderContext, RecordReader } from './record-reader.js';

const COMPRESSION_MAGIC_BYTES = 4;
/** Smallest beginning of a capture: a pcap file header; a pcapng section header is larger. */
const SMALLEST_HEADER_BYTES = 24;

export interface CaptureFileOptions {
  /** Bytes asked for at once; results do not depend on it. */
  readonly chunkBytes?: number;
  /** A program at work writes the input: a frame counts as soon as it is there. */
  readonly live?: boolean;
}

export class CaptureFile {
  readonly batch: PacketBatch;
  readonly info: InputInfo;
  readonly #bytes: ByteInput;
  readonly #window: ByteWindow;
  readonly #reader: RecordReader;

  private constructor(info: InputInfo, bytes: ByteInput, window: ByteWindow, reader: RecordReader) {
    this.info = info;
    this.#bytes = bytes;
    this.#window = window;
    this.#reader = reader;
    this.batch = createBatch(window.bytes);
  }

  /**
   * Recognises what `raw` holds and reads up to the first record.
   *
   * @param name   for messages and `info`
   * @param raw    closed together with the file, and when this throws
   * @param input  index of the input, for anomalies and interfaces
   * @param epoch  shared by all inputs of one capture
   * @throws InputError when it is no capture
   */
  static async open(
    name: string,
    raw: ByteInput,
    input: number,
    epoch: { epochNs: bigint | null },
    log: AnomalyLog,
    options: CaptureFileOptions = {},
  ): Promise<CaptureFile> {
    let bytes = raw;
    try {
      let window = new ByteWindow(raw, options.chunkBytes);
      await window.fill(COMPRESSION_MAGIC_BYTES);
      const compression = compressionOf(window);
      let damaged = false;
      if (compression !== null) {
        bytes = unpack(compression, raw, window.bytes.slice(window.start, window.end), () => {
          damaged = true;
          log.note('capture/compressed-damaged', { input, fileOffset: bytes.doneBytes });
        });
        window = new ByteWindow(bytes, options.chunkBytes);
      }
      await window.fill(SMALLEST_HEADER_BYTES);
      const headBytes = window.end - window.start;
      if (headBytes === 0 && damaged) throw cannotRead(name, `nothing of its ${compression} data could be unpacked`);
      if (headBytes === 0) throw emptyInput(name);
      if (headBytes < SMALLEST_HEADER_BYTES) throw tooShort(name, headBytes);
      const info = unreadInput(name, compression);
      const reader = readerOf(window, { log, input, info, epoch, live: options.live ?? false });
      return new CaptureFile(info, bytes, window, reader);
    } catch (error) {
      bytes.close();
      throw error;
    }
  }

  get interfaces(): readonly CaptureInterface[] {
    return this.#reader.interfaces;
  }

  /** Bytes of the file itself consumed so far. */
  get doneBytes(): number {
    return this.#bytes.doneBytes;
  }

  /** Fills `batch` with the next frames; false at the end. What `batch` held before is gone. */
  async next(): Promise<boolean> {
    const { batch } = this;
    batch.count = 0;
    for (;;) {
      this.#reader.read(this.#window, batch);
      if (batch.count > 0) return true;
      if (this.#window.ended && this.#window.start === this.#window.end) return false;
      await this.#window.fill(this.#reader.wantBytes);
    }
  }

  close(): void {
    this.#bytes.close();
  }
}

/** The reader for what the window begins with. */
function readerOf(window: ByteWindow, context: ReaderContext): RecordReader {
  const { view, start } = window;
  const { info } = context;
  if (isPcapMagic(view, start)) return new PcapReader(window, context);
  if (!isPcapngMagic(view, start)) throw notACapture(info.name, view.getUint32(start));
  info.format = 'pcapng';
  return new PcapngReader(context);
}

/** What is known before the first record; µs is what both formats mean when they say nothing. */
const unreadInput = (name: string, compression: Compression | null): InputInfo => ({
  name,
  format: 'pcap',
  compression,
  linkTypes: [],
  snapLength: null,
  timestampResolutionNs: 1000,
  frames: 0,
  capturedBytes: WIDE_ZERO,
  wireBytes: WIDE_ZERO,
  cutFrames: 0,
  droppedByCapture: null,
});
