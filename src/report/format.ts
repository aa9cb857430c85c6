// How quantities and foreign names are written for people: terminal, page and comparison use the same words.
//
// Decimal units for data volume and rates (MB, Mbit/s), binary ones only for guest memory (MiB). Unknown is a dash.

const DASH = '–';

/** Significant digits without an exponent: 3.40, 48.0, 1,204. Trailing zeros stay, so that columns line up. */
export function digits(value: number, significant = 3): string {
  if (value === 0) return '0';
  // Rounded first: 9.996 has the magnitude of 10.0.
  const magnitude = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(significant)))));
  return grouped(value, Math.max(0, significant - 1 - magnitude));
}

/** A whole number with thousands separated: 12,745. */
export const count = (value: number | null): string => (value === null ? DASH : grouped(Math.round(value), 0));

/** Nanoseconds → "412 µs", "35.2 ms", "1.25 s", "9 min 41 s". */
export function duration(ns: number | null): string {
  if (ns === null || !Number.isFinite(ns)) return DASH;
  const size = Math.abs(ns);
  if (size === 0) return '0 s';
  if (size < 1e3) return `${digits(ns)} ns`;
  if (size < 999.5e3) return `${digits(ns / 1e3)} µs`;
  if (size < 999.5e6) return `${digits(ns / 1e6)} ms`;
  if (size < 99.95e9) return `${digits(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  const minutes = Math.trunc(seconds / 60);
  const rest = String(Math.abs(seconds % 60)).padStart(2, '0');
  if (Math.abs(minutes) < 60) return `${minutes} min ${rest} s`;
  return `${Math.trunc(minutes / 60)} h ${String(Math.abs(minutes % 60)).padStart(2, '0')} min`;
}

/** A point in time since the first frame, in seconds with as many decimals as tell frames apart: "12.306 s". */
export const moment = (ns: number | null): string => (ns === null ? DASH : `${grouped(ns / 1e9, ns < 1e9 ? 4 : 3)} s`);

/** Bytes → "36.8 MB" (decimal). */
export const bytes = (value: number | null): string =>
  value === null ? DASH : scaled(value, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);

/** Bytes → "48 MiB" (binary, for guest memory, which is mostly round). */
export const memory = (value: number | null): string =>
  value === null ? DASH : scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']).replace(/\.0+ /, ' ');

/** Bytes per second → "490 Mbit/s". */
export const bitRate = (bytesPerSecond: number | null): string =>
  bytesPerSecond === null
    ? DASH
    : scaled(bytesPerSecond * 8, 1000, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s', 'Pbit/s']);

/** Bytes per second → "61.3 MB/s". */
export const byteRate = (bytesPerSecond: number | null): string =>
  bytesPerSecond === null ? DASH : `${bytes(bytesPerSecond)}/s`;

/** 0 … 1 → "42 %". A share that is not zero never reads "0 %". */
export function percent(share: number | null): string {
  if (share === null || !Number.isFinite(share)) return DASH;
  const value = share * 100;
  if (value > 0 && value < 0.01) return '< 0.01 %';
  return `${value !== 0 && Math.abs(value) < 9.95 ? digits(value, 2) : grouped(value, 0)} %`;
}

/** "1 round", "12 rounds". */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

/** No frame is longer, offloaded ones included: whoever cut to more than this cut nothing. */
const LONGEST_FRAME_BYTES = 65_536 + 256;

/** How frames came to be shorter than they were: by the snap length, or, where that is longer than they are, later. */
export const cutBy = (snapLength: number | null): string =>
  snapLength !== null && snapLength < LONGEST_FRAME_BYTES
    ? `cut by the snap length (${plural(snapLength, 'byte')})`
    : 'cut short';

/** With a capital to begin with. */
export const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** A file and the folder it lies in, harmless: what a reader calls the file. */
export const fileName = (path: string): string =>
  path === '-'
    ? 'standard input'
    : plain(
        path
          .split(/[\\/]+/)
          .filter(Boolean)
          .slice(-2)
          .join('/') || path,
        80,
      );

/** Text in which no number is parted from its unit at the end of a line. */
export const unbroken = (text: string): string => text.replace(/(?<=\d) (?=\p{L}|%)|(?<=min) (?=\d)/gu, '\u00a0');

export const endpoint = (at: { readonly address: string; readonly port: number }): string =>
  at.address.includes(':') ? `[${plain(at.address)}]:${at.port}` : `${plain(at.address)}:${at.port}`;

// Control characters could move the cursor or hide text on a terminal; format characters (bidirectional marks, zero-width
// ones, tags) could make a name read as another (Unicode TR 36 §3.1). Shown as escapes they do neither.
const TREACHEROUS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Untrusted text made harmless: one line, nothing invisible, at most `limit` characters. */
export function plain(text: string, limit = 256): string {
  const shown = text.slice(0, limit).replace(TREACHEROUS, (mark) => `\\u{${mark.codePointAt(0)!.toString(16)}}`);
  return text.length > limit ? `${shown}…` : shown;
}

/** JSON that can be shown on a terminal: the same value, with the marks that plain() takes out written as escapes. */
export const plainJson = (value: unknown): string =>
  JSON.stringify(value).replace(TREACHEROUS, (mark) =>
    Array.from({ length: mark.length }, (_, at) => `\\u${mark.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  );

function scaled(value: number, step: number, units: readonly string[]): string {
  if (Math.abs(value) < step && Number.isInteger(value)) return `${value} ${units[0]}`;
  let unit = 0;
  let size = Math.abs(value);
  // 999.6 kB would be written "1,000 kB": such a value belongs to the next unit.
  while (size >= step * 0.9995 && unit < units.length - 1) {
    size /= step;
    unit++;
  }
  return `${digits(value < 0 ? -size : size)} ${units[unit]}`;
}

function grouped(value: number, decimals: number): string {
  const [whole = '', fraction] = value.toFixed(Math.min(decimals, 20)).split('.');
  const separated = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return fraction === undefined ? separated : `${separated}.${fraction}`;
}
