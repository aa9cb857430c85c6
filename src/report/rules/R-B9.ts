import { bytes, duration, moment, plural } from '../format.js';
import { ofFlow } from './path.js';
import { defineRule, type Observation } from './rule.js';
import { type Signal, signalsOf } from './signals.js';
import type { Bin, Transfer } from './transfer.js';

export default defineRule({
  id: 'R-B9',
  title: 'Path changed during the migration',
  layer: 'L0',
  needs: ['signals', 'timeline'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    maxChanges: { value: 8, unit: 'changes', meaning: 'of the hop limit; more are several paths used in turn (R-B4)' },
    minHeldNs: { value: 100e6, unit: 'ns', meaning: 'before and after a change' },
    minStepNs: { value: 1e6, unit: 'ns', meaning: 'by which the round trip must step' },
    minStep: { value: 0.3, unit: 'share', meaning: 'of the round trip before' },
    maxFlightChange: { value: 0.3, unit: 'share', meaning: 'more in flight means a longer queue, not a longer path' },
    minSideNs: { value: 500e6, unit: 'ns', meaning: 'of samples on each side of a step' },
    minSideBins: { value: 5, unit: 'bins', meaning: 'of the timeline with samples on each side; fewer are chance' },
  },
  about: {
    meaning:
      'Packets took another way from some moment on: a routing change, a bond that failed over, a tunnel that moved. The new path may be longer or narrower than the one the migration was planned for.',
    evidence:
      'The hop limit of one direction changes and stays; or the lowest round trip steps from one level to another while the bytes in flight stay the same.',
    confusedWith:
      'A queue that fills (R-B7): the round trip grows with the bytes in flight. Packets sprayed over several paths (R-B4): the hop limit alternates.',
    advice: [
      'Compare with the log of routers, bonds (journalctl -k | grep bond) and routing daemons at that moment; was it meant?',
    ],
  },
  run: ({ report, transfers }, limits) => {
    const changes = signalsOf(report, 'hop-limit-change');
    return transfers.flatMap((transfer): readonly Observation[] => {
      const seen = lasting(transfer, changes, limits);
      const step = stepOf(transfer, limits);
      if (seen.length === 0 && !step) return [];
      const atNs = seen[0]?.tNs ?? step!.atNs;
      const stepText = step
        ? `the round trip went from ${duration(step.beforeNs)} to ${duration(step.afterNs)} at ${moment(step.atNs)} with as much in flight as before (${bytes(step.flightBytes)})`
        : '';
      return [
        {
          severity: 'info',
          confidence: seen.length > 0 ? 0.85 : 0.6,
          packets: seen.map((change) => change.frame),
          interval: step ? [[step.fromNs, step.toNs]] : [[atNs, atNs]],
          metrics: {
            hopLimitChanges: seen.length,
            hopLimitBefore: seen[0]?.type ?? null,
            hopLimitAfter: seen[0]?.code ?? null,
            rttBeforeNs: step?.beforeNs ?? null,
            rttAfterNs: step?.afterNs ?? null,
            atNs,
          },
          text:
            seen.length > 0
              ? `From ${moment(atNs)} on packets from ${seen[0]!.from} arrived over another route: their hop limit went from ${seen[0]!.type} to ${seen[0]!.code}${seen.length > 1 ? ` (${plural(seen.length, 'change')} in all)` : ''}${step ? `, and ${stepText}` : ''}.`
              : `The path changed: ${stepText}.`,
          advice: [
            `Ask what happened at ${moment(atNs)} into the capture: routing daemon, bond or switch fail-over, tunnel endpoint.`,
          ],
          alternatives:
            seen.length > 0
              ? ['A firewall that answers for one of the hosts uses a hop limit of its own.']
              : ['Somebody may have changed a delay or a shaper on the same path.'],
          transfer,
        },
      ];
    });
  },
});

