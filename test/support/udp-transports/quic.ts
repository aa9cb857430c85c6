// QUIC datagrams as far as an observer can read them, written from RFC 9000 §17; the rest is filler.
import { concat, u32 } from '../frames.js';

export const INITIAL = 0;
export const ZERO_RTT = 1;
export const HANDSHAKE = 2;
export const RETRY = 3;
export const VERSION_2 = 0x6b3343cf;

export function long(
  type: number,
  o: { version?: number; destination?: Uint8Array; source?: Uint8Array; bytes?: number } = {},
): Uint8Array {
  const version = o.version ?? 1;
  const onWire = version === VERSION_2 ? (type + 1) % 4 : type;
  const [destination, source] = [o.destination ?? new Uint8Array(8), o.source ?? new Uint8Array(5)];
  return concat(
    [0xc0 | (onWire << 4) | 3],
    u32(version),
    [destination.length],
    destination,
    [source.length],
    source,
    new Uint8Array(o.bytes ?? 1200).fill(0xa5),
  );
}

export const short = (spin: boolean, bytes = 1200): Uint8Array =>
  concat([0x40 | (spin ? 0x20 : 0) | 0x11], new Uint8Array(bytes).fill(0x5a));
