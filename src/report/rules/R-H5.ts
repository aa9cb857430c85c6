import { duration, moment } from '../format.js';
import type { Connection, Migration, ReportData } from '../report.js';
import { defineRule } from './rule.js';

const CONTROL_PORTS: Readonly<Record<number, string>> = { 22: 'SSH', 16509: 'libvirt', 16514: 'libvirt (TLS)' };

export default defineRule({
  id: 'R-H5',
  title: 'Control connection lost',
  layer: 'L0',
  needs: ['connections', 'migrations'],
  restsOn: [],
  explains: ['R-H2', 'R-H7', 'R-E7'],
  thresholds: {
    windowNs: {
      value: 10e9,
      unit: 'ns',
      meaning: 'between the end of the control connection and that of the migration',
    },
    silenceNs: { value: 20e9, unit: 'ns', meaning: 'libvirt gives up after 5 missed keep-alives 5 s apart' },
  },
  about: {
    meaning:
      'The manager’s own connection between the hosts died, and the migration was aborted with it, although its data still flowed or would have resumed. libvirt gives up 25 to 30 s after the path broke.',
    evidence:
      'A connection to libvirt’s or SSH’s port between the same hosts that is reset or falls silent just before the migration ends.',
    confusedWith: 'A manager that ends both in order when it is done.',
    advice: [
      'Repair the path, or lengthen libvirt’s patience: keepalive_interval and keepalive_count in libvirtd.conf and the client’s URI (?keepalive_interval=10).',
    ],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const { migration } = transfer;
      if (!migration || (migration.outcome !== 'failed' && migration.outcome !== 'cancelled')) return [];
      const lost = controlConnections(report, migration).find(
        (control) =>
          (control.endedBy === 'rst' || control.endedBy === 'idle') &&
          control.endNs <= migration.endNs + limits.windowNs &&
          control.endNs >= migration.endNs - limits.windowNs - (control.endedBy === 'idle' ? limits.silenceNs : 0),
      );
      if (!lost) return [];
      const through = CONTROL_PORTS[lost.server.port]!;
      return [
        {
          severity: 'fatal',
          confidence: 0.6,
          interval: [[Math.min(lost.endNs, migration.endNs), Math.max(lost.endNs, migration.endNs)]],
          metrics: { port: lost.server.port, controlEndNs: lost.endNs, migrationEndNs: migration.endNs },
          text: `The ${through} connection between the hosts ${lost.endedBy === 'rst' ? 'was reset' : 'fell silent'} at ${moment(lost.endNs)}, ${duration(Math.abs(migration.endNs - lost.endNs))} ${lost.endNs <= migration.endNs ? 'before' : 'after'} the migration ended: the manager lost contact and aborted.`,
          advice: [
            'Look for a path outage at that time; raise keepalive_interval × keepalive_count in libvirtd.conf if brief outages must be survived.',
          ],
          alternatives: ['Both may have been ended by the same cause, such as a host that went down.'],
          transfer,
          connections: [lost.id, ...transfer.connectionIds],
        },
      ];
    }),
});

function controlConnections(report: ReportData, { source, destination }: Migration): Connection[] {
  const hosts = [source, destination];
  return report.connections.filter(
    ({ client, server }) =>
      server.port in CONTROL_PORTS && hosts.includes(client.address) && hosts.includes(server.address),
  );
}
