import { duration, plain } from '../format.js';
import { guestsOf } from './beside.js';
import { downtimeOf } from './downtime.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-F7',
  title: 'Guest out of reach longer than it stood still',
  layer: 'L2',
  needs: ['silences', 'signals', 'migrations'],
  restsOn: ['stream'],
  explains: [],
  thresholds: {
    minExtraNs: { value: 500e6, unit: 'ns', meaning: 'nothing heard of the guest, beyond the time it stood still' },
    beforeNs: {
      value: 500e6,
      unit: 'ns',
      meaning: 'before the first sign of the switchover in which the silence may begin',
    },
  },
  about: {
    meaning:
      'The guest was running again at the destination, but those who talk to it did not hear it for much longer: what users felt was not the migration’s downtime but the network’s or the application’s.',
    evidence:
      'The longest time around the switchover in which no conversation with the guest (TCP, echo) had a frame from it, compared with the time from its stop to its start.',
    confusedWith:
      'A guest with nothing to say: only conversations count that were much livelier before. A sender’s retransmission timer doubles while it waits, so one TCP connection alone may find out late; echo tells best.',
    advice: [
      'Look at announcements (R-F5) and at the network’s convergence (R-F6) first, then at reconnects of the application.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const split = downtimeOf(transfer);
      if (!migration?.downtime || !split) return [];
      const beginNs = migration.downtime.earliestStartNs - limits.beforeNs;
      const across = guestsOf(
        report,
        migration,
        ({ startNs, endNs }) => startNs >= beginNs && startNs <= split.endNs && endNs >= split.endNs,
      );
      return across.flatMap(({ address, announced, silences }) => {
        const startNs = Math.max(...silences.map((silence) => silence.startNs));
        const endNs = Math.min(...silences.map((silence) => silence.endNs));
        const extraNs = endNs - startNs - split.totalNs;
        if (extraNs < limits.minExtraNs) return [];
        return [
          {
            confidence: announced ? 0.85 : 0.6,
            packets: silences.flatMap(({ frameBefore, frameAfter }) => [frameBefore, frameAfter]),
            interval: [[startNs, endNs] as const],
            metrics: {
              guest: address,
              outageNs: endNs - startNs,
              downtimeNs: split.totalNs,
              extraNs,
              conversations: silences.length,
            },
            text: `${plain(address)} was not heard for ${duration(endNs - startNs)} around the switchover, although it stood still for only ${split.total}: the network or the application needed another ${duration(extraNs)}.`,
            advice: [
              'Find who could not reach it: announcements and neighbour tables first (R-F5, R-F6), then what reconnects in the application.',
            ],
            alternatives: announced ? [] : ['No announcement is in the capture: that this is the guest is a guess.'],
            cost: { of: 'downtime', ns: extraNs } as const,
            transfer,
          },
        ];
      });
    }),
});
