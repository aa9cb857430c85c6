import type { OpaqueTransfer } from '../../decode/udp/opaque-transfer.js';
import { bitRate, bytes, duration, endpoint, percent, plain, plural } from '../format.js';
import { burstsOf, type InferredRound } from '../models/inferred-rounds.js';
import { type Suspicion, suspect, type TunnelledBulk } from '../models/tunnelled.js';
import type { Connection } from '../report.js';
import { defineRule, type Observation } from './rule.js';
import type { Transfer } from './transfer.js';

const SSH_PORT = 22;
/** Wider bins hide pauses. */
const WIDEST_BIN_NS = 5e6;
/** What comes after such a pause is another transfer. */
const IDLE_NS = 2e9;
const CARRIERS: Readonly<Record<string, string>> = {
  wireguard: 'WireGuard',
  esp: 'IPsec (ESP)',
  dtls: 'DTLS',
  openvpn: 'OpenVPN',
};
const CONTENTS: Readonly<Record<NonNullable<Connection['opaque']>['kind'], string>> = {
  ssh: 'SSH connection',
  tls: 'TLS connection',
  gzip: 'stream compressed by gzip',
  zstd: 'stream compressed by zstd',
  lz4: 'stream compressed by LZ4',
  xz: 'stream compressed by xz',
  bzip2: 'stream compressed by bzip2',
};

export default defineRule({
  id: 'R-C7',
  title: 'Bulk transfer inside a closed tunnel',
  layer: 'L0',
  needs: ['flows'],
  restsOn: ['rates', 'timing'],
  explains: [],
  thresholds: {
    minBytes: { value: 4e6, unit: 'bytes', meaning: 'less is no bulk transfer' },
    maxReplyShare: { value: 0.1, unit: 'share of bytes', meaning: 'the other way; more is a conversation' },
  },
  about: {
    meaning:
      'A tunnel or a compressed stream that cannot be opened carries bulk data one way. It may be a migration: then memory travels through encryption or compression, on one core in most implementations.',
    evidence:
      'Sizes and times of the tunnel’s packets: one side sends full packets, the other only acknowledges; small messages before the bulk; bursts every 100 ms, as QEMU’s rate limit makes them; bursts that shrink by one ratio, as rounds do.',
    confusedWith:
      'Any copy of a file or a disk, a backup, a bandwidth test. Without a rhythm of its own the confidence stays low, and rounds and downtime are not told.',
    advice: [
      'Ask the source: virsh domjobinfo --completed DOMAIN, query-migrate, or the manager’s log for the time given.',
      'Capture inside the tunnel (on the tunnel’s interface) to see the migration itself.',
    ],
  },
  run: ({ report, transfers }, limits) => {
    const isBulk = (bytes: number, replyBytes: number): boolean =>
      bytes >= limits.minBytes && replyBytes <= limits.maxReplyShare * bytes;
    const tunnels = report.flows.flatMap((flow) =>
      (flow.transfers ?? [])
        .filter((bulk) => isBulk(bulk.bytes, bulk.replyBytes))
        .map((bulk) => {
          const path = bulk.side === 0 ? between(flow.client, flow.server) : between(flow.server, flow.client);
          return observation(`${CARRIERS[flow.transport] ?? flow.transport} tunnel ${path}`, inTunnel(bulk), null);
        }),
    );
    const closed = transfers.flatMap((transfer) => {
      const { connection, side, forward, reverse } = transfer.mainFlow;
      const { client, server, opaque } = connection;
      if (transfer.migration || opaque?.holds) return [];
      const kind = opaque?.kind ?? (server.port === SSH_PORT ? 'ssh' : null);
      if (!kind || !isBulk(forward.uniqueBytes, reverse.uniqueBytes)) return [];
      const path = side === 0 ? between(client, server) : between(server, client);
      const carrier = `${CONTENTS[kind]} ${path}${opaque?.banner ? ` (${plain(opaque.banner, 60)})` : ''}`;
      return [observation(carrier, inConnection(transfer), transfer)];
    });
    return [...tunnels, ...closed, ...report.connections.flatMap(packedMigration)];
  },
});

const between = (from: Endpoint, to: Endpoint): string => `${endpoint(from)} → ${endpoint(to)}`;
type Endpoint = Parameters<typeof endpoint>[0];

