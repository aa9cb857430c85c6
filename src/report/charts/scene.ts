// A scene: one transfer with everything its charts draw, in chart units (seconds, bits per second, bytes).
//
// A scene is a migration, or in a capture without one a bulk connection. Datasets are columns; the page carries each
// once. Row budgets keep every view below 20,000 points and the page small.
import type { UdpFlow } from '../../decode/udp/results.js';
import { endpoint, plain } from '../format.js';
import type { Connection, Migration, ReportData } from '../report.js';
import { type Carrier, carrier, carriersOf, flowsOf } from '../traffic.js';
import { type Dataset, seconds } from './data/dataset.js';
import { memoryData } from './data/memory.js';
import { requestsData } from './data/requests.js';
import { roundsData } from './data/rounds.js';
import { switchOverData } from './data/switch-over.js';
import { flowsData, transferData } from './data/transfer.js';

export interface Scene {
  readonly id: string;
  readonly title: string;
  /** What it shows, in words: 'migration', 'TCP connection 3', 'quic flow 0'. */
  readonly kind: string;
  readonly migration: Migration | null;
  readonly carriers: readonly Carrier[];
  /** s since the first frame. */
  readonly window: readonly [number, number];
  readonly data: Readonly<Record<string, Dataset>>;
}

export function migrationScene(report: ReportData, migration: Migration, detail = 1): Scene {
  const carriers = carriersOf(report, migration);
  return {
    id: `m${migration.id}`,
    title: `${plain(migration.source, 60)} → ${endpoint({ address: migration.destination, port: migration.port })}`,
    kind: 'migration',
    migration,
    carriers,
    window: windowOf(migration.startNs, migration.endNs),
    data: present({
      ...(carriers.length > 0
        ? transferData(report, carriers, detail)
        : flowsData(report, flowsOf(report, migration), detail)),
      ...roundsData(migration, detail),
      ...memoryData(report, migration, detail),
      switchover: switchOverData(migration),
      ...requestsData(report, migration, detail),
    }),
  };
}

export function connectionScene(report: ReportData, connection: Connection, detail = 1): Scene {
  const heavier = carrier(connection, null);
  const [from, to] =
    heavier.side === 0 ? [connection.client, connection.server] : [connection.server, connection.client];
  return {
    id: `c${connection.id}`,
    title: `${endpoint(from)} → ${endpoint(to)}`,
    kind: `TCP connection ${connection.id}`,
    migration: null,
    carriers: [heavier],
    window: windowOf(connection.startNs, connection.endNs),
    data: present(transferData(report, [heavier], detail)),
  };
}

export function flowScene(report: ReportData, flow: UdpFlow, detail = 1): Scene {
  const [client, server] = flow.directions;
  const [from, to] = client.wireBytes >= server.wireBytes ? [flow.client, flow.server] : [flow.server, flow.client];
  return {
    id: `f${flow.id}`,
    title: `${endpoint(from)} → ${endpoint(to)}`,
    kind: `${plain(flow.transport, 30)} flow ${flow.id}`,
    migration: null,
    carriers: [],
    window: windowOf(flow.startNs, flow.endNs),
    data: present(flowsData(report, [flow], detail)),
  };
}

const windowOf = (startNs: number, endNs: number): [number, number] => [
  seconds(startNs),
  seconds(Math.max(endNs, startNs + 1000)),
];

const present = (data: Record<string, Dataset | null>): Record<string, Dataset> =>
  Object.fromEntries(
    Object.entries(data).filter((entry): entry is [string, Dataset] => {
      const [first] = Object.values(entry[1] ?? {});
      return first !== undefined && first.length > 0;
    }),
  );
