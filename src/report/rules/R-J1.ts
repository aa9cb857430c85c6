import { bytes, percent, plural } from '../format.js';
import { anomaliesOf, countOf, framesOf, wholeCapture } from './anomalies.js';
import { defineRule } from './rule.js';

/** Payload of a later fragment on a path of 1500 B; its bytes are in the capture, but not where a TCP header says so. */
const FRAGMENT_BYTES = 1480;

export default defineRule({
  id: 'R-J1',
  title: 'Capture lost frames',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {
    severeShare: {
      value: 0.001,
      unit: 'share of bytes',
      meaning: 'from here on losses cannot be told from capture drops',
    },
    hopelessShare: { value: 0.02, unit: 'share of bytes', meaning: 'from here on rates are doubtful as well' },
  },
  about: {
    meaning:
      'The recording is incomplete: the host exchanged bytes that the file does not hold. The migration itself was not harmed.',
    evidence: 'The receiver acknowledged bytes that were never captured, or the recorder counted drops of its own.',
    confusedWith:
      'Packet loss on the network (R-B1): there the receiver asks again and the bytes come a second time. IP fragmentation (R-B6): what later fragments carry is in the file, but cannot be told from their headers.',
    advice: [
      'Record with a larger buffer and headers only: tcpdump -B 262144 -s 128 -w FILE port 49152, or dumpcap -B 256 -s 128.',
      'Write to a fast disk, not through a pipe to a busy terminal; check "packets dropped by kernel" at the end.',
    ],
  },
  run: ({ report, transfers }, limits) => {
    const counted = report.capture.inputs.map((input) => input.droppedByCapture).filter((count) => count !== null);
    const dropped = counted.length > 0 ? counted.reduce((total, count) => total + count, 0) : null;
    const flows = transfers.flatMap((transfer) => transfer.flows);
    const missed = flows.reduce((total, { forward, reverse }) => total + forward.unseenBytes + reverse.unseenBytes, 0);
    const inFragments = FRAGMENT_BYTES * countOf(anomaliesOf(report, ['decode/fragment']));
    const unseen = Math.max(0, missed - inFragments);
    const seen = flows.reduce((total, { forward, reverse }) => total + forward.uniqueBytes + reverse.uniqueBytes, 0);
    if (unseen === 0 && !dropped) return [];
    const share = unseen > 0 ? unseen / (seen + unseen) : 0;
    const noted = anomaliesOf(report, ['tcp/acked-unseen', 'capture/dropped']);
    return [
      {
        severity: share >= limits.severeShare ? 'minor' : 'info',
        confidence: 0.95,
        packets: framesOf(noted),
        interval: wholeCapture(report),
        metrics: { unseenBytes: unseen, unseenShare: share, droppedFrames: dropped, places: countOf(noted) },
        text:
          (unseen > 0
            ? `${bytes(unseen)} of the data (${percent(share)}) were acknowledged but are not in the file. `
            : '') +
          (dropped ? `The recorder says it dropped ${plural(dropped, 'frame')}. ` : '') +
          (share >= limits.severeShare
            ? 'Loss figures below may be the recorder’s, not the network’s.'
            : 'Too few to change the conclusions.'),
        advice: ['Record again with a larger buffer and headers only: tcpdump -B 262144 -s 128 -w FILE port 49152.'],
        connections: flows.map((flow) => flow.connection.id),
        caps:
          share >= limits.hopelessShare
            ? { loss: 0.4, stream: 0.5, rates: 0.6, timing: 0.6 }
            : share >= limits.severeShare
              ? { loss: 0.5, stream: 0.7 }
              : { loss: 0.9 },
      },
    ];
  },
  ruledOut: ({ report, transfers }) => {
    const none =
      report.capture.inputs.every((input) => !input.droppedByCapture) &&
      transfers.every(({ flows }) => flows.every(({ forward, reverse }) => forward.frames > 0 && reverse.frames > 0)) &&
      transfers.every(
        (transfer) => transfer.sum(({ forward, reverse }) => forward.unseenBytes + reverse.unseenBytes) === 0,
      );
    return none ? 'every acknowledged byte is in the capture' : null;
  },
});
