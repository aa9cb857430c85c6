// IpIds: what the IPv4 identification of one direction reveals.
//
// Linux counts a connected socket's packets in it, one a segment on the wire, acknowledgements included. Where that is so,
// the identification orders frames, counts the segments behind offloaded frames, and shows packets that were lost before
// the capture point even when their bytes are not missing. Other stacks send zero, or a counter shared with other traffic.

/** Frames before a judgement. */
const DECIDE_FRAMES = 8;
/** Identifications that may be missing between two frames of a counting sender. */
const STEP_MAX = 1024;
/** Shortest payload a segment of an offloaded frame is thought to have. */
const SEGMENT_MIN_BYTES = 500;
/** Largest payload of a segment on common links (jumbo frames). */
const SINGLE_MAX_BYTES = 9216;
const VOTES = 4;

export class IpIds {
  /** Identifications skipped and never seen: packets of this direction that did not reach the capture point. */
  missing = 0;
  /** The latest frame's identification is the one that was to come next: nothing is missing before it. */
  inSequence = false;
  #frames = 0;
  #counting = 0;
  #constant = 0;
  #previous = 0;
  #previousBytes = 0;
  /** Identification after the highest one seen; `#open`: that was of a frame which may have counted more than one. */
  #next = 0;
  #open = false;
  /** Bytes a segment carries, as the steps behind offloaded frames say, by majority. */
  #segmentBytes = 0;
  #votes = 0;
  /** Largest payload that counted one identification. */
  #singleBytes = 0;

  /** Each packet of this direction counts the identification on. */
  get counting(): boolean {
    if (this.#frames < DECIDE_FRAMES) return this.#frames > 0 && this.#constant === 0;
    return this.#counting * 2 > this.#frames;
  }

  /** The field says nothing: IPv6, or the same value always. */
  get constant(): boolean {
    return this.#frames === 0 || this.#constant * 2 > this.#frames;
  }

  /** Bytes of payload in one full segment on the wire, as far as frames have shown; NaN while unsure. */
  get segmentBytes(): number {
    if (this.#votes >= VOTES) return this.#segmentBytes;
    return this.#singleBytes >= SEGMENT_MIN_BYTES ? this.#singleBytes : Number.NaN;
  }

  /** True when `a` was sent before `b`. */
  static isOlder(a: number, b: number): boolean {
    return ((a - b) << 16) >> 16 < 0;
  }

  /** Takes the next frame: its identification, payload bytes and segments on the wire, 0 while their size is not known. */
  take(id: number, bytes: number, segments: number): void {
    if (this.#frames === 0) {
      this.#next = id;
    } else {
      const step = (id - this.#previous) & 0xffff;
      if (step === 0) this.#constant++;
      else if (step <= STEP_MAX) {
        this.#counting++;
        this.#learn(this.#previousBytes, step);
      }
    }
    this.#frames++;
    const skipped = ((id - this.#next) << 16) >> 16;
    this.inSequence = skipped === 0;
    const count = segments || 1;
    if (skipped >= 0) {
      if (!this.#open) this.missing += skipped;
      this.#open = segments === 0 && bytes > Math.max(SEGMENT_MIN_BYTES, this.#singleBytes);
      this.#next = (id + count) & 0xffff;
    } else this.missing -= count;
    this.#previous = id;
    this.#previousBytes = bytes;
  }

  /** A frame of `bytes` that counted `step` identifications. Larger ones vote (Boyer and Moore), whole quotients only. */
  #learn(bytes: number, step: number): void {
    if (step === 1) {
      if (bytes > this.#singleBytes && bytes <= SINGLE_MAX_BYTES) this.#singleBytes = bytes;
      return;
    }
    const segmentBytes = bytes / step;
    // A plain segment before a lost one steps by more than one as well, and is not larger than one.
    if (bytes <= this.#singleBytes || segmentBytes < this.#singleBytes || !Number.isInteger(segmentBytes)) return;
    if (segmentBytes < SEGMENT_MIN_BYTES) return;
    if (segmentBytes === this.#segmentBytes) this.#votes = Math.min(this.#votes + 1, 1000);
    else if (this.#votes === 0) {
      this.#segmentBytes = segmentBytes;
      this.#votes = 1;
    } else this.#votes--;
  }
}
