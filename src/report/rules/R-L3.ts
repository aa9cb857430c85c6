import type { UdpFlow } from '../../decode/udp/results.js';
import { bitRate, endpoint, percent } from '../format.js';
import type { ReportData } from '../report.js';
import { defineRule } from './rule.js';
import type { Interval } from './transfer.js';

/** Inside these the migration itself may travel, seen once more outside its tunnel. */
const MAY_CARRY_IT: ReadonlySet<string> = new Set(['wireguard', 'esp', 'dtls', 'openvpn']);

export default defineRule({
  id: 'R-L3',
  title: 'Other traffic over UDP shares the link',
  layer: 'L0',
  needs: ['flows', 'udpTimeline', 'migrations'],
  restsOn: ['rates'],
  explains: [],
  thresholds: {
    minShare: { value: 0.1, unit: 'share', meaning: 'of the migration’s own rate that the flow had meanwhile' },
    minBytes: { value: 1_000_000, unit: 'bytes', meaning: 'that it moved during the migration' },
  },
  about: {
    meaning:
      'While memory moved, another flow without TCP used the same wire. UDP does not always give way, so what it took the migration could not have.',
    evidence: 'Wire bytes of the flow between the start and the end of the migration.',
    confusedWith:
      'A flow on another link that the capture sees as well. WireGuard, ESP, DTLS and OpenVPN are left out: the migration may travel inside them.',
    advice: ['Give the migration a network of its own, or shape the other flow while memory moves.'],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || transfer.durationNs === 0) return [];
      const own = (transfer.bytes / transfer.durationNs) * 1e9;
      const streams = new Set(migration.udpStreams);
      return report.flows
        .filter(
          (flow) => !MAY_CARRY_IT.has(flow.transport) && !flow.streams.some((direction) => streams.has(direction)),
        )
        .flatMap((flow) => {
          const during: Interval = [Math.max(flow.startNs, transfer.startNs), Math.min(flow.endNs, transfer.endNs)];
          if (during[1] <= during[0]) return [];
          const bytes = bytesWithin(report, flow, during);
          const rate = (bytes / transfer.durationNs) * 1e9;
          if (bytes < limits.minBytes || rate < limits.minShare * own) return [];
          return [
            {
              confidence: 0.6,
              packets: [flow.firstFrame],
              interval: [during],
              metrics: { transport: flow.transport, bytes, rate, migrationRate: own, share: rate / own },
              text: `While memory moved, ${flow.transport} from ${endpoint(flow.client)} to ${endpoint(flow.server)} had ${bitRate(rate)} on average, ${percent(rate / own)} of what the migration got.`,
              alternatives: ['It may cross another link than the migration does.'],
              transfer,
            },
          ];
        });
    }),
});

/** Wire bytes both ways in bins that begin within `during`; without bins as many as the flow’s average has in that time. */
function bytesWithin(report: ReportData, flow: UdpFlow, [from, to]: Interval): number {
  const table = report.tables['udpTimeline'];
  const column = (name: string) => table?.columns[name]?.values ?? [];
  const [owner, startNs] = [column('flow'), column('startNs')];
  const [sent, received] = [column('clientWireBytes'), column('serverWireBytes')];
  let bytes = 0;
  let bins = 0;
  for (let row = 0; row < (table?.rows ?? 0); row++) {
    if (owner[row] !== flow.id) continue;
    bins++;
    const start = Number(startNs[row]);
    if (start >= from && start < to) bytes += Number(sent[row] ?? 0) + Number(received[row] ?? 0);
  }
  if (bins > 0) return bytes;
  const total = flow.directions[0].wireBytes + flow.directions[1].wireBytes;
  return flow.endNs > flow.startNs ? (total * (to - from)) / (flow.endNs - flow.startNs) : total;
}
