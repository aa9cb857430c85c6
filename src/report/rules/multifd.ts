// The channels of a parallel migration.
import type { Flow, Transfer } from './transfer.js';

/** Multifd channels by index; empty without multifd. */
export const multifdFlows = (transfer: Transfer): Flow[] =>
  transfer.flows
    .filter((flow) => flow.connection.channel.kind === 'multifd')
    .sort((a, b) => (a.connection.channel.index ?? 0) - (b.connection.channel.index ?? 0));

/** A channel's name for a sentence. */
export const channelText = (flow: Flow): string =>
  flow.connection.channel.index === null
    ? `connection ${flow.connection.id}`
    : `channel ${flow.connection.channel.index}`;
