import type { Sample } from './cases.mjs';

export function readPcap(file: Buffer): Omit<Sample, 'path'>;
export function loadSamples(paths: readonly string[]): Sample[];
