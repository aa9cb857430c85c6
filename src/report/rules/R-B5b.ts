import { plural } from '../format.js';
import { defineRule } from './rule.js';
import { tooBigAbout } from './signals.js';

export default defineRule({
  id: 'R-B5b',
  title: 'MTU differs along the path',
  layer: 'L0',
  needs: ['connections', 'signals'],
  restsOn: [],
  explains: [],
  thresholds: {
    minMssDifference: { value: 100, unit: 'bytes', meaning: 'between the MSS of both SYNs' },
  },
  about: {
    meaning:
      'The hosts, or a hop between them, disagree on the packet size. The migration works, with smaller packets than one side could use and some lost at the beginning.',
    evidence: 'ICMP “fragmentation needed” or “packet too big” about this path, or different MSS in the two SYNs.',
    confusedWith: 'A black hole (R-B5), where nobody reports and nothing large passes.',
    advice: ['Align the MTU end to end; overlays cost 50 B (VXLAN), 58 B (Geneve), 60–80 B (WireGuard).'],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { connection } = transfer.mainFlow;
      const tooBig = [
        ...tooBigAbout(report, connection.server.address),
        ...tooBigAbout(report, connection.client.address),
      ];
      const [client, server] = connection.options.mss;
      const differ = client !== null && server !== null && Math.abs(client - server) >= limits.minMssDifference;
      if (tooBig.length === 0 && !differ) return [];
      const mtu = tooBig.find((signal) => signal.mtu !== null)?.mtu ?? null;
      return [
        {
          severity: 'info',
          confidence: 0.9,
          packets: [connection.firstFrame, ...tooBig.map((signal) => signal.frame)],
          metrics: { mssClient: client, mssServer: server, icmpMessages: tooBig.length, pathMtu: mtu },
          text:
            (differ ? `The source offers segments of ${client} B, the destination of ${server} B. ` : '') +
            (tooBig.length > 0
              ? `${plural(tooBig.length, 'ICMP message')} told a sender that its packets were too big${mtu === null ? '' : ` (path MTU ${mtu} B)`}. `
              : '') +
            'The smaller size is used.',
          advice: ['Set the same MTU on both hosts and everything between, leaving room for overlay headers.'],
          transfer,
        },
      ];
    }),
});
