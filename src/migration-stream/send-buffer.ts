// When the source wrote what the wire shows later: the send buffer between the two.
//
// A link slower than the guest's memory keeps the source's socket buffer full, so a byte leaves the host when the whole
// buffer before it has left. The buffer's size shows once, at the beginning: QEMU ends a RAM section after 50 ms (seen
// every 64 pages), and the first section also fills the empty buffer, so it is longer than those that follow by just
// that much. A later byte was written when the byte one buffer before it left, and not before the section it is in.
// Buffers grow with the congestion window, so this is a lower bound of the delay; a path whose rate swings hides it.
// Source: QEMU migration/ram.c, ram_save_iterate(), MAX_WAIT; measured against STOP events in the recordings.
import { SEND_BUFFER_BYTES } from '../limits.js';

/** Resolution of the record of what left when. */
const STEP_BYTES = 16 << 10;
const STEPS = SEND_BUFFER_BYTES / STEP_BYTES;
/** Sections that follow the first and tell how long a section is on the wire. */
const SECTIONS = 9;
/** The first few of them may be the one that fills the buffer. */
const FILLING_SECTIONS = 3;
/** Longer than frames of a slow link are apart; longer than an iterating source is ever silent. */
const SILENCE_NS = 5e6;
const ITERATION_NS = 150e6;
/** A stream at less than this share of the rate at which the buffer filled is not held up by the path. */
const BACKLOG_SHARE = 0.8;
/** Sections that last this long ended because of the time limit, not because of a rate limit or nothing to send. */
const SECTION_MIN_NS = 45e6;
const SECTION_MAX_NS = 100e6;

export class SendBuffer {
  /** Wire time of every STEP_BYTES-th byte, the newest SEND_BUFFER_BYTES of them. */
  readonly #leftNs = new Float64Array(STEPS);
  #steps = 0;
  /** When the latest page was on the wire. */
  #latestNs = 0;
  /** Offsets and times at which the first sections began, and the offset of the latest one. */
  readonly #sections: { readonly offset: number; readonly tNs: number }[] = [];
  #latestSection = { offset: 0, tNs: 0 };

  /** The byte at `offset` was on the wire at `tNs`; called in stream order, at least once a page. */
  left(offset: number, tNs: number): void {
    this.#latestNs = tNs;
    const step = Math.floor(offset / STEP_BYTES);
    // Behind a long hole only what is kept is filled.
    if (step - this.#steps > STEPS) this.#steps = step - STEPS;
    while (this.#steps <= step) this.#leftNs[this.#steps++ % STEPS] = tNs;
  }

  /** A RAM section with pages began. */
  section(offset: number, tNs: number): void {
    this.#latestSection = { offset, tNs };
    if (this.#sections.length <= SECTIONS) this.#sections.push(this.#latestSection);
  }

  /** When the byte at `offset`, on the wire at `tNs`, was written, as far as can be told; `tNs` at the latest. */
  writtenNs(offset: number, tNs: number): number {
    const { bytes, bytesPerNs } = this.#buffer();
    const step = Math.floor((offset - bytes) / STEP_BYTES);
    if (bytes === 0 || step < 0 || step < this.#steps - STEPS || step >= this.#steps) return tNs;
    const leftNs = this.#leftNs[step % STEPS]!;
    // After a pause the buffer is empty. A source that iterates sends something every 100 ms: a longer silence is the
    // pause before the switch-over, with the guest stopped since before it.
    const silenceNs = tNs - this.#latestNs;
    if (silenceNs > SILENCE_NS && silenceNs < ITERATION_NS) return tNs;
    // Where the bytes before this one came slower than the path takes them, none had to wait.
    if (bytes < BACKLOG_SHARE * bytesPerNs * (this.#latestNs - leftNs)) return tNs;
    return Math.min(tNs, Math.max(leftNs, this.#latestSection.tNs));
  }

  /**
   * When the byte at `offset` was written at the earliest: not before the byte that lies the largest believable buffer
   * ahead of it had left. `tNs` where no byte of the stream is known.
   */
  earliestNs(offset: number, tNs: number): number {
    if (this.#steps === 0) return tNs;
    const step = Math.max(0, this.#steps - STEPS, Math.floor((offset - SEND_BUFFER_BYTES) / STEP_BYTES));
    return Math.min(tNs, this.#leftNs[Math.min(step, this.#steps - 1) % STEPS]!);
  }

  /** Size of the buffer, 0 where the sections do not show it, and the rate of the one that does. */
  #buffer(): { bytes: number; bytesPerNs: number } {
    const none = { bytes: 0, bytesPerNs: 0 };
    const sections = this.#sections.slice(1).map(({ offset, tNs }, i) => {
      const from = this.#sections[i]!;
      return { bytes: offset - from.offset, durationNs: tNs - from.tNs };
    });
    if (sections.length < 4) return none;
    const usual = sections.slice(1).sort((a, b) => a.durationNs - b.durationNs)[(sections.length - 1) >> 1]!;
    if (usual.durationNs < SECTION_MIN_NS || usual.durationNs > SECTION_MAX_NS) return none;
    // Zero pages take next to no bytes: where memory begins with them, the buffer fills a section or two later.
    let filling = none;
    for (const { bytes, durationNs } of sections.slice(0, FILLING_SECTIONS)) {
      const excess = Math.min(SEND_BUFFER_BYTES, (bytes * (durationNs - usual.durationNs)) / durationNs);
      if (excess > filling.bytes) filling = { bytes: excess, bytesPerNs: bytes / durationNs };
    }
    return filling;
  }
}
