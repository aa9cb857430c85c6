// Signals: rare frames worth a row each, because they explain what happened around a migration.
//
// Who announces which address (ARP, RARP, neighbour advertisements: a guest is announced at its new place), what routers
// and hosts report back (ICMP errors with the packet they quote), which names did not resolve, who asks the link to
// pause, who answers connection attempts and who asks for TLS, and what a TCP connection's frames say about their way (see
// path-signs.ts). Every kind has a budget of rows of its own: a storm of one kind cannot hide another.
import type { PacketBatch } from '../capture/packet-batch.js';
import type { ColumnData } from '../columns.js';
import { ANSWER_ROWS, DNS_QUERIES, NAME_CHARACTERS, SIGNAL_ROWS } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import { addressText, macText } from './address.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip.js';
import { newestHalf } from './newest-half.js';
import { type PathSign, PathSigns } from './path-signs.js';
import { FLAG_ACK, FLAG_SYN, KIND_SIGNAL, KIND_TCP, KIND_UDP, type SegmentRows } from './rows.js';
import { ETHERTYPE_ARP, ETHERTYPE_MAC_CONTROL, ETHERTYPE_RARP } from './walk.js';

/** What a signal is; the values of column `kind`. */
export type SignalKind =
  | 'arp-request'
  | 'arp-reply'
  | 'arp-announcement' // sender and target address are the same
  | 'rarp-announcement' // QEMU's self-announcement: only the hardware address counts
  | 'neighbour-solicitation'
  | 'neighbour-advertisement' // solicited
  | 'neighbour-announcement' // unsolicited
  | 'icmp-unreachable'
  | 'icmp-too-big'
  | 'icmp-time-exceeded'
  | 'icmp-redirect'
  | 'icmp-other-error'
  | 'dns-failure'
  | 'dns-unanswered'
  | 'pause'
  | 'tcp-answer' // SYN-ACK: the hop limit (as `type`) tells who answers, and how far away
  | 'tls-hello' // a ClientHello as the first bytes of a connection
  | 'tls-alert' // in clear: level and description
  | PathSign['kind'];

interface Signal {
  readonly frame: number;
  readonly tNs: number;
  readonly kind: SignalKind;
  /** IP address of who sent the frame, '' where it has none. */
  readonly from: string;
  /** IP address it is about: announced or asked for, or the destination of the packet an ICMP error quotes. */
  readonly about: string;
  /** Hardware address announced, '' where none. */
  readonly mac: string;
  /** Of the packet quoted, or NaN: its protocol, its source and its ports. */
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly port: number;
  /** ICMP type and code, ARP opcode, DNS response code (as `type`), TLS alert level and description, hop limit (of an
   * answer, as `type`) or hop limit before and after; NaN where none. */
  readonly type: number;
  readonly code: number;
  /** Next-hop MTU of an ICMP error, bytes; NaN where it states none. */
  readonly mtu: number;
  /** The name asked for; untrusted. */
  readonly name: string;
}

const UNITS: Readonly<Record<keyof Signal, string>> = {
  frame: 'frame number',
  tNs: 'ns',
  kind: 'name',
  from: 'address',
  about: 'address',
  mac: 'address',
  protocol: 'IP protocol',
  source: 'address',
  sourcePort: 'port',
  port: 'port',
  type: 'code',
  code: 'code',
  mtu: 'bytes',
  name: 'name',
};

const NOTHING: Omit<Signal, 'frame' | 'tNs' | 'kind'> = {
  from: '',
  about: '',
  mac: '',
  protocol: Number.NaN,
  source: '',
  sourcePort: Number.NaN,
  port: Number.NaN,
  type: Number.NaN,
  code: Number.NaN,
  mtu: Number.NaN,
  name: '',
};

const SYN_ACK = FLAG_SYN | FLAG_ACK;
/** Record header, level, description. */
const TLS_ALERT_BYTES = 7;
const DNS_PORT = 53;
const DNS_HEADER_BYTES = 12;
/** Resolvers ask again after 5 s (the default of resolv.conf): a query older than that counts as unanswered. */
const DNS_TIMEOUT_NS = 5e9;

interface Query {
  readonly frame: number;
  readonly tNs: number;
  readonly client: string;
  readonly server: string;
  readonly name: string;
}

