import { duration, plain, plural } from '../format.js';
import { defineRule } from './rule.js';
import { ANNOUNCEMENTS, signalsOf } from './signals.js';

export default defineRule({
  id: 'R-F6',
  title: 'Network converges late',
  layer: 'L2',
  needs: ['signals', 'migrations'],
  restsOn: [],
  explains: [],
  thresholds: {
    minNs: { value: 1e9, unit: 'ns', meaning: 'time after the announcement in which the guest is still searched for' },
    minRequests: { value: 3, unit: 'requests', meaning: 'unanswered before they count' },
  },
  about: {
    meaning:
      'The guest runs and was announced, but others still ask for it or reach its old place: switches, EVPN routes or a gateway’s neighbour table have not followed.',
    evidence: 'ARP or neighbour requests for the announced address that go on for more than a second after it.',
    confusedWith: 'A missing announcement (R-F5).',
    advice: [
      'EVPN: check MAC/IP route mobility (20–30 s cases are known). A gateway that keeps a stale neighbour heals after about 60 s: flush it. Check port security and OpenFlow updates.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.outcome !== 'completed') return [];
      const startNs = migration.downtime?.endNs ?? migration.endNs;
      const announced = signalsOf(report, ...ANNOUNCEMENTS).filter((signal) => signal.tNs >= startNs - 100e6);
      const addresses = new Set(announced.map((signal) => signal.about).filter((address) => address !== null));
      const asked = signalsOf(report, 'arp-request', 'neighbour-solicitation');
      const answered = signalsOf(report, 'arp-reply', 'neighbour-advertisement');
      return [...addresses].flatMap((address) => {
        const firstNs = announced.find((signal) => signal.about === address)!.tNs;
        const answerNs =
          answered.find((signal) => signal.about === address && signal.tNs >= firstNs)?.tNs ?? Number.POSITIVE_INFINITY;
        const searching = asked.filter(
          (signal) => signal.about === address && signal.tNs > firstNs && signal.tNs <= answerNs,
        );
        const last = searching.at(-1);
        if (!last || searching.length < limits.minRequests || last.tNs - firstNs < limits.minNs) return [];
        return [
          {
            confidence: 0.6,
            packets: searching.map((signal) => signal.frame),
            interval: [[firstNs, last.tNs] as const],
            metrics: { address, requests: searching.length, lateNs: last.tNs - firstNs },
            text: `${plain(address)} was announced, but for another ${duration(last.tNs - firstNs)} others kept asking for it (${plural(searching.length, 'request')} without an answer).`,
            advice: [
              'Look at the fabric: EVPN MAC/IP routes, gateway neighbour tables (ip neigh flush to ADDRESS), port security, the SDN controller’s update.',
            ],
            cost: { of: 'downtime', ns: last.tNs - firstNs } as const,
            transfer,
          },
        ];
      });
    }),
});
