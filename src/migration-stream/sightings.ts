// Sightings: rounds from the few page headers that can be seen in a capture cut to the packet headers.
//
// With a snap length of 64 to 128 bytes each frame shows some tens of stream bytes. A page record is 8 bytes of header
// and 4 KiB of contents, so a header is seen now and then, by chance, with its exact stream offset and page address. Two
// sightings bound what lies between them: n pages take at least 9n bytes (all zero) and at most n × (page + 8). Where
// more bytes passed than the pages between two addresses can fill, or where the address went back, the scan came around
// the end of memory in between: a round ended shortly before (see rounds.ts). The same bounds narrow down where. The
// result is an estimate and says so; addresses that fit neither bound are contents that look like a header.
import { SIGHTINGS } from '../limits.js';
import type { Round } from './results.js';

/** Header of a page record, and a whole zero page record. */
const HEADER_BYTES = 8;
const ZERO_RECORD_BYTES = 9;
/** Section framing between pages, as a share of page bytes, and at least. */
const FRAMING_SHARE = 0.01;
const FRAMING_BYTES = 4096;
/** Device state between RAM and the description when neither can be seen: a small machine's. */
const DEVICE_STATE_BYTES = 16 << 10;

interface Sighting {
  readonly offset: number;
  readonly tNs: number;
  readonly page: number;
}

/** What is known of the stream as a whole. */
export interface SightedStream {
  readonly pageSize: number;
  /** Pages of the guest, null where not known. */
  readonly totalPages: number | null;
  /** Where the first page record and the end of RAM lie. */
  readonly start: { readonly offset: number; readonly tNs: number };
  readonly end: { readonly offset: number; readonly tNs: number };
  /** It was captured from its beginning, so the first pass is the one over all memory. */
  readonly fromStart: boolean;
  /** The migration went through to its end, so there was a final round. */
  readonly complete: boolean;
}

export class Sightings {
  readonly #byBlock = new Map<number, Sighting[]>();
  #count = 0;
  /** How far the stream had come when the newest of it was seen. */
  latestOffset = 0;
  /** Where the pieces of the description that were seen last without anything else in between began; NaN if none. */
  #textOffset = Number.NaN;
  #textNs = Number.NaN;
  #endsUnclear = false;

  get count(): number {
    return this.#count;
  }