export class Signals {
  readonly #signals: Signal[] = [];
  readonly #rowsOfKind = new Map<SignalKind, number>();
  /** Unanswered queries by client, port, id and server; oldest first. */
  #queries = new Map<string, Query>();
  readonly #pathSigns = new PathSigns((batch, rows, row, sign) => this.#addPathSign(batch, rows, row, sign));
  #latestNs = WIDE_ZERO;
  /** Signals beyond their kind's budget. */
  lost = 0;

  /** Collects from rows that decodeFrames() wrote for `batch`. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { count, tNs } = batch;
    const { kind, ports, flags, offset, payloadLen } = rows;
    for (let row = 0; row < count; row++) {
      if (kind[row] === KIND_SIGNAL) {
        if (rows.ipVersion[row] === 0) this.#link(batch, rows, row);
        else this.#icmp(batch, rows, row);
      } else if (kind[row] === KIND_TCP) {
        if (payloadLen[row] === 0) {
          if ((flags[row]! & SYN_ACK) === SYN_ACK) this.#addTcp(batch, rows, row, 'tcp-answer', rows.ttl[row]!);
        } else if (offset[row] === 0 || payloadLen[row] === TLS_ALERT_BYTES) this.#tls(batch, rows, row);
      } else if (kind[row] === KIND_UDP) {
        const pair = ports[row]!;
        if (pair >>> 16 === DNS_PORT || (pair & 0xffff) === DNS_PORT) this.#dns(batch, rows, row);
      }
    }
    this.#pathSigns.push(batch, rows);
    if (count > 0) this.#latestNs = Math.max(this.#latestNs, tNs[count - 1]!);
  }

  /** One row a signal, in the order of time; what is not known is NaN or ''. */
  finish(): ColumnData {
    this.#expire(this.#latestNs - DNS_TIMEOUT_NS);
    const signals = this.#signals.sort((a, b) => a.tNs - b.tNs || a.frame - b.frame);
    const columns = Object.fromEntries(
      (Object.keys(UNITS) as (keyof Signal)[]).map((name) => {
        const values = signals.map((signal) => signal[name]);
        const text = typeof NOTHING[name as keyof typeof NOTHING] === 'string' || name === 'kind';
        return [
          name,
          { unit: UNITS[name], values: text ? (values as string[]) : Float64Array.from(values as number[]) },
        ];
      }),
    );
    return { rows: signals.length, columns };
  }

