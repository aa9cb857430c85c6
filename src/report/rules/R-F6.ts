import { duration, plain, plural } from '../format.js';
import { defineRule } from './rule.js';
import { ANNOUNCEMENTS, type Signal, signalsOf } from './signals.js';

export default defineRule({
  id: 'R-F6',
  title: 'Network converges late',
  layer: 'L2',
  needs: ['signals', 'migrations'],
  restsOn: [],
  explains: ['R-F7'],
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
      const asked = signalsOf(report, 'arp-request', 'neighbour-solicitation');
      const answered = signalsOf(report, 'arp-reply', 'neighbour-advertisement');
      // RARP names a hardware address only: which addresses go with it, others learned when they asked.
      const known = [...asked, ...answered].filter(({ mac }) => mac !== null);
      const addressesOf = ({ about, mac }: Signal): string[] =>
        about === null ? known.flatMap((signal) => (signal.mac === mac ? (ownAddress(signal) ?? []) : [])) : [about];
      const firstNsOf = new Map<string, number>();
      for (const signal of announced) {
        for (const address of addressesOf(signal)) {
          if (!firstNsOf.has(address)) firstNsOf.set(address, signal.tNs);
        }
      }
      return [...firstNsOf].flatMap(([address, firstNs]) => {
        const asking = asked.filter((signal) => signal.about === address && signal.tNs > firstNs);
        // Only what follows a question is an answer: guests announce themselves by replies that nobody asked for, too.
        const answerNs =
          answered.find((signal) => signal.about === address && signal.tNs >= (asking[0]?.tNs ?? firstNs))?.tNs ??
          Number.POSITIVE_INFINITY;
        const searching = asking.filter((signal) => signal.tNs <= answerNs);
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

/** The address of the host whose hardware address a frame of address resolution carries: the one it says or asks with. */
const ownAddress = ({ kind, about, from }: Signal): string | null =>
  kind === 'arp-reply' || kind === 'neighbour-advertisement' ? about : from;
