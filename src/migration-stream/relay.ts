// One migration seen on both legs of a relay: balancer, port forwarder, proxy.
//
// What a relay passes on arrives byte for byte, a little later, over a connection of its own. Two guests may be alike to
// the page, but not at once and between other hosts.
import type { Migration } from './results.js';

/** Two legs begin and end within this time of each other: what a relay holds back at most. */
const LEG_DELAY_NS = 2e9;

/**
 * Of which earlier migration `later` is another leg.
 *
 * @param earlier  those that began before, in order
 * @returns        its id; null when it is a migration of its own
 */
export function relayedFrom(later: Migration, earlier: readonly Migration[]): number | null {
  return earlier.find((leg) => isPassedOn(leg, later) && isSameStream(leg, later))?.id ?? null;
}

function isPassedOn(leg: Migration, later: Migration): boolean {
  const chained =
    leg.destination === later.source || (leg.source !== later.source && leg.destination !== later.destination);
  return (
    chained &&
    Math.abs(later.startNs - leg.startNs) <= LEG_DELAY_NS &&
    Math.abs(later.endNs - leg.endNs) <= LEG_DELAY_NS
  );
}

const isSameStream = ({ bytes, outcome, ramBlocks }: Migration, later: Migration): boolean =>
  bytes.main === later.bytes.main &&
  bytes.multifd === later.bytes.multifd &&
  bytes.preempt === later.bytes.preempt &&
  outcome === later.outcome &&
  ramBlocks.length === later.ramBlocks.length &&
  ramBlocks.every((block, i) => block.name === later.ramBlocks[i]!.name);
