// The wire part of the downtime, split: final memory, device state, hand-over.
import type { Migration, Severity } from '../report.js';
import { MAJOR_DOWNTIME_FACTOR } from './severity.js';
import type { Transfer } from './transfer.js';

export interface DowntimeSplit {
  readonly startNs: number;
  readonly endNs: number;
  readonly totalNs: number;
  /** Memory, and whatever of it was still under way after the end of the stream. */
  readonly ramNs: number;
  readonly ramBytes: number;
  readonly deviceNs: number;
  readonly deviceBytes: number;
  /** Silence from the end of the stream to the destination's last word; 0 when data was still under way. */
  readonly handoverNs: number;
}

/** Null when the switchover is not in the capture. */
export function downtimeOf(transfer: Transfer): DowntimeSplit | null {
  const { migration } = transfer;
  const downtime = migration?.downtime;
  if (!migration || !downtime || downtime.estimateNs <= 0) return null;
  const sum = (kind: Migration['phases'][number]['kind'], of: 'ns' | 'bytes'): number =>
    migration.phases
      .filter((phase) => phase.kind === kind)
      .reduce((total, phase) => total + (of === 'ns' ? phase.endNs - phase.startNs : phase.bytes), 0);
  const handoverNs = sum('handover', 'ns');
  // Data still under way after the end mark (other channels, retransmissions) keeps the destination waiting for memory.
  const draining = transfer.bytesWithin([downtime.endNs - handoverNs, downtime.endNs]) > 0;
  return {
    startNs: downtime.endNs - downtime.estimateNs,
    endNs: downtime.endNs,
    totalNs: downtime.estimateNs,
    ramNs: Math.min(downtime.estimateNs, sum('stop-and-copy', 'ns') + (draining ? handoverNs : 0)),
    ramBytes: sum('stop-and-copy', 'bytes'),
    deviceNs: sum('device-state', 'ns'),
    deviceBytes: sum('device-state', 'bytes'),
    handoverNs: draining ? 0 : handoverNs,
  };
}

/** A cause of downtime matters as much as the whole downtime does, not as its own share. */
export const downtimeSeverity = ({ totalNs }: DowntimeSplit, limitNs: number): Severity =>
  totalNs >= MAJOR_DOWNTIME_FACTOR * limitNs ? 'major' : totalNs > limitNs ? 'minor' : 'info';
