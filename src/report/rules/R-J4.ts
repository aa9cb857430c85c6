import { isLate } from '../extent.js';
import { anomaliesOf, framesOf } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J4',
  title: 'Capture began mid-stream',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {},
  about: {
    meaning:
      'The connection was open before the recording began. The window scale is announced only in the SYN, so windows are inferred or unknown, and the stream’s head (machine type, RAM blocks) is missing.',
    evidence: 'Neither SYN nor SYN-ACK of the connection is in the capture.',
    confusedWith: 'Capture drops (R-J1) at the very beginning.',
    advice: ['Start tcpdump before the migration: with port 49152 as filter it costs nothing while it waits.'],
  },
  run: ({ report, transfers }) =>
    transfers.flatMap((transfer) => {
      const late = transfer.flows.filter(({ connection }) => isLate(connection));
      const noted = anomaliesOf(report, ['stream/mid-stream'], transfer.connectionIds);
      if (late.length === 0 && noted.length === 0) return [];
      return [
        {
          severity: 'info',
          confidence: 0.95,
          packets: [...late.map((flow) => flow.connection.firstFrame), ...framesOf(noted)],
          interval: [[transfer.startNs, transfer.startNs]],
          metrics: { connections: late.length },
          text: `The recording starts when the ${transfer.noun} is already under way: windows are inferred, ${transfer.migration ? 'earlier rounds are missing, ' : ''}and total time and shares count from the first captured frame.`,
          advice: ['Start the recording before the migration.'],
          transfer,
          connections: late.map((flow) => flow.connection.id),
          caps: { window: 0.6, stream: noted.length > 0 ? 0.7 : 1 },
        },
      ];
    }),
});
