// QuicHandshake: what a QUIC client offers in its first packets, and what the server picks.
//
// Initial packets are protected with keys that follow from the client's first destination connection id, so whoever sees
// them can open them. Inside, CRYPTO frames carry the ClientHello (server name, application protocols, transport
// parameters) and the ServerHello (cipher suite). What follows, the server's own parameters included, is under keys that
// no observer has. A packet that does not authenticate under these keys is left; so is one that the snap length cut.
//
// Source: RFC 9001 §5.2 (keys), §5.4 (header protection); RFC 9369 §3.3 (version 2); RFC 9000 §12.4, §18.2, §19
// (frames, transport parameters); RFC 8446 §4.1 (hello messages); RFC 6066 §3, RFC 7301 §3.1 (extensions).
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import {
  NAME_CHARACTERS,
  QUIC_CRYPTO_BYTES,
  QUIC_CRYPTO_TOTAL_BYTES,
  QUIC_INITIALS,
  QUIC_INITIALS_TOTAL,
} from '../../limits.js';
import type { Facts } from './flow.js';
import { draftOf, HANDSHAKE, INITIAL, isLong, isVersion2, longHeader, packetType, ZERO_RTT } from './quic-header.js';

const SALT_1 = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const SALT_2 = Buffer.from('0dede3def700a6db819381be6e269dcbf9bd2ed9', 'hex');
/** Of drafts 29 to 32, and of those before (§5.2 of each); later ones have that of version 1. */
const SALT_DRAFT_29 = Buffer.from('afbfec289993d24c9e9786f19c6111e04390a899', 'hex');
const SALT_DRAFT_27 = Buffer.from('c3eef712c72ebb5a11a7d2432bb46365bef9f502', 'hex');

const SECRET_BYTES = 32;
const KEY_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The sample for header protection begins where the packet number would end if it had 4 bytes. */
const SAMPLE_AT = 4;
const SAMPLE_BYTES = 16;

const FRAME_PADDING = 0x00;
const FRAME_PING = 0x01;
const FRAME_ACK = 0x02;
const FRAME_ACK_ECN = 0x03;
const FRAME_CRYPTO = 0x06;
const FRAME_CONNECTION_CLOSE = 0x1c;

const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const EXTENSION_SERVER_NAME = 0;
const EXTENSION_ALPN = 16;
const EXTENSION_TRANSPORT_PARAMETERS = 57;
const EXTENSION_TRANSPORT_PARAMETERS_DRAFT = 0xffa5;

const MAX_IDLE_TIMEOUT = 0x01;
const MAX_UDP_PAYLOAD_SIZE = 0x03;
const INITIAL_MAX_DATA = 0x04;
const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL = 0x05;
const ACK_DELAY_EXPONENT = 0x0a;
const MAX_ACK_DELAY = 0x0b;
const DISABLE_ACTIVE_MIGRATION = 0x0c;

const CIPHER_SUITES: Readonly<Record<number, string>> = {
  4865: 'TLS_AES_128_GCM_SHA256',
  4866: 'TLS_AES_256_GCM_SHA384',
  4867: 'TLS_CHACHA20_POLY1305_SHA256',
};

/** Facts of a ClientHello before it says them. */
const UNKNOWN_HELLO: Facts = {
  serverName: null,
  applicationProtocols: null,
  maxIdleTimeoutNs: null,
  initialMaxDataBytes: null,
  initialMaxStreamDataBytes: null,
  maxUdpPayloadBytes: null,
  ackDelayExponent: null,
  maxAckDelayNs: null,
  activeMigrationDisabled: null,
};

/** Packets in one datagram that are looked at. */
const COALESCED_PACKETS = 4;

/** What all handshakes together may still cost. */
export class QuicBudget {
  /** Packets that may be tried. */
  packets = QUIC_INITIALS_TOTAL;
  /** Bytes that wait for the rest of their message. */
  waitingBytes = 0;
}

/** Keys of one direction. */
interface Keys {
  readonly key: Buffer;
  readonly nonce: Buffer;
  readonly headerKey: Buffer;
}

export class QuicHandshake {
  readonly #budget: QuicBudget;
  #tries = QUIC_INITIALS;
  /** Side that opened the connection and the id it chose for the server; null until a packet of it was opened. */
  #client: 0 | 1 | null = null;
  #destination: Buffer | null = null;
  /** By version and label, while there is something to open. */
  #keys: Map<string, Keys> | null = null;
  readonly #messages: [CryptoBytes | null, CryptoBytes | null] = [null, null];
  #opened = 0;
  #hello: Facts | null = null;
  #cipherSuite: string | null = null;
  #closeErrorCode: number | null = null;

  constructor(budget: QuicBudget) {
    this.#budget = budget;
  }

