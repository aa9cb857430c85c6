import { expect, test } from 'vitest';
import type { StreamConsumer } from '../../src/decode/stream.js';
import { isLibvirtMessage, LibvirtTunnel } from '../../src/migration-stream/libvirt-tunnel.js';
import { ascii, be32, bytes, type Piece, smallMigration } from '../support/migration-stream.js';

const CALL = 0;
const STREAM = 3;
const OK = 0;
const CONTINUE = 2;
const message = (type: number, status: number, ...body: Piece[]): Uint8Array => {
  const contents = bytes(...body);
  return bytes(
    be32(28 + contents.length),
    be32(0x20008086),
    be32(1),
    be32(148),
    be32(type),
    be32(9),
    be32(status),
    contents,
  );
};
const keepAlive = bytes(be32(28), be32(0x6b656570), be32(1), be32(1), be32(2), be32(0), be32(0));

const inner = smallMigration().build();
const half = Math.floor(inner.length / 2);
const tunnelled = bytes(
  message(CALL, OK, ascii('prepare')),
  message(STREAM, CONTINUE, inner.subarray(0, half)),
  keepAlive,
  message(STREAM, CONTINUE, inner.subarray(half)),
  message(STREAM, OK),
);

/** What comes out of the tunnel when its bytes arrive in pieces of `size`. */
function unwrap(size: number, whole = tunnelled): { bytes: Uint8Array; holes: string[]; ended: boolean } {
  const out: number[] = [];
  const holes: string[] = [];
  let ended = false;
  const consumer: StreamConsumer = {
    bytes(buffer, start, end, offset) {
      expect(offset).toBe(out.length);
      out.push(...buffer.subarray(start, end));
      return true;
    },
    hole: (offset, length) => void holes.push(`${offset}+${length}`),
    end: () => {
      ended = true;
    },
  };
  const tunnel = new LibvirtTunnel(0, (_direction, _buffer, start, end) => (end - start < 8 ? undefined : consumer));
  for (let at = 0; at < whole.length; at += size) {
    const piece = whole.slice(at, at + size);
    tunnel.bytes(piece, 0, piece.length, at, 0, 1);
  }
  tunnel.end(whole.length, 'fin', 0, 1);
  return { bytes: Uint8Array.from(out), holes, ended };
}

test.each([1, 13, 1448, 1 << 20])('pieces of %i bytes: the stream inside comes out whole', (size) => {
  const { bytes: out, holes, ended } = unwrap(size);
  expect(out).toEqual(inner);
  expect(holes).toEqual([]);
  expect(ended).toBe(true);
});

test('only libvirt messages open a tunnel', () => {
  expect(isLibvirtMessage(tunnelled, 0)).toBe(true);
  expect(isLibvirtMessage(bytes(be32(28), be32(0x20008087), be32(1)), 0)).toBe(false);
  expect(isLibvirtMessage(bytes(be32(0xffffffff), be32(0x20008086), be32(1)), 0)).toBe(false);
});

test('from bytes on that are no message, the rest cannot be read, and the stream inside learns how much that is', () => {
  const noise = new Uint8Array(500).fill(0x55);
  const { bytes: out, holes, ended } = unwrap(100, bytes(message(STREAM, CONTINUE, inner.subarray(0, half)), noise));
  expect(out).toEqual(inner.subarray(0, half));
  expect(holes.reduce((sum, hole) => sum + Number(hole.split('+')[1]), 0)).toBe(noise.length - 28);
  expect(ended).toBe(true);
});
