import type { AnomalyLog } from '../../src/anomaly.js';

export interface Case {
  /** The mode of the built migration, or the recording that was cut. */
  readonly kind: string;
  readonly bytes: Buffer;
}

export interface Sample {
  readonly path: string;
  readonly linkType: number;
  readonly frames: readonly { readonly ns: bigint; readonly bytes: Buffer; readonly wire: number }[];
}

/** Functions under test, see program.mjs. */
export type Program = { readonly AnomalyLog: typeof AnomalyLog } & Readonly<Record<string, unknown>>;

export function makeCase(seed: number, samples: readonly Sample[], kept?: readonly Buffer[]): Case;
export function runCase(
  bytes: Buffer,
  program: Program,
  options?: { readonly page: boolean },
): Promise<'refused' | 'analysed'>;
