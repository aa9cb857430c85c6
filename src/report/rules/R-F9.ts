import { duration, plain } from '../format.js';
import { silencesOf } from './beside.js';
import { defineRule } from './rule.js';
import { signalsOf } from './signals.js';

export default defineRule({
  id: 'R-F9',
  title: 'Guest clock stepped',
  layer: 'L2',
  needs: ['silences', 'migrations'],
  restsOn: [],
  explains: [],
  thresholds: {
    minStepNs: { value: 500e6, unit: 'ns', meaning: 'between the guest’s clock and that of the capture' },
    agreeNs: { value: 50e6, unit: 'ns', meaning: 'between the steps that its connections show' },
  },
  about: {
    meaning:
      'The guest’s clock did not count the time in which it stood still (or jumped). Its wall clock is now wrong by as much until something sets it: certificates, tickets, clustered databases and logs notice.',
    evidence:
      'TCP timestamps of the guest’s connections, whose rate was measured before, counted another time over the switchover than the capture’s clock.',
    confusedWith: 'A step of the capture’s own clock (R-J6), which every connection shows, not only the guest’s.',
    advice: [
      'Run a time service in the guest (chrony with makestep), or let the agent set the time after migration: virsh domtime --sync, guest-set-time.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration?.downtime) return [];
      const { earliestStartNs, endNs: runsNs } = migration.downtime;
      const hosts = [migration.source, migration.destination];
      // What waits for an address to be resolved carries an old timestamp: where the guest is known, only it counts.
      const macs = signalsOf(report, 'rarp-announcement').map((signal) => signal.mac);
      const across = silencesOf(report).filter(
        ({ from, mac, clockNs, startNs, endNs }) =>
          clockNs !== null &&
          !hosts.includes(from) &&
          (macs.length === 0 || macs.includes(mac)) &&
          startNs < runsNs &&
          endNs >= runsNs &&
          endNs > earliestStartNs,
      );
      return [...new Set(across.map(({ from }) => from))].flatMap((guest) => {
        const own = across.filter(({ from }) => from === guest);
        const steps = own.map(({ clockNs, startNs, endNs }) => clockNs! - (endNs - startNs)).sort((a, b) => a - b);
        const stepNs = steps[steps.length >> 1]!;
        if (Math.abs(stepNs) < limits.minStepNs || steps.at(-1)! - steps[0]! > limits.agreeNs) return [];
        return [
          {
            severity: 'minor' as const,
            confidence: macs.length > 0 ? 0.85 : 0.6,
            packets: own.flatMap(({ frameBefore, frameAfter }) => [frameBefore, frameAfter]),
            interval: own.map(({ startNs, endNs }) => [startNs, endNs] as const),
            metrics: { guest, stepNs, connections: own.length },
            text:
              stepNs < 0
                ? `The clock of ${plain(guest)} missed ${duration(-stepNs)} over the switchover: it stood still with the guest.`
                : `The clock of ${plain(guest)} jumped ahead by ${duration(stepNs)} over the switchover.`,
            advice: [
              'Set the guest’s time after the migration: chrony with makestep in the guest, or virsh domtime --sync.',
            ],
            alternatives: [
              'Only the clock behind TCP timestamps is seen; a guest whose wall clock follows the host’s (kvm-clock, hypervisor agent) may have corrected itself.',
            ],
            transfer,
          },
        ];
      });
    }),
});
