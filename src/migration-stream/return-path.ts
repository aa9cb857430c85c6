// Return path: messages from destination to source, on the reverse direction of the main channel.
//
// be16 type, be16 length, payload. One message (RECV_BITMAP) is followed by a bitmap outside its length.
// Source: QEMU migration/migration.c, migrate_send_rp_message(), source_return_path_thread().
import { type ByteCursor, type Reading, want } from '../decode/tcp/byte-cursor.js';
import type { MigrationSink, NoteDamage, Probe, ReadEnd, RecordPlace, StreamDecoder, StreamReader } from './records.js';
import { REPLIES, RP_MESSAGE_BYTES, RP_RECV_BITMAP, RP_REQ_PAGES, RP_REQ_PAGES_ID } from './wire.js';

export const returnPath: StreamDecoder = {
  id: 'return-path',
  channel: 'main',
  probe(buffer, start, end, context) {
    if (context.reverse === 'main') return 'yes';
    // Beside a stream joined midway, only when the bytes are messages and nothing else; what comes before the first of that
    // stream waits for it.
    if (context.fromStart || (context.reverse !== null && context.reverse !== 'searching')) return 'no';
    const probe = wholeMessages(buffer, start, end);
    return probe === 'yes' && context.reverse === null ? 'more' : probe;
  },
  open: (sink, note) => new ReturnPathReader(sink, note),
};

function wholeMessages(buffer: Uint8Array, start: number, end: number): Probe {
  let at = start;
  while (end - at >= 4) {
    const length = messageLength(buffer, at);
    if (length === null) return 'no';
    // The snap length may have cut a later one.
    if (at + 4 + length > end) return at > start ? 'yes' : 'no';
    at += 4 + length;
  }
  return at === end ? 'yes' : 'no';
}

/** Payload length of the message header at `buffer[at]`, null when it is none. */
function messageLength(buffer: Uint8Array, at: number): number | null {
  const type = (buffer[at]! << 8) | buffer[at + 1]!;
  const length = (buffer[at + 2]! << 8) | buffer[at + 3]!;
  const reply = REPLIES[type];
  if (type === 0 || !reply || length > RP_MESSAGE_BYTES || (reply.length >= 0 && reply.length !== length)) return null;
  return length;
}

class ReturnPathReader implements StreamReader {
  readonly #sink: MigrationSink;
  readonly #note: NoteDamage;
  /** Part of the messages is missing. */
  #searched = false;
  /** Block of the latest request that named one. */
  #block = '';

  constructor(sink: MigrationSink, note: NoteDamage) {
    this.#sink = sink;
    this.#note = note;
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    if (stream.offset > 0) this.#searched = true;
    for (;;) {
      if (!(yield* want(stream, 4))) return stream.ended ? 'end' : 'desync';
      const place = { offset: stream.offset, tNs: stream.tNs, frame: stream.frame };
      const length = messageLength(stream.buffer, stream.position);
      const type = stream.u16();
      const announced = stream.u16();
      if (type === 0 && announced === 0 && !this.#searched) {
        // A plain be32 0: the destination of COLO is ready for checkpoints, and speaks their language from now on.
        this.#sink.reply({ ...place, name: 'colo-checkpoint-ready', value: null, request: null });
        return 'end';
      }
      if (length === null) {
        this.#note('stream/bad-record', `return-path message ${type}`);
        return 'desync';
      }
      if (!(yield* want(stream, length))) return stream.ended ? 'end' : 'desync';
      const behind = stream.offset + length;
      this.#message(stream, type, length, place);
      stream.skip(behind - stream.offset);
      if (type === RP_RECV_BITMAP) {
        if (!(yield* want(stream, 8))) return stream.ended ? 'end' : 'desync';
        stream.skip(stream.u64() + 8);
      }
    }
  }

  /** Messages are rarely more than a segment: the next one that starts a contiguous stretch is believed. */
  *resync(stream: ByteCursor): Reading<boolean> {
    this.#searched = true;
    for (;;) {
      if (!(yield* want(stream, 4))) {
        if (stream.ended) return false;
        stream.skip(stream.available);
        continue;
      }
      if (messageLength(stream.buffer, stream.position) !== null) return true;
      stream.skip(1);
    }
  }

  #message(stream: ByteCursor, type: number, length: number, place: RecordPlace): void {
    let value: number | null = null;
    let request = null;
    if (type === RP_REQ_PAGES_ID || type === RP_REQ_PAGES) {
      if (length < 12) {
        this.#note('stream/bad-record', 'short page request');
        return;
      }
      const start = stream.u64();
      const bytes = stream.u32();
      if (type === RP_REQ_PAGES_ID) {
        const named = length > 12 ? stream.u8() : 0;
        this.#block = named <= length - 13 ? stream.text(named) : '';
      }
      request = { block: this.#block, start, length: bytes };
    } else if (length === 4) {
      value = stream.u32();
    }
    this.#sink.reply({ ...place, name: REPLIES[type]!.name, value, request });
  }
}
