import { plural } from '../format.js';
import type { ReportData } from '../report.js';
import { payloadBytesOf } from '../traffic.js';
import { anomaliesOf, framesOf } from './anomalies.js';
import { defineRule, type Observation } from './rule.js';

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
      'The file holds only what one host sent. Rates can be read, and mostly what was sent again; windows, round-trip times and who waited for whom cannot.',
    evidence:
      'A connection with data one way and not a single frame the other way, or with acknowledgements of data that never appears.',
    confusedWith: 'A connection that was never answered (R-H1): there no data is sent either.',
    advice: [
      'Capture both directions: a mirror port must copy ingress and egress, a filter must not say “src host”. With a bond or asymmetric routing record on both links.',
    ],
  },
  run: ({ report, transfers }) => {
    if (transfers.length === 0) return acknowledgementsAlone(report);
    return transfers.flatMap((transfer) => {
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
          text: `Only one direction of the ${transfer.noun} is in the capture: rates are right, but windows, round-trip times and the cause of waits cannot be seen.`,
          advice: ADVICE,
          transfer,
          connections: halves.map((flow) => flow.connection.id),
          caps: { window: 0.2, loss: 0.5, timing: 0.4 },
        },
      ];
    });
  },
});

const ADVICE = [
  'Record again with both directions: mirror ingress and egress, and filter on “host” rather than “src host”.',
];

/** What the receiver of an unseen transfer sent. */
function acknowledgementsAlone(report: ReportData): Observation[] {
  const silent = report.connections.filter((connection) => payloadBytesOf(connection) === 0);
  const halves = silent.filter(({ id }) => anomaliesOf(report, ['tcp/one-sided'], [id]).length > 0);
  if (halves.length === 0) return [];
  return [
    {
      severity: 'minor',
      confidence: 0.95,
      packets: halves.map(({ firstFrame }) => firstFrame),
      metrics: { connections: halves.length },
      text: `Of ${plural(halves.length, 'connection')} the capture holds the acknowledgements, but not the data that they acknowledge: whether it was a migration cannot be seen.`,
      advice: ADVICE,
      connections: halves.map(({ id }) => id),
    },
  ];
}
