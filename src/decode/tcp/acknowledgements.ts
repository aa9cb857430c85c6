// Acknowledgements: when which acknowledgement passed the capture point, and which one the sender knew when it sent.
//
// A frame echoes the timestamp of the newest acknowledgement its sender had received (RFC 7323 §4.3). So the echo tells,
// at any capture point, what the sender knew: what was in flight for it, how much window it saw. Timestamps tick in
// milliseconds on most hosts. Within a tick the shortest loop tells: what passed later than that before a frame cannot have
// reached its sender.
const KEPT = 1 << 14;
/** Of a kept acknowledgement: time, timestamp, highest offset acknowledged, right edge, end of the blocks, missing below it. */
const FIELDS = 6;
const NOTHING = new Float64Array(0);
/** Most connections never need more; so small a ring is part of V8's heap. */
const FIRST_ROOM = 1;

export class Acknowledgements {
  /** What the sender is known to have received: highest offset acknowledged and right edge of the window. */
  acked = Number.NaN;
  edge = Number.NaN;
  /** Where the highest block ends that the sender knows of (`acked` without any), and how many bytes are missing below it. */
  top = Number.NaN;
  missing = 0;
  /** The least that the sender may have had acknowledged, where those of one tick leave it open, and the edge with it. */
  ackedAtLeast = Number.NaN;
  edgeAtLeast = Number.NaN;
  /** When the newest acknowledgement passed that the sender knows; NaN before. */
  passedNs = Number.NaN;
  /** When the first acknowledgement passed that carries the newest timestamp echoed. */
  tickNs = Number.NaN;
  #ring = NOTHING;
  #mask = -1;
  /** Entries from `sure` on are kept, those from `first` on are not known to have arrived. */
  #sure = 0;
  #first = 0;
  #next = 0;
  #takenTsValue = Number.NaN;
  // Before the tick: what the sender had sent, and what had arrived of it; and the latter for what surely arrived.
  #sentBefore = 0;
  #receivedBefore = 0;
  #received = 0;

  /** Takes an acknowledgement that a sender without data has surely had before its first data. */
  given(tNs: number, tsValue: number, acked: number, edge: number): void {
    this.passedNs = this.tickNs = tNs;
    this.#takenTsValue = tsValue;
    this.acked = this.top = this.ackedAtLeast = this.#received = acked;
    this.edge = this.edgeAtLeast = edge;
  }

  /** Takes an acknowledgement on its way to the sender. Offsets are the highest so far; `top` and `missing` as above. */
  passed(tNs: number, tsValue: number, acked: number, edge: number, top: number, missing: number): void {
    if (this.#next - this.#sure > this.#mask) this.#makeRoom();
    const ring = this.#ring;
    const slot = (this.#next++ & this.#mask) * FIELDS;
    ring[slot] = tNs;
    ring[slot + 1] = tsValue;
    ring[slot + 2] = acked;
    ring[slot + 3] = edge;
    ring[slot + 4] = top;
    ring[slot + 5] = missing;
  }

  /**
   * Takes the echo of a frame of the sender. `latestNs`: what passed later cannot have reached the sender; `sentBytes`: all
   * that it had sent before, repetitions included.
   * True when the echo is of a later tick than any before.
   */
  echoed(tsEcho: number, latestNs: number, sentBytes: number): boolean {
    const ring = this.#ring;
    let news = false;
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      const later = (tsEcho - ring[slot + 1]!) | 0;
      const firstOfTick = ring[slot + 1] !== this.#takenTsValue;
      // The first of a tick that is echoed has surely arrived.
      if (later < 0 || (later === 0 && !firstOfTick && ring[slot]! > latestNs)) break;
      this.#take(slot);
      if (!firstOfTick) continue;
      this.#takenTsValue = ring[slot + 1]!;
      this.tickNs = ring[slot]!;
      news = true;
      this.#settle(this.#first - 1);
      this.#sentBefore = sentBytes;
      this.#receivedBefore = this.#received;
      this.#settle(this.#first);
    }
    this.#settleReleased(sentBytes);
    return news;
  }

  /**
   * The sender has sent up to `sentMax`: nobody sends beyond the right edge that he knows (RFC 9293 §3.8.6), so what opened the
   * window that far had arrived, whatever else passed in its tick.
   */
  allowed(sentMax: number): void {
    while (this.edgeAtLeast < sentMax && this.#sure < this.#next) {
      if (this.#sure === this.#first) {
        const slot = (this.#first & this.#mask) * FIELDS;
        if (this.#ring[slot + 1] !== this.#takenTsValue) return;
        this.#take(slot);
      }
      this.#settle(this.#sure + 1);
    }
  }

  /** Without timestamps: takes it that whatever passed before `latestNs` has arrived. */
  arrived(latestNs: number): void {
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      if (this.#ring[slot]! > latestNs) break;
      this.#take(slot);
    }
    this.#settle(this.#first);
  }

  #take(slot: number): void {
    const ring = this.#ring;
    this.passedNs = ring[slot]!;
    this.acked = ring[slot + 2]!;
    this.edge = ring[slot + 3]!;
    this.top = ring[slot + 4]!;
    this.missing = ring[slot + 5]!;
    this.#first++;
  }

  /**
   * While a loss is repaired, one acknowledgement of a tick may cover a long stretch. It had surely arrived only once more was
   * sent than the ones before it let out: a sender that repairs sends no more than arrives (RFC 6937).
   */
  #settleReleased(sentBytes: number): void {
    const sent = sentBytes - this.#sentBefore;
    while (this.#sure < this.#first) {
      if (this.#received > this.ackedAtLeast && sent < this.#received - this.#receivedBefore) return;
      this.#settle(this.#sure + 1);
    }
  }

  /** The acknowledgements up to entry `to`, exclusive, have surely arrived. */
  #settle(to: number): void {
    if (to <= this.#sure) return;
    const slot = ((to - 1) & this.#mask) * FIELDS;
    this.ackedAtLeast = this.#ring[slot + 2]!;
    this.edgeAtLeast = this.#ring[slot + 3]!;
    this.#received = this.#ring[slot + 4]! - this.#ring[slot + 5]!;
    this.#sure = to;
  }

  /** Shifts all offsets down by `bytes`: the stream was found to begin later than assumed. */
  rebase(bytes: number): void {
    this.acked -= bytes;
    this.edge -= bytes;
    this.top -= bytes;
    this.ackedAtLeast -= bytes;
    this.edgeAtLeast -= bytes;
    this.#received -= bytes;
    this.#receivedBefore -= bytes;
    for (let entry = this.#sure; entry < this.#next; entry++) {
      const slot = (entry & this.#mask) * FIELDS;
      for (let field = 2; field < FIELDS - 1; field++) this.#ring[slot + field]! -= bytes;
    }
  }

  #makeRoom(): void {
    const size = this.#mask + 1;
    if (size >= KEPT) {
      this.#sure++;
      this.#first = Math.max(this.#first, this.#sure);
      return;
    }
    const room = Math.max(2 * size, FIRST_ROOM);
    const ring = new Float64Array(room * FIELDS);
    const mask = room - 1;
    for (let entry = this.#sure; entry < this.#next; entry++) {
      const from = (entry & this.#mask) * FIELDS;
      const to = (entry & mask) * FIELDS;
      for (let field = 0; field < FIELDS; field++) ring[to + field] = this.#ring[from + field]!;
    }
    this.#ring = ring;
    this.#mask = mask;
  }
}
