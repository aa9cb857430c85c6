// FrameLog: the identity of every TCP frame of one capture, kept to find the same frame in another capture.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { PAIRED_FRAMES } from '../../limits.js';
import {
  NO_DIRECTION,
  OPTION_TIMESTAMP,
  type SegmentRows,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_OUT_OF_WINDOW,
} from '../rows.js';
import { grown } from './ranges.js';

/** Frames in capture order, one column a field. Copies that the capture made are left out. */
export class FrameLog {
  count = 0;
  /** Frames beyond the limit. */
  lost = 0;
  tNs = new Float64Array(64);
  /** Stream offset of the payload, or of where payload would be. */
  offset = new Float64Array(64);
  payloadLen = new Uint32Array(64);
  ack = new Uint32Array(64);
  /** 0 where the frame has no timestamp. */
  tsValue = new Uint32Array(64);
  frame = new Uint32Array(64);
  direction = new Uint32Array(64);
  ipId = new Uint16Array(64);
  verdict = new Uint8Array(64);
  readonly #limit: number;

  constructor(limit = PAIRED_FRAMES) {
    this.#limit = limit;
  }

  /** Takes a batch whose rows were tracked. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    for (let row = 0; row < batch.count; row++) {
      if (rows.direction[row] === NO_DIRECTION) continue;
      const verdict = rows.verdict[row]!;
      if (verdict === VERDICT_CAPTURE_DUPLICATE || verdict === VERDICT_OUT_OF_WINDOW) continue;
      if (this.count === this.#limit) {
        this.lost++;
        continue;
      }
      if (this.count === this.tNs.length) this.#grow();
      const at = this.count++;
      this.tNs[at] = batch.tNs[row]!;
      this.offset[at] = rows.offset[row]!;
      this.payloadLen[at] = rows.payloadLen[row]!;
      this.ack[at] = rows.ack[row]!;
      this.tsValue[at] = rows.options[row]! & OPTION_TIMESTAMP ? rows.tsValue[row]! : 0;
      this.frame[at] = batch.firstFrame + row;
      this.direction[at] = rows.direction[row]!;
      this.ipId[at] = rows.ipId[row]!;
      this.verdict[at] = verdict;
    }
  }

  #grow(): void {
    this.tNs = grown(this.tNs, 0);
    this.offset = grown(this.offset, 0);
    this.payloadLen = grown(this.payloadLen, 0);
    this.ack = grown(this.ack, 0);
    this.tsValue = grown(this.tsValue, 0);
    this.frame = grown(this.frame, 0);
    this.direction = grown(this.direction, 0);
    this.ipId = grown(this.ipId, 0);
    this.verdict = grown(this.verdict, 0);
  }
}
