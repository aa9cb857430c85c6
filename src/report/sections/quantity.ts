// Values under programmers' names, written for people: the unit is read off the end of the name.
import { bitRate, bytes, count, digits, duration, percent } from '../format.js';

/** 'bandwidthFor.downtimeLimitNs' → 'bandwidth for downtime limit'. */
export const words = (name: string): string =>
  name
    .replace(/(Ns|Bytes|BytesPerSecond|Seconds|Percent)$/, '')
    .replace(/\./g, ' ')
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase();

/** A number written by what its name says it is. */
export function quantity(name: string, value: number | string | null): string {
  if (value === null) return '–';
  if (typeof value === 'string') return value;
  const leaf = name.split('.').at(-1)!;
  if (/Ns$/.test(leaf)) return duration(value);
  if (/Seconds$/.test(leaf)) return duration(value * 1e9);
  if (/PerSecond$/i.test(leaf) && !/Bytes/.test(leaf)) return `${digits(value)} per second`;
  if (/bandwidth|goodput|throughput|BytesPerSecond|rate$/i.test(leaf)) return bitRate(value);
  if (/Bytes$|^bytes/i.test(leaf)) return bytes(value);
  if (/Percent$/.test(leaf)) return `${digits(value)} %`;
  if (/share|ratio$/i.test(leaf) && Math.abs(value) <= 1) return percent(value);
  return Number.isInteger(value) ? count(value) : digits(value);
}
