// NBD: disks mirrored beside the memory, recognised by their negotiation and counted by request.
//
// libvirt copies local disks over NBD before and while memory moves; the source is the client, the destination the server,
// which speaks first. The client negotiates by options, then sends requests; only writes carry data. What is read back
// (a pull mirror, dirty bitmaps) is counted from the requests' lengths. Where the client asks for TLS, only the lengths of
// its records are left, from there on.
// Source: the NBD protocol description (doc/proto.md of the nbd project); QEMU include/block/nbd.h.
import { type ByteCursor, type Reading, want } from '../decode/tcp/byte-cursor.js';
import { NAME_CHARACTERS } from '../limits.js';
import type { MigrationSink, NoteDamage, ReadEnd, StreamContext, StreamDecoder, StreamReader } from './records.js';
import { tls } from './tls.js';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_GREETING,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_STARTTLS,
  NBD_OPTION_MAGIC,
  NBD_REQUEST_MAGIC,
} from './wire.js';

/** Options of a sane client are far shorter; libnbd and QEMU send at most a few hundred bytes. */
const OPTION_BYTES = 1 << 20;

export const nbdServer: StreamDecoder = {
  id: 'nbd-server',
  channel: 'nbd',
  probe(buffer, start, end, { fromStart }) {
    if (!fromStart) return 'no';
    const length = Math.min(NBD_GREETING.length, end - start);
    for (let i = 0; i < length; i++) if (buffer[start + i] !== NBD_GREETING.charCodeAt(i)) return 'no';
    return length === NBD_GREETING.length ? 'yes' : 'more';
  },
  // Replies say nothing that the requests do not.
  open: () => ({
    *decode(stream: ByteCursor): Reading<ReadEnd> {
      while (yield* want(stream, 1)) stream.skip(stream.available);
      return 'end';
    },
  }),
};

export const nbdClient: StreamDecoder = {
  id: 'nbd-client',
  channel: 'nbd',
  probe: (_buffer, _start, _end, { reverse, fromStart }) => (reverse === 'nbd-server' && fromStart ? 'yes' : 'no'),
  open: (sink, note, context) => new NbdClientReader(sink, note, context),
};

class NbdClientReader implements StreamReader {
  readonly #sink: MigrationSink;
  readonly #note: NoteDamage;
  readonly #context: StreamContext;
  /** Reads on once the client has asked for TLS. */
  #sealed: StreamReader | null = null;

  constructor(sink: MigrationSink, note: NoteDamage, context: StreamContext) {
    this.#sink = sink;
    this.#note = note;
    this.#context = context;
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    if (this.#sealed) return yield* this.#sealed.decode(stream);
    if (stream.offset === 0) {
      if (!(yield* want(stream, 4))) return 'desync';
      stream.skip(4); // client flags
    }
    while (yield* want(stream, 4)) {
      const magic = stream.u32();
      let read: Reading<ReadEnd>;
      if (magic === NBD_OPTION_MAGIC[0]) read = this.#option(stream);
      else if (magic === NBD_REQUEST_MAGIC) read = this.#request(stream, false);
      else if (magic === NBD_EXTENDED_REQUEST_MAGIC) read = this.#request(stream, true);
      else {
        this.#note('stream/bad-record', `NBD request magic ${magic.toString(16)}`);
        return 'desync';
      }
      if ((yield* read) === 'desync') return 'desync';
    }
    return stream.ended && stream.available === 0 ? 'end' : 'desync';
  }

  /** The next request magic that a known command follows. */
  *resync(stream: ByteCursor): Reading<boolean> {
    if (this.#sealed) return yield* this.#sealed.resync!(stream);
    while (!stream.ended) {
      if (!(yield* want(stream, 28))) {
        if (stream.ended) return false;
        continue;
      }
      const { buffer, end } = stream;
      let at = stream.position;
      while (at + 28 <= end && !isRequest(buffer, at)) at++;
      const found = at + 28 <= end;
      stream.skip(at - stream.position);
      if (found) return true;
    }
    return false;
  }

  *#option(stream: ByteCursor): Reading<ReadEnd> {
    if (!(yield* want(stream, 12))) return 'desync';
    if (stream.u32() !== NBD_OPTION_MAGIC[1]) return 'desync';
    const option = stream.u32();
    const length = stream.u32();
    if (length > OPTION_BYTES) return 'desync';
    const behind = stream.offset + length;
    if (option === NBD_OPT_STARTTLS) {
      stream.skip(length);
      this.#sealed = tls.open(this.#sink, this.#note, this.#context);
      return yield* this.#sealed.decode(stream);
    }
    if (option === NBD_OPT_EXPORT_NAME || option === NBD_OPT_GO || option === NBD_OPT_INFO) {
      let nameBytes = length;
      if (option !== NBD_OPT_EXPORT_NAME) {
        if (!(yield* want(stream, 4))) return 'desync';
        nameBytes = stream.u32();
      }
      const shown = Math.min(nameBytes, length, NAME_CHARACTERS);
      if (!(yield* want(stream, shown))) return 'desync';
      if (option !== NBD_OPT_INFO) this.#sink.diskExport(stream.text(shown));
    }
    stream.skip(behind - stream.offset);
    return 'end';
  }

  *#request(stream: ByteCursor, extended: boolean): Reading<ReadEnd> {
    if (!(yield* want(stream, extended ? 28 : 24))) return 'desync';
    stream.skip(2);
    const command = stream.u16();
    stream.skip(8); // cookie
    const offset = stream.u64();
    const length = extended ? stream.u64() : stream.u32();
    const kind =
      command === NBD_CMD_WRITE
        ? 'write'
        : command === NBD_CMD_WRITE_ZEROES
          ? 'zero'
          : command === NBD_CMD_READ
            ? 'read'
            : 'other';
    this.#sink.diskRequest(stream.tNs, kind, offset, length);
    if (kind === 'write') stream.skip(length);
    return 'end';
  }
}

/** A header of 28 or 32 bytes with a command there is and a place on a disk of less than 2^56 bytes. */
function isRequest(buffer: Uint8Array, at: number): boolean {
  const magic = ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
  return (
    (magic === NBD_REQUEST_MAGIC || magic === NBD_EXTENDED_REQUEST_MAGIC) &&
    buffer[at + 6] === 0 &&
    buffer[at + 7]! <= NBD_CMD_BLOCK_STATUS &&
    buffer[at + 16] === 0
  );
}
