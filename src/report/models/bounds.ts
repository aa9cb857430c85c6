// Bounds on migration time and downtime from memory size and bandwidth alone (Akoush et al. 2010, Xen's stop rules).
//
// Shortest: every page crosses once. Longest: fewer than 3 M sent when the last iteration starts, that one full, then a
// full stop-and-copy: 5 M − P. QEMU has no such stop rule, so for QEMU only the lower bound binds.
import { type Model, NS } from './model.js';

export interface BoundsInput {
  readonly memoryBytes: number;
  readonly pageBytes: number;
  /** Bytes per second. */
  readonly bandwidth: number;
  readonly overheadBeforeSeconds?: number;
  readonly overheadAfterSeconds?: number;
}

export interface Bounds {
  readonly migrationSeconds: readonly [lowest: number, highest: number];
  readonly downtimeSeconds: readonly [lowest: number, highest: number];
}

export function migrationBounds(input: BoundsInput): Bounds {
  const {
    memoryBytes,
    pageBytes,
    bandwidth,
    overheadBeforeSeconds: before = 0,
    overheadAfterSeconds: after = 0,
  } = input;
  return {
    migrationSeconds: [
      before + memoryBytes / bandwidth + after,
      before + (5 * memoryBytes - pageBytes) / bandwidth + after,
    ],
    downtimeSeconds: [after, after + memoryBytes / bandwidth],
  };
}

export interface BoundsResult {
  readonly shortestMigrationNs: number;
  /** With Xen's stop rules; QEMU itself has none and may exceed it. */
  readonly longestMigrationNs: number;
  readonly longestDowntimeNs: number;
  readonly measuredMigrationNs: number;
  readonly withinBounds: boolean;
}

export const bounds: Model<BoundsResult> = {
  id: 'bounds',
  title: 'Bounds from memory size and bandwidth',
  validity: 'Incompressible memory; zero pages and compression make a migration shorter than the lower bound.',
  source: 'Akoush et al. 2010',
  run({ memoryBytes, pageBytes, bandwidth, migrationSeconds }) {
    if (memoryBytes === null || bandwidth === null) return null;
    const limits = migrationBounds({ memoryBytes, pageBytes, bandwidth });
    const [shortest, longest] = limits.migrationSeconds;
    return {
      shortestMigrationNs: shortest * NS,
      longestMigrationNs: longest * NS,
      longestDowntimeNs: limits.downtimeSeconds[1] * NS,
      measuredMigrationNs: migrationSeconds * NS,
      withinBounds: migrationSeconds >= shortest && migrationSeconds <= longest,
    };
  },
};
