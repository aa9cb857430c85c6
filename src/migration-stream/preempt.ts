// Preempt channel: requested pages of a post-copy migration on a connection of their own.
//
// No header and no magic: RAM records from the first byte on, the first of them named. It ends with EOS (binaries or
// machine types up to 7.2) or with the connection. So it is recognised by the name of a RAM block of a migration between
// the same hosts and port; joined midway, beside an open main channel, by several records in a row.
// Source: QEMU migration/ram.c, ram_save_host_page_urgent(); postcopy_preempt_setup().
import type { ByteCursor, Reading } from '../decode/tcp/byte-cursor.js';
import { RamReader } from './ram.js';
import type { MigrationSink, ReadEnd, StreamDecoder, StreamReader } from './records.js';
import { search } from './search.js';
import { RAM_FLAGS_MASK, RAM_SAVE_FLAG_PAGE, RAM_SAVE_FLAG_ZERO } from './wire.js';

export const preempt: StreamDecoder = {
  id: 'preempt',
  channel: 'preempt',
  probe(buffer, start, end, { knownBlocks }) {
    if (knownBlocks.size === 0) return 'no';
    if (end - start < 9) return 'more';
    const flags = ((buffer[start + 6]! << 8) | buffer[start + 7]!) & RAM_FLAGS_MASK;
    if (flags !== RAM_SAVE_FLAG_PAGE && flags !== RAM_SAVE_FLAG_ZERO) return 'no';
    const length = buffer[start + 8]!;
    if (end - start < 9 + length) return 'more';
    const name = String.fromCharCode(...buffer.subarray(start + 9, start + 9 + length));
    return knownBlocks.has(name) ? 'yes' : 'no';
  },
  open(sink, note, context) {
    const ram = new RamReader(sink, note);
    if (context.pageSize !== null) ram.setPageSize(context.pageSize);
    return new PreemptReader(ram, sink);
  },
};

class PreemptReader implements StreamReader {
  readonly #ram: RamReader;
  readonly #sink: MigrationSink;

  constructor(ram: RamReader, sink: MigrationSink) {
    this.#ram = ram;
    this.#sink = sink;
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    const end = yield* this.#ram.records(stream);
    return stream.ended ? 'end' : end;
  }

  *resync(stream: ByteCursor): Reading<boolean> {
    this.#ram.afterGap();
    return (yield* search(stream, this.#ram, this.#sink, () => 'no')) !== 'no';
  }
}
