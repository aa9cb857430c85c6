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
  const still = new Map<number, ClockLeap[]>();
  for (let row = 0; row < rows; row++) {
    const [startNs, endNs, measuredNs] = [value('startNs', row), value('endNs', row), value('clockNs', row)];
    const clockNs = Number.isNaN(measuredNs) ? value('clockTicks', row) * LONGEST_TICK_NS : measuredNs;
    // Unknown clocks compare as false.
    if (endNs - startNs < LEAP_NS || !(clockNs < STILL_SHARE * (endNs - startNs))) continue;
    const direction = value('direction', row);
    const ofDirection = still.get(direction) ?? [];
    ofDirection.push({ startNs, endNs, frame: value('frameAfter', row) });
    still.set(direction, ofDirection);
  }
  const seen: ClockLeap[] = [];
  for (const [direction, stills] of still) {
    const others = direction & 1 ? [] : (still.get(direction + 1) ?? []);
    for (const one of stills) {
      const other = others.find(({ startNs, endNs }) => startNs < one.endNs && one.startNs < endNs);
      if (!other) continue;
      seen.push({
        startNs: Math.max(one.startNs, other.startNs),
        endNs: Math.min(one.endNs, other.endNs),
        frame: Math.min(one.frame, other.frame),
      });
    }
  }
  // Every connection of the capture shows a leap.
  const leaps: ClockLeap[] = [];
  for (const leap of seen.sort((a, b) => a.startNs - b.startNs)) {
    const latest = leaps.at(-1);
    if (!latest || leap.startNs >= latest.endNs) leaps.push(leap);
  }
  return leaps;
}
