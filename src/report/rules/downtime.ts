// The wire part of the downtime, split: final memory, device state, hand-over.
import type { Migration } from '../report.js';

export interface DowntimeSplit {
  readonly startNs: number;
  readonly endNs: number;
  readonly totalNs: number;
  readonly ramNs: number;
  readonly ramBytes: number;
  readonly deviceNs: number;
  readonly deviceBytes: number;
  /** From the end of the stream to the destination's last word. */
  readonly handoverNs: number;
}

/** Null when the switchover is not in the capture. */
export function downtimeOf(migration: Migration): DowntimeSplit | null {
  const { downtime } = migration;
  if (!downtime || downtime.estimateNs <= 0) return null;
  const sum = (kind: Migration['phases'][number]['kind'], of: 'ns' | 'bytes'): number =>
    migration.phases
      .filter((phase) => phase.kind === kind)
      .reduce((total, phase) => total + (of === 'ns' ? phase.endNs - phase.startNs : phase.bytes), 0);
  return {
    startNs: downtime.endNs - downtime.estimateNs,
    endNs: downtime.endNs,
    totalNs: downtime.estimateNs,
    ramNs: sum('stop-and-copy', 'ns'),
    ramBytes: sum('stop-and-copy', 'bytes'),
    deviceNs: sum('device-state', 'ns'),
    deviceBytes: sum('device-state', 'bytes'),
    handoverNs: sum('handover', 'ns'),
  };
}