  /** The last that was seen of the stream is the description. */
  get endsInText(): boolean {
    return !Number.isNaN(this.#textOffset);
  }

  /** The last that was seen may be the description: it was too little to tell. */
  get mayEndInText(): boolean {
    return this.endsInText || this.#endsUnclear;
  }

  add(offset: number, tNs: number, block: number, page: number): void {
    if (this.#count === SIGHTINGS) return;
    this.#count++;
    const sightings = this.#byBlock.get(block);
    if (sightings) sightings.push({ offset, tNs, page });
    else this.#byBlock.set(block, [{ offset, tNs, page }]);
  }

  glimpse(offset: number, tNs: number, text: boolean | null): void {
    this.latestOffset = offset;
    this.#endsUnclear = text === null;
    if (text === null) return;
    if (!text) {
      this.#textOffset = Number.NaN;
    } else if (Number.isNaN(this.#textOffset)) {
      this.#textOffset = offset;
      this.#textNs = tNs;
    }
  }

  /** Estimates the rounds; empty when there is nothing to go by. */
  rounds(stream: SightedStream): Round[] {
    const end = this.endsInText
      ? { offset: Math.max(stream.start.offset, this.#textOffset - DEVICE_STATE_BYTES), tNs: this.#textNs }
      : stream.end;
    const all = [...this.#byBlock.values()].reduce<Sighting[]>(
      (most, one) => (one.length > most.length ? one : most),
      [],
    );
    const chain = plausible(all, stream);
    if (chain.length < 2) return [];
    const points = [{ ...stream.start, page: 0 }, ...chain];
    const total = stream.totalPages ?? chain.reduce((most, { page }) => Math.max(most, page + 1), 0);
    const most = stream.pageSize + HEADER_BYTES;
    const starts: { offset: number; widthBytes: number }[] = [];
    for (let i = 1; i < points.length; i++) {
      const from = points[i - 1]!;
      const to = points[i]!;
      if (!cameAround(from, to, stream.pageSize)) continue;
      const low = Math.max(from.offset + ZERO_RECORD_BYTES * (total - from.page), to.offset - most * (to.page + 1));
      const high = Math.min(from.offset + most * (total - from.page), to.offset);
      starts.push({ offset: (low + Math.max(low, high)) / 2, widthBytes: Math.max(0, high - low) });
    }
    // Bytes that the pages up to the end of memory cannot fill, or the final round that every whole migration has.
    const last = points.at(-1)!;
    const reach = last.offset + most * (total - last.page);
    if (reach < end.offset || (stream.complete && starts.length === 0)) {
      const low = Math.min(end.offset, last.offset + ZERO_RECORD_BYTES * (total - last.page));
      const high = Math.min(end.offset, reach);
      starts.push({ offset: (low + high) / 2, widthBytes: high - low });
    }
    // The start may be dated late, by what else was going on when the search began: even later than the end.
    let latestNs = Number.NEGATIVE_INFINITY;
    const timeline = [...points, end].map(({ offset, tNs }) => {
      latestNs = Math.max(latestNs, Math.min(tNs, end.tNs));
      return { offset, tNs: latestNs };
    });
    return toRounds(starts, stream, end, timeline);
  }
}

/**
 * Drops sightings that fit neither as a step forward nor as the beginning of another way around memory. One that lies
 * astray makes itself or the next look like a way around: when the stretch goes on smoothly without it, it was no header.
 * The first pass sends every page, if only as a zero page: it goes no faster, and no later one further.
 */
function plausible(sightings: readonly Sighting[], stream: SightedStream): Sighting[] {
  const { pageSize, totalPages } = stream;
  const chain: Sighting[] = [{ ...stream.start, page: 0 }];
  /** Where in the chain the second pass begins, and how far the first can have come by then. */
  let secondPass = Number.POSITIVE_INFINITY;
  let farthest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < sightings.length; i++) {
    const sighting = sightings[i]!;
    if (totalPages !== null && sighting.page >= totalPages) continue;
    const last = chain.at(-1)!;
    const before = chain.at(-2);
    // Until a second sighting confirms it, what looks like the second pass may lie astray.
    const first = chain.length <= secondPass ? last : chain.length - 1 === secondPass ? before : undefined;
    if (first) farthest = first.page + Math.ceil((sighting.offset - first.offset) / ZERO_RECORD_BYTES);
    if (stream.fromStart && sighting.page > farthest) continue;
    if (chain.length <= secondPass)
      secondPass = cameAround(last, sighting, pageSize) ? chain.length : Number.POSITIVE_INFINITY;
    const next = sightings[i + 1];
    if (isStep(last, sighting, pageSize)) {
      chain.push(sighting);
    } else if (before && isStep(before, sighting, pageSize)) {
      chain.splice(-1, 1, sighting);
      if (secondPass === chain.length - 1) secondPass = Number.POSITIVE_INFINITY;
    } else if (!next || (isStep(sighting, next, pageSize) && !isStep(last, next, pageSize))) {
      chain.push(sighting);
    }
  }
  return chain.slice(1);
}

/** Whether the scan can have gone straight from one to the other. */
function isStep(from: Sighting, to: Sighting, pageSize: number): boolean {
  return to.page >= from.page && !cameAround(from, to, pageSize);
}

function cameAround(from: Sighting, to: Sighting, pageSize: number): boolean {
  if (to.page < from.page) return true;
  const fits = (to.page - from.page + 1) * (pageSize + HEADER_BYTES);
  return to.offset - from.offset > fits * (1 + FRAMING_SHARE) + FRAMING_BYTES;
}

function toRounds(
  starts: readonly { offset: number; widthBytes: number }[],
  stream: SightedStream,
  end: { offset: number; tNs: number },
  timeline: readonly { offset: number; tNs: number }[],
): Round[] {
  const length = end.offset - stream.start.offset;
  const bounds = [{ offset: stream.start.offset, widthBytes: 0 }, ...starts, { offset: end.offset, widthBytes: 0 }];
  const rounds: Round[] = [];
  let reached = stream.start.offset;
  for (let i = 0; i + 1 < bounds.length; i++) {
    const { widthBytes } = bounds[i]!;
    // Estimates of neighbours may overlap, or lie behind the end; rounds follow each other all the same.
    const offset = Math.min(end.offset, Math.max(bounds[i]!.offset, reached));
    const bytes = Math.max(0, Math.min(end.offset, bounds[i + 1]!.offset) - offset);
    reached = offset + bytes;
    const startNs = timeAt(offset, timeline);
    const endNs = timeAt(offset + bytes, timeline);
    const seconds = (endNs - startNs) / 1e9;
    rounds.push({
      index: i + 1,
      startNs,
      endNs,
      // Contents are not in the capture; the bytes tell how many pages there are at least.
      pages: { normal: Math.floor(bytes / (stream.pageSize + HEADER_BYTES)), zero: 0, xbzrle: 0, compressed: 0 },
      bytes,
      goodput: seconds > 0 ? bytes / seconds : 0,
      dirtyPagesPerSecond: null,
      boundary: i > 0 ? 'inferred-headers' : stream.fromStart ? 'first-pass' : 'joined-midway',
      confidence:
        i === 0 ? (stream.fromStart ? 0.9 : 0.5) : Math.max(0.2, 0.7 * (1 - widthBytes / Math.max(1, length))),
    });
  }
  return rounds;
}

/** When the byte at `offset` passed, between the points of known time. */
function timeAt(offset: number, timeline: readonly { offset: number; tNs: number }[]): number {
  let low = 0;
  let high = timeline.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timeline[middle]!.offset >= offset) high = middle;
    else low = middle + 1;
  }
  const point = timeline[low];
  if (!point) return timeline.at(-1)!.tNs;
  const before = timeline[Math.max(0, low - 1)]!;
  const span = point.offset - before.offset;
  const share = span > 0 ? (offset - before.offset) / span : 1;
  return before.tNs + share * (point.tNs - before.tNs);
}
