// The wire part of the downtime, split: final memory, device state, hand-over.
import { percent } from '../format.js';
import { isBound, isFirm, pauseBounds, pauseTotal } from '../pause.js';
import type { Migration, Severity } from '../report.js';
import { MAJOR_DOWNTIME_FACTOR } from './severity.js';
import type { Transfer } from './transfer.js';

type Phase = Migration['phases'][number];

export interface DowntimeSplit {
  readonly startNs: number;
  readonly endNs: number;
  readonly totalNs: number;
  /** The same in words, as sure as it is. */
  readonly total: string;
  /** " (77 %)": how much of it a part is; empty where only a bound of it is known. */
  share(partNs: number): string;
  /** It cannot have been longer, as far as the capture tells. */
  readonly mostNs: number;
  /** Memory: what had been written before the stop, the last pass, and what was under way or queued after the end of the stream. */
  readonly ramNs: number;
  /** Of that: written before the guest stopped, but still in the source's send buffers. */
  readonly bufferedNs: number;
  /** Of that: after the last data had left the source they stood in a queue of the path; 0 where that cannot be seen. */
  readonly queuedNs: number;
  readonly ramBytes: number;
  readonly deviceNs: number;
  readonly deviceBytes: number;
  /** Silence from the last data to the destination's last word, less what that data stood in a queue. */
  readonly handoverNs: number;
}

/** Null when the switchover is not in the capture. */
export function downtimeOf(transfer: Transfer): DowntimeSplit | null {
  const { migration } = transfer;
  const downtime = migration?.downtime;
  if (!migration || !downtime || downtime.estimateNs <= 0) return null;
  const startNs = downtime.endNs - downtime.estimateNs;
  // Phases may reach beyond it: the last ends when the connections are closed.
  const nsWithin = (phase: Phase): number =>
    Math.max(0, Math.min(phase.endNs, downtime.endNs) - Math.max(phase.startNs, startNs));
  const phases = (kind: Phase['kind']): Phase[] => migration.phases.filter((phase) => phase.kind === kind);
  const sum = (some: readonly Phase[], of: (phase: Phase) => number): number =>
    some.reduce((total, phase) => total + of(phase), 0);
  const [passes, devices] = [phases('stop-and-copy'), phases('device-state')];
  const [finalPass] = passes;
  const [handover] = phases('handover');
  const handoverNs = handover ? nsWithin(handover) : 0;
  // Data still under way after the end mark (other channels, retransmissions) keeps the destination waiting for memory.
  const lastDataNs = handover ? lastDataBefore(transfer, downtime.endNs) : 0;
  const drainingNs = handover ? Math.min(handoverNs, Math.max(0, lastDataNs - handover.startNs)) : 0;
  const silentNs = handoverNs - drainingNs;
  const queuedNs = Math.min(silentNs, queueNs(transfer, downtime.endNs - handoverNs, downtime.endNs));
  const bufferedNs = finalPass ? dataNs(transfer, startNs, finalPass.startNs) : 0;
  return {
    startNs,
    endNs: downtime.endNs,
    totalNs: downtime.estimateNs,
    total: pauseTotal(downtime),
    share: (partNs) => (isBound(downtime) ? '' : ` (${percent(partNs / downtime.estimateNs)})`),
    mostNs: isFirm(downtime) ? downtime.estimateNs : pauseBounds(downtime)[1],
    ramNs: Math.min(downtime.estimateNs, bufferedNs + sum(passes, nsWithin) + drainingNs + queuedNs),
    bufferedNs,
    queuedNs,
    ramBytes: sum(passes, (phase) => phase.bytes),
    deviceNs: sum(devices, nsWithin),
    deviceBytes: sum(devices, (phase) => phase.bytes),
    handoverNs: silentNs - queuedNs,
  };
}

/** End of the last bin with payload that begins before `ns`; 0 without a timeline. */
function lastDataBefore({ busy }: Transfer, ns: number): number {
  let endNs = 0;
  for (let row = 0; row < busy.rows && busy.startNs[row]! < ns; row++) {
    endNs = Math.max(endNs, busy.startNs[row]! + busy.durationNs[row]!);
  }
  return endNs;
}

/**
 * By how much acknowledgements in `[fromNs, toNs)` came later than over the empty path: what the source sent last stood in a
 * queue for as long. Only a capture at the source sees that after the data; elsewhere it is 0.
 */
function queueNs(transfer: Transfer, fromNs: number, toNs: number): number {
  const emptyNs = transfer.minRttNs;
  if (emptyNs === null) return 0;
  const roundTrips = transfer.flows
    .filter(({ connection, side }) => connection.vantage === (side === 0 ? 'source' : 'destination'))
    .flatMap((flow) => transfer.bins(flow))
    .filter((bin) => bin.startNs < toNs && bin.startNs + bin.durationNs > fromNs)
    .map((bin) => bin.rttMaxNs ?? 0);
  return Math.max(0, ...roundTrips.map((roundTripNs) => roundTripNs - emptyNs));
}

/** How much of `[fromNs, toNs)` is in bins with payload on any flow; 0 without a timeline. */
function dataNs({ busy }: Transfer, fromNs: number, toNs: number): number {
  let coveredNs = 0;
  let untilNs = fromNs;
  for (let row = 0; row < busy.rows && busy.startNs[row]! < toNs; row++) {
    const endNs = Math.min(toNs, busy.startNs[row]! + busy.durationNs[row]!);
    coveredNs += Math.max(0, endNs - Math.max(untilNs, busy.startNs[row]!));
    untilNs = Math.max(untilNs, endNs);
  }
  return coveredNs;
}

/** A cause of downtime matters as much as the whole downtime does, not as its own share. */
export const downtimeSeverity = ({ totalNs }: DowntimeSplit, limitNs: number): Severity =>
  totalNs >= MAJOR_DOWNTIME_FACTOR * limitNs ? 'major' : totalNs > limitNs ? 'minor' : 'info';
