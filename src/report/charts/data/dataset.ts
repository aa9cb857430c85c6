// What a chart draws: columns of numbers and words in chart units (seconds, bits per second, bytes).
import type { JsonTable } from '../../report.js';

export type Value = number | string | null;
export type Dataset = Readonly<Record<string, readonly Value[]>>;

/** ns → s. */
export const seconds = (ns: number): number => rounded(ns / 1e9, 9);

/** Six digits, or as many as asked for: more cannot be seen, and the page carries them all. */
export function rounded(value: number, significant = 6): number {
  return value === 0 || !Number.isFinite(value) ? 0 : Number(value.toPrecision(significant));
}

export const column = (table: JsonTable, name: string): readonly Value[] => table.columns[name]?.values ?? [];
