// Signals that belong to one direction of a connection.
import type { Signal } from './signals.js';
import type { Flow } from './transfer.js';

/** Whether a signal is about a frame sent in the direction of memory (default) or against it. */
export function ofFlow(signal: Signal, { connection, side }: Flow, against = false): boolean {
  const { client, server } = connection;
  const [from, to] = (side === 0) === !against ? [client, server] : [server, client];
  return (
    signal.from === from.address &&
    signal.about === to.address &&
    signal.port === to.port &&
    signal.sourcePort === from.port
  );
}