  /** Looks at the packets of the datagram in `[at, end)`, sent by `side`. */
  datagram(bytes: Uint8Array, view: DataView, at: number, end: number, side: 0 | 1): void {
    for (let packets = 0; packets < COALESCED_PACKETS && at < end && isLong(bytes[at]!); packets++) {
      const header = longHeader(bytes, view, at, end);
      if (header === null) return;
      const { version, destinationBytes } = header;
      const type = packetType(bytes[at]!, version);
      if (type !== INITIAL && type !== HANDSHAKE && type !== ZERO_RTT) return;
      const fields = new Fields(bytes, header.next, end);
      if (type === INITIAL) fields.skip(fields.varint()); // token
      const length = fields.varint();
      const packetEnd = fields.at + length;
      if (!fields.ok || packetEnd > end) return;
      if (type === INITIAL && !this.#done && this.#tries > 0 && this.#budget.packets > 0) {
        this.#tries--;
        this.#budget.packets--;
        const destination = bytes.subarray(at + 6, at + 6 + destinationBytes);
        this.#initial(bytes.subarray(at, packetEnd), fields.at - at, version, destination, side);
        if (this.#done || this.#tries === 0) this.#forget();
      }
      at = packetEnd;
    }
  }

  /** The server sent a Retry: the client begins again, under keys of the id that came with it. */
  retried(): void {
    this.#client = null;
    this.#forget();
  }

  finish(): Facts {
    this.#forget();
    return {
      handshakeOpened: this.#opened > 0,
      ...UNKNOWN_HELLO,
      ...this.#hello,
      cipherSuite: this.#cipherSuite,
      closeErrorCode: this.#closeErrorCode,
    };
  }

  get #done(): boolean {
    return this.#hello !== null && this.#cipherSuite !== null;
  }

