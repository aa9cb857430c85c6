// Streams that stay closed but say what they are: SSH by its greeting, compressed ones by their magic.
//
// A migration may travel inside (Proxmox: sockets forwarded over SSH; `exec:gzip -c | nc HOST PORT`). Nothing is read of
// it, except that the first bytes of gzip are unpacked, which proves a migration or leaves it open.
// Source: RFC 4253 §4.2 (SSH); RFC 1952 §2.3 (gzip), RFC 8878 §3.1.1 (zstd), the formats of LZ4 frames, xz and bzip2.
import { constants, gunzipSync } from 'node:zlib';
import { NAME_CHARACTERS } from '../limits.js';
import type { OpaqueStream } from './results.js';

const SSH_GREETING = 'SSH-';
const MAGICS: readonly (readonly [OpaqueStream['kind'], readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b, 8]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ['bzip2', [0x42, 0x5a, 0x68]],
];
/** Enough for gzip to tell its first code and some contents; unpacked they are 512 KiB at most. */
const GZIP_PROBE_BYTES = 512;
const MIGRATION_MAGIC = 'QEVM';

/** What a connection's first bytes, `buffer[start, end)`, announce; null when that is none of these. */
export function opaqueStream(buffer: Uint8Array, start: number, end: number): Omit<OpaqueStream, 'connection'> | null {
  const first = buffer.subarray(start, Math.min(end, start + GZIP_PROBE_BYTES));
  const greeting = String.fromCharCode(...first.subarray(0, NAME_CHARACTERS));
  if (greeting.startsWith(SSH_GREETING))
    return { kind: 'ssh', banner: greeting.split(/[\r\n]/, 1)[0]!.replace(/\p{Cc}/gu, '\ufffd'), holds: null };
  for (const [kind, magic] of MAGICS) {
    if (magic.every((byte, i) => first[i] === byte))
      return { kind, banner: null, holds: kind === 'gzip' && beginsMigration(first) ? 'migration' : null };
  }
  return null;
}

function beginsMigration(first: Uint8Array): boolean {
  try {
    // Z_SYNC_FLUSH: whatever the beginning yields, without an error because the rest is not there.
    const contents = gunzipSync(first, { finishFlush: constants.Z_SYNC_FLUSH });
    return contents.subarray(0, MIGRATION_MAGIC.length).toString('latin1') === MIGRATION_MAGIC;
  } catch {
    return false; // not what its magic says: then it is not a migration either
  }
}
