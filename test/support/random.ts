// A seeded random source: the same seed gives the same numbers everywhere.

export interface Random {
  readonly seed: number;
  /** Uniform in [0, 1). */
  next(): number;
  /** Whole number in [0, below). */
  below(below: number): number;
  bytes(length: number): Uint8Array;
  pick<T>(items: readonly T[]): T;
}

/** mulberry32: 32 bits of state, good enough to choose test inputs. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    seed,
    next,
    below,
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
    pick: (items) => items[below(items.length)]!,
  };
}

/** A copy of `original` with a few bits flipped, bytes set, or runs removed, doubled or cut off. */
export function mutated(original: Uint8Array, source: Random): Uint8Array {
  let bytes = original.slice();
  for (let edits = 1 + source.below(4); edits > 0 && bytes.length > 0; edits--) {
    const at = source.below(bytes.length);
    const length = source.below(bytes.length - at) % 16;
    switch (source.below(6)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << source.below(8));
        break;
      case 1:
        bytes[at] = source.pick([0, 1, 0x7f, 0x80, 0xff, source.below(256)]);
        break;
      case 2:
        bytes.set(source.bytes(length), at);
        break;
      case 3:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
        break;
      case 4:
        bytes = Uint8Array.from([...bytes.subarray(0, at + length), ...bytes.subarray(at)]);
        break;
      default:
        bytes = bytes.slice(0, at + 1);
    }
  }
  return bytes;
}
