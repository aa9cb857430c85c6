// Iterable sections other than RAM whose bodies delimit themselves. All other device state is opaque.
//
// Each reader stands behind the section header and returns true with the cursor behind the body's last byte, or false
// when the place is lost. Contents are skipped. Sources: the QEMU files named at each reader.
import { type ByteCursor, type Reading, want } from '../decode/tcp/byte-cursor.js';
import type { SectionKind } from './records.js';
import {
  BLK_MIG_BLOCK_SIZE,
  BLK_MIG_FLAG_DEVICE_BLOCK,
  BLK_MIG_FLAG_EOS,
  BLK_MIG_FLAG_PROGRESS,
  BLK_MIG_FLAG_ZERO_BLOCK,
  DIRTY_BITMAP_MIG_EXTRA_FLAGS,
  DIRTY_BITMAP_MIG_FLAG_BITMAP_NAME,
  DIRTY_BITMAP_MIG_FLAG_BITS,
  DIRTY_BITMAP_MIG_FLAG_DEVICE_NAME,
  DIRTY_BITMAP_MIG_FLAG_EOS,
  DIRTY_BITMAP_MIG_FLAG_START,
  DIRTY_BITMAP_MIG_FLAG_ZEROES,
  VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY,
  VFIO_MIG_FLAG_DEV_DATA_STATE,
  VFIO_MIG_FLAG_DEV_INIT_DATA_SENT,
  VFIO_MIG_FLAG_DEV_SETUP_STATE,
  VFIO_MIG_FLAG_END_OF_STATE,
  VFIO_TAG_HIGH,
} from './wire.js';

/** Reads the body of one section; see the top of this file. */
export type BodyReader = (stream: ByteCursor, kind: SectionKind) => Reading<boolean>;

/** The reader for a section's body, or null where the body is opaque. */
export function bodyReader(name: string, kind: SectionKind): BodyReader | null {
  if (kind === 'full') return null;
  if (name.endsWith('/vfio')) return vfio;
  return READERS.get(name) ?? null;
}

/** What the migration's features call the iterable section `name`: a device's is its bus address and a kind, e.g. '0000:00:04.0/vfio'. */
export const featureOf = (name: string): string => name.split('/').at(-1)!;

/** Features whose contents take so much of a stream that its length says nothing of the pages in it. */
export const BULKY_FEATURES = ['block', 'vfio'] as const;

/** migration/block.c, block_load(); up to 9.0. */
function* block(stream: ByteCursor): Reading<boolean> {
  for (;;) {
    if (!(yield* want(stream, 8))) return false;
    stream.skip(6);
    const flags = stream.u16() & 0x1ff;
    if (flags & BLK_MIG_FLAG_DEVICE_BLOCK) {
      if (!(yield* want(stream, 1))) return false;
      stream.skip(stream.u8());
      // Always a whole chunk, also at the tail of the device.
      if (!(flags & BLK_MIG_FLAG_ZERO_BLOCK)) stream.skip(BLK_MIG_BLOCK_SIZE);
    } else if (!(flags & (BLK_MIG_FLAG_EOS | BLK_MIG_FLAG_PROGRESS))) {
      return false;
    }
    if (flags & BLK_MIG_FLAG_EOS) return true;
  }
}

/** migration/block-dirty-bitmap.c, dirty_bitmap_load(). */
function* dirtyBitmap(stream: ByteCursor): Reading<boolean> {
  for (;;) {
    if (!(yield* want(stream, 1))) return false;
    const flags = stream.u8();
    if (flags & DIRTY_BITMAP_MIG_EXTRA_FLAGS) return false; // reserved for longer flags, never sent
    for (const name of [DIRTY_BITMAP_MIG_FLAG_DEVICE_NAME, DIRTY_BITMAP_MIG_FLAG_BITMAP_NAME]) {
      if (!(flags & name)) continue;
      if (!(yield* want(stream, 1))) return false;
      stream.skip(stream.u8());
    }
    if (flags & DIRTY_BITMAP_MIG_FLAG_START) {
      stream.skip(5); // granularity is 32 bits wide, whatever the comment in QEMU says; one byte of flags
    } else if (flags & DIRTY_BITMAP_MIG_FLAG_BITS) {
      stream.skip(12);
      if (!(flags & DIRTY_BITMAP_MIG_FLAG_ZEROES)) {
        if (!(yield* want(stream, 8))) return false;
        stream.skip(stream.u64());
      }
    }
    if (flags & DIRTY_BITMAP_MIG_FLAG_EOS) return true;
  }
}

/** hw/ppc/spapr.c, htab_save_chunk(), htab_load(). */
function* htab(stream: ByteCursor, kind: SectionKind): Reading<boolean> {
  if (!(yield* want(stream, 4))) return false;
  const header = stream.u32();
  if (header === 0xffffffff || kind === 'start') return true;
  for (;;) {
    if (!(yield* want(stream, 8))) return false;
    const index = stream.u32();
    const valid = stream.u16();
    const invalid = stream.u16();
    if (index === 0 && valid === 0 && invalid === 0) return true;
    stream.skip(16 * valid);
  }
}

/** hw/s390x/s390-stattrib.c, cmma_load(). */
function* storageAttributes(stream: ByteCursor): Reading<boolean> {
  for (;;) {
    if (!(yield* want(stream, 8))) return false;
    stream.skip(6);
    const flag = stream.u16() & 0xfff;
    if (flag === 0x01 || flag === 0x04) return true;
    if (flag === 0x02) {
      if (!(yield* want(stream, 8))) return false;
      stream.skip(stream.u64());
    } else if (flag !== 0x08) {
      return false;
    }
  }
}

/** hw/vfio/migration.c, vfio_load_state(). */
function* vfio(stream: ByteCursor): Reading<boolean> {
  for (;;) {
    if (!(yield* want(stream, 8))) return false;
    if (stream.u32() !== VFIO_TAG_HIGH) return false;
    switch (stream.u32()) {
      case VFIO_MIG_FLAG_END_OF_STATE:
      case VFIO_MIG_FLAG_DEV_INIT_DATA_SENT:
      case VFIO_MIG_FLAG_DEV_CONFIG_LOAD_READY:
        return true;
      case VFIO_MIG_FLAG_DEV_SETUP_STATE:
        break;
      case VFIO_MIG_FLAG_DEV_DATA_STATE:
        if (!(yield* want(stream, 8))) return false;
        stream.skip(stream.u64());
        break;
      default:
        return false; // configuration state (5.2) is opaque
    }
  }
}

const READERS: ReadonlyMap<string, BodyReader> = new Map([
  ['block', block],
  ['dirty-bitmap', dirtyBitmap],
  ['spapr/htab', htab],
  ['s390-storage_attributes', storageAttributes],
]);
