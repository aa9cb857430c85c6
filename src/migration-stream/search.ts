// Search: back to firm ground after a gap, or into a stream joined midway.
//
// Page contents can look like page headers by chance, or because the guest itself holds such data, so one match proves
// nothing. Proof is several records in a row with ascending addresses, the end of a section with its footer and the next
// element behind it, or a record exactly where the lost ones, had they all been whole pages, would let it be.
import { type ByteCursor, type Reading, want } from '../decode/tcp/byte-cursor.js';
import { CURSOR_BYTES } from '../limits.js';
import { EOS_BYTES, NOT_A_RECORD, type RamReader, TOO_SHORT_TO_TELL } from './ram.js';
import type { SearchSink } from './records.js';
import { QEMU_VM_SECTION_FOOTER } from './wire.js';

/**
 * What begins at a place: a chain of RAM records; RAM records with stronger proof; a section's footer with an element
 * behind it; something that nothing contradicts as far as the bytes go; or nothing.
 */
export type Find = 'ram' | 'ram-sure' | 'footer' | 'more' | 'no';

/** Whether a section ends at `buffer[at]`: footer and the beginning of another element. */
export type IsSectionEnd = (buffer: Uint8Array, at: number, end: number) => 'yes' | 'no' | 'more';

/** Records that must follow each other, addresses ascending. */
const CONSISTENT_RECORDS = 4;
/** Bytes asked for first; more step by step, for waiting for many would date records on a slow stream too late. */
const STEP_BYTES = 32;
/** Room for names and section headers beside the pages of a chain. */
const HEADERS_BYTES = 1024;
/** Text shorter than this says nothing. */
const DESCRIPTION_PIECE_BYTES = 16;

/**
 * Moves to the next place that is proven and leaves the cursor there; single headers on the way are reported as
 * sightings. Returns 'no' at the stream's end. Follows the rules of StreamReader.resync for holes.
 */
export function* search(
  stream: ByteCursor,
  ram: RamReader,
  sink: SearchSink,
  isSectionEnd: IsSectionEnd,
): Reading<Exclude<Find, 'more'>> {
  const most = Math.min(CURSOR_BYTES, CONSISTENT_RECORDS * ram.pageSize + HEADERS_BYTES);
  let glimpsed = stream.offset;
  let atHole = false;
  for (;;) {
    if (stream.available === 0) {
      atHole = false;
      if (!(yield 1) && stream.ended) return 'no';
      continue;
    }
    if (stream.offset >= glimpsed) {
      glimpsed = stream.offset + stream.available;
      sink.glimpse(stream.offset, stream.tNs, isDescriptionText(stream.buffer, stream.position, stream.end));
    }
    const found = scan(stream, ram, isSectionEnd);
    if (found === 'no') continue;
    if (found === 'more' && !atHole) {
      const reach = Math.max(STEP_BYTES, 2 * stream.available);
      if (reach <= most && (yield* want(stream, reach))) continue;
      atHole = true;
    }
    // Between two holes a few short records are too little to go on from.
    if (found === 'more' || (found === 'ram' && atHole)) ram.sight(stream);
    else return found;
  }
}

/** Whether a search would find nothing in `buffer[start, end)`, at `offset`, not even a beginning; if so it is reported. */
export function isBarren(
  buffer: Uint8Array,
  start: number,
  end: number,
  offset: number,
  tNs: number,
  sink: SearchSink,
): boolean {
  // Where something begins, two zeros in a row are its first bytes or the next ones: every second byte shows one of them.
  // Four at a time, for captures cut to their headers consist of little else.
  let at = start;
  while (at + 6 < end && buffer[at] !== 0 && buffer[at + 2] !== 0 && buffer[at + 4] !== 0 && buffer[at + 6] !== 0)
    at += 8;
  for (; at < end; at += 2) {
    if (buffer[at] !== 0) continue;
    for (let first = at - 2 > start ? at - 2 : start; first <= at; first++)
      if (mayBegin(buffer, first, end)) return false;
  }
  for (let first = end - 2 > start ? end - 2 : start; first < end; first++)
    if (mayBegin(buffer, first, end)) return false;
  sink.glimpse(offset, tNs, isDescriptionText(buffer, start, end));
  return true;
}

/**
 * Whether what `judge` looks for may begin at `buffer[at]`: a RAM word or a footer. Two zeros are the word's first bytes, and
 * follow the footer's mark: no guest has 2^48 bytes, no migration 2^16 sections.
 */
function mayBegin(buffer: Uint8Array, at: number, end: number): boolean {
  const first = buffer[at]!;
  return (first === 0 || first === QEMU_VM_SECTION_FOOTER) && (at + 1 >= end || buffer[at + 1] === 0);
}

/** Moves to the next place at hand where something may begin; 'no' when there is none. */
function scan(stream: ByteCursor, ram: RamReader, isSectionEnd: IsSectionEnd): Find {
  const { buffer, end, position, offset } = stream;
  for (let at = position; at < end; at++) {
    if (!mayBegin(buffer, at, end)) continue;
    const found = judge(buffer, at, end, offset + at - position, ram, isSectionEnd);
    if (found === 'no') continue;
    stream.position = at;
    return found;
  }
  stream.position = end;
  return 'no';
}

function judge(
  buffer: Uint8Array,
  at: number,
  end: number,
  offset: number,
  ram: RamReader,
  isSectionEnd: IsSectionEnd,
): Find {
  // RAM words begin with a zero byte: no guest has 2^56 bytes.
  if (buffer[at] !== 0) {
    const sectionEnd = isSectionEnd(buffer, at, end);
    return sectionEnd === 'yes' ? 'footer' : sectionEnd;
  }
  let next = at;
  let address = -1;
  for (let records = 0; records < CONSISTENT_RECORDS; records++) {
    const length = ram.measure(buffer, next, end);
    if (length === TOO_SHORT_TO_TELL) return 'more';
    if (length === NOT_A_RECORD) return 'no';
    if (length === EOS_BYTES) {
      const sectionEnd = isSectionEnd(buffer, next + EOS_BYTES, end);
      return sectionEnd === 'yes' ? 'ram-sure' : sectionEnd;
    }
    // The scan ascends. Equal pages that hold something like a header repeat it a page apart, with one address.
    if (ram.measuredAddress <= address) return 'no';
    address = ram.measuredAddress;
    if (records === 0 && ram.isExpected(offset, address)) return 'ram-sure';
    next += length;
  }
  return 'ram';
}

/** Whether the bytes can be a piece of the description: printable, with a quotation mark; null for less than a piece. */
function isDescriptionText(buffer: Uint8Array, start: number, end: number): boolean | null {
  let quotes = 0;
  for (let i = start; i < end; i++) {
    const byte = buffer[i]!;
    if (byte < 0x20 || byte > 0x7e) return false;
    if (byte === 0x22) quotes++;
  }
  return end - start >= DESCRIPTION_PIECE_BYTES ? quotes > 0 : null;
}
