// When the source wrote what the wire shows later: the send buffer between the two.
//
// A link slower than the guest's memory keeps the source's socket buffer full, so a byte leaves the host when all that
// was written before it has left. Linux lets a writer that found the buffer full go on when a third of it is free
// (sk_stream_is_writeable()), so what waits is between two thirds and all of the buffer. Its size shows in three ways:
//   burst   QEMU ends a RAM section at the first look at the clock after 50 ms, and it looks every 64 pages. A writer that
//           is held up writes a third of the buffer at a time, so a section takes as many bursts as last 50 ms: a section
//           is n thirds of the buffer long, n the smallest number that makes 50 ms;
//   fill    the first sections also fill the empty buffer: they are longer than the others by just that much;
//   flight  the buffer is twice the largest congestion window, counted in memory (tcp_sndbuf_expand()), and what is in
//           flight never exceeds the window.
// The last two are lower bounds, the first leaves a choice of n: the smallest that agrees with both counts. The buffer
// grows with the window and never shrinks, so the newest sections count. Where sections end for other reasons than time
// (guest memory on huge pages, of which QEMU counts 64 between two looks at the clock) only the flight is left.
// Source: QEMU migration/ram.c, ram_save_iterate(), MAX_WAIT; Linux net/ipv4/tcp_input.c, include/net/sock.h; measured
// against STOP events and the kernel's socket memory in the recordings.
import { SEND_BUFFER_BYTES } from '../limits.js';

/** When a byte was written, as far as can be told. */
export interface Written {
  readonly tNs: number;
  /** By how much that may well be wrong. */
  readonly doubtNs: number;
}

/** Bytes that a connection had in flight, and how long they take there and back when nothing else is under way. */
export interface Flight {
  readonly p50: number;
  readonly max: number;
  /** null or absent where it is not known. */
  readonly rttNs?: number | null;
}

/** Resolution of the record of what left when. */
const STEP_BYTES = 16 << 10;
const STEPS = SEND_BUFFER_BYTES / STEP_BYTES;
/** Longer than frames are apart, which on a slow link take as long as the largest of them (segmentation offload). */
const SILENCE_NS = 5e6;
const SILENCE_FRAMES = 1.5;
const FRAME_BYTES = 64 << 10;
/** A source that keeps to a rate limit sleeps for about as long in every slice of 100 ms; so many show the habit. */
const SLEEP_NS = 25e6;
const USUAL_SILENCES = 3;
/** Longer than an iterating source is ever silent. */
export const ITERATION_NS = 150e6;
/** A stream at less than this share of the usual rate is not held up by the path. */
const BACKLOG_SHARE = 0.8;
/** A congestion window that was reduced is back to what it was within as many round trips, as a rule. */
const WINDOW_TRIPS = 8;
/** Without whole sections the usual rate is that of so many times the bytes that wait. */
const USUAL_STRETCHES = 3;
/** QEMU's time limit for a section, and after how many pages it looks at the clock. */
const SECTION_NS = 50e6;
const CLOCK_PAGES = 64;
/** Sections without a known number of pages that lasted about as long as the limit lets them. */
const SECTION_MIN_NS = 45e6;
const SECTION_MAX_NS = 150e6;
/** The first sections may fill the buffer; those right behind them tell how long a section is otherwise. */
const FILLING_SECTIONS = 4;
const FIRST_SECTIONS = 16;
/** The newest whole sections tell the size of a burst; fewer than the least tell nothing. */
const NEWEST_SECTIONS = 8;
const LEAST_SECTIONS = 3;
/** A section this many times as long as usual was held up: the destination stood still, or the clock was set. */
const HELD_UP = 8;
/** Bursts a section may take. With more, a different number of them makes hardly another size. */
const MOST_BURSTS = 6;
/** What waits, as a share of the buffer: between two thirds and all of it, less what is in flight. */
const WAITING_SHARE = 0.75;
/** Buffer per byte in flight: two windows, at 2304 bytes of memory for a segment of 1448. */
const BUFFER_PER_FLIGHT = 3.1;
/** Measured: the wait is known to about half of it, and where only the flight tells, not even that. */
const DOUBT_SHARE = 0.5;
/** The filling may be overstated by what was sent meanwhile, the flight a little by bytes that were lost. */
const FILL_SHARE = 0.6;
const FLIGHT_SHARE = 0.9;
/** A buffer this many times what the bounds ask for is not believed. */
const BELIEVED_EXCESS = 2.5;

