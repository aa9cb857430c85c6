// WIDE_ZERO: a zero for what will not stay small.
/**
 * Where a time, an offset or a sum of bytes begins that will pass 2³¹. V8 keeps a field that has only held small whole numbers as
 * one, and when it outgrows that throws away whatever was compiled to use it, in the middle of a large capture (docs/performance.md).
 * A zero with a sign is no such number. It equals 0; results are `0 + sum`, which has none.
 */
export const WIDE_ZERO = -0;
