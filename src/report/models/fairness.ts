// How evenly channels share the work, and what more channels bring.
/** Jain's index: 1 when all carry the same, 1/n when one carries everything; null for nothing. */
export function jainIndex(loads: readonly number[]): number | null {
  const sum = loads.reduce((total, load) => total + load, 0);
  const squares = loads.reduce((total, load) => total + load * load, 0);
  return squares > 0 ? (sum * sum) / (loads.length * squares) : null;
}

/** E = B(n) / (n · B(1)): 1 when each channel adds a full one. */
export const scalingEfficiency = (single: number, several: number, channels: number): number =>
  several / (channels * single);