/** Changes of the hop limit that are few and hold: flows in which it alternates use several paths. */
function lasting(
  transfer: Transfer,
  changes: readonly Signal[],
  limits: { readonly maxChanges: number; readonly minHeldNs: number },
): Signal[] {
  return transfer.flows
    .flatMap((flow) => [
      changes.filter((change) => ofFlow(change, flow)),
      changes.filter((change) => ofFlow(change, flow, true)),
    ])
    .filter((own) => own.length <= limits.maxChanges)
    .flatMap((own) =>
      own.filter((change, at) => {
        const before = own[at - 1]?.tNs ?? transfer.startNs;
        const after = own[at + 1]?.tNs ?? transfer.endNs;
        return change.tNs - before >= limits.minHeldNs && after - change.tNs >= limits.minHeldNs;
      }),
    )
    .sort((a, b) => a.tNs - b.tNs);
}

interface Step {
  readonly fromNs: number;
  readonly atNs: number;
  readonly toNs: number;
  readonly beforeNs: number;
  readonly afterNs: number;
  readonly flightBytes: number;
}

interface StepLimits {
  readonly minStepNs: number;
  readonly minStep: number;
  readonly maxFlightChange: number;
  readonly minSideNs: number;
  readonly minSideBins: number;
}

/** The clearest moment at which the round trip of the main flow changes level; null when there is none. */
function stepOf(transfer: Transfer, limits: StepLimits): Step | null {
  // Post-copy and the switchover send in another way, which has round trips of its own.
  const [fromNs, toNs] = transfer.precopy;
  const bins = transfer
    .bins(transfer.mainFlow)
    .filter((bin): bin is Bin & { rttMinNs: number; inFlightMaxBytes: number } => {
      const inside = bin.startNs >= fromNs && bin.startNs + bin.durationNs <= toNs;
      return inside && bin.rttMinNs !== null && bin.inFlightMaxBytes !== null;
    });
  const highest = runningMax(bins.map((bin) => bin.rttMinNs));
  const lowest = runningMin(bins.map((bin) => bin.rttMinNs));
  const highestAfter = runningMax(bins.map((bin) => bin.rttMinNs).reverse()).reverse();
  const lowestAfter = runningMin(bins.map((bin) => bin.rttMinNs).reverse()).reverse();
  let best: Step | null = null;
  for (let at = limits.minSideBins; at <= bins.length - limits.minSideBins; at++) {
    const spansNs = [bins[at]!.startNs - bins[0]!.startNs, bins.at(-1)!.startNs - bins[at]!.startNs];
    if (Math.min(...spansNs) < limits.minSideNs) continue;
    const [before, after] = [lowest[at - 1]!, lowestAfter[at]!];
    const step = Math.abs(after - before);
    // The nearer edges of the two levels, so that a slope is no step: half of it must be jumped at once.
    const jump = after > before ? after - highest[at - 1]! : before - highestAfter[at]!;
    if (step < limits.minStepNs || step < limits.minStep * before || jump < step / 2) continue;
    const flights = [bins.slice(0, at), bins.slice(at)].map((side) => typicalFlight(side));
    if (Math.abs(flights[1]! / flights[0]! - 1) > limits.maxFlightChange) continue;
    if (best && Math.abs(best.afterNs - best.beforeNs) >= step) continue;
    best = {
      fromNs: bins[at - 1]!.startNs,
      atNs: bins[at]!.startNs,
      toNs: bins[at]!.startNs + bins[at]!.durationNs,
      beforeNs: before,
      afterNs: after,
      flightBytes: flights[1]!,
    };
  }
  return best;
}

function typicalFlight(bins: readonly { readonly inFlightMaxBytes: number }[]): number {
  const sorted = bins.map((bin) => bin.inFlightMaxBytes).sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

const running = (values: readonly number[], pick: (a: number, b: number) => number): number[] => {
  let last = values[0]!;
  return values.map((value) => (last = pick(last, value)));
};
const runningMax = (values: readonly number[]): number[] => running(values, Math.max);
const runningMin = (values: readonly number[]): number[] => running(values, Math.min);
