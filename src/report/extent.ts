// Whether a transfer lies wholly in the capture: totals of one that does not are lower bounds.
import type { Connection, Migration, ReportData } from './report.js';
import { carriersOf } from './traffic.js';

/** Open before the recording began: neither SYN nor SYN-ACK was captured. */
export const isLate = ({ options, handshakeRttNs }: Connection): boolean =>
  options.mss.every((mss) => mss === null) &&
  options.windowScale.every((scale) => scale === null) &&
  handshakeRttNs === null;

/** Whether a migration was under way when the capture began; told by its first round and by the connection it opened first. */
export function isJoinedMidway(report: ReportData, migration: Migration): boolean {
  if (migration.rounds[0]?.boundary === 'joined-midway') return true;
  const first = carriersOf(report, migration)
    .map(({ connection }) => connection)
    .reduce<Connection | null>((best, one) => (best === null || one.startNs < best.startNs ? one : best), null);
  return first !== null && isLate(first);
}

/** Whether all its connections were closed within the capture, however it ended. */
export function isClosed(report: ReportData, migration: Migration): boolean {
  const carriers = carriersOf(report, migration);
  return carriers.length > 0 && carriers.every(({ connection: { endedBy } }) => endedBy === 'fin' || endedBy === 'rst');
}

/** Below it a boundary between rounds was told by sizes and times, and several rounds may pass for one. */
const SURE_BOUNDARY = 0.8;

/** Whether the number of rounds is no more than an estimate. */
export const hasUnsureRounds = ({ rounds }: Migration): boolean =>
  rounds.some(({ boundary, confidence }) => boundary !== 'joined-midway' && confidence < SURE_BOUNDARY);

/** Whether pages were reckoned from bytes, for lack of readable page records. */
export const hasReckonedPages = ({ stream }: Migration): boolean => stream.features.includes('rounds-inferred');