  #add(signal: Signal): void {
    const before = this.#rowsOfKind.get(signal.kind) ?? 0;
    this.#rowsOfKind.set(signal.kind, before + 1);
    const limit = signal.kind === 'tcp-answer' || signal.kind === 'tls-hello' ? ANSWER_ROWS : SIGNAL_ROWS;
    if (before < limit) this.#signals.push(signal);
    else this.lost++;
  }

  /** The first bytes of a direction, or a segment as short as an alert (RFC 8446 §5.1, §6, §4.1.2). */
  #tls(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const at = rows.payload[row]!;
    if (rows.payloadCap[row]! < TLS_ALERT_BYTES || batch.bytes[at + 1] !== 3) return;
    if (batch.bytes[at] === 22 && batch.bytes[at + 5] === 1) {
      if (rows.offset[row] === 0) this.#addTcp(batch, rows, row, 'tls-hello', Number.NaN);
    } else if (batch.bytes[at] === 21 && batch.view.getUint16(at + 3) === 2) {
      this.#addTcp(batch, rows, row, 'tls-alert', batch.bytes[at + 5]!, batch.bytes[at + 6]!);
    }
  }

  #addPathSign(batch: PacketBatch, rows: SegmentRows, row: number, { kind, before, after }: PathSign): void {
    this.#addTcp(batch, rows, row, kind, before, after);
  }

  #addTcp(batch: PacketBatch, rows: SegmentRows, row: number, kind: SignalKind, type: number, code = Number.NaN): void {
    const version = rows.ipVersion[row]!;
    const addresses = rows.addresses[row]!;
    const from = addressText(batch.bytes, addresses, version);
    this.#add({
      ...NOTHING,
      frame: batch.firstFrame + row,
      tNs: batch.tNs[row]!,
      kind,
      from,
      about: addressText(batch.bytes, addresses + (version === 4 ? 4 : 16), version),
      protocol: PROTOCOL_TCP,
      source: from,
      sourcePort: rows.ports[row]! >>> 16,
      port: rows.ports[row]! & 0xffff,
      type,
      code,
    });
  }

  /** ARP and RARP over Ethernet and IPv4 (RFC 826, RFC 903), pause frames (IEEE 802.3 annex 31B, 31D). */
  #link(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const { bytes, view } = batch;
    const at = rows.payload[row]!;
    const length = rows.payloadCap[row]!;
    const base = { ...NOTHING, frame: batch.firstFrame + row, tNs: batch.tNs[row]! };
    const type = rows.protocol[row]!;
    if (type === (ETHERTYPE_MAC_CONTROL & 0xff)) {
      // Opcode 1 pauses the link, 0x0101 single priorities.
      if (length < 4) return;
      const opcode = view.getUint16(at);
      if (opcode === 1 || opcode === 0x0101) this.#add({ ...base, kind: 'pause', type: opcode });
      return;
    }
    if (length < 28 || view.getUint32(at) !== 0x0001_0800 || view.getUint16(at + 4) !== 0x0604) return;
    const opcode = view.getUint16(at + 6);
    const mac = macText(bytes, at + 8);
    const sender = addressText(bytes, at + 14, 4);
    const target = addressText(bytes, at + 24, 4);
    const from = sender === '0.0.0.0' ? '' : sender;
    if (type === (ETHERTYPE_RARP & 0xff)) {
      this.#add({ ...base, kind: 'rarp-announcement', from, about: from, mac, type: opcode });
    } else if (type === (ETHERTYPE_ARP & 0xff)) {
      if (from !== '' && sender === target) {
        this.#add({ ...base, kind: 'arp-announcement', from, about: from, mac, type: opcode });
      } else if (opcode === 2) {
        this.#add({ ...base, kind: 'arp-reply', from, about: from, mac, type: opcode });
      } else if (opcode === 1) {
        this.#add({ ...base, kind: 'arp-request', from, about: target, mac, type: opcode });
      }
    }
  }

  /** ICMP errors (RFC 792, RFC 1191, RFC 4443) and neighbour discovery (RFC 4861 §4.3, §4.4). */
  #icmp(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const at = rows.payload[row]!;
    const length = rows.payloadCap[row]!;
    const version = rows.ipVersion[row]!;
    if (length < 8 || rows.protocol[row] !== (version === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) return;
    const { bytes, view } = batch;
    const type = bytes[at]!;
    const code = bytes[at + 1]!;
    const kind = version === 4 ? icmpErrorKind(type, code) : icmpv6Kind(type, bytes[at + 4]!);
    if (kind === null) return;
    const base = {
      ...NOTHING,
      frame: batch.firstFrame + row,
      tNs: batch.tNs[row]!,
      from: addressText(bytes, rows.addresses[row]!, version),
      kind,
      type,
      code,
    };
    if (kind.startsWith('neighbour')) {
      if (length >= 24) {
        this.#add({ ...base, about: addressText(bytes, at + 8, 6), mac: linkLayerOption(bytes, at + 24, at + length) });
      }
      return;
    }
    // RFC 1191 §4: the next-hop MTU is in the low half of the second word, 0 from routers that do not know of it.
    const mtu = version === 6 ? view.getUint32(at + 4) : view.getUint16(at + 6);
    this.#add({
      ...base,
      ...quoted(batch, at + 8, at + length),
      mtu: kind === 'icmp-too-big' && mtu > 0 ? mtu : Number.NaN,
    });
  }

  /** Remembers queries and reports failures (RFC 1035 §4.1.1): any response code but 0. */
  #dns(batch: PacketBatch, rows: SegmentRows, row: number): void {
    const at = rows.payload[row]!;
    const end = at + rows.payloadCap[row]!;
    if (end - at < DNS_HEADER_BYTES) return;
    const { bytes, view } = batch;
    const tNs = batch.tNs[row]!;
    const flags = view.getUint16(at + 2);
    const isResponse = (flags & 0x8000) !== 0;
    const version = rows.ipVersion[row]!;
    const source = addressText(bytes, rows.addresses[row]!, version);
    const destination = addressText(bytes, rows.addresses[row]! + (version === 4 ? 4 : 16), version);
    const [client, server] = isResponse ? [destination, source] : [source, destination];
    const clientPort = isResponse ? rows.ports[row]! & 0xffff : rows.ports[row]! >>> 16;
    const key = `${client} ${clientPort} ${view.getUint16(at)} ${server}`;
    const query: Query = { frame: batch.firstFrame + row, tNs, client, server, name: questionName(bytes, at, end) };
    if (isResponse) {
      this.#queries.delete(key);
      const responseCode = flags & 15;
      if (responseCode !== 0) this.#addDns('dns-failure', query, responseCode);
      return;
    }
    this.#expire(tNs - DNS_TIMEOUT_NS);
    if (this.#queries.has(key)) return; // asked again: the first time counts
    if (this.#queries.size >= DNS_QUERIES) this.#queries = newestHalf(this.#queries);
    this.#queries.set(key, query);
  }

  /** Reports queries sent before `sinceNs` as unanswered. */
  #expire(sinceNs: number): void {
    for (const [key, query] of this.#queries) {
      if (query.tNs > sinceNs) return;
      this.#queries.delete(key);
      this.#addDns('dns-unanswered', query, Number.NaN);
    }
  }

  #addDns(kind: SignalKind, query: Query, type: number): void {
    const { frame, tNs, client, server, name } = query;
    this.#add({ ...NOTHING, frame, tNs, kind, from: server, source: client, name, type, port: DNS_PORT });
  }
}

