import { duration, moment } from '../format.js';
import { defineRule, type Observation } from './rule.js';
import type { Transfer } from './transfer.js';

export default defineRule({
  id: 'R-G1',
  title: 'Network break during post-copy',
  layer: 'L1',
  needs: ['migrations'],
  restsOn: ['stream'],
  explains: ['R-B2', 'R-H2', 'R-H7', 'R-G2'],
  thresholds: {
    minSilenceNs: { value: 1e9, unit: 'ns', meaning: 'without a byte before the connection counts as broken' },
  },
  about: {
    meaning:
      'The guest already runs at the destination, but part of its memory is still at the source and the connection broke. It is paused until the rest can be fetched; neither side alone is complete.',
    evidence:
      'Post-copy had begun, and the stream ends without its end mark, or goes on later over a new connection (recovery).',
    confusedWith: 'A capture that was stopped early: there both ends still exchange frames at its end.',
    advice: [
      'Kill neither QEMU. Recover: on the destination QMP migrate-recover uri=tcp:ADDRESS:PORT, on the source migrate uri=… resume=true (virsh migrate --postcopy-resume).',
      'Recovery needs the return path, which post-copy always has; the guest goes on where it stopped.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const postcopy = migration?.postcopy;
      if (!migration || !postcopy) return [];
      if (migration.outcome === 'completed') return interruption(transfer, postcopy.startNs);
      const silences = transfer
        .episodes('timeout', 'mixed', 'silence')
        .filter((episode) => episode.startNs >= postcopy.startNs && episode.durationNs >= limits.minSilenceNs);
      const silentEndNs = report.capture.durationNs - transfer.endNs;
      const broken = migration.outcome === 'failed' || silences.length > 0 || silentEndNs >= limits.minSilenceNs;
      if (!broken) return [];
      return [
        {
          severity: 'fatal',
          confidence: migration.outcome === 'failed' ? 0.9 : 0.7,
          packets: silences.map((episode) => episode.firstFrame),
          interval: [[postcopy.startNs, transfer.endNs]],
          metrics: {
            postcopyStartNs: postcopy.startNs,
            requests: postcopy.requests,
            silences: silences.length,
            outcome: migration.outcome,
          },
          text: `Post-copy began at ${moment(postcopy.startNs)} and the stream stopped ${duration(transfer.endNs - postcopy.startNs)} later without its end mark: the guest is split between both hosts and paused at the destination.`,
          advice: [
            'Kill neither side. Destination: QMP migrate-recover {"uri":"tcp:ADDRESS:PORT"}; then source: migrate with "resume":true (or virsh migrate --postcopy --postcopy-resume).',
            'Repair the path first; the order matters.',
          ],
          alternatives: [
            'The destination QEMU may have died: then the guest is lost (query-status on the destination tells).',
          ],
          transfer,
        },
      ];
    }),
});

/** Post-copy that broke and went on over a new connection: the time between is lost to the guest where it needs pages. */
function interruption(transfer: Transfer, switchedNs: number): readonly Observation[] {
  const mains = transfer.flows
    .map((flow) => flow.connection)
    .filter((connection) => connection.channel.kind === 'main')
    .sort((a, b) => a.startNs - b.startNs);
  return mains.slice(1).flatMap((resumed, at): Observation[] => {
    const broken = mains[at]!;
    if (broken.endNs <= switchedNs || resumed.startNs < broken.endNs) return [];
    const lostNs = resumed.startNs - broken.endNs;
    return [
      {
        severity: 'major',
        confidence: 0.9,
        packets: [resumed.firstFrame],
        interval: [[broken.endNs, resumed.startNs]],
        metrics: { postcopyStartNs: switchedNs, interruptedNs: lostNs, outcome: 'recovered' },
        text: `Post-copy broke at ${moment(broken.endNs)} and went on over a new connection ${duration(lostNs)} later. In between the guest stood still wherever it needed memory that was still at the source.`,
        advice: ['Find what broke the connection at that time: link, firewall, or migrate-pause by a manager.'],
        cost: { of: 'migration-time', ns: lostNs },
        transfer,
      },
    ];
  });
}
