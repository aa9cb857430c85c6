import { duration, plain, plural } from '../format.js';
import { announceTimes } from '../models/announce-schedule.js';
import { defineRule } from './rule.js';
import { ANNOUNCEMENTS, type Signal, signalsOf } from './signals.js';

export default defineRule({
  id: 'R-F5',
  title: 'Guest announced late or incompletely',
  layer: 'L2',
  needs: ['signals', 'migrations'],
  restsOn: [],
  explains: ['R-F6', 'R-F7'],
  thresholds: {
    maxDelayNs: { value: 1e9, unit: 'ns', meaning: 'first announcement after the guest’s start' },
    rounds: { value: 5, unit: 'announcements', meaning: 'QEMU’s announce-rounds' },
    minMissing: {
      value: 2,
      unit: 'announcements',
      meaning: 'that did not appear: one may be taken for a copy of another',
    },
    watchNs: { value: 3e9, unit: 'ns', meaning: 'time after the migration in which announcements are expected' },
  },
  about: {
    meaning:
      'The network learns from broadcasts where the guest now lives. When they come late or get lost, clients go on talking to the old host.',
    evidence:
      'RARP, gratuitous ARP or unsolicited neighbour advertisements of the guest’s address: when the first came, and how many of 0, 50, 200, 450, 800 ms.',
    confusedWith:
      'A capture of the migration network only, which never shows them: without any announcement this rule stays silent.',
    advice: [
      'Check filters on RARP (EtherType 0x8035) and the SDN agent or vhost-user back end, which must announce in QEMU’s place; raise announce-rounds; repeat with QMP announce-self.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.outcome !== 'completed') return [];
      const startNs = migration.downtime?.endNs ?? migration.endNs;
      const seen = signalsOf(report, ...ANNOUNCEMENTS).filter(
        (signal) => signal.tNs >= startNs - 100e6 && signal.tNs <= startNs + limits.watchNs + limits.maxDelayNs,
      );
      const watched = report.capture.durationNs >= startNs + limits.watchNs;
      return [...byMac(seen)].flatMap(([mac, announcements]) => {
        const delayNs = announcements[0]!.tNs - startNs;
        const late = delayNs > limits.maxDelayNs;
        // RARP is QEMU's own; a guest may announce itself besides. Announcements follow each other by at least 50 ms, closer
        // copies are the same one on another link.
        const byHost = announcements.filter((signal) => signal.kind === 'rarp-announcement');
        const rounds = byHost.filter((signal, at) => at === 0 || signal.tNs - byHost[at - 1]!.tNs > 20e6).length;
        const missing = watched && rounds > 0 ? Math.max(0, limits.rounds - rounds) : 0;
        if (!late && missing < limits.minMissing) return [];
        return [
          {
            severity: late ? ('major' as const) : ('minor' as const),
            confidence: 0.7,
            packets: announcements.map((signal) => signal.frame),
            interval: [[startNs, announcements.at(-1)!.tNs] as const],
            metrics: { mac, delayNs, rounds, missing },
            text:
              (late
                ? `${plain(mac)} was announced only ${duration(delayNs)} after the guest’s start. `
                : `${plain(mac)} was announced ${duration(Math.max(0, delayNs))} after the guest’s start. `) +
              (missing > 0
                ? `${plural(missing, 'announcement')} of ${limits.rounds} (expected at ${announceTimes().join(', ')} ms) did not appear.`
                : ''),
            advice: [
              'Look for filters on RARP and at the agent that plugs the port; QMP announce-self repeats the announcement.',
            ],
            cost: late ? ({ of: 'downtime', ns: delayNs } as const) : null,
            transfer,
          },
        ];
      });
    }),
});

function byMac(signals: readonly Signal[]): Map<string, Signal[]> {
  const groups = new Map<string, Signal[]>();
  for (const signal of signals) {
    const mac = signal.mac ?? signal.about ?? '';
    groups.set(mac, [...(groups.get(mac) ?? []), signal]);
  }
  return groups;
}
