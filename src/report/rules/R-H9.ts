import { duration, moment, plural } from '../format.js';
import { silencesOf } from './beside.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-H9',
  title: 'Connection state lost on the way',
  layer: 'L0',
  needs: ['connections', 'silences', 'tcpEvents', 'migrations'],
  restsOn: [],
  explains: ['R-H2', 'R-H7', 'R-B2', 'R-E7'],
  thresholds: {
    minSilenceNs: { value: 500e6, unit: 'ns', meaning: 'without any answer before the reset' },
    minTimeouts: { value: 2, unit: 'retransmissions', meaning: 'by timer alone in that time' },
    endNs: { value: 100e6, unit: 'ns', meaning: 'between the end of that silence and the reset' },
  },
  about: {
    meaning:
      'In the middle of the migration one side stopped hearing the other, kept sending, and was then reset: a firewall forgot the connection (idle limit, failover, reload), or the other host rebooted and no longer knows it.',
    evidence:
      'Retransmissions by timer one way while nothing comes back the other way, ended by a reset from the silent side.',
    confusedWith:
      'A destination that breaks off (R-H2) resets at once, without a silence. A path that stays dead never resets. A destination that was stopped still acknowledges and advertises a closed window (R-C3).',
    advice: [
      'Look at the firewalls between the hosts at that time: connection tracking table full or flushed, failover without state, reload; and at the destination host’s uptime.',
    ],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || migration.outcome === 'completed') return [];
      const silences = silencesOf(report);
      return transfer.flows.flatMap((flow) => {
        const { connection, side, directionId } = flow;
        if (connection.endedBy !== 'rst' || connection.closedFirstBy === side) return [];
        const silence = silences.find(
          ({ direction, startNs, endNs }) =>
            direction === (directionId ^ 1) &&
            endNs - startNs >= limits.minSilenceNs &&
            Math.abs(connection.endNs - endNs) <= limits.endNs,
        );
        const alone = silence
          ? transfer
              .events('retransmission-timeout')
              .filter(
                ({ direction, tNs }) => direction === directionId && tNs > silence.startNs && tNs <= connection.endNs,
              )
          : [];
        if (!silence || alone.length < limits.minTimeouts) return [];
        return [
          {
            severity: 'fatal' as const,
            confidence: 0.8,
            packets: [silence.frameBefore, ...alone.map(({ frame }) => frame), silence.frameAfter],
            interval: [[silence.startNs, connection.endNs] as const],
            metrics: { silenceNs: silence.endNs - silence.startNs, timeouts: alone.length, resetNs: connection.endNs },
            text: `From ${moment(silence.startNs)} on nothing came back for ${duration(silence.endNs - silence.startNs)}, the source sent ${plural(alone.length, 'time')} more by timer, and then it was reset: whoever sent the reset did not know the connection any more.`,
            advice: [
              'Firewalls on the way: conntrack table (dmesg, conntrack -S), failover or reload at that time. Then the destination host: did it reboot?',
            ],
            alternatives: ['The destination’s QEMU died while the path was interrupted: its log and the journal tell.'],
            transfer,
          },
        ];
      });
    }),
});
