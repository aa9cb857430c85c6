import { duration, plural } from '../format.js';
import { anomaliesOf, countOf, framesOf, wholeCapture } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J6',
  title: 'Clock of the capture is doubtful',
  layer: 'L0',
  needs: ['capture'],
  restsOn: [],
  explains: [],
  thresholds: {
    coarseNs: { value: 1e6, unit: 'ns', meaning: 'time stamps coarser than this hide round trips and pauses' },
  },
  about: {
    meaning:
      'Time stamps step back or are coarse. Durations of seconds hold; round-trip times and short pauses do not.',
    evidence: 'A frame stamped earlier than the one before it, or a resolution of a millisecond or worse.',
    confusedWith: 'Reordering by the network (R-B4): there sequence numbers are out of order, not time stamps.',
    advice: [
      'Record on one clock; for merged files from several hosts synchronise them (chrony, PTP) first. Use tcpdump --time-stamp-precision=nano.',
    ],
  },
  run: ({ report }, limits) => {
    const backwards = anomaliesOf(report, ['capture/time-backwards']);
    const coarse = report.capture.inputs.filter((input) => input.timestampResolutionNs >= limits.coarseNs);
    if (backwards.length === 0 && coarse.length === 0) return [];
    const resolutionNs = Math.max(0, ...coarse.map((input) => input.timestampResolutionNs));
    return [
      {
        severity: 'info',
        confidence: 0.9,
        packets: framesOf(backwards),
        interval: wholeCapture(report),
        metrics: { backwardSteps: countOf(backwards), resolutionNs: coarse.length > 0 ? resolutionNs : null },
        text:
          (backwards.length > 0 ? `Time stamps step back ${plural(countOf(backwards), 'time')}. ` : '') +
          (coarse.length > 0 ? `Time stamps are only ${duration(resolutionNs)} fine. ` : '') +
          'Short intervals are uncertain.',
        caps: { timing: coarse.length > 0 ? 0.6 : 0.85 },
      },
    ];
  },
});
