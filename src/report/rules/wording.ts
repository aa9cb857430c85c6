// Numbers as an operator reads them: three significant digits, a unit with every figure, decimal links, binary memory.

const scaled = (value: number, step: number, units: readonly string[]): string => {
  let at = 0;
  let scaledValue = value;
  while (Math.abs(scaledValue) >= step && at < units.length - 1) {
    scaledValue /= step;
    at++;
  }
  return `${digits(scaledValue)} ${units[at]}`;
};

/** Three significant digits without an exponent: 0.123, 1.23, 12.3, 123, 1234. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return 'unknown';
  const size = Math.abs(value);
  if (size === 0 || size >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

/** Link rates are decimal: 123 Mbit/s. @param rate bytes per second */
export const rateText = (rate: number): string =>
  scaled(rate * 8, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']);

/** Hypervisor limits and memory are binary: 123 MiB. */
export const bytesText = (bytes: number): string => scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);

/** @param ns a duration */
export function durationText(ns: number): string {
  if (ns >= 120e9) return `${digits(ns / 60e9)} min`;
  if (ns >= 1e9) return `${digits(ns / 1e9)} s`;
  if (ns >= 1e6) return `${digits(ns / 1e6)} ms`;
  return `${digits(ns / 1e3)} µs`;
}

/** @param tNs a moment, since the capture's first frame */
export const momentText = (tNs: number): string => `${(tNs / 1e9).toFixed(3)} s`;

/** @param share 0 … 1 */
export const shareText = (share: number): string => `${digits(share * 100)} %`;

/** '1 segment', '2 segments'. */
export const countText = (count: number, noun: string): string =>
  `${Math.round(count)} ${noun}${Math.round(count) === 1 ? '' : 's'}`;

/** A name from the wire, short enough for a sentence; renderers escape it. */
export const nameText = (name: string): string => `“${name.length > 60 ? `${name.slice(0, 59)}…` : name}”`;
