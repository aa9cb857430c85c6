// Feeds a Reassembler with rows written by hand and shows what one direction's consumer is given.
import { AnomalyLog } from '../../src/anomaly.js';
import { createBatch } from '../../src/capture/packet-batch.js';
import { createRows, FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, KIND_TCP, STRAY_NONE } from '../../src/decode/rows.js';
import type { ClaimStream, StreamConsumer } from '../../src/decode/stream.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { BATCH_ROWS } from '../../src/limits.js';

/** One TCP frame. Direction 0 sends data, 1 is its reverse; other pairs are other connections. */
export interface Frame {
  readonly direction?: number;
  readonly offset?: number;
  readonly payload?: Uint8Array;
  /** Payload bytes in the capture, where fewer than on the wire. */
  readonly captured?: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly stray?: number;
  readonly tNs?: number;
}

export const text = (letters: string): Uint8Array => Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
export const segment = (offset: number, letters: string, more: Frame = {}): Frame => ({
  offset,
  payload: text(letters),
  ...more,
});
export const ack = (offset: number, more: Frame = {}): Frame => ({ direction: 1, ack: offset, ...more });
export const syn = (direction = 0): Frame => ({ direction, offset: 0, flags: FLAG_SYN });
export const fin = (offset: number, more: Frame = {}): Frame => ({ offset, flags: FLAG_FIN | FLAG_ACK, ...more });
export const rst = (offset: number, more: Frame = {}): Frame => ({ offset, flags: FLAG_RST, ...more });

/** What the consumer got: stretches of text, holes as `<length cause>`, the end as `|cause@offset`. */
export class Recorder implements StreamConsumer {
  readonly runs: string[] = [];
  readonly chunks: { offset: number; length: number; tNs: number }[] = [];
  /** When the stream is said to have ended. */
  ended: { readonly tNs: number; readonly frame: number } | null = null;
  #text = '';

  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number): boolean {
    this.#text += Buffer.from(buffer.subarray(start, end)).toString('latin1');
    this.chunks.push({ offset, length: end - start, tNs });
    return true;
  }

  hole(_offset: number, length: number, cause: string): void {
    this.#flush();
    this.runs.push(`<${length} ${cause}>`);
  }

  end(offset: number, cause: string, tNs: number, frame: number): void {
    this.#flush();
    this.ended = { tNs, frame };
    this.runs.push(`|${cause}@${offset}`);
  }

  #flush(): void {
    if (this.#text) this.runs.push(this.#text);
    this.#text = '';
  }
}

export interface Delivery {
  readonly runs: readonly string[];
  readonly chunks: readonly { offset: number; length: number; tNs: number }[];
  readonly ended: Recorder['ended'];
  readonly log: AnomalyLog;
}

/** Everything direction 0's consumer was given. Frames are 10 µs apart unless they say otherwise. */
export function deliver(...frames: Frame[]): Delivery {
  const recorder = new Recorder();
  const log = new AnomalyLog();
  const reassembler = new Reassembler((direction) => (direction === 0 ? recorder : null), log);
  feed(reassembler, frames);
  reassembler.finish();
  return { runs: recorder.runs, chunks: recorder.chunks, ended: recorder.ended, log };
}

export const reassemblerFor = (claim: ClaimStream): Reassembler => new Reassembler(claim, new AnomalyLog());

/** Pushes the frames in batches; the memory of a batch is overwritten afterwards, as sources do. */
export function feed(reassembler: Reassembler, frames: readonly Frame[], batchRows = BATCH_ROWS): void {
  for (let first = 0; first < frames.length; first += batchRows) {
    const group = frames.slice(first, first + batchRows);
    const size = group.reduce((sum, { payload }) => sum + (payload?.length ?? 0), 0);
    const batch = createBatch(new Uint8Array(size));
    const rows = createRows();
    batch.firstFrame = first + 1;
    batch.count = group.length;
    let at = 0;
    group.forEach((frame, row) => {
      const { payload = new Uint8Array(0) } = frame;
      batch.bytes.set(payload, at);
      batch.tNs[row] = frame.tNs ?? (first + row) * 10_000;
      rows.kind[row] = KIND_TCP;
      rows.direction[row] = frame.direction ?? 0;
      rows.flags[row] = frame.flags ?? FLAG_ACK;
      rows.payload[row] = at;
      rows.payloadLen[row] = payload.length;
      rows.payloadCap[row] = frame.captured ?? payload.length;
      rows.offset[row] = frame.offset ?? 0;
      rows.ackOffset[row] = frame.ack ?? Number.NaN;
      rows.stray[row] = frame.stray ?? STRAY_NONE;
      at += payload.length;
    });
    reassembler.push(batch, rows);
    batch.bytes.fill(0x23);
  }
}
