import { bitRate } from '../format.js';
import { multifdFlows } from './multifd.js';
import { defineRule, type Observation } from './rule.js';

export default defineRule({
  id: 'R-D6',
  title: 'Parallel channels expected, but not used',
  layer: 'L0',
  needs: ['migrations'],
  restsOn: [],
  explains: [],
  thresholds: {
    expectedChannels: { value: 0, unit: 'channels', meaning: 'that the policy asks for; 0 when nobody said' },
    minNs: { value: 1e9, unit: 'ns', meaning: 'shorter migrations need no second channel' },
  },
  about: {
    meaning:
      'Guests are meant to migrate over several connections, but this one used a single one: the manager dropped the setting for it, silently.',
    evidence:
      'One data connection only, although another migration from the same host in the capture used multifd, or although --threshold R-D6.expectedChannels=N says so. A policy is not on the wire, so with neither the rule is silent.',
    confusedWith: 'A set-up in which nobody asked for parallel connections.',
    advice: [
      'KubeVirt takes one thread for guests with a CPU limit; oVirt switches parallel connections off for post-copy policies; libvirt needs --parallel on every call. Look at what this guest has that others have not.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer): readonly Observation[] => {
      const { migration } = transfer;
      const channels = multifdFlows(transfer).length;
      if (!migration || channels > 1 || transfer.durationNs < limits.minNs) return [];
      if (transfer.mainFlow.connection.channel.kind === 'tls') return []; // which connection carries what is not known
      const parallel = transfers.find(
        (other) => other.migration?.source === migration.source && multifdFlows(other).length > 1,
      );
      const expected = parallel ? multifdFlows(parallel).length : limits.expectedChannels;
      if (expected <= 1) return [];
      const postcopy = migration.stream.features.includes('postcopy');
      return [
        {
          severity: 'info',
          confidence: parallel ? 0.6 : 0.9,
          packets: [transfer.mainFlow.connection.firstFrame],
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { expectedChannels: expected, channels: Math.max(1, channels), goodput: transfer.goodput },
          text:
            `The memory of this guest went over one connection (${bitRate(transfer.goodput)}), although ${parallel ? `another migration from ${migration.source} used ${expected}` : `${expected} were expected`}.` +
            (postcopy ? ' Post-copy was enabled, which makes some managers drop parallel connections.' : ''),
          advice: [
            'Compare the settings of both guests: CPU limit (KubeVirt), post-copy policy (oVirt), virsh migrate --parallel; on the source query-migrate-capabilities shows multifd.',
          ],
          alternatives: parallel ? ['The other migration may have been set up by hand.'] : [],
          transfer,
        },
      ];
    }),
});
