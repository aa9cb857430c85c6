// Silences: who was heard around a migration, and when not.
//
// A guest that moves, a cluster heartbeat that is squeezed, a service behind a changed route: each shows as a stretch in
// which one side of a conversation sends nothing. The longest such stretches of every direction are kept, with the frames
// at both ends. Watched are all TCP directions, echo (the ping by which outages are measured), and the heartbeats of
// clusters and routers, by port. TCP timestamps at both ends show what the silent side's clock did meanwhile.
import type { PacketBatch } from '../capture/packet-batch.js';
import type { ColumnData } from '../columns.js';
import { BEAT_DIRECTIONS, SILENCES_PER_DIRECTION, SILENT_DIRECTIONS } from '../limits.js';
import { addressText, macText } from './address.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from './ip.js';
import { LINKTYPE_ETHERNET } from './link.js';
import {
  KIND_OTHER_IP,
  KIND_SIGNAL,
  KIND_TCP,
  KIND_UDP,
  NO_DIRECTION,
  OPTION_TIMESTAMP,
  type SegmentRows,
} from './rows.js';

/** What kind of conversation fell silent. */
export type SilenceKind = 'tcp' | 'echo' | 'heartbeat';

/** A shorter pause says nothing: it is in the order of delayed acknowledgements and timers. */
const SILENCE_NS = 100e6;
/** Nor does one that is hardly longer than the mean time between the frames before it: that side speaks rarely. */
const MEAN_INTERVALS = 2;
/** Frames from which on that mean says something. */
const FRAMES = 3;
/** Time over which a sender's timestamp clock is measured before it is believed; clocks tick at 1000 Hz or less. */
const CLOCK_NS = 500e6;
/**
 * UDP ports of heartbeats: corosync (5405 and one below, two apart per ring: corosync.conf(5)), Heartbeat (694), BFD
 * (RFC 5881 §4, RFC 5883 §5).
 */
const isHeartbeatPort = (port: number): boolean =>
  (port >= 5404 && port <= 5412) || port === 694 || port === 3784 || port === 4784;
/** VRRP (RFC 9568 §5.1.1.4). */
const PROTOCOL_VRRP = 112;

interface Silence {
  readonly kind: SilenceKind;
  /** Direction id of a TCP connection; NaN for the others. */
  readonly direction: number;
  readonly from: string;
  readonly to: string;
  /** NaN where there is none. */
  readonly fromPort: number;
  readonly toPort: number;
  /** Hardware address the sender had when it was heard again; '' where the link has none. */
  readonly mac: string;
  readonly startNs: number;
  readonly endNs: number;
  /** Last frame before and first one after. */
  readonly frameBefore: number;
  readonly frameAfter: number;
  /** Frames the direction had sent by then, and when the first. */
  readonly framesBefore: number;
  readonly sinceNs: number;
  /** How far the sender's clock went ahead meanwhile, by its TCP timestamps; NaN where they do not tell. */
  readonly clockNs: number;
  /** The same in ticks of unknown length; NaN without TCP timestamps. */
  readonly clockTicks: number;
}

const UNITS: Readonly<Record<keyof Silence, string>> = {
  kind: 'name',
  direction: 'direction id',
  from: 'address',
  to: 'address',
  fromPort: 'port',
  toPort: 'port',
  mac: 'address',
  startNs: 'ns',
  endNs: 'ns',
  frameBefore: 'frame number',
  frameAfter: 'frame number',
  framesBefore: 'count',
  sinceNs: 'ns',
  clockNs: 'ns',
  clockTicks: 'count',
};
const TEXTS: readonly (keyof Silence)[] = ['kind', 'from', 'to', 'mac'];

/** State of every direction of one class, by a small number; 40 bytes each. */
class Heard {
  lastNs = new Float64Array(0);
  lastFrame = new Float64Array(0);
  frames = new Float64Array(0);
  sinceNs = new Float64Array(0);
  /** First and last TCP timestamp. */
  firstTick = new Uint32Array(0);
  lastTick = new Uint32Array(0);
  /** The longest silences, by direction. */
  readonly silences = new Map<number, Silence[]>();

  get size(): number {
    return this.lastNs.length;
  }

  grow(direction: number): void {
    const size = 2 ** Math.ceil(Math.log2(Math.max(64, direction + 1)));
    const used = this.size;
    const grown = <T extends Float64Array | Uint32Array>(old: T, into: T): T => {
      into.set(old);
      return into;
    };
    this.lastNs = grown(this.lastNs, new Float64Array(size));
    this.lastNs.fill(Number.NaN, used);
    this.lastFrame = grown(this.lastFrame, new Float64Array(size));
    this.frames = grown(this.frames, new Float64Array(size));
    this.sinceNs = grown(this.sinceNs, new Float64Array(size));
    this.firstTick = grown(this.firstTick, new Uint32Array(size));
    this.lastTick = grown(this.lastTick, new Uint32Array(size));
  }
}

