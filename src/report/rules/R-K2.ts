import { plural } from '../format.js';
import { defineRule } from './rule.js';
import { signalsOf } from './signals.js';

/** Where hosts begin to count down: Linux and BSD, Windows, network devices. */
const INITIAL_HOP_LIMITS = [64, 128, 255];

export default defineRule({
  id: 'R-K2',
  title: 'Clear-text migration across routers',
  layer: 'L0',
  needs: ['migrations', 'signals'],
  restsOn: [],
  explains: ['R-K1'],
  thresholds: {
    minHops: { value: 2, unit: 'routers', meaning: 'between the capture and the host that answered' },
  },
  about: {
    meaning:
      'Guest memory crosses several routers unencrypted: more people and devices than those of one migration network can read it.',
    evidence:
      'A migration stream in clear text, and an answer from the destination whose hop limit is below the value hosts start with by more than one.',
    confusedWith:
      'A single router between two migration networks, as in any routed data centre: it stays below the threshold.',
    advice: ['Encrypt (virsh migrate --tls, IPsec, WireGuard), or give migration a network that is not routed.'],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.encryption !== 'none' || migration.stream.decodedBytes === 0) return [];
      if (transfer.flows.some((flow) => flow.connection.encapsulation.length > 0)) return [];
      const answer = signalsOf(report, 'tcp-answer').find(
        ({ from, about, sourcePort }) =>
          from === migration.destination && about === migration.source && sourcePort === migration.port,
      );
      const hopLimit = answer?.type ?? null;
      if (!answer || hopLimit === null) return [];
      const hops = INITIAL_HOP_LIMITS.find((initial) => initial >= hopLimit)! - hopLimit;
      if (hops < limits.minHops) return [];
      return [
        {
          severity: 'minor',
          confidence: 0.8,
          packets: [answer.frame],
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { hops, hopLimit },
          text: `Guest memory crosses at least ${plural(hops, 'router')} in clear text: the destination’s answer arrived with a hop limit of ${hopLimit}.`,
          advice: ['Encrypt the migration (virsh migrate --tls) or keep it on a network of its own.'],
          alternatives: ['A tunnel that is not visible at this point of capture may encrypt it further on.'],
          transfer,
        },
      ];
    }),
});
