// Datagrams of VPNs, written from the descriptions of their formats; contents are filler, as if encrypted.
import { concat, u16, u24, u32, u64 } from '../frames.js';

const filler = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5);
const little32 = (value: number): number[] => u32(value).reverse();
const little64 = (value: number): number[] => u64(value).reverse();

export const wireguard = {
  initiation: (): Uint8Array => concat([1, 0, 0, 0], filler(144)),
  response: (): Uint8Array => concat([2, 0, 0, 0], filler(88)),
  cookie: (): Uint8Array => concat([3, 0, 0, 0], filler(60)),
  /** `bytes` of padded content. */
  data: (receiver: number, counter: number, bytes = 1424): Uint8Array =>
    concat([4, 0, 0, 0], little32(receiver), little64(counter), filler(bytes + 16)),
};

export const esp = (spi: number, sequence: number, bytes = 1400): Uint8Array =>
  concat(u32(spi), u32(sequence), filler(bytes));
/** IKE behind its marker in UDP port 4500. */
export const ike = (): Uint8Array => concat(u32(0), filler(16), [0x21, 0x20, 0x22, 0x08], u32(0), u32(28));

/** Type 22 handshake, 23 data, 21 alert. */
export const dtlsRecord = (type: number, epoch: number, sequence: number, bytes = 100, version = 0xfefd): Uint8Array =>
  concat([type], u16(version), u16(epoch), u16(0), u32(sequence), u16(bytes), filler(bytes));

export const openvpn = {
  clientReset: (): Uint8Array => concat([7 << 3], filler(8), [0], u32(0)),
  serverReset: (): Uint8Array => concat([8 << 3], filler(8), [1], u32(0), filler(8), u32(0)),
  control: (): Uint8Array => concat([4 << 3], filler(60)),
  dataV1: (id: number, bytes = 1300): Uint8Array => concat([6 << 3], u32(id), filler(bytes)),
  dataV2: (id: number, bytes = 1300, key = 0): Uint8Array => concat([(9 << 3) | key], u24(5), u32(id), filler(bytes)),
};
