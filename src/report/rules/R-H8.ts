import { plain } from '../format.js';
import type { Connection, Migration, ReportData } from '../report.js';
import { defineRule } from './rule.js';
import { signalsOf } from './signals.js';

export default defineRule({
  id: 'R-H8',
  title: 'Somebody else answers on the migration port',
  layer: 'L0',
  needs: ['connections', 'signals'],
  restsOn: [],
  explains: ['R-H2', 'R-H7', 'R-D5', 'R-H6'],
  thresholds: {
    maxBytes: { value: 2 ** 20, unit: 'bytes', meaning: 'of the stream that the wrong program may have taken' },
    minDifferences: { value: 1, unit: 'features', meaning: 'in which the answers of one address must differ' },
  },
  about: {
    meaning:
      'The destination’s address forwards the migration port to something else, most often a guest or pod that shares the address and listens on the same port: the stream goes to a program that knows nothing of it.',
    evidence:
      'Connections to one address are answered by different network stacks: hop limit, timestamps, SACK, MSS and window scale of the SYN-ACK differ, and the one on the migration port takes no migration.',
    confusedWith:
      'A destination that breaks off (R-H2): its answers look the same on every port. A load balancer in front of several hosts looks like this too.',
    advice: [
      'Reserve the ports of migration and control (49152–49215, KubeVirt 22222, 49152, 49153) on the destination, or keep the guest’s ports from being forwarded there: list them, or use another binding.',
    ],
  },
  run: ({ report }, limits) =>
    report.migrations.flatMap((migration) => {
      if (migration.outcome === 'completed' || migration.bytes.total > limits.maxBytes) return [];
      const connection = report.connections.find(({ id }) => migration.connections.includes(id));
      if (!connection) return [];
      for (const other of othersAt(report, migration)) {
        const differences = differencesOf(report, connection, other);
        if (differences.length < limits.minDifferences) continue;
        return [
          {
            severity: 'fatal' as const,
            confidence: differences.length > 1 ? 0.8 : 0.6,
            packets: [connection.firstFrame, other.firstFrame],
            interval: [[migration.startNs, migration.endNs] as const],
            metrics: {
              destination: migration.destination,
              port: migration.port,
              otherPort: other.server.port,
              differences: differences.join('; '),
            },
            text: `${plain(migration.destination)} answers on port ${migration.port} with another network stack than on port ${other.server.port} (${differences.join('; ')}), and what answered took no migration: it is not the destination’s QEMU.`,
            advice: [
              `Find what port ${migration.port} of ${plain(migration.destination)} is forwarded to (nft list ruleset, the pod’s port list) and free it, or move migration to other ports.`,
            ],
            alternatives: ['A load balancer that spreads ports over several hosts answers like this as well.'],
            migration,
          },
        ];
      }
      return [];
    }),
});

/** Other connections to the migration's address that somebody answered. */
const othersAt = (report: ReportData, { destination, port, connections }: Migration): Connection[] =>
  report.connections.filter(
    ({ id, server, handshakeRttNs }) =>
      server.address === destination && server.port !== port && handshakeRttNs !== null && !connections.includes(id),
  );

/** In what the answers to two connection attempts differ; what is not known of one is no difference. */
function differencesOf(report: ReportData, one: Connection, other: Connection): string[] {
  const found: string[] = [];
  const compare = (name: string, a: number | boolean | null, b: number | boolean | null): void => {
    if (a === null || b === null || a === b) return;
    found.push(typeof a === 'boolean' ? `${a ? 'with' : 'without'} ${name}` : `${name} ${a} instead of ${b}`);
  };
  compare('hop limit', hopLimitOf(report, one), hopLimitOf(report, other));
  compare('timestamps', one.options.timestamps, other.options.timestamps);
  compare('SACK', one.options.sack, other.options.sack);
  compare('MSS', one.options.mss[1], other.options.mss[1]);
  compare('window scale', one.options.windowScale[1], other.options.windowScale[1]);
  return found;
}

const hopLimitOf = (report: ReportData, { client, server }: Connection): number | null =>
  signalsOf(report, 'tcp-answer').find(
    (signal) =>
      signal.from === server.address &&
      signal.sourcePort === server.port &&
      signal.about === client.address &&
      signal.port === client.port,
  )?.type ?? null;
