// QEMU's RDMA migration protocol: control messages in SENDs, pages in RDMA WRITEs.
//
// The source sends pieces of the ordinary migration stream (QEMU_FILE), registrations and zero chunks; the destination
// answers with its RAM blocks and keys. A write is attributed by its virtual address: the blocks are in the
// destination's answer. Where messages do not have QEMU's form the connection is something else and is left.
//
// Source: QEMU docs/rdma.txt; migration/rdma.c, RDMAControlHeader, RDMADestBlock, compress_to_network().

import type { StreamFeed } from '../stream-feed.js';
import type { Facts, Flow } from './flow.js';
import type { RdmaConsumer } from './rdma.js';
import type { StreamSource } from './streams.js';

const RDMA_CONTROL_QEMU_FILE = 3;
const RDMA_CONTROL_RAM_BLOCKS_RESULT = 5;
const RDMA_CONTROL_COMPRESS = 6;
const RDMA_CONTROL_REGISTER_REQUEST = 7;
const RDMA_CONTROL_REGISTER_RESULT = 8;
const RDMA_CONTROL_REGISTER_FINISHED = 9;
const RDMA_CONTROL_UNREGISTER_FINISHED = 11;

/** Length, type, repeat count, padding (u32 each). */
const CONTROL_HEADER_BYTES = 16;
/** RDMA_CONTROL_MAX_BUFFER. */
const CONTROL_MAX_BYTES = 512 << 10;
/** RDMA_CONTROL_MAX_COMMANDS_PER_MESSAGE. */
const CONTROL_MAX_REPEAT = 4096;
const DEST_BLOCK_BYTES = 32;
const COMPRESS_BYTES = 24;
/** Blocks kept. Beyond: writes there count as unattributed. */
const BLOCKS = 1024;
const STREAM_MAGIC = 0x5145564d; // 'QEVM'

interface Block {
  readonly hostAddress: number;
  /** Where the block begins in the destination's RAM address space. */
  readonly ramAddress: number;
  readonly lengthBytes: number;
}

/** One connection that may be a migration. */
export class QemuRdma {
  readonly #flow: Flow;
  readonly #streams: StreamSource;
  readonly #consumer: RdmaConsumer | null;
  /** Id of its pair of byte streams. */
  readonly #pair: number;
  readonly #feeds: [StreamFeed | null, StreamFeed | null] = [null, null];
  #blocks: Block[] = [];
  /** Side that sends the stream; 0 until known. */
  #source: 0 | 1 = 0;
  #messages = 0;
  #foreign = false;
  #zeroBytes = 0;
  #unattributedWrites = 0;
  #iterations = 0;
  #registrations = 0;
  #registrationNs = 0;
  #requestNs = Number.NaN;

  constructor(flow: Flow, streams: StreamSource, pair: number) {
    this.#flow = flow;
    this.#streams = streams;
    this.#consumer = streams.rdma;
    this.#pair = pair;
  }