export class Silences {
  readonly #tcp = new Heard();
  readonly #beats = new Heard();
  /** Numbers in `#beats` of senders without TCP, by kind, addresses and ports. */
  readonly #beatOf = new Map<string, number>();
  /** Those of directions whose id another connection has taken. */
  #past: Silence[] = [];
  /** Directions whose silences were not kept, and senders not watched. */
  lost = 0;

  /** Takes rows whose connections are known. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { count, tNs, firstFrame } = batch;
    const { kind, direction, tsValue } = rows;
    const heard = this.#tcp;
    let { lastNs, lastFrame, frames, lastTick } = heard;
    for (let row = 0; row < count; row++) {
      if (kind[row] !== KIND_TCP) {
        if (kind[row] !== 0) this.#beat(batch, rows, row);
        continue;
      }
      const id = direction[row]!;
      if (id === NO_DIRECTION) continue;
      if (id >= lastNs.length) {
        heard.grow(id);
        ({ lastNs, lastFrame, frames, lastTick } = heard);
      }
      // Not below: true for a silence, and for the first frame of a direction, whose last time is NaN.
      if (!(tNs[row]! - lastNs[id]! < SILENCE_NS)) this.#heardAgain(heard, id, batch, rows, row, 'tcp');
      lastNs[id] = tNs[row]!;
      lastFrame[id] = firstFrame + row;
      frames[id] = frames[id]! + 1;
      lastTick[id] = tsValue[row]!;
    }
  }

  /** The connection's id will mean another one. */
  forget(connection: number): void {
    for (const id of [2 * connection, 2 * connection + 1]) {
      if (id >= this.#tcp.size) return;
      this.#tcp.lastNs[id] = Number.NaN;
      // What is kept must not be taken for the next connection's: the addresses still say whose it was.
      for (const silence of this.#tcp.silences.get(id) ?? []) this.#past.push({ ...silence, direction: Number.NaN });
      this.#tcp.silences.delete(id);
    }
    if (this.#past.length > SILENT_DIRECTIONS) {
      this.lost += this.#past.length - SILENT_DIRECTIONS;
      this.#past = this.#past.slice(-SILENT_DIRECTIONS);
    }
  }

  /** One row a silence, in the order of time; what is not known is NaN or ''. */
  finish(): ColumnData {
    const all = [...this.#past, ...this.#tcp.silences.values(), ...this.#beats.silences.values()]
      .flat()
      .sort((a, b) => a.startNs - b.startNs || a.frameBefore - b.frameBefore);
    const columns = Object.fromEntries(
      (Object.keys(UNITS) as (keyof Silence)[]).map((name) => {
        const values = all.map((silence) => silence[name]);
        return [
          name,
          {
            unit: UNITS[name],
            values: TEXTS.includes(name) ? (values as string[]) : Float64Array.from(values as number[]),
          },
        ];
      }),
    );
    return { rows: all.length, columns };
  }

  /** Echo requests and replies, and heartbeats. */
  #beat(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const kind = rows.kind[row]!;
    let ports = 0;
    let what: SilenceKind = 'heartbeat';
    if (kind === KIND_UDP) {
      ports = rows.ports[row]!;
      if (!isHeartbeatPort(ports & 0xffff)) return;
    } else if (kind === KIND_SIGNAL) {
      if (!isEcho(batch, rows, row)) return;
      what = 'echo';
      ports = batch.view.getUint16(rows.payload[row]! + 4); // the identifier: one ping command's echoes
    } else if (kind !== KIND_OTHER_IP || rows.protocol[row] !== PROTOCOL_VRRP) return;
    const [from, to] = endsOf(batch, rows, row);
    const key = `${what} ${from} ${to} ${ports}`;
    let id = this.#beatOf.get(key);
    if (id === undefined) {
      if (this.#beatOf.size >= BEAT_DIRECTIONS) {
        this.lost++;
        return;
      }
      this.#beatOf.set(key, (id = this.#beatOf.size));
    }
    const heard = this.#beats;
    if (id >= heard.size) heard.grow(id);
    if (!(batch.tNs[row]! - heard.lastNs[id]! < SILENCE_NS)) this.#heardAgain(heard, id, batch, rows, row, what);
    heard.lastNs[id] = batch.tNs[row]!;
    heard.lastFrame[id] = batch.firstFrame + row;
    heard.frames[id]!++;
  }

  /** The first frame of a direction, or the first one after a silence. */
  #heardAgain(heard: Heard, id: number, batch: PacketBatch, rows: SegmentRows, row: number, kind: SilenceKind): void {
    const endNs = batch.tNs[row]!;
    const startNs = heard.lastNs[id]!;
    if (Number.isNaN(startNs)) {
      heard.frames[id] = 0;
      heard.sinceNs[id] = endNs;
      heard.firstTick[id] = rows.tsValue[row]!;
      return;
    }
    const intervals = heard.frames[id]! - 1;
    if (intervals < FRAMES - 1) return;
    if (endNs - startNs < (MEAN_INTERVALS * (startNs - heard.sinceNs[id]!)) / intervals) return;
    const kept = heard.silences.get(id) ?? [];
    const shortest = kept.length < SILENCES_PER_DIRECTION ? null : shortestOf(kept);
    if (shortest && endNs - startNs <= shortest.endNs - shortest.startNs) return;
    if (kept.length === 0 && this.#tcp.silences.size + this.#beats.silences.size >= SILENT_DIRECTIONS) {
      this.lost++;
      return;
    }
    const [from, to] = endsOf(batch, rows, row);
    const ports = kind === 'echo' ? Number.NaN : rows.ports[row]!;
    const silence: Silence = {
      kind,
      direction: kind === 'tcp' ? id : Number.NaN,
      from,
      to,
      fromPort: ports >>> 16 || Number.NaN,
      toPort: ports & 0xffff || Number.NaN,
      mac: senderMac(batch, rows, row),
      startNs,
      endNs,
      frameBefore: heard.lastFrame[id]!,
      frameAfter: batch.firstFrame + row,
      framesBefore: heard.frames[id]!,
      sinceNs: heard.sinceNs[id]!,
      clockNs: kind === 'tcp' ? clockNs(heard, id, rows, row) : Number.NaN,
      clockTicks: kind === 'tcp' ? clockTicks(heard, id, rows, row) : Number.NaN,
    };
    heard.silences.set(id, [...kept.filter((other) => other !== shortest), silence]);
  }
}

const shortestOf = (silences: readonly Silence[]): Silence =>
  silences.reduce((a, b) => (b.endNs - b.startNs < a.endNs - a.startNs ? b : a));

/** Addresses of sender and receiver. */
function endsOf(batch: PacketBatch, rows: SegmentRows, row: number): [from: string, to: string] {
  const version = rows.ipVersion[row]!;
  const at = rows.addresses[row]!;
  return [addressText(batch.bytes, at, version), addressText(batch.bytes, at + (version === 4 ? 4 : 16), version)];
}

/** Echo request or reply (RFC 792, RFC 4443 §4) with its identifier. */
function isEcho(batch: PacketBatch, rows: SegmentRows, row: number): boolean {
  const at = rows.payload[row]!;
  if (rows.payloadCap[row]! < 8) return false;
  const type = batch.bytes[at]!;
  return rows.ipVersion[row] === 4
    ? rows.protocol[row] === PROTOCOL_ICMP && (type === 8 || type === 0)
    : rows.protocol[row] === PROTOCOL_ICMPV6 && (type === 128 || type === 129);
}

/** The source address of the Ethernet header right before the innermost IP header, tags included; '' without one. */
function senderMac(batch: PacketBatch, rows: SegmentRows, row: number): string {
  const { bytes, view } = batch;
  const start = batch.start[row]!;
  const ip = rows.addresses[row]! - (rows.ipVersion[row] === 4 ? 12 : 8);
  if (batch.interfaces[batch.iface[row]!]?.linkType !== LINKTYPE_ETHERNET || ip < start + 14) return '';
  let type = ip - 2;
  // A tag's own type stands 4 bytes before the type it tags.
  while (type - 4 >= start + 12 && isTag(view.getUint16(type - 4))) type -= 4;
  return macText(bytes, type - 6);
}

const isTag = (type: number): boolean => type === 0x8100 || type === 0x88a8;

/** What the sender's timestamp clock (RFC 7323 §5.4) counted over the silence, at the rate it had before. */
function clockNs(heard: Heard, id: number, rows: SegmentRows, row: number): number {
  const observedNs = heard.lastNs[id]! - heard.sinceNs[id]!;
  const ticks = (heard.lastTick[id]! - heard.firstTick[id]!) | 0;
  if (observedNs < CLOCK_NS || ticks <= 0) return Number.NaN;
  return Math.round(clockTicks(heard, id, rows, row) * tickNs(observedNs / ticks));
}

function clockTicks(heard: Heard, id: number, rows: SegmentRows, row: number): number {
  if ((rows.options[row]! & OPTION_TIMESTAMP) === 0) return Number.NaN;
  return (rows.tsValue[row]! - heard.lastTick[id]!) | 0;
}

/** The tick a measured one stands for: clocks run at 1000, 250, 100 Hz, or else as measured. */
const tickNs = (measuredNs: number): number =>
  [1e6, 4e6, 10e6].find((known) => Math.abs(measuredNs - known) < 0.1 * known) ?? measuredNs;