interface SectionStart {
  readonly offset: number;
  readonly tNs: number;
  /** Pages sent before it; NaN where they cannot be counted. */
  readonly pages: number;
}

interface SectionSpan {
  readonly bytes: number;
  readonly durationNs: number;
  /** It ended because its time was up. */
  readonly isWhole: boolean;
}

export class SendBuffer {
  /** Wire time of every STEP_BYTES-th byte, the newest SEND_BUFFER_BYTES of them. */
  readonly #leftNs = new Float64Array(STEPS);
  #steps = 0;
  /** Silences as long as those of a source that sleeps out its slice of 100 ms. */
  #silences = 0;
  /** When the latest page was on the wire. */
  #latestNs = 0;
  readonly #first: SectionSpan[] = [];
  readonly #newest: SectionSpan[] = [];
  #section: SectionStart | null = null;

  /** The byte at `offset` was on the wire at `tNs`; called in stream order, at least once a page. */
  left(offset: number, tNs: number): void {
    const step = Math.floor(offset / STEP_BYTES);
    if (step >= this.#steps) {
      // What a hole hides is taken to have left evenly. Behind a long one only what is kept is filled.
      const stepNs = (tNs - this.#latestNs) / (step - this.#steps + 1);
      if (stepNs > SLEEP_NS) this.#silences++;
      const from = Math.max(this.#steps, step - STEPS);
      for (let i = from; i <= step; i++) this.#leftNs[i % STEPS] = tNs - (step - i) * stepNs;
      this.#steps = step + 1;
    }
    this.#latestNs = tNs;
  }

  /** A RAM section with pages began; `pages` were sent before it. */
  section(offset: number, tNs: number, pages = Number.NaN): void {
    this.sectionEnds(offset, tNs, pages);
    this.#section = { offset, tNs, pages };
  }

  /** The latest RAM section ended where something else begins: what else is sent between two of them is none of its bytes. */
  sectionEnds(offset: number, tNs: number, pages = Number.NaN): void {
    const from = this.#section;
    this.#section = null;
    if (!from) return;
    const durationNs = tNs - from.tNs;
    const isWhole = Number.isNaN(pages)
      ? durationNs >= SECTION_MIN_NS && durationNs <= SECTION_MAX_NS
      : pages - from.pages > 1 && (pages - from.pages) % CLOCK_PAGES === 1;
    const span = { bytes: offset - from.offset, durationNs, isWhole };
    if (this.#first.length < FIRST_SECTIONS) this.#first.push(span);
    if (!isWhole) return;
    if (this.#newest.length === NEWEST_SECTIONS) this.#newest.shift();
    this.#newest.push(span);
  }

  /**
   * When the byte at `offset`, on the wire at `tNs`, was written, as far as can be told; `tNs` at the latest.
   *
   * @param flight    of the connection, where that is known
   * @param isPaused  the source is known to have paused right before it: it counts as written before the pause
   */
  written(offset: number, tNs: number, flight: Flight | null = null, isPaused = false): Written {
    const { bytes, bytesPerNs } = this.#waiting(offset, flight);
    const leftNs = this.#leftAt(offset - bytes);
    const latestNs = this.#before(offset);
    const silenceNs = tNs - latestNs;
    if (bytes === 0 || Number.isNaN(leftNs)) return { tNs: isPaused ? latestNs : tNs, doubtNs: silenceNs };
    // After a pause the buffer is empty. A source that iterates sends something every 100 ms: a longer silence is the
    // pause before the switch-over, with the guest stopped since before it.
    const frameNs = FRAME_BYTES / bytesPerNs;
    const isLong = silenceNs > SILENCE_NS;
    const isSilent = isLong && silenceNs > SILENCE_FRAMES * frameNs;
    if (isSilent && silenceNs < ITERATION_NS && !isPaused)
      return { tNs, doubtNs: this.#silences < USUAL_SILENCES ? silenceNs : 0 };
    // Where the bytes before this one came slower than the path takes them, none had to wait; or a window that had become
    // smaller held them up, which takes some round trips.
    const isSlow = bytes < BACKLOG_SHARE * bytesPerNs * (latestNs - leftNs);
    const isSmallWindow = tNs - leftNs < WINDOW_TRIPS * (flight?.rttNs ?? 0);
    if (isSlow && !isSmallWindow) return { tNs: isPaused ? latestNs : tNs, doubtNs: 0 };
    const waitNs = Math.max(0, (isPaused || silenceNs >= ITERATION_NS ? latestNs : tNs) - leftNs);
    const share = this.#newest.length < LEAST_SECTIONS || (isLong && !isSilent) || isSlow ? 1 : DOUBT_SHARE;
    return { tNs: Math.min(tNs, leftNs), doubtNs: share * waitNs };
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

  /** When the byte at `offset` was on the wire; NaN where that is not known any more. */
  #leftAt(offset: number): number {
    const step = Math.floor(offset / STEP_BYTES);
    const isKept = step >= 0 && step >= this.#steps - STEPS && step < this.#steps;
    return isKept ? this.#leftNs[step % STEPS]! : Number.NaN;
  }

  /** When the last byte before the one at `offset` was on the wire. */
  #before(offset: number): number {
    return offset < (this.#steps - 1) * STEP_BYTES ? this.#leftAt(offset) : this.#latestNs;
  }

  /** Bytes that wait in the buffer, 0 where nothing shows it, and the rate at which they leave. */
  #waiting(offset: number, flight: Flight | null): { bytes: number; bytesPerNs: number } {
    const newest = this.#newest;
    const flownBytes = Math.min(SEND_BUFFER_BYTES, BUFFER_PER_FLIGHT * (flight?.max ?? 0));
    // What is in flight has left. On a short path that is the frame on its way to the wire.
    const goneBytes = Math.max(0, (flight?.p50 ?? 0) - FRAME_BYTES);
    if (newest.length < LEAST_SECTIONS) {
      const bytes = Math.max(0, WAITING_SHARE * flownBytes - goneBytes);
      const whole = (1 + USUAL_STRETCHES) * bytes;
      const stretchNs = this.#before(offset) - this.#leftAt(offset - whole);
      return { bytes: stretchNs > 0 ? bytes : 0, bytesPerNs: whole / stretchNs };
    }
    const bytesPerNs = rateOf(newest);
    const sectionBytes = typical(newest.map(({ bytes }) => bytes));
    const fillBytes = this.#fillBytes();
    const leastBytes = Math.max(FLIGHT_SHARE * flownBytes, (FILL_SHARE * fillBytes) / WAITING_SHARE);
    let bufferBytes = Math.max(flownBytes, fillBytes / WAITING_SHARE);
    for (let bursts = MOST_BURSTS; bursts > 0; bursts--) {
      // One burst fewer must not have lasted long enough.
      if (((bursts - 1) / bursts) * sectionBytes > SECTION_NS * bytesPerNs) continue;
      const bytes = (3 * sectionBytes) / bursts;
      if (bytes < leastBytes) continue;
      if (bytes < BELIEVED_EXCESS * bufferBytes)
        bufferBytes = flownBytes > bytes / 2 ? (flownBytes + bytes) / 2 : bytes;
      break;
    }
    const heldBytes = WAITING_SHARE * Math.min(SEND_BUFFER_BYTES, bufferBytes);
    return { bytes: Math.max(0, heldBytes - goneBytes), bytesPerNs };
  }

  /** What the first sections put on the wire beyond what sections of their number do: it filled the buffer. */
  #fillBytes(): number {
    const usual = this.#first.slice(FILLING_SECTIONS - 1).filter(({ isWhole }) => isWhole);
    if (usual.length === 0) return 0;
    const usualNs = typical(usual.map(({ durationNs }) => durationNs));
    const bytesPerNs = rateOf(usual);
    let sum = 0;
    let most = 0;
    for (const { durationNs } of this.#first.slice(0, FILLING_SECTIONS)) {
      sum += (durationNs - usualNs) * bytesPerNs;
      most = Math.max(most, sum);
    }
    return Math.min(SEND_BUFFER_BYTES, most);
  }
}

/** Bytes per ns; a span in which the sender was held up for other reasons does not count. */
function rateOf(spans: readonly SectionSpan[]): number {
  const mostNs = HELD_UP * typical(spans.map(({ durationNs }) => durationNs));
  let bytes = 0;
  let durationNs = 0;
  for (const span of spans) {
    if (span.durationNs > mostNs) continue;
    bytes += span.bytes;
    durationNs += span.durationNs;
  }
  return bytes / Math.max(1, durationNs);
}

/** Mean of the middle half. */
function typical(values: readonly number[]): number {
  const aside = values.length >> 2;
  const middle = [...values].sort((a, b) => a - b).slice(aside, values.length - aside);
  return middle.reduce((sum, value) => sum + value, 0) / middle.length;
}
