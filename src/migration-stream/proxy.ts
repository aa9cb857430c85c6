// Proxies in clear text: what a client says before its stream, and what the proxy answers before the reply's stream.
//
// QEMU itself knows no proxy, but its connection may be relayed to one (socat, ncat, a balancer). Request and answer are
// short and end at a known byte; behind them both directions are the migration's own. A load balancer that speaks the
// PROXY protocol puts its line in front of what it passes on, and gets no answer.
// Source: RFC 9110 §9.3.6 (CONNECT); RFC 1928 and 1929 (SOCKS 5); "SOCKS: A protocol for TCP proxy across firewalls" and
// its 4A extension; HAProxy doc/proxy-protocol.txt §2.
import { addressText } from '../decode/address.js';
import { type HoleCause, PROBE_BYTES, type StreamConsumer, type StreamEnd } from '../decode/stream.js';
import { NAME_CHARACTERS } from '../limits.js';
import type { ProxyKind } from './results.js';

/** A client's request to a proxy, or a balancer's announcement; ends are untrusted text. */
export interface ProxyRequest {
  readonly kind: ProxyKind;
  /** Who opened the connection in front of the proxy, as the PROXY protocol says; null elsewhere. */
  readonly from: string | null;
  /** Where the proxy is to connect to; null where that is not said. */
  readonly to: string | null;
  /** Bytes up to the stream. */
  readonly length: number;
}

/** What the first bytes of a stream are: `T`, null when they are not, undefined when more are needed to say. */
type Looked<T> = T | null | undefined;

const CR = 0x0d;
const LF = 0x0a;
const V2_SIGNATURE = '\r\n\r\n\0\r\nQUIT\n';
const V2_HEADER_BYTES = 16;
/** doc/proxy-protocol.txt §2.1: the longest line with its end. */
const V1_LINE_BYTES = 107;
const V2_IPV4 = 1;
const V2_IPV6 = 2;
const SOCKS_CONNECT = 1;
const SOCKS5_PASSWORD = 2;
const SOCKS5_IPV4 = 1;
const SOCKS5_NAME = 3;
const SOCKS5_IPV6 = 4;

/** The request that `buffer[start, beyond)`, what a connection's opener said first, begins with. */
export function proxyRequest(buffer: Uint8Array, start: number, beyond: number): Looked<ProxyRequest> {
  const end = Math.min(beyond, start + PROBE_BYTES);
  switch (buffer[start]) {
    case 0x04:
      return socks4Request(buffer, start, end);
    case 0x05:
      return socks5Request(buffer, start, end);
    case 0x43:
      return connectRequest(buffer, start, end);
    case 0x50:
      return proxyLine(buffer, start, end);
    case CR:
      return proxyHeader(buffer, start, end);
    default:
      return null;
  }
}

/** How many bytes the proxy's consent takes at `buffer[start, beyond)`; null when it is not one. */
export function proxyAnswerBytes(kind: ProxyKind, buffer: Uint8Array, start: number, beyond: number): Looked<number> {
  const end = Math.min(beyond, start + PROBE_BYTES);
  switch (kind) {
    case 'proxy-protocol':
      return 0;
    case 'http-connect':
      return connectAnswer(buffer, start, end);
    case 'socks4':
      if (end - start >= 2 && (buffer[start] !== 0 || buffer[start + 1] !== 0x5a)) return null;
      return end - start < 8 ? undefined : 8;
    case 'socks5':
      return socks5Answer(buffer, start, end);
  }
}

function connectRequest(buffer: Uint8Array, start: number, end: number): Looked<ProxyRequest> {
  const begins = beginsWith(buffer, start, end, 'CONNECT ');
  if (!begins) return begins;
  const behind = behindHeader(buffer, start, end);
  if (behind === undefined) return undefined;
  const [, to, version] = text(buffer, start, Math.min(behind, start + NAME_CHARACTERS)).split(/[ \ufffd]/);
  if (!version?.startsWith('HTTP/')) return null;
  return { kind: 'http-connect', from: null, to: to!, length: behind - start };
}

