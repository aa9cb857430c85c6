// Acknowledgements: when which acknowledgement passed the capture point, and which one the sender knew when it sent.
//
// A frame echoes the timestamp of the newest acknowledgement its sender had received (RFC 7323 §4.3). So the echo tells,
// at any capture point, what the sender knew: what was in flight for it, how much window it saw. Timestamps tick in
// milliseconds on most hosts. Within a tick the shortest loop tells: what passed later than that before a frame cannot have
// reached its sender.
const KEPT = 1 << 14;
/** Of a kept acknowledgement: time, timestamp, highest offset acknowledged, right edge of the window. */
const FIELDS = 4;
const NOTHING = new Float64Array(0);
const FIRST_ROOM = 4;
/** Acknowledgements of one tick that pass within this time share an entry. */
const POOLED_NS = 50e3;

export class Acknowledgements {
  /** What the sender is known to have received: highest offset acknowledged and right edge of the window. */
  acked = Number.NaN;
  edge = Number.NaN;
  /** When the newest acknowledgement passed that the sender knows; NaN before. */
  passedNs = Number.NaN;
  /** When the first acknowledgement passed that carries the newest timestamp echoed. */
  tickNs = Number.NaN;
  #ring = NOTHING;
  #mask = -1;
  #first = 0;
  #next = 0;
  /** Timestamp and time of the newest entry, timestamp of the latest one taken. */
  #tsValue = 0;
  #entryNs = Number.NEGATIVE_INFINITY;
  #takenTsValue = Number.NaN;

  /** Takes an acknowledgement that a sender without data has surely had before its first data. */
  given(tNs: number, tsValue: number, acked: number, edge: number): void {
    this.passedNs = this.tickNs = tNs;
    this.#takenTsValue = tsValue;
    this.acked = acked;
    this.edge = edge;
  }

  /** Takes an acknowledgement on its way to the sender. Offsets are the highest so far. */
  passed(tNs: number, tsValue: number, acked: number, edge: number): void {
    let slot = ((this.#next - 1) & this.#mask) * FIELDS;
    const older = (tsValue - this.#tsValue) | 0;
    if (this.#first === this.#next || older > 0 || (older === 0 && tNs - this.#entryNs > POOLED_NS)) {
      if (this.#next - this.#first > this.#mask) this.#makeRoom();
      slot = (this.#next & this.#mask) * FIELDS;
      this.#next++;
      this.#ring[slot] = tNs;
      this.#ring[slot + 1] = tsValue;
      this.#tsValue = tsValue;
      this.#entryNs = tNs;
    }
    this.#ring[slot + 2] = acked;
    this.#ring[slot + 3] = edge;
  }

  /**
   * Takes the echo of a frame of the sender. `latestNs`: what passed later cannot have reached the sender.
   * True when the echo is of a later tick than any before.
   */
  echoed(tsEcho: number, latestNs: number): boolean {
    const ring = this.#ring;
    let news = false;
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      const later = (tsEcho - ring[slot + 1]!) | 0;
      const firstOfTick = ring[slot + 1] !== this.#takenTsValue;
      // The first of a tick that is echoed has surely arrived.
      if (later < 0 || (later === 0 && !firstOfTick && ring[slot]! > latestNs)) break;
      if (firstOfTick) {
        this.#takenTsValue = ring[slot + 1]!;
        this.tickNs = ring[slot]!;
        news = true;
      }
      this.#take(slot);
    }
    return news;
  }

  /** Without timestamps: takes it that whatever passed before `latestNs` has arrived. */
  arrived(latestNs: number): void {
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      if (this.#ring[slot]! > latestNs) break;
      this.#take(slot);
    }
  }

  #take(slot: number): void {
    this.passedNs = this.#ring[slot]!;
    this.acked = this.#ring[slot + 2]!;
    this.edge = this.#ring[slot + 3]!;
    this.#first++;
  }

  /** Shifts all offsets down by `bytes`: the stream was found to begin later than assumed. */
  rebase(bytes: number): void {
    this.acked -= bytes;
    this.edge -= bytes;
    for (let entry = this.#first; entry < this.#next; entry++) {
      const slot = (entry & this.#mask) * FIELDS;
      this.#ring[slot + 2]! -= bytes;
      this.#ring[slot + 3]! -= bytes;
    }
  }

  #makeRoom(): void {
    const size = this.#mask + 1;
    if (size >= KEPT) {
      this.#first++;
      return;
    }
    const room = Math.max(2 * size, FIRST_ROOM);
    const ring = new Float64Array(room * FIELDS);
    const mask = room - 1;
    for (let entry = this.#first; entry < this.#next; entry++) {
      const from = (entry & this.#mask) * FIELDS;
      const to = (entry & mask) * FIELDS;
      for (let field = 0; field < FIELDS; field++) ring[to + field] = this.#ring[from + field]!;
    }
    this.#ring = ring;
    this.#mask = mask;
  }
}
