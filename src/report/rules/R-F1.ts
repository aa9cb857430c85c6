import { bitRate, bytes, duration } from '../format.js';
import { downtimeOf, downtimeSeverity } from './downtime.js';
import { defineRule } from './rule.js';

/** Fewer bytes are only the marks of the stream. */
const MIN_BYTES = 4096;

const FOR_PASS = 'Lower downtime-limit so that QEMU runs another round first, raise the bandwidth, or use post-copy.';
const FOR_BUFFERS = 'Let the source’s send buffers (net.ipv4.tcp_wmem) hold less than the path takes in that time.';
const FOR_QUEUE =
  'Keep that queue short: max-bandwidth at about 90 % of the bottleneck, or BBR or fq pacing on the source.';

export default defineRule({
  id: 'R-F1',
  title: 'Downtime is the final memory copy',
  layer: 'L1',
  needs: ['phases'],
  restsOn: ['stream', 'timing'],
  explains: [],
  thresholds: {
    minShare: { value: 0.6, unit: 'share of downtime', meaning: 'spent on the last memory pages' },
    minBuffered: {
      value: 0.2,
      unit: 'share of that time',
      meaning: 'for what waited in send buffers or queues to be named',
    },
  },
  about: {
    meaning:
      'While the guest stood still, most of the time went into sending its last dirty pages, and those that still waited in the source’s send buffers or in a queue on the path.',
    evidence: 'Memory records take at least 60 % of the time from the guest’s stop to the destination’s confirmation.',
    confusedWith: 'Device state (R-F2) or a slow destination (R-F3): their parts are listed beside it.',
    advice: [
      'Lower the downtime limit (more rounds, smaller remainder) or raise the bandwidth at switchover; post-copy moves no memory while the guest stands still.',
      'What waits in the send buffers when the guest stops counts as sent for QEMU, but has to leave first: let buffers (net.ipv4.tcp_wmem on the source) hold no more than a few times bandwidth × round trip.',
    ],
  },
  run: ({ migrations, downtimeLimitNs }, limits) =>
    migrations.flatMap((transfer) => {
      const split = downtimeOf(transfer);
      if (!split || split.ramNs < limits.minShare * split.totalNs) return [];
      // With multifd the pages travel on other connections; then only the time is known.
      const counted = split.ramBytes >= MIN_BYTES;
      const passNs = split.ramNs - split.bufferedNs - split.queuedNs;
      const rate = counted && passNs > 0 ? (split.ramBytes / passNs) * 1e9 : null;
      const long = split.totalNs > downtimeLimitNs;
      const buffered =
        split.bufferedNs >= limits.minBuffered * split.ramNs
          ? ` ${duration(split.bufferedNs)} of it are pages that had been written before the guest stopped and still waited in the send buffers.`
          : '';
      const queued =
        split.queuedNs >= limits.minBuffered * split.ramNs
          ? ` For ${duration(split.queuedNs)} the last of them had left the source and stood in a queue on the path.`
          : '';
      const forWaits = [...(buffered === '' ? [] : [FOR_BUFFERS]), ...(queued === '' ? [] : [FOR_QUEUE])];
      const mostlyWaited = split.bufferedNs + split.queuedNs > passNs;
      return [
        {
          severity: downtimeSeverity(split, downtimeLimitNs),
          confidence: 0.85,
          interval: [[split.startNs, split.endNs]],
          metrics: {
            downtimeNs: split.totalNs,
            ramNs: split.ramNs,
            bufferedNs: split.bufferedNs,
            queuedNs: split.queuedNs,
            ramBytes: split.ramBytes,
            deviceNs: split.deviceNs,
            handoverNs: split.handoverNs,
            rate,
          },
          text: `Of ${split.total} downtime ${duration(split.ramNs)}${split.share(split.ramNs)} went into the last ${counted ? `${bytes(split.ramBytes)} of memory` : 'memory pages'}${rate === null ? '' : ` at ${bitRate(rate)}`}.${buffered}${queued}${split.mostNs > downtimeLimitNs ? '' : ' That is within the limit.'}`,
          advice: long ? (mostlyWaited ? [...forWaits, FOR_PASS] : [FOR_PASS, ...forWaits]) : [],
          cost: { of: 'downtime', ns: split.ramNs },
          transfer,
        },
      ];
    }),
});