function icmpErrorKind(type: number, code: number): SignalKind | null {
  switch (type) {
    case 3:
      return code === 4 ? 'icmp-too-big' : 'icmp-unreachable';
    case 5:
      return 'icmp-redirect';
    case 11:
      return 'icmp-time-exceeded';
    case 4:
    case 12:
      return 'icmp-other-error';
    default:
      return null; // echo and other information
  }
}

function icmpv6Kind(type: number, flags: number): SignalKind | null {
  switch (type) {
    case 1:
      return 'icmp-unreachable';
    case 2:
      return 'icmp-too-big';
    case 3:
      return 'icmp-time-exceeded';
    case 4:
      return 'icmp-other-error';
    case 135:
      return 'neighbour-solicitation';
    case 136:
      return flags & 0x40 ? 'neighbour-advertisement' : 'neighbour-announcement'; // the S flag
    case 137:
      return 'icmp-redirect';
    default:
      return null;
  }
}

/** The packet an ICMP error quotes in `[at, end)`: its destination, source, protocol, and ports where they are there. */
function quoted(batch: PacketBatch, at: number, end: number): Partial<Signal> {
  const { bytes, view } = batch;
  const version = at < end ? bytes[at]! >>> 4 : 0;
  const fixed = version === 4 ? 20 : 40;
  if ((version !== 4 && version !== 6) || at + fixed > end) return {};
  const addresses = at + (version === 4 ? 12 : 8);
  const protocol = bytes[at + (version === 4 ? 9 : 6)]!;
  const transport = at + (version === 4 ? (bytes[at]! & 15) << 2 : 40);
  const hasPorts = (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && transport + 4 <= end;
  return {
    protocol,
    source: addressText(bytes, addresses, version),
    about: addressText(bytes, addresses + (version === 4 ? 4 : 16), version),
    sourcePort: hasPorts ? view.getUint16(transport) : Number.NaN,
    port: hasPorts ? view.getUint16(transport + 2) : Number.NaN,
  };
}

/** The hardware address in the first link-layer option (type 1 or 2) of a neighbour message, '' where there is none. */
function linkLayerOption(bytes: Uint8Array, at: number, end: number): string {
  while (at + 8 <= end) {
    const length = bytes[at + 1]! * 8;
    if (length === 0) return '';
    if (bytes[at] === 1 || bytes[at] === 2) return macText(bytes, at + 2);
    at += length;
  }
  return '';
}

/** The name of the first question; '' where it is not whole. Questions are not compressed (RFC 1035 §4.1.2). */
function questionName(bytes: Uint8Array, message: number, end: number): string {
  const labels: string[] = [];
  let at = message + DNS_HEADER_BYTES;
  while (at < end && labels.length < 128) {
    const length = bytes[at]!;
    if (length === 0) return labels.join('.').slice(0, NAME_CHARACTERS);
    if (length > 63 || at + 1 + length > end) return '';
    labels.push(String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  return '';
}
