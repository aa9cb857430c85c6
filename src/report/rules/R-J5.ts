import { anomaliesOf, framesOf } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J5',
  title: 'Only one direction captured',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {},
  about: {
    meaning:
      'The file holds only what one host sent. Rates can be read; windows, round-trip times, losses and who waited for whom cannot.',
    evidence: 'A connection with data one way and not a single frame the other way.',
    confusedWith: 'A connection that was never answered (R-H1): there no data is sent either.',
    advice: [
      'Capture both directions: a mirror port must copy ingress and egress, a filter must not say “src host”. With a bond or asymmetric routing record on both links.',
    ],
  },
  run: ({ report, transfers }) =>
    transfers.flatMap((transfer) => {
      const halves = transfer.flows.filter(({ forward, reverse }) => (forward.frames === 0) !== (reverse.frames === 0));
      if (halves.length === 0) return [];
      return [
        {
          severity: 'minor',
          confidence: 0.95,
          packets: [
            ...halves.map((flow) => flow.connection.firstFrame),
            ...framesOf(anomaliesOf(report, ['tcp/one-sided'], transfer.connectionIds)),
          ],
          metrics: { connections: halves.length },
          text: 'Only one direction of the migration is in the capture: rates are right, but windows, round-trip times and the cause of waits cannot be seen.',
          advice: [
            'Record again with both directions: mirror ingress and egress, and filter on “host” rather than “src host”.',
          ],
          transfer,
          connections: halves.map((flow) => flow.connection.id),
          caps: { window: 0.2, loss: 0.5, timing: 0.4 },
        },
      ];
    }),
});