  #forget(): void {
    this.#keys = null;
    for (const side of [0, 1] as const) {
      this.#budget.waitingBytes -= this.#messages[side]?.reservedBytes ?? 0;
      this.#messages[side] = null;
    }
  }

  #initial(packet: Uint8Array, numberAt: number, version: number, destination: Uint8Array, side: 0 | 1): void {
    let plain: Uint8Array | null;
    if (this.#client === null) {
      // Whoever sent it, it is the client's if keys of its own destination id open it.
      this.#destination = Buffer.from(destination);
      this.#keys = null;
      plain = opened(packet, numberAt, this.#keysOf(version, 'client in'));
      if (plain !== null) this.#client = side;
    } else {
      plain = opened(packet, numberAt, this.#keysOf(version, side === this.#client ? 'client in' : 'server in'));
    }
    if (plain === null) return;
    this.#opened++;
    this.#frames(plain, side);
  }

  #keysOf(version: number, label: string): Keys {
    const name = `${version} ${label}`;
    const known = (this.#keys ??= new Map<string, Keys>());
    let keys = known.get(name);
    if (keys === undefined) {
      keys = initialKeys(version, this.#destination!, label);
      known.set(name, keys);
    }
    return keys;
  }

  #frames(plain: Uint8Array, side: 0 | 1): void {
    const fields = new Fields(plain, 0, plain.length);
    while (fields.ok && fields.at < plain.length) {
      switch (fields.u8()) {
        case FRAME_PADDING:
        case FRAME_PING:
          break;
        case FRAME_ACK:
          acknowledgement(fields);
          break;
        case FRAME_ACK_ECN:
          acknowledgement(fields);
          for (let count = 0; count < 3; count++) fields.varint();
          break;
        case FRAME_CRYPTO: {
          const offset = fields.varint();
          const length = fields.varint();
          const at = fields.at;
          fields.skip(length);
          if (fields.ok) this.#crypto(side, offset, plain.subarray(at, at + length));
          break;
        }
        case FRAME_CONNECTION_CLOSE:
          this.#closeErrorCode = fields.varint();
          return;
        default:
          return; // not allowed here
      }
    }
  }

  #crypto(side: 0 | 1, offset: number, bytes: Uint8Array): void {
    if (side === this.#client ? this.#hello !== null : this.#cipherSuite !== null) return;
    let messages = this.#messages[side];
    if (messages === null) {
      messages = new CryptoBytes();
      this.#messages[side] = messages;
    }
    const before = messages.reservedBytes;
    const room = QUIC_CRYPTO_TOTAL_BYTES - this.#budget.waitingBytes;
    messages.add(offset, bytes, before + room);
    this.#budget.waitingBytes += messages.reservedBytes - before;
    const message = messages.firstMessage();
    if (message === null) return;
    if (side === this.#client) this.#hello = clientHello(message);
    else this.#cipherSuite = serverHello(message);
    this.#budget.waitingBytes -= messages.reservedBytes;
    this.#messages[side] = null;
  }
}

/** Keys of Initial packets that the side with `label` protects, when the client chose `destination`. */
function initialKeys(version: number, destination: Uint8Array, label: string): Keys {
  const draft = draftOf(version);
  let salt = SALT_1;
  if (isVersion2(version)) salt = SALT_2;
  else if (draft !== 0 && draft < 29) salt = SALT_DRAFT_27;
  else if (draft !== 0 && draft < 33) salt = SALT_DRAFT_29;
  const initial = createHmac('sha256', salt).update(destination).digest(); // HKDF-Extract
  const secret = expandLabel(initial, label, SECRET_BYTES);
  const prefix = isVersion2(version) ? 'quicv2' : 'quic';
  return {
    key: expandLabel(secret, `${prefix} key`, KEY_BYTES),
    nonce: expandLabel(secret, `${prefix} iv`, NONCE_BYTES),
    headerKey: expandLabel(secret, `${prefix} hp`, KEY_BYTES),
  };
}

/** HKDF-Expand-Label with SHA-256 and without context; one block is enough for at most 32 bytes. RFC 8446 §7.1. */
function expandLabel(secret: Uint8Array, label: string, bytes: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`, 'latin1');
  const info = Buffer.concat([Buffer.of(0, bytes, name.length), name, Buffer.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, bytes);
}

/** The frames inside `packet`, whose packet number begins at `numberAt`; null where the keys do not fit. */
function opened(packet: Uint8Array, numberAt: number, keys: Keys): Uint8Array | null {
  const sampleAt = numberAt + SAMPLE_AT;
  if (sampleAt + SAMPLE_BYTES > packet.length) return null;
  const mask = createCipheriv('aes-128-ecb', keys.headerKey, null).update(
    packet.subarray(sampleAt, sampleAt + SAMPLE_BYTES),
  );
  const first = packet[0]! ^ (mask[0]! & 0x0f);
  const numberBytes = (first & 3) + 1;
  const header = Buffer.from(packet.subarray(0, numberAt + numberBytes));
  header[0] = first;
  const nonce = Buffer.from(keys.nonce);
  for (let i = 0; i < numberBytes; i++) {
    header[numberAt + i] = header[numberAt + i]! ^ mask[1 + i]!;
    // Initial packets are few: their numbers are never cut on the wire.
    const at = NONCE_BYTES - numberBytes + i;
    nonce[at] = nonce[at]! ^ header[numberAt + i]!;
  }
  const tagAt = packet.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-128-gcm', keys.key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(header).setAuthTag(packet.subarray(tagAt));
  const plain = decipher.update(packet.subarray(header.length, tagAt));
  try {
    decipher.final();
  } catch {
    return null; // the way node:crypto says that the tag is another
  }
  return plain;
}

function acknowledgement(fields: Fields): void {
  fields.varint(); // largest
  fields.varint(); // delay
  const ranges = fields.varint();
  fields.varint(); // first range
  for (let range = 0; range < ranges && fields.ok; range++) {
    fields.varint();
    fields.varint();
  }
}

/** The beginning of a side's CRYPTO stream, from pieces in any order. */
class CryptoBytes {
  #bytes = new Uint8Array(0);
  /** 1 where the byte is present. */
  #present = new Uint8Array(0);
  /** Bytes from the start on without a gap. */
  #contiguous = 0;

  get reservedBytes(): number {
    return 2 * this.#bytes.length;
  }

  /** @param mostBytes  how much may be reserved; what does not fit is left out */
  add(offset: number, piece: Uint8Array, mostBytes: number): void {
    const end = Math.min(offset + piece.length, QUIC_CRYPTO_BYTES);
    if (end <= offset) return;
    if (end > this.#bytes.length) {
      const size = Math.min(QUIC_CRYPTO_BYTES, Math.max(2 * this.#bytes.length, end, 512));
      if (2 * size > mostBytes) return;
      const [bytes, present] = [new Uint8Array(size), new Uint8Array(size)];
      bytes.set(this.#bytes);
      present.set(this.#present);
      this.#bytes = bytes;
      this.#present = present;
    }
    this.#bytes.set(piece.subarray(0, end - offset), offset);
    this.#present.fill(1, offset, end);
    while (this.#present[this.#contiguous] === 1) this.#contiguous++;
  }

  /** The first handshake message, with its header; null while it is not whole. */
  firstMessage(): Uint8Array | null {
    if (this.#contiguous < 4) return null;
    const end = 4 + ((this.#bytes[1]! << 16) | (this.#bytes[2]! << 8) | this.#bytes[3]!);
    return end <= this.#contiguous ? this.#bytes.subarray(0, end) : null;
  }
}

/** What the client offers; no facts where the message is something else. */
function clientHello(message: Uint8Array): Facts {
  const fields = new Fields(message, 0, message.length);
  if (fields.u8() !== CLIENT_HELLO) return {};
  fields.skip(3 + 2 + 32); // length, version, random
  fields.skip(fields.u8()); // session id
  fields.skip(fields.u16()); // cipher suites
  fields.skip(fields.u8()); // compression methods
  fields.u16();
  let facts: Facts = {};
  while (fields.ok && fields.at < message.length) {
    const type = fields.u16();
    const length = fields.u16();
    const inside = fields.part(length);
    if (!fields.ok) break;
    if (type === EXTENSION_SERVER_NAME) facts = { ...facts, ...serverName(inside) };
    else if (type === EXTENSION_ALPN) facts = { ...facts, ...applicationProtocols(inside) };
    else if (type === EXTENSION_TRANSPORT_PARAMETERS || type === EXTENSION_TRANSPORT_PARAMETERS_DRAFT) {
      facts = { ...facts, ...transportParameters(inside) };
    }
  }
  return facts;
}

function serverName(fields: Fields): Facts {
  fields.u16(); // of the list; only one name of type 0 is allowed
  const type = fields.u8();
  const name = fields.text(fields.u16());
  return fields.ok && type === 0 ? { serverName: name } : {};
}

function applicationProtocols(fields: Fields): Facts {
  fields.u16();
  const names: string[] = [];
  while (fields.ok && fields.left > 0) names.push(fields.text(fields.u8()));
  return fields.ok ? { applicationProtocols: names.join(' ').slice(0, NAME_CHARACTERS) } : {};
}

/** What the client accepts; where it does not say, the default that then holds. RFC 9000 §18.2. */
function transportParameters(fields: Fields): Facts {
  const found = new Map<number, number>();
  while (fields.ok && fields.left > 0) {
    const id = fields.varint();
    const value = fields.part(fields.varint());
    if (fields.ok) found.set(id, value.left > 0 ? value.varint() : 0);
  }
  const idleMs = found.get(MAX_IDLE_TIMEOUT) ?? 0;
  return {
    maxIdleTimeoutNs: idleMs === 0 ? null : idleMs * 1e6,
    initialMaxDataBytes: found.get(INITIAL_MAX_DATA) ?? 0,
    initialMaxStreamDataBytes: found.get(INITIAL_MAX_STREAM_DATA_BIDI_LOCAL) ?? 0,
    maxUdpPayloadBytes: found.get(MAX_UDP_PAYLOAD_SIZE) ?? 65_527,
    ackDelayExponent: found.get(ACK_DELAY_EXPONENT) ?? 3,
    maxAckDelayNs: (found.get(MAX_ACK_DELAY) ?? 25) * 1e6,
    activeMigrationDisabled: found.has(DISABLE_ACTIVE_MIGRATION),
  };
}

/** The cipher suite that the server picked; null where the message is something else. */
function serverHello(message: Uint8Array): string | null {
  const fields = new Fields(message, 0, message.length);
  if (fields.u8() !== SERVER_HELLO) return null;
  fields.skip(3 + 2 + 32);
  fields.skip(fields.u8());
  const suite = fields.u16();
  return fields.ok ? (CIPHER_SUITES[suite] ?? `0x${suite.toString(16).padStart(4, '0')}`) : null;
}

/** Reads fields one after the other; beyond the end it yields zeros and says so in `ok`. */
class Fields {
  ok = true;
  readonly #bytes: Uint8Array;
  readonly #end: number;

  constructor(
    bytes: Uint8Array,
    public at: number,
    end: number,
  ) {
    this.#bytes = bytes;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.at;
  }

  u8(): number {
    if (this.at >= this.#end) this.ok = false;
    return this.ok ? this.#bytes[this.at++]! : 0;
  }

  u16(): number {
    return this.u8() * 256 + this.u8();
  }

  /** 1, 2, 4 or 8 bytes; exact to 2^53, beyond to the nearest double. RFC 9000 §16. */
  varint(): number {
    const first = this.u8();
    let value = first & 0x3f;
    for (let more = (1 << (first >>> 6)) - 1; more > 0; more--) value = value * 256 + this.u8();
    return this.ok ? value : 0;
  }

  skip(bytes: number): void {
    if (bytes > this.left) this.ok = false;
    else this.at += bytes;
  }

  /** The next `bytes` bytes by themselves. */
  part(bytes: number): Fields {
    const at = this.at;
    this.skip(bytes);
    return new Fields(this.#bytes, at, this.ok ? this.at : at);
  }

  /** The next `bytes` bytes as text; what is not printable ASCII becomes '?'. */
  text(bytes: number): string {
    const at = this.at;
    this.skip(bytes);
    if (!this.ok) return '';
    const shown = this.#bytes.subarray(at, at + Math.min(bytes, NAME_CHARACTERS));
    return Array.from(shown, (byte) => (byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?')).join('');
  }
}
