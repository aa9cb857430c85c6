// One migration seen on both legs of a relay: balancer, port forwarder, proxy.
//
// What a relay passes on arrives byte for byte, a little later, over a connection of its own. Two guests may be alike to
// the page, but not at once and between other hosts.
import type { Migration } from './results.js';

/** Two legs begin and end within this time of each other: what a relay holds back at most. */
const LEG_DELAY_NS = 2e9;
const CHANNELS = ['main', 'multifd', 'preempt'] as const;

/**
 * Of which earlier migration `later` is another leg.
 *
 * @param earlier  those that began before, in order
 * @returns        its id; null when it is a migration of its own
 */
export function relayedFrom(later: Migration, earlier: readonly Migration[]): number | null {
  return (
    earlier.find((leg) => isSameGuest(leg, later) && (isPassedOn(leg, later) || isBrokenOff(leg, later)))?.id ?? null
  );
}

const isSameGuest = (leg: Migration, later: Migration): boolean =>
  Math.abs(later.startNs - leg.startNs) <= LEG_DELAY_NS &&
  leg.stream.machineType === later.stream.machineType &&
  leg.ramBlocks.map(({ name }) => name).join() === later.ramBlocks.map(({ name }) => name).join();

/** To the last byte, from the host where it arrived or, where the relay has an address for each side, between others. */
const isPassedOn = (leg: Migration, later: Migration): boolean =>
  (leg.destination === later.source || (leg.source !== later.source && leg.destination !== later.destination)) &&
  leg.outcome === later.outcome &&
  Math.abs(later.endNs - leg.endNs) <= LEG_DELAY_NS &&
  CHANNELS.every((channel) => later.bytes[channel] === leg.bytes[channel]);

/** Neither leg came to its end: no more left the relay than had arrived there. */
const isBrokenOff = (leg: Migration, later: Migration): boolean =>
  leg.destination === later.source &&
  leg.outcome !== 'completed' &&
  later.outcome !== 'completed' &&
  CHANNELS.every((channel) => later.bytes[channel] <= leg.bytes[channel]);
