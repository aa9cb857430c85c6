// Builds capture files byte by byte from the format descriptions (pcap-savefile(5), draft-ietf-opsawg-pcapng), and
// reads captures into plain rows to compare.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Anomaly, AnomalyLog } from '../../src/anomaly.js';
import type { CaptureFileOptions } from '../../src/capture/capture-file.js';
import type { CaptureInterface, CaptureSource, InputInfo } from '../../src/capture/packet-batch.js';
import { openFiles } from '../../src/capture/source.js';

export type ByteOrder = 'little' | 'big';

/** One frame to be written. */
export interface Recorded {
  /** ns since 1970. */
  readonly ns: bigint;
  readonly bytes: Uint8Array;
  /** On the wire; as many as `bytes` unless given. */
  readonly wire?: number;
}

/** `count` small frames 1 µs apart, all different, from a plausible start. */
export const someFrames = (count: number, startNs = 1_700_000_000_000_000_000n): Recorded[] =>
  Array.from({ length: count }, (_, i) => ({
    ns: startNs + BigInt(i) * 1000n,
    bytes: Uint8Array.from({ length: 20 + (i % 7) }, (__, at) => 32 + ((i * 7 + at) % 90)),
  }));

// Numbers in a byte order

export interface Numbers {
  u16(value: number): Uint8Array;
  u32(value: number): Uint8Array;
  u64(value: bigint): Uint8Array;
}

export function numbers(order: ByteOrder): Numbers {
  const make = (bytes: number, value: bigint): Uint8Array => {
    const digits = Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
    return Uint8Array.from(order === 'little' ? digits : digits.reverse());
  };
  return {
    u16: (value) => make(2, BigInt(value)),
    u32: (value) => make(4, BigInt(value)),
    u64: (value) => make(8, value),
  };
}

export const join8 = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

// Classic pcap

export interface PcapOptions {
  readonly order?: ByteOrder;
  readonly magic?: number;
  readonly snapLength?: number;
  /** The whole 32-bit field. */
  readonly linkType?: number;
}

const NANOSECOND_MAGICS = [0xa1b23c4d, 0x1c0001ac];

export function pcapHeader(options: PcapOptions = {}): Uint8Array {
  const { order = 'little', magic = 0xa1b2c3d4, snapLength = 262_144, linkType = 1 } = options;
  const { u16, u32 } = numbers(order);
  return join8(u32(magic), u16(2), u16(4), u32(0), u32(0), u32(snapLength), u32(linkType));
}

/** A record; `fields` are forced into its header as they are. */
export function pcapRecord(
  frame: Recorded,
  options: PcapOptions = {},
  fields: { readonly captured?: number; readonly fraction?: number } = {},
): Uint8Array {
  const { u32 } = numbers(options.order ?? 'little');
  const fractionNs = NANOSECOND_MAGICS.includes(options.magic ?? 0) ? 1n : 1000n;
  return join8(
    u32(Number(frame.ns / 1_000_000_000n)),
    u32(fields.fraction ?? Number((frame.ns % 1_000_000_000n) / fractionNs)),
    u32(fields.captured ?? frame.bytes.length),
    u32(frame.wire ?? frame.bytes.length),
    frame.bytes,
  );
}

export const pcap = (frames: readonly Recorded[], options: PcapOptions = {}): Uint8Array =>
  join8(pcapHeader(options), ...frames.map((frame) => pcapRecord(frame, options)));

// pcapng

export type Option = readonly [code: number, value: Uint8Array];

const padded = (bytes: Uint8Array): Uint8Array => join8(bytes, new Uint8Array(-bytes.length & 3));

