import type { Trouble } from './trouble.mjs';

export interface FuzzFrame {
  readonly ns: bigint;
  readonly bytes: Buffer;
  readonly wire: number;
}
export const TUNNELS: Record<string, (trouble: Trouble, packet: Buffer) => Buffer>;
export const TRANSPORTS: Record<string, unknown>;
export function datagrams(
  trouble: Trouble,
  channels: readonly { readonly forward: Buffer; readonly backward: Buffer }[],
  transport?: string,
  tunnels?: readonly string[],
): FuzzFrame[];