/** An answer that is no consent (authentication asked for) may be followed by another on the same connection. */
function connectAnswer(buffer: Uint8Array, start: number, end: number): Looked<number> {
  let at = start;
  for (;;) {
    const begins = beginsWith(buffer, at, end, 'HTTP/1.');
    if (!begins) return begins;
    const behind = behindHeader(buffer, at, end);
    if (behind === undefined) return undefined;
    const header = text(buffer, at, behind);
    if (/^\S+ 2/.test(header)) return behind - start;
    at = behind + Number(/\ufffdcontent-length: *(\d+)/i.exec(header)?.[1] ?? 0);
  }
}

/** Where the header that begins at `start` is over: behind its empty line. */
function behindHeader(buffer: Uint8Array, start: number, end: number): number | undefined {
  for (let at = start; at + 1 < end; at++) {
    if (buffer[at] !== LF) continue;
    if (buffer[at + 1] === LF) return at + 2;
    if (buffer[at + 1] === CR && at + 2 < end && buffer[at + 2] === LF) return at + 3;
  }
  return undefined;
}

function socks4Request(buffer: Uint8Array, start: number, end: number): Looked<ProxyRequest> {
  if (end - start >= 2 && buffer[start + 1] !== SOCKS_CONNECT) return null;
  const name = start + 8;
  const behindUser = behindNext(0, buffer, name, end);
  if (behindUser === undefined) return undefined;
  const port = uint16(buffer, start + 2);
  // 4A: an address 0.0.0.x asks for the host named behind the user.
  const isNamed =
    buffer[start + 4] === 0 && buffer[start + 5] === 0 && buffer[start + 6] === 0 && buffer[start + 7] !== 0;
  const behind = isNamed ? behindNext(0, buffer, behindUser, end) : behindUser;
  if (behind === undefined) return undefined;
  const host = isNamed
    ? text(buffer, behindUser, Math.min(behind - 1, behindUser + NAME_CHARACTERS))
    : addressText(buffer, start + 4, 4);
  return { kind: 'socks4', from: null, to: endpointText(host, port), length: behind - start };
}

function socks5Request(buffer: Uint8Array, start: number, end: number): Looked<ProxyRequest> {
  if (end - start < 2) return undefined;
  if (buffer[start + 1] === 0) return null;
  let at = start + 2 + buffer[start + 1]!;
  if (at >= end) return undefined;
  if (buffer[at] === 1) {
    // Name and password, which are nobody's business.
    if (at + 2 > end) return undefined;
    at += 2 + buffer[at + 1]!;
    if (at >= end) return undefined;
    at += 1 + buffer[at]!;
  }
  if (at + 5 > end) return undefined;
  if (buffer[at] !== 5 || buffer[at + 1] !== SOCKS_CONNECT || buffer[at + 2] !== 0) return null;
  const bytes = socks5AddressBytes(buffer, at + 3);
  if (bytes === null) return null;
  const behind = at + 3 + bytes + 2;
  if (behind > end) return undefined;
  const to = endpointText(socks5Address(buffer, at + 3), uint16(buffer, behind - 2));
  return { kind: 'socks5', from: null, to, length: behind - start };
}

function socks5Answer(buffer: Uint8Array, start: number, end: number): Looked<number> {
  if (end - start < 2) return undefined;
  if (buffer[start] !== 5) return null;
  let at = start + 2;
  if (buffer[start + 1] === SOCKS5_PASSWORD) {
    if (at + 2 > end) return undefined;
    if (buffer[at + 1] !== 0) return null;
    at += 2;
  }
  if (at + 5 > end) return undefined;
  if (buffer[at] !== 5 || buffer[at + 1] !== 0) return null;
  const bytes = socks5AddressBytes(buffer, at + 3);
  if (bytes === null) return null;
  const behind = at + 3 + bytes + 2;
  return behind > end ? undefined : behind - start;
}

/** Length of the address whose type stands at `at`, type included; null for a type there is not. */
function socks5AddressBytes(buffer: Uint8Array, at: number): number | null {
  switch (buffer[at]) {
    case SOCKS5_IPV4:
      return 1 + 4;
    case SOCKS5_NAME:
      return 2 + buffer[at + 1]!;
    case SOCKS5_IPV6:
      return 1 + 16;
    default:
      return null;
  }
}

function socks5Address(buffer: Uint8Array, at: number): string {
  if (buffer[at] === SOCKS5_NAME) return text(buffer, at + 2, at + 2 + buffer[at + 1]!);
  return addressText(buffer, at + 1, buffer[at] === SOCKS5_IPV4 ? 4 : 6);
}

