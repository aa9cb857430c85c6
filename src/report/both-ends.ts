// Both ends of one run: what the pairing of two captures adds to the report of the source's.
import type { Pairing } from '../decode/tcp/pairing.js';
import { spread } from './build.js';
import { bytes, duration, percent, plural } from './format.js';
import type { ReportData } from './report.js';

/** Adds the pairing to a report, under the names of the two captures. */
export function addBothEnds(
  report: ReportData,
  { connections, clock, losses }: Pairing,
  names: { readonly source: string; readonly destination: string },
): void {
  report.bothEnds = { ...names, clock, connections };
  report.tables['losses'] = spread(losses);
}

/** Sentences for the summary and the page; none when only one end was captured. */
export function bothEndsText({ bothEnds }: ReportData): string[] {
  if (!bothEnds) return [];
  const directions = bothEnds.connections.flatMap((connection) => connection.directions);
  if (directions.length === 0) return ['The two captures share no connection: are they of the same run?'];
  const sum = (value: (direction: (typeof directions)[number]) => number): number =>
    directions.reduce((total, direction) => total + value(direction), 0);
  const sent = sum((direction) => direction.sentBytes);
  const lost = sum((direction) => direction.lostBytes);
  const sentences = [
    `Of ${bytes(sent)} sent over ${plural(bothEnds.connections.length, 'connection')}, ${bytes(lost)} (${percent(sent > 0 ? lost / sent : 0)}) were lost between the hosts and ${bytes(sum((direction) => direction.arrivedBytes))} arrived.`,
  ];
  const uncaptured = sum((direction) => direction.uncapturedBytes);
  if (uncaptured > 0) sentences.push(`${bytes(uncaptured)} arrived without being captured there.`);
  const { clock } = bothEnds;
  if (clock) {
    const drift = clock.driftPpm === null ? '' : `, drifting ${clock.driftPpm.toFixed(1)} ppm`;
    sentences.push(
      `The destination's clock is ${duration(Math.abs(clock.offsetNs))} ${clock.offsetNs < 0 ? 'behind' : 'ahead'}${drift} (certain to ${duration(clock.roundTripMinNs / 2)}).`,
    );
  }
  const busiest = directions.toSorted((a, b) => b.sentBytes - a.sentBytes)[0]!;
  if (busiest.delayVariationNs) {
    const { p50, p95, max } = busiest.delayVariationNs;
    sentences.push(
      `One-way delay above its minimum: median ${duration(p50)}, 95 % below ${duration(p95)}, at most ${duration(max)}.`,
    );
  }
  return sentences;
}
