// CaptureFile: one input, unpacked, recognised, and read batch by batch.
import type { AnomalyLog } from '../anomaly.js';
import { cannotRead, emptyInput, notACapture } from '../errors.js';
import type { ByteInput } from './byte-input.js';
import { ByteWindow } from './byte-window.js';
import { compressionOf, unpack } from './compressed.js';
import type { CaptureInterface, InputInfo, PacketBatch } from './packet-batch.js';
import { createBatch } from './packet-batch.js';
import { isPcapMagic, PcapReader } from './pcap.js';
import { isPcapngMagic, PcapngReader } from './pcapng.js';
import type { RecordReader } from './record-reader.js';

/** Smallest beginning of a capture: a pcap file header; a pcapng section header is larger. */
const SMALLEST_HEADER_BYTES = 24;

export interface CaptureFileOptions {
  /** Bytes asked for at once; results do not depend on it. */
  readonly chunkBytes?: number;
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
    this.batch = { ...createBatch(new Uint8Array(0)), bytes: window.bytes, view: window.view };
  }

  /**
   * Recognises what `raw` holds and reads up to the first record.
   *
   * @param name   for messages and `info`
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
    const outer = new ByteWindow(raw, options.chunkBytes);
    await outer.fill(4);
    if (outer.end === outer.start) throw emptyInput(name);
    const compression = compressionOf(outer);
    let bytes = raw;
    let window = outer;
    let damaged = false;
    if (compression !== null) {
      bytes = unpack(compression, raw, outer.bytes.slice(outer.start, outer.end), () => {
        damaged = true;
        log.note('capture/compressed-damaged', { input, fileOffset: raw.doneBytes });
      });
      window = new ByteWindow(bytes, options.chunkBytes);
    }
    await window.fill(SMALLEST_HEADER_BYTES);
    if (window.end === window.start) {
      throw damaged ? cannotRead(name, `nothing of its ${compression} data could be unpacked`) : emptyInput(name);
    }
    if (window.end - window.start < SMALLEST_HEADER_BYTES) {
      throw cannotRead(name, `its ${window.end - window.start} bytes are too short for a capture`);
    }
    const info: InputInfo = {
      name,
      format: 'pcap',
      compression,
      linkTypes: [],
      snapLength: null,
      timestampResolutionNs: 1000,
      frames: 0,
      capturedBytes: 0,
      wireBytes: 0,
      cutFrames: 0,
      droppedByCapture: null,
    };
    const context = { log, input, info, epoch };
    if (isPcapMagic(window.view, window.start)) {
      return new CaptureFile(info, bytes, window, new PcapReader(window, context));
    }
    if (!isPcapngMagic(window.view, window.start)) {
      throw notACapture(name, window.view.getUint32(window.start, false));
    }
    info.format = 'pcapng';
    return new CaptureFile(info, bytes, window, new PcapngReader(context));
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
