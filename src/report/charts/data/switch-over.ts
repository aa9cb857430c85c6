// What filled the time in which the guest stood still.
import { bytes, duration, plain, plural } from '../../format.js';
import type { Migration } from '../../report.js';
import { type Dataset, rounded } from './dataset.js';

const DEVICES = 18;

/** Phases and devices of the switch-over, in ms, 0 where the guest is estimated to have stopped. */
export function switchOverData(migration: Migration): Dataset | null {
  const { downtime, phases, devices } = migration;
  if (!downtime) return null;
  const to = downtime.endNs;
  const pausedNs = to - downtime.estimateNs;
  // The earliest moment the wire allows can be seconds before; a little room before the estimate is enough to see it start.
  const from = Math.min(pausedNs, Math.max(downtime.earliestStartNs, pausedNs - 0.1 * downtime.estimateNs));
  interface Bar {
    readonly label: string;
    readonly startNs: number;
    readonly endNs: number;
    readonly kind: 'downtime' | 'phase' | 'device';
    readonly bytes: number | null;
    /** Where the bar shows only the part inside the pause: how long it went on in all. */
    readonly wholeNs?: number;
  }
  const took = ({ startNs, endNs, wholeNs = 0 }: Bar): string =>
    wholeNs > 1.01 * (endNs - startNs)
      ? `${duration(endNs - startNs)} of ${duration(wholeNs)}`
      : duration(endNs - startNs);
  const inside = <T extends { startNs: number; endNs: number }>(spans: readonly T[]): (T & { wholeNs: number })[] =>
    spans
      .map((span) => ({
        ...span,
        startNs: Math.max(from, span.startNs),
        endNs: Math.min(to, span.endNs),
        wholeNs: span.endNs - span.startNs,
      }))
      .filter((span) => span.endNs >= span.startNs);
  const bars: Bar[] = [
    { label: 'guest paused', startNs: pausedNs, endNs: to, kind: 'downtime', bytes: null },
    ...inside(phases)
      .filter((phase) => phase.kind !== 'setup' && phase.kind !== 'precopy' && phase.endNs > phase.startNs)
      .map((phase): Bar => ({ ...phase, label: phase.kind, kind: 'phase' })),
  ];
  // Most devices cross in one burst: only those that took time get a bar, the others share one.
  const timed = inside(devices);
  const shown = timed
    .filter((device) => device.endNs - device.startNs >= 0.005 * (to - from))
    .sort((a, b) => b.endNs - b.startNs - (a.endNs - a.startNs))
    .slice(0, DEVICES);
  for (const device of timed) {
    if (!shown.includes(device)) continue;
    const instance = device.instance > 0 ? ` #${device.instance}` : '';
    bars.push({ ...device, label: `${plain(device.name, 28)}${instance}`, kind: 'device' });
  }
  const rest = timed.filter((device) => !shown.includes(device));
  if (rest.length > 0) {
    bars.push({
      label: plural(rest.length, shown.length > 0 ? 'other device' : 'device'),
      startNs: rest.reduce((first, device) => Math.min(first, device.startNs), to),
      endNs: rest.reduce((last, device) => Math.max(last, device.endNs), from),
      kind: 'device',
      bytes: rest.reduce((sum, device) => sum + device.bytes, 0),
    });
  }
  return {
    order: bars.map((_, i) => i),
    label: bars.map((bar) => bar.label),
    start: bars.map((bar) => rounded((bar.startNs - pausedNs) / 1e6)),
    end: bars.map((bar) => rounded((bar.endNs - pausedNs) / 1e6)),
    kind: bars.map((bar) => bar.kind),
    took: bars.map(took),
    tip: bars.map((bar) => `${bar.label}: ${took(bar)}${bar.bytes === null ? '' : `, ${bytes(bar.bytes)}`}`),
  };
}
