import { count, cutBy, percent, plural } from '../format.js';
import { anomaliesOf, framesOf, wholeCapture } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J3',
  title: 'Frames cut by the snap length',
  layer: 'L0',
  needs: ['capture'],
  restsOn: [],
  explains: [],
  thresholds: {
    wholeShare: { value: 0.99, unit: 'share of bytes', meaning: 'decoded share from which the cut did not matter' },
  },
  about: {
    meaning:
      'The recorder kept only the beginning of each frame. Everything about TCP is exact; the migration stream can be read only where its headers happen to fall into what was kept.',
    evidence: 'Captured length below original length.',
    confusedWith: 'A damaged file: there records end early, here each says how long it was.',
    advice: [
      'For rounds, pages and devices record whole frames: tcpdump -s 0. For network questions alone -s 128 is right, and keeps guest memory out of the file.',
    ],
  },
  run: ({ report }, limits) => {
    const inputs = report.capture.inputs.filter(({ cutFrames }) => cutFrames > 0);
    if (inputs.length === 0) return [];
    const cut = inputs.reduce((total, input) => total + input.cutFrames, 0);
    const snapLengths = [...new Set(inputs.map(({ snapLength }) => snapLength))];
    const snapLength = snapLengths.length === 1 ? snapLengths[0]! : null;
    const decoded = report.migrations.reduce((total, migration) => total + migration.stream.decodedBytes, 0);
    const undecoded = report.migrations.reduce((total, migration) => total + migration.stream.undecodedBytes, 0);
    const share = decoded + undecoded > 0 ? decoded / (decoded + undecoded) : null;
    const harmless = share !== null && share >= limits.wholeShare;
    return [
      {
        severity: 'info',
        confidence: 0.99,
        packets: framesOf(anomaliesOf(report, ['capture/frames-cut'])),
        interval: wholeCapture(report),
        metrics: { cutFrames: cut, decodedShare: share },
        text:
          `${count(cut)} of ${plural(report.capture.frames, 'frame')} ${cut === 1 ? 'was' : 'were'} ${cutBy(snapLength)}. TCP figures are exact` +
          (share === null
            ? '; page contents and headers beyond the cut could not be read.'
            : `; ${percent(share)} of the migration stream could be followed.`),
        advice: harmless ? [] : ['Record whole frames (tcpdump -s 0) if rounds, pages or devices are the question.'],
        connections: report.migrations.flatMap((migration) => migration.connections),
        ...(harmless ? {} : { caps: { stream: 0.6 } }),
      },
    ];
  },
});