/** Blocks of one section, in its byte order. */
export function blocks(order: ByteOrder = 'little') {
  const { u16, u32, u64 } = numbers(order);
  const halves = (units: bigint): Uint8Array => join8(u32(Number(units >> 32n)), u32(Number(units & 0xffff_ffffn)));
  const options = (list: readonly Option[]): Uint8Array =>
    list.length === 0
      ? new Uint8Array(0)
      : join8(...list.map(([code, value]) => join8(u16(code), u16(value.length), padded(value))), u32(0));
  const block = (type: number, body: Uint8Array): Uint8Array => {
    const length = u32(12 + padded(body).length);
    return join8(u32(type), length, padded(body), length);
  };
  return {
    u16,
    u32,
    u64,
    block,
    section: () => block(0x0a0d0d0a, join8(u32(0x1a2b3c4d), u16(1), u16(0), u64(0xffff_ffff_ffff_ffffn))),
    description: (linkType = 1, snapLength = 0, list: readonly Option[] = []) =>
      block(1, join8(u16(linkType), u16(0), u32(snapLength), options(list))),
    enhanced: (units: bigint, bytes: Uint8Array, iface = 0, list: readonly Option[] = [], wire = bytes.length) =>
      block(6, join8(u32(iface), halves(units), u32(bytes.length), u32(wire), padded(bytes), options(list))),
    simple: (bytes: Uint8Array, wire = bytes.length) => block(3, join8(u32(wire), bytes)),
    obsolete: (units: bigint, bytes: Uint8Array, iface: number, drops: number, list: readonly Option[] = []) =>
      block(
        2,
        join8(
          u16(iface),
          u16(drops),
          halves(units),
          u32(bytes.length),
          u32(bytes.length),
          padded(bytes),
          options(list),
        ),
      ),
    statistics: (iface: number, list: readonly Option[]) => block(5, join8(u32(iface), u64(0n), options(list))),
  };
}

/** A whole pcapng file: one section, one Ethernet interface, ns time stamps. */
export function pcapng(frames: readonly Recorded[], order: ByteOrder = 'little'): Uint8Array {
  const { section, description, enhanced } = blocks(order);
  return join8(
    section(),
    description(1, 262_144, [[9, Uint8Array.of(9)]]),
    ...frames.map(({ ns, bytes, wire }) => enhanced(ns, bytes, 0, [], wire)),
  );
}

// Files

/** A folder that lives as long as the test file; gives paths of files with given contents. */
export function temporaryFiles(): (name: string, bytes: Uint8Array) => string {
  const folder = mkdtempSync(join(tmpdir(), 'migscope-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return (name, bytes) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
}

// What comes out

export interface ReadFrame {
  readonly frame: number;
  readonly tNs: number;
  readonly wire: number;
  readonly iface: number;
  readonly way: number;
  /** The captured bytes, one character a byte. */
  readonly bytes: string;
}

export interface ReadCapture {
  readonly frames: readonly ReadFrame[];
  readonly epochNs: bigint | null;
  readonly interfaces: readonly CaptureInterface[];
  readonly inputs: readonly InputInfo[];
  readonly anomalies: readonly Anomaly[];
}

/** All of a capture as plain rows. */
export async function readCapture(
  paths: string | readonly string[],
  options?: CaptureFileOptions,
): Promise<ReadCapture> {
  const log = new AnomalyLog();
  return readSource(await openFiles(typeof paths === 'string' ? [paths] : paths, log, options), log);
}

export async function readSource(source: CaptureSource, log: AnomalyLog): Promise<ReadCapture> {
  const frames: ReadFrame[] = [];
  let interfaces: readonly CaptureInterface[] = [];
  for await (const batch of source.batches()) {
    interfaces = batch.interfaces;
    for (let row = 0; row < batch.count; row++) {
      const start = batch.start[row]!;
      frames.push({
        frame: batch.firstFrame + row,
        tNs: batch.tNs[row]!,
        wire: batch.wire[row]!,
        iface: batch.iface[row]!,
        way: batch.way[row]!,
        bytes: Buffer.from(batch.bytes.subarray(start, start + batch.captured[row]!)).toString('latin1'),
      });
    }
  }
  const { epochNs, inputs } = source.info;
  return { frames, epochNs, interfaces: [...interfaces], inputs, anomalies: log.finish() };
}

/** What reading `frames` must give, all else being ordinary. */
export const asRead = (frames: readonly Recorded[], epochNs = frames[0]?.ns ?? 0n): ReadFrame[] =>
  frames.map(({ ns, bytes, wire }, i) => ({
    frame: i + 1,
    tNs: Number(ns - epochNs),
    wire: wire ?? bytes.length,
    iface: 0,
    way: 0,
    bytes: Buffer.from(bytes).toString('latin1'),
  }));

/** Codes and counts only. */
export const damage = ({ anomalies }: ReadCapture): Record<string, number> =>
  Object.fromEntries(anomalies.map(({ code, count }) => [code, count]));
