import { percent, plural } from '../format.js';
import { lossesOf } from './loss.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B4',
  title: 'Reordered or delayed packets',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['loss'],
  explains: [],
  thresholds: {
    minShare: { value: 0.005, unit: 'share of segments', meaning: 'segments that arrived late' },
    minSpurious: { value: 10, unit: 'retransmissions', meaning: 'needless retransmissions that count as evidence' },
    minSpuriousShare: { value: 0.5, unit: 'share of retransmissions', meaning: 'needless among all' },
  },
  about: {
    meaning:
      'Packets overtake each other on the way, or wait so long that the sender gives them up. It repeats and slows down for nothing.',
    evidence:
      'Originals that arrive after later ones without having been repeated, or retransmissions that proved needless (DSACK, time stamps).',
    confusedWith: 'Loss (R-B1): there the late segment is a copy sent again a round trip later.',
    advice: [
      'Keep a flow on one path: LAG and ECMP hash per flow (layer3+4), not per packet; switch off balance-rr bonding.',
      'Linux adapts (RACK) up to about a round trip of reordering.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const late = transfer.sum(({ forward }) => forward.outOfOrderSegments);
      const segments = transfer.sum(({ forward }) => forward.wireSegments ?? forward.dataFrames);
      const spurious = transfer.sum(({ forward }) => forward.retransmissions.spurious);
      const again = transfer.sum(({ forward }) => forward.retransmittedSegments);
      // Neither a report nor a timer made it repeat them.
      const unwaited =
        transfer.sum(({ forward }) => forward.retransmissions.timeout) === 0 &&
        transfer.sum(({ forward }) => forward.retransmissions.other) > again / 2;
      const seen = segments > 0 && late >= limits.minShare * segments;
      const needless = spurious >= limits.minSpurious && spurious >= limits.minSpuriousShare * again;
      if (!seen && !needless) return [];
      const events = transfer.events('reordered', 'late-original', 'retransmission-spurious');
      // Overtaken packets make the sender slow down; what it only repeated costs no more than the repetition.
      const recovery = transfer.limitedBy()?.recovery ?? 0;
      const { repeatedShare } = lossesOf(transfer);
      return [
        {
          confidence: seen ? 0.9 : 0.75,
          packets: events.map((event) => event.frame),
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: {
            lateSegments: late,
            lateShare: segments > 0 ? late / segments : null,
            spurious,
            retransmittedSegments: again,
          },
          text:
            (seen ? `${plural(late, 'segment')} (${percent(late / segments)}) were overtaken on the way. ` : '') +
            (spurious > 0
              ? `${spurious} of ${plural(again, 'retransmission')} proved needless. `
              : 'None of it led to a needless retransmission. ') +
            (seen
              ? 'Nothing was lost; packets take different paths.'
              : unwaited
                ? 'The originals arrived after all, and the sender had not waited for them: as after a router announced a smaller path MTU.'
                : 'The originals arrived after all, only later than the sender waited: a long queue, or reordering.'),
          advice: seen
            ? [
                'Make bonds and ECMP hash per flow (layer3+4) instead of per packet, on both hosts and the switches between.',
              ]
            : unwaited
              ? ['Look for a change of the path’s MTU at that time; see R-B5b.']
              : ['Look at the queue on the source first: tc -s qdisc show dev IFACE.'],
          cost: {
            of: 'migration-time',
            ns: (seen ? recovery : repeatedShare) * transfer.durationNs * (spurious / Math.max(1, again)),
          },
          transfer,
        },
      ];
    }),
});
