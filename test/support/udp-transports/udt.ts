// UDT and SRT datagrams, written from the formats' descriptions (draft-gg-udt-03, draft-sharabayko-srt-01).
import { address, concat, type Payload, u16, u32 } from '../frames.js';

const control = (type: number, info: number, stampUs: number, socket: number, body: Payload = []): Uint8Array =>
  concat(u16(0x8000 + type), u16(0), u32(info), u32(stampUs), u32(socket), body);

export interface Handshake {
  version?: number;
  /** 1 stream, 2 datagram; in SRT encryption and extension fields. */
  socketType?: number;
  initial?: number;
  mss?: number;
  window?: number;
  /** 1 request, 0 rendezvous, −1 and −2 answers. */
  request?: number;
  /** Socket of the sender, and of the receiver (0 in the first request). */
  own: number;
  to?: number;
  cookie?: number;
  extensions?: Payload;
}

export const handshake = (o: Handshake): Uint8Array =>
  control(
    0,
    0,
    0,
    o.to ?? 0,
    concat(
      u32(o.version ?? 4),
      u32(o.socketType ?? 1),
      u32(o.initial ?? 1000),
      u32(o.mss ?? 1500),
      u32(o.window ?? 25600),
      u32((o.request ?? 1) >>> 0),
      u32(o.own),
      u32(o.cookie ?? 0),
      address('10.0.0.1'),
      new Uint8Array(12),
      o.extensions ?? [],
    ),
  );

export const data = (sequence: number, to: number, payload: Payload, o: { stampUs?: number; message?: number } = {}) =>
  concat(u32(sequence & 0x7fffffff), u32(o.message ?? 0xe0000001), u32(o.stampUs ?? 0), u32(to), payload);

/** SRT data: `again` sets the retransmission flag, `key` 1 or 2 says that the payload is encrypted. */
export const srtData = (sequence: number, to: number, payload: Payload, o: { again?: boolean; key?: number } = {}) =>
  data(sequence, to, payload, {
    message: (0xc0000001 | ((o.key ?? 0) << 27) | (o.again ? 0x04000000 : 0)) >>> 0,
  });

export interface Acknowledgement {
  /** Number of this acknowledgement, answered by ack2. */
  number?: number;
  next: number;
  rttUs?: number;
  varianceUs?: number;
  buffer?: number;
  rate?: number;
  capacity?: number;
}

/** Full acknowledgement. */
export const ack = (to: number, o: Acknowledgement): Uint8Array =>
  control(
    2,
    o.number ?? 1,
    0,
    to,
    concat(
      u32(o.next),
      u32(o.rttUs ?? 20_000),
      u32(o.varianceUs ?? 5_000),
      u32(o.buffer ?? 8000),
      u32(o.rate ?? 0),
      u32(o.capacity ?? 0),
    ),
  );

export const lightAck = (to: number, next: number): Uint8Array => control(2, 0, 0, to, u32(next));

/** Loss report: single numbers, or [first, last]. */
export const nak = (to: number, ...lost: readonly (number | readonly [number, number])[]): Uint8Array =>
  control(
    3,
    0,
    0,
    to,
    concat(
      ...lost.map((item) => (typeof item === 'number' ? u32(item) : [...u32(item[0] + 0x80000000), ...u32(item[1])])),
    ),
  );

export const ack2 = (to: number, number: number): Uint8Array => control(6, number, 0, to);
export const shutdown = (to: number): Uint8Array => control(5, 0, 0, to, u32(0));
export const keepAlive = (to: number): Uint8Array => control(1, 0, 0, to, u32(0));
