import { plain, plural } from '../format.js';
import { defineRule } from './rule.js';
import { signalsOf } from './signals.js';

export default defineRule({
  id: 'R-H4',
  title: 'Destination name does not resolve',
  layer: 'L0',
  needs: ['signals'],
  restsOn: [],
  explains: [],
  thresholds: {
    maxNames: { value: 3, unit: 'names', meaning: 'reported one by one' },
  },
  about: {
    meaning: 'The source asked for the destination’s address and got none, so no connection was even tried.',
    evidence: 'Failed or unanswered DNS queries, and no migration and no connection attempt in the capture.',
    confusedWith: 'Failed look-ups that have nothing to do with the migration.',
    advice: [
      'Give the address explicitly: virsh migrate --migrateuri tcp://ADDRESS, Nova live_migration_inbound_addr; or put the name into /etc/hosts on both hosts.',
    ],
  },
  run: ({ report, transfers }, limits) => {
    if (transfers.length > 0 || report.migrations.length > 0) return [];
    const failures = signalsOf(report, 'dns-failure', 'dns-unanswered').filter((signal) => signal.name !== null);
    const names = [...new Set(failures.map((signal) => signal.name!))].slice(0, limits.maxNames);
    return names.map((name) => {
      const about = failures.filter((signal) => signal.name === name);
      return {
        severity: 'major' as const,
        confidence: 0.4,
        packets: about.map((signal) => signal.frame),
        interval: [[about[0]!.tNs, about.at(-1)!.tNs] as const],
        metrics: {
          name,
          queries: about.length,
          unanswered: about.filter((signal) => signal.kind === 'dns-unanswered').length,
        },
        text: `The name “${plain(name, 100)}” did not resolve (${plural(about.length, 'query', 'queries')}), and no connection was tried afterwards.`,
        advice: [
          'If that is the destination: use its address (virsh migrate --migrateuri tcp://ADDRESS) or repair the name server entry.',
        ],
        alternatives: ['The look-up may be unrelated: the migration may not be in this capture at all.'],
      };
    });
  },
});
