import type { Trouble } from './trouble.mjs';

export function migration(trouble: Trouble): {
  readonly mode: string;
  readonly channels: readonly { readonly forward: Buffer; readonly backward: Buffer }[];
};
