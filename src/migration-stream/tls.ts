// TLS around a channel: recognised, and read as far as it goes unopened, record by record.
//
// QEMU speaks TLS from the first byte (no STARTTLS), names no server and no application protocol in its ClientHello.
// Record lengths are in clear, and QEMU hands every piece of its output vector to TLS by itself, so a page of 4096 bytes
// travels as a record of its own: sealed.ts makes the most of that.
// Source: RFC 8446 §4.1.2, §5.1; QEMU io/channel-tls.c, qio_channel_tls_writev().
import { type ByteCursor, type Reading, want } from '../decode/tcp/byte-cursor.js';
import type { MigrationSink, ReadEnd, StreamDecoder, StreamReader } from './records.js';
import { MULTIFD_HEADER_BYTES, PAGE_BYTES, WHOLE_RECORD_BYTES, WORD_BYTES } from './sealed-records.js';

const CONTENT_ALERT = 21;
const CONTENT_HANDSHAKE = 22;
const CONTENT_APPLICATION_DATA = 23;
const CONTENT_FIRST = 20;
const CONTENT_LAST = 24;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_APPLICATION_PROTOCOL = 16;
const RECORD_HEADER_BYTES = 5;
/** No record is open. */
const NONE = -1;
/** RFC 8446 §5.2: 2^14 bytes of contents and at most 256 more for protection; TLS 1.2 allows 2048. */
const RECORD_BYTES = 16_384 + 2048;

const uint16 = (buffer: Uint8Array, at: number): number => (buffer[at]! << 8) | buffer[at + 1]!;

export const tls: StreamDecoder = {
  id: 'tls',
  channel: 'tls',
  probe(buffer, start, end, { fromStart, reverse }) {
    // The answers to a stream joined midway; the stream itself is searched.
    if (!fromStart) return reverse === 'tls' && buffer[start] === CONTENT_APPLICATION_DATA ? 'yes' : 'no';
    if (buffer[start] !== CONTENT_HANDSHAKE) return 'no';
    if (end - start <= RECORD_HEADER_BYTES) return 'more';
    const message = handshakeMessage(buffer, start);
    if (message === SERVER_HELLO) return reverse === 'tls' ? 'yes' : 'no';
    if (message !== CLIENT_HELLO) return 'no';
    const hello = end - start - RECORD_HEADER_BYTES;
    if (hello < uint16(buffer, start + 3) && hello < 2048) return 'more';
    return isAnonymous(buffer, start + RECORD_HEADER_BYTES, end) ? 'yes' : 'no';
  },
  open: (sink, _note, { fromStart, reverse, isSealed = () => false }) =>
    new TlsReader(sink, fromStart || reverse === 'tls' ? () => true : isSealed),
};

/** A client's handshake begins at `buffer[start]`, as far as frames cut to their headers still show. */
export const isClientHello = (buffer: Uint8Array, start: number, end: number): boolean =>
  end - start > RECORD_HEADER_BYTES && handshakeMessage(buffer, start) === CLIENT_HELLO;

/** Type of the message in the handshake record that begins at `buffer[start]`; null where none does. */
function handshakeMessage(buffer: Uint8Array, start: number): number | null {
  if (buffer[start] !== CONTENT_HANDSHAKE || buffer[start + 1] !== 3) return null;
  return uint16(buffer, start + 3) <= RECORD_BYTES ? buffer[start + RECORD_HEADER_BYTES]! : null;
}

/** A ClientHello that names neither a server nor an application protocol. */
function isAnonymous(buffer: Uint8Array, start: number, end: number): boolean {
  let at = start + 4 + 2 + 32; // message header, version, random
  if (at >= end) return false;
  at += 1 + buffer[at]!; // session id
  if (at + 2 > end) return false;
  at += 2 + uint16(buffer, at); // cipher suites
  if (at >= end) return false;
  at += 1 + buffer[at]!; // compression methods
  if (at + 2 > end) return false;
  const last = Math.min(end, at + 2 + uint16(buffer, at));
  for (at += 2; at + 4 <= last; at += 4 + uint16(buffer, at + 2)) {
    const extension = uint16(buffer, at);
    if (extension === EXTENSION_SERVER_NAME || extension === EXTENSION_APPLICATION_PROTOCOL) return false;
  }
  return true;
}

class TlsReader implements StreamReader {
  readonly #sink: MigrationSink;
  readonly #isKnown: () => boolean;
  #isProven = false;

