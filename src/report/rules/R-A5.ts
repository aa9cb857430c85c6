import { bitRate } from '../format.js';
import { lineRateOf, paceOf } from './plateau.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-A5',
  title: 'Slow network used',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates'],
  explains: ['R-E1', 'R-E2'],
  thresholds: {
    maxLine: { value: 1e9, unit: 'bit/s', meaning: 'line rates up to here are those of management networks today' },
    maxVariation: { value: 0.1, unit: 'deviation / mean', meaning: 'a full line is flat' },
    minNs: { value: 10e9, unit: 'ns', meaning: 'shorter migrations need no faster network' },
  },
  about: {
    meaning:
      'The migration fills a 1 Gbit/s (or 100 Mbit/s) line. If the hosts have a faster network, this is the wrong one: names resolve to the management interface, or no migration network is set.',
    evidence: 'A flat rate at 94 to 99 % of such a line.',
    confusedWith: 'Hosts that have nothing faster (R-A6): the capture cannot tell.',
    advice: [
      'Name the fast address: virsh migrate --migrateuri tcp://FAST_ADDRESS, Nova live_migration_inbound_addr, Proxmox migration: network=, KubeVirt migrations.network; or let the host name resolve to it.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration, precopy } = transfer;
      const pace = paceOf(transfer, precopy);
      const line = pace && pace.variation <= limits.maxVariation ? lineRateOf(pace.median) : null;
      if (!migration || !pace || line === null || line > limits.maxLine) return [];
      if (precopy[1] - precopy[0] < limits.minNs) return [];
      return [
        {
          severity: 'info',
          confidence: 0.4,
          interval: [precopy],
          metrics: { rate: pace.median, lineBitsPerSecond: line },
          text: `At ${bitRate(pace.median)} the migration fills a ${bitRate(line / 8)} line. If the hosts have a faster network, ${migration.destination} is the wrong address.`,
          advice: [
            'Use the address of the fast network: virsh migrate --migrateuri tcp://FAST_ADDRESS, Nova live_migration_inbound_addr, Proxmox migration: network=.',
          ],
          alternatives: ['The hosts may have nothing faster: ethtool IFACE on both tells.'],
          transfer,
        },
      ];
    }),
});
