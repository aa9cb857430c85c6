// The capture filter that leaves a migration and what explains it, for --narrow.
//
// Kept are all its connections, those it has and those it may still open: further channels go to the same port, and
// libvirt takes the ports of recoveries, disk mirrors and other guests' migrations between the two hosts from one range.
// Kept as well is what decode/signals.ts reads: who announces which address, what routers report, names that did not
// resolve, pause frames.
import { isIP } from 'node:net';
import type { Snapshot } from '../analyze.js';

/** migration_port_min and migration_port_max of libvirt's qemu.conf, where nobody has changed them. */
const LIBVIRT_PORTS = { first: 49152, last: 49215 };
const SIGNALS = ['icmp', 'icmp6', 'arp', 'rarp', 'udp port 53'];
const ETHERTYPE_MAC_CONTROL = '0x8808';

/**
 * In the language of pcap-filter(7).
 *
 * @param ethernet  frames have Ethernet headers; only then the language can look behind VLAN tags
 * @returns         null where there is no migration between two IP addresses
 */
export function migrationFilter({ migration, channels }: Snapshot, ethernet: boolean): string | null {
  if (migration === null) return null;
  const { source, destination, port } = migration;
  const ports = new Map([[pair(source, destination), new Set([port])]]);
  for (const { sender, receiver } of channels) {
    const [near, far] = sender.address === destination ? [receiver, sender] : [sender, receiver];
    const hosts = pair(near.address, far.address);
    ports.set(hosts, (ports.get(hosts) ?? new Set()).add(far.port));
  }
  if (ports.has(NO_PAIR)) return null;
  const connections = [...ports].map(([hosts, known]) => `(${hosts} and (${portsText(known)}))`).join(' or ');
  const whole = [connections, ...SIGNALS].join(' or ');
  // `vlan` shifts all that stands to its right by the tag: last of all.
  return ethernet ? `${whole} or ether proto ${ETHERTYPE_MAC_CONTROL} or (vlan and (${connections} or arp))` : whole;
}

const NO_PAIR = '';

/** 'host A and host B'; NO_PAIR unless both are IP addresses. */
function pair(a: string, b: string): string {
  const addresses = [a, b].map((address) => address.replace(/%.*$/, '')); // without the zone of a link-local address
  return addresses.every((address) => isIP(address) !== 0)
    ? addresses.map((text) => `host ${text}`).join(' and ')
    : NO_PAIR;
}

function portsText(ports: ReadonlySet<number>): string {
  const { first, last } = LIBVIRT_PORTS;
  const others = [...ports].filter((port) => port < first || port > last).sort((a, b) => a - b);
  return [...others.map((port) => `port ${port}`), `portrange ${first}-${last}`].join(' or ');
}
