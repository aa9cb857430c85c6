// How a migration ended: which side closed first, and what the stream was doing then.
import type { Migration } from '../report.js';
import type { Flow, Transfer } from './transfer.js';

export interface Ending {
  readonly flow: Flow;
  /** Who sent the first FIN or RST; null when neither is in the capture. */
  readonly by: 'source' | 'destination' | null;
  readonly reset: boolean;
  /** What was on the wire at that moment. */
  readonly during: string;
}

/** The main connection's end, or that of the first connection where none is called main. */
export function endingOf(transfer: Transfer, migration: Migration): Ending {
  const flow = transfer.flows.find(({ connection }) => connection.channel.kind === 'main') ?? transfer.flows[0]!;
  const { closedFirstBy, endedBy } = flow.connection;
  return {
    flow,
    by: closedFirstBy === null ? null : closedFirstBy === flow.side ? 'source' : 'destination',
    reset: endedBy === 'rst',
    during: positionOf(migration),
  };
}

function positionOf(migration: Migration): string {
  if (migration.devices.length > 0 && migration.phases.at(-1)?.kind !== 'precopy') return 'device state';
  if (migration.postcopy) return 'post-copy';
  if (migration.rounds.length > 1) return `round ${migration.rounds.length}`;
  if (migration.rounds.length === 1) return 'the first pass';
  return migration.ramBlocks.length > 0 ? 'the list of RAM blocks' : 'set-up';
}
