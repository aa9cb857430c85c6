// What can be captured on this machine: interfaces with state, size and addresses, from the system itself.
//
// Needs no privilege and no capture program. Linux keeps the facts in /sys/class/net; elsewhere only what Node knows.
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

const FOLDER = '/sys/class/net';
const IFF_UP = 1; // linux/if.h

export interface InterfaceFacts {
  readonly name: string;
  /** 'up', 'down', 'no carrier' …; null when not known. */
  readonly state: string | null;
  readonly mtuBytes: number | null;
  /** Mbit/s as the driver reports it; null for virtual interfaces and where not known. */
  readonly speedMbit: number | null;
  readonly addresses: readonly string[];
  /** Frames since it came up, both ways; null when not known. */
  readonly frames: number | null;
}

/** All interfaces, in the system's order. */
export function listInterfaces(): InterfaceFacts[] {
  const addresses = networkInterfaces();
  return interfaceNames().map((name) => {
    const received = readNumber(name, 'statistics/rx_packets');
    const sent = readNumber(name, 'statistics/tx_packets');
    const speed = readNumber(name, 'speed');
    return {
      name,
      state: stateOf(name),
      mtuBytes: readNumber(name, 'mtu'),
      speedMbit: speed !== null && speed > 0 ? speed : null,
      addresses: (addresses[name] ?? []).map((entry) => entry.cidr ?? entry.address),
      frames: received === null || sent === null ? null : received + sent,
    };
  });
}

/** Names only, of the network namespace we are in. */
export function interfaceNames(): string[] {
  try {
    // Not /sys/class/net: under `nsenter --net` that still shows the namespace in which /sys was mounted.
    return [...readFileSync('/proc/net/dev', 'utf8').matchAll(/^\s*([^:|]+):/gm)].map((match) => match[1]!);
  } catch {
    return Object.keys(networkInterfaces()); // not Linux
  }
}

/** True unless `name` is known not to exist; 'any' always does. */
export const interfaceExists = (name: string): boolean => name === 'any' || interfaceNames().includes(name);

/** Whether the interface is up; null when not known. */
export function isUp(name: string): boolean | null {
  const flags = readText(name, 'flags');
  return flags === null ? null : (Number(flags) & IFF_UP) !== 0;
}

function stateOf(name: string): string | null {
  const up = isUp(name);
  if (up === null) return null;
  if (!up) return 'down';
  return readText(name, 'carrier') === '0' ? 'no carrier' : 'up';
}

function readNumber(name: string, file: string): number | null {
  const text = readText(name, file);
  return text === null || text === '' || Number.isNaN(Number(text)) ? null : Number(text);
}

/** null when absent or, as for the speed of an interface that is down, refused. */
function readText(name: string, file: string): string | null {
  if (name.includes('/')) return null;
  try {
    return readFileSync(`${FOLDER}/${name}/${file}`, 'utf8').trim();
  } catch {
    return null;
  }
}
