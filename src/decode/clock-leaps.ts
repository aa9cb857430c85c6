// Leaps of the capture's clock: it was set ahead while frames were taken.
//
// A leap looks like a silence of everybody. TCP timestamps tell the two apart: in a true silence the senders' clocks go on
// (RFC 7323 §5.4), and it takes the clocks of both ends to stand still, for a host may have been suspended.
import type { ColumnData } from '../columns.js';

/** A stretch of time that did not pass. */
export interface ClockLeap {
  readonly startNs: number;
  readonly endNs: number;
  /** The first frame behind it. */
  readonly frame: number;
}

/** Less is a pause of a slow machine. */
const LEAP_NS = 1e9;
/** A sender's clock that went ahead by less than this share of a silence stood still. */
const STILL_SHARE = 0.5;
/** The longest that a tick may last (RFC 7323 §5.4), for clocks that could not be measured. */
const LONGEST_TICK_NS = 1e9;

/** Leaps that the silences show, oldest first; see Silences.finish(). */
export function clockLeaps({ rows, columns }: ColumnData): ClockLeap[] {
  const value = (name: string, row: number): number => Number(columns[name]!.values[row]);
  const leaps: (ClockLeap & { readonly direction: number })[] = [];
  const found: ClockLeap[] = [];
  for (let row = 0; row < rows; row++) {
    const [startNs, endNs, measuredNs] = [value('startNs', row), value('endNs', row), value('clockNs', row)];
    const clockNs = Number.isNaN(measuredNs) ? value('clockTicks', row) * LONGEST_TICK_NS : measuredNs;
    // Unknown clocks compare as false.
    if (endNs - startNs < LEAP_NS || !(clockNs < STILL_SHARE * (endNs - startNs))) continue;
    leaps.push({ startNs, endNs, frame: value('frameAfter', row), direction: value('direction', row) });
  }
  for (const leap of leaps) {
    const other = leaps.find(
      ({ direction, startNs, endNs }) =>
        direction === (leap.direction ^ 1) && startNs < leap.endNs && leap.startNs < endNs,
    );
    if (!other) continue;
    const startNs = Math.max(leap.startNs, other.startNs);
    const endNs = Math.min(leap.endNs, other.endNs);
    // Every connection of the capture shows it, and each of them twice.
    if (found.some((known) => known.startNs < endNs && startNs < known.endNs)) continue;
    found.push({ startNs, endNs, frame: Math.min(leap.frame, other.frame) });
  }
  return found.sort((a, b) => a.startNs - b.startNs);
}
