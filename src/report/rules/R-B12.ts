import type { UdpFlow } from '../../decode/udp/results.js';
import { bitRate, duration, percent, plural } from '../format.js';
import type { ReportData } from '../report.js';
import { defineRule } from './rule.js';
import type { Transfer } from './transfer.js';

export default defineRule({
  id: 'R-B12',
  title: 'Loss on a reliable transport over UDP',
  layer: 'L0',
  needs: ['flows'],
  restsOn: ['loss'],
  explains: ['R-E1', 'R-E2', 'R-E7', 'R-F1', 'R-H7'],
  thresholds: {
    minRepeatedShare: { value: 0.001, unit: 'share of packets', meaning: 'sent again before loss is worth a word' },
  },
  about: {
    meaning:
      'The migration runs over UDT, SRT or RDMA instead of TCP, and packets of it are lost and sent again. These transports answer loss in their own way: some keep their rate and fill the line with repetitions.',
    evidence:
      'Packets whose number was on the wire before, or that say so themselves, and the receiver’s loss reports.',
    confusedWith:
      'Frames the recorder lost: what the receiver acknowledged without ever asking for it again counts as unseen, not as lost.',
    advice: [
      'Hold the sender below what the path carries (max-bandwidth of the migration, or the transport’s own limit): a sender that overruns a queue loses what it repeats as well.',
      'Compare with TCP on the same path (migscope compare): another transport is only worth it where the path loses packets without a full queue.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) =>
      flowsOf(report, transfer).flatMap((flow) => {
        const way = flow.directions[0].payloadBytes >= flow.directions[1].payloadBytes ? 0 : 1;
        const { frames, retransmittedPackets, lostPackets } = flow.directions[way];
        if (retransmittedPackets === null || frames === 0 || retransmittedPackets / frames < limits.minRepeatedShare)
          return [];
        const share = Math.min(1, retransmittedPackets / frames);
        const fact = (name: string): number | null => {
          const value = flow.facts[name];
          return typeof value === 'number' ? value : null;
        };
        const [rttMinNs, capacityBps] = [fact('rttMinNs'), fact('capacityBps')];
        return [
          {
            confidence: 0.8,
            interval: [[flow.startNs, flow.endNs] as const],
            metrics: {
              transport: flow.transport,
              packets: frames,
              retransmittedPackets,
              lostPackets,
              repeatedShare: share,
              rttMinNs,
              capacityBps,
            },
            text:
              `${plural(retransmittedPackets, 'packet')} of ${flow.transport} had to be sent again, ${percent(share)} of all it sent` +
              (lostPackets === null
                ? '. '
                : `; ${plural(lostPackets, 'packet was', 'packets were')} lost at least once. `) +
              (rttMinNs === null ? '' : `Each repair costs a round trip, ${duration(rttMinNs)} at best. `) +
              (capacityBps === null ? '' : `The receiver takes the path to carry ${bitRate(capacityBps / 8)}.`),
            cost: { of: 'migration-time' as const, ns: share * transfer.durationNs },
            transfer,
          },
        ];
      }),
    ),
});

/** The flows that carry the streams of a transfer. */
function flowsOf(report: ReportData, { migration }: Transfer): UdpFlow[] {
  return report.flows.filter((flow) => flow.streams.some((direction) => migration?.udpStreams.includes(direction)));
}
