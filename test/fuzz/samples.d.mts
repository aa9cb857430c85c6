import type { Sample } from './cases.mjs';
import type { Trouble } from './trouble.mjs';

export function readPcap(file: Buffer): Omit<Sample, 'path'>;
export function loadSamples(paths: readonly string[]): Sample[];
export const MARKS: readonly (readonly [pattern: Buffer, offset: number, size: number])[];
export function strike(trouble: Trouble, bytes: Buffer, at: number, size: number): boolean;
export function markedFrame(frames: Sample['frames'], pattern: Buffer, from: number): number;
