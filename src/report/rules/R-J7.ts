import { percent, plural } from '../format.js';
import { anomaliesOf, framesOf } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J7',
  title: 'Frames captured twice',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {
    minShare: { value: 0.01, unit: 'share of frames', meaning: 'copies below this are chance' },
  },
  about: {
    meaning:
      'Each packet passed the recorder more than once (bridge and network card, both ends of a veth, inner and outer of an overlay). The copies are not counted.',
    evidence: 'Frames that agree in every header field, close in time.',
    confusedWith: 'Duplication by the network, which is rare and makes the receiver answer with DSACK.',
    advice: ['Record on one interface instead of “any”: tcpdump -i ethX.'],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const copies = transfer.sum(({ forward, reverse }) => forward.captureDuplicates + reverse.captureDuplicates);
      const frames = transfer.sum(({ forward, reverse }) => forward.frames + reverse.frames);
      if (copies === 0 || copies < limits.minShare * frames) return [];
      return [
        {
          severity: 'info',
          confidence: 0.9,
          packets: framesOf(anomaliesOf(report, ['tcp/captured-twice'], transfer.connectionIds)),
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { copies, share: copies / (frames + copies) },
          text: `${plural(copies, 'frame')} (${percent(copies / (frames + copies))}) were captured more than once; the copies are left out of every count.`,
          advice: ['Record on one interface instead of “any”.'],
          transfer,
          caps: { loss: 0.9 },
        },
      ];
    }),
});
