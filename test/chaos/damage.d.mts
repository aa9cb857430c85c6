import type { Sample } from '../fuzz/cases.mjs';

type Frames = Sample['frames'];
type Harm = (frames: Frames) => Frames;

export const dropped: (share: number, seed?: number) => Harm;
export const droppedBlock: (count: number) => Harm;
export const doubled: Harm;
export const swapped: (every: number) => Harm;
export const snapped: (length: number) => Harm;
export const clockStep: (seconds: number) => Harm;
export const jittered: Harm;
export const flipped: (every: number, seed?: number) => Harm;
export function writePcap(
  capture: { readonly linkType: number; readonly frames: Frames },
  form?: { readonly big?: boolean; readonly nano?: boolean },
): Buffer;