  /**
   * Takes one SEND message.
   *
   * @param view    of `buffer`, whose bytes `[at, at + present)` are its beginning
   * @param length  bytes of the whole message
   */
  message(
    side: 0 | 1,
    buffer: Uint8Array,
    view: DataView,
    at: number,
    present: number,
    length: number,
    tNs: number,
    frame: number,
  ): void {
    if (this.#foreign) return;
    if (present < CONTROL_HEADER_BYTES) return;
    const type = view.getUint32(at + 4);
    const repeat = view.getUint32(at + 8);
    const isControl =
      length <= CONTROL_HEADER_BYTES + CONTROL_MAX_BYTES &&
      view.getUint32(at) === length - CONTROL_HEADER_BYTES &&
      type > 0 &&
      type <= RDMA_CONTROL_UNREGISTER_FINISHED &&
      repeat <= CONTROL_MAX_REPEAT;
    if (!isControl) {
      // The very first message decides; later ones may be damaged.
      if (this.#messages === 0) this.#foreign = true;
      return;
    }
    this.#messages++;
    const body = at + CONTROL_HEADER_BYTES;
    const end = at + present;
    switch (type) {
      case RDMA_CONTROL_QEMU_FILE: {
        this.#source = side;
        const fromStart = body + 4 <= end && view.getUint32(body) === STREAM_MAGIC;
        const feed = (this.#feeds[side] ??= this.#streams.feed(this.#pair, side, fromStart));
        feed.bytes(buffer, body, end, tNs, frame);
        feed.hole(length - present, 'cut', tNs, frame);
        break;
      }
      case RDMA_CONTROL_RAM_BLOCKS_RESULT:
        this.#ramBlocks(view, body, end, side, tNs, frame);
        break;
      case RDMA_CONTROL_COMPRESS:
        for (let i = 0, item = body; i < repeat && item + COMPRESS_BYTES <= end; i++, item += COMPRESS_BYTES) {
          this.#zero(view, item, tNs, frame);
        }
        break;
      case RDMA_CONTROL_REGISTER_REQUEST:
        this.#requestNs = tNs;
        break;
      case RDMA_CONTROL_REGISTER_RESULT:
        if (tNs >= this.#requestNs) {
          this.#registrations++;
          this.#registrationNs += tNs - this.#requestNs;
        }
        this.#requestNs = Number.NaN;
        break;
      case RDMA_CONTROL_REGISTER_FINISHED:
        this.#iterations++;
        this.#consumer?.iterationEnd(this.#pair + side, tNs, frame);
        break;
    }
  }

  /** Packets are missing; the messages in them, about `bytes` long, cannot be read. */
  missing(side: 0 | 1, bytes: number, cause: 'unseen' | 'given-up', tNs: number, frame: number): void {
    this.#feeds[side]?.hole(bytes, cause, tNs, frame);
  }

  /** `side` wrote `length` bytes at the peer's virtual address. */
  written(side: 0 | 1, address: number, length: number, tNs: number, frame: number): void {
    const block = this.#blocks.findIndex(
      ({ hostAddress, lengthBytes }) => address >= hostAddress && address + length <= hostAddress + lengthBytes,
    );
    if (block < 0) {
      this.#unattributedWrites++;
      return;
    }
    this.#consumer?.written(this.#pair + side, block, address - this.#blocks[block]!.hostAddress, length, tNs, frame);
  }

  end(cause: 'fin' | 'capture-end'): void {
    for (const feed of this.#feeds) feed?.end(cause, this.#flow.tNs, this.#flow.frame);
  }

  facts(): Facts {
    if (this.#messages === 0) return { qemuMigration: false };
    return {
      qemuMigration: true,
      sourceSide: this.#source === 0 ? 'client' : 'server',
      controlMessages: this.#messages,
      ramBlocks: this.#blocks.length,
      ramBytes: this.#blocks.reduce((sum, block) => sum + block.lengthBytes, 0),
      zeroBytes: this.#zeroBytes,
      unattributedWrites: this.#unattributedWrites,
      iterations: this.#iterations,
      registrations: this.#registrations,
      registrationMeanNs: this.#registrations > 0 ? this.#registrationNs / this.#registrations : null,
    };
  }

  /** RDMADestBlock: host address, RAM address, length (u64 each), key, padding. The order is that of the stream's list. */
  #ramBlocks(view: DataView, at: number, end: number, side: 0 | 1, tNs: number, frame: number): void {
    const blocks: Block[] = [];
    for (; at + DEST_BLOCK_BYTES <= end && blocks.length < BLOCKS; at += DEST_BLOCK_BYTES) {
      blocks.push({ hostAddress: u64(view, at), ramAddress: u64(view, at + 8), lengthBytes: u64(view, at + 16) });
    }
    this.#blocks = blocks;
    this.#consumer?.blocks(this.#pair + (side === 0 ? 1 : 0), blocks, tNs, frame);
  }

  /** RDMACompress: value, block (u32 each), RAM address at the destination, length (u64 each); only zeros are sent. */
  #zero(view: DataView, at: number, tNs: number, frame: number): void {
    const index = view.getUint32(at + 4);
    const length = u64(view, at + 16);
    const block = this.#blocks[index];
    if (block === undefined) {
      this.#unattributedWrites++;
      return;
    }
    const offset = u64(view, at + 8) - block.ramAddress;
    if (offset < 0 || offset + length > block.lengthBytes) {
      this.#unattributedWrites++;
      return;
    }
    this.#zeroBytes += length;
    this.#consumer?.zero(this.#pair + this.#source, index, offset, length, tNs, frame);
  }
}

/** Addresses and sizes are exact below 2^53; nothing real is beyond. */
function u64(view: DataView, at: number): number {
  return view.getUint32(at) * 0x1_0000_0000 + view.getUint32(at + 4);
}
