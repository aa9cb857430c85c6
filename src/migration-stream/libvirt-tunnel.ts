// libvirt's tunnelled migration: QEMU's stream inside RPC stream messages of a libvirt connection in clear text.
//
// Each message has a header of 28 bytes; messages of type "stream", status "continue" carry the migration stream in order.
// This consumer takes the headers off and hands the rest to whoever claims it, as if it had come from the transport; the
// inner stream's offsets count its own bytes. Keep-alive messages lie in between.
// Source: libvirt src/rpc/virnetprotocol.x; docs/kbase/internals/rpc.rst.
import {
  type ClaimStream,
  type HoleCause,
  PROBE_BYTES,
  type StreamConsumer,
  type StreamEnd,
} from '../decode/stream.js';
import {
  LIBVIRT_HEADER_BYTES,
  LIBVIRT_KEEPALIVE_PROGRAM,
  LIBVIRT_MESSAGE_BYTES,
  LIBVIRT_PROGRAM,
  LIBVIRT_STATUS_CONTINUE,
  LIBVIRT_TYPE_STREAM,
} from './wire.js';

const uint32 = (buffer: Uint8Array, at: number): number =>
  ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;

/** Whether `buffer[at, at + 12)` opens a libvirt message. */
export function isLibvirtMessage(buffer: Uint8Array, at: number): boolean {
  const length = uint32(buffer, at);
  const program = uint32(buffer, at + 4);
  return (
    length >= LIBVIRT_HEADER_BYTES &&
    length <= LIBVIRT_MESSAGE_BYTES &&
    (program === LIBVIRT_PROGRAM || program === LIBVIRT_KEEPALIVE_PROGRAM) &&
    uint32(buffer, at + 8) === 1
  );
}

/** Unwraps one direction of a libvirt connection. */
export class LibvirtTunnel implements StreamConsumer {
  readonly #direction: number;
  readonly #claim: ClaimStream;
  readonly #header = new Uint8Array(LIBVIRT_HEADER_BYTES);
  #headerBytes = 0;
  /** Bytes of the message that are still to come, and whether they belong to the stream. */
  #left = 0;
  #carries = false;
  /** Bytes of the inner stream so far. */
  #offset = 0;
  /** Undefined until the inner stream's first bytes were claimed or refused; they are kept until then. */
  #inner: StreamConsumer | null | undefined;
  #first: Uint8Array | null = null;
  /** False once a hole hid a header: what follows cannot be told apart. */
  #inStep = true;

  /** @param claim  asked with the first bytes of the inner stream */
  constructor(direction: number, claim: ClaimStream) {
    this.#direction = direction;
    this.#claim = claim;
  }

  bytes(buffer: Uint8Array, start: number, end: number, _offset: number, tNs: number, frame: number): boolean {
    for (let at = start; at < end; ) {
      if (!this.#inStep) {
        this.#hide(end - at, 'unseen', tNs, frame);
        break;
      }
      if (this.#left > 0) {
        const take = Math.min(this.#left, end - at);
        if (this.#carries) this.#deliver(buffer, at, at + take, tNs, frame);
        this.#left -= take;
        at += take;
      } else {
        this.#header[this.#headerBytes++] = buffer[at++]!;
        if (this.#headerBytes === LIBVIRT_HEADER_BYTES) this.#begin();
      }
    }
    return this.#inner === undefined ? this.#inStep : this.#inner !== null;
  }

  hole(_offset: number, length: number, cause: HoleCause, tNs: number, frame: number): void {
    if (this.#left < length) this.#inStep = false;
    this.#left -= length;
    if (this.#carries || !this.#inStep) this.#hide(length, cause, tNs, frame);
  }

  /** Bytes that are, or may be, the inner stream's and cannot be read. */
  #hide(length: number, cause: HoleCause, tNs: number, frame: number): void {
    this.#inner?.hole(this.#offset, length, cause, tNs, frame);
    this.#offset += length;
  }

  end(_offset: number, cause: StreamEnd, tNs: number, frame: number): void {
    this.#inner?.end(this.#offset, cause, tNs, frame);
  }

  #begin(): void {
    this.#headerBytes = 0;
    const header = this.#header;
    if (!isLibvirtMessage(header, 0)) {
      this.#inStep = false;
      return;
    }
    this.#left = uint32(header, 0) - LIBVIRT_HEADER_BYTES;
    this.#carries =
      uint32(header, 16) === LIBVIRT_TYPE_STREAM && uint32(header, 24) === LIBVIRT_STATUS_CONTINUE && this.#left > 0;
  }

  #deliver(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): void {
    const from = this.#inner === undefined ? this.#probe(buffer, start, end, tNs, frame) : start;
    if (from === end) return;
    this.#inner?.bytes(buffer, from, end, this.#offset, tNs, frame);
    this.#offset += end - from;
  }

  /** Adds to the stream's first bytes and asks who wants them; returns how far `buffer` was used up. */
  #probe(buffer: Uint8Array, start: number, end: number, tNs: number, frame: number): number {
    const first = (this.#first ??= new Uint8Array(PROBE_BYTES));
    const take = Math.min(end - start, PROBE_BYTES - this.#offset);
    first.set(buffer.subarray(start, start + take), this.#offset);
    this.#offset += take;
    const claimed = this.#claim(this.#direction, first, 0, this.#offset, true, tNs, frame);
    if (claimed === undefined && this.#offset < PROBE_BYTES) return end;
    this.#inner = claimed ?? null;
    this.#inner?.bytes(first, 0, this.#offset, 0, tNs, frame);
    this.#first = null;
    return start + take;
  }
}