/** PROXY protocol, version 1: a line of words. */
function proxyLine(buffer: Uint8Array, start: number, end: number): Looked<ProxyRequest> {
  const begins = beginsWith(buffer, start, end, 'PROXY ');
  if (!begins) return begins;
  const behind = behindNext(LF, buffer, start, Math.min(end, start + V1_LINE_BYTES));
  if (behind === undefined) return end - start < V1_LINE_BYTES ? undefined : null;
  const [, family, from, to, fromPort, toPort] = text(buffer, start, behind).split(/[ \ufffd]/);
  const length = behind - start;
  if (family === 'UNKNOWN') return { kind: 'proxy-protocol', from: null, to: null, length };
  if (!/^TCP[46]$/.test(family!) || !toPort) return null;
  return { kind: 'proxy-protocol', from: endpointText(from!, fromPort!), to: endpointText(to!, toPort), length };
}

/** PROXY protocol, version 2: binary. */
function proxyHeader(buffer: Uint8Array, start: number, end: number): Looked<ProxyRequest> {
  const begins = beginsWith(buffer, start, end, V2_SIGNATURE);
  if (!begins) return begins;
  if (end - start < V2_HEADER_BYTES) return undefined;
  if (buffer[start + 12]! >>> 4 !== 2) return null;
  const length = V2_HEADER_BYTES + uint16(buffer, start + 14);
  if (start + length > end) return undefined;
  const family = buffer[start + 13]! >>> 4;
  const addressBytes = family === V2_IPV4 ? 4 : family === V2_IPV6 ? 16 : 0;
  const at = start + V2_HEADER_BYTES;
  if (addressBytes === 0 || length < V2_HEADER_BYTES + 2 * addressBytes + 4)
    return { kind: 'proxy-protocol', from: null, to: null, length };
  const endpoint = (side: 0 | 1): string => {
    const address = addressText(buffer, at + side * addressBytes, family === V2_IPV4 ? 4 : 6);
    return endpointText(address, uint16(buffer, at + 2 * addressBytes + 2 * side));
  };
  return { kind: 'proxy-protocol', from: endpoint(0), to: endpoint(1), length };
}

/** Whether the bytes begin with `words`; null when they do not, undefined when too few are there. */
function beginsWith(buffer: Uint8Array, start: number, end: number, words: string): Looked<true> {
  const length = Math.min(words.length, end - start);
  for (let i = 0; i < length; i++) if (buffer[start + i] !== words.charCodeAt(i)) return null;
  return length === words.length ? true : undefined;
}

/** The offset behind the next byte of that value; undefined where there is none. */
function behindNext(value: number, buffer: Uint8Array, start: number, end: number): number | undefined {
  for (let at = start; at < end; at++) if (buffer[at] === value) return at + 1;
  return undefined;
}

const endpointText = (host: string, port: number | string): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

const uint16 = (buffer: Uint8Array, at: number): number => (buffer[at]! << 8) | buffer[at + 1]!;

/** Bytes as Latin-1, control characters replaced. */
function text(buffer: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...buffer.subarray(start, end)).replace(/\p{Cc}/gu, '\ufffd');
}

/** A stream without its first `skip` bytes, which were a proxy's: offsets count from behind them. */
export class StreamBehind implements StreamConsumer {
  readonly #inner: StreamConsumer;
  readonly #skip: number;

  constructor(inner: StreamConsumer, skip: number) {
    this.#inner = inner;
    this.#skip = skip;
  }

  bytes(buffer: Uint8Array, start: number, end: number, offset: number, tNs: number, frame: number): boolean {
    const ahead = Math.min(Math.max(0, this.#skip - offset), end - start);
    return start + ahead < end
      ? this.#inner.bytes(buffer, start + ahead, end, offset + ahead - this.#skip, tNs, frame)
      : true;
  }

  /** Never over the skipped bytes: they were at hand when the stream was claimed. */
  hole(offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    this.#inner.hole(offset - this.#skip, length, cause, tNs, frame);
  }

  end(offset: number, cause: StreamEnd, tNs: number, frame: number): void {
    this.#inner.end(offset - this.#skip, cause, tNs, frame);
  }
}
