// The progress bar: bytes, rate, time left. Drawn on a terminal only, at most ten times a second, and wiped at the end.
import type { CliIo } from './io.js';
import { columnsOf } from './io.js';

const INTERVAL_MS = 100;
const BAR_CELLS = 24;

/** Draws how far reading has come; `update` may be called as often as one likes. */
export class ProgressBar {
  readonly #stream: CliIo['stderr'];
  readonly #enabled: boolean;
  readonly #startMs = Date.now();
  #lastMs = 0;
  #drawn = false;

  constructor(io: CliIo, quiet: boolean) {
    this.#stream = io.stderr;
    this.#enabled = !quiet && io.stderr.isTTY === true;
  }

  /** @param totalBytes  null when unknown: then no bar and no time left, only what was read and how fast. */
  update(doneBytes: number, totalBytes: number | null): void {
    if (!this.#enabled) return;
    const nowMs = Date.now();
    if (nowMs - this.#lastMs < INTERVAL_MS) return;
    this.#lastMs = nowMs;
    const seconds = (nowMs - this.#startMs) / 1000;
    const rate = seconds > 0 ? doneBytes / seconds : 0;
    let line = `reading ${formatBytes(doneBytes)}`;
    if (totalBytes !== null && totalBytes > 0) {
      const share = Math.min(1, doneBytes / totalBytes);
      const cells = Math.round(share * BAR_CELLS);
      const bar = '█'.repeat(cells) + '░'.repeat(BAR_CELLS - cells);
      const leftS = rate > 0 ? (totalBytes - doneBytes) / rate : Number.NaN;
      line = `reading ${bar} ${Math.floor(share * 100)} %  ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
      if (Number.isFinite(leftS)) line += `  ${Math.ceil(leftS)} s left`;
    }
    line += `  ${formatBytes(rate)}/s`;
    this.#stream.write(`\r\x1b[K${line.slice(0, columnsOf(this.#stream) - 1)}`);
    this.#drawn = true;
  }

  /** Leaves the line empty, as if nothing had been drawn. */
  end(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[K');
    this.#drawn = false;
  }
}

function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
