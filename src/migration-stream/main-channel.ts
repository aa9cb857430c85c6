// Main channel: file header, configuration, sections, commands, end mark, description.
//
// Sections have no length. RAM and a few others delimit themselves; all other device state ends where its footer (0x7e
// and the section's id) is followed by something that can only be the next element. The description at the end of a
// pre-copy stream lists the sizes QEMU measured while writing, and checks every end found that way. Machine types up to
// 2.3 send neither configuration nor footers: there the next section's header is searched for instead.
// Source: QEMU migration/savevm.c, qemu_loadvm_state_main(), qemu_savevm_state_complete_precopy(); docs/ has the versions.
import { type ByteCursor, type Reading, uint32, want } from '../decode/tcp/byte-cursor.js';
import { DESCRIPTION_BYTES, STREAM_RECORDS } from '../limits.js';
import { describedDevices } from './description.js';
import { bodyReader, featureOf } from './iterables.js';
import { RamReader } from './ram.js';
import type {
  MigrationSink,
  NoteDamage,
  ReadEnd,
  RecordPlace,
  SearchSink,
  Section,
  SectionKind,
  StreamContext,
  StreamDecoder,
  StreamReader,
} from './records.js';
import { isBarren, search } from './search.js';
import {
  CMD_ENABLE_COLO,
  CMD_PACKAGED,
  CMD_PING,
  CMD_POSTCOPY_ADVISE,
  CMD_POSTCOPY_RAM_DISCARD,
  CMD_POSTCOPY_RUN,
  COMMANDS,
  isPageSize,
  QEMU_VM_COMMAND,
  QEMU_VM_CONFIGURATION,
  QEMU_VM_EOF,
  QEMU_VM_FILE_MAGIC,
  QEMU_VM_FILE_VERSION,
  QEMU_VM_SECTION_END,
  QEMU_VM_SECTION_FOOTER,
  QEMU_VM_SECTION_FULL,
  QEMU_VM_SECTION_PART,
  QEMU_VM_SECTION_START,
  QEMU_VM_SUBSECTION,
  QEMU_VM_VMDESCRIPTION,
} from './wire.js';

/** Ids are a counter over registered devices: small. */
const SECTION_ID_LIMIT = 65_536;
/** Versions are small, but i6300esb, a watchdog, has 10000, and eeprom, part of some network cards, a date (eeprom93xx.c). */
const VERSION_LIMIT = 20_061_113;
/** Longest section header: type, id, name, instance, version. */
const HEADER_BYTES = 1 + 4 + 1 + 255 + 4 + 4;
const FOOTER_BYTES = 5;
/** system/globalstate.c: length of the name's field from 9.0 on, and all up to the flag behind it. */
const RUN_STATE_BYTES = 32;
const GLOBAL_STATE_BYTES = 4 + RUN_STATE_BYTES + 1;
/** migration/colo.c: messages are a be32 each, from CHECKPOINT_READY (0) to VMSTATE_LOADED. */
const LAST_COLO_MESSAGE = 6;
/** Machine types are short; QEMU would allocate whatever is announced. */
const MACHINE_TYPE_BYTES = 255;
/** Payload of a command whose length varies: a discard names a block and twelve ranges (MAX_DISCARDS_PER_COMMAND). */
const COMMAND_BYTES = 512;

export const mainChannel: StreamDecoder = {
  id: 'main',
  channel: 'main',
  probe(buffer, start, end, context) {
    const magic = [0x51, 0x45, 0x56, 0x4d];
    for (let i = 0; i < magic.length; i++) {
      if (start + i === end) return 'more';
      if (buffer[start + i] !== magic[i]) return context.fromStart ? 'no' : 'search';
    }
    return 'yes'; // another version than the one known is still a migration; the header's reader says so
  },
  open: (sink, note, context) => new MainChannelReader(sink, note, context),
};

