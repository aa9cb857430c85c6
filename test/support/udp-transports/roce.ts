// RoCE datagrams and QEMU's RDMA messages, written from the InfiniBand specification's and QEMU's descriptions.
import { bytes, concat, type Payload, u16, u24, u32, u64 } from '../frames.js';

export const SEND_FIRST = 0x00;
export const SEND_MIDDLE = 0x01;
export const SEND_LAST = 0x02;
export const SEND_ONLY = 0x04;
export const WRITE_FIRST = 0x06;
export const WRITE_MIDDLE = 0x07;
export const WRITE_LAST = 0x08;
export const WRITE_ONLY = 0x0a;
export const READ_REQUEST = 0x0c;

/** Base transport header, what follows it, padding to 4 bytes and a check sum (of no value here). */
export function packet(
  opcode: number,
  queuePair: number,
  sequence: number,
  extension: Payload = [],
  payload: Payload = [],
  options: { askAck?: boolean; becn?: boolean } = {},
): Uint8Array {
  const content = bytes(payload);
  const pad = (4 - (content.length % 4)) % 4;
  return concat(
    [opcode, pad << 4],
    u16(0xffff),
    [options.becn ? 0x40 : 0],
    u24(queuePair),
    [options.askAck ? 0x80 : 0],
    u24(sequence),
    extension,
    content,
    new Uint8Array(pad),
    u32(0xdeadbeef),
  );
}

/** RETH: where a write goes, or a read comes from. */
export const reth = (address: number, length: number, key = 7): Uint8Array =>
  concat(u64(address), u32(key), u32(length));

export const ack = (queuePair: number, sequence: number): Uint8Array =>
  packet(0x11, queuePair, sequence, [0x1f, 0, 0, 1]);
/** NAK with code 0: sequence error. */
export const nak = (queuePair: number, sequence: number, code = 0): Uint8Array =>
  packet(0x11, queuePair, sequence, [0x60 | code, 0, 0, 1]);
export const receiverNotReady = (queuePair: number, sequence: number): Uint8Array =>
  packet(0x11, queuePair, sequence, [0x21, 0, 0, 1]);
export const cnp = (queuePair: number): Uint8Array =>
  packet(0x81, queuePair, 0, new Uint8Array(16), [], { becn: true });

/** A management datagram of communication management on queue pair 1. */
const mad = (attribute: number, message: Uint8Array): Uint8Array => {
  const padded = new Uint8Array(232);
  padded.set(message);
  const header = concat([1, 7, 2, 3], u16(0), u16(0), u64(99), u16(attribute), u16(0), u32(0));
  return packet(0x64, 1, 0, concat(u32(0x80010000), u32(1)), concat(header, padded));
};

/** CM REQ with QEMU's private data behind that of RDMA-CM. */
export const cmRequest = (o: { id: number; queuePair: number; sequence: number; pinAll?: boolean }): Uint8Array => {
  const message = new Uint8Array(232);
  message.set(u32(o.id), 0);
  message.set(u24(o.queuePair), 32);
  message.set(u24(o.sequence), 44);
  message.set(concat(u32(1), u32(o.pinAll ? 1 : 0)), 140 + 36);
  return mad(0x0010, message);
};

export const cmReply = (o: { id: number; peerId: number; queuePair: number; sequence: number }): Uint8Array => {
  const message = new Uint8Array(232);
  message.set(u32(o.id), 0);
  message.set(u32(o.peerId), 4);
  message.set(u24(o.queuePair), 12);
  message.set(u24(o.sequence), 20);
  message.set(concat(u32(1), u32(0)), 36);
  return mad(0x0013, message);
};

// QEMU control messages

export const control = (type: number, body: Payload = [], repeat = 1): Uint8Array => {
  const content = bytes(body);
  return concat(u32(content.length), u32(type), u32(repeat), u32(0), content);
};
export const ready = (): Uint8Array => control(2);
export const qemuFile = (content: Payload): Uint8Array => control(3, content);
export const ramBlocksRequest = (): Uint8Array => control(4);
export const ramBlocksResult = (blocks: readonly { host: number; ram: number; length: number }[]): Uint8Array =>
  control(
    5,
    concat(...blocks.map(({ host, ram, length }) => concat(u64(host), u64(ram), u64(length), u32(0), u32(0)))),
  );
export const compress = (block: number, ram: number, length: number): Uint8Array =>
  control(6, concat(u32(0), u32(block), u64(ram), u64(length)));
export const registerRequest = (): Uint8Array => control(7, new Uint8Array(24));
export const registerResult = (): Uint8Array => control(8, new Uint8Array(16));
export const registerFinished = (): Uint8Array => control(9);