  /** @param isKnown  false for a stream joined midway, which may be any TLS until its records look like QEMU's */
  constructor(sink: MigrationSink, isKnown: () => boolean) {
    this.#sink = sink;
    this.#isKnown = isKnown;
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    // A record counts once all of it has passed: the stream may break off inside.
    let record = NONE;
    let recordNs = 0;
    let recordFrame = 0;
    let recordBytes = 0;
    for (;;) {
      const more = yield* want(stream, RECORD_HEADER_BYTES);
      if (record !== NONE && stream.owed === 0) this.#sink.sealed(record, recordNs, recordBytes, recordFrame);
      record = NONE;
      if (!more) return stream.ended && stream.available === 0 ? 'end' : 'desync';
      const { offset, tNs, frame } = stream;
      const content = stream.u8();
      const major = stream.u8();
      stream.skip(1);
      const length = stream.u16();
      if (content < CONTENT_FIRST || content > CONTENT_LAST || major !== 3 || length > RECORD_BYTES) return 'desync';
      stream.skip(length);
      if (content === CONTENT_APPLICATION_DATA) {
        record = offset;
        recordFrame = frame;
        recordNs = tNs;
        recordBytes = length;
      } else if (content === CONTENT_ALERT) this.#sink.feature('tls-alert');
    }
  }

  /** Three records in a row whose headers chain are believed; of a stream joined midway, as many as show QEMU's habits. */
  *resync(stream: ByteCursor): Reading<boolean> {
    while (!stream.ended) {
      if (!(yield* want(stream, RECORD_HEADER_BYTES))) {
        if (stream.ended) return false;
        continue;
      }
      if (yield* chains(stream)) {
        this.#isProven ||= this.#isKnown() || (yield* showsHabits(stream, this.#isKnown));
        if (this.#isProven) return true;
        continue;
      }
      stream.skip(1);
    }
    return false;
  }
}

const CHAIN = 3;

/** Whether records chain from here on; waits for the bytes that decide. */
function* chains(stream: ByteCursor): Reading<boolean> {
  let ahead = 0;
  for (let link = 0; link < CHAIN; link++) {
    if (!(yield* want(stream, ahead + RECORD_HEADER_BYTES))) return false;
    const content = stream.peek(ahead);
    const length = (stream.peek(ahead + 3) << 8) | stream.peek(ahead + 4);
    if (content !== CONTENT_APPLICATION_DATA || stream.peek(ahead + 1) !== 3 || stream.peek(ahead + 2) !== 3)
      return false;
    if (length === 0 || length > RECORD_BYTES) return false;
    ahead += RECORD_HEADER_BYTES + length;
  }
  return true;
}

/** What protection adds to a record; see sealed.ts. */
const PROTECTION_BYTES = [17, 24, 16, 9] as const;
const HABITS = 4;
/** 32 words and pages fill eight records and a part of the ninth; a few zero pages may lie between them. */
const VECTOR_WHOLE_RECORDS = 8;
const VECTOR_REST_BYTES = 32 * (PAGE_BYTES + WORD_BYTES) - VECTOR_WHOLE_RECORDS * WHOLE_RECORD_BYTES;
const VECTOR_WORDS_BYTES = 64;
/** 128 pages; the header is what is left. */
const PACKET_WHOLE_RECORDS = 32;
/** A packet with fewer pages is no proof. */
const PACKET_PAGES = 32;

/**
 * Reads records as long as they chain until QEMU's habits were seen: a page with the record of its word before it, or many pages
 * and the header of a multifd packet behind them (up to 11.0); or a whole vector of 32 words and pages, or of a packet (from 11.1 on).
 * The main channel beside those of multifd shows none: it is believed once they were.
 */
function* showsHabits(stream: ByteCursor, isKnown: () => boolean): Reading<boolean> {
  let seen = 0;
  let before = 0;
  let whole = 0;
  let alike = 0;
  while (yield* want(stream, RECORD_HEADER_BYTES)) {
    if (stream.peek(0) !== CONTENT_APPLICATION_DATA || stream.peek(1) !== 3) return false;
    stream.skip(3);
    const length = stream.u16();
    if (length > RECORD_BYTES) return false;
    stream.skip(length);
    const isHabit = PROTECTION_BYTES.some((added) => {
      const isPage = length === PAGE_BYTES + added;
      if (isPage && before === WORD_BYTES + added) return true;
      const rest = length - added - VECTOR_REST_BYTES;
      if (whole === VECTOR_WHOLE_RECORDS && rest >= 0 && rest < VECTOR_WORDS_BYTES) return true;
      if (length !== MULTIFD_HEADER_BYTES + added) return false;
      return whole === PACKET_WHOLE_RECORDS || (alike >= PACKET_PAGES && before === PAGE_BYTES + added);
    });
    if ((isHabit && ++seen === HABITS) || isKnown()) return true;
    whole = length > WHOLE_RECORD_BYTES ? whole + 1 : 0;
    alike = length === before ? alike + 1 : 1;
    before = length;
  }
  return false;
}
