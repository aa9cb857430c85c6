// Acknowledgements: when which acknowledgement passed the capture point, and which one the sender knew when it sent.
//
// A frame echoes the timestamp of the newest acknowledgement its sender had received (RFC 7323 §4.3). So the echo tells,
// at any capture point, what the sender knew: what was in flight for it, how much window it saw. Timestamps tick in
// milliseconds on most hosts; acknowledgements of one tick share an entry that keeps the time of the first.
const KEPT = 1 << 14;
const FIELDS = 4;

export class Acknowledgements {
  /** What the sender is known to have received: highest offset acknowledged and right edge of the window. */
  acked = Number.NaN;
  edge = Number.NaN;
  /** When the newest acknowledgement that the sender has shown to know passed the capture point; NaN before. */
  passedNs = Number.NaN;
  #ring = new Float64Array(8 * FIELDS);
  #mask = 7;
  #first = 0;
  #next = 0;
  #tsValue = 0;

  /** Takes an acknowledgement on its way to the sender. Offsets are highest so far. */
  passed(tNs: number, tsValue: number, acked: number, edge: number): void {
    let slot = ((this.#next - 1) & this.#mask) * FIELDS;
    if (this.#first === this.#next || ((tsValue - this.#tsValue) | 0) > 0) {
      if (this.#next - this.#first > this.#mask) this.#makeRoom();
      slot = (this.#next & this.#mask) * FIELDS;
      this.#next++;
      this.#ring[slot] = tNs;
      this.#ring[slot + 1] = tsValue;
      this.#tsValue = tsValue;
    }
    this.#ring[slot + 2] = acked;
    this.#ring[slot + 3] = edge;
  }

  /** Takes the echo of a frame of the sender; true when it shows that a further acknowledgement has arrived. */
  echoed(tsEcho: number): boolean {
    let news = false;
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      if (((tsEcho - this.#ring[slot + 1]!) | 0) < 0) break;
      this.#take(slot);
      news = true;
    }
    return news;
  }

  /** Without timestamps: takes it that whatever passed before `tNs` has arrived. */
  arrived(tNs: number): boolean {
    let news = false;
    while (this.#first < this.#next) {
      const slot = (this.#first & this.#mask) * FIELDS;
      if (this.#ring[slot]! > tNs) break;
      this.#take(slot);
      news = true;
    }
    return news;
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
    const ring = new Float64Array(2 * size * FIELDS);
    const mask = 2 * size - 1;
    for (let entry = this.#first; entry < this.#next; entry++) {
      const from = (entry & this.#mask) * FIELDS;
      ring.set(this.#ring.subarray(from, from + FIELDS), (entry & mask) * FIELDS);
    }
    this.#ring = ring;
    this.#mask = mask;
  }
}