/** After a post-copy pause the source reconnects, sends no header and begins with RECV_BITMAP (9 on 3.0). */
export const reconnection: StreamDecoder = {
  id: 'main',
  channel: 'main',
  probe(buffer, start, end, context) {
    if (context.knownBlocks.size === 0 || buffer[start] !== QEMU_VM_COMMAND) return 'no';
    if (end - start < 6) return 'more';
    const command = (buffer[start + 1]! << 8) | buffer[start + 2]!;
    const length = (buffer[start + 3]! << 8) | buffer[start + 4]!;
    return (command === 10 || command === 9) && length === buffer[start + 5]! + 1 ? 'yes' : 'no';
  },
  open: mainChannel.open,
};

interface KnownSection {
  readonly name: string;
  readonly instance: number;
  readonly version: number;
  ended: boolean;
}

class MainChannelReader implements StreamReader {
  readonly #sink: MigrationSink;
  readonly #note: NoteDamage;
  readonly #seen: SearchSink;
  readonly #ram: RamReader;
  readonly #sections = new Map<number, KnownSection>();
  #ramId: number | null = null;
  #headerRead = false;
  /** Whether sections end with footers: as the configuration suggests, then as the first section shows. */
  #footers = true;
  #footersSeen = false;
  /** Offset behind the post-copy package being read; NaN outside. */
  #packageEnd = Number.NaN;
  #ended = false;
  /** Bytes of all that was read, each element by its own account; see #balance. */
  #accounted = 0;
  /** The source announced COLO: behind the end mark come checkpoints. */
  #colo = false;
  /** Part of the stream was not read: sections may have been announced unseen. */
  #searched = false;
  /** RAM records are the next thing: the search after a gap stopped inside a section. */
  #insideRam = false;
  /** Lengths of opaque bodies as found by their footers, by name and instance, until the description checks them. */
  readonly #bodyLengths = new Map<string, number>();

  constructor(sink: MigrationSink, note: NoteDamage, context: StreamContext) {
    this.#sink = sink;
    this.#note = note;
    this.#seen = context.seen ?? sink;
    this.#ram = new RamReader(sink, note, this.#seen);
    if (context.pageSize !== null) this.#ram.setPageSize(context.pageSize);
  }

