// A direction of a finished connection of which nothing is told but what a test says.
import { emptyDirection } from '../../src/decode/tcp/metrics/passes.js';
import type { TcpDirection } from '../../src/decode/tcp/results.js';

/** Nothing was sent and nothing is known, except for `facts`. */
export const tcpDirection = (facts: Partial<TcpDirection>): TcpDirection => ({ ...emptyDirection(), ...facts });

type Limits = NonNullable<TcpDirection['limitedBy']>;

/** Shares of time by limit; what is not named is 0. */
export const limitShares = (shares: Partial<Limits>): Limits => ({
  'sender-application': 0,
  'rate-limit': 0,
  'receiver-window': 0,
  congestion: 0,
  recovery: 0,
  'send-buffer': 0,
  idle: 0,
  ...shares,
});
