import { count, duration, plural } from '../format.js';
import { type Silence, silencesOf } from './beside.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-L1',
  title: 'Cluster heartbeats suffer',
  layer: 'L0',
  needs: ['silences', 'migrations'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minIntervals: { value: 3, unit: 'intervals', meaning: 'without a heartbeat' },
    minOutside: { value: 10, unit: 'intervals', meaning: 'that were seen before the migration began' },
    elsewhere: {
      value: 0.5,
      unit: 'share of the worst',
      meaning: 'from which on pauses outside of the migration are as bad',
    },
    tokenNs: { value: 1e9, unit: 'ns', meaning: 'corosync’s default token timeout: nodes are declared dead' },
  },
  about: {
    meaning:
      'While memory moved, heartbeats of a cluster (corosync, BFD, VRRP) on the same network were late or lost. A little more of it and nodes are declared dead, fenced, or routes move.',
    evidence:
      'Heartbeats that came regularly before pause for several intervals during the migration, and not outside of it.',
    confusedWith: 'Heartbeats that are irregular anyway: then the pauses outside of the migration are as long.',
    advice: [
      'Give heartbeats a network or a priority of their own, cap the migration (max-bandwidth at about 80 % of the link), and raise the token timeout if it cannot be separated.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration) return [];
      const beats = silencesOf(report).filter(({ kind }) => kind === 'heartbeat');
      const length = ({ startNs, endNs }: Silence): number => endNs - startNs;
      const inside = ({ startNs, endNs }: Silence): boolean => startNs < migration.endNs && endNs > migration.startNs;
      const squeezed = beats.filter(
        (beat) =>
          inside(beat) &&
          length(beat) >= limits.minIntervals * beat.intervalNs &&
          migration.startNs - beat.sinceNs >= limits.minOutside * beat.intervalNs &&
          !beats.some(
            (other) =>
              other.from === beat.from &&
              other.to === beat.to &&
              !inside(other) &&
              length(other) > limits.elsewhere * length(beat),
          ),
      );
      if (squeezed.length === 0) return [];
      const worst = squeezed.reduce((a, b) => (length(b) > length(a) ? b : a));
      const missed = squeezed.reduce((sum, beat) => sum + Math.round(length(beat) / beat.intervalNs) - 1, 0);
      return [
        {
          severity: length(worst) >= limits.tokenNs ? 'major' : 'minor',
          confidence: 0.75,
          packets: squeezed.flatMap(({ frameBefore, frameAfter }) => [frameBefore, frameAfter]),
          interval: squeezed.map(({ startNs, endNs }) => [startNs, endNs] as const),
          metrics: {
            from: worst.from,
            to: worst.to,
            worstNs: length(worst),
            intervalNs: worst.intervalNs,
            pauses: squeezed.length,
            missed,
          },
          text: `During the migration heartbeats from ${worst.from} to ${worst.to}, sent every ${duration(worst.intervalNs)}, paused for up to ${duration(length(worst))}; ${plural(squeezed.length, 'pause')}, about ${count(missed)} heartbeats late or lost. Before it they were regular.`,
          advice: [
            'Separate heartbeats from migration (network, VLAN priority), or set max-bandwidth well below the link; corosync: raise token until that is done.',
          ],
          transfer,
        },
      ];
    }),
});
