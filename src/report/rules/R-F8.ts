import { duration, percent, plain } from '../format.js';
import { guestsOf } from './beside.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-F8',
  title: 'Guest off the network while memory moves',
  layer: 'L2',
  needs: ['silences', 'signals', 'migrations'],
  restsOn: [],
  explains: ['R-F7'],
  thresholds: {
    minPrecopyNs: { value: 1e9, unit: 'ns', meaning: 'that memory takes while the guest runs' },
    minShare: { value: 0.8, unit: 'share of pre-copy', meaning: 'without a frame from the guest' },
    beforeNs: {
      value: 1e9,
      unit: 'ns',
      meaning: 'before the first byte of the migration in which the silence may begin',
    },
  },
  about: {
    meaning:
      'The guest ran, but its network was gone from the start of the migration to its end: a device that cannot run while its state is copied (vDPA, passed-through cards) was suspended or unplugged at the start.',
    evidence: 'Conversations with the guest fall silent when the migration starts, and stay so until it ends.',
    confusedWith: 'An outage at the switchover (R-F7), which begins when memory has moved.',
    advice: [
      'Use a device that can run meanwhile: shadow queues for vDPA (x-svq=on), deferred suspend, a virtio stand-by card (failover) for passed-through ones.',
    ],
  },
  run: ({ report, migrations }, limits) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      const [fromNs, toNs] = transfer.precopy;
      if (!migration || toNs - fromNs < limits.minPrecopyNs) return [];
      const quiet = guestsOf(
        report,
        migration,
        ({ startNs, endNs }) =>
          startNs >= migration.startNs - limits.beforeNs &&
          Math.min(endNs, toNs) - Math.max(startNs, fromNs) >= limits.minShare * (toNs - fromNs),
      );
      return quiet.map(({ address, announced, silences }) => {
        const startNs = Math.max(...silences.map((silence) => silence.startNs));
        const endNs = Math.min(...silences.map((silence) => silence.endNs));
        return {
          confidence: announced ? 0.85 : 0.6,
          packets: silences.flatMap(({ frameBefore, frameAfter }) => [frameBefore, frameAfter]),
          interval: [[startNs, endNs] as const],
          metrics: { guest: address, outageNs: endNs - startNs, precopyNs: toNs - fromNs },
          text: `${plain(address)} fell silent ${duration(Math.abs(startNs - migration.startNs))} ${startNs < migration.startNs ? 'before' : 'after'} the migration began and was not heard for ${duration(endNs - startNs)}, ${percent((Math.min(endNs, toNs) - Math.max(startNs, fromNs)) / (toNs - fromNs))} of the time in which it still ran at the source.`,
          advice: [
            'Look for a network device that is suspended or unplugged at the start: vDPA needs shadow queues (x-svq=on), a passed-through card a virtio stand-by.',
          ],
          alternatives: announced ? [] : ['No announcement is in the capture: that this is the guest is a guess.'],
          cost: { of: 'downtime', ns: endNs - startNs } as const,
          transfer,
        };
      });
    }),
});