/** Its first bytes, unpacked, are those of a migration. */
function packedMigration({
  id,
  client,
  server,
  opaque,
  startNs,
  endNs,
  directions,
  firstFrame,
}: Connection): Observation[] {
  if (opaque?.holds !== 'migration') return [];
  const carried = directions[0].uniqueBytes;
  return [
    {
      severity: 'minor',
      confidence: 0.95,
      interval: [[startNs, endNs]],
      packets: [firstFrame],
      metrics: { verdict: opaque.holds, bytes: carried },
      text: `A migration in a ${CONTENTS[opaque.kind]} ${between(client, server)}, ${bytes(carried)} on the wire: unpacked, its first bytes are QEMU’s. Pages, rounds and downtime cannot be read from it.`,
      connections: [id],
    },
  ];
}

const inTunnel = (bulk: OpaqueTransfer): TunnelledBulk => ({
  ...bulk,
  wholeBursts: bulk.furtherBursts === 0,
  stepNs: 0,
});

/** Sizes of a connection's messages are not told apart: only the rhythm is left. */
function inConnection(transfer: Transfer): TunnelledBulk {
  const bins = transfer.bins(transfer.mainFlow);
  const stepNs = Math.max(0, ...bins.map((bin) => bin.durationNs));
  const fine = bins.length > 0 && stepNs <= WIDEST_BIN_NS;
  const steps = bins.map((bin) => ({ startNs: bin.startNs, bytes: bin.uniqueBytes }));
  const bursts = fine ? longest(burstsOf(steps, stepNs)) : [];
  return {
    startNs: bursts[0]?.startNs ?? transfer.startNs,
    endNs: bursts.at(-1)?.endNs ?? transfer.endNs,
    lastReplyNs: null,
    bytes: transfer.mainFlow.forward.uniqueBytes,
    receiverQuiet: null,
    receiverMessages: null,
    bytesBeforeMessages: null,
    openingMessages: null,
    bursts,
    wholeBursts: fine,
    stepNs,
  };
}

/** The heaviest group of bursts without a pause of seconds: a connection may wait long before and after. */
function longest(bursts: readonly InferredRound[]): readonly InferredRound[] {
  const groups: InferredRound[][] = [];
  for (const burst of bursts) {
    const group = groups.at(-1);
    if (group && burst.startNs - group.at(-1)!.endNs < IDLE_NS) group.push(burst);
    else groups.push([burst]);
  }
  const weight = (group: readonly InferredRound[]): number => group.reduce((sum, burst) => sum + burst.bytes, 0);
  return groups.reduce<readonly InferredRound[]>((a, b) => (weight(a) >= weight(b) ? a : b), []);
}

function observation(carrier: string, bulk: TunnelledBulk, transfer: Transfer | null): Observation {
  const suspicion = suspect(bulk);
  const { verdict, confidence, signs, rounds, noRounds, pauses, downtimeNs, noDowntime } = suspicion;
  const durationNs = Math.max(0, bulk.endNs - bulk.startNs);
  const goodput = durationNs > 0 ? (bulk.bytes / durationNs) * 1e9 : null;
  const moved = `${bytes(bulk.bytes)} one way through the ${carrier} in ${duration(durationNs)} at ${bitRate(goodput)}`;
  return {
    severity: 'info',
    confidence,
    interval: rounds
      ? rounds.rounds.map(({ startNs, endNs }) => [startNs, endNs] as const)
      : [[bulk.startNs, bulk.endNs]],
    metrics: {
      verdict,
      bytes: bulk.bytes,
      durationNs,
      goodput,
      rounds: rounds?.rounds.length ?? null,
      roundsUnknownBecause: noRounds,
      roundRatio: rounds?.ratio ?? null,
      pauses: pauses.count,
      longestPauseNs: pauses.longestNs,
      downtimeNs,
      downtimeUnknownBecause: noDowntime,
    },
    text:
      verdict === 'unknown-bulk'
        ? `${moved}: an unknown bulk transfer in the tunnel, could be a migration.`
        : `${moved}: a suspected migration, inferred from sizes and times (${signs.join('; ')}). ${outcome(suspicion)}`,
    alternatives: ['A copy of a file or disk, a backup or a bandwidth test: the content is encrypted.'],
    ...(transfer ? { transfer } : {}),
  };
}

function outcome({ rounds, noRounds, downtimeNs, noDowntime }: Suspicion): string {
  const passes = rounds
    ? `${plural(rounds.rounds.length, 'round')}, each ${percent(rounds.ratio)} of the one before (inferred).`
    : `Rounds are not told: ${noRounds}.`;
  const pause =
    downtimeNs === null
      ? `Nor is the downtime: ${noDowntime}.`
      : `The pause before the last burst makes a downtime of at least ${duration(downtimeNs)} (inferred).`;
  return `${passes} ${pause}`;
}
