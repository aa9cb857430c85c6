// QUIC datagrams, written from RFC 9000 §17. Initial packets can be sealed as RFC 9001 §5 says; of all others the part
// that an observer cannot read is filler.
import { createCipheriv, createHmac } from 'node:crypto';
import { concat, hex, type Payload, u16, u24, u32 } from '../frames.js';

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

const SALTS: Record<number, string> = {
  1: '38762cf7f55934b34d179ae6a4c80cadccbb7f0a',
  [VERSION_2]: '0dede3def700a6db819381be6e269dcbf9bd2ed9',
};

const hmac = (key: Uint8Array, text: Uint8Array) => createHmac('sha256', key).update(text).digest();

function expand(secret: Uint8Array, label: string, bytes: number): Uint8Array {
  const full = `tls13 ${label}`;
  return hmac(secret, concat(u16(bytes), [full.length], full, [0], [1])).subarray(0, bytes);
}

export interface InitialOptions {
  version?: number;
  /** Id that the client chose for the server at first: the keys follow from it. */
  original?: Uint8Array;
  destination?: Uint8Array;
  source?: Uint8Array;
  from?: 'client' | 'server';
  number?: number;
  numberBytes?: number;
  token?: Uint8Array;
}

/** A sealed Initial packet around `frames`. */
export function initial(frames: Payload, o: InitialOptions = {}): Uint8Array {
  const version = o.version ?? 1;
  const original = o.original ?? hex('8394c8f03e515708');
  const from = o.from ?? 'client';
  const destination = o.destination ?? (from === 'client' ? original : new Uint8Array(0));
  const source = o.source ?? new Uint8Array(0);
  const prefix = version === VERSION_2 ? 'quicv2' : 'quic';
  const secret = expand(hmac(hex(SALTS[version]!), original), `${from} in`, 32);
  const [key, iv, hp] = [
    expand(secret, `${prefix} key`, 16),
    expand(secret, `${prefix} iv`, 12),
    expand(secret, `${prefix} hp`, 16),
  ];
  const numberBytes = o.numberBytes ?? 4;
  const number = u32(o.number ?? 0).slice(4 - numberBytes);
  const plain = concat(frames);
  const token = o.token ?? new Uint8Array(0);
  const header = concat(
    [0xc0 | ((version === VERSION_2 ? 1 : 0) << 4) | (numberBytes - 1)],
    u32(version),
    [destination.length],
    destination,
    [source.length],
    source,
    [token.length],
    token,
    u16(0x4000 + numberBytes + plain.length + 16),
    number,
  );
  const nonce = iv.map((byte, i) => byte ^ (number[i - 12 + numberBytes] ?? 0));
  const cipher = createCipheriv('aes-128-gcm', key, nonce).setAAD(header);
  const sealed = concat(header, cipher.update(plain), cipher.final(), cipher.getAuthTag());
  const at = header.length - numberBytes;
  const mask = createCipheriv('aes-128-ecb', hp, null).update(sealed.subarray(at + 4, at + 20));
  sealed[0] = sealed[0]! ^ (mask[0]! & 15);
  for (let i = 0; i < numberBytes; i++) sealed[at + i] = sealed[at + i]! ^ mask[1 + i]!;
  return sealed;
}

export const varint = (value: number): number[] =>
  value < 64 ? [value] : value < 16_384 ? u16(0x4000 + value) : u32(0x8000_0000 + value);

export const crypto = (offset: number, data: Payload): Uint8Array => {
  const piece = concat(data);
  return concat([6], varint(offset), varint(piece.length), piece);
};

export const padding = (bytes: number): Uint8Array => new Uint8Array(bytes);

const vector16 = (...parts: Payload[]): Uint8Array => {
  const body = concat(...parts);
  return concat(u16(body.length), body);
};
const vector8 = (body: Payload): Uint8Array => concat([concat(body).length], body);

/** A TLS ClientHello with the extensions an observer is interested in. */
export function clientHello(
  o: { serverName?: string; protocols?: string[]; parameters?: [id: number, value: Payload][] } = {},
): Uint8Array {
  const parameters = (o.parameters ?? []).map(([id, value]) => concat(varint(id), varint(concat(value).length), value));
  const extensions = concat(
    u16(0),
    vector16(vector16([0], vector16(o.serverName ?? 'example.org'))),
    u16(43),
    vector16([2, 3, 4]),
    u16(16),
    vector16(vector16(...(o.protocols ?? ['h3']).map(vector8))),
    u16(57),
    vector16(...parameters),
  );
  const body = concat(
    u16(0x0303),
    new Uint8Array(32).fill(7),
    vector8([]),
    vector16(u16(0x1301), u16(0x1303)),
    [1, 0],
    vector16(extensions),
  );
  return concat([1], u24(body.length), body);
}
