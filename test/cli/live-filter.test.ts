import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { ChannelSnapshot, Snapshot } from '../../src/analyze.js';
import { migrationFilter } from '../../src/cli/live-filter.js';

const endpoint = (address: string, port: number) => ({ address, port });
const channel = (sender: ReturnType<typeof endpoint>, receiver: ReturnType<typeof endpoint>) =>
  ({ sender, receiver, kind: 'main', index: null, connection: 0 }) as unknown as ChannelSnapshot;
const migrating = (source: string, destination: string, port: number, channels: ChannelSnapshot[] = []) =>
  ({ migration: { source, destination, port }, channels }) as unknown as Snapshot;

const NBD = channel(endpoint('10.0.0.2', 10809), endpoint('10.0.0.1', 50000)); // a mirror: the destination may send most
const plain = migrationFilter(migrating('10.0.0.1', '10.0.0.2', 4444, [NBD]), false)!;

describe('the filter of a migration', () => {
  test('holds its hosts, its ports and those libvirt would take next, and what explains it', () => {
    expect(plain).toBe(
      '(host 10.0.0.1 and host 10.0.0.2 and (port 4444 or port 10809 or portrange 49152-49215))' +
        ' or icmp or icmp6 or arp or rarp or udp port 53',
    );
  });

  test('looks behind VLAN tags, where frames have a place for them, last of all', () => {
    const filter = migrationFilter(migrating('fd00::1', 'fd00::2', 49152), true)!;
    expect(filter).toBe(
      '(host fd00::1 and host fd00::2 and (portrange 49152-49215)) or icmp or icmp6 or arp or rarp or udp port 53' +
        ' or ether proto 0x8808 or (vlan and ((host fd00::1 and host fd00::2 and (portrange 49152-49215)) or arp))',
    );
  });

  test('holds subflows on other addresses', () => {
    const subflow = channel(endpoint('10.9.0.1', 40000), endpoint('10.9.0.2', 4444));
    expect(migrationFilter(migrating('10.0.0.1', '10.0.0.2', 4444, [subflow]), false)).toContain(
      ' or (host 10.9.0.1 and host 10.9.0.2 and (port 4444 or portrange 49152-49215)) or ',
    );
  });

  test('knows zones of link-local addresses, and no hosts without addresses', () => {
    expect(migrationFilter(migrating('fe80::1%eth0', 'fe80::2', 1), false)).toMatch(/host fe80::1 and/);
    expect(migrationFilter(migrating('02:00:00:00:00:01', '10.0.0.2', 1), false)).toBeNull();
    expect(migrationFilter({ migration: null, channels: [] } as unknown as Snapshot, false)).toBeNull();
  });

  const tcpdump = spawnSync('tcpdump', ['--version']).error === undefined;
  if (!tcpdump) console.warn('SKIPPED: libpcap compiles the filter (no tcpdump).');
  test.skipIf(!tcpdump)('is one that libpcap compiles', () => {
    for (const [ethernet, link] of [
      [true, 'EN10MB'],
      [false, 'LINUX_SLL2'],
    ] as const) {
      const filter = migrationFilter(migrating('10.0.0.1', 'fd00::2', 4444, [NBD]), ethernet)!;
      const { status, stderr } = spawnSync('tcpdump', ['-d', '-y', link, '--', filter], { encoding: 'utf8' });
      expect([link, stderr.replace(/^Warning: .*\n/gm, ''), status]).toEqual([
        link,
        expect.not.stringMatching(/error/),
        0,
      ]);
    }
  });
});
