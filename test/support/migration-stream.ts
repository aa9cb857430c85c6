// Builds migration streams byte by byte from the format description, and shows what a decoder makes of a stream.
// Shares no code with the decoders: constants are written out as they are on the wire.
import { type AnomalyCode, AnomalyLog } from '../../src/anomaly.js';
import type { HoleCause, StreamEnd } from '../../src/decode/stream.js';
import { StreamDriver } from '../../src/migration-stream/decoder.js';
import type { MigrationSink, StreamContext, StreamDecoder } from '../../src/migration-stream/records.js';

export const PAGE = 4096;

export const be16 = (value: number): number[] => [(value >> 8) & 255, value & 255];
export const be32 = (value: number): number[] => [...be16(Math.floor(value / 65_536)), ...be16(value % 65_536)];
export const be64 = (value: number): number[] => [...be32(Math.floor(value / 2 ** 32)), ...be32(value % 2 ** 32)];
export const ascii = (text: string): number[] => [...text].map((letter) => letter.charCodeAt(0));
export const str8 = (text: string): number[] => [text.length, ...ascii(text)];

export type Piece = ArrayLike<number>;

/** The pieces one after the other. */
export function bytes(...pieces: Piece[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export interface BlockSpec {
  readonly name: string;
  readonly length: number;
}

/** Records of the main channel. `footers: false` writes them as machine types up to 2.3 do. */
export class StreamBuilder {
  readonly #pieces: Piece[] = [];
  readonly #footers: boolean;
  /** Block named last: the next page of the same block is written with CONTINUE. */
  #block = '';

  constructor(options: { footers?: boolean } = {}) {
    this.#footers = options.footers ?? true;
  }

  raw(...pieces: Piece[]): this {
    this.#pieces.push(...pieces);
    return this;
  }

  header(machine: string | null = 'pc-q35-9.2', ...subsections: Piece[]): this {
    this.raw(ascii('QEVM'), be32(3));
    if (machine !== null) this.raw([7], be32(machine.length), ascii(machine), ...subsections);
    return this;
  }

  /** START of the RAM section, id 2. */
  ramStart(blocks: readonly BlockSpec[], ...behindLengths: Piece[]): this {
    const total = blocks.reduce((sum, block) => sum + block.length, 0);
    this.raw([1], be32(2), str8('ram'), be32(0), be32(4), be64(total + 4));
    for (const [i, block] of blocks.entries()) {
      this.raw(str8(block.name), be64(block.length), behindLengths[i] ?? []);
    }
    return this.eos().footer(2);
  }

  part(write: (ram: StreamBuilder) => void): this {
    this.raw([2], be32(2));
    write(this);
    return this.eos().footer(2);
  }

  end(write: (ram: StreamBuilder) => void = () => {}): this {
    this.raw([3], be32(2));
    write(this);
    return this.eos().footer(2);
  }

  eos(): this {
    return this.raw(be64(0x10));
  }

  footer(id: number): this {
    return this.#footers ? this.raw([0x7e], be32(id)) : this;
  }

  /** A page header; names the block where it changed. */
  #word(block: string, address: number, flag: number): void {
    const same = block === this.#block;
    this.#block = block;
    this.raw(be64(address + flag + (same ? 0x20 : 0)), same ? [] : str8(block));
  }

  /** Pages by number, whole contents. `fill` gives each byte of the contents. */
  pages(block: string, numbers: readonly number[], fill: (at: number) => number = () => 0xaa): this {
    for (const number of numbers) {
      this.#word(block, number * PAGE, 0x08);
      this.raw(Uint8Array.from({ length: PAGE }, (_, at) => fill(at)));
    }
    return this;
  }

  zeros(block: string, numbers: readonly number[]): this {
    for (const number of numbers) {
      this.#word(block, number * PAGE, 0x02);
      this.raw([0]);
    }
    return this;
  }

  xbzrle(block: string, number: number, encoded: Piece): this {
    this.#word(block, number * PAGE, 0x40);
    return this.raw([1], be16(encoded.length), encoded);
  }

  compressed(block: string, number: number, packed: Piece): this {
    this.#word(block, number * PAGE, 0x100);
    return this.raw(be32(packed.length), packed);
  }

  flushMark(): this {
    return this.raw(be64(0x200));
  }

  full(id: number, name: string, body: Piece, instance = 0, version = 1): this {
    this.raw([4], be32(id), str8(name), be32(instance), be32(version), body);
    return this.footer(id);
  }

  command(command: number, payload: Piece = []): this {
    return this.raw([8], be16(command), be16(payload.length), payload);
  }

  ping(value: number): this {
    return this.command(2, be32(value));
  }

  /** PACKAGED with `write`'s elements inside. */
  packaged(write: (inner: StreamBuilder) => void): this {
    const inner = new StreamBuilder({ footers: this.#footers });
    write(inner);
    const package_ = inner.build();
    return this.command(7, be32(package_.length)).raw(package_);
  }

  eof(): this {
    return this.raw([0]);
  }

  description(text: string): this {
    return this.raw([6], be32(text.length), ascii(text));
  }

  build(): Uint8Array {
    return bytes(...this.#pieces);
  }
}

export const stream = (options: { footers?: boolean } = {}): StreamBuilder => new StreamBuilder(options);

/** A description as QEMU writes it, with one field of the given size a device. */
export const describing = (devices: readonly { name: string; instance?: number; size: number }[]): string =>
  JSON.stringify({
    page_size: PAGE,
    devices: devices.map(({ name, instance = 0, size }) => ({
      name,
      instance_id: instance,
      fields: [{ name: 'data', size }],
    })),
  });

/** `from`, `from + 1` … `to − 1`. */
export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** A small whole pre-copy migration: two passes and the final one, two devices, description. */
export function smallMigration(): StreamBuilder {
  const blocks = [
    { name: 'pc.ram', length: 16 * PAGE },
    { name: 'vga.vram', length: 4 * PAGE },
  ];
  return stream()
    .header()
    .command(1)
    .ping(1)
    .ramStart(blocks)
    .part((ram) => ram.pages('pc.ram', range(0, 8)).zeros('pc.ram', range(8, 16)))
    .part((ram) => ram.pages('vga.vram', [0]).zeros('vga.vram', [1, 2, 3]))
    .part((ram) => ram.pages('pc.ram', [2, 5]))
    .end((ram) => ram.pages('pc.ram', [5]))
    .full(0, 'timer', range(0, 24))
    .full(3, '0000:00:02.0/vga', [0x7e, 0, 0, 0, 3, 9, 9])
    .eof()
    .description(
      describing([
        { name: 'timer', size: 24 },
        { name: '0000:00:02.0/vga', size: 7 },
      ]),
    );
}

// What a decoder makes of a stream

/** A hole among the chunks of a stream. */
export interface HoleSpec {
  readonly hole: number;
  readonly cause?: HoleCause;
}
export type Chunk = Uint8Array | HoleSpec;

export interface DecodedStream {
  /** One line a record, in order. */
  readonly records: string[];
  readonly anomalies: AnomalyCode[];
  readonly undecodedBytes: number;
  readonly length: number;
}

const CONTEXT: StreamContext = {
  direction: 0,
  fromStart: true,
  reverse: null,
  knownBlocks: new Set(),
  pageSize: null,
};

/** Runs a decoder over the chunks; chunk i is seen at i ms. */
export function decodeChunks(
  decoder: StreamDecoder,
  chunks: readonly Chunk[],
  options: { joined?: boolean; end?: StreamEnd; context?: Partial<StreamContext> } = {},
): DecodedStream {
  const records: string[] = [];
  const log = new AnomalyLog();
  const context = { ...CONTEXT, ...options.context };
  const driver = new StreamDriver(decoder, recordingSink(records), context, log, options.joined ? () => {} : null);
  let offset = 0;
  chunks.forEach((chunk, i) => {
    const tNs = i * 1e6;
    if (chunk instanceof Uint8Array) {
      driver.bytes(chunk, 0, chunk.length, offset, tNs, i + 1);
      // The transport's memory is only lent: whatever is still needed must have been copied.
      chunk.fill(0xee);
      offset += chunk.length;
    } else {
      driver.hole(offset, chunk.hole, chunk.cause ?? 'unseen', tNs, i + 1);
      offset += chunk.hole;
    }
  });
  driver.end(offset, options.end ?? 'fin', chunks.length * 1e6, chunks.length);
  const { undecodedBytes, length } = driver.account;
  return { records, anomalies: log.finish().map(({ code }) => code), undecodedBytes, length };
}

/** The same bytes whole, one at a time, in odd pieces, and as the middle of a larger buffer: all must read the same. */
export function decodeEveryWay(
  decoder: StreamDecoder,
  whole: Uint8Array,
  context: Partial<StreamContext> = {},
): DecodedStream {
  const expected = decodeChunks(decoder, [whole.slice()], { context });
  const sizes = [1, 7, 1448, 4104, 65_160];
  for (const size of sizes) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < whole.length; at += size) chunks.push(whole.slice(at, at + size));
    const split = decodeChunks(decoder, chunks, { context });
    if (JSON.stringify(split) !== JSON.stringify(expected)) {
      throw new Error(`pieces of ${size} bytes read differently: ${firstDifference(expected.records, split.records)}`);
    }
  }
  return expected;
}

function firstDifference(a: readonly string[], b: readonly string[]): string {
  const at = a.findIndex((record, i) => record !== b[i]);
  return `record ${at}: ${a[at]} / ${b[at]}`;
}

const KINDS = ['normal', 'zero', 'xbzrle', 'compressed'];

/** A sink that writes down what it is told, without times. */
export function recordingSink(records: string[]): MigrationSink {
  const blocks = new Map<string, number>();
  const say = (line: string): void => void records.push(line);
  return {
    configuration: ({ machineType, pageBits, capabilities }) =>
      say(`configuration ${machineType} ${pageBits} [${capabilities.join()}]`),
    pageSize: (size) => say(`page size ${size}`),
    memory: (total) => say(`memory ${total}`),
    blocks: (list) => {
      blocks.clear();
      for (const { name } of list) blocks.set(name, blocks.size);
      say(`blocks ${list.map(({ name, lengthBytes }) => `${name}:${lengthBytes}`).join()}`);
    },
    block: (name) => {
      if (!blocks.has(name)) blocks.set(name, blocks.size);
      return blocks.get(name)!;
    },
    page: (offset, _tNs, block, address, kind, length) =>
      say(`page @${offset} ${block}+${address / PAGE} ${KINDS[kind]} ${length}`),
    flush: (offset) => say(`flush @${offset}`),
    sectionStart: ({ kind, id, name, offset, packaged }) =>
      say(`${packaged ? 'packaged ' : ''}${kind} ${id} ${name} @${offset}`),
    sectionEnd: ({ id }, { length }) => say(`end of ${id} after ${length}`),
    command: ({ name, value, packaged }) => say(`${packaged ? 'packaged ' : ''}command ${name} ${value}`),
    endMark: ({ offset }) => say(`end mark @${offset}`),
    description: ({ devices, length }) => say(`description ${length} ${devices?.length}`),
    reply: ({ name, value, request }) =>
      say(`reply ${name} ${request ? `${request.block}+${request.start}/${request.length}` : value}`),
    hello: (channel) => say(`hello ${channel}`),
    packet: () => {},
    diskExport: (name) => say(`disk ${name}`),
    diskRequest: (_tNs, kind, _offset, length) => say(`disk ${kind} ${length}`),
    deviceState: (_place, name, _instance, length) => say(`device state ${name} ${length}`),
    runState: (state, isRebootable) => say(`run state ${state} ${isRebootable}`),
    feature: (name) => say(`feature ${name}`),
    sealed: (offset, _tNs, length) => say(`sealed @${offset} ${length}`),
    sighting: (offset, _tNs, block, address, kind) =>
      say(`sighting @${offset} ${block}+${address / PAGE} ${KINDS[kind]}`),
    glimpse: () => {},
    blind: (offset, resumed) => say(`blind ${offset} to ${resumed}`),
    streamStart: () => undefined,
    streamEnd: (offset) => say(`stream end @${offset}`),
  };
}