  *decode(stream: ByteCursor): Reading<ReadEnd> {
    if (!this.#headerRead && !(yield* this.#header(stream))) return stream.ended ? 'end' : 'desync';
    if (this.#insideRam) {
      this.#insideRam = false;
      const section = this.#section('part', this.#ramId ?? 0, this.#place(stream));
      this.#sink.sectionStart(section);
      if ((yield* this.#body(stream, section)) === 'desync') return 'desync';
    }
    for (;;) {
      if (stream.offset >= this.#packageEnd) this.#packageEnd = Number.NaN;
      if (this.#ended && !(yield* want(stream, 1))) {
        this.#balance(stream);
        return 'end';
      }
      const packageEnd = this.#packageEnd;
      const result = yield* this.#element(stream);
      if (result === 'done') {
        this.#balance(stream);
        if (!this.#colo && (yield* want(stream, 1))) this.#note('stream/invariant', 'bytes behind the last element');
        return 'end';
      }
      if (result === 'desync') {
        if (stream.ended) return 'end';
        // What is inside a package has a known end: go on there.
        if (Number.isNaN(packageEnd) || stream.offset > packageEnd) return 'desync';
        stream.skip(packageEnd - stream.offset);
        this.#searched = true;
      }
    }
  }

  /** Pages, words, headers, footers, commands, device state and description must add up to the stream. */
  #balance(stream: ByteCursor): void {
    if (this.#searched || this.#accounted === stream.offset) return;
    this.#note('stream/invariant', `records of ${this.#accounted} bytes in ${stream.offset} bytes of stream`);
  }

  *resync(stream: ByteCursor): Reading<boolean> {
    this.#headerRead = true;
    this.#searched = true;
    this.#packageEnd = Number.NaN;
    this.#ram.afterGap();
    const found = yield* search(stream, this.#ram, this.#seen, (buffer, at, end) =>
      this.#isFooter(buffer, at, end, null),
    );
    if (found === 'footer') stream.skip(FOOTER_BYTES);
    this.#insideRam = found === 'ram' || found === 'ram-sure';
    return found !== 'no';
  }

  isBarren(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number): boolean {
    return isBarren(buffer, start, end, offset, tNs, this.#seen);
  }

  /** The beginning of another iterable section than RAM is all that frames cut to their headers may show of it. */
  glance(buffer: Uint8Array, start: number, end: number): void {
    if (buffer[start] !== QEMU_VM_SECTION_START || this.#isElement(buffer, start, end, true) !== 'yes') return;
    const name = String.fromCharCode(...buffer.subarray(start + 6, start + 6 + buffer[start + 5]!));
    if (bodyReader(name, 'start')) this.#sink.feature(featureOf(name));
  }

  #place(stream: ByteCursor): RecordPlace {
    return { offset: stream.offset, tNs: stream.arrivedNs(stream.offset), frame: stream.frame };
  }

  #section(kind: SectionKind, id: number, place: RecordPlace): Section {
    const known = this.#sections.get(id);
    return {
      ...place,
      kind,
      id,
      name: known?.name ?? (this.#ramId === null || id === this.#ramId ? 'ram' : ''),
      instance: known?.instance ?? 0,
      version: known?.version ?? 0,
      packaged: !Number.isNaN(this.#packageEnd),
    };
  }

  *#header(stream: ByteCursor): Reading<boolean> {
    if (!(yield* want(stream, 9))) return false;
    if (stream.peek(0) === QEMU_VM_COMMAND) {
      // A reconnection after a post-copy pause goes on where the broken connection stopped.
      this.#headerRead = true;
      return true;
    }
    if (stream.u32() !== QEMU_VM_FILE_MAGIC || stream.u32() !== QEMU_VM_FILE_VERSION) {
      this.#note('stream/bad-header', 'magic or version');
      return false;
    }
    this.#headerRead = true;
    this.#footers = stream.peek(0) === QEMU_VM_CONFIGURATION;
    this.#accounted = stream.offset;
    if (!this.#footers) return true;
    const place = this.#place(stream);
    stream.skip(1);
    if (!(yield* want(stream, 4))) return false;
    const length = stream.u32();
    if (length > MACHINE_TYPE_BYTES) {
      this.#note('stream/bad-header', `machine type of ${length} bytes`);
      return false;
    }
    if (!(yield* want(stream, length))) return false;
    const machineType = stream.text(length);
    let pageBits: number | null = null;
    const capabilities: string[] = [];
    // Subsections have no length; the next element can only be 0x01, 0x04 or 0x08.
    for (;;) {
      if (!(yield* want(stream, 1)) || stream.peek(0) !== QEMU_VM_SUBSECTION) break;
      if (!(yield* want(stream, 2))) return false;
      const nameLength = stream.peek(1);
      if (!(yield* want(stream, 2 + nameLength + 4))) return false;
      stream.skip(2);
      const name = stream.text(nameLength);
      stream.skip(4);
      if (name === 'configuration/target-page-bits') {
        if (!(yield* want(stream, 4))) return false;
        pageBits = stream.u32();
      } else if (name === 'configuration/capabilities') {
        if (!(yield* want(stream, 4))) return false;
        for (let left = Math.min(stream.u32(), 255); left > 0; left--) {
          if (!(yield* want(stream, 1))) return false;
          const capabilityLength = stream.u8();
          if (!(yield* want(stream, capabilityLength))) return false;
          capabilities.push(stream.text(capabilityLength));
        }
      } else if (name === 'configuration/uuid') {
        stream.skip(16);
      } else {
        this.#note('stream/bad-header', `configuration subsection ${name}`);
        return false;
      }
    }
    if (pageBits !== null && pageBits >= 10 && pageBits <= 16) this.#ram.setPageSize(2 ** pageBits);
    this.#ram.ignoreShared = capabilities.includes('x-ignore-shared');
    this.#sink.configuration({ ...place, machineType, pageBits, capabilities });
    this.#accounted = stream.offset;
    return true;
  }

  /** One section, command, end mark or description. */
  *#element(stream: ByteCursor): Reading<ReadEnd | 'done'> {
    if (!(yield* want(stream, 1))) return 'desync';
    const place = this.#place(stream);
    const type = stream.u8();
    switch (type) {
      case QEMU_VM_SECTION_START:
      case QEMU_VM_SECTION_FULL:
        return yield* this.#announced(stream, type === QEMU_VM_SECTION_START ? 'start' : 'full', place);
      case QEMU_VM_SECTION_PART:
      case QEMU_VM_SECTION_END:
        return yield* this.#continued(stream, type === QEMU_VM_SECTION_PART ? 'part' : 'end', place);
      case QEMU_VM_COMMAND:
        return yield* this.#command(stream, place);
      case QEMU_VM_EOF:
        this.#ended = true;
        this.#accounted++;
        this.#sink.endMark(place);
        if (!this.#colo) return 'end';
        this.#note('stream/checkpoints', 'the guest goes on at both ends');
        return (yield* want(stream, 1)) && stream.peek(0) === QEMU_VM_VMDESCRIPTION ? 'end' : 'done';
      case QEMU_VM_VMDESCRIPTION:
        return yield* this.#description(stream, place);
      default:
        this.#note('stream/unknown-section', `element type 0x${type.toString(16)}`);
        return 'desync';
    }
  }

  /** START or FULL: the header names the section. */
  *#announced(stream: ByteCursor, kind: SectionKind, place: RecordPlace): Reading<ReadEnd> {
    if (!(yield* want(stream, 5))) return 'desync';
    const id = stream.u32();
    const nameLength = stream.u8();
    if (!(yield* want(stream, nameLength + 8))) return 'desync';
    const name = stream.text(nameLength);
    const instance = stream.u32();
    const version = stream.u32();
    if (id >= SECTION_ID_LIMIT || nameLength === 0) {
      this.#note('stream/bad-record', `section header ${id} '${name}'`);
      return 'desync';
    }
    const known = this.#sections.get(id);
    // An iterable device may have a second, non-iterable part under the same id and name (VFIO).
    if (known && (known.name !== name || kind === 'start')) {
      this.#note('stream/invariant', `section id ${id} announced again as '${name}'`);
    }
    if (known || this.#sections.size < STREAM_RECORDS) {
      this.#sections.set(id, { name, instance, version, ended: known?.ended ?? kind === 'full' });
    }
    if (name === 'ram' && kind === 'start') this.#ramId = id;
    const section = this.#section(kind, id, place);
    this.#sink.sectionStart(section);
    this.#accounted += 14 + nameLength;
    return yield* this.#body(stream, section);
  }

  /** PART or END of a section that START announced. */
  *#continued(stream: ByteCursor, kind: SectionKind, place: RecordPlace): Reading<ReadEnd> {
    if (!(yield* want(stream, 4))) return 'desync';
    const id = stream.u32();
    const known = this.#sections.get(id);
    if (!known && this.#ramId !== null && id !== this.#ramId) {
      this.#note('stream/unknown-section', `section id ${id} was not announced`);
      if (!this.#searched || id >= SECTION_ID_LIMIT) return 'desync';
    }
    if (known?.ended) this.#note('stream/invariant', `section '${known.name}' goes on after its end`);
    if (known && kind === 'end') known.ended = true;
    // Joined midway: the only section that is iterated over and over is RAM.
    this.#ramId ??= id;
    const section = this.#section(kind, id, place);
    this.#sink.sectionStart(section);
    this.#accounted += 5;
    return yield* this.#body(stream, section);
  }

  /** The body of `section` and its footer. */
  *#body(stream: ByteCursor, section: Section): Reading<ReadEnd> {
    if (section.name === 'ram' && section.kind !== 'full') {
      if ((yield* this.#ram.records(stream)) === 'desync') return 'desync';
      this.#accounted += this.#ram.bodyBytes;
    } else {
      const bodyAt = stream.offset;
      const read = bodyReader(section.name, section.kind);
      if (!read) return yield* this.#opaqueBody(stream, section);
      if (!(yield* read(stream, section.kind))) {
        if (!stream.ended) this.#note('stream/bad-record', `body of section '${section.name}'`);
        return 'desync';
      }
      this.#accounted += stream.offset - bodyAt;
    }
    const contentsNs = stream.arrivedNs(stream.offset - 1);
    if (!this.#footersSeen) {
      if (!(yield* want(stream, 1))) return 'desync';
      this.#footers = stream.peek(0) === QEMU_VM_SECTION_FOOTER;
      this.#footersSeen = true;
    }
    if (this.#footers && !(yield* this.#footer(stream, section.id))) return 'desync';
    if (this.#footers) this.#accounted += FOOTER_BYTES;
    this.#finishSection(stream, section, contentsNs, true);
    return 'end';
  }

  *#footer(stream: ByteCursor, id: number): Reading<boolean> {
    if (!(yield* want(stream, 5))) return false;
    const type = stream.peek(0);
    if (type !== QEMU_VM_SECTION_FOOTER) {
      this.#note('stream/footer-mismatch', `0x${type.toString(16)} where the footer of section ${id} belongs`);
      return false;
    }
    stream.skip(1);
    const named = stream.u32();
    if (named !== id && this.#sections.has(id)) {
      this.#note('stream/footer-mismatch', `footer of section ${named} ends section ${id}`);
      return false;
    }
    return true;
  }

  #finishSection(stream: ByteCursor, section: Section, contentsNs: number, exact: boolean): void {
    const length = stream.offset - section.offset;
    this.#sink.sectionEnd(section, { ...this.#place(stream), length, contentsNs, exact });
  }

  /** Device state: searched for its end, see the top of this file. */
  *#opaqueBody(stream: ByteCursor, section: Section): Reading<ReadEnd> {
    const bodyAt = stream.offset;
    if (section.name === 'globalstate') {
      if (yield* want(stream, GLOBAL_STATE_BYTES)) this.#runState(stream);
      else if (!stream.ended) return 'desync';
    }
    for (;;) {
      if (!(yield* want(stream, 1))) return 'desync';
      const limit = this.#limit(stream);
      let candidate = stream.position;
      while (candidate < limit && !this.#mayEnd(stream.buffer[candidate]!)) candidate++;
      stream.position = candidate;
      if (candidate === limit) {
        if (stream.offset >= this.#packageEnd) return 'desync';
        continue;
      }
      // As much as it takes to be sure, or all there is before the stream's end.
      let verdict = this.#isEnd(stream, section.id);
      for (let ahead = 16; verdict === 'more' && ahead <= 2 * HEADER_BYTES; ahead *= 2) {
        if (!(yield* want(stream, Math.min(ahead, 5 + HEADER_BYTES)))) {
          if (!stream.ended) return 'desync';
          break;
        }
        verdict = this.#isEnd(stream, section.id);
      }
      if (verdict === 'no' || (verdict === 'more' && !stream.ended)) {
        stream.skip(1);
        continue;
      }
      if (this.#bodyLengths.size < STREAM_RECORDS) {
        this.#bodyLengths.set(`${section.name}\0${section.instance}`, stream.offset - bodyAt);
      }
      this.#accounted += stream.offset - bodyAt;
      if (this.#footers) {
        stream.skip(FOOTER_BYTES);
        this.#accounted += FOOTER_BYTES;
      }
      this.#finishSection(stream, section, stream.tNs, false);
      return 'end';
    }
  }

  /** vmstate_globalstate: a be32, then the name in 100 bytes, from 9.0 on in 32 and a flag that is always set behind it. */
  #runState({ buffer, position }: ByteCursor): void {
    let state = '';
    for (let at = position + 4; buffer[at]! > 0x20 && buffer[at]! < 0x7f && state.length < RUN_STATE_BYTES; at++)
      state += String.fromCharCode(buffer[at]!);
    this.#sink.runState(state, buffer[position + 4 + RUN_STATE_BYTES] !== 0);
  }

  /** Index behind the last byte at hand that can belong to a section: a package is not overrun. */
  #limit(stream: ByteCursor): number {
    const left = this.#packageEnd - stream.offset;
    return left < stream.available ? stream.position + left : stream.end;
  }

  /** Whether opaque device state may end before a byte of this value. */
  #mayEnd(byte: number): boolean {
    if (this.#footers) return byte === QEMU_VM_SECTION_FOOTER;
    return byte === QEMU_VM_SECTION_FULL || byte === QEMU_VM_EOF;
  }

  #isEnd(stream: ByteCursor, id: number): 'yes' | 'no' | 'more' {
    const { buffer, position } = stream;
    const limit = this.#limit(stream);
    if (this.#footers) return this.#isFooter(buffer, position, limit, id);
    // Without footers: the next section's header, or the end mark with the description behind it.
    return this.#isElement(buffer, position, limit, true);
  }

  /** Whether `buffer[at]` is a section footer with an element behind it; `id` null for any section's. */
  #isFooter(buffer: Uint8Array, at: number, end: number, id: number | null): 'yes' | 'no' | 'more' {
    if (buffer[at] !== QEMU_VM_SECTION_FOOTER) return 'no';
    if (end - at < 5) return 'more';
    const footerId = uint32(buffer, at + 1);
    if (id !== null ? footerId !== id : footerId >= SECTION_ID_LIMIT) return 'no';
    if (end - at < 6) return 'more';
    const type = buffer[at + 5]!;
    // While searching for any footer, PART and END count only where they go on with the same section.
    if (id === null && (type === QEMU_VM_SECTION_PART || type === QEMU_VM_SECTION_END)) {
      if (end - at < 10) return 'more';
      return uint32(buffer, at + 6) === footerId ? 'yes' : 'no';
    }
    return this.#isElement(buffer, at + 5, end, id === null);
  }

  /** Whether an element can begin at `buffer[at]`; `alone` asks for proof that needs no footer before it. */
  #isElement(buffer: Uint8Array, at: number, end: number, alone: boolean): 'yes' | 'no' | 'more' {
    switch (buffer[at]) {
      case QEMU_VM_EOF:
        if (!alone && end - at < 2) return 'more';
        if (end - at < 7) return 'more';
        if (this.#colo && uint32(buffer, at + 1) <= LAST_COLO_MESSAGE) return 'yes';
        return buffer[at + 1] === QEMU_VM_VMDESCRIPTION && buffer[at + 6] === 0x7b ? 'yes' : 'no';
      case QEMU_VM_SECTION_START:
      case QEMU_VM_SECTION_FULL: {
        if (end - at < 7) return 'more';
        const nameLength = buffer[at + 5]!;
        if (uint32(buffer, at + 1) >= SECTION_ID_LIMIT || nameLength === 0) return 'no';
        const shown = Math.min(nameLength, end - at - 6);
        for (let i = 0; i < shown; i++) {
          const byte = buffer[at + 6 + i]!;
          if (byte < 0x20 || byte > 0x7e) return 'no';
        }
        if (shown < nameLength || end - at < 14 + nameLength) return 'more';
        return uint32(buffer, at + 10 + nameLength) <= VERSION_LIMIT ? 'yes' : 'no';
      }
      case QEMU_VM_SECTION_PART:
      case QEMU_VM_SECTION_END:
        if (alone) return 'no';
        if (end - at < 5) return 'more';
        return this.#sections.has(uint32(buffer, at + 1)) ? 'yes' : 'no';
      case QEMU_VM_COMMAND: {
        if (end - at < 5) return 'more';
        const number = (buffer[at + 1]! << 8) | buffer[at + 2]!;
        const length = (buffer[at + 3]! << 8) | buffer[at + 4]!;
        const command = COMMANDS[number];
        if (number === 0 || !command) return 'no';
        return command.length === length || (command.length < 0 && length <= COMMAND_BYTES) ? 'yes' : 'no';
      }
      default:
        return 'no';
    }
  }

  *#command(stream: ByteCursor, place: RecordPlace): Reading<ReadEnd> {
    if (!(yield* want(stream, 4))) return 'desync';
    const number = stream.u16();
    const length = stream.u16();
    const command = COMMANDS[number];
    if (number === 0 || !command || (command.length >= 0 && command.length !== length)) {
      this.#note('stream/bad-record', `command ${number} of ${length} bytes`);
      return 'desync';
    }
    if (!(yield* want(stream, length))) return 'desync';
    const behind = stream.offset + length;
    const packaged = !Number.isNaN(this.#packageEnd);
    const value = this.#commandValue(stream, number, length);
    stream.skip(behind - stream.offset);
    this.#sink.command({ ...place, command: number, name: command.name, packaged, value });
    this.#accounted += 5 + length;
    if (number === CMD_ENABLE_COLO) this.#colo = true;
    if (number === CMD_PACKAGED) {
      if (packaged) this.#note('stream/bad-record', 'a package inside a package');
      else this.#packageEnd = behind + value!;
    } else if (number === CMD_POSTCOPY_RUN && packaged) {
      // Last in the package: its receiver stops here.
      const left = Math.max(0, this.#packageEnd - behind);
      stream.skip(left);
      this.#accounted += left;
    }
    return 'end';
  }

  #commandValue(stream: ByteCursor, number: number, length: number): number | null {
    switch (number) {
      case CMD_PING:
      case CMD_PACKAGED:
        return stream.u32();
      case CMD_POSTCOPY_ADVISE: {
        // Empty when post-copy is for dirty bitmaps only.
        if (length !== 16) return null;
        this.#ram.postcopyAdvised = true;
        stream.skip(8);
        const pageSize = stream.u64();
        if (isPageSize(pageSize)) {
          this.#ram.setPageSize(pageSize);
        }
        return pageSize;
      }
      case CMD_POSTCOPY_RAM_DISCARD: {
        if (length < 3) return null;
        stream.skip(1);
        const nameLength = stream.u8();
        let discarded = 0;
        stream.skip(Math.min(nameLength + 1, length - 2));
        for (let left = length - 3 - nameLength; left >= 16; left -= 16) {
          stream.skip(8);
          discarded += stream.u64();
        }
        return discarded;
      }
      default:
        return null;
    }
  }

  *#description(stream: ByteCursor, place: RecordPlace): Reading<ReadEnd | 'done'> {
    if (!(yield* want(stream, 4))) return 'desync';
    const length = stream.u32();
    let text: Uint8Array | null = length <= DESCRIPTION_BYTES ? new Uint8Array(length) : null;
    if (text) {
      for (let filled = 0; filled < length; ) {
        if (!(yield* want(stream, 1))) {
          // Damaged by a hole or the end; its length still says where it ends.
          if (stream.ended) return 'desync';
          stream.skip(Math.max(0, place.offset + 5 + length - stream.offset));
          text = null;
          break;
        }
        const take = Math.min(stream.available, length - filled);
        text.set(stream.buffer.subarray(stream.position, stream.position + take), filled);
        stream.skip(take);
        filled += take;
      }
    } else {
      this.#note('stream/limit', `description of ${length} bytes`);
      stream.skip(length);
    }
    const description = text && describedDevices(text);
    if (text && !description) this.#note('stream/bad-record', 'the device description is not valid');
    if (description) this.#check(description.devices);
    this.#accounted += 5 + length;
    this.#sink.description({
      ...place,
      length: 5 + length,
      pageSize: description?.pageSize ?? null,
      devices: description?.devices ?? null,
    });
    return 'done';
  }

  /** The sizes QEMU measured against those found by footers. */
  #check(devices: readonly { name: string; instance: number; bytes: number }[]): void {
    for (const { name, instance, bytes } of devices) {
      const found = this.#bodyLengths.get(`${name}\0${instance}`);
      if (found !== undefined && found !== bytes) {
        this.#note('stream/invariant', `section '${name}' has ${found} bytes, its description says ${bytes}`);
      }
    }
  }
}
